"""The first bytes of a picture file → its format, size and channels, before anything is decoded.

A size is a claim: it is held against ``max_pixels`` before memory is taken. Formats: ITU-T T.81 (JPEG), W3C PNG,
TIFF 6.0, RFC 9649 (WebP), BMP, Netpbm, ISO 15444-1 (JPEG 2000).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIZED = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the frame headers of JPEG
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_MOST_SCANS = 200  # a progressive JPEG has about ten; each pass over all pixels costs as much as a picture
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}  # as OpenCV gives them
_TIFF_SIZES = {3: "H", 4: "I"}
_TIFF_COLORS = {0, 1, 2, 3, 6}  # gray, RGB, palette, YCbCr
_PNM = re.compile(rb"(P[1-6]|P[fF])(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})")
_JP2, _J2K = b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"
_FAR = 4096  # how far into a file the size of a JPEG 2000 lies


class Head(NamedTuple):
    """What a picture says of itself; 0 channels or bits where only decoding tells."""

    kind: str
    width: int
    height: int
    channels: int = 0
    bits: int = 0


def look(data: memoryview, max_pixels: int) -> Head:
    """Read a picture's head.

    Raises:
        DecodeError: it is empty, cut off, of no known format, or larger than ``max_pixels``.

    """
    if not len(data):
        msg = "the picture is empty"
        raise DecodeError(msg)
    try:
        head = _read(data)
    except (struct.error, IndexError) as error:
        msg = f"a picture of {len(data)} bytes is cut off in its head"
        raise DecodeError(msg) from error
    require_pixels(head.width, head.height, max_pixels, f"a {head.kind}")
    return head


def require_pixels(width: int, height: int, max_pixels: int, what: str) -> None:
    """Hold a size against the limit.

    Raises:
        DecodeError: it has no pixels or too many.

    """
    if width < 1 or height < 1:
        msg = f"{what} of {width}x{height} has no pixels"
        raise DecodeError(msg)
    if width * height > max_pixels:
        msg = f"{what} of {width}x{height} pixels is above 'source.max_pixels' ({max_pixels}): raise it if it is true"
        raise DecodeError(msg)


def _read(data: memoryview) -> Head:
    first = bytes(data[:12])
    for begins, read in _READERS:
        if first.startswith(begins):
            return read(data)
    msg = (
        f"a picture of {len(data)} bytes begins with {first[:8]!r}: no JPEG, PNG, TIFF, WebP, BMP, PNM or JPEG 2000, "
        "or damaged"
    )
    raise DecodeError(msg)


def _jpeg(data: memoryview) -> Head:
    at = 2
    while True:
        if data[at] != 0xFF:
            msg = f"a JPEG of {len(data)} bytes is damaged in its head, at byte {at}"
            raise DecodeError(msg)
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
        elif marker in _SIZED:
            break
        elif marker in (0xD9, 0xDA):
            msg = f"a JPEG of {len(data)} bytes has no frame"
            raise DecodeError(msg)
        else:
            at += 2 + (0 if marker == 1 or 0xD0 <= marker <= 0xD8 else (data[at + 2] << 8 | data[at + 3]))
    bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
    if marker in _PROGRESSIVE and bytes(data).count(b"\xff\xda") > _MOST_SCANS:
        msg = f"a JPEG of {width}x{height} has more than {_MOST_SCANS} passes over its pixels: it is no camera's"
        raise DecodeError(msg)
    return Head("JPEG", width, height, channels, bits)


def _png(data: memoryview) -> Head:
    width, height, depth, color = struct.unpack_from(">IIBB", data, 16)
    if bytes(data[12:16]) != b"IHDR" or color not in _PNG_CHANNELS:
        msg = f"a PNG of {len(data)} bytes is damaged in its head"
        raise DecodeError(msg)
    for at, length in _png_chunks(data):
        if at + length > len(data):
            msg = f"a PNG of {len(data)} bytes has a part of {length} bytes at byte {at}: it is cut off or damaged"
            raise DecodeError(msg)
    pixels = bytes(data[:_FAR]).partition(b"IDAT")[0]
    return Head("PNG", width, height, 0 if b"tRNS" in pixels else _PNG_CHANNELS[color], 16 if depth == 16 else 8)


def _png_chunks(data: memoryview) -> Iterator[tuple[int, int]]:
    """Yield where each part of a PNG begins and how long it says that it is, up to the last; decoders believe it."""
    at = len(_PNG)
    while at + 8 <= len(data):  # length and kind, upon which a decoder takes memory
        length, kind = struct.unpack_from(">I4s", data, at)
        yield at, length + 12  # with its checksum
        if kind == b"IEND":
            return
        at += length + 12


def _tiff(data: memoryview) -> Head:
    order = "<" if data[0] == ord("I") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    tags = dict(_tiff_tags(data, order, at))
    width, height, color = tags.get(256, 0), tags.get(257, 0), tags.get(262, 1)
    if color not in _TIFF_COLORS:
        msg = f"a TIFF of photometric kind {color} (CMYK, Lab, …) has no colours that a camera gives"
        raise DecodeError(msg)
    if tags.get(322, 0) * tags.get(323, 0) > max(4 * width * height, 1 << 20):
        msg = f"a TIFF of {width}x{height} has tiles of {tags[322]}x{tags[323]}: it is damaged"
        raise DecodeError(msg)
    return Head("TIFF", width, height)


def _tiff_tags(data: memoryview, order: str, at: int) -> Iterator[tuple[int, int]]:
    """Yield the tags of the first picture that hold one number."""
    (count,) = struct.unpack_from(f"{order}H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, entry)
        if number == 1 and kind in _TIFF_SIZES:
            yield tag, struct.unpack_from(order + _TIFF_SIZES[kind], data, entry + 8)[0]


def _bmp(data: memoryview) -> Head:
    width, height = struct.unpack_from("<HH" if data[14] == 12 else "<ii", data, 18)
    return Head("BMP", abs(width), abs(height))


def _pnm(data: memoryview) -> Head:
    match = _PNM.match(bytes(data[:_FAR]))
    if match is None:
        msg = f"a PNM of {len(data)} bytes is damaged in its head"
        raise DecodeError(msg)
    return Head("PNM", int(match[2]), int(match[3]))


def _webp(data: memoryview) -> Head:
    chunk = bytes(data[12:16])
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Head("WebP", width & 0x3FFF, height & 0x3FFF)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Head("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    low = struct.unpack_from("<HBHB", data, 24)
    return Head("WebP", (low[0] | low[1] << 16) + 1, (low[2] | low[3] << 16) + 1)


def _jpeg2000(data: memoryview) -> Head:
    at = bytes(data[:_FAR]).find(_J2K)
    if at < 0:
        msg = f"a JPEG 2000 of {len(data)} bytes is damaged in its head"
        raise DecodeError(msg)
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    return Head("JPEG 2000", right - left, bottom - top)


_READERS: tuple[tuple[bytes | tuple[bytes, ...], Callable[[memoryview], Head]], ...] = (
    (b"\xff\xd8", _jpeg),
    (_PNG, _png),
    ((b"II*\0", b"MM\0*"), _tiff),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    (tuple(b"P" + kind for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"f", b"F")), _pnm),
    ((_JP2, _J2K), _jpeg2000),
)
