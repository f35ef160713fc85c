"""Stamps in the order in which messages came → where a clock was set, and the passes of the recording in between.

A playback that loops, a simulation that is reset and a clock that is corrected give one second to two passes. Sorted by
their stamps, messages of both would stand side by side, and no sample could be trusted. So the order in which the
messages came is looked at before they are sorted: the order in the file, or for header stamps that of their receipt.

Writers leave small disorder: chunks that overlap, a message that waited for another. Nothing is made of that. A
clock was set where

- a stamp lies more than a second before one that came earlier, or a year after the one before it;
- it lies less far back, but the messages before and behind go on steadily, and the time between holds half as many
  messages again as the topic's pace gives it: they lived through it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.records import Index

    Stamps = NDArray[np.int64]

_SECOND = 10**9
_YEAR = 365 * 86_400 * _SECOND
_STEADY = 5  # messages before and behind a smaller jump that have to follow each other in order
_DENSER = 1.5  # times the topic's pace
_MOST = 1000  # passes
_WINDOW = 4096  # messages that are looked at first
_SHOWN = 3  # instants in a message


@dataclass(frozen=True, slots=True)
class Arrival:
    """One stream's messages in the order in which they came.

    ``numbers`` (n,) are their numbers in the stream's index, ``stamps`` (n,) int64 their stamps on its clock, ``came``
    (n,) int64 their places among the messages of all streams, ``restarts`` the numbers in this order with which a clock
    that was set begins anew.
    """

    numbers: NDArray[np.int64]
    stamps: Stamps
    came: NDArray[np.int64]
    restarts: NDArray[np.int64]


def in_file_order(index: Index) -> NDArray[np.int64] | None:
    """Return the numbers of the messages in the order of the file; None where that is the order of the index."""
    step = np.diff(index.block)
    if not np.any((step < 0) | ((step == 0) & (np.diff(index.offset) < 0))):
        return None
    return np.lexsort((index.offset, index.block)).astype(np.int64)


def restarts(stamps: Stamps) -> NDArray[np.int64]:
    """Return the numbers of the messages, in the order in which they came, with which a new pass begins."""
    steps = np.diff(stamps)
    if len(steps) == 0 or (steps.min() >= 0 and steps.max() <= _YEAR):
        return np.empty(0, np.int64)
    found = np.flatnonzero((steps < -_SECOND) | (steps > _YEAR)) + 1
    edges = [0, *found.tolist(), len(stamps)]
    if len(edges) > _MOST:
        return found
    more = [_creeping(stamps[a:b]) + a for a, b in pairwise(edges)]
    found = np.union1d(found, np.concatenate(more)).astype(np.int64)
    return np.union1d(found, _relived(stamps, steps)).astype(np.int64)


def _creeping(stamps: Stamps) -> NDArray[np.int64]:
    """Find where stamps that go back by small steps have come a second behind the latest of their pass."""
    found: list[int] = []
    start, size = 0, _WINDOW
    while len(found) < _MOST:
        part = stamps[start : start + size]
        behind = np.flatnonzero(np.maximum.accumulate(part) - part > _SECOND)
        if len(behind):
            start, size = start + int(behind[0]), _WINDOW
            found.append(start)
        elif start + size >= len(stamps):
            break
        else:
            size *= 2
    return np.asarray(found, np.int64)


def _relived(stamps: Stamps, steps: Stamps) -> NDArray[np.int64]:
    """Find jumps back of a second or less behind which the same time comes once more."""
    forward = steps[steps > 0]
    if len(forward) == 0 or len(steps) < 2 * _STEADY:
        return np.empty(0, np.int64)
    pace = int(np.median(forward))
    back = steps < 0
    disorder = np.convolve(back, np.ones(2 * _STEADY - 1, int), "same")
    jumps = np.flatnonzero((steps <= -_STEADY * pace) & (steps >= -_SECOND) & (disorder == 1)) + 1
    jumps = jumps[(jumps >= _STEADY) & (jumps <= len(stamps) - _STEADY)]
    in_order = np.sort(stamps)
    low, high = stamps[jumps], stamps[jumps - 1]
    held = np.searchsorted(in_order, high, side="right") - np.searchsorted(in_order, low)
    return jumps[held * pace > _DENSER * (high - low + pace)].astype(np.int64)


def make_arrivals(indexes: Mapping[str, Index], received: Mapping[str, Index]) -> dict[str, Arrival]:
    """Put each stream's messages into the order in which they came.

    ``indexes`` are on each stream's own clock, ``received`` are those of the same messages by their receipt. That is
    the order in which messages came, unless the clock of the receipt itself was set: then it is that of the file.
    """
    orders = {name: in_file_order(index) for name, index in received.items()}
    if set_back := any(len(restarts(_taken(received[name].stamps, order))) for name, order in orders.items()):
        places = _rank([received[name] for name in orders])
    found = {}
    for number, (name, index) in enumerate(indexes.items()):
        order, own = orders[name], in_file_order(index)
        numbers = np.arange(len(index.stamps)) if own is None else own
        came = places[number] if set_back else _taken(received[name].stamps, order)
        if np.any(came[1:] < came[:-1]):
            by_receipt = np.argsort(came, kind="stable")
            numbers, came = numbers[by_receipt], came[by_receipt]
        stamps = index.stamps[numbers]
        found[name] = Arrival(numbers, stamps, came, restarts(stamps))
    return found


def _taken(stamps: Stamps, order: NDArray[np.int64] | None) -> Stamps:
    return stamps if order is None else stamps[order]


def _rank(indexes: Sequence[Index]) -> list[NDArray[np.int64]]:
    """Number the messages of several indexes in the order of the file; each index's own in that order."""
    blocks = np.concatenate([index.block for index in indexes])
    offsets = np.concatenate([index.offset for index in indexes])
    ranks = np.empty(len(blocks), np.int64)
    order = np.lexsort((offsets, blocks))
    ranks[order] = np.arange(len(order))
    edges = np.cumsum([len(index.block) for index in indexes])[:-1]
    return [np.sort(part) for part in np.split(ranks, edges)]


def boundaries(arrivals: Iterable[Arrival]) -> NDArray[np.int64]:
    """Return the places at which passes begin, as few as lie between the messages before and behind every restart."""
    spans = sorted((int(a.came[at]), int(a.came[at - 1])) for a in arrivals for at in a.restarts.tolist())
    found: list[int] = []
    for first, before in spans:
        if not found or found[-1] <= before:
            found.append(first)
    return np.asarray(found, np.int64)


def passes(arrivals: Mapping[str, Arrival]) -> list[dict[str, NDArray[np.int64]]]:
    """Return for each pass the numbers of each stream's messages in it, by their stamps.

    Raises:
        RecordingError: there are so many that the stamps make no passes.

    """
    edges = boundaries(arrivals.values())
    if len(edges) >= _MOST:
        msg = f"the stamps jump {len(edges)} times: no setting can tell so many passes apart"
        raise RecordingError(msg, hint="use the other 'clock:'")
    parts = {name: np.searchsorted(edges, arrival.came, side="right") for name, arrival in arrivals.items()}
    return [
        {name: _sorted(arrival, np.flatnonzero(parts[name] == number)) for name, arrival in arrivals.items()}
        for number in range(len(edges) + 1)
    ]


def _sorted(arrival: Arrival, chosen: NDArray[np.intp]) -> NDArray[np.int64]:
    order = np.argsort(arrival.stamps[chosen], kind="stable")
    return arrival.numbers[chosen[order]]


def tell(arrival: Arrival) -> str:
    """Say in words where the stamps jump, and from when to when."""
    stamps, found = arrival.stamps, arrival.restarts
    told = [f"from {_instant(stamps[at - 1])} to {_instant(stamps[at])} at message {at}" for at in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more times" if len(found) > _SHOWN else ""
    zeros = int(np.count_nonzero(stamps == 0))
    unset = f"; {zeros} of {len(stamps)} are 0" if zeros > 1 else ""
    return f"jump {', '.join(told)}{more}{unset}"


def jumps_in(index: Index, headers: Stamps | None = None) -> str:
    """Say where a topic's stamps jump, as `tell` does; empty where they do not.

    Receive stamps are followed in the order of the file, ``headers`` (n,) int64 of the index in that of their receipt.
    """
    order = in_file_order(index) if headers is None else None
    stamps = _taken(index.stamps if headers is None else headers, order)
    found = restarts(stamps)
    numbers = np.arange(len(stamps), dtype=np.int64)
    return tell(Arrival(numbers, stamps, numbers, found)) if len(found) else ""


def _instant(stamp: int) -> str:
    sign, size = "-" if stamp < 0 else "", abs(int(stamp))
    return f"{sign}{size // _SECOND}.{size % _SECOND // 10**6:03d} s"
