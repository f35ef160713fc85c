"""Stamps, and how a robot's joints move → stretches between pauses and rests, or of equal length."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.episodes.cut import Problem, Span
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Stamps = NDArray[np.int64]

_IDLE = "an episode is left out: nothing moves in it"
_HALF = 50_000_000  # nanoseconds to either side of a message, over which its speed is taken


def every(begin: int, end: int, length: int) -> list[Span]:
    """Cut the time from ``begin`` to before ``end`` into spans of ``length``; the last is what is left."""
    return [Span(at, min(at + length, end), why=f"every {show_duration(length)}") for at in range(begin, end, length)]


def between_gaps(stamps: Stamps, gap: int) -> list[Span]:
    """Return the spans between pauses of a stream that are longer than ``gap``."""
    if not len(stamps):
        return []
    breaks = np.flatnonzero(np.diff(stamps) > gap) + 1
    spans = []
    for number, part in enumerate(np.split(stamps, breaks)):
        pause = int(part[0] - stamps[breaks[number - 1] - 1]) if number else 0
        why = f"after a pause of {show_duration(pause)}" if number else "the beginning"
        spans.append(Span(int(part[0]), int(part[-1]) + 1, why=why))
    return spans


def speeds(stamps: Stamps, values: NDArray[Any]) -> NDArray[np.float64]:
    """Return how fast the fastest element changes at each message, a second; from 50 ms before to 50 ms behind it.

    ``values`` is (n, k); a message with no other within reach is compared with its neighbours.
    """
    count = len(stamps)
    if count < 2:
        return np.zeros(count)
    numbers = np.arange(count)
    low = np.searchsorted(stamps, stamps - _HALF)
    high = np.searchsorted(stamps, stamps + _HALF, side="right") - 1
    low = np.where(low == high, np.maximum(numbers - 1, 0), low)
    high = np.where(low == high, np.minimum(numbers + 1, count - 1), high)
    seconds = (stamps[high] - stamps[low]) / 1e9
    change = np.abs(values[high].astype(float) - values[low].astype(float)).max(axis=1, initial=0.0)
    found: NDArray[np.float64] = np.divide(change, seconds, out=np.zeros(count), where=seconds > 0)
    return found


def between_rests(stamps: Stamps, speed: NDArray[np.float64], below: float, lasting: int) -> list[Span]:
    """Return the spans in which a stream moves: between rests that last at least ``lasting`` nanoseconds.

    A value that is no number does not rest.
    """
    if not len(stamps):
        return []
    still = np.concatenate([[False], speed < below, [False]])
    begins, ends = np.flatnonzero(still[1:] & ~still[:-1]), np.flatnonzero(still[:-1] & ~still[1:]) - 1
    long = stamps[ends] - stamps[begins] >= lasting
    begins, ends = begins[long], ends[long]
    edges = np.concatenate([[-1], ends]) + 1, np.concatenate([begins, [len(stamps)]]) - 1
    return [
        Span(int(stamps[first]), int(stamps[last]) + 1, why="between rests")
        for first, last in zip(*edges, strict=True)
        if last >= first
    ]


def trimmed(
    spans: Sequence[Span], stamps: Stamps, speed: NDArray[np.float64], below: float
) -> tuple[list[Span], list[Problem], list[tuple[int, int]]]:
    """Cut off of each span what comes before the stream moves first and behind its last movement.

    Returns the spans, those in which nothing moves, and the stretches that were cut off.
    """
    found: list[Span] = []
    problems: list[Problem] = []
    idle: list[tuple[int, int]] = []
    moving = stamps[~(speed < below)]
    for span in spans:
        low, high = np.searchsorted(moving, [span.start, span.end])
        if low == high:
            problems.append(Problem(span.start, _IDLE, severe=True, until=span.end))
        else:
            start, end = int(moving[low]), int(moving[high - 1]) + 1
            found.append(replace(span, start=start, end=end))
            idle += [(a, b) for a, b in ((span.start, start), (end, span.end)) if a < b]
    return found, problems, idle
