"""Episodes and the streams' stamps → the plan of a recording that is cut: that of each episode, one behind the other.

An episode is planned from the messages that were received in it and from no others, as if they were a recording.
Transforms are the exception: they are looked up in the whole recording, as those that hold for ever come once. So is
the last message of a latched topic that its stream holds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import ConfigError, RecordingError
from streamer.plan import join_episodes, make_plan
from streamer.runtime.schedule import (
    EpisodePlan,
    Pass,
    Schedule,
    beginning,
    busiest,
    choose_passes,
    concatenate,
    make_ticks,
    part_of,
    stamps_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.plan import Compute
    from streamer.records import Episode, Index, StreamSettings, TimelineSettings
    from streamer.source.source import Source


def schedule_episodes(
    source: Source,
    episodes: Sequence[Episode],
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    images: Sequence[str],
    received: Mapping[str, Index],
    indexes: Mapping[str, Index],
    computed: Mapping[str, Compute],
) -> Schedule:
    """Plan each episode as if its messages were all that there are; then put the plans one behind the other.

    Takes what `schedule` takes.

    Raises:
        ConfigError: the timeline's settings do not fit the streams of an episode.
        RecordingError: a clock was set, or a tick of an episode has no sample, and nothing says what to do then.

    """
    chosen, told = choose_passes(timeline, streams, received, indexes, computed)
    if chosen[0] is not indexes:
        msg = "the clock of the recording was set: it cannot be cut into episodes"
        raise ConfigError(msg, key="episodes", hint="leave 'episodes' out for this recording")
    begins = beginning(source, timeline, streams, indexes)
    warnings = list(told)
    if timeline.source == "busiest":
        timeline = replace(timeline, source=busiest(images, stamps_of(indexes)))
    came = {n: i.stamps if n in computed else _receipts(i, received[n]) for n, i in indexes.items()}
    latched = {s.name for s in streams if s.alignment.latched and s.name != timeline.source}
    planned, counts, parts, passes, placed = [], [], [], [], []
    first = 0
    for episode in episodes:
        part = {n: part_of(i, _inside(came[n], episode, latched=n in latched)) for n, i in indexes.items()}
        stamps = stamps_of(part)
        try:
            ticks = make_ticks(timeline, streams, stamps, images, begins)
            plan = make_plan(ticks, {s.name: (stamps[s.name], s.alignment) for s in streams}, computed)
        except (ConfigError, RecordingError) as error:
            raise error.at(text=f"episode {episode.number}: {error.text}") from error
        if not plan.frames:
            warnings.append(f"episode {episode.number} has no frame and is left out")
        passes.append(Pass(ticks, stamps))
        planned.append(plan)
        counts.append({n: len(ticks) if n in computed else len(i.stamps) for n, i in part.items()})
        parts.append(part)
        placed.append(EpisodePlan(episode, first, plan.frames))
        first += plan.frames
    if not planned:
        return _without_episodes(streams, indexes, told)
    return Schedule(
        np.concatenate([one.ticks for one in passes]),
        join_episodes(planned, counts),
        {name: concatenate([part[name] for part in parts]) for name in indexes},
        tuple(passes),
        tuple(warnings),
        tuple(placed),
    )


def _without_episodes(
    streams: Sequence[StreamSettings], indexes: Mapping[str, Index], told: tuple[str, ...]
) -> Schedule:
    """Return a plan of no tick, for a recording in which no episode was found."""
    nothing = {n: part_of(i, np.empty(0, np.int64)) for n, i in indexes.items()}
    ticks = np.empty(0, np.int64)
    plan = make_plan(ticks, {s.name: (nothing[s.name].stamps, s.alignment) for s in streams})
    return Schedule(ticks, plan, nothing, (Pass(ticks, stamps_of(nothing)),), told)


def _receipts(index: Index, received: Index) -> NDArray[np.int64]:
    """Return when each message of an index on another clock was received; (n,) in the order of the index."""
    found = np.empty(len(index.stamps), np.int64)
    mine, theirs = (np.lexsort((i.offset, i.block)) for i in (index, received))
    found[mine] = received.stamps[theirs]
    return found


def _inside(came: NDArray[np.int64], episode: Episode, *, latched: bool) -> NDArray[np.int64]:
    """Return the messages that an episode is planned from; of a latched topic also what holds when it begins.

    That is the last one that came before, or else the first one of all.
    """
    found = np.flatnonzero((came >= episode.start) & (came < episode.end))
    if not latched or not len(came):
        return found
    before = np.flatnonzero(came < episode.start)
    if len(before):
        found = np.append(found, before[np.argmax(came[before])])
    elif not len(found):
        found = np.array([np.argmin(came)])
    return np.sort(found)
