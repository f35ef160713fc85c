"""PointCloud2 messages → record arrays with the cloud's own fields."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.points import PointsDecoder
from streamer.errors import DecodeError, RecordingError
from streamer.records import Decoding
from streamer.source.source import Source
from tests.bags import CLOUD, Message, encoded, header, make, payload, record

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ENCODINGS = ("ros1", "cdr", "cdr_be")
_CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
LIDAR = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "ring", "time"],
        "formats": ["f4", "f4", "f4", "f4", "u2", "f8"],
        "offsets": [0, 4, 8, 16, 20, 24],
        "itemsize": 40,
    }
)
XYZ = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])


def points(dtype: np.dtype[Any], *shape: int) -> NDArray[Any]:
    rng = np.random.default_rng(5)
    whole = np.zeros(shape, dtype)
    for name in dtype.names or ():
        whole[name] = rng.integers(0, 100, whole[name].shape)
    return whole


def cloud(found: NDArray[Any], *, wire: str = "ros1", padding: int = 0, big_endian: bool = False) -> bytes:
    """Make a PointCloud2 of a record array (width,) or (height, width), rows padded."""
    grid = np.atleast_2d(found)
    if big_endian:
        grid = grid.astype(grid.dtype.newbyteorder(">"))
    fields: Any = grid.dtype.fields
    described = [
        make(
            wire,
            "sensor_msgs/msg/PointField",
            name=name,
            offset=fields[name][1],
            datatype=_CODES[fields[name][0].base.str[1:]],
            count=int(np.prod(fields[name][0].shape)),
        )
        for name in grid.dtype.names or ()
    ]
    height, width = grid.shape
    rows = np.frombuffer(grid.tobytes(), np.uint8).reshape(height, width * grid.dtype.itemsize)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return encoded(
        wire,
        CLOUD,
        header=header(5, "lidar"),
        height=height,
        width=width,
        fields=described,
        is_bigendian=big_endian,
        point_step=grid.dtype.itemsize,
        row_step=rows.shape[1],
        data=rows.ravel(),
        is_dense=True,
    )


def decode(data: bytes, wire: str = "ros1", capacity: int | None = None) -> NDArray[Any]:
    decoder = PointsDecoder(wire.removesuffix("_be"), Decoding(capacity=capacity))
    spec = decoder.probe(payload(data))
    assert spec.variable
    out = np.zeros(spec.shape, np.dtype(spec.dtype))
    rows = decoder.decode(payload(data), out)
    assert rows == decoder.rows(payload(data))
    return out[:rows]


def same(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    return found.dtype.names == wanted.dtype.names and all(
        np.array_equal(found[name], wanted.ravel()[name]) for name in wanted.dtype.names or ()
    )


@pytest.mark.parametrize("wire", ENCODINGS)
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", [XYZ, LIDAR], ids=["packed", "with holes"])
def test_the_fields_of_every_point_are_kept(dtype: np.dtype[Any], wire: str, *, big_endian: bool) -> None:
    wanted = points(dtype, 17)
    found = decode(cloud(wanted, wire=wire, big_endian=big_endian), wire)
    assert found.dtype.itemsize == dtype.itemsize
    assert same(found, wanted)


@pytest.mark.parametrize("padding", [0, 13])
def test_an_organized_cloud_is_read_row_by_row(padding: int) -> None:
    wanted = points(LIDAR, 5, 7)
    assert same(decode(cloud(wanted, padding=padding)), wanted)


def test_a_single_row_may_have_any_step() -> None:
    assert same(decode(cloud(points(XYZ, 9), padding=100)), points(XYZ, 9))


def test_a_field_of_several_numbers_stays_one() -> None:
    dtype = np.dtype([("xyz", "<f4", (3,)), ("label", "u1")])
    found = decode(cloud(points(dtype, 6)))
    assert found["xyz"].shape == (6, 3)
    assert same(found, points(dtype, 6))


@pytest.mark.parametrize("kind", _CODES)
def test_every_type_of_number_is_known(kind: str) -> None:
    dtype = np.dtype([("v", "<" + kind)])
    found = decode(cloud(points(dtype, 4)))
    assert found["v"].dtype == np.dtype("<" + kind)
    assert same(found, points(dtype, 4))


def test_a_cloud_shorter_than_the_capacity_leaves_the_rest_alone() -> None:
    decoder = PointsDecoder("ros1", Decoding(capacity=10))
    spec = decoder.probe(payload(cloud(points(XYZ, 3))))
    assert spec.shape == (10,)
    out = np.full(10, 7, XYZ)
    assert decoder.decode(payload(cloud(points(XYZ, 3))), out) == 3
    assert same(out[:3], points(XYZ, 3))
    assert np.all(out[3:]["x"] == 7)


def test_a_cloud_beyond_the_capacity_is_an_error_that_names_the_way_out() -> None:
    decoder = PointsDecoder("ros1", Decoding(capacity=2))
    with pytest.raises(DecodeError, match="a cloud of 3 points in a stream with room for 2: raise 'capacity'"):
        decoder.decode(payload(cloud(points(XYZ, 3))), np.zeros(2, XYZ))


def test_an_empty_cloud_has_no_points() -> None:
    assert len(decode(cloud(points(XYZ, 0)))) == 0


def test_a_cloud_of_other_fields_is_an_error() -> None:
    decoder = PointsDecoder("ros1", Decoding())
    with pytest.raises(DecodeError, match="the topic changed"):
        decoder.decode(payload(cloud(points(LIDAR, 3))), np.zeros(3, XYZ))


def test_a_cloud_with_too_few_bytes_is_an_error() -> None:
    data = bytearray(cloud(points(XYZ, 2, 2)))
    at = data.rindex((48).to_bytes(4, "little"))
    data[at : at + 4] = (47).to_bytes(4, "little")
    with pytest.raises(DecodeError, match="2x2 points of 12 bytes, with rows of 24, does not fit its 47 bytes"):
        decode(bytes(data))


@pytest.mark.parametrize("form", ["ros1", "ros1-lz4", "mcap"])
def test_a_cloud_is_read_from_a_recording(tmp_path: Path, form: str) -> None:
    wire = "ros1" if form.startswith("ros1") else "cdr"
    wanted = points(LIDAR, 40, 20)
    path = record(tmp_path / "bag", form, [Message("/cloud", 1, cloud(wanted, wire=wire, padding=3), CLOUD)])
    with Source(path, tmp_path) as source:
        message = source.payload(source.index(["/cloud"])["/cloud"], 0)
        decoder = PointsDecoder(wire, Decoding())
        spec = decoder.probe(message)
        out = np.zeros(spec.shape, np.dtype(spec.dtype))
        assert decoder.decode(message, out) == 800
    assert same(out, wanted)


def test_the_real_cloud_is_read(recordings: Path, tmp_path: Path) -> None:
    with Source(recordings / "ros_numpy.bag", tmp_path) as source:
        (topic,) = (topic for topic in source.topics.values() if topic.msgtype == CLOUD)
        message = source.payload(source.index([topic.name])[topic.name], 0)
        decoder = PointsDecoder("ros1", Decoding())
        spec = decoder.probe(message)
        out = np.zeros(spec.shape, np.dtype(spec.dtype))
        assert decoder.decode(message, out) == len(out) > 0
    assert {"x", "y", "z"} <= set(out.dtype.names or ())


@pytest.mark.parametrize("wire", ENCODINGS)
@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 400), value=st.binary(min_size=1, max_size=8))
def test_a_cloud_with_wrong_bytes_is_decoded_or_a_recording_error(wire: str, at: int, value: bytes) -> None:
    data = bytearray(cloud(points(LIDAR, 2, 3), wire=wire))
    start = at % len(data)
    data[start : start + len(value)] = value
    with suppress(RecordingError):
        assert len(decode(bytes(data), wire, capacity=6)) <= 6


@pytest.mark.parametrize("wire", ENCODINGS)
def test_every_cut_of_a_cloud_is_a_recording_error(wire: str) -> None:
    data = cloud(points(XYZ, 3), wire=wire)
    whole = len(data) - 1  # behind the points comes is_dense, which nobody reads
    for cut in range(whole):
        with pytest.raises(RecordingError):
            decode(data[:cut], wire)


def described(
    fields: list[tuple[str, int, int, int]],
    data: bytes,
    *,
    size: tuple[int, int],
    point_step: int,
    row_step: int,
    big_endian: bool = False,
) -> bytes:
    """Make a cloud from what its head says; a field is (name, offset, datatype, count), the size (height, width)."""
    keys = ("name", "offset", "datatype", "count")
    made = [make("cdr", "sensor_msgs/msg/PointField", **dict(zip(keys, field, strict=True))) for field in fields]
    return encoded(
        "cdr",
        CLOUD,
        height=size[0],
        width=size[1],
        fields=made,
        is_bigendian=big_endian,
        point_step=point_step,
        row_step=row_step,
        data=np.frombuffer(data, np.uint8),
        is_dense=False,
    )


@pytest.mark.parametrize("row_step", [0, 1, 24, 96, 4096])
@pytest.mark.parametrize("size", [(4, 2), (1, 8), (8, 1)])
def test_a_wrong_row_step_does_not_matter_where_the_points_fill_the_data(size: tuple[int, int], row_step: int) -> None:
    xyz = np.arange(24, dtype="<f4")
    message = described([("x", 0, 7, 1)], xyz.tobytes(), size=size, point_step=12, row_step=row_step)
    assert np.array_equal(decode(message, "cdr")["x"], xyz[::3])


@pytest.mark.parametrize(
    ("size", "point_step", "row_step", "length"),
    [((2, 2), 12, 0, 47), ((2, 2), 12, 24, 60), ((1, 4), 12, 48, 96), ((0, 4), 12, 48, 48), ((4, 0), 12, 0, 12)],
)
def test_data_of_another_length_are_refused(size: tuple[int, int], point_step: int, row_step: int, length: int) -> None:
    message = described([("x", 0, 7, 1)], bytes(length), size=size, point_step=point_step, row_step=row_step)
    with pytest.raises(DecodeError, match=f"does not fit its {length} bytes"):
        PointsDecoder("cdr", Decoding()).verify(payload(message))


def test_a_head_that_claims_more_points_than_there_are_bytes_is_refused_when_it_is_looked_at() -> None:
    message = described([("x", 0, 7, 1)], bytes(12), size=(60_000, 60_000), point_step=12, row_step=720_000)
    decoder = PointsDecoder("cdr", Decoding())
    for look in (decoder.probe, decoder.rows, decoder.verify):
        with pytest.raises(DecodeError, match="a cloud of 60000x60000 points"):
            look(payload(message))


def test_fields_in_any_order_and_on_top_of_each_other_are_read_where_they_lie() -> None:
    data = struct.pack("<fIf", 1.5, 0x00FF8040, 2.5) * 2
    fields = [("z", 8, 7, 1), ("rgb", 4, 6, 1), ("b", 4, 2, 1), ("g", 5, 2, 1), ("x", 0, 7, 1)]
    found = decode(described(fields, data, size=(1, 2), point_step=12, row_step=24), "cdr")
    assert found.dtype.names == ("z", "rgb", "b", "g", "x")
    assert found[1].tolist() == (2.5, 0x00FF8040, 0x40, 0x80, 1.5)


def test_a_big_endian_cloud_comes_out_in_the_machines_order() -> None:
    data = struct.pack(">fH2xd", 1.5, 7, 2.5)
    fields = [("x", 0, 7, 1), ("ring", 4, 4, 1), ("time", 8, 8, 1)]
    message = described(fields, data, size=(1, 1), point_step=16, row_step=16, big_endian=True)
    found = decode(message, "cdr")
    assert all(found.dtype[name].isnative for name in found.dtype.names or ())
    assert found[0].tolist() == (1.5, 7, 2.5)


def test_a_big_endian_cloud_with_overlapping_fields_is_refused() -> None:
    fields = [("rgb", 0, 6, 1), ("b", 0, 2, 1)]
    with pytest.raises(DecodeError, match="a big-endian cloud whose fields overlap"):
        decode(described(fields, bytes(4), size=(1, 1), point_step=4, row_step=4, big_endian=True), "cdr")


@pytest.mark.parametrize(
    "field", [("x", 10, 7, 1), ("x", 0, 7, 4), ("x", 0, 9, 1), ("x", 0, 0, 1), ("x", 4_000_000_000, 7, 1)]
)
def test_a_field_beyond_its_point_or_of_no_known_type_is_refused(field: tuple[str, int, int, int]) -> None:
    with pytest.raises(DecodeError, match="a cloud whose fields do not fit points of 12 bytes: x"):
        decode(described([field], bytes(12), size=(1, 1), point_step=12, row_step=12), "cdr")


def test_two_fields_of_one_name_are_refused() -> None:
    with pytest.raises(DecodeError, match="a cloud with two fields 'x'"):
        decode(described([("x", 0, 7, 1), ("x", 4, 7, 1)], bytes(8), size=(1, 1), point_step=8, row_step=8), "cdr")


def test_a_field_without_a_name_is_called_as_in_sensor_msgs_py() -> None:
    message = described([("x", 0, 7, 1), ("", 4, 7, 0)], bytes(8), size=(1, 1), point_step=8, row_step=8)
    assert decode(message, "cdr").dtype.names == ("x", "unnamed_field_1")


def test_an_empty_cloud_without_fields_is_no_point_in_a_stream_and_refused_as_its_first() -> None:
    message = payload(described([], b"", size=(0, 0), point_step=0, row_step=0))
    decoder = PointsDecoder("cdr", Decoding())
    assert decoder.decode(message, np.zeros(3, XYZ)) == 0
    with pytest.raises(DecodeError, match="a cloud without fields"):
        decoder.probe(message)
