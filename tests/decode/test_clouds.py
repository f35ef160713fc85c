"""CompressedPointCloud2 messages → the points that were compressed.

``draco/*.drc`` are clouds as draco_point_cloud_transport makes them, by Draco's own library (``draco/make.cpp``);
``draco/points.bin`` has the points.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags.typesys import get_types_from_msg

import streamer
from streamer.decode import clouds
from streamer.decode.clouds import COMPRESSED_CLOUD, CompressedPointsDecoder
from streamer.errors import ConfigError, DecodeError
from streamer.records import Decoding
from tests.bags import SECOND, START, Message, encoded, header, make, payload, record, store

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_EXTRA = "the extra 'clouds' is not installed"
pureini: Any = pytest.importorskip("pureini", reason=_EXTRA)
pytest.importorskip("DracoPy", reason=_EXTRA)
_TEXT = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nsensor_msgs/PointField[] fields\nbool is_bigendian\n"
    "uint32 point_step\nuint32 row_step\nuint8[] compressed_data\nbool is_dense\nstring format\n"
)
for _wire in ("ros1", "cdr"):
    store(_wire).register(get_types_from_msg(_TEXT, COMPRESSED_CLOUD))
_CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
DRACO = Path(__file__).parent / "draco"
LIDAR = np.dtype([(name, "<f4") for name in ("x", "y", "z", "rgb", "intensity")] + [("ring", "<u2"), ("tag", "<i2")])
POINTS: NDArray[Any] = np.fromfile(DRACO / "points.bin", LIDAR)
PLAIN = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2"), ("time", "<u4")])


def message(dtype: np.dtype[Any], rows: int, data: bytes, how: str, wire: str = "cdr") -> bytes:
    fields: Any = dtype.fields
    described = [
        make(
            *(wire, "sensor_msgs/msg/PointField"),
            name=name,
            offset=fields[name][1],
            datatype=_CODES[fields[name][0].str[1:]],
            count=1,
        )
        for name in dtype.names or ()
    ]
    return encoded(
        *(wire, COMPRESSED_CLOUD),
        header=header(5, "lidar"),
        height=1,
        width=rows,
        fields=described,
        is_bigendian=False,
        point_step=dtype.itemsize,
        row_step=rows * dtype.itemsize % 2**32,
        compressed_data=np.frombuffer(data, np.uint8),
        is_dense=True,
        format=how,
    )


def plain(rows: int) -> NDArray[Any]:
    rng = np.random.default_rng(rows)
    found = np.zeros(rows, PLAIN)
    for name in "xyz":
        found[name] = rng.normal(0, 20, rows)
    found["ring"], found["time"] = rng.integers(0, 64, rows), np.arange(rows) * 70_000
    return found


def cloudini(points: NDArray[Any]) -> bytes:
    kinds = {"<f4": pureini.FieldType.FLOAT32, "<u2": pureini.FieldType.UINT16, "<u4": pureini.FieldType.UINT32}
    dtype: Any = points.dtype
    fields = [
        pureini.PointField(
            name=name,
            offset=dtype.fields[name][1],
            type=kinds[dtype.fields[name][0].str],
            resolution=0.001 if dtype.fields[name][0].kind == "f" else None,
        )
        for name in dtype.names
    ]
    info = pureini.EncodingInfo(width=len(points), height=1, point_step=dtype.itemsize, fields=fields)
    return bytes(pureini.PointcloudEncoder(info).encode(points.tobytes()))


def decode(data: bytes, wire: str = "cdr") -> NDArray[Any]:
    decoder = CompressedPointsDecoder(wire, Decoding())
    spec = decoder.probe(payload(data))
    out = np.zeros(spec.shape, np.dtype(spec.dtype))
    rows = decoder.decode(payload(data), out)
    assert rows == decoder.rows(payload(data)) == len(out)
    return out


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "zlib": ("zlib", zlib.compress),
    "gzip": ("zlib", gzip.compress),  # what zlib_point_cloud_transport writes
    "zstd": ("zstd", zstd.compress),
}


@pytest.mark.parametrize("wire", ["ros1", "cdr"])
@pytest.mark.parametrize("how", PACKERS)
def test_compressed_bytes_of_a_cloud_are_its_points(how: str, wire: str) -> None:
    wanted = plain(500)
    name, pack = PACKERS[how]
    found = decode(message(PLAIN, 500, pack(wanted.tobytes()), name, wire), wire)
    assert (found.dtype, found.tobytes()) == (wanted.dtype, wanted.tobytes())


def test_a_cloudini_cloud_is_what_its_library_gives_and_within_its_resolution() -> None:
    wanted = plain(500)
    data = cloudini(wanted)
    found = decode(message(PLAIN, 500, data, "cloudini"))
    assert found.tobytes() == pureini.PointcloudDecoder().decode(data)[0]
    for name in "xyz":
        assert np.abs(found[name] - wanted[name]).max() < 0.0006
    assert np.array_equal(found["ring"], wanted["ring"])
    assert np.array_equal(found["time"], wanted["time"])


def test_a_draco_cloud_without_quantization_has_the_very_points() -> None:
    found = decode(message(LIDAR, 300, (DRACO / "sequential.drc").read_bytes(), "draco"))
    assert found.tobytes() == POINTS.tobytes()


def test_a_quantized_draco_cloud_has_the_points_in_another_order_within_a_step() -> None:
    found = decode(message(LIDAR, 300, (DRACO / "tree.drc").read_bytes(), "draco"))

    def sorted_by_marks(points: NDArray[Any]) -> NDArray[Any]:
        return points[np.lexsort((points["rgb"].view("<u4"), points["tag"], points["ring"]))]

    found, wanted = sorted_by_marks(np.ascontiguousarray(found)), sorted_by_marks(POINTS)
    for name in ("ring", "tag"):
        assert np.array_equal(found[name], wanted[name])
    assert np.array_equal(found["rgb"].copy().view("<u4"), wanted["rgb"].copy().view("<u4"))
    for name in ("x", "y", "z", "intensity"):  # each of the ranges in 2^14 steps
        step = np.ptp(wanted[name]) / (2**14 - 1)
        assert np.abs(found[name] - wanted[name]).max() <= step, name


def damaged() -> dict[str, tuple[bytes, str]]:
    wanted = plain(50)
    data = zlib.compress(wanted.tobytes())
    drc = (DRACO / "sequential.drc").read_bytes()
    return {
        "cut": (message(PLAIN, 50, data[:-30], "zlib"), "does not decompress"),
        "noise": (message(PLAIN, 50, b"\x07" * 90, "zlib"), "does not decompress"),
        "zstd": (message(PLAIN, 50, zstd.compress(wanted.tobytes())[:40], "zstd"), "does not decompress"),
        "more": (message(PLAIN, 49, data, "zlib"), "does not decompress: 49 points"),
        "fewer": (message(PLAIN, 51, data, "zlib"), "does not decompress: 51 points"),
        "bomb": (message(PLAIN, 50, zlib.compress(bytes(10**8)), "zlib"), "does not decompress: 50 points"),
        "claim": (message(PLAIN, 2**31, data, "zlib"), "it is damaged"),
        "cloudini": (message(PLAIN, 50, cloudini(wanted)[:-20], "cloudini"), "does not decompress"),
        "other rows": (message(PLAIN, 49, cloudini(wanted), "cloudini"), "49 points of 18 bytes"),
        "other fields": (message(LIDAR, 50, cloudini(wanted), "cloudini"), "its points of 18 bytes have the fields"),
        "draco": (message(LIDAR, 300, drc[:400], "draco"), "does not decompress"),
        "attributes": (message(PLAIN, 300, drc, "draco"), "7 attributes for 5 fields"),
        "draco rows": (message(LIDAR, 299, drc, "draco"), "300 values for 299 points"),
        "unknown": (message(PLAIN, 50, data, "pcl"), "format 'pcl' cannot be read; cloudini, draco, zlib, zstd can"),
    }


@pytest.mark.parametrize("name", damaged())
def test_a_damaged_cloud_is_refused(name: str) -> None:
    data, why = damaged()[name]
    with pytest.raises(DecodeError, match=why):
        decode(data)


def test_every_cut_of_a_message_is_refused() -> None:
    data = message(PLAIN, 20, zlib.compress(plain(20).tobytes()), "zlib")
    for length in range(8, len(data) - 1, 7):
        with pytest.raises(DecodeError):
            decode(data[:length])


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(clouds, "import_module", missing)
    with pytest.raises(ConfigError, match=r"'draco': pip install 'rosbag-streamer\[clouds\]'"):
        decode(message(LIDAR, 300, (DRACO / "tree.drc").read_bytes(), "draco"))


def test_a_topic_of_compressed_clouds_is_a_stream_of_points(tmp_path: Path) -> None:
    wanted = [plain(40 + n) for n in range(6)]
    messages = [
        Message("/points", START + n * SECOND // 10, message(PLAIN, len(p), cloudini(p), "cloudini"), COMPRESSED_CLOUD)
        for n, p in enumerate(wanted)
    ]
    path = record(tmp_path / "bag", "mcap", messages)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"source: {{path: {path}}}\ntimeline: {{from: points}}\nstreams: {{points: {{topic: /points}}}}\n"
    )
    found = [frame["points"].copy() for frame in streamer.open(config).frames()]
    assert [len(one) for one in found] == [len(one) for one in wanted]
    assert all(np.abs(a["x"] - b["x"]).max() < 0.0006 for a, b in zip(found, wanted, strict=True))
    assert all(np.array_equal(a["time"], b["time"]) for a, b in zip(found, wanted, strict=True))
