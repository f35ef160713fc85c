"""Indexes of several topics → their messages, some blocks at a time, each block decompressed once for all of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.records import Index
    from streamer.source.source import Source

_AT_ONCE = 16 * 2**20  # bytes that are decompressed for one step: a reader keeps twice as many
_MOST_THREADS = 4


def side_by_side(source: Source, indexes: Sequence[Index]) -> Iterator[list[NDArray[np.intp]]]:
    """Yield, for each index, the numbers of its messages in the next few blocks, which have been decompressed by then.

    Each number comes once. Where nothing is compressed, all come at once.
    """
    blocks = np.unique(np.concatenate([np.empty(0, np.int32), *(np.unique(index.block) for index in indexes)]))
    sizes = np.array([reader.packed(block) for reader, block in map(source.place, blocks.tolist())], np.int64)
    if not sizes.any():
        yield [np.arange(len(index.block)) for index in indexes]
        return
    orders = [np.argsort(index.block, kind="stable") for index in indexes]
    steps = np.split(blocks, np.flatnonzero(np.diff(np.cumsum(sizes) // _AT_ONCE)) + 1)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS), thread_name_prefix="unpack") as threads:
        for step in steps:
            list(threads.map(lambda block: _unpack(source, block), step.tolist()))
            yield [
                order[np.searchsorted(index.block, step[0], sorter=order) : _end(index, step[-1], order)]
                for index, order in zip(indexes, orders, strict=True)
            ]


def _end(index: Index, block: int, order: NDArray[np.intp]) -> int:
    return int(np.searchsorted(index.block, block, "right", sorter=order))


def _unpack(source: Source, block: int) -> None:
    reader, number = source.place(block)
    if reader.packed(number):
        with suppress(RecordingError):  # told when a message of it is asked for
            reader.unpack(number)
