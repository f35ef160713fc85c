"""Bytes of a block and where its messages lie in them → the first bytes of each, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW = 8  # messages; fewer are read one by one
MANY = 4096  # messages that are read at once
_CLOSE = 2048  # bytes from one message to the next: where payloads are larger, reading past them would cost more


def close_together(offsets: NDArray[np.int64], reach: int) -> tuple[int, int] | None:
    """Return from where to where messages at these places of a block lie; None where they are far from each other.

    ``reach`` is how many bytes behind the last place are wanted.
    """
    first, end = int(offsets.min()), int(offsets.max()) + reach
    return (first, end) if first >= 0 and end - first <= _CLOSE * len(offsets) else None


def gather(content: NDArray[np.uint8], at: NDArray[np.int64], size: int) -> NDArray[np.uint8] | None:
    """Return ``size`` bytes from each place, (n, size); None where they are not all there."""
    if int(at.max()) + size > len(content):
        return None
    found: NDArray[np.uint8] = np.lib.stride_tricks.sliding_window_view(content, size)[at]  # a copy of a piece each
    return found


def padded(
    content: NDArray[np.uint8], at: NDArray[np.int64], lengths: NDArray[np.int64], size: int
) -> NDArray[np.uint8]:
    """Return ``size`` bytes from each place, (n, size), with zeros behind the ``lengths`` that are there."""
    found = gather(content, at, size)
    if found is None:
        lengths = np.minimum(lengths, len(content) - at)
        found = gather(np.concatenate([content, np.zeros(size, np.uint8)]), at, size)
    assert found is not None  # noqa: S101 - for the type checker: with the zeros it is long enough
    if int(lengths.min()) < size:
        found[np.arange(size) >= lengths[:, None]] = 0
    return found


def numbers(content: NDArray[np.uint8], at: NDArray[np.int64], dtype: str) -> NDArray[np.int64] | None:
    """Return the number at each place, (n,) int64; None where one is not there, or too large to be a length."""
    found = gather(content, at, np.dtype(dtype).itemsize)
    if found is None:
        return None
    values = found.view(dtype)[:, 0]
    return values.astype(np.int64) if int(values.max()) < 2**62 else None
