"""CompressedImage messages → arrays (height, width[, channels]), in the colour order asked for.

A JPEG is decoded into its place, at a reduced scale on its way to a smaller size. What a picture's channels mean
is said by the message's ``format``; no picture is turned by what its EXIF data say (cv::imdecode, IMREAD_UNCHANGED).
"""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode.cursor import Cursor, parse_head
from streamer.decode.depth import decode_depth, look_at_depth
from streamer.decode.encodings import Pixels, conversion
from streamer.decode.form import Form, Reading, parse_form, reading
from streamer.decode.heads import Head, look
from streamer.decode.image import convert_into, convertible
from streamer.decode.scale import jpeg_scale, require_size
from streamer.errors import DecodeError
from streamer.records import Spec
from streamer.resize import resize_into

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Decoding, Payload

_REVERSED = {"RGB": "BGR", "BGR": "RGB"}
_PICTURES = (b"\xff\xd8", b"\x89P")  # a JPEG or a PNG, without the head of compressed depth
_HARMLESS = "extraneous bytes before marker 0xd9"  # behind the last pixel, as webcams write them


class _Scratch(threading.local):
    """One image a thread, for pixels that are resized before they reach their place."""

    def __init__(self) -> None:
        self.buffer = np.empty(0, np.uint8)

    def image(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        size = math.prod(shape)
        if len(self.buffer) < size:
            self.buffer = np.empty(size, np.uint8)
        return self.buffer[:size].reshape(shape)


_scratch = _Scratch()


class CompressedDecoder:
    """sensor_msgs/CompressedImage: JPEG, PNG, TIFF, WebP and more; compressed depth."""

    kind = "image"

    def __init__(self, encoding: str, how: Decoding, *, depth: bool) -> None:
        """Remember what is asked for; ``depth`` says that the topic's name promises compressed depth."""
        self._wire = encoding
        self._how = how
        self._depth = depth

    def rows(self, payload: Payload) -> int:
        """Return the height."""
        return self.verify(payload).shape[0]

    def probe(self, payload: Payload) -> Spec:
        """Decode one message."""
        spec = self.verify(payload)
        out = np.empty(spec.shape, spec.dtype)
        self.decode(payload, out)
        if len(spec.shape) == 2 and spec.dtype not in ("|u1", "|i1"):
            self.kind = "depth"
        return spec

    def verify(self, payload: Payload) -> Spec:
        """Tell what a message's array will look like, from its head where that says it."""
        form, data = self._data(payload)
        if self._is_depth(form, data):
            depth = look_at_depth(form, data, self._how.max_pixels)
            plain = Pixels(depth.dtype, 1, "")
            conversion(plain, self._how.color, form.original)
            return self._spec(depth.height, depth.width, 1, depth.dtype)
        head = look(data, self._how.max_pixels)
        if head.channels:
            height, width, read = head.height, head.width, _reading(form, head).pixels
        else:
            image, how = self._unpack(form, head, data)
            height, width, read = *image.shape[:2], how.pixels
        _, channels = conversion(read, self._how.color, form.text)
        return self._spec(height, width, channels, read.dtype)

    def _spec(self, height: int, width: int, channels: int, dtype: str) -> Spec:
        size = self._how.resize[::-1] if self._how.resize else (height, width)
        return Spec(size if channels == 1 else (*size, channels), np.dtype(dtype).str)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Decode one message into its place."""
        form, data = self._data(payload)
        if self._is_depth(form, data):
            image = decode_depth(look_at_depth(form, data, self._how.max_pixels))
            self._place(image, Pixels(image.dtype.str[1:], 1, ""), None, out)
            return len(out)
        head = look(data, self._how.max_pixels)
        if head.kind == "JPEG" and head.channels != 4 and self._decode_jpeg(form, head, data, out):
            return len(out)
        image, how = self._unpack(form, head, data)
        code, _ = convertible(how.pixels, self._how.color, form.text)
        self._place(image, how.pixels, code, out)
        return len(out)

    def _place(self, image: NDArray[Any], read: Pixels, code: int | None, out: NDArray[Any]) -> None:
        if self._how.resize is None:
            require_size(image.shape[:2], out)
        convert_into(image, read, code, out)

    def _is_depth(self, form: Form, data: memoryview) -> bool:
        """Tell whether a message is compressed depth: its format says so, or its topic and nothing against it."""
        return form.depth or (self._depth and not form.inside and bytes(data[:2]) not in _PICTURES)

    def _decode_jpeg(self, form: Form, head: Head, data: memoryview, out: NDArray[Any]) -> bool:
        """Decode a JPEG straight into its place, or at the scale that comes next; False where it needs more."""
        order = self._order(form, head, out)
        if order is None:
            return False
        if self._how.resize is None or (head.height, head.width) == out.shape[:2]:
            require_size((head.height, head.width), out)
            _jpeg(data, order, out)
            return True
        height, width, reduced = jpeg_scale(head.height, head.width, out.shape[:2])
        image = _scratch.image((height, width, *(out.shape[2:] or (1,))))
        _jpeg(data, order, image, reduced=reduced)
        resize_into(image.reshape(height, width, *out.shape[2:]), out, picture=True)
        return True

    def decode_reduced(self, payload: Payload, out: NDArray[Any], factor: int) -> bool:
        """Decode a JPEG at one ``factor``-th (2, 4 or 8) of its size; False where it is none, or of another size.

        Raises:
            DecodeError: the message is damaged.

        """
        form, data = self._data(payload)
        if self._is_depth(form, data):
            return False
        head = look(data, self._how.max_pixels)
        full = out.shape[0] * factor, out.shape[1] * factor
        if head.kind != "JPEG" or head.channels == 4 or (head.height, head.width) != full:
            return False
        order = self._order(form, head, out)
        if order is not None:
            _jpeg(data, order, out, reduced=True)
        return order is not None

    def _order(self, form: Form, head: Head, out: NDArray[Any]) -> str | None:
        """Return the order in which a JPEG's colours are decoded into ``out``; None where that needs more."""
        how = _reading(form, head)
        if how.factor != 1 or how.pixels.mosaic or out.dtype != np.uint8:
            return None
        order = "GRAY" if out.ndim == 2 else "BGR" if self._how.color == "bgr" else "RGB"
        if how.pixels.order != "RGB":
            return order
        return _REVERSED.get(order)  # the picture was compressed with its colours the other way round

    def _data(self, payload: Payload) -> tuple[Form, memoryview]:
        """Return the format and the compressed bytes."""

        def head(cursor: Cursor) -> tuple[str, int, int]:
            return cursor.text(), cursor.number(), cursor.position

        form, length, start = parse_head(payload, self._wire, head)
        data = payload.all()[start : start + length]
        if len(data) < length:
            msg = f"a compressed image should have {length} bytes and has {len(data)}"
            raise DecodeError(msg)
        return parse_form(form), data

    def _unpack(self, form: Form, head: Head, data: memoryview) -> tuple[NDArray[Any], Reading]:
        """Decode a picture as it is, and say how its channels are to be read."""
        if head.kind == "JPEG" and head.channels != 4:
            how = _reading(form, head)
            image: NDArray[Any] = np.empty((head.height, head.width, head.channels), np.uint8)
            _jpeg(data, "GRAY" if head.channels == 1 else "BGR", image)
            image = image[..., 0] if head.channels == 1 else image
        else:
            image = _imdecode(head, data)
            channels = image.shape[2] if image.ndim == 3 else 1
            how = reading(form, head.kind, channels, image.dtype.str[1:])
        return (image.astype(np.uint16) * np.uint16(how.factor) if how.factor != 1 else image), how


def _reading(form: Form, head: Head) -> Reading:
    """Say how a picture's channels are to be read, from its head; OpenCV turns four of a JPEG into three."""
    if head.kind == "PNG":
        return reading(form, head.kind, head.channels, f"u{head.bits // 8}")
    if head.bits != 8 or head.channels not in (1, 3, 4):
        msg = f"a JPEG of {head.channels} channels and {head.bits} bits cannot be decoded"
        raise DecodeError(msg)
    return reading(form, "JPEG", min(head.channels, 3), "u1")


def _jpeg(data: memoryview, order: str, out: NDArray[np.uint8], *, reduced: bool = False) -> None:
    """Decode a JPEG into ``out``, whose size is the JPEG's own or a reduced one."""
    import simplejpeg

    size = {"min_height": out.shape[0], "min_width": out.shape[1]} if reduced else {}
    try:
        simplejpeg.decode_jpeg(data, order, buffer=out, **size)
    except ValueError as error:
        if _HARMLESS not in str(error):
            msg = f"a JPEG image of {len(data)} bytes does not decode: {error}"
            raise DecodeError(msg) from error
        simplejpeg.decode_jpeg(data, order, buffer=out, strict=False, **size)


def _imdecode(head: Head, data: memoryview) -> NDArray[Any]:
    import cv2

    image: NDArray[Any] | None
    try:
        image, reason = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), ""
    except cv2.error as error:
        image, reason = None, f" ({error})"
    if image is None:
        msg = f"a {head.kind} of {len(data)} bytes does not decode: it is cut off or damaged{reason}"
        raise DecodeError(msg)
    return image
