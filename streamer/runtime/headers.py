"""A topic whose messages begin with a header → the stamps that stand in them, in nanoseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.decode.cdr import PLAIN, PLAIN_2, foreign

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Index
    from streamer.source.source import Source

_STAMP_AT = 4  # behind `seq` in ROS 1, behind the encapsulation in CDR
_PLAIN = [known[1] for known in (*PLAIN, *PLAIN_2)]


def header_stamps(source: Source, index: Index, encoding: str, *, seq: bool = True) -> NDArray[np.int64]:
    """Return the header stamps (n,), in nanoseconds, of messages that begin with a std_msgs/Header.

    ROS 1: uint32 seconds and nanoseconds behind `seq`. CDR: int32 and uint32 behind the encapsulation, whose second
    byte says whether they are little-endian. Without ``seq``, ROS 1 has none before the stamp.

    Raises:
        RecordingError: a message is too short for one.

    """
    at = _STAMP_AT if seq or encoding == "cdr" else 0
    heads = source.heads(index, at + 8)
    if encoding == "cdr" and (odd := np.flatnonzero((heads[:, 0] != 0) | ~np.isin(heads[:, 1], _PLAIN))).size:
        raise foreign(heads[odd[0], :4].tobytes())
    numbers = np.ascontiguousarray(heads[:, at:])
    order = 1 - (heads[:, 1] & 1).astype(np.intp) if encoding == "cdr" else np.zeros(len(heads), np.int64)
    seconds, rest = (np.stack([numbers.view(f"{e}u4")[:, n] for e in "<>"]) for n in (0, 1))
    rows = np.arange(len(heads))
    whole = seconds[order, rows].astype(np.int64)
    if encoding == "cdr":
        whole = seconds[order, rows].astype(np.uint32).view(np.int32).astype(np.int64)
    stamps: NDArray[np.int64] = whole * 10**9 + rest[order, rows].astype(np.int64)
    return stamps
