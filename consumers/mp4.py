"""Pictures → MP4 segments, encoded beside the caller → one file, joined without encoding again."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from consumers.copied import COPYING, keys_of
from consumers.encoders import CODECS, SPEEDS, encoder_for, most_quality, options_of
from consumers.files import require
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from av import VideoFrame
    from numpy.typing import NDArray

_H264_QUALITY, _FAR_KEYS = 23, 30  # x264's own default; frames
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_PERTURB, _M_ARENA_MAX = -1, -3, -6, -8  # of malloc.h
_KEPT = 2**30  # bytes: larger pieces, or more at the end of the heap, go back to the system at once
_LEAST_AV1 = 4  # pixels
_SMALLEST, _TAKES_SMALL = 32, (17, 1)  # pixels; from which version on PyAV brings an SVT-AV1 that takes fewer
_LIMITED, _BT601 = 1, 6  # AVCOL_RANGE_MPEG, AVCOL_SPC_SMPTE170M (libavutil/pixfmt.h): what `Segment` converts to


@dataclass(frozen=True, slots=True)
class Coding:
    """How pictures are encoded: ``quality`` is the codec's CRF (0 is best), ``gop`` the frames from key to key.

    There are no B-frames: packets lie in the order in which they are shown, so that segments join by counting.
    """

    codec: str = "libsvtav1"
    quality: int = 30
    gop: int = 2
    threads: int | None = None
    speed: str = "balanced"

    @classmethod
    def choose(
        cls, usual: Coding, speed: str, codec: str | None, quality: int | None, gop: int | None, threads: int | None
    ) -> Coding:
        """Fill in what is left out: as usual, or for a ``speed`` that is named.

        ``fast`` takes a key frame every 30 frames and x264's preset veryfast; ``fastest`` H.264 with ultrafast.
        """
        taken = codec or ("h264" if speed == "fastest" else usual.codec)
        if quality is None:
            quality = _H264_QUALITY if codec is None and taken != usual.codec else usual.quality
        if gop is None:
            gop = usual.gop if speed == "balanced" else _FAR_KEYS
        return cls(taken, quality, gop, threads, speed)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: one makes no sense.

        """
        if self.codec not in CODECS:
            msg = f"codec is one of {', '.join((*CODECS, *COPYING))}, not {self.codec!r}"
            raise ValueError(msg)
        if self.speed not in SPEEDS:
            msg = f"speed is {', '.join(SPEEDS[:-1])} or {SPEEDS[-1]}, not {self.speed!r}"
            raise ValueError(msg)
        if not 0 <= self.quality <= most_quality(self.codec):
            msg = f"quality (CRF) of {self.codec} is from 0 to {most_quality(self.codec)}, not {self.quality}"
            raise ValueError(msg)
        if self.gop < 1 or (self.threads is not None and self.threads < 1):
            msg = f"gop and threads are at least 1, not {self.gop} and {self.threads}"
            raise ValueError(msg)

    def beside(self, cameras: int) -> Coding:
        """Return how each of some cameras is encoded: by one thread where they have the cores busy by themselves.

        More threads would wait for each other. SVT-AV1 gives the same bytes with any number of them.
        """
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return replace(self, threads=1) if self.threads is None and cameras >= cores else self

    @property
    def options(self) -> dict[str, str]:
        """The encoder's private options."""
        return dict(options_of(self.codec, self.quality, self.speed, self.gop, self.threads))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


@cache
def _keep_memory() -> None:
    """Let the allocator keep what an encoder frees for the encoder of the next segment.

    Each takes some hundred megabytes in large pieces, which glibc would fetch anew from the system every time; clearing
    these pages costs a fifth of the encoding (50 frames of 640×480, SVT-AV1). See mallopt(3).
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if adjust is not None:
        adjust(_M_ARENA_MAX, 1)  # for all threads: what one encoder leaves, another takes
        adjust(_M_MMAP_THRESHOLD, _KEPT)
        adjust(_M_TRIM_THRESHOLD, _KEPT)


@cache
def _clear_memory() -> None:
    """Let the allocator clear what it gives out: x264 (165, in PyAV 18.1) looks at bytes that it has not written.

    Where they were used before, one segment in some hundreds comes out with another, equally good, choice for a block.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if adjust is not None:
        adjust(_M_PERTURB, 0xFF)  # what is given out is filled with the opposite


def _check_av1(stream: str, shape: tuple[int, ...], size: str) -> None:
    if min(shape[:2]) < _LEAST_AV1:
        msg = f"{size}: SVT-AV1 encodes {_LEAST_AV1}x{_LEAST_AV1} and more; choose 'codec: h264'"
        raise ConfigError(msg, key=f"streams.{stream}")
    if max(shape[:2]) < _SMALLEST and _numbers(version("av")) < _TAKES_SMALL:
        msg = (
            f"{size}: SVT-AV1 in av {version('av')} crashes on pictures below "
            f"{_SMALLEST}x{_SMALLEST}; choose 'codec: h264', or install av 17.1 or newer"
        )
        raise ConfigError(msg, key=f"streams.{stream}")


def check_size(stream: str, shape: tuple[int, ...], codec: str = "h264") -> None:
    """Make sure that pictures of a shape can be encoded.

    Raises:
        ConfigError: their height or width is odd, for which 4:2:0 has no half, or they are too small for the encoder.

    """
    size = f"{shape[1]}x{shape[0]} pixels"
    if codec == "libsvtav1":
        _check_av1(stream, shape, size)
    if shape[0] % 2 or shape[1] % 2:
        even = [shape[1] // 2 * 2, shape[0] // 2 * 2]
        msg = f"{size}: video needs even numbers; 'resize: {even}' gives them"
        raise ConfigError(msg, key=f"streams.{stream}")


class Segment:
    """One MP4 file under way; uint8 pictures (height, width) or (height, width, 3) in RGB come in.

    `add` converts the picture where it lies and hands the result to a thread of this segment, for which it waits
    while the picture before is still being encoded: a slow encoder holds its caller up, and nothing is dropped.
    """

    def __init__(self, path: Path, rate: Fraction, coding: Coding, *, time_base: Fraction | None = None) -> None:
        """Begin a file; ``time_base`` (seconds) is the unit of the time stamps, 1/``rate`` where it is left out."""
        _keep_memory()
        if coding.codec == "h264":
            _clear_memory()
        os.environ.setdefault("SVT_LOG", "1")  # errors only
        self._av: Any = require("av", "video")
        self._colors = self._av.video.reformatter.VideoReformatter()  # its tables take longer to make than to use
        takes_threads = "threads" in (self._colors.reformat.__doc__ or "")  # PyAV 17 and newer; before, it was one
        self._alone = {"threads": 1} if takes_threads else {}  # more would wait for the cores that encoders have
        self._path = path
        self._rate = rate
        self._coding = coding
        self._time_base = time_base or 1 / rate
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._last: Future[None] = self._thread.submit(self._begin)
        self._stream: Any = None
        self.frames = 0

    def _begin(self) -> None:
        self._file = self._av.open(str(self._path), "w", format="mp4")

    def add(self, picture: NDArray[np.uint8], time: int | None = None) -> None:
        """Encode a picture, shown at ``time`` (in units of the time base), or one frame after the one before."""
        frame = self._convert(picture)
        frame.pts = self.frames if time is None else time
        frame.time_base = self._time_base
        self.frames += 1
        self._last.result()
        self._last = self._thread.submit(self._encode, frame)

    def _convert(self, picture: NDArray[np.uint8]) -> VideoFrame:
        """Convert to planar YUV 4:2:0 from where the picture lies; nothing refers to it when this returns."""
        form = "rgb24" if picture.ndim == 3 else "gray"
        view = self._av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format=form)
        frame: VideoFrame = self._colors.reformat(view, format="yuv420p", **self._alone)
        return frame

    def _encode(self, frame: VideoFrame) -> None:
        if self._stream is None:
            self._stream = self._new_stream(frame)
        self._file.mux(self._stream.encode(frame))

    def _new_stream(self, frame: VideoFrame) -> Any:
        """Begin a video of frames like this one."""
        encoder = encoder_for(self._coding.codec)
        stream: Any = self._file.add_stream(encoder, rate=self._rate, options=self._coding.options)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
        context = stream.codec_context
        context.time_base, context.color_range, context.colorspace = self._time_base, _LIMITED, _BT601
        return stream

    def end(self) -> None:
        """Let the encoder finish, without waiting for it."""
        self._last.result()
        self._last = self._thread.submit(self._finish)

    def _finish(self) -> None:
        self._file.mux(self._stream.encode(None))
        self._file.close()

    def wait(self) -> None:
        """Wait until the file is whole."""
        self._last.result()
        self._thread.shutdown()


class Part(NamedTuple):
    """A file to join: how many of its pictures are wanted (None: all), when it begins in seconds (None: counted).

    The pictures are wanted from number ``first`` on, which must be a key frame.
    """

    path: Path
    frames: int | None = None
    begins: Fraction | None = None
    first: int = 0


def join(parts: Iterable[Part], out: Path, rate: Fraction) -> int:
    """Copy the encoded pictures of some files, in order, into one; return how many there are.

    The pictures follow each other at ``rate`` from 0 on, or keep their distance from the time at which their part
    begins. All parts must be `alike`.

    Raises:
        OSError: a file cannot be read or written.

    """
    av = require("av", "video")
    count = 0
    with av.open(str(out), "w", format="mp4", options={"movflags": "faststart"}) as target:
        stream = None
        for part in parts:
            with av.open(str(part.path)) as source:
                track = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(track, opaque=True)
                    stream.time_base = track.time_base
                unit = fraction(track.time_base, "a stream's time_base")
                step: Fraction | int = 1 / (rate * unit)
                if step == round(step):
                    step = round(step)  # whole numbers take a tenth of the time
                following = round(count * step)
                last, keys = None if part.frames is None else part.first + part.frames, keys_of(part.path)
                for number, packet in islice(enumerate(_packets(source)), part.first, last):
                    if keys is not None:
                        packet.is_keyframe = number in keys
                    if part.begins is None:
                        packet.pts, following = following, round((count + 1) * step)
                        packet.duration = following - packet.pts
                    else:
                        packet.pts += round(part.begins / unit)
                    packet.dts = packet.pts
                    packet.stream = stream
                    target.mux(packet)
                    count += 1
    return count


def _packets(source: Any) -> Iterable[Any]:
    return (packet for packet in source.demux(video=0) if packet.dts is not None)


def fraction(value: Any, what: str) -> Fraction:
    """Return a number of PyAV's: a `Fraction` up to PyAV 18, an `AVRational` since 19, which cannot be rounded.

    Raises:
        ConfigError: it is neither; the message names PyAV and its version.

    """
    try:
        return Fraction(value.numerator, value.denominator)
    except (AttributeError, TypeError, ZeroDivisionError) as error:
        msg = f"av {version('av')}: {what} is {value!r} and not a fraction; install one of 15 to 19"
        raise ConfigError(msg) from error


def frames(path: Path) -> int:
    """Return how many pictures a file says it has."""
    av = require("av", "video")
    with av.open(str(path)) as source:
        return int(source.streams.video[0].frames)


def alike(one: Path, other: Path) -> bool:
    """Tell whether the pictures of two files can stand in one: same codec, size, parameters, clock."""
    return _parameters(one) == _parameters(other)


def _parameters(path: Path) -> tuple[Any, ...]:
    av = require("av", "video")
    with av.open(str(path)) as source:
        track = source.streams.video[0]
        context = track.codec_context
        return (
            context.name,
            track.width,
            track.height,
            context.pix_fmt,
            fraction(track.time_base, "a stream's time_base"),
            bytes(context.extradata or b""),
        )


def about(path: Path) -> dict[str, Any]:
    """Return what LeRobot's ``info.json`` says of a video (`get_video_info` in its ``video_utils.py``, 0.6)."""
    av = require("av", "video")
    with av.open(str(path)) as source:
        track = source.streams.video[0]
        return {
            "video.height": track.height,
            "video.width": track.width,
            "video.codec": track.codec_context.codec.canonical_name,
            "video.pix_fmt": track.codec_context.pix_fmt,
            "video.fps": int(fraction(track.base_rate, "a stream's base_rate")),
            "video.channels": len(track.codec_context.format.components),
            "has_audio": False,
            "is_depth_map": False,
        }
