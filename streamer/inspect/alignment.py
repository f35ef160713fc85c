"""A plan → how well the streams fit together in time: offsets, spans, ticks left out. Nothing is read for it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.plan import make_plan
from streamer.records import Flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.records import StreamPlan
    from streamer.runtime.prepare import Prepared, Stream
    from streamer.runtime.schedule import Pass

_BINS = 24
_MOST_SPANS = 1000  # in a table or a JSON; the rest is counted


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive frames, or ticks that are left out, ``first`` to ``last``; times in seconds from the first tick."""

    first: int
    last: int
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Lane:
    """One stream: times in seconds from the first tick, offsets in milliseconds (stamp minus tick)."""

    name: str
    topic: str
    messages: int
    begins_s: float | None
    ends_s: float | None
    offsets: NDArray[np.float64]  # (frames,), nan where there is no sample
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    spans: dict[str, list[Span]]  # held, gaps, none
    shift_s: float = 0.0  # what was added to the stamps of its messages; all times are those after it
    map: str = ""  # the steps with the shapes between them


@dataclass(frozen=True, slots=True)
class View:
    """The alignment of one recording; ``seconds`` (frames,) are the frames' ticks from the first tick on."""

    name: str
    path: str
    planned: int
    seconds: NDArray[np.float64]
    lanes: list[Lane]
    left_out: dict[str, list[Span]]  # by reason
    left_out_seconds: NDArray[np.float64]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {
            "recording": self.path,
            "planned": self.planned,
            "frames": len(self.seconds),
            "left_out": {
                reason: {"ticks": _count(spans), "spans": _plain(spans)} for reason, spans in self.left_out.items()
            },
            "streams": {lane.name: _lane(lane) for lane in self.lanes},
        }


def view(prepared: Prepared, name: str) -> View:
    """Describe a plan."""
    plan, ticks = prepared.plan, prepared.ticks
    origin = int(ticks[0]) if len(ticks) else 0
    seconds = (plan.ticks - origin) / 1e9
    lanes = []
    for stream in prepared.streams:
        stamps, p = stream.index.stamps, stream.plan
        shown = p.first >= 0
        offsets = np.where(shown, p.offset / 1e6, np.nan)
        counts, edges = np.histogram(offsets[shown], _BINS) if shown.any() else (np.zeros(0, np.int64), np.zeros(0))
        begins, ends = ((int(stamps[at]) - origin) / 1e9 if len(stamps) else None for at in (0, -1))
        spans = {
            "held": list(_spans(np.flatnonzero(p.flags & np.uint8(Flag.HELD)), seconds)),
            "gaps": list(_spans(np.flatnonzero(p.flags & np.uint8(Flag.GAP)), seconds)),
            "none": list(_spans(np.flatnonzero(~shown), seconds)),
        }
        names = stream.settings.name, stream.topic.name
        how = stream.settings.shift / 1e9, str(stream.chain or "")
        lanes.append(Lane(*names, len(stamps), begins, ends, offsets, edges, counts.astype(int), spans, *how))
    times = (ticks - origin) / 1e9
    reasons = _reasons(prepared)
    left_out = {reason: list(_spans(numbers, times)) for reason, numbers in reasons.items()}
    gone = np.sort(np.concatenate([np.zeros(0, np.int64), *reasons.values()]))
    return View(name, str(prepared.source.path), plan.planned, seconds, lanes, left_out, times[gone])


def _reasons(prepared: Prepared) -> dict[str, NDArray[np.int64]]:
    """Return the numbers of the ticks that are left out, by the first stream that leaves them out."""
    keep = np.ones(len(prepared.ticks), bool)
    found = {}
    for stream in prepared.read:
        how = stream.settings.alignment
        if how.missing != "skip" and not how.at and not how.at_ticks:
            continue
        shown = np.concatenate([_shown(part, stream) for part in prepared.passes])
        if (new := keep & ~shown).any():
            found[f"{'missing' if how.missing == 'skip' else 'at'} {stream.settings.name}"] = np.flatnonzero(new)
        keep &= shown
    return found


def _shown(part: Pass, stream: Stream) -> NDArray[np.bool_]:
    """Tell for which ticks of a pass a stream has a sample."""
    name = stream.settings.name
    computed = {name: stream.compute} if stream.compute is not None else {}
    alone = make_plan(part.ticks, {name: (part.stamps[name], stream.settings.alignment)}, computed)
    shown = np.zeros(len(part.ticks), bool)
    shown[alone.numbers] = True
    return shown


def _spans(numbers: NDArray[np.int64], seconds: NDArray[np.float64]) -> Iterator[Span]:
    """Join neighbours."""
    if len(numbers) == 0:
        return
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
        first, last = int(run[0]), int(run[-1])
        yield Span(first, last, float(seconds[first]), float(seconds[last]))


def _lane(lane: Lane) -> dict[str, Any]:
    size = np.abs(lane.offsets[np.isfinite(lane.offsets)])
    return {
        "topic": lane.topic,
        "messages": lane.messages,
        "begins_s": lane.begins_s,
        "ends_s": lane.ends_s,
        "shift_s": lane.shift_s,
        "map": lane.map,
        "offset_ms": {
            "median": round(float(np.median(size)), 6) if len(size) else None,
            "p95": round(float(np.quantile(size, 0.95)), 6) if len(size) else None,
            "largest": round(float(size.max()), 6) if len(size) else None,
        },
        "histogram": {"edges_ms": lane.edges.round(6).tolist(), "counts": lane.counts.tolist()},
        **{kind: {"frames": _count(spans), "spans": _plain(spans)} for kind, spans in lane.spans.items()},
    }


def _count(spans: Iterable[Span]) -> int:
    return sum(span.last - span.first + 1 for span in spans)


def _plain(spans: list[Span]) -> list[dict[str, Any]]:
    return [
        {"first": s.first, "last": s.last, "begin_s": round(s.begin_s, 9), "end_s": round(s.end_s, 9)}
        for s in spans[:_MOST_SPANS]
    ]


def write_csv(path: Path, parts: Iterable[tuple[str, Prepared]]) -> None:
    """Write a row a frame: its number and tick, and each stream's stamp, offset (both ns) and flags."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for number, (name, prepared) in enumerate(parts):
            plan = prepared.plan
            if not number:
                columns = [f"{s.name} {column}" for s in plan.streams for column in ("stamp_ns", "offset_ns", "flags")]
                writer.writerow(["recording", "frame", "tick_number", "tick_ns", *columns])
            for n in range(plan.frames):
                cells = [cell for stream in plan.streams for cell in _cells(stream, n)]
                writer.writerow([name, n, int(plan.numbers[n]), int(plan.ticks[n]), *cells])


def _cells(stream: StreamPlan, n: int) -> tuple[object, object, str]:
    if stream.first[n] < 0:
        return "", "", "none"
    flags = Flag(int(stream.flags[n]))
    names = [name.lower() for name, flag in Flag.__members__.items() if flag and flag in flags]
    return int(stream.stamp[n]), int(stream.offset[n]), " ".join(names)
