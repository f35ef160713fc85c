"""The streams' stamps → ticks and plan: of the recording as a whole, or of each pass where its clock was set.

This joins the stages resets → timeline → plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import ConfigError, RecordingError, nearest_name
from streamer.plan import join, make_plan
from streamer.records import Index
from streamer.resets import make_arrivals, passes, tell
from streamer.timeline import finish_at, follow, grid, trim, window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.plan import Compute
    from streamer.records import Episode, Plan, StreamSettings, TimelineSettings
    from streamer.source.source import Source


@dataclass(frozen=True, slots=True)
class Pass:
    """A part of a recording between two resets of its clock, planned by itself: its ticks and each stream's stamps."""

    ticks: NDArray[np.int64]
    stamps: Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """Where an episode's frames stand among those of its recording: ``frames`` from ``first`` on."""

    episode: Episode
    first: int
    frames: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """The ticks, the plan, and the indexes of which the plan names the messages; the episodes, if it is cut."""

    ticks: NDArray[np.int64]
    plan: Plan
    indexes: Mapping[str, Index]
    passes: tuple[Pass, ...]
    warnings: tuple[str, ...]
    episodes: tuple[EpisodePlan, ...] = ()


def schedule(
    source: Source,
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    images: Sequence[str],
    received: Mapping[str, Index],
    indexes: Mapping[str, Index],
    ticks: NDArray[np.int64] | None = None,
    computed: Mapping[str, Compute] | None = None,
) -> Schedule:
    """Plan streams of which ``indexes`` are on their own clocks and ``received`` by receipt.

    ``images`` are the names of the image streams; ``ticks`` stand for the timeline's where they are given; streams in
    ``computed`` are made of no single message (see `make_plan`).

    Raises:
        ConfigError: the timeline's settings do not fit the streams.
        RecordingError: a clock was set, or a tick has no sample, and the settings do not say what to do then.

    """
    computed = computed or {}
    parts, warnings = choose_passes(timeline, streams, received, indexes, computed)
    planned = []
    for part in parts:
        stamps = stamps_of(part)
        if ticks is None or len(parts) > 1:
            whole = beginning(source, timeline, streams, part) if part is indexes else first_of(stamps)
            instants = make_ticks(timeline, streams, stamps, images, whole)
        else:
            instants = ticks
        plan = make_plan(instants, {s.name: (stamps[s.name], s.alignment) for s in streams}, computed)
        planned.append((Pass(instants, stamps), plan))
    if len(planned) == 1:
        (one, plan), part = planned[0], parts[0]
        return Schedule(one.ticks, plan, part, (one,), warnings)
    counts = [{name: len(index.stamps) for name, index in part.items()} for part in parts]
    return Schedule(
        np.concatenate([one.ticks for one, _ in planned]),
        join([plan for _, plan in planned], counts),
        {name: concatenate([part[name] for part in parts]) for name in indexes},
        tuple(one for one, _ in planned),
        warnings,
    )


def stamps_of(indexes: Mapping[str, Index]) -> dict[str, NDArray[np.int64]]:
    """Return the stamps of each stream."""
    return {name: index.stamps for name, index in indexes.items()}


def first_of(stamps: Mapping[str, NDArray[np.int64]]) -> int:
    """Return the first stamp of all streams; 0 without one."""
    return min((int(s[0]) for s in stamps.values() if len(s)), default=0)


def concatenate(parts: Sequence[Index]) -> Index:
    """Put the indexes of a topic's parts one behind the other."""
    return Index(*(np.concatenate([getattr(p, column) for p in parts]) for column in ("stamps", "block", "offset")))


def choose_passes(
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    received: Mapping[str, Index],
    indexes: Mapping[str, Index],
    computed: Mapping[str, Compute],
) -> tuple[list[Mapping[str, Index]], tuple[str, ...]]:
    """Return the indexes of the passes that are wanted, and what to say of the others."""
    plain = [name for name in indexes if name not in computed]  # of transforms, their own reader knows
    arrivals = make_arrivals(*({name: found[name] for name in plain} for found in (indexes, received)))
    jumping = {name: arrival for name, arrival in arrivals.items() if len(arrival.restarts)}
    if not jumping:
        return [indexes], ()
    clocks = {s.name: s.clock for s in streams}
    if timeline.resets == "error":
        name, arrival = next(iter(jumping.items()))
        others = f" (likewise {', '.join(list(jumping)[1:])})" if len(jumping) > 1 else ""
        receive = ", or 'clock: receive'" if clocks[name] == "header" else ""
        msg = f"the {clocks[name]} stamps {tell(arrival)}{others}"
        hint = (
            "set 'source.resets' to 'first' or 'last' (that pass only) or 'split' (each by itself, one after the other)"
        )
        raise RecordingError(msg, key=f"streams.{name}.clock", hint=hint + receive)
    if computed:
        msg = f"the clock was set: {', '.join(computed)} would mix the transforms of several passes"
        raise RecordingError(msg, key=f"streams.{next(iter(computed))}.tf", hint="leave the stream out")
    found = passes(arrivals)
    chosen = {"first": found[:1], "last": found[-1:], "split": found}[timeline.resets]
    name, arrival = next(iter(jumping.items()))
    read = f"only the {timeline.resets} is read" if timeline.resets != "split" else "they are read one after the other"
    warning = f"the {clocks[name]} stamps of {name!r} {tell(arrival)}: {len(found)} passes, {read}"
    parts: list[Mapping[str, Index]] = [
        {name: part_of(indexes[name], numbers) for name, numbers in part.items()} for part in chosen
    ]
    return parts, (warning,)


def part_of(index: Index, numbers: NDArray[np.int64]) -> Index:
    """Return some of the messages of an index."""
    return Index(index.stamps[numbers], index.block[numbers], index.offset[numbers])


def beginning(
    source: Source, timeline: TimelineSettings, streams: Sequence[StreamSettings], indexes: Mapping[str, Index]
) -> int:
    """Return the recording's first stamp, on the timeline's clock, where the timeline counts from there; otherwise 0.

    The clock of header stamps may be another than the recorder's: what lies between the two at the first message of
    the timeline's stream is added.
    """
    if all(moment is None or moment.absolute for moment in (timeline.start, timeline.end_at)):
        return 0
    firsts = [int(index.stamps[0]) for index in source.index(source.topics).values() if len(index.stamps)]
    begins = min(firsts, default=0)
    followed = next((s for s in streams if s.name == timeline.source and s.clock == "header"), None)
    if followed is None or not len(indexes[followed.name].stamps):
        return begins
    topic = next(name for name in followed.topics if name in source.topics)
    received = int(source.index([topic])[topic].stamps[0])
    return begins + int(indexes[followed.name].stamps[0]) - followed.shift - received


def make_ticks(
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    indexes: Mapping[str, NDArray[np.int64]],
    images: Sequence[str],
    begins: int,
) -> NDArray[np.int64]:
    """Return the ticks for streams of these stamps, of which ``images`` are the names of the image streams.

    ``begins`` is the recording's first stamp (see `beginning`).

    Raises:
        ConfigError: the timeline's settings do not fit the streams.

    """
    rate = Fraction(*timeline.rate) if timeline.rate else None
    stamps = {name: found for name, found in indexes.items() if len(found)}
    endless = {s.name for s in streams if s.alignment.endless}
    stops = [int(s[-1]) for name, s in stamps.items() if name not in endless]
    if timeline.source == "grid":
        latched = {s.name for s in streams if s.alignment.latched}
        bounds = {name: s for name, s in stamps.items() if name not in latched} or stamps
        starts = [int(s[0]) for s in bounds.values()]
        if rate is None:
            msg = "a grid needs a rate, such as '10 Hz'"
            raise ConfigError(msg, key="timeline.rate")
        if not starts:
            return np.empty(0, np.int64)
        start = max(starts) if timeline.end == "common" else min(starts)
        last = max(int(s[-1]) for s in bounds.values())
        ticks = grid(start, last, rate)
    else:
        name = busiest(images, indexes) if timeline.source == "busiest" else timeline.source
        if name not in indexes:
            hint = nearest_name(name, indexes) or "."
            offered = ", ".join([*indexes, "or 'busiest'", "'grid'"])
            msg = f"there is no stream {name!r}{hint} Streams: {offered}"
            raise ConfigError(msg, key="timeline.from")
        ticks = follow(indexes[name], rate, name)
    ticks = finish_at(ticks, timeline.end, stops, rate)
    low, high = (
        None if moment is None else moment.nanoseconds + (0 if moment.absolute else begins)
        for moment in (timeline.start, timeline.end_at)
    )
    return trim(window(ticks, low, high), timeline.crop, timeline.skip)


def busiest(images: Sequence[str], indexes: Mapping[str, NDArray[np.int64]]) -> str:
    """Return the image stream with the most messages.

    Raises:
        ConfigError: there is none.

    """
    if not images:
        names = ", ".join(indexes)
        msg = f"'busiest' looks for an image stream and there is none: name one of {names}, or 'grid'"
        raise ConfigError(msg, key="timeline.from")
    return max(images, key=lambda name: len(indexes[name]))
