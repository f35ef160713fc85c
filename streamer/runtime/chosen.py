"""What was prepared and some of its frames → the same as if there were no others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.episodes import Cut
from streamer.layout import make_layout
from streamer.records import Plan
from streamer.runtime.schedule import EpisodePlan

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from streamer.records import StreamPlan
    from streamer.runtime.prepare import Prepared, Stream


def choose(prepared: Prepared, frames: NDArray[np.int64], streams: Sequence[Stream] | None = None) -> Prepared:
    """Return the plan of some frames only, in their order, and of some streams (None: all).

    What says where episodes begin is left as it is.
    """
    chosen = tuple(
        replace(
            stream,
            plan=_plan(stream.plan, frames),
            repeats=stream.repeats[frames],
            turns=[stream.turns[frame] for frame in frames.tolist()] if stream.turns else (),
        )
        for stream in (prepared.streams if streams is None else streams)
    )
    old = prepared.plan
    plan = Plan(
        old.ticks[frames], old.numbers[frames], old.planned, old.skipped, tuple(stream.plan for stream in chosen)
    )
    layout = prepared.layout if streams is None else make_layout({s.settings.name: s.spec for s in chosen})
    return replace(prepared, plan=plan, streams=chosen, layout=layout)


def leave_out(prepared: Prepared, numbers: Collection[int | None], why: str) -> Prepared:
    """Return the plan without the frames of some episodes (None: of the whole recording, which is not cut).

    They count as skipped; the numbers of the others stay.
    """
    keep = np.ones(prepared.plan.frames, bool)
    episodes: list[EpisodePlan] = []
    cut = prepared.cut
    if None in numbers:
        keep[:] = False
        cut = cut or Cut()  # into no episode: consumers then open no output
    for e in prepared.episodes:
        out = e.episode.number in numbers
        keep[e.first : e.first + e.frames] &= not out
        episodes.append(EpisodePlan(e.episode, sum(one.frames for one in episodes), 0 if out else e.frames))
    found = choose(prepared, np.flatnonzero(keep))
    skipped = dict(prepared.plan.skipped) | {why: int(np.count_nonzero(~keep))}
    return replace(found, plan=replace(found.plan, skipped=skipped), episodes=tuple(episodes), cut=cut)


def _plan(plan: StreamPlan, frames: NDArray[np.int64]) -> StreamPlan:
    return replace(
        plan,
        first=plan.first[frames],
        second=plan.second[frames],
        weight=plan.weight[frames],
        stamp=plan.stamp[frames],
        offset=plan.offset[frames],
        flags=plan.flags[frames],
    )
