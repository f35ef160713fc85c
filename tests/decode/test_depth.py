"""Compressed depth of every format → distances, against an encoder written from the paper and the reference's sums."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.compressed import CompressedDecoder
from streamer.decode.rvl import decode_rvl
from streamer.errors import ConfigError, DecodeError
from streamer.records import Decoding
from tests.bags import payload
from tests.decode.pictures import depth_message, noise, packed, png, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

GARBAGE = struct.unpack("<ff", b"\xc9\xca\x5b\xd2\xf3\x7f\x00\x00")  # what lay on a publisher's stack


def encode_rvl(pixels: NDArray[np.uint16]) -> bytes:
    """Write RVL number by number (Wilson 2017): nibbles of three bits, the lowest first, in words from the top."""
    nibbles: list[int] = []

    def number(value: int) -> None:
        while True:
            nibble, value = value & 7, value >> 3
            nibbles.append(nibble | (8 if value else 0))
            if not value:
                return

    flat, at, before = pixels.ravel().tolist(), 0, 0
    while at < len(flat):
        end = at
        while end < len(flat) and not flat[end]:
            end += 1
        number(end - at)
        at = end
        while end < len(flat) and flat[end]:
            end += 1
        number(end - at)
        for value in flat[at:end]:
            difference = value - before
            number((difference << 1) ^ (difference >> 31))
            before = value
        at = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{nibble:x}" for nibble in nibbles[n : n + 8]), 16) for n in range(0, len(nibbles), 8)]
    return struct.pack(f"<{len(words)}I", *words)


def rvl(pixels: NDArray[np.uint16]) -> bytes:
    height, width = pixels.shape
    return struct.pack("<II", width, height) + encode_rvl(pixels)


def holed(*shape: int) -> NDArray[np.uint16]:
    """Make distances with holes and jumps."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 65_536, shape, np.uint16)
    pixels[rng.random(shape) < 0.4] = 0
    return pixels


@settings(deadline=None, max_examples=200)
@given(values=st.lists(st.integers(0, 65_535) | st.just(0) | st.integers(1000, 1010), min_size=1, max_size=60))
def test_rvl_gives_back_what_was_encoded(values: list[int]) -> None:
    pixels = np.array(values, np.uint16)
    assert np.array_equal(decode_rvl(memoryview(encode_rvl(pixels)), len(pixels)), pixels)


def test_rvl_bytes_made_by_hand_are_read() -> None:
    # 2 zeros, 3 others: 5 (zigzag 10 = 2, then 1), 4 (zigzag 1), 4 (zigzag 0), then 1 zero and no other
    data = bytes.fromhex("23a110" + "10")
    words = struct.pack("<I", int.from_bytes(data, "big"))
    assert decode_rvl(memoryview(words), 6).tolist() == [0, 0, 5, 4, 4, 0]


@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=80), count=st.integers(1, 200))
def test_random_bytes_are_pixels_or_a_decode_error(data: bytes, count: int) -> None:
    try:
        assert len(decode_rvl(memoryview(data), count)) == count
    except DecodeError:
        return


def test_every_cut_of_rvl_is_a_decode_error() -> None:
    data = encode_rvl(noise(12, 16, dtype="u2"))
    for cut in range(0, len(data) - 4, 3):
        with pytest.raises(DecodeError):
            decode_rvl(memoryview(data[:cut]), 12 * 16)


@pytest.mark.parametrize("parameters", [(0.0, 0.0), GARBAGE])
@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("16UC1; compressedDepth", png),
        ("16UC1; compressedDepth ", png),
        ("16UC1; compressedDepth png", png),
        ("16UC1;compressedDepth png", png),
        ("16uc1; CompressedDepth PNG", png),
        ("mono16; compressedDepth png", png),
        ("16UC1; compressedDepth rvl", rvl),
        ("mono16; compressedDepth rvl", rvl),
    ],
)
def test_millimetres_are_kept_whatever_the_parameters_say(form: str, codec: Any, parameters: Any) -> None:
    pixels = holed(12, 16)
    found = unpack(depth_message(codec(pixels), form, *parameters))
    assert found.dtype == np.uint16
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("16UC1; compressedDepth", png),
        ("16UC1; compressedDepth png", png),
        ("16UC1; compressedDepth rvl", rvl),
        ("16UC1", png),
        ("16UC1; png compressed ", png),
        ("png", png),
    ],
)
def test_depth_without_its_head_is_found_by_what_it_begins_with(form: str, codec: Any) -> None:
    pixels = holed(12, 16)
    assert np.array_equal(unpack(packed(codec(pixels), form), depth=True), pixels)


def test_the_topic_makes_depth_of_a_format_that_names_the_encoding_alone() -> None:
    pixels = holed(12, 16)
    assert np.array_equal(unpack(depth_message(png(pixels), "16UC1"), depth=True), pixels)


def metres(inverse: NDArray[np.uint16], a: float, b: float) -> list[float]:
    """Sum as the reference does, number by number, in 32 bits."""
    values = [
        np.float32(a) / (np.float32(value) - np.float32(b)) if value else np.float32("nan") for value in inverse.flat
    ]
    return [float(value) for value in values]


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("32FC1; compressedDepth", png),
        ("32FC1; compressedDepth png", png),
        ("32FC1; compressedDepth rvl", rvl),
    ],
)
@pytest.mark.parametrize(("quantization", "most"), [(100.0, 10.0), (50.0, 3.5)])
def test_metres_come_from_inverse_numbers(form: str, codec: Any, quantization: float, most: float) -> None:
    a = quantization * (quantization + 1)
    b = 1 - a / most
    inverse = holed(12, 16)
    found = unpack(depth_message(codec(inverse), form, a, b))
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array(metres(inverse, a, b), np.float32).reshape(12, 16), equal_nan=True)
    assert np.array_equal(np.isnan(found), inverse == 0)


@pytest.mark.parametrize("codec", [png, rvl])
@pytest.mark.parametrize("parameters", [(0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0), None])
def test_metres_without_parameters_are_refused(codec: Any, parameters: tuple[float, float] | None) -> None:
    form = f"32FC1; compressedDepth {codec.__name__}"
    data = codec(holed(12, 16))
    message = payload(packed(data, form) if parameters is None else depth_message(data, form, *parameters))
    decoder = CompressedDecoder("ros1", Decoding(), depth=True)
    for look in (decoder.probe, decoder.verify):
        with pytest.raises(DecodeError, match="its distances cannot be known"):
            look(message)


@pytest.mark.parametrize(
    ("form", "data", "said"),
    [
        ("; compressedDepth png", png(holed(4, 4)), "it should begin with 16UC1 or 32FC1"),
        ("compressedDepth", png(holed(4, 4)), "it should begin with 16UC1 or 32FC1"),
        ("rgb8; compressedDepth png", png(holed(4, 4)), "it should begin with 16UC1 or 32FC1"),
        ("16UC1; compressedDepth zstd", png(holed(4, 4)), "the codec 'zstd' is neither png nor rvl"),
        ("16UC1; compressedDepth png", rvl(holed(4, 4)), "bytes are no PNG"),
        ("16UC1; compressedDepth rvl", png(holed(4, 4)), "RVL|bytes are no RVL"),
        ("16UC1; compressedDepth png", png(noise(4, 4)), "its PNG holds 1 channels of 8 bits, not depth"),
        ("16UC1; compressedDepth png", png(noise(4, 4, 3)), "its PNG holds 3 channels of 8 bits, not depth"),
        ("16UC1; compressedDepth rvl", struct.pack("<II", 60_000, 60_000) + bytes(8), "is above 'source.max_pixels'"),
    ],
)
def test_depth_that_is_not_what_its_format_says_is_refused(form: str, data: bytes, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        unpack(depth_message(data, form))


def test_depth_has_no_colour() -> None:
    with pytest.raises(ConfigError, match="color: rgb does not fit"):
        unpack(depth_message(png(holed(4, 4)), "16UC1; compressedDepth png"), Decoding(color="rgb"))


@pytest.mark.parametrize("form", ["16UC1; compressedDepth rvl", "32FC1; compressedDepth rvl"])
def test_depth_is_resized_to_values_that_were_measured(form: str) -> None:
    pixels = holed(12, 16)
    whole = unpack(depth_message(rvl(pixels), form, 10_100.0, -1009.0))
    found = unpack(depth_message(rvl(pixels), form, 10_100.0, -1009.0), Decoding(resize=(8, 6)))
    assert np.array_equal(found, whole[::2, ::2], equal_nan=True)


def test_the_head_of_depth_tells_what_decoding_gives() -> None:
    decoder = CompressedDecoder("ros1", Decoding(), depth=True)
    for form, codec in (("16UC1; compressedDepth", png), ("32FC1; compressedDepth rvl", rvl)):
        message = payload(depth_message(codec(holed(12, 16)), form, 10_100.0, -1009.0))
        told = decoder.verify(message)
        assert told.shape == (12, 16)
        assert decoder.decode(message, np.empty(told.shape, told.dtype)) == 12
