"""Pictures of every kind → their pixels, and a refusal by their heads where they claim too many."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from streamer.decode.compressed import CompressedDecoder
from streamer.errors import DecodeError
from streamer.records import Decoding
from tests.bags import little_memory, payload
from tests.decode.pictures import noise, packed, png, smooth, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray


def written(mode: str, kind: str, **options: Any) -> tuple[bytes, NDArray[Any]]:
    """Let Pillow write a picture, and say what it reads again, in RGB."""
    y, x = np.mgrid[:12, :16]
    rgb = np.stack([x * 15, y * 20, (x + y) * 9], axis=2).astype(np.uint8)
    image = Image.fromarray(rgb).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue(), np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))


@pytest.mark.parametrize(
    ("mode", "kind", "options", "near"),
    [
        ("P", "PNG", {}, 0),
        ("RGBA", "PNG", {}, 0),
        ("RGB", "PNG", {"compress_level": 0}, 0),
        ("RGB", "TIFF", {}, 0),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}, 0),
        ("P", "TIFF", {}, 0),
        ("RGB", "WEBP", {"lossless": True}, 0),
        ("RGBA", "WEBP", {"lossless": True}, 0),
        ("RGB", "WEBP", {}, 2),
        ("RGB", "BMP", {}, 0),
        ("RGB", "PPM", {}, 0),
        ("RGB", "JPEG2000", {"irreversible": False}, 0),
        ("RGB", "JPEG", {"progressive": True}, 0),
        ("RGB", "JPEG", {"subsampling": 0, "keep_rgb": True}, 1),
        ("CMYK", "JPEG", {"quality": 100}, 3),
    ],
)
def test_what_pillow_writes_is_read_as_pillow_reads_it(
    mode: str, kind: str, options: dict[str, Any], near: int
) -> None:
    data, wanted = written(mode, kind, **options)
    found = unpack(packed(data, kind.lower()))
    assert np.abs(found.astype(int) - wanted).max() <= near


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_not_turned_by_its_exif_data(kind: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # turn by 90°
    plain, _ = written("RGB", kind, exif=Image.Exif())
    turned, _ = written("RGB", kind, exif=exif)
    assert turned != plain
    found = unpack(packed(turned))
    assert found.shape == (12, 16, 3)
    assert np.array_equal(found, unpack(packed(plain)))


@pytest.mark.parametrize("data", [simplejpeg.encode_jpeg(np.zeros((12, 16, 3), np.uint8)), png(noise(12, 16, 3))])
def test_bytes_behind_a_picture_do_not_matter(data: bytes) -> None:
    assert np.array_equal(unpack(packed(data + bytes(50))), unpack(packed(data)))


def test_a_webcams_jpeg_with_bytes_before_its_end_is_whole_and_decoded() -> None:
    data = simplejpeg.encode_jpeg(smooth(24, 32), 90)
    assert np.array_equal(unpack(packed(data[:-2] + bytes(4) + data[-2:])), simplejpeg.decode_jpeg(data))


@pytest.mark.parametrize("form", ["jpeg", "png", "16UC1; compressedDepth png", "rgb8; jpeg compressed bgr8"])
def test_an_empty_picture_is_said_to_be_empty(form: str) -> None:
    decoder = CompressedDecoder("ros1", Decoding(), depth=False)
    for look in (decoder.probe, decoder.verify):
        with pytest.raises(DecodeError, match="the picture is empty"):
            look(payload(packed(b"", form)))


def huge(kind: str, size: int) -> bytes:
    """Make a small file that claims to have ``size`` times ``size`` pixels."""
    if kind == "JPEG":
        data = bytearray(simplejpeg.encode_jpeg(smooth(24, 32)))
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", min(size, 65_000), min(size, 65_000))
        return bytes(data)
    data = bytearray(written("RGB", kind, **({"lossless": True} if kind == "WEBP" else {}))[0])
    if kind == "PNG":
        data[16:24] = struct.pack(">II", size, size)
    elif kind == "TIFF":
        for tag in (256, 257):
            at = data.index(struct.pack("<HHI", tag, 4, 1))
            data[at + 8 : at + 12] = struct.pack("<I", size)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", size, -size)
    elif kind == "PPM":
        data = bytearray(f"P6\n{size} {size}\n255\n".encode() + bytes(30))
    elif kind == "WEBP":
        data[21:25] = struct.pack("<I", 0x0FFFFFFF)
    else:
        at = data.index(b"\xff\x4f\xff\x51") + 8
        data[at : at + 8] = struct.pack(">II", size, size)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000"])
def test_a_picture_that_claims_too_many_pixels_is_refused_by_its_head(kind: str) -> None:
    decoder = CompressedDecoder("ros1", Decoding(), depth=False)
    message = payload(packed(huge(kind, 100_000)))
    for look in (decoder.probe, decoder.verify):
        with pytest.raises(DecodeError, match=r"pixels is above 'source\.max_pixels' \(50000000\)"):
            look(message)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000"])
def test_a_picture_may_be_just_as_large_as_it_may(kind: str) -> None:
    data, _ = written("RGB", kind)
    assert unpack(packed(data), Decoding(max_pixels=12 * 16)).shape == (12, 16, 3)
    with pytest.raises(DecodeError, match="16x12 pixels is above"):
        unpack(packed(data), Decoding(max_pixels=12 * 16 - 1))


def test_a_jpeg_of_a_thousand_passes_is_refused() -> None:
    data, _ = written("RGB", "JPEG", progressive=True)
    with pytest.raises(DecodeError, match="passes over its pixels"):
        unpack(packed(data[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 1000 + data[-2:]))


def test_a_tiff_of_inks_is_refused() -> None:
    with pytest.raises(DecodeError, match="a TIFF of photometric kind 5"):
        unpack(packed(written("CMYK", "TIFF")[0], "tiff"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA"])
def test_a_pictures_head_tells_what_decoding_gives(kind: str, mode: str) -> None:
    if kind == "JPEG" and mode in ("P", "RGBA"):
        pytest.skip("JPEG has no palette and no alpha")
    decoder = CompressedDecoder("ros1", Decoding(), depth=False)
    message = payload(packed(written(mode, kind)[0]))
    told = decoder.verify(message)
    assert told == decoder.probe(message)
    decoder.decode(message, np.empty(told.shape, told.dtype))


def test_a_part_of_a_png_that_claims_gigabytes_is_refused_before_decoding() -> None:
    data = bytearray(png(noise(12, 16, 3)))
    at = data.index(b"IDAT")
    for length in (len(data), 2**28, 2**31, 2**32 - 1):
        data[at - 4 : at] = struct.pack(">I", length)
        for cut in (data, data[: at + 4], data[: at + 7]):  # down to its length and kind
            with little_memory(), pytest.raises(DecodeError, match=rf"a part of {length + 12} bytes .* cut off"):
                unpack(packed(bytes(cut)))
    whole = png(noise(12, 16, 3))
    end = whole[:-12] + struct.pack(">I", 2**31) + whole[-8:]
    with little_memory(), pytest.raises(DecodeError, match=rf"a part of {2**31 + 12} bytes .* cut off"):
        unpack(packed(end))
