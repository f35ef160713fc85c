"""Image messages of every encoding → the arrays that numpy and the codecs themselves give."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.image import ImageDecoder
from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.records import Decoding
from streamer.source.source import Source
from tests.bags import IMAGE, encoded, make, payload, record, serialize
from tests.bags import Message as Said
from tests.decode.pictures import ENCODINGS, decode, into, noise, raw

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


PLAIN = {
    "mono8": ("u1", 1),
    "mono16": ("u2", 1),
    "8UC1": ("u1", 1),
    "8SC1": ("i1", 1),
    "8UC2": ("u1", 2),
    "8UC4": ("u1", 4),
    "16UC1": ("u2", 1),
    "16UC3": ("u2", 3),
    "16SC2": ("i2", 2),
    "32SC1": ("i4", 1),
    "32FC1": ("f4", 1),
    "32FC4": ("f4", 4),
    "64FC1": ("f8", 1),
    "64FC3": ("f8", 3),
}


@pytest.mark.parametrize("wire", ENCODINGS)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("kind", PLAIN)
def test_measured_pixels_are_kept_exactly(kind: str, padding: int, wire: str) -> None:
    dtype, channels = PLAIN[kind]
    pixels = noise(6, 8, dtype=dtype) if channels == 1 else noise(6, 8, channels, dtype=dtype)
    found = decode(raw(pixels, kind, wire=wire, padding=padding), wire=wire)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("kind", ["16UC1", "mono16", "32FC1", "16UC3"])
def test_big_endian_pixels_come_out_in_the_machines_order(kind: str, padding: int) -> None:
    dtype, channels = PLAIN[kind]
    pixels = noise(4, 6, dtype=dtype) if channels == 1 else noise(4, 6, channels, dtype=dtype)
    found = decode(raw(pixels, kind, big_endian=True, padding=padding))
    assert found.dtype.isnative
    assert np.array_equal(found, pixels)


def test_one_byte_pixels_have_no_order_of_bytes() -> None:
    pixels = noise(4, 6, 3)
    assert np.array_equal(decode(raw(pixels, "rgb8", big_endian=True)), pixels)


COLORS = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA", "8UC3": "BGR"}


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("color", [None, "rgb", "bgr", "gray"])
@pytest.mark.parametrize("kind", COLORS)
def test_colour_images_come_in_the_order_asked_for(kind: str, color: str | None, padding: int) -> None:
    order = COLORS[kind]
    pixels = noise(6, 8, len(order))
    red, green, blue = (pixels[..., order.index(name)] for name in "RGB")
    found = decode(raw(pixels, kind, padding=padding), Decoding(color=color))
    if color == "gray":
        assert found.shape == (6, 8)
        assert np.abs(found - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1
    else:
        wanted = (blue, green, red) if color == "bgr" else (red, green, blue)
        assert np.array_equal(found, np.stack(wanted, axis=2))


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_a_gray_image_in_colour_has_three_equal_channels(color: str) -> None:
    pixels = noise(4, 6)
    for kind in ("mono8", "8UC1"):
        assert np.array_equal(decode(raw(pixels, kind), Decoding(color=color)), np.stack([pixels] * 3, axis=2))
    assert np.array_equal(decode(raw(pixels, "mono8"), Decoding(color="gray")), pixels)


@pytest.mark.parametrize("kind", ["16UC1", "32FC1", "8UC2"])
def test_measured_pixels_have_no_colour(kind: str) -> None:
    dtype, channels = PLAIN[kind]
    pixels = noise(4, 6, channels, dtype=dtype)
    with pytest.raises(ConfigError, match=rf"color: rgb does not fit an image of encoding '{kind}'"):
        ImageDecoder("ros1", Decoding(color="rgb")).probe(payload(raw(pixels, kind)))


def test_depth_is_told_from_images() -> None:
    for kind, told in (("16UC1", "depth"), ("32FC1", "depth"), ("mono8", "image"), ("rgb8", "image")):
        decoder = ImageDecoder("ros1", Decoding())
        pixels = noise(4, 6, 3) if kind == "rgb8" else noise(4, 6, dtype=PLAIN[kind][0])
        decoder.probe(payload(raw(pixels, kind)))
        assert decoder.kind == told


MOSAICS = {"bayer_rggb8": "RGGB", "bayer_bggr8": "BGGR", "bayer_gbrg8": "GBRG", "bayer_grbg8": "GRBG"}


@pytest.mark.parametrize("color", [None, "bgr", "gray"])
@pytest.mark.parametrize("kind", MOSAICS)
def test_a_mosaic_of_one_colour_is_that_colour(kind: str, color: str | None) -> None:
    value = {"R": 200, "G": 120, "B": 40}
    tile = np.array([value[name] for name in MOSAICS[kind]], np.uint8).reshape(2, 2)
    found = decode(raw(np.tile(tile, (4, 5)), kind), Decoding(color=color))
    assert found.shape == ((8, 10) if color == "gray" else (8, 10, 3))
    wanted = {None: [200, 120, 40], "bgr": [40, 120, 200], "gray": 0.299 * 200 + 0.587 * 120 + 0.114 * 40}[color]
    assert np.abs(found[2:-2, 2:-2] - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize("color", [None, "bgr", "gray"])
@pytest.mark.parametrize(
    ("kind", "order"), [("yuv422", "UYVY"), ("uyvy", "UYVY"), ("yuv422_yuy2", "YUYV"), ("yuyv", "YUYV")]
)
def test_yuv_is_converted_as_bt601_says(kind: str, order: str, color: str | None) -> None:
    bright, u, v = 100, 90, 180
    pattern = [{"U": u, "V": v, "Y": bright}[name] for name in order]
    pixels = np.tile(np.array(pattern, np.uint8), 4 * 3).reshape(4, 6, 2)
    found = decode(raw(pixels, kind, padding=4), Decoding(color=color))
    y, cb, cr = 1.164 * (bright - 16), u - 128, v - 128
    rgb = [y + 1.596 * cr, y - 0.813 * cr - 0.391 * cb, y + 2.018 * cb]
    wanted = {None: rgb, "bgr": rgb[::-1], "gray": bright}[color]
    assert np.abs(found.astype(float) - np.asarray(wanted)).max() <= 2


@pytest.mark.parametrize("kind", ["mono8", "rgb8", "bgr8", "rgba8"])
def test_a_smaller_image_averages_the_area_of_each_of_its_pixels(kind: str) -> None:
    channels = {"mono8": 1, "rgba8": 4}.get(kind, 3)
    pixels = noise(12, 16) if channels == 1 else noise(12, 16, channels)
    found = decode(raw(pixels, kind), Decoding(resize=(8, 5)))
    whole = decode(raw(pixels, kind))
    assert np.array_equal(found, cv2.resize(whole, (8, 5), interpolation=cv2.INTER_AREA))
    assert found.shape[:2] == (5, 8)
    larger = decode(raw(pixels, kind), Decoding(resize=(20, 30)))
    assert np.array_equal(larger, cv2.resize(whole, (20, 30), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("kind", ["16UC1", "32FC1", "mono16"])
@pytest.mark.parametrize("padding", [0, 2])
def test_depth_is_resized_to_values_that_were_measured(kind: str, padding: int) -> None:
    pixels = noise(12, 16, dtype=PLAIN[kind][0])
    found = decode(raw(pixels, kind, padding=padding), Decoding(resize=(8, 6)))
    assert found.shape == (6, 8)
    assert np.array_equal(found, pixels[::2, ::2])


def test_a_resize_to_the_same_size_changes_nothing() -> None:
    pixels = noise(6, 8, 3)
    assert np.array_equal(decode(raw(pixels, "rgb8"), Decoding(resize=(8, 6))), pixels)


def test_an_image_of_another_size_is_an_error_that_names_the_way_out() -> None:
    for kind in ("rgb8", "bgr8"):
        decoder = ImageDecoder("ros1", Decoding())
        spec = decoder.probe(payload(raw(noise(6, 8, 3), kind)))
        with pytest.raises(
            DecodeError, match=r"an image of 4x3 in a stream that began with 8x6: set 'resize: \[8, 6\]'"
        ):
            into(decoder, raw(noise(3, 4, 3), kind), spec)
        with pytest.raises(DecodeError, match="began with 8x6"):
            into(decoder, raw(noise(6, 8, 3)[:, :4], kind, padding=3), spec)


def test_an_image_of_another_size_is_brought_to_the_size_asked_for() -> None:
    decoder = ImageDecoder("ros1", Decoding(resize=(8, 6)))
    spec = decoder.probe(payload(raw(noise(6, 8, 3), "rgb8")))
    pixels = noise(12, 16, 3)
    wanted = cv2.resize(pixels, (8, 6), interpolation=cv2.INTER_AREA)
    assert np.array_equal(into(decoder, raw(pixels, "rgb8"), spec), wanted)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("mono8", "rgb8"),
        ("mono8", "bgr8"),
        ("mono8", "mono16"),
        ("mono16", "mono8"),
        ("rgb8", "mono8"),
        ("rgb8", "8UC4"),
        ("16UC1", "32FC1"),
        ("32FC1", "16UC1"),
        ("rgb8", "16UC3"),
        ("mono8", "8SC1"),
    ],
)
@pytest.mark.parametrize("padding", [0, 8])
def test_an_image_of_another_kind_is_an_error_and_never_wrong_pixels(first: str, then: str, padding: int) -> None:
    shapes = {**PLAIN, "rgb8": ("u1", 3), "bgr8": ("u1", 3)}

    def image(kind: str) -> bytes:
        dtype, channels = shapes[kind]
        return raw(noise(6, 8, channels, dtype=dtype), kind, padding=padding)

    decoder = ImageDecoder("ros1", Decoding())
    spec = decoder.probe(payload(image(first)))
    with pytest.raises(DecodeError):
        into(decoder, image(then), spec)


def test_an_unknown_encoding_lists_the_known_ones() -> None:
    with pytest.raises(DecodeError, match=r"the image encoding 'rgb9' is not known; known are rgb8, rgb16, bgr8"):
        decode(raw(noise(4, 6, 3), "rgb9"))


@pytest.mark.parametrize("kind", ["8FC1", "64UC1", "", "rgb32", "17UC1", "8UC0", "8UC999"])
def test_an_encoding_that_makes_no_sense_is_a_decode_error(kind: str) -> None:
    with pytest.raises(DecodeError, match="is not known"):
        decode(raw(noise(4, 6), kind))


def test_an_image_with_too_few_pixels_is_a_decode_error() -> None:
    message = make("ros1", IMAGE, height=6, width=8, encoding="rgb8", step=24, data=np.zeros(6 * 24 - 1))
    with pytest.raises(
        DecodeError,
        match="8x6 rgb8 needs rows of 24 bytes, its step is 24, and 6 rows should fill its 143 bytes",
    ):
        decode(serialize("ros1", message, IMAGE))
    message.step = 23
    with pytest.raises(DecodeError):
        decode(serialize("ros1", message, IMAGE))


def test_a_last_row_without_padding_is_enough() -> None:
    pixels = noise(4, 6)
    data = np.pad(pixels, ((0, 0), (0, 3))).ravel()[:-3]
    message = encoded("ros1", IMAGE, height=4, width=6, step=9, data=data, encoding="mono8")
    assert np.array_equal(decode(message), pixels)


@pytest.mark.parametrize("kind", ["yuv422", "yuyv"])
def test_an_odd_width_that_the_encoding_cannot_have_is_a_decode_error(kind: str) -> None:
    with pytest.raises(DecodeError):
        decode(raw(noise(4, 5, 2), kind))


@pytest.mark.parametrize(("height", "width"), [(0, 0), (0, 8), (4, 0)])
def test_an_image_without_pixels_is_empty_or_a_decode_error(height: int, width: int) -> None:
    with suppress(DecodeError):
        assert decode(raw(noise(max(height, 1), max(width, 1), 3)[:height, :width], "rgb8")).size == 0


@pytest.mark.parametrize("wire", ENCODINGS)
def test_a_frame_name_longer_than_the_head_that_is_read_at_once_is_stepped_over(tmp_path: Path, wire: str) -> None:
    pixels = noise(20, 30, 3)
    data = raw(pixels, "rgb8", wire=wire, frame="c" * 700)
    form = "ros1" if wire == "ros1" else "mcap"
    path = record(tmp_path / "bag", form, [Said("/image", 1, data, IMAGE)])
    with Source(path, tmp_path) as source:
        whole = source.payload(source.index(["/image"])["/image"], 0)
        assert len(whole.head()) < 700
        decoder = ImageDecoder(source.topics["/image"].encoding, Decoding())
        out = np.empty(decoder.probe(whole).shape, np.uint8)
        decoder.decode(whole, out)
    assert np.array_equal(out, pixels)


def test_an_image_is_read_straight_from_an_uncompressed_file(tmp_path: Path) -> None:
    pixels = noise(48, 64, 3)
    path = record(tmp_path / "bag", "ros1", [Said("/image", 1, raw(pixels, "rgb8"), IMAGE)])
    with Source(path, tmp_path) as source:
        whole = source.payload(source.index(["/image"])["/image"], 0)
        for how, wanted in ((Decoding(), pixels), (Decoding(color="bgr"), pixels[..., ::-1])):
            decoder = ImageDecoder("ros1", how)
            out = np.empty((48, 64, 3), np.uint8)
            decoder.decode(whole, out)
            assert np.array_equal(out, wanted)


@pytest.mark.parametrize("wire", ENCODINGS)
@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 80), value=st.binary(min_size=1, max_size=6))
def test_an_image_with_wrong_bytes_is_decoded_or_a_recording_error(wire: str, at: int, value: bytes) -> None:
    data = bytearray(raw(noise(4, 6, 3), "rgb8", wire=wire))
    data[at : at + len(value)] = value
    out = np.empty((4, 6, 3), np.uint8)
    decoder = ImageDecoder(wire.removesuffix("_be"), Decoding())
    with suppress(RecordingError):
        decoder.probe(payload(bytes(data)))
        decoder.decode(payload(bytes(data)), out)


@pytest.mark.parametrize("wire", ENCODINGS)
def test_every_cut_of_an_image_is_a_recording_error(wire: str) -> None:
    data = raw(noise(4, 6, 3), "rgb8", wire=wire)
    out = np.empty((4, 6, 3), np.uint8)
    for cut in range(len(data)):
        with pytest.raises(RecordingError):
            ImageDecoder(wire.removesuffix("_be"), Decoding()).decode(payload(data[:cut]), out)


# Geometry, and encodings of which cv_bridge knows more


def stepped(pixels: NDArray[Any], kind: str, step: int, *, more: int = 0) -> bytes:
    """Make an image whose rows lie without gaps and whose step says what it likes."""
    height, width = pixels.shape[:2]
    data = np.concatenate([np.frombuffer(pixels.tobytes(), np.uint8), np.zeros(max(more, 0), np.uint8)])
    data = data[: len(data) + min(more, 0)]
    return encoded("cdr", IMAGE, height=height, width=width, encoding=kind, step=step, data=data)


@pytest.mark.parametrize(("kind", "dtype", "channels"), [("rgb8", "u1", 3), ("mono16", "u2", 1), ("32FC1", "f4", 1)])
def test_a_step_of_0_means_rows_without_gaps(kind: str, dtype: str, channels: int) -> None:
    pixels = noise(6, 8, channels, dtype=dtype) if channels > 1 else noise(6, 8, dtype=dtype)
    assert np.array_equal(decode(stepped(pixels, kind, 0), wire="cdr"), pixels)


@pytest.mark.parametrize(("step", "more"), [(0, 3), (0, -1), (24, 24), (24, 100), (30, 0), (8, 0), (25, 0), (48, 24)])
def test_data_that_do_not_fit_the_step_are_refused_before_they_are_read(step: int, more: int) -> None:
    message = payload(stepped(noise(6, 8, 3), "rgb8", step, more=more))
    for look in (ImageDecoder("cdr", Decoding()).probe, ImageDecoder("cdr", Decoding()).verify):
        with pytest.raises(DecodeError, match=rf"its step is {step}, and 6 rows should fill its {144 + more} bytes"):
            look(message)


def test_an_image_that_claims_more_pixels_than_it_may_is_refused() -> None:
    message = encoded("cdr", IMAGE, height=1 << 20, width=1 << 20, encoding="mono8", step=1 << 20, data=np.zeros(9))
    with pytest.raises(DecodeError, match=r"1048576x1048576 pixels is above 'source\.max_pixels'"):
        decode(message, wire="cdr")
    with pytest.raises(DecodeError, match="needs rows of"):
        decode(message, Decoding(max_pixels=1 << 50), wire="cdr")


@pytest.mark.parametrize("kind", ["rgb16", "bgr16", "rgba16", "bgra16"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_colours_of_16_bits_keep_them(kind: str, *, big_endian: bool) -> None:
    order = kind[:-2]
    pixels = noise(4, 6, len(order), dtype="u2")
    found = decode(raw(pixels, kind, big_endian=big_endian, padding=2))
    assert found.dtype == np.uint16
    assert np.array_equal(found, np.stack([pixels[..., order.index(name)] for name in "rgb"], axis=2))


@pytest.mark.parametrize("kind", MOSAICS)
def test_a_mosaic_of_16_bits_is_demosaiced(kind: str) -> None:
    value = {"R": 51_000, "G": 30_000, "B": 1_000}
    tile = np.array([value[name] for name in MOSAICS[kind]], np.uint16).reshape(2, 2)
    found = decode(raw(np.tile(tile, (4, 5)), kind.replace("8", "16")))
    assert found.dtype == np.uint16
    assert np.array_equal(found[2:-2, 2:-2], np.broadcast_to(list(value.values()), (4, 6, 3)))


def test_an_encoding_in_capital_letters_is_the_same() -> None:
    pixels = noise(4, 6, 3)
    assert np.array_equal(decode(raw(pixels, "BGR8")), pixels[..., ::-1])
    assert np.array_equal(decode(raw(noise(4, 6, dtype="u2"), "16uc1")), noise(4, 6, dtype="u2"))


def test_more_channels_than_four_are_kept() -> None:
    pixels = noise(4, 6, 7, dtype="f4")
    assert np.array_equal(decode(raw(pixels, "32FC7")), pixels)


@pytest.mark.parametrize("kind", ["32FC3", "16SC2"])
def test_measured_values_of_several_channels_are_never_mixed(kind: str) -> None:
    dtype = "f4" if kind == "32FC3" else "i2"
    pixels = noise(12, 16, int(kind[-1]), dtype=dtype)
    assert np.array_equal(decode(raw(pixels, kind), Decoding(resize=(8, 6))), pixels[::2, ::2])


def test_an_image_without_colours_in_a_stream_with_some_is_a_decode_error() -> None:
    decoder = ImageDecoder("ros1", Decoding(color="rgb"))
    spec = decoder.probe(payload(raw(noise(4, 6, 3), "rgb8")))
    with pytest.raises(DecodeError, match="color: rgb does not fit an image of encoding '16UC1'"):
        into(decoder, raw(noise(4, 6, dtype="u2"), "16UC1"), spec)
