"""Image messages of every encoding → the arrays that numpy and the codecs themselves give."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.image import CompressedDecoder, ImageDecoder
from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.records import Decoding, Spec
from streamer.source.source import Source
from tests.bags import COMPRESSED, IMAGE, encoded, header, make, payload, record, serialize
from tests.bags import Message as Said

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ENCODINGS = ("ros1", "cdr", "cdr_be")


def raw(
    pixels: NDArray[Any],
    kind: str,
    *,
    wire: str = "ros1",
    padding: int = 0,
    big_endian: bool = False,
    frame: str = "cam",
) -> bytes:
    """Make an Image; each row gets `padding` bytes that must not show."""
    if big_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(len(pixels), pixels.nbytes // max(len(pixels), 1))
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    height, width = pixels.shape[:2]
    values = {"height": height, "width": width, "encoding": kind, "is_bigendian": int(big_endian)}
    return encoded(wire, IMAGE, header=header(5, frame), step=padded.shape[1], data=padded.ravel(), **values)


def decode(data: bytes, how: Decoding | None = None, wire: str = "ros1") -> NDArray[Any]:
    decoder = ImageDecoder(wire.removesuffix("_be"), how or Decoding())
    return into(decoder, data)


def into(decoder: ImageDecoder | CompressedDecoder, data: bytes, spec: Spec | None = None) -> NDArray[Any]:
    """Probe and decode into a place full of sevens."""
    spec = spec or decoder.probe(payload(data))
    out = np.full(spec.shape, 7, np.dtype(spec.dtype))
    assert decoder.decode(payload(data), out) == len(out)
    return out


def noise(*shape: int, dtype: str = "u1") -> NDArray[Any]:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype)


# Raw images


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
def test_images_are_resized_linearly(kind: str) -> None:
    channels = {"mono8": 1, "rgba8": 4}.get(kind, 3)
    pixels = noise(12, 16) if channels == 1 else noise(12, 16, channels)
    found = decode(raw(pixels, kind), Decoding(resize=(8, 5)))
    whole = decode(raw(pixels, kind))
    assert np.array_equal(found, cv2.resize(whole, (8, 5), interpolation=cv2.INTER_LINEAR))
    assert found.shape[:2] == (5, 8)


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
    wanted = cv2.resize(pixels, (8, 6), interpolation=cv2.INTER_LINEAR)
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
    with pytest.raises(DecodeError, match=r"the image encoding 'rgb9' is not known; known are rgb8, bgr8"):
        decode(raw(noise(4, 6, 3), "rgb9"))


@pytest.mark.parametrize("kind", ["8FC1", "64UC9", "", "rgb16", "17UC1"])
def test_an_encoding_that_makes_no_sense_is_a_decode_error(kind: str) -> None:
    with pytest.raises(DecodeError, match="is not known"):
        decode(raw(noise(4, 6), kind))


def test_an_image_with_too_few_pixels_is_a_decode_error() -> None:
    message = make("ros1", IMAGE, height=6, width=8, encoding="rgb8", step=24, data=np.zeros(6 * 24 - 1))
    with pytest.raises(DecodeError, match="an image of 8x6 rgb8 has only 143 bytes of pixels"):
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


# Compressed images


def packed(data: bytes, form: str = "jpeg", wire: str = "ros1") -> bytes:
    return encoded(wire, COMPRESSED, header=header(5, "cam"), format=form, data=np.frombuffer(data, np.uint8))


def unpack(data: bytes, how: Decoding | None = None, *, wire: str = "ros1", depth: bool = False) -> NDArray[Any]:
    return into(CompressedDecoder(wire.removesuffix("_be"), how or Decoding(), depth=depth), data)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5 % 256, y * 7 % 256, (x + y) * 3 % 256], axis=2).astype(np.uint8)


def png(pixels: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


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


@pytest.mark.parametrize("color", [None, "gray"])
def test_a_jpeg_is_resized_linearly(color: str | None) -> None:
    data = simplejpeg.encode_jpeg(smooth(24, 32), 90)
    whole = unpack(packed(data), Decoding(color=color))
    found = unpack(packed(data), Decoding(color=color, resize=(20, 10)))
    assert np.array_equal(found, cv2.resize(whole, (20, 10), interpolation=cv2.INTER_LINEAR))


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


def depth_message(data: bytes, form: str, a: float = 0.0, b: float = 0.0, wire: str = "ros1") -> bytes:
    return packed(struct.pack("<iff", 0, a, b) + data, form, wire)


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


def test_rvl_depth_is_an_error_that_says_what_to_record() -> None:
    with pytest.raises(DecodeError, match="RVL format is not supported: record it as PNG"):
        unpack(depth_message(b"\x10\0\0\0\x0c\0\0\0" + bytes(40), "16UC1; compressedDepth rvl"))


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
