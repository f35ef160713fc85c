"""The first bytes of a CDR message → its byte order; sizes of fields → how far they reach from any alignment.

Encapsulations: OMG DDSI-RTPS 2.5, table 10.3, and DDS-XTypes 1.3, table 60, which numbers those of version 2 anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENCAPSULATION = 4  # bytes before the message itself
PLAIN = {b"\x00\x00": True, b"\x00\x01": False}  # is it big-endian?
PLAIN_2 = {b"\x00\x06": True, b"\x00\x07": False, b"\x00\x10": True, b"\x00\x11": False}
_NAMES = {
    0x02: "PL_CDR",
    0x03: "PL_CDR",
    0x06: "CDR2",
    0x07: "CDR2",
    0x08: "D_CDR2",
    0x09: "D_CDR2",
    0x0A: "PL_CDR2",
    0x0B: "PL_CDR2",
    0x10: "CDR2",
    0x11: "CDR2",
    0x12: "PL_CDR2",
    0x13: "PL_CDR2",
    0x14: "D_CDR2",
    0x15: "D_CDR2",
}


def is_big_endian(message: memoryview, known: Mapping[bytes, bool]) -> bool:
    """Tell the byte order of a message; ``known`` are the encapsulations in which its type is read.

    Raises:
        DecodeError: it has another, or none.

    """
    found = known.get(bytes(message[:2]))
    if found is None:
        raise foreign(bytes(message[:4]))
    return found


def foreign(first: bytes) -> DecodeError:
    """Return the error of a message that begins with another encapsulation."""
    if len(first) < ENCAPSULATION:
        return DecodeError(f"a message of {len(first)} bytes is too short for its type")
    name = _NAMES.get(first[1]) if first[:1] == b"\0" else None
    kind = f"the encapsulation {name} ({first[:2].hex()})" if name else f"{first!r}, which is no CDR encapsulation"
    return DecodeError(f"a message begins with {kind}; plain CDR (0000 or 0001) is read")


Stride = tuple[int, ...]  # how many bytes further something ends, by the alignment (0 to 7) at which it may begin


def stride_of(size: int, *, aligned: bool) -> Stride:
    """Return the stride of one number of ``size`` bytes."""
    return tuple(-start % size + size if aligned else size for start in range(8))


def chain(first: Stride, second: Stride) -> Stride:
    """Return the stride of two things, one behind the other."""
    return tuple(ahead + second[(start + ahead) & 7] for start, ahead in enumerate(first))


def repeat(one: Stride) -> Callable[[int, int], int]:
    """Return a function: an alignment and a count of things alike → how many bytes further the last of them ends.

    There are eight alignments, so after eight things at most one comes again, and with it all that follows.
    """
    table = []
    for start in range(8):
        ends, met, end = [0], {start: 0}, one[start]
        while (at := (start + end) & 7) not in met:
            met[at] = len(ends)
            ends.append(end)
            end += one[at]
        table.append((ends, met[at], end - ends[met[at]]))

    def reach(start: int, count: int) -> int:
        ends, first, size = table[start]
        if count < len(ends):
            return ends[count]
        turns, rest = divmod(count - first, len(ends) - first)
        return ends[first + rest] + turns * size

    return reach
