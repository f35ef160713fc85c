"""Limits, and what was found of an episode → a verdict: kept, flagged or left out, each with its reasons. Pure.

What the plan tells (pauses, held frames) and what only pictures and values tell (black, blurred, still) are judged
alike; who finds them is `runtime.judging`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.records import Flag
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamer.records import StreamPlan

KEPT, FLAGGED, LEFT_OUT = "kept", "flagged", "left out"
_OUTCOMES = {"keep": KEPT, "flag": FLAGGED, "drop": LEFT_OUT}


@dataclass(frozen=True, slots=True)
class Limits:
    """What is too much of one stream, None for no limit.

    ``max_gap`` in nanoseconds, ``max_held`` as a share; pictures are black or blurred below ``black`` and ``blur``.
    """

    max_gap: int | None = None
    max_held: float | None = None
    black: float | None = None
    blur: float | None = None


@dataclass(frozen=True, slots=True)
class QualitySettings:
    """By which limits episodes are judged: ``general`` ones, ``own`` ones of streams, and how much may be ``still``.

    ``moving`` says whose movement counts (None: all streams), ``below`` which speed of a vector it is none; ``max_bad``
    how many of a stream's pictures may be black or blurred; ``on_low`` (keep, flag, drop) what becomes of an episode
    beyond a limit. ``period`` nanoseconds lie between frames that are looked at.
    """

    general: Limits
    own: dict[str, Limits]
    still: float | None
    moving: str | None
    below: float
    max_bad: float
    on_low: str
    period: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an episode is beyond a limit: of which ``stream`` (empty: of all), what was found and what is allowed.

    ``count`` of the ``total`` frames, pauses or pictures that were looked at are beyond it; ``text`` says it to people.
    """

    limit: str
    stream: str
    found: float
    allowed: float
    count: int
    total: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an episode (of a recording that is not cut: ``number`` None): kept, flagged or left out."""

    number: int | None
    outcome: str
    reasons: tuple[Reason, ...] = ()


def judge(number: int | None, reasons: Sequence[Reason], on_low: str) -> Verdict:
    """Decide what becomes of an episode."""
    return Verdict(number, _OUTCOMES[on_low] if reasons else KEPT, tuple(reasons))


def pauses(
    name: str, stamps: Sequence[NDArray[np.int64]], ticks: Sequence[NDArray[np.int64]], longest: int
) -> Reason | None:
    """Look at the pauses between the messages of a stream, in each of the parts that are planned by themselves.

    What lies between the first tick and the first message counts as well, and so does what lies behind the last.
    """
    found = np.concatenate([_distances(s, t) for s, t in zip(stamps, ticks, strict=True)] or [np.empty(0, np.int64)])
    count, worst = int(np.count_nonzero(found > longest)), int(found.max(initial=0))
    if not count:
        return None
    many = f", {count} such pauses" if count > 1 else ""
    text = f"{name}: a pause of {show_duration(worst)}, longer than {show_duration(longest)}{many}"
    return Reason("max_gap", name, worst / 1e9, longest / 1e9, count, len(found), text)


def _distances(stamps: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
    if not len(ticks):
        return np.empty(0, np.int64)
    if not len(stamps):
        return ticks[-1:] - ticks[:1]
    first, last = min(ticks[0], stamps[0]), max(ticks[-1], stamps[-1])
    whole: NDArray[np.int64] = np.concatenate([[first], stamps, [last]])
    distances: NDArray[np.int64] = whole[1:] - whole[:-1]
    return distances


def held(plan: StreamPlan, frames: slice, most: float) -> Reason | None:
    """Count the frames in which a stream shows the message of the frame before, an outdated one, or none."""
    flags, first = plan.flags[frames], plan.first[frames]
    count, total = int(np.count_nonzero((flags & Flag.HELD > 0) | (first < 0))), len(flags)
    if count <= most * total:
        return None
    text = f"{plan.name}: nothing new in {_share(count, total)} of its frames, more than {_percent(most)}"
    return Reason("max_held", plan.name, count / total, most, count, total, text)


def pictures(name: str, kind: str, values: NDArray[np.float64], least: float, most: float) -> Reason | None:
    """Count the pictures whose brightness (``black``) or sharpness (``blur``), (n,), is below what is asked for."""
    count, total = int(np.count_nonzero(values < least)), len(values)
    if count <= most * total:
        return None
    what, measured = {"black": ("black", "brightness"), "blur": ("blurred", "sharpness")}[kind]
    lowest = f"{measured} down to {values.min():.3g}, below {least:g}"
    text = f"{name}: {_share(count, total)} of its pictures {what} ({lowest}), more than {_percent(most)}"
    return Reason(kind, name, float(values.min()), least, count, total, text)


def stillness(moves: NDArray[np.bool_], most: float, name: str = "") -> Reason | None:
    """Count the frames looked at in which nothing has moved since the one before; ``moves`` (n,)."""
    count, total = int(np.count_nonzero(~moves)), len(moves)
    if count <= most * total:
        return None
    text = f"{name or 'all'}: still in {_share(count, total)} of its frames, more than {_percent(most)}"
    return Reason("still", name, count / total, most, count, total, text)


def _share(count: int, total: int) -> str:
    return f"{_percent(count / total)} ({count} of {total})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
