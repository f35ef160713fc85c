"""Messages that hold video packets → the packets; decoded pictures → arrays (height, width[, channels]).

A packet makes a picture only behind its key picture: whoever reads a video in order (`streamer.runtime.video`) decodes
and hands over pictures, and what is here keeps no state. Colours are those that PyAV gives (swscale, bilinear).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cursor import Cursor, parse_head
from streamer.decode.heads import require_pixels
from streamer.decode.packets import CODECS, codec_of
from streamer.decode.protobuf import fields_of
from streamer.decode.scale import require_size
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec
from streamer.resize import resize_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamer.records import Decoding, Payload

FOXGLOVE, FFMPEG = "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
PROTOBUF = "foxglove.CompressedVideo"
VIDEO_TYPES = frozenset({FOXGLOVE, FFMPEG, PROTOBUF})
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_GRAY = {"gray": "|u1", "gray8": "|u1"} | dict.fromkeys(
    ("gray9le", "gray10le", "gray12le", "gray14le", "gray16le"), "<u2"
)
_FORMATS = {"rgb": "rgb24", "bgr": "bgr24"}
_STAMP, _DATA, _FORMAT = 1, 3, 4  # fields of foxglove.CompressedVideo in protobuf
_FULL = 2  # AVCOL_RANGE_JPEG


class Packet(NamedTuple):
    """What a message of video holds: an encoding in words, where its data lie, and its time stamp in the stream."""

    encoding: str
    start: int
    length: int
    pts: int | None = None


class Picture:
    """A decoded picture on its way to its place: a payload whose ``frame`` is PyAV's."""

    __slots__ = ("frame",)

    def __init__(self, frame: Any) -> None:
        """Wrap a frame."""
        self.frame = frame

    def __len__(self) -> int:
        return 0

    def head(self) -> memoryview:
        """Return nothing: a picture has no bytes of a message."""
        return memoryview(b"")

    def all(self) -> memoryview:
        """Return nothing."""
        return memoryview(b"")

    def into(self, start: int, out: memoryview) -> None:
        """Refuse: there are no bytes."""
        raise NotImplementedError


class _Scaler(threading.local):
    """One scaler of PyAV's a thread; each converts alone, as several pictures are converted side by side."""

    def __init__(self) -> None:
        self._scaler: Any = None
        self._threads: dict[str, int] = {}

    def convert(self, frame: Any, wanted: str, ranges: dict[str, int]) -> Any:
        if self._scaler is None:
            from av.video.reformatter import VideoReformatter

            self._scaler = VideoReformatter()
            self._threads = {"threads": 1} if "threads" in (VideoReformatter.reformat.__doc__ or "") else {}
        return self._scaler.reformat(frame, format=wanted, **ranges, **self._threads)


_scaler = _Scaler()


class VideoDecoder:
    """Pictures of one stream; `parse` reads its messages."""

    kind = "image"

    def __init__(self, msgtype: str, wire: str, how: Decoding) -> None:
        """Remember the type, its encoding (``ros1``, ``cdr``, ``protobuf``) and what is asked for."""
        self._wire = wire
        self._how = how
        self._parse, self.has_seq = _PARSERS.get(msgtype, _foxglove), msgtype != FOXGLOVE

    def parse(self, payload: Payload, *, whole: bool = True) -> Packet:
        """Find the packet in a message; its encoding stands behind it in Foxglove's: read only where ``whole``.

        Raises:
            DecodeError: the message is cut off.

        """

        def read(cursor: Cursor) -> Packet:
            return self._parse(cursor, whole)

        if self._wire == "protobuf":
            found = _protobuf(payload)
        else:
            found = parse_head(payload, self._wire, read, seq=self.has_seq)
        if found.start + found.length > len(payload):
            msg = f"a video packet should have {found.length} bytes and has {max(len(payload) - found.start, 0)}"
            raise DecodeError(msg)
        return found

    def codec(self, payload: Payload) -> str | None:
        """Name the codec that a message speaks of, None where it is none of video."""
        return codec_of(self.parse(payload).encoding)

    def probe(self, payload: Payload) -> Spec:
        """Tell what every array will look like from a first picture."""
        spec = self.verify(payload)
        self.kind = "depth" if spec.dtype == "<u2" else "image"
        return spec

    def verify(self, payload: Payload) -> Spec:
        """Tell what a picture's array will look like."""
        frame = _frame(payload)
        require_pixels(frame.width, frame.height, self._how.max_pixels, "a picture of a video")
        gray = _GRAY.get(frame.format.name)
        if gray and self._how.color in ("rgb", "bgr"):
            msg = f"'{self._how.color}' is asked for, and the video is {frame.format.name}: it has no colours"
            raise ConfigError(msg, key="color")
        size = self._how.resize[::-1] if self._how.resize else (frame.height, frame.width)
        plain = gray is not None or self._how.color == "gray"
        return Spec(size if plain else (*size, 3), gray or "|u1")

    def rows(self, payload: Payload) -> int:
        """Return the height."""
        return int(_frame(payload).height)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Convert a picture's colours and size into its place."""
        frame = _frame(payload)
        if self._how.resize is None:
            require_size((frame.height, frame.width), out)
        array = self._array(frame, out)
        if array.shape == out.shape:
            np.copyto(out, array)
        else:
            resize_into(array, out, picture=out.dtype == np.uint8)
        return len(out)

    def _array(self, frame: Any, out: NDArray[Any]) -> NDArray[Any]:
        """Return a picture's values, in memory that the frame holds."""
        name = frame.format.name
        gray = _GRAY.get(name)
        if (np.dtype(gray) if gray else np.dtype("u1")) != out.dtype or (gray is not None and out.ndim == 3):
            msg = f"a picture of {name} in a stream of {out.dtype} {out.shape}: the video changed"
            raise DecodeError(msg)
        if gray is None:
            wanted = "gray" if out.ndim == 2 else _FORMATS[self._how.color or "rgb"]
            ranges = {"src_color_range": frame.color_range} if frame.color_range else {}
            ranges |= {"dst_color_range": _FULL} if wanted == "gray" else {}
            frame = _scaler.convert(frame, wanted, ranges)
        plane = frame.planes[0]
        dtype = np.dtype(gray or "u1")
        channels = 3 if out.ndim == 3 else 1
        strides = (plane.line_size, channels * dtype.itemsize, dtype.itemsize)
        shape = (frame.height, frame.width, channels)
        return np.ndarray(shape[: out.ndim], dtype, memoryview(plane), 0, strides[: out.ndim])


def _frame(payload: Payload) -> Any:
    if not isinstance(payload, Picture):
        msg = "a video packet alone makes no picture"
        raise DecodeError(msg)
    return payload.frame


def require_codec(encoding: str) -> str:
    """Name the codec of a video.

    Raises:
        DecodeError: it is none that is known.

    """
    codec = codec_of(encoding)
    if codec is None:
        msg = f"a video of encoding {encoding!r} cannot be read; {', '.join(CODECS)} can"
        raise DecodeError(msg)
    return codec


def _foxglove(cursor: Cursor, whole: bool) -> Packet:  # noqa: FBT001 - a row of a table
    length, start = cursor.number(), cursor.position
    if not whole:
        return Packet("", start, length)
    cursor.skip(length)
    return Packet(cursor.text(), start, length)


def _protobuf(payload: Payload) -> Packet:
    """Read foxglove.CompressedVideo: data are its field 3, the format its field 4."""
    content, start, length, encoding = payload.all(), 0, 0, ""
    for field, begin, end in fields_of(content):
        if field == _DATA:
            start, length = begin, end - begin
        elif field == _FORMAT:
            encoding = bytes(content[begin:end]).decode(errors="replace")
    return Packet(encoding, start, length)


def taken_at(payload: Payload) -> int:
    """Return the stamp of a foxglove.CompressedVideo, in nanoseconds; 0 where it has none.

    Raises:
        DecodeError: the message is damaged.

    """
    content = payload.all()
    for field, begin, end in fields_of(content):
        if field == _STAMP:
            inner = content[begin:end]
            parts = {number: value for number, value, _ in fields_of(inner)}
            stamp = parts.get(1, 0) * 10**9 + parts.get(2, 0)
            if stamp >= 1 << 63:
                msg = f"a time stamp of {stamp} ns is none: the message is damaged"
                raise DecodeError(msg)
            return stamp
    return 0


def _ffmpeg(cursor: Cursor, whole: bool) -> Packet:  # noqa: FBT001 - a row of a table
    del whole
    cursor.number(), cursor.number()  # width and height: the stream itself has them
    encoding, pts = cursor.text(), cursor.long()
    cursor.byte(), cursor.byte()
    length = cursor.number()
    return Packet(encoding, cursor.position, length, pts)


def _compressed(cursor: Cursor, whole: bool) -> Packet:  # noqa: FBT001 - a row of a table
    del whole
    encoding, length = cursor.text(), cursor.number()
    return Packet(encoding, cursor.position, length)


def _image(cursor: Cursor, whole: bool) -> Packet:  # noqa: FBT001 - a row of a table
    del whole
    cursor.number(), cursor.number()
    encoding = cursor.text()
    cursor.byte(), cursor.number()
    length = cursor.number()
    return Packet(encoding, cursor.position, length)


_PARSERS: dict[str, Callable[[Cursor, bool], Packet]] = {
    FOXGLOVE: _foxglove,
    FFMPEG: _ffmpeg,
    _COMPRESSED: _compressed,
    _IMAGE: _image,
}
