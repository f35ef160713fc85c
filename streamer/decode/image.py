"""Image messages → arrays (height, width[, channels]), in the colour order asked for.

An image that needs no conversion goes from the file into its place in one read. Geometry as cv_bridge checks it:
``step`` holds a row, and ``height`` rows fill the data; only a step of 0 is read as rows without gaps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cursor import Cursor, parse_head
from streamer.decode.encodings import Pixels, conversion, pixels
from streamer.decode.heads import require_pixels
from streamer.decode.planar import convert_planes, rows_of
from streamer.decode.scale import require_size
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec
from streamer.resize import resize_into

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Decoding, Payload


class _Raw(NamedTuple):
    """The head of a raw image: the same in each message of most streams."""

    height: int
    width: int
    encoding: str
    big_endian: bool
    step: int
    length: int


class _Arranged(NamedTuple):
    """How an image lies in its bytes, and what becomes of it; ``plain`` says that they are the array itself."""

    read: Pixels
    dtype: np.dtype[Any]
    step: int
    code: int | None
    channels: int
    plain: bool


class ImageDecoder:
    """sensor_msgs/Image."""

    kind = "image"

    def __init__(self, encoding: str, how: Decoding) -> None:
        """Remember the wire encoding (``ros1`` or ``cdr``) and what is asked for."""
        self._wire = encoding
        self._how = how

    def rows(self, payload: Payload) -> int:
        """Return the height."""
        return parse_head(payload, self._wire, _raw_head)[0].height

    def probe(self, payload: Payload) -> Spec:
        """Read one message's head."""
        spec = self.verify(payload)
        if len(spec.shape) == 2 and spec.dtype not in ("|u1", "|i1"):
            self.kind = "depth"
        return spec

    def verify(self, payload: Payload) -> Spec:
        """Tell from a message's head what its array will look like."""
        raw, _, how = self._look(payload)
        width, height = self._how.resize or (raw.width, raw.height)
        return Spec((height, width) if how.channels == 1 else (height, width, how.channels), how.dtype.str)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Read, convert and resize as far as the settings need it."""
        try:
            raw, start, how = self._look(payload)
        except ConfigError as error:  # the stream began with an image that has colours, and this one has none
            raise DecodeError(str(error)) from error
        if how.channels != (out.shape[2] if out.ndim == 3 else 1) or how.dtype != out.dtype:
            msg = f"an image of encoding {raw.encoding!r} in a stream of {out.dtype} {out.shape}: the topic changed"
            raise DecodeError(msg)
        size = raw.height, raw.width
        if self._how.resize is None:
            require_size(size, out)
        if how.plain and size == out.shape[:2]:
            payload.into(start, out.reshape(-1).view(np.uint8).data)
        elif how.read.planar:
            source = np.frombuffer(payload.all(), np.uint8, how.step * rows_of(how.read.order, raw.height), start)
            image = convert_planes(source, how.read, size, how.step, how.code, color=self._how.color)
            resize_into(image, out, picture=True)
        else:
            convert_into(_view(raw, how, start, payload), how.read, how.code, out)
        return len(out)

    def plain_at(self, payload: Payload, spec: Spec) -> int | None:
        """Return where in a message an array of ``spec`` stands as it is; None where `decode` must make it."""
        try:
            raw, start, how = self._look(payload)
        except ConfigError:  # an image without colours, which `decode` refuses
            return None
        shape = (raw.height, raw.width, how.channels)[: 2 if how.channels == 1 else 3]
        return start if how.plain and (shape, how.dtype) == (spec.shape, spec.dtype) else None

    def _look(self, payload: Payload) -> tuple[_Raw, int, _Arranged]:
        """Read a message's head; return also where its pixels begin."""
        raw, start = parse_head(payload, self._wire, _raw_head)
        how = _arrange(raw, self._how.color, self._how.max_pixels)
        if start + raw.length > len(payload):
            msg = f"an image of {raw.width}x{raw.height} {raw.encoding} is cut off: {raw.length} bytes are not there"
            raise DecodeError(msg)
        return raw, start, how


@lru_cache(maxsize=256)
def _arrange(raw: _Raw, color: str | None, max_pixels: int) -> _Arranged:
    """Hold a head against itself.

    Raises:
        DecodeError: its numbers do not fit each other. ConfigError: it has no colours and some are asked for.

    """
    read = pixels(raw.encoding)
    code, channels = conversion(read, color, raw.encoding)
    require_pixels(raw.width, raw.height, max_pixels, f"an image of {raw.encoding}")
    dtype = np.dtype(read.dtype)
    row = raw.width * read.channels * dtype.itemsize
    rows = rows_of(read.order, raw.height) if read.planar else raw.height
    step = raw.step or row
    fits = (step * rows, step * (rows - 1) + row) if raw.step else (row * rows,)
    if step < row or raw.length not in fits:
        msg = (
            f"an image of {raw.width}x{raw.height} {raw.encoding} needs rows of {row} bytes, its step is {raw.step}, "
            f"and {rows} rows should fill its {raw.length} bytes: they do not"
        )
        raise DecodeError(msg)
    native = dtype.itemsize == 1 or not raw.big_endian
    return _Arranged(read, dtype, step, code, channels, code is None and not read.planar and native and step == row)


def _view(raw: _Raw, how: _Arranged, start: int, payload: Payload) -> NDArray[Any]:
    """Lay the image over the message's bytes."""
    shape = (raw.height, raw.width, how.read.channels)[: 2 if how.read.channels == 1 else 3]
    dtype = how.dtype.newbyteorder(">" if raw.big_endian else "<")
    strides = (how.step, how.read.channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, payload.all(), start, strides)


def convert_into(image: NDArray[Any], read: Pixels, code: int | None, out: NDArray[Any]) -> None:
    """Convert an image's colours and resize it into ``out``.

    Raises:
        DecodeError: OpenCV cannot, or ``out`` has another type or number of channels.

    """
    import cv2

    try:
        if code is None:
            if image.shape == out.shape and image.dtype.newbyteorder("=") == out.dtype:
                out[...] = image
            else:
                resize_into(image.astype(image.dtype.newbyteorder("="), copy=False), out, picture=read.picture)
            return
        image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
        if image.shape[:2] == out.shape[:2]:
            cv2.cvtColor(image, code, dst=out)
        else:
            resize_into(cv2.cvtColor(image, code), out, picture=True)
    except cv2.error as error:
        msg = f"an image of {image.dtype} {image.shape} cannot be converted: {error}"
        raise DecodeError(msg) from error


def convertible(read: Pixels, color: str | None, encoding: str) -> tuple[int | None, int]:
    """Return what `conversion` does; a stream began with an image that has colours, and a later one may have none.

    Raises:
        DecodeError: this one has none.

    """
    try:
        return conversion(read, color, encoding)
    except ConfigError as error:
        raise DecodeError(str(error)) from error


def _raw_head(cursor: Cursor) -> tuple[_Raw, int]:
    height, width, encoding = cursor.number(), cursor.number(), cursor.text()
    big_endian, step, length = bool(cursor.byte()), cursor.number(), cursor.number()
    return _Raw(height, width, encoding, big_endian, step, length), cursor.position
