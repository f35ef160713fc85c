"""Packets of a video, as they were recorded → an MP4 file with the same packets; a packet → its picture."""

from __future__ import annotations

import struct
from contextlib import ExitStack, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

from consumers.files import require
from streamer.records import Copying

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from fractions import Fraction
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from streamer.contract import StreamInfo

COPYING = ("copy", "auto")  # instead of a codec: packets as they are; or encoded anew where that cannot be
_RAW = ("h264", "hevc")  # byte streams, which FFmpeg reads as they are
_FOURCC = {"av1": b"AV01", "vp9": b"VP90"}
_READERS = {"av1": ("libdav1d", "av1"), "h264": ("h264",), "hevc": ("hevc",), "vp9": ("vp9",)}


def wished(options: Mapping[str, Any], streams: Iterable[str], against: str = "") -> dict[str, Copying]:
    """Say that packets are wanted of some streams, where the option ``codec`` says so."""
    codec = options.get("codec")
    return dict.fromkeys(streams, Copying(must=codec == "copy", against=against)) if codec in COPYING else {}


def encoder_of(codec: str | None) -> str | None:
    """Return what pictures are encoded with that are not copied; None for what is usual."""
    return None if codec in COPYING else codec


class Copied:
    """One MP4 file under way that takes packets, as `mp4.Segment` takes pictures."""

    def __init__(
        self,
        path: Path,
        stream: StreamInfo,
        rate: Fraction,
        *,
        time_base: Fraction | None = None,
        before: Path | None = None,
    ) -> None:
        """Begin a file of a stream's packets.

        ``before`` is a file of packets that come before these; without it, the first is a key picture with all that a
        decoder needs, which is kept beside the file.
        """
        self._av: Any = require("av", "video")
        self._stack = ExitStack()
        self._path, self._stream, self._before = path, stream, before
        self._rate, self._time_base = rate, time_base or 1 / rate
        self._duration = max(round(1 / (rate * self._time_base)), 1)
        self._track: Any = None
        self._keys: list[int] = []
        self.frames = 0

    def add(self, packet: NDArray[np.uint8], time: int | None = None, *, key: bool) -> None:
        """Write a packet, shown at ``time`` (in units of the time base), or one frame after the one before."""
        data = packet.tobytes()
        if self._track is None:
            self._begin(data)
        made = self._av.Packet(data)
        made.pts = made.dts = self.frames if time is None else time
        made.duration = self._duration  # of the last one: what lasts no time is beyond the end
        made.time_base, made.is_keyframe, made.stream = self._time_base, key, self._track
        self._file.mux(made)
        if key:
            self._keys.append(self.frames)
        self.frames += 1

    def _begin(self, first: bytes) -> None:
        if self._before is None:
            _first_of(self._path).write_bytes(first)
        else:
            first = _first_of(self._before).read_bytes()
        source = self._stack.enter_context(self._open(first))
        self._file = self._stack.enter_context(self._av.open(str(self._path), "w", format="mp4"))
        self._track = self._file.add_stream_from_template(source.streams.video[0], opaque=True)
        self._track.time_base = self._time_base

    def _open(self, first: bytes) -> Any:
        """Open something from which FFmpeg learns what the packets are."""
        codec = self._stream.codec
        if codec in _RAW:
            return self._av.open(BytesIO(first), format=codec, options={"framerate": str(self._rate)})
        return self._av.open(BytesIO(_ivf(codec, self._stream.picture, first)), format="ivf")

    def end(self) -> None:
        """Finish the file; beside it is kept which packets are key pictures, as MP4 says of no key that all are."""
        self._stack.close()
        _keys_beside(self._path).write_text(" ".join(map(str, self._keys)), encoding="ascii")

    def wait(self) -> None:
        """Do nothing: the file is whole when `end` returns."""


def keys_of(path: Path) -> frozenset[int] | None:
    """Return which packets of a file that was copied are key pictures; None of another file."""
    beside = _keys_beside(path)
    return frozenset(map(int, beside.read_text(encoding="ascii").split())) if beside.exists() else None


def _keys_beside(path: Path) -> Path:
    return path.with_suffix(".keys")


def _first_of(path: Path) -> Path:
    """Return where the first packet of a video lies, whose first packets are in ``path``."""
    return path.with_suffix(".first")


def _ivf(codec: str, shape: tuple[int, ...], packet: bytes) -> bytes:
    """Put a packet into a file of IVF (https://wiki.multimedia.cx/index.php/Duck_IVF)."""
    head = struct.pack("<4sHH4sHHIII4x", b"DKIF", 0, 32, _FOURCC[codec], shape[1], shape[0], 30, 1, 1)
    return head + struct.pack("<IQ", len(packet), 0) + packet


def picture_of(codec: str, packet: bytes) -> NDArray[np.uint8]:
    """Return the picture, in RGB, of a packet at which decoding can begin.

    Raises:
        ValueError: it makes none.

    """
    av: Any = require("av", "video")
    for name in _READERS[codec]:
        with suppress(ValueError, av.FFmpegError):
            context = av.CodecContext.create(name, "r")
            context.thread_count = 1
            for frame in [*context.decode(av.Packet(packet)), *context.decode(None)]:
                picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
                return picture
    msg = f"a packet of {codec} makes no picture"
    raise ValueError(msg)
