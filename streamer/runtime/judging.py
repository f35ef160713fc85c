"""What was prepared and the limits → a verdict on each episode; what only pictures and values tell is looked at once.

Verdicts are decided before the first frame is streamed and depend on the recording and the settings alone. So an
episode that is left out is never planned, and a run that is stopped, killed or continued leaves out the same ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from streamer.errors import ConfigError
from streamer.quality import FLAGGED, LEFT_OUT, Reason, Verdict, held, judge, pauses, pictures, stillness
from streamer.runtime.ahead import Ahead
from streamer.runtime.chosen import choose, leave_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.quality import Limits, QualitySettings
    from streamer.runtime.prepare import Prepared, Stream
    from streamer.runtime.schedule import Pass

    Floats = NDArray[np.float64]

LOW = "low quality"  # why frames of an episode are left out
_CELLS = 32, 24  # of a picture at most, in which its movement is looked for
_SMALLEST = 8  # pixels to a side of a cell
_LEVELS = 2.0  # of 255, by which a cell changes where something moves; noise is less, as a cell is an average
_MOVING = ("image", "vector")


class Judging(NamedTuple):
    """The limits; whether ``pixels`` are looked at where they matter, and by how many ``threads``."""

    settings: QualitySettings
    threads: int
    pixels: bool = True

    @property
    def looks(self) -> bool:
        """Whether a limit is on what only pictures and values tell."""
        s = self.settings
        limits = [s.general, *s.own.values()]
        return s.still is not None or any(one.black is not None or one.blur is not None for one in limits)


def judging_by(settings: QualitySettings | None, threads: int, *, pixels: bool = True) -> Judging | None:
    """Return by what to judge; None where there are no limits."""
    return None if settings is None else Judging(settings, threads, pixels)


class _Part(NamedTuple):
    """An episode, or the whole recording: its frames, and the passes that it was planned in."""

    number: int | None
    frames: slice
    passes: Sequence[Pass]


class _Seen(NamedTuple):
    """What was measured of the frames that were looked at, by stream; nan where there is no sample.

    ``change`` is how much a frame differs from the one before: of a picture in levels, of a vector in units a second.
    """

    brightness: dict[str, Floats]
    sharpness: dict[str, Floats]
    change: dict[str, Floats]


def judged(prepared: Prepared, judging: Judging | None) -> Prepared:
    """Judge every episode; leave out those that are low where that is asked for.

    Raises:
        ConfigError: a limit is of pictures or movements, and its stream has none.
        RecordingError: a frame that is looked at cannot be read.

    """
    parts = [part for part in _parts(prepared) if part.frames.stop > part.frames.start]
    empty = [Verdict(e.episode.number, LEFT_OUT, (_NO_FRAME,)) for e in prepared.episodes if not e.frames]
    if judging is None:
        return replace(prepared, verdicts=tuple(empty))
    settings = judging.settings
    _check(prepared, settings)
    reasons = [[*_by_plan(prepared, part, settings)] for part in parts]
    if judging.looks and judging.pixels:
        looked = [_chosen(prepared.plan.ticks, part.frames, settings.period) for part in parts]
        seen = _measure(prepared, settings, np.concatenate([np.empty(0, np.int64), *looked]), judging.threads)
        ends = np.cumsum([len(frames) for frames in looked]).tolist()
        for n, end in enumerate(ends):
            reasons[n] += _by_sight(prepared, seen, slice(end - len(looked[n]), end), settings)
    verdicts = [judge(part.number, why, settings.on_low) for part, why in zip(parts, reasons, strict=True)]
    told = tuple(sorted([*verdicts, *empty], key=lambda v: -1 if v.number is None else v.number))
    out = [verdict.number for verdict in verdicts if verdict.outcome == LEFT_OUT]
    found = leave_out(prepared, out, LOW) if out else prepared
    return replace(found, verdicts=told)


_NO_FRAME = Reason("frames", "", 0, 1, 0, 0, "it has no frame")


def low(prepared: Prepared) -> Iterator[str]:
    """Tell which episodes are flagged or left out, and why."""
    for verdict in prepared.verdicts:
        if verdict.outcome in {FLAGGED, LEFT_OUT}:
            which = "it" if verdict.number is None else f"episode {verdict.number}"
            yield f"{which} is {verdict.outcome}: {'; '.join(reason.text for reason in verdict.reasons)}"


def _parts(prepared: Prepared) -> list[_Part]:
    if prepared.cut is None:
        return [_Part(None, slice(0, prepared.plan.frames), prepared.passes)]
    return [
        _Part(e.episode.number, slice(e.first, e.first + e.frames), (one,))
        for e, one in zip(prepared.episodes, prepared.passes, strict=False)
    ]


def _check(prepared: Prepared, settings: QualitySettings) -> None:
    """Make sure that there is what the limits are of."""
    kinds = {stream.settings.name: stream.kind for stream in prepared.streams}
    for key in ("black", "blur"):
        wrong = next((n for n, own in settings.own.items() if _differs(own, settings, key) and kinds[n] != "image"), "")
        if wrong:
            msg = f"{wrong!r} is no picture: a limit on {key} is of pictures only"
            raise ConfigError(msg, key=f"quality.streams.{wrong}.{key}")
        if getattr(settings.general, key) is not None and "image" not in kinds.values():
            msg = "there is no stream of pictures, of which this limit is"
            raise ConfigError(msg, key=f"quality.{key}")
    moving = settings.moving
    if moving is not None and moving in kinds and kinds[moving] not in _MOVING:
        msg = f"{moving!r} is neither a picture nor a vector, but of kind {kinds[moving]}: how it moves cannot be told"
        raise ConfigError(msg, key="quality.still.stream")


def _differs(own: Limits, settings: QualitySettings, key: str) -> bool:
    mine: float | None = getattr(own, key)
    return mine is not None and mine != getattr(settings.general, key)


# ---- what the plan tells


def _limits(stream: Stream, settings: QualitySettings) -> Limits:
    """Return a stream's limits; a value that holds until the next has pauses and repeats by its nature."""
    own = settings.own.get(stream.settings.name)
    if own is not None:
        return own
    endless = any(part.settings.alignment.endless for part in stream.parts or (stream,))
    return replace(settings.general, max_gap=None, max_held=None) if endless else settings.general


def _by_plan(prepared: Prepared, part: _Part, settings: QualitySettings) -> Iterator[Reason]:
    for stream in prepared.streams:
        limits = _limits(stream, settings)
        if limits.max_gap is not None and stream.compute is None:
            ticks = [one.ticks for one in part.passes]
            for source in stream.parts or (stream,):
                stamps = [one.stamps[source.settings.name] for one in part.passes]
                if (reason := pauses(source.settings.name, stamps, ticks, limits.max_gap)) is not None:
                    yield reason
        if limits.max_held is not None and (reason := held(stream.plan, part.frames, limits.max_held)) is not None:
            yield reason


# ---- what pictures and values tell


def _chosen(ticks: NDArray[np.int64], frames: slice, period: int) -> NDArray[np.int64]:
    """Choose frames of an episode that are at least about a period apart: the first in each."""
    numbers = (ticks[frames] - ticks[frames.start]) // max(period, 1)
    found: NDArray[np.int64] = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]])) + frames.start
    return found


def _looked_at(prepared: Prepared, settings: QualitySettings) -> list[Stream]:
    """Return the streams of which a limit is."""
    found = []
    for stream in prepared.streams:
        limits = settings.own.get(stream.settings.name, settings.general)
        seen = stream.kind == "image" and (limits.black is not None or limits.blur is not None)
        moves = settings.still is not None and stream.kind in _MOVING and _counts(stream.settings.name, settings)
        if seen or moves:
            found.append(stream)
    return found


def _counts(name: str, settings: QualitySettings) -> bool:
    """Tell whether a stream's movement counts."""
    return settings.moving in {None, name}


def _measure(prepared: Prepared, settings: QualitySettings, frames: NDArray[np.int64], threads: int) -> _Seen:
    """Look at some frames, in order, each once."""
    streams = _looked_at(prepared, settings)
    names = [stream.settings.name for stream in streams]
    seen = _Seen(*({name: np.full(len(frames), np.nan) for name in names} for _ in range(3)))
    part = choose(prepared, frames, streams)
    before: dict[str, tuple[int, Floats]] = {}  # tick and value of the last sample
    with Ahead(part, part.layout.places, threads) as ahead:
        for frame in ahead.frames(0, part.plan.frames - 1):
            for stream in streams:
                name, number = stream.settings.name, frame.number
                array = frame[name]
                if array is None:
                    continue
                if stream.kind == "image":
                    gray = _gray(array, stream.settings.decoding.color)
                    seen.brightness[name][number] = gray.mean()
                    seen.sharpness[name][number] = cv2.Laplacian(gray, cv2.CV_64F).var()
                    now = _cells(gray)
                else:
                    now = array.astype(float)
                then, past = before.get(name, (frame.tick, now))
                if frame.tick > then and past.shape == now.shape:
                    seconds = 1.0 if stream.kind == "image" else (frame.tick - then) / 1e9
                    seen.change[name][number] = np.abs(now - past).max(initial=0.0) / seconds
                before[name] = frame.tick, now
    return seen


def _cells(gray: NDArray[Any]) -> Floats:
    """Return the mean brightness of the cells of a picture (height, width); few where it is small."""
    height, width = gray.shape
    size = max(1, min(_CELLS[0], width // _SMALLEST)), max(1, min(_CELLS[1], height // _SMALLEST))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), float)


def _gray(picture: NDArray[Any], order: str | None) -> NDArray[Any]:
    """Return a picture's brightness, (height, width): 0 to 255 if it holds whole numbers, else in its own units."""
    if picture.ndim == 3 and picture.shape[0] in {1, 3, 4} and picture.shape[2] not in {1, 3, 4}:
        picture = np.moveaxis(picture, 0, 2)
    if picture.dtype == np.uint16:
        picture = (picture / np.float32(257)).astype(np.float32)
    elif picture.dtype != np.uint8:
        picture = picture.astype(np.float32)
    picture = np.ascontiguousarray(picture)
    if picture.ndim == 2 or picture.shape[2] == 1:
        return picture.reshape(picture.shape[:2])
    code = cv2.COLOR_BGR2GRAY if order == "bgr" else cv2.COLOR_RGB2GRAY
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture[:, :, :3]), code))


def _by_sight(prepared: Prepared, seen: _Seen, looks: slice, settings: QualitySettings) -> Iterator[Reason]:
    for stream in prepared.streams:
        name = stream.settings.name
        limits = settings.own.get(name, settings.general)
        for kind, least, values in (("black", limits.black, seen.brightness), ("blur", limits.blur, seen.sharpness)):
            if least is None or stream.kind != "image" or name not in values:
                continue
            found = values[name][looks]
            there = found[~np.isnan(found)]
            if len(there) and (reason := pictures(name, kind, there, least, settings.max_bad)) is not None:
                yield reason
    if settings.still is None or looks.stop - looks.start < 2:
        return
    moves = np.zeros(looks.stop - looks.start - 1, bool)
    for stream in prepared.streams:
        name = stream.settings.name
        if name in seen.change and _counts(name, settings):
            limit = _LEVELS if stream.kind == "image" else settings.below
            moves |= seen.change[name][looks][1:] >= limit  # nan is no movement
    if (reason := stillness(moves, settings.still, settings.moving or "")) is not None:
        yield reason
