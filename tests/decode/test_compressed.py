"""CompressedImage messages → the arrays that the codecs and cv_bridge give."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.compressed import CompressedDecoder
from streamer.decode.image import ImageDecoder
from streamer.errors import DecodeError
from streamer.records import Decoding
from streamer.source.source import Source
from tests.bags import COMPRESSED, IMAGE, payload
from tests.decode.pictures import ENCODINGS, depth_message, into, noise, packed, png, smooth, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize("wire", ENCODINGS)
@pytest.mark.parametrize(("color", "order"), [(None, "RGB"), ("rgb", "RGB"), ("bgr", "BGR"), ("gray", "GRAY")])
def test_a_jpeg_is_what_the_codec_gives(color: str | None, order: str, wire: str) -> None:
    data = simplejpeg.encode_jpeg(smooth(24, 32), 90)
    wanted = simplejpeg.decode_jpeg(data, order)
    found = unpack(packed(data, wire=wire), Decoding(color=color), wire=wire)
    assert np.array_equal(found, wanted[..., 0] if order == "GRAY" else wanted)


def test_a_gray_jpeg_is_gray_unless_colour_is_asked_for() -> None:
    data = simplejpeg.encode_jpeg(smooth(24, 32)[..., :1].copy(), 90, "GRAY")
    gray = simplejpeg.decode_jpeg(data, "GRAY")[..., 0]
    assert np.array_equal(unpack(packed(data)), gray)
    assert np.array_equal(unpack(packed(data), Decoding(color="bgr")), np.stack([gray] * 3, axis=2))


def test_a_jpeg_of_another_size_is_an_error_that_names_the_way_out() -> None:
    decoder = CompressedDecoder("ros1", Decoding(), depth=False)
    spec = decoder.probe(payload(packed(simplejpeg.encode_jpeg(smooth(24, 32)))))
    for data in (simplejpeg.encode_jpeg(smooth(12, 16)), png(smooth(12, 16))):
        with pytest.raises(DecodeError, match=r"an image of 16x12 in a stream that began with 32x24: set 'resize"):
            into(decoder, packed(data), spec)


def test_a_colour_jpeg_may_follow_a_gray_one() -> None:
    decoder = CompressedDecoder("ros1", Decoding(), depth=False)
    spec = decoder.probe(payload(packed(simplejpeg.encode_jpeg(smooth(24, 32)[..., :1].copy(), 90, "GRAY"))))
    data = simplejpeg.encode_jpeg(smooth(24, 32), 90)
    assert np.array_equal(into(decoder, packed(data), spec), simplejpeg.decode_jpeg(data, "GRAY")[..., 0])


@pytest.mark.parametrize("color", [None, "bgr", "gray"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_png_is_lossless(color: str | None, *, alpha: bool) -> None:
    pixels = noise(12, 16, 4 if alpha else 3)
    found = unpack(packed(png(pixels), "png"), Decoding(color=color))
    bgr = pixels[..., :3]
    if color == "gray":
        assert np.abs(found - bgr @ np.array([0.114, 0.587, 0.299])).max() <= 1
    else:
        assert np.array_equal(found, bgr if color == "bgr" else bgr[..., ::-1])


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_gray_png_keeps_its_depth_of_bits(dtype: str) -> None:
    pixels = noise(12, 16, dtype=dtype)
    found = unpack(packed(png(pixels), "png"))
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, pixels)


def test_a_colour_png_of_16_bits_stays_so() -> None:
    pixels = noise(12, 16, 3, dtype="u2")
    assert np.array_equal(unpack(packed(png(pixels), "png")), pixels[..., ::-1])


def test_a_webp_without_loss_is_exact() -> None:
    pixels = smooth(24, 32)
    data = bytes(cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])[1])
    assert np.array_equal(unpack(packed(data, "webp")), pixels[..., ::-1])


@pytest.mark.parametrize("wire", ENCODINGS)
@pytest.mark.parametrize(("form", "by_topic"), [("16UC1; compressedDepth png", False), ("16UC1", True)])
def test_compressed_depth_in_millimetres_is_kept_exactly(form: str, wire: str, *, by_topic: bool) -> None:
    pixels = noise(12, 16, dtype="u2")
    pixels[0, :3] = 0
    decoder = CompressedDecoder(wire.removesuffix("_be"), Decoding(), depth=by_topic)
    assert np.array_equal(into(decoder, depth_message(png(pixels), form, wire=wire)), pixels)
    assert decoder.kind == "depth"


def test_compressed_depth_is_resized_to_values_that_were_measured() -> None:
    pixels = noise(12, 16, dtype="u2")
    found = unpack(depth_message(png(pixels), "16UC1; compressedDepth png"), Decoding(resize=(8, 6)))
    assert np.array_equal(found, pixels[::2, ::2])


def test_compressed_depth_in_metres_is_dequantized() -> None:
    quantum, most = 100.0, 10.0
    a, b = quantum * (quantum + 1), 1 - quantum * (quantum + 1) / most
    metres = np.array([[0.5, 1.0, 2.5, 9.9], [3.3, 0.25, 7.0, np.nan]], np.float32)
    inverse = np.nan_to_num(np.rint(a / metres + b), nan=0).astype(np.uint16)
    found = unpack(depth_message(png(inverse), "32FC1; compressedDepth png", a, b))
    assert found.dtype == np.float32
    assert np.isnan(found[1, 3])
    assert np.array_equal(np.isnan(found), np.isnan(metres))
    known = ~np.isnan(metres)
    wanted = np.float32(a) / (inverse[known].astype(np.float32) - np.float32(b))
    assert np.allclose(found[known], wanted, rtol=1e-6)
    assert np.allclose(found[known], metres[known], rtol=0.01)


@pytest.mark.parametrize("how", [Decoding(), Decoding(resize=(8, 8)), Decoding(color="gray")])
def test_every_cut_of_a_jpeg_is_a_decode_error(how: Decoding) -> None:
    data = simplejpeg.encode_jpeg(noise(24, 32, 3), 90)
    decoder = CompressedDecoder("ros1", how, depth=False)
    out = np.empty(decoder.probe(payload(packed(data))).shape, np.uint8)
    for cut in [*range(0, len(data) - 2, 97), len(data) // 2, len(data) - 20]:
        with pytest.raises(DecodeError):
            decoder.decode(payload(packed(data[:cut])), out)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("depth", [False, True])
def test_every_cut_of_a_png_is_a_decode_error(dtype: str, *, depth: bool) -> None:
    data = png(noise(24, 32, dtype=dtype))
    decoder = CompressedDecoder("ros1", Decoding(), depth=depth)
    out = np.empty((24, 32), dtype)
    for cut in [*range(0, len(data) - 12, 97), len(data) // 2, len(data) - 20]:
        cut_message = depth_message(data[:cut], "x") if depth else packed(data[:cut], "png")
        with pytest.raises(DecodeError):
            decoder.decode(payload(cut_message), out)


def test_a_png_with_wrong_bytes_inside_is_a_decode_error() -> None:
    data = bytearray(png(noise(24, 32, dtype="u2")))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DecodeError):
        unpack(packed(bytes(data), "png"))


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG", b"GIF89a", bytes(100), b"RIFF"]
)
@pytest.mark.parametrize("depth", [False, True])
def test_what_is_no_image_is_a_decode_error(data: bytes, *, depth: bool) -> None:
    with pytest.raises(DecodeError):
        unpack(packed(data), depth=depth)


@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(12)]))
def test_random_bytes_are_no_image(data: bytes, start: bytes) -> None:
    for message in (packed(start + data), depth_message(start + data, "16UC1; compressedDepth png"), start + data):
        with suppress(DecodeError):
            assert unpack(message).size >= 0


def test_a_compressed_image_shorter_than_it_says_is_a_decode_error() -> None:
    message = packed(simplejpeg.encode_jpeg(smooth(24, 32)))
    with pytest.raises(DecodeError, match=r"a compressed image should have \d+ bytes and has \d+"):
        unpack(message[:-10])


def test_the_real_images_decode(recordings: Path, tmp_path: Path) -> None:
    with Source(recordings / "ros_numpy.bag", tmp_path) as source:
        found = {}
        for topic in source.topics.values():
            if topic.msgtype in (IMAGE, COMPRESSED):
                decoder: Any = (
                    ImageDecoder("ros1", Decoding())
                    if topic.msgtype == IMAGE
                    else CompressedDecoder("ros1", Decoding(), depth=False)
                )
                message = source.payload(source.index([topic.name])[topic.name], 0)
                spec = decoder.probe(message)
                found[topic.msgtype] = np.empty(spec.shape, np.dtype(spec.dtype))
                decoder.decode(message, found[topic.msgtype])
    assert found[IMAGE].ndim == found[COMPRESSED].ndim == 3
    assert found[IMAGE].std() > 1
    assert found[COMPRESSED].std() > 1


# What the format says


def patch() -> NDArray[np.uint8]:
    """Make a picture that shows which channel is which: red 200, green 120, blue 40."""
    return np.broadcast_to(np.array([200, 120, 40], np.uint8), (16, 24, 3)).copy()


def file(extension: str, pixels: NDArray[Any]) -> bytes:
    """Let OpenCV write a picture of channels in any order, as compressed_publisher does."""
    return bytes(cv2.imencode(extension, pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])[1])


@pytest.mark.parametrize(
    ("form", "extension", "given"),
    [
        ("jpeg", ".jpg", "bgr"),
        ("png", ".png", "bgr"),
        ("JPEG", ".jpg", "bgr"),
        ("", ".jpg", "bgr"),
        ("jpg", ".png", "bgr"),
        ("tiff", ".tiff", "bgr"),
        ("rgb8; jpeg compressed bgr8", ".jpg", "bgr"),
        ("bgr8; jpeg compressed bgr8", ".jpg", "bgr"),
        ("BGR8; JPEG compressed BGR8", ".jpg", "bgr"),
        ("rgb8;jpeg compressed bgr8", ".jpg", "bgr"),
        ("rgba8; png compressed bgr8", ".png", "bgr"),
        ("bgra8; jpeg compressed bgr8", ".jpg", "bgr"),
        ("yuv422; jpeg compressed bgr8", ".jpg", "bgr"),
        ("yuv422_yuy2; png compressed bgr8", ".png", "bgr"),
        ("8UC3; jpeg compressed ", ".jpg", "bgr"),
        ("8UC3; png compressed ", ".png", "bgr"),
        ("bayer_rggb8; jpeg compressed bgr8", ".jpg", "bgr"),
        ("rgb8; jpeg compressed rgb8", ".jpg", "rgb"),
        ("rgb8; png compressed rgb8", ".png", "rgb"),
        ("rgb8; jpeg compressed ", ".jpg", "rgb"),
        ("rgb8; tiff compressed ", ".tiff", "rgb"),
        ("bgr8; tiff compressed ", ".tiff", "bgr"),
        ("rgba8; tiff compressed ", ".tiff", "rgba"),
        ("bgra8; tiff compressed ", ".tiff", "bgra"),
    ],
)
@pytest.mark.parametrize("color", [None, "bgr", "gray"])
def test_the_format_says_which_channel_is_which(form: str, extension: str, given: str, color: str | None) -> None:
    channels = {"r": 200, "g": 120, "b": 40, "a": 9}
    pixels = np.broadcast_to(np.array([channels[name] for name in given], np.uint8), (16, 24, len(given))).copy()
    message = packed(file(extension, pixels), form)
    found = unpack(message, Decoding(color=color)).astype(int)
    wanted = {None: [200, 120, 40], "bgr": [40, 120, 200], "gray": 0.299 * 200 + 0.587 * 120 + 0.114 * 40}[color]
    assert np.abs(found - np.asarray(wanted)).max() <= 2
    resized = unpack(message, Decoding(color=color, resize=(6, 4))).astype(int)
    assert np.abs(resized - np.asarray(wanted)).max() <= 2


MOSAICS = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


@pytest.mark.parametrize("mosaic", MOSAICS)
@pytest.mark.parametrize(
    ("form", "extension", "bits"),
    [
        ("bayer_{}8; png compressed ", ".png", 8),
        ("bayer_{}8; jpeg compressed ", ".jpg", 8),
        ("bayer_{0}8; jpeg compressed bayer_{0}8", ".jpg", 8),
        ("bayer_{}8; tiff compressed ", ".tiff", 8),
        ("bayer_{}16; png compressed ", ".png", 16),
    ],
)
def test_a_mosaic_in_a_picture_becomes_colours(mosaic: str, form: str, extension: str, bits: int) -> None:
    scale = 1 << bits - 8
    value = {"R": 200 * scale, "G": 120 * scale, "B": 40 * scale}
    tile = np.array([value[name] for name in MOSAICS[mosaic]], f"u{bits // 8}").reshape(2, 2)
    found = unpack(packed(file(extension, np.tile(tile, (8, 12))), form.format(mosaic)))
    assert found.shape == (16, 24, 3)
    assert found.dtype == tile.dtype
    assert np.abs(found[4:-4, 4:-4].astype(int) - list(value.values())).max() <= 4 * scale


def test_a_mosaic_that_was_made_gray_before_stays_gray() -> None:
    gray = noise(16, 24)
    assert np.array_equal(unpack(packed(png(gray), "bayer_rggb8; png compressed mono8")), gray)


@pytest.mark.parametrize(
    ("form", "dtype", "extension"),
    [
        ("16UC1; png compressed ", "u2", ".png"),
        ("mono16; png compressed ", "u2", ".png"),
        ("mono16; tiff compressed ", "u2", ".tiff"),
        ("16UC1; tiff compressed ", "u2", ".tiff"),
        ("32FC1; tiff compressed ", "f4", ".tiff"),
        ("16SC1; tiff compressed ", "i2", ".tiff"),
        ("8UC1; png compressed ", "u1", ".png"),
        ("mono8; tiff compressed ", "u1", ".tiff"),
    ],
)
def test_measured_values_in_a_lossless_picture_are_kept(form: str, dtype: str, extension: str) -> None:
    pixels = noise(12, 16, dtype=dtype)
    found = unpack(packed(file(extension, pixels), form))
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, pixels)


def test_measured_values_of_three_channels_keep_their_order() -> None:
    pixels = noise(6, 8, 3, dtype="f4")
    assert np.array_equal(unpack(packed(file(".tiff", pixels), "32FC3; tiff compressed ")), pixels)


@pytest.mark.parametrize("given", ["rgb", "bgr"])
def test_colours_of_16_bits_come_in_order(given: str) -> None:
    pixels = noise(12, 16, 3, dtype="u2")
    found = unpack(packed(file(".png", pixels), f"{given}16; png compressed bgr16"))
    assert np.array_equal(found, pixels[..., ::-1])


@pytest.mark.parametrize("form", ["mono16; jpeg compressed mono8", "rgb16; jpeg compressed bgr8"])
def test_16_bits_that_were_scaled_into_a_jpeg_are_scaled_back_as_the_subscriber_does(form: str) -> None:
    color = form.startswith("rgb")
    data = file(".jpg", patch()[..., ::-1] if color else np.full((16, 24), 150, np.uint8))
    found = unpack(packed(data, form))
    assert found.dtype == np.uint16
    stored = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)).astype(np.uint16) * 256
    assert np.array_equal(found, stored[..., ::-1] if color else stored)


@pytest.mark.parametrize(
    ("form", "extension", "dtype"),
    [
        ("32FC1; png compressed ", ".png", "u2"),
        ("16UC1; png compressed ", ".png", "u1"),
        ("mono8; png compressed ", ".png", "u2"),
        ("bgr8; png compressed bgr16", ".png", "u1"),
        ("16SC1; png compressed ", ".png", "u1"),
        ("16UC1; jpeg compressed ", ".jpg", "u1"),
        ("16UC1; jpeg compressed mono8", ".jpg", "u1"),
        ("mono16; jpeg compressed ", ".jpg", "u1"),
        ("bayer_rggb16; jpeg compressed bayer_rggb16", ".jpg", "u1"),
        ("32FC1; jpeg compressed ", ".jpg", "u1"),
        ("32FC1", ".png", "u2"),
    ],
)
def test_a_format_that_speaks_of_other_values_than_the_picture_holds_is_refused(
    form: str, extension: str, dtype: str
) -> None:
    decoder = CompressedDecoder("ros1", Decoding(), depth=False)
    message = payload(packed(file(extension, noise(12, 16, dtype=dtype)), form))
    for look in (decoder.probe, decoder.verify):
        with pytest.raises(DecodeError, match=rf"format '{form}': "):
            look(message)
