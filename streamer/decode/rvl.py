"""The bytes of an RVL stream → 16-bit pixels, all at once with numpy.

RVL (Wilson, "Fast lossless depth image compression", ISS 2017): runs of zeros and of non-zero pixels, whose
differences are zigzag numbers, all written as groups of three bits in nibbles, the lowest first; the highest bit of
a nibble says that more follow. Nibbles fill little-endian 32-bit words from the top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_NIBBLES = 11  # three bits each, of a 32-bit number


def decode_rvl(data: memoryview, count: int) -> NDArray[np.uint16]:
    """Return ``count`` pixels (count,).

    Raises:
        DecodeError: the stream ends early, or its runs do not add up to ``count``.

    """
    numbers = _numbers(data)
    heads, runs = _runs(numbers, count)
    differences = np.ones(len(numbers), bool)
    differences[heads] = differences[heads + 1] = False
    end = int(heads[-1] + 2 + runs[-1]) if len(heads) else 0
    zigzag = numbers[:end][differences[:end]]
    values = np.cumsum((zigzag >> 1) ^ -(zigzag & 1)).astype(np.uint16)
    pixels = np.zeros(count, np.uint16)
    pixels[np.repeat(np.arange(len(runs)) % 2 == 1, runs)] = values
    return pixels


def _numbers(data: memoryview) -> NDArray[np.int64]:
    """Return all numbers of a stream, among them what fills the last word."""
    words = np.frombuffer(data, "<u4", len(data) // 4).astype(">u4").view(np.uint8)
    nibbles = np.empty(2 * len(words), np.uint8)
    nibbles[0::2], nibbles[1::2] = words >> 4, words & 15
    ends = np.flatnonzero(nibbles < 8)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    longest = int(lengths.max(initial=0))
    if longest > _MOST_NIBBLES:
        msg = f"RVL depth of {len(data)} bytes is damaged: a number has {longest} digits"
        raise DecodeError(msg)
    numbers: NDArray[np.int64] = (nibbles[starts] & 7).astype(np.int64)
    for place in range(1, longest):
        longer = np.flatnonzero(lengths > place)
        numbers[longer] |= (nibbles[starts[longer] + place] & 7).astype(np.int64) << (3 * place)
    return numbers


def _runs(numbers: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each pair of runs begins, and the lengths of all runs: zeros, others, zeros, and so on."""
    listed = numbers.tolist()
    heads, runs, at, left = [], [], 0, count
    while left > 0:
        if at + 1 >= len(listed):
            msg = f"RVL depth ends {left} pixels early: the message is cut off or damaged"
            raise DecodeError(msg)
        zeros, others = listed[at], listed[at + 1]
        heads.append(at)
        runs += [zeros, others]
        at += 2 + others
        left -= zeros + others
    if left < 0 or at > len(listed):
        msg = f"RVL depth does not fill its {count} pixels: the message is cut off or damaged"
        raise DecodeError(msg)
    return np.asarray(heads, np.int64), np.asarray(runs, np.int64)
