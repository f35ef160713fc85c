"""Image and CompressedImage messages → arrays (height, width[, 3]), in the colour order asked for.

A raw image that needs no conversion goes from the file into its place in one read; a JPEG is
decoded into its place. Encodings: sensor_msgs/image_encodings.hpp; compressed depth:
compressed_depth_image_transport (a header of 12 bytes, then PNG).
"""

from __future__ import annotations

import re
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cursor import Cursor, parse_head
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Decoding, Payload

_COLOR = {"rgb8": ("RGB", 3), "bgr8": ("BGR", 3), "rgba8": ("RGBA", 4), "bgra8": ("BGRA", 4), "8UC3": ("BGR", 3)}
_BAYER = {
    "bayer_rggb8": "BayerRGGB",
    "bayer_bggr8": "BayerBGGR",
    "bayer_gbrg8": "BayerGBRG",
    "bayer_grbg8": "BayerGRBG",
}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
_PLAIN = {"mono8": ("u1", 1), "mono16": ("u2", 1)}
_GENERIC = re.compile(r"(?:(8|16|32|64)([US])|(16|32|64)(F))C([1-4])")
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"
_DEPTH_HEAD = 12
_NOT_YET = 'compressed depth in the RVL format is not supported: record it as PNG (png_level, format "png")'


class _Raw(NamedTuple):
    """The head of a raw image."""

    height: int
    width: int
    encoding: str
    big_endian: bool
    step: int
    start: int
    length: int


class _Pixels(NamedTuple):
    """How the bytes of a raw image are to be read: ``order`` names the colours, "" keeps them."""

    dtype: str
    channels: int
    order: str


class _Scratch(threading.local):
    """One image a thread, for pixels that are resized or converted before they reach their place."""

    def __init__(self) -> None:
        self.buffer = np.empty(0, np.uint8)

    def image(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        size = int(np.prod(shape))
        if len(self.buffer) < size:
            self.buffer = np.empty(size, np.uint8)
        return self.buffer[:size].reshape(shape)


_scratch = _Scratch()


class ImageDecoder:
    """sensor_msgs/Image."""

    kind = "image"

    def __init__(self, encoding: str, how: Decoding) -> None:
        """Remember the wire encoding (``ros1`` or ``cdr``) and what is asked for."""
        self._wire = encoding
        self._how = how

    def rows(self, payload: Payload) -> int:
        """Return the height."""
        return parse_head(payload, self._wire, _raw_head).height

    def probe(self, payload: Payload) -> Spec:
        """Read one message's head."""
        raw = parse_head(payload, self._wire, _raw_head)
        pixels = _pixels(raw.encoding)
        code, channels = _conversion(pixels, self._how.color, raw.encoding)
        del code
        if channels == 1 and pixels.dtype != "u1":
            self.kind = "depth"
        width, height = self._how.resize or (raw.width, raw.height)
        return Spec((height, width) if channels == 1 else (height, width, channels), np.dtype(pixels.dtype).str)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Read, convert and resize as far as the settings need it."""
        raw = parse_head(payload, self._wire, _raw_head)
        pixels = _pixels(raw.encoding)
        code, channels = _conversion(pixels, self._how.color, raw.encoding)
        _require_same(channels, np.dtype(pixels.dtype), out, raw.encoding)
        row = raw.width * pixels.channels * np.dtype(pixels.dtype).itemsize
        if (
            not row
            or raw.step < row
            or raw.length < raw.step * (raw.height - 1) + row
            or raw.start + raw.length > len(payload)
        ):
            msg = f"an image of {raw.width}x{raw.height} {raw.encoding} has only {raw.length} bytes of pixels"
            raise DecodeError(msg)
        native = pixels.dtype == "u1" or not raw.big_endian
        if code is None and self._how.resize is None and raw.step == row and native:
            _require((raw.height, raw.width), out)
            payload.into(raw.start, out.reshape(-1).view(np.uint8).data)
            return len(out)
        shape = (raw.height, raw.width, pixels.channels)[: 2 if pixels.channels == 1 else 3]
        dtype = np.dtype(pixels.dtype).newbyteorder(">" if raw.big_endian else "<")
        strides = (raw.step, pixels.channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
        source = np.ndarray(shape, dtype, payload.all(), raw.start, strides)
        _finish(np.ascontiguousarray(source, dtype.newbyteorder("=")), code, self._how.resize, out)
        return len(out)


class CompressedDecoder:
    """sensor_msgs/CompressedImage: JPEG, PNG, WebP and what else OpenCV reads; compressed depth."""

    kind = "image"

    def __init__(self, encoding: str, how: Decoding, *, depth: bool) -> None:
        """Remember what is asked for; ``depth`` says that the topic's name promises compressed depth."""
        self._wire = encoding
        self._how = how
        self._depth = depth

    def rows(self, payload: Payload) -> int:
        """Return the height."""
        return self.probe(payload).shape[0]

    def probe(self, payload: Payload) -> Spec:
        """Decode one message."""
        import simplejpeg

        data, depth = self._data(payload)
        if depth or bytes(data[:2]) != _JPEG:
            image = self._unpack(data, depth=depth)
            if image.ndim == 2 and image.dtype != np.uint8:
                self.kind = "depth"
            shape, dtype = image.shape, image.dtype.str
        else:
            try:
                height, width, space, _ = simplejpeg.decode_jpeg_header(data)
            except ValueError as error:
                msg = f"a JPEG image of {len(data)} bytes does not decode: {error}"
                raise DecodeError(msg) from error
            gray = self._how.color == "gray" or (space.upper() == "GRAY" and self._how.color is None)
            shape, dtype = (height, width) if gray else (height, width, 3), "|u1"
        if self._how.resize:
            shape = (*self._how.resize[::-1], *shape[2:])
        return Spec(tuple(shape), dtype)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Decode one message into its place."""
        data, depth = self._data(payload)
        if depth or bytes(data[:2]) != _JPEG:
            _finish(self._unpack(data, depth=depth), None, self._how.resize, out)
        else:
            self._decode_jpeg(data, out)
        return len(out)

    def _decode_jpeg(self, data: memoryview, out: NDArray[Any]) -> None:
        import simplejpeg

        order = "GRAY" if out.ndim == 2 else "BGR" if self._how.color == "bgr" else "RGB"
        try:
            height, width, space, _ = simplejpeg.decode_jpeg_header(data)
            if space.upper() in ("CMYK", "YCCK"):
                _finish(self._unpack(data, depth=False), None, self._how.resize, out)
            elif self._how.resize is None or (height, width) == out.shape[:2]:
                _require((height, width), out)
                simplejpeg.decode_jpeg(data, order, buffer=out)
            else:
                whole = _scratch.image((height, width, *(out.shape[2:] or (1,))))
                simplejpeg.decode_jpeg(data, order, buffer=whole)
                _finish(whole.reshape(height, width, *out.shape[2:]), None, self._how.resize, out)
        except ValueError as error:
            msg = f"a JPEG image of {len(data)} bytes does not decode: {error}"
            raise DecodeError(msg) from error

    def _data(self, payload: Payload) -> tuple[memoryview, bool]:
        """Return the compressed bytes, and whether they are compressed depth."""

        def head(cursor: Cursor) -> tuple[str, int, int]:
            return cursor.text(), cursor.number(), cursor.position

        form, length, start = parse_head(payload, self._wire, head)
        data = payload.all()[start : start + length]
        if len(data) < length or length == 0:
            msg = f"a compressed image should have {length} bytes and has {len(data)}"
            raise DecodeError(msg)
        return data, self._depth or "compressedDepth" in form

    def _unpack(self, data: memoryview, *, depth: bool) -> NDArray[Any]:
        """Decode what is no JPEG, in the colour order asked for."""
        import cv2

        head = bytes(data[:_DEPTH_HEAD])
        if depth:
            data = data[_DEPTH_HEAD:]
            if bytes(data[:4]) != _PNG:
                raise DecodeError(_NOT_YET)
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            image, reason = None, f": {error}"
        else:
            reason = ""
        if image is None:
            msg = f"a compressed image of {len(data)} bytes does not decode{reason}: no JPEG, PNG or WebP, or damaged"
            raise DecodeError(msg)
        if depth:
            return _dequantize(image, head)
        if image.ndim == 2:
            return image if self._how.color in (None, "gray") else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        target = (self._how.color or "rgb").upper()
        source = "BGRA" if image.shape[2] == 4 else "BGR"
        return image if source == target else cv2.cvtColor(image, getattr(cv2, f"COLOR_{source}2{target}"))


def _raw_head(cursor: Cursor) -> _Raw:
    height, width, encoding = cursor.number(), cursor.number(), cursor.text()
    big_endian, step, length = bool(cursor.byte()), cursor.number(), cursor.number()
    return _Raw(height, width, encoding, big_endian, step, cursor.position, length)


def _pixels(encoding: str) -> _Pixels:
    if encoding in _COLOR:
        order, channels = _COLOR[encoding]
        return _Pixels("u1", channels, order)
    if encoding in _BAYER:
        return _Pixels("u1", 1, _BAYER[encoding])
    if encoding in _YUV:
        return _Pixels("u1", 2, _YUV[encoding])
    if encoding in _PLAIN:
        return _Pixels(*_PLAIN[encoding], "")
    if match := _GENERIC.fullmatch(encoding):
        bits, kind, count = match[1] or match[3], match[2] or match[4], match[5]
        return _Pixels({"U": "u", "S": "i", "F": "f"}[kind] + str(int(bits) // 8), int(count), "")
    known = ", ".join([*_COLOR, *_BAYER, *_YUV, *_PLAIN, "8UC1 … 64FC4"])
    msg = f"the image encoding {encoding!r} is not known; known are {known}"
    raise DecodeError(msg)


def _conversion(pixels: _Pixels, color: str | None, encoding: str) -> tuple[int | None, int]:
    """Return OpenCV's conversion code (None: none needed) and the number of channels after it."""
    if not pixels.order:
        if color is None or (color == "gray" and pixels.channels == 1):
            return None, pixels.channels
        if pixels.channels != 1 or pixels.dtype != "u1":
            msg = f"{color} does not fit an image of encoding {encoding!r}; leave 'color' out"
            raise ConfigError(msg, key="color")
    target = (color or "rgb").upper()
    if pixels.order == target:
        return None, 3
    import cv2

    channels = 1 if target == "GRAY" else 3
    if not pixels.order:
        return int(cv2.COLOR_GRAY2RGB), 3
    if pixels.order in _YUV.values():
        return int(getattr(cv2, f"COLOR_YUV2{target}_{pixels.order}")), channels
    return int(getattr(cv2, f"COLOR_{pixels.order}2{target}")), channels


def _finish(image: NDArray[Any], code: int | None, resize: tuple[int, int] | None, out: NDArray[Any]) -> None:
    """Convert and resize into ``out``: linear for 8-bit pixels, nearest for measured values."""
    import cv2

    try:
        _convert(image, code, resize, out)
    except cv2.error as error:
        msg = f"an image of {image.dtype} {image.shape} cannot be converted: {error}"
        raise DecodeError(msg) from error


def _convert(image: NDArray[Any], code: int | None, resize: tuple[int, int] | None, out: NDArray[Any]) -> None:
    import cv2

    if code is not None:
        if resize is None:
            _require(image.shape[:2], out)
            cv2.cvtColor(image, code, dst=out)
            return
        image = cv2.cvtColor(image, code)
    if image.shape[2:] != out.shape[2:] or image.dtype != out.dtype:
        msg = f"an image of {image.dtype} {image.shape} in a stream of {out.dtype} {out.shape}: the topic changed"
        raise DecodeError(msg)
    if image.shape == out.shape:
        out[...] = image
        return
    if resize is None:
        _require(image.shape[:2], out)
    how = cv2.INTER_LINEAR if image.dtype == np.uint8 else cv2.INTER_NEAREST
    cv2.resize(image, (out.shape[1], out.shape[0]), dst=out, interpolation=how)


def _require_same(channels: int, dtype: np.dtype[Any], out: NDArray[Any], encoding: str) -> None:
    """Make sure that an encoding still gives what the stream began with."""
    if channels != (out.shape[2] if out.ndim == 3 else 1) or dtype != out.dtype:
        msg = f"an image of encoding {encoding!r} in a stream of {out.dtype} {out.shape}: the topic changed"
        raise DecodeError(msg)


def _require(size: tuple[int, ...], out: NDArray[Any]) -> None:
    if size != out.shape[:2]:
        msg = (
            f"an image of {size[1]}x{size[0]} in a stream that began with {out.shape[1]}x{out.shape[0]}: "
            f"set 'resize: [{out.shape[1]}, {out.shape[0]}]' to give all the same size"
        )
        raise DecodeError(msg)


def _dequantize(image: NDArray[Any], head: bytes) -> NDArray[Any]:
    """Turn the 16-bit numbers of a compressed 32FC1 depth image into metres; 16UC1 stays as it is.

    The head holds an int32 and the float32 parameters a and b; depth = a / (value - b), and the
    value 0 means no measurement (compressed_depth_image_transport, codec.cpp). For 16UC1 both are 0.
    """
    _, a, b = struct.unpack("<iff", head)
    if a == 0 or image.dtype != np.uint16:
        return image
    with np.errstate(divide="ignore"):
        depth: NDArray[Any] = (a / (image.astype(np.float32) - np.float32(b))).astype(np.float32)
    depth[image == 0] = np.nan
    return depth
