"""Messages with numbers → vectors, scaled, converted and padded as the stream asks."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode import make_decoder
from streamer.decode.vector import VectorDecoder
from streamer.errors import ConfigError, DecodeError
from streamer.records import Decoding, Topic
from tests.bags import FLOAT, JOINTS, encoded, payload, store

WIDE = st.lists(st.floats(-1e6, 1e6), max_size=12)


def decoder(msgtype: str, field: str | None, wire: str = "ros1", **how: Any) -> VectorDecoder:
    kind = wire.removesuffix("_be")
    return VectorDecoder(msgtype, store(kind).fielddefs, kind, Decoding(field=field, **how))


def joints(position: list[float], wire: str = "ros1") -> bytes:
    return encoded(wire, JOINTS, position=position)


def decode(found: VectorDecoder, data: bytes) -> np.ndarray[Any, Any]:
    spec = found.probe(payload(data))
    out = np.full(spec.shape, 77, np.dtype(spec.dtype))
    return out[: found.decode(payload(data), out)]


@pytest.mark.parametrize("wire", ["ros1", "cdr", "cdr_be"])
def test_numbers_come_in_their_own_type_and_the_machines_order(wire: str) -> None:
    found = decode(decoder(JOINTS, "position", wire), joints([1.5, -2.5], wire))
    assert found.dtype == np.float64
    assert found.dtype.isnative
    assert found.tolist() == [1.5, -2.5]


@pytest.mark.parametrize("wire", ["ros1", "cdr", "cdr_be"])
def test_a_scalar_is_a_vector_of_one(wire: str) -> None:
    assert decode(decoder(FLOAT, "data", wire), encoded(wire, FLOAT, data=0.5)).tolist() == [0.5]


@pytest.mark.parametrize("wire", ["cdr", "cdr_be"])
def test_a_whole_message_is_a_vector_in_either_order_of_bytes(wire: str) -> None:
    twist = encoded(wire, "geometry_msgs/msg/Twist", linear={"x": 1.0, "y": 2.0, "z": 3.0}, angular={"x": 4.0})
    assert decode(decoder("geometry_msgs/msg/Twist", None, wire), twist).tolist() == [1, 2, 3, 4, 0, 0]


@settings(deadline=None, max_examples=40)
@given(position=WIDE, scale=st.sampled_from([math.pi / 180, 2.0, -0.5]))
def test_numbers_are_scaled_before_they_are_converted(position: list[float], scale: float) -> None:
    found = decode(decoder(JOINTS, "position", scale=scale), joints(position))
    assert found.dtype == np.float64
    assert np.array_equal(found, np.array(position) * scale)
    single = decode(decoder(JOINTS, "position", scale=scale, dtype="float32"), joints(position))
    assert single.dtype == np.float32
    assert np.array_equal(single, (np.array(position) * scale).astype(np.float32))


def test_scaled_whole_numbers_become_fractions() -> None:
    data = encoded("ros1", "sensor_msgs/msg/Joy", buttons=[1, 2, 3])
    found = decode(decoder("sensor_msgs/msg/Joy", "buttons", scale=0.5), data)
    assert found.dtype.kind == "f"
    assert found.tolist() == [0.5, 1.0, 1.5]
    assert decode(decoder("sensor_msgs/msg/Joy", "buttons"), data).dtype == np.int32


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", "int64"])
def test_the_type_asked_for_is_given(dtype: str) -> None:
    found = decode(decoder(JOINTS, "position", dtype=dtype), joints([1.0, 100.0]))
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == [1, 100]


def test_a_capacity_gives_room_for_any_length_below_it() -> None:
    vector = decoder(JOINTS, "position", capacity=4)
    spec = vector.probe(payload(joints([1.0])))
    assert (spec.shape, spec.variable) == ((4,), True)
    out = np.full(4, 7.0)
    for position in ([1.0, 2.0], [], [1.0, 2.0, 3.0, 4.0]):
        out[:] = 7
        assert vector.decode(payload(joints(position)), out) == len(position) == vector.rows(payload(joints(position)))
        assert out.tolist() == position + [7] * (4 - len(position))
    with pytest.raises(DecodeError, match="'position' has 5 values where the stream has 4"):
        vector.decode(payload(joints([0.0] * 5)), out)


@pytest.mark.parametrize("position", [[], [1.0], [1.0, 2.0, 3.0]])
def test_a_length_that_changes_is_an_error_that_names_the_way_out(position: list[float]) -> None:
    vector = decoder(JOINTS, "position")
    spec = vector.probe(payload(joints([1.0, 2.0])))
    assert (spec.shape, spec.variable) == ((2,), False)
    with pytest.raises(DecodeError, match=rf"has {len(position)} values where the stream has 2: set 'capacity'"):
        vector.decode(payload(joints(position)), np.empty(2))


def test_a_slice_that_the_first_message_does_not_have_is_the_configurations_fault() -> None:
    vector = decoder(JOINTS, "position[12:26]")
    with pytest.raises(ConfigError, match=r"position\[12:26\].* 2 values"):
        vector.probe(payload(joints([1.0, 2.0])))
    with pytest.raises(DecodeError, match="2 values"):
        vector.decode(payload(joints([1.0, 2.0])), np.empty(14))


@pytest.mark.parametrize("head", [b"\x00\x02\x00\x00", b"\x00\x03\x00\x00", b"\x00\x07\x00\x00", b"abcd", b"", b"\x00"])
def test_what_is_no_plain_cdr_is_a_decode_error(head: bytes) -> None:
    data = head + joints([1.0], "cdr")[4:] if len(head) == 4 else head
    with pytest.raises(DecodeError):
        decode(decoder(JOINTS, "position", "cdr"), data)


@settings(deadline=None, max_examples=60)
@given(data=st.binary(max_size=80), wire=st.sampled_from(["ros1", "cdr"]))
def test_random_bytes_are_numbers_or_a_decode_error(data: bytes, wire: str) -> None:
    with suppress(DecodeError):
        assert decode(decoder(JOINTS, "position", wire, capacity=200), data).ndim == 1


# Choosing a decoder


@pytest.mark.parametrize(
    ("msgtype", "topic", "field", "kind"),
    [
        ("sensor_msgs/msg/Image", "/image", None, "image"),
        ("sensor_msgs/msg/CompressedImage", "/image/compressed", None, "image"),
        ("sensor_msgs/msg/PointCloud2", "/points", None, "points"),
        (JOINTS, "/joints", "position", "vector"),
        ("geometry_msgs/msg/Twist", "/twist", None, "vector"),
        ("sensor_msgs/msg/Image", "/image", "width", "vector"),
    ],
)
def test_the_type_chooses_the_decoder_unless_a_field_is_named(
    msgtype: str, topic: str, field: str | None, kind: str
) -> None:
    found = make_decoder(Topic(topic, msgtype, 1, encoding="ros1"), store("ros1").fielddefs, Decoding(field=field))
    assert found.kind == kind


@pytest.mark.parametrize(
    ("msgtype", "how", "words"),
    [
        (JOINTS, Decoding(field="position", resize=(4, 4)), r"'resize' is for images"),
        (JOINTS, Decoding(field="position", color="rgb"), r"'color' is for images"),
        ("sensor_msgs/msg/Image", Decoding(scale=2.0), r"'scale' is for vectors"),
        ("sensor_msgs/msg/Image", Decoding(capacity=2), r"'capacity' is for vectors"),
        ("sensor_msgs/msg/CompressedImage", Decoding(dtype="uint8"), r"'dtype' is for vectors"),
        ("sensor_msgs/msg/PointCloud2", Decoding(scale=2.0), r"'scale' is for "),
        ("sensor_msgs/msg/PointCloud2", Decoding(resize=(4, 4)), r"'resize' is for "),
    ],
)
def test_a_setting_that_does_not_fit_the_type_is_refused(msgtype: str, how: Decoding, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_decoder(Topic("/t", msgtype, 1, encoding="ros1"), store("ros1").fielddefs, how)
