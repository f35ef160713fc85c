"""The stamps of video packets, of arrival or their own (pts) → where packets are missing, the order of the pictures.

All take ``kinds`` (n,) uint8 of `Kind` and stamps (n,) int64 in the order of the packets. Of packets that could not be
read the pts is `UNREAD`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

from streamer.decode.packets import Kind
from streamer.records import Index

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_PTS, UNREAD = -1, -2
_FAR = 1.6  # times the usual distance of packets
_BUNCH = 4  # packets
_UNEVEN = 0.75  # of the distance of pictures
_PERIOD = 16  # pictures after which frame_num (H.264) or the order count (HEVC) may begin anew: the least allowed


class Counting(Enum):
    """How a codec's packets count themselves: H.264 and HEVC number their pictures, or those that others need."""

    NONE = auto()
    SOME = auto()
    ALL = auto()


def follow(
    packets: Index, kinds: NDArray[np.uint8], pts: NDArray[np.int64], counting: Counting
) -> tuple[set[int], set[int], Index]:
    """Return packets before which others are missing, those before which they may be, and the index as it is shown."""
    uncounted = counting is Counting.NONE
    if (pts == NO_PTS).any():
        stamps = packets.stamps
        return set(), find_missing(kinds, stamps) if uncounted else find_jumps(kinds, stamps, shortest=False), packets
    if uncounted:
        missing = find_missing(kinds, pts) | find_repeated(kinds, pts)
    else:
        missing = find_jumps(kinds, pts, counted=counting is Counting.ALL)
    return missing, set(), shown_order(packets, kinds, pts)


def find_missing(kinds: NDArray[np.uint8], stamps: NDArray[np.int64]) -> set[int]:
    """Find packets before which others are missing by their distance: it is far above the usual one."""
    read, steps = _steps(stamps)
    return _changed(kinds, read, steps > _FAR * max(_usual(steps), 1.0))


def find_repeated(kinds: NDArray[np.uint8], pts: NDArray[np.int64]) -> set[int]:
    """Find packets that came before already: they change a picture that they are not meant for."""
    read, steps = _steps(pts)
    return _changed(kinds, read, (steps == 0) & (_usual(steps) > 0))


def find_jumps(
    kinds: NDArray[np.uint8], pts: NDArray[np.int64], *, shortest: bool = True, counted: bool = False
) -> set[int]:
    """Find packets before which so many are missing that the numbers of H.264's and HEVC's pictures may hide it.

    These begin anew at each key picture, and may after 16. A gap is at least the ``shortest`` group, or as long as the
    usual one: what arrives is not as regular as a pts. Where every picture is ``counted`` and groups are of one length,
    only so many can hide as make whole groups or sixteens: a camera that paused for another time has lost nothing.
    """
    order = _by_pts(kinds, pts)
    order = order[pts[order] != UNREAD]
    values, groups = pts[order], np.diff(np.flatnonzero(kinds == Kind.KEY))
    group = min(float(groups.min() if shortest else np.median(groups)) if len(groups) else _PERIOD, _PERIOD)
    least = max(group - 0.5 if shortest else group + 0.5, _FAR)
    steps = np.diff(values) / _spacing(values)
    jumps = steps > least
    if counted and len(np.unique(groups)) < 2:
        jumps &= np.any([_is_multiple(steps - 1, n) for n in (_PERIOD, *groups[:1].tolist())], axis=0)
    firsts = np.minimum.accumulate(order[::-1])[::-1][np.flatnonzero(jumps) + 1]  # of the packets behind each gap
    return set(firsts[kinds[firsts] != Kind.KEY].tolist())


def _is_multiple(pictures: NDArray[np.float64], period: int) -> NDArray[np.bool_]:
    """Tell of which numbers of pictures, measured by stamps that are a little uneven, none may be left over."""
    left: NDArray[np.float64] = np.abs(pictures - np.rint(pictures / period) * period)
    return left < _UNEVEN


def _steps(stamps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the packets that could be read, and the steps between their stamps."""
    read = np.flatnonzero(stamps != UNREAD)
    return read, np.diff(stamps[read])


def _usual(steps: NDArray[np.int64]) -> float:
    return float(np.median(steps)) if len(steps) else 0.0


def _spacing(values: NDArray[np.int64]) -> float:
    """Return the usual distance from one to the next, of several together: a few may be out of order or at once."""
    return max(_usual(np.abs(values[_BUNCH:] - values[:-_BUNCH])) / _BUNCH, 1.0)


def _changed(kinds: NDArray[np.uint8], read: NDArray[np.int64], wrong: NDArray[np.bool_]) -> set[int]:
    """Return the packets behind wrong steps; a key picture needs none before it."""
    behind = read[1:][wrong]
    return set(behind[kinds[behind] != Kind.KEY].tolist())


def shown_order(packets: Index, kinds: NDArray[np.uint8], pts: NDArray[np.int64]) -> Index:
    """Give the stamps, which are those of arrival, to the pictures in the order in which these are shown.

    A packet that cannot be read keeps its place.
    """
    if np.any(np.diff(packets.stamps) < 0) or np.all(np.diff(pts[pts != UNREAD]) > 0):
        return packets
    order = _by_pts(kinds, pts)
    return Index(packets.stamps, packets.block[order], packets.offset[order])


def _by_pts(kinds: NDArray[np.uint8], pts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of the packets in the order of their pts, (n,); one that has none keeps its place."""
    order, read = np.arange(len(pts)), np.flatnonzero(pts != UNREAD)
    order[read] = read[np.lexsort((pts[read], _beginnings(kinds, pts)[read]))]
    return order


def _beginnings(kinds: NDArray[np.uint8], pts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count for each packet how often the publisher had started again, (n,).

    It counts from 0 again: at a key picture or, where that one was lost, further back than pictures are out of order.
    """
    epoch, count, most, before = np.zeros(len(pts), np.int64), 0, -1, -1
    back = (_PERIOD + 1) * _spacing(pts[pts != UNREAD])
    for number, (kind, value) in enumerate(zip(kinds.tolist(), pts.tolist(), strict=True)):
        is_new = value not in (UNREAD, before)  # a key picture that came twice begins nothing
        restarts = is_new and (value <= most if kind == Kind.KEY else value < most - back)
        count += restarts
        most = value if restarts else max(most, value)
        epoch[number], before = count, value
    return epoch
