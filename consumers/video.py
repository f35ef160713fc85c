"""Frames → one MP4 file for each camera of a recording, encoded chunk by chunk and joined without encoding again."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers import mp4
from consumers.copied import Copied, encoder_of, wished
from consumers.encoders import check_encoder
from consumers.files import (
    about_episode,
    check_parts,
    make_folder,
    provenance,
    remove_folder,
    replacing,
    require,
    working_folder,
    write_json,
    write_list,
)
from consumers.keys import none_of
from consumers.sheet import thumbnail
from consumers.tiles import Grid, even, make_even, write_on
from streamer.contract import Consumer
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Outlook, Part, Recording, StreamInfo
    from streamer.records import Copying

_CLOCK = Fraction(1, 90_000)  # seconds: the unit of the time stamps of a variable rate
_GAP = 1.5  # periods from one frame to the next
_LAYOUTS = ("files", "grid")
_GRID = "grid"
_WHAT = "pictures with 8 bits, or of depth"


class Video(Consumer):
    """Writes ``<out>/<recording>.<stream>.mp4`` for every image and depth stream, and ``<out>/<recording>.video.json``.

    In the layout ``grid`` it is one, ``<out>/<recording>.grid.mp4``, with all cameras side by side. A picture whose
    width or height is odd gets its last column or row once more: the JSON file's ``padded`` tells of which.

    With a constant rate, frame n is shown at n / rate, and the JSON file tells the ``gaps`` between frames and the time
    that they leave out; with a ``variable`` one, at its tick, so that skipped frames leave the picture before standing.
    Depth is coloured from near (warm) to far (cold), each picture for itself. A frame without a sample shows the
    picture before, or black. With ``codec: copy`` or ``auto``, the packets of a video topic are written as they were
    recorded: the JSON file's ``copied`` names the cameras. Each chunk is a segment of its own until the end, so a
    repeated chunk replaces itself. The JSON file has the provenance and counts. Of many recordings in one run, or
    episodes of one, ``<out>/_recordings.json`` has the order, and which videos are whose.
    """

    many_recordings = True

    def __init__(  # noqa: PLR0913 - an argument for each option
        self,
        out: str,
        *,
        rate: str = "constant",
        layout: str = "files",
        width: int = 640,
        overlay: bool = False,
        codec: str | None = None,
        quality: int | None = None,
        gop: int | None = None,
        speed: str = "balanced",
        encoder_threads: int | None = None,
    ) -> None:
        """Write into the folder ``out``.

        Args:
            out: The folder.
            rate: ``constant`` or ``variable``.
            layout: ``files`` or ``grid``.
            width: The most pixels that a camera is wide in a grid.
            overlay: Write the time, the sample's offset and, below, what streams of text say into the picture; in a
                grid also the streams' names.
            codec: ``h264``, ``libsvtav1``, or an encoder in hardware that PyAV and the machine have (``h264_nvenc``,
                ``hevc_nvenc``, ``h264_vaapi``, ``h264_videotoolbox``). ``copy`` takes the packets of video topics as
                they are, and refuses what cannot be copied; ``auto`` encodes that. Left out, h264.
            quality: CRF; left out, 23.
            gop: Pictures from a key frame to the next; left out, 30.
            speed: ``balanced``, ``fast`` or ``fastest``.
            encoder_threads: Of each encoder.

        Raises:
            ValueError: a value makes no sense.

        """
        if rate not in ("constant", "variable"):
            msg = f"rate is constant or variable, not {rate!r}"
            raise ValueError(msg)
        if layout not in _LAYOUTS or width < 64:
            msg = f"layout is one of {', '.join(_LAYOUTS)} and width at least 64 pixels, not {layout!r} and {width}"
            raise ValueError(msg)
        require("av", "video")  # here, so that the next process has it loaded when its turn comes
        self._out = Path(out)
        self._width = width if layout == _GRID else 0
        self._constant = rate == "constant"
        self._overlay = overlay
        usual, own = mp4.Coding("h264", 23, 30), encoder_of(codec)
        self._coding = mp4.Coding.choose(usual, speed, own, quality, gop, encoder_threads)
        check_encoder(self._coding.codec)
        self._segments: dict[str, mp4.Segment] = {}
        self._copies: dict[str, Copied] = {}

    @staticmethod
    def takes_packets(options: Mapping[str, Any], streams: Sequence[str]) -> Mapping[str, Copying]:
        """Take the packets of every video, where pictures are shown as they are."""
        drawn = [name for name in ("grid", "overlay") if options.get(name) or options.get("layout") == name]
        return wished(options, streams, f"{drawn[0]!r} draws into the pictures" if drawn else "")

    def check(self, outlook: Outlook) -> None:
        """Hold sizes and rate against what a video can have."""
        self._choose(outlook.recording)
        self._choose_rate(outlook.recording)

    def _choose(self, recording: Recording) -> None:
        """Choose the cameras and the files, and hold their sizes against what a video can have."""
        if recording.frames and not any(map(_is_picture, recording.streams.values())):
            raise none_of(_WHAT, recording.streams)
        self._streams = {name: s for name, s in recording.streams.items() if _is_picture(s) and recording.frames}
        self._texts = [name for name, stream in recording.streams.items() if stream.kind == "text"]
        self._copied = [name for name, stream in self._streams.items() if stream.codec]
        shapes = {name: stream.shape for name, stream in self._streams.items() if not stream.codec}
        self._grid = Grid(shapes, self._width) if shapes and self._width else None
        self._encoded = [_GRID] if self._grid else [*shapes]
        self._names = [_GRID] if self._grid else [*self._streams]
        for name, shape in [(_GRID, self._grid.shape)] if self._grid else shapes.items():
            mp4.check_size(name, even(shape), self._coding.codec)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Choose the cameras and prepare a folder for the segments."""
        make_folder(self._out)
        self._choose(recording)
        self._start = recording.start
        self._rate = self._choose_rate(recording)
        self._parts = working_folder(self._out / f".{recording.name}.video", anew=state is None)
        self._frames: int = state["frames"] if state else 0
        self._without: dict[str, int] = state["without"] if state else dict.fromkeys(self._streams, 0)
        self._gaps: dict[str, Any] = state["gaps"] if state else {"last": None, "gaps": 0, "ns": 0}
        self._chunk: int = state["chunk"] if state else -1  # the last one that was committed
        self._empty: list[int] = state["empty"] if state else []  # chunks without a frame
        self._final = self._out / f"{recording.name}.video.json"
        if state is not None:
            self._check()
        self._under_way = self._parts / "part"
        remove_folder(self._under_way)
        self._last: dict[str, NDArray[np.uint8]] = self._load_last(state)

    def _check(self) -> bool:
        """Make sure that what was committed is there; tell whether its parts are still to be joined."""
        files = [f"{name}.mp4" for name in self._names] + ["first"]
        return check_parts(self._parts, [f"{_part(n)}/{file}" for n in self._filled() for file in files], self._final)

    def _filled(self) -> list[int]:
        return sorted({*range(self._chunk + 1)} - {*self._empty})

    def _choose_rate(self, recording: Recording) -> Fraction:
        if recording.rate is None:
            if self._constant and recording.frames > 1:
                msg = "rate: the timeline has no rate of its own: set timeline.rate, or 'rate: variable'"
                raise ConfigError(msg)
            return Fraction(1)
        return Fraction(recording.rate).limit_denominator(1001)

    def _load_last(self, state: dict[str, Any] | None) -> dict[str, NDArray[np.uint8]]:
        """Fetch the last pictures of the chunk before, for frames that have none."""
        path = self._parts / _part(state["chunk"]) / "last.npz" if state else None
        if path is None or not path.exists():
            return {}
        with np.load(path) as found:
            return dict(found)

    def on_frame(self, frame: Frame) -> None:
        """Hand every picture to its encoder."""
        if not self._segments and not self._copies and self._streams:
            self._begin()
            self._first, self._time = frame.tick, -1
        time = round(Fraction(frame.tick - self._first, 10**9) / _CLOCK)
        if time <= self._time:  # a tick again, or one before it: the recording's clock was set
            self._first -= round((self._time + 1 - time) * _CLOCK * 10**9)
            time = self._time + 1
        self._time = time
        self._note_gap(frame.tick)
        shown_at = None if self._constant else time
        pictures = {name: self._shown(name, frame) for name in self._streams if name not in self._copied}
        if self._grid:
            whole = self._grid.draw(pictures)
            pictures = {_GRID: self._say(whole, frame)}
        for name, segment in self._segments.items():
            segment.add(make_even(pictures[name]), shown_at)
        for name, copy in self._copies.items():
            if (sample := frame.samples[name]) is not None:  # always there: else it would not be copied
                copy.add(sample.value, shown_at, key=sample.key)
        self._frames += 1

    def _note_gap(self, tick: int) -> None:
        """Count the time that is not shown where frames are missing: a constant rate goes on without it."""
        period = 10**9 / self._rate
        if self._constant and self._gaps["last"] is not None and tick - self._gaps["last"] > _GAP * period:
            self._gaps["gaps"] += 1
            self._gaps["ns"] += tick - self._gaps["last"] - round(period)
        self._gaps["last"] = tick

    def _begin(self) -> None:
        """Begin the files of a chunk."""
        self._under_way.mkdir()
        clock = None if self._constant else _CLOCK
        coding = self._coding.beside(len(self._encoded))
        for name in self._encoded:
            path = self._under_way / f"{name}.mp4"
            self._segments[name] = mp4.Segment(path, self._rate, coding, time_base=clock)
        first = next((self._parts / _part(number) for number in self._filled()), None)
        for name in self._copied:
            path, before = self._under_way / f"{name}.mp4", None if first is None else first / f"{name}.mp4"
            self._copies[name] = Copied(path, self._streams[name], self._rate, time_base=clock, before=before)

    def _picture(self, name: str, frame: Frame) -> NDArray[np.uint8]:
        """Return what a camera shows: its sample, the one before where there is none, or black."""
        sample, stream = frame.samples[name], self._streams[name]
        if sample is None:
            self._without[name] += 1
            return self._last.get(name, np.zeros((*stream.shape[:2], 3), np.uint8))
        picture = sample.value if sample.value.dtype == np.uint8 else thumbnail(sample.value, stream.shape[1])
        self._last[name] = picture.copy()
        return picture

    def _shown(self, name: str, frame: Frame) -> NDArray[np.uint8]:
        """Return the picture in its size, with words on it where they are wanted."""
        picture = self._picture(name, frame)
        if self._grid:
            picture = self._grid.scale(picture)
        if not self._overlay:
            return picture
        sample = frame.samples[name]
        offset = "none" if sample is None else f"{sample.offset / 1e6:+.1f} ms"
        time = f"{(frame.tick - self._start) / 1e9:.3f} s  {offset}"
        return write_on(picture, f"{name}  {time}") if self._grid else self._say(write_on(picture, time), frame)

    def _say(self, picture: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8]:
        """Write below what streams of text say."""
        words = "  ".join(str(frame[name]) for name in self._texts if frame[name])
        return write_on(picture, words, below=True) if words and self._overlay else picture

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Close the segments and give them their name."""
        under_way: list[mp4.Segment | Copied] = [*self._segments.values(), *self._copies.values()]
        if under_way:
            for segment in under_way:
                segment.end()
            for segment in under_way:
                segment.wait()
            np.savez(self._under_way / "last.npz", **self._last)  # type: ignore[arg-type] # its stub takes any for allow_pickle
            (self._under_way / "first").write_text(str(self._first), encoding="utf-8")
            self._segments, self._copies = {}, {}
            target = self._parts / _part(chunk.number)
            remove_folder(target)
            self._under_way.rename(target)
        else:
            self._empty = [*self._empty, chunk.number]
        self._chunk = chunk.number
        counts = {"frames": self._frames, "without": self._without, "gaps": dict(self._gaps)}
        return counts | {"chunk": self._chunk, "empty": self._empty}

    def close(self, recording: Recording) -> None:
        """Join the segments of each camera."""
        if not self._filled() or self._check():  # else an earlier process came as far as to tidy up
            chunks = [self._parts / _part(number) for number in self._filled()]
            for name in self._names:
                parts = [mp4.Part(chunk / f"{name}.mp4", begins=self._begins(chunk)) for chunk in chunks]
                if parts:
                    with replacing(self._out / f"{recording.name}.{name}.mp4") as draft:
                        mp4.join(parts, draft, self._rate)
            counts: dict[str, Any] = {"frames": self._frames, "without_sample": self._without}
            counts |= {"padded": self._padded(), "copied": self._copied, "videos": self._names if chunks else []}
            counts |= {"gaps": self._gaps["gaps"], "seconds_left_out": round(self._gaps["ns"] / 1e9, 3)}
            values = counts | {"provenance": provenance(recording, "av")}
            write_json(self._out / f"{recording.name}.video.json", values)
        remove_folder(self._parts)

    def merge(self, parts: Sequence[Part]) -> None:
        """List the recordings in this order."""
        listed = []
        for part in parts:
            about = self._out / f"{part.name}.video.json"
            found = json.loads(about.read_text(encoding="utf-8"))
            videos = {name: f"{part.name}.{name}.mp4" for name in found.get("videos", [])}
            counts = {"name": part.name, "file": about.name, "rows": found["frames"], "videos": videos}
            listed.append(counts | about_episode(part))
        write_list(self._out, listed, self.left_out)

    def _padded(self) -> dict[str, str]:
        """Say which cameras have an odd width or height, and how large their pictures are in the video."""
        encoded = {} if self._grid else {n: s for n, s in self._streams.items() if n not in self._copied}
        shapes = {name: stream.shape[:2] for name, stream in encoded.items()}
        sizes = {name: (shape, even(shape)) for name, shape in shapes.items()}
        return {
            name: f"{w}x{h} in {wide}x{high}"
            for name, ((h, w), (high, wide)) in sizes.items()
            if (h, w) != (high, wide)
        }

    def _begins(self, chunk: Path) -> Fraction | None:
        """Return when a chunk begins, in seconds; None where pictures are counted."""
        if self._constant:
            return None
        first = int((chunk / "first").read_text(encoding="utf-8"))
        return Fraction(first - self._start, 10**9)


def _part(chunk: int) -> str:
    return f"chunk-{chunk:08d}"


def _is_picture(stream: StreamInfo) -> bool:
    return stream.kind in ("depth", "packets") or (stream.kind == "image" and stream.dtype == np.uint8)
