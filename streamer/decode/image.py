"""Image messages → arrays (height, width[, channels]), in the colour order asked for.

An image that needs no conversion goes from the file into its place in one read. Geometry as cv_bridge checks it:
``step`` holds a row, and ``height`` rows fill the data; only a step of 0 is read as rows without gaps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cursor import Cursor, parse_head
from streamer.decode.encodings import Pixels, conversion, pixels
from streamer.decode.heads import require_pixels
from streamer.decode.planar import convert_planes, rows_of
from streamer.decode.resize import require_size, resize_into
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Decoding, Payload


class _Raw(NamedTuple):
    """The head of a raw image."""

    height: int
    width: int
    encoding: str
    big_endian: bool
    step: int
    start: int
    length: int


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
        spec = self.verify(payload)
        if len(spec.shape) == 2 and spec.dtype not in ("|u1", "|i1"):
            self.kind = "depth"
        return spec

    def verify(self, payload: Payload) -> Spec:
        """Tell from a message's head what its array will look like."""
        raw = parse_head(payload, self._wire, _raw_head)
        read = pixels(raw.encoding)
        _, channels = conversion(read, self._how.color, raw.encoding)
        self._step(raw, read, len(payload))
        width, height = self._how.resize or (raw.width, raw.height)
        return Spec((height, width) if channels == 1 else (height, width, channels), np.dtype(read.dtype).str)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Read, convert and resize as far as the settings need it."""
        raw = parse_head(payload, self._wire, _raw_head)
        read = pixels(raw.encoding)
        code, channels = convertible(read, self._how.color, raw.encoding)
        _require_same(channels, np.dtype(read.dtype), out, raw.encoding)
        step = self._step(raw, read, len(payload))
        row = raw.width * read.channels * np.dtype(read.dtype).itemsize
        if self._how.resize is None:
            require_size((raw.height, raw.width), out)
        plain = code is None and not read.planar and (read.dtype in ("u1", "i1") or not raw.big_endian)
        if plain and step == row and (raw.height, raw.width) == out.shape[:2]:
            payload.into(raw.start, out.reshape(-1).view(np.uint8).data)
            return len(out)
        if read.planar:
            source = np.frombuffer(payload.all(), np.uint8, step * rows_of(read.order, raw.height), raw.start)
            image = convert_planes(source, read, (raw.height, raw.width), step, code, color=self._how.color)
            resize_into(image, out, picture=True)
        else:
            convert_into(_view(raw, read, step, payload), read, code, out)
        return len(out)

    def _step(self, raw: _Raw, read: Pixels, size: int) -> int:
        """Return the bytes from one row to the next, having held them against the data.

        Raises:
            DecodeError: they do not fit each other.

        """
        what = f"an image of {raw.encoding}"
        require_pixels(raw.width, raw.height, self._how.max_pixels, what)
        row = raw.width * read.channels * np.dtype(read.dtype).itemsize
        rows = rows_of(read.order, raw.height) if read.planar else raw.height
        step = raw.step or row
        whole = raw.length in (step * rows, step * (rows - 1) + row) and (raw.step or raw.length == row * rows)
        if step >= row and whole and raw.start + raw.length <= size:
            return step
        there = min(raw.length, max(size - raw.start, 0))
        msg = (
            f"an image of {raw.width}x{raw.height} {raw.encoding} needs rows of {row} bytes, its step is {raw.step}, "
            f"and {rows} rows should fill its {there} bytes: they do not"
        )
        raise DecodeError(msg)


def _view(raw: _Raw, read: Pixels, step: int, payload: Payload) -> NDArray[Any]:
    """Lay the image over the message's bytes."""
    shape = (raw.height, raw.width, read.channels)[: 2 if read.channels == 1 else 3]
    dtype = np.dtype(read.dtype).newbyteorder(">" if raw.big_endian else "<")
    strides = (step, read.channels * dtype.itemsize, dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, payload.all(), raw.start, strides)


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


def _raw_head(cursor: Cursor) -> _Raw:
    height, width, encoding = cursor.number(), cursor.number(), cursor.text()
    big_endian, step, length = bool(cursor.byte()), cursor.number(), cursor.number()
    return _Raw(height, width, encoding, big_endian, step, cursor.position, length)


def _require_same(channels: int, dtype: np.dtype[Any], out: NDArray[Any], encoding: str) -> None:
    """Make sure that an encoding still gives what the stream began with."""
    if channels != (out.shape[2] if out.ndim == 3 else 1) or dtype != out.dtype:
        msg = f"an image of encoding {encoding!r} in a stream of {out.dtype} {out.shape}: the topic changed"
        raise DecodeError(msg)
