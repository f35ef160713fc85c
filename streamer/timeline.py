"""Stamps of the streams → the ticks: every instant for which a frame is planned.

All arithmetic is on int64 nanoseconds and exact fractions, so a timeline is the same on every
machine and does not drift.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import ConfigError, RecordingError
from streamer.stamps import nearest, own_period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Stamps = NDArray[np.int64]

_SECOND = 10**9
_PIECE = 1 << 16  # ticks that are computed at once
_MOST_TICKS = 50_000_000
_SAME_RATE = Fraction(102, 100)  # a rate within 2 % of the stream's own takes every message
_BREAK = Fraction(3, 2)  # messages further apart than this many periods are a gap in the stream


def follow(stamps: Stamps, rate: Fraction | None, name: str) -> Stamps:
    """Take the stamps of the stream ``name`` as ticks, thinned to ``rate`` hertz.

    Without thinning every message is a tick, so two messages with one stamp are two ticks at one instant.
    The wanted instants lie on a grid from the first stamp on; each takes the nearest message that no
    other instant took, and an instant inside a gap of the stream takes none. So 30 Hz thinned to
    20 Hz is 20 Hz, whatever the jitter, and every tick is the stamp of a real message.

    Raises:
        ConfigError: the stream is slower than ``rate``.

    """
    new = np.concatenate([np.ones(min(len(stamps), 1), bool), stamps[1:] != stamps[:-1]])
    every, stamps = stamps, stamps if new.all() else stamps[new]
    period = own_period(stamps)
    if rate is None or period == 0:
        return every
    own = Fraction(_SECOND, period)
    if rate > own * _SAME_RATE:
        msg = (
            f"{float(rate):g} Hz is more than the {float(own):.2f} Hz at which {name!r} comes: "
            f"use a lower rate, or 'from: grid' for instants of your own"
        )
        raise ConfigError(msg, key="timeline.rate")
    if rate * _SAME_RATE > own:
        return every
    breaks = np.flatnonzero(np.diff(stamps) > int(max(Fraction(period), _SECOND / rate) * _BREAK)) + 1
    parts = [_thin(part, int(stamps[0]), rate, period) for part in np.split(stamps, breaks)]
    return np.concatenate(parts)


def _thin(stamps: Stamps, origin: int, rate: Fraction, period: int) -> Stamps:
    """Choose the message for each grid instant within one unbroken stretch of a stream."""
    reach = period // 2
    first = math.ceil(Fraction(int(stamps[0]) - reach - origin, _SECOND) * rate)
    last = math.floor(Fraction(int(stamps[-1]) + reach - origin, _SECOND) * rate)
    wanted = origin + grid_instants(first, last + 1, rate)
    chosen = nearest(stamps, wanted)
    steps = np.arange(len(chosen))
    chosen = np.maximum.accumulate(chosen - steps) + steps  # each message at most once
    return stamps[chosen[chosen < len(stamps)]]


def grid_instants(first: int, stop: int, rate: Fraction) -> Stamps:
    """Return the instants number ``first`` to ``stop`` - 1 of a grid of ``rate``, exact and rounded down."""
    exact = (rate.numerator + max(abs(first), abs(stop)) * rate.denominator) * _SECOND < 2**63
    instants = np.empty(max(stop - first, 0), np.int64)
    for start in range(first, stop, _PIECE):
        numbers = np.arange(start, min(start + _PIECE, stop), dtype=np.int64 if exact else object)
        seconds, rest = numbers * rate.denominator // rate.numerator, numbers * rate.denominator % rate.numerator
        instants[start - first :][: len(numbers)] = seconds * _SECOND + rest * _SECOND // rate.numerator
    return instants


def grid(start: int, end: int, rate: Fraction) -> Stamps:
    """Return the instants from ``start`` to ``end`` (included) at ``rate`` hertz.

    Raises:
        RecordingError: there would be too many to be meant.

    """
    if end < start:
        return np.empty(0, np.int64)
    count = int(Fraction(end - start, _SECOND) * rate // 1) + 1
    if count > _MOST_TICKS:
        days = (end - start) / _SECOND / 86_400
        msg = f"the stamps reach over {days:.0f} days, {count} ticks: are some of them 0 or of another clock?"
        raise RecordingError(msg)
    instants = grid_instants(0, count, rate)
    instants += start
    return instants


def finish_at(ticks: Stamps, end: str, stops: Sequence[int], rate: Fraction | None) -> Stamps:
    """Apply the policy ``end``: ``timeline``, ``common`` or ``longest``.

    ``stops`` are the last stamps of the streams that have an end: ``common`` leaves out the ticks
    after the first of them; ``longest`` goes on, at the timeline's pace, to the last of them.
    """
    if len(ticks) == 0 or not stops or end == "timeline":
        return ticks
    if end == "common":
        return ticks[: np.searchsorted(ticks, min(stops), side="right")]
    period = own_period(ticks)
    if rate is None and period == 0:
        return ticks
    pace = rate or Fraction(_SECOND, period)
    more = grid(int(ticks[-1]), max(stops), pace)[1:]
    return np.concatenate([ticks, more])


def window(ticks: Stamps, start: int | None, end: int | None) -> Stamps:
    """Keep the ticks from ``start`` to ``end`` (both included, nanoseconds); None is no bound."""
    low = 0 if start is None else int(np.searchsorted(ticks, start))
    high = len(ticks) if end is None else int(np.searchsorted(ticks, end, side="right"))
    return ticks[low : max(high, low)]


def trim(ticks: Stamps, crop: tuple[float, float], skip: int) -> Stamps:
    """Keep the fraction ``crop`` of the ticks, then leave out ``skip`` of them at both ends."""
    low, high = (round(edge * len(ticks)) for edge in crop)
    cropped = ticks[low:high]
    return cropped[skip : max(len(cropped) - skip, skip)]
