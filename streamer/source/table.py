"""Index entries as they stand in a file, piece by piece → one topic's Index, in little more memory than it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.records import Index

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BATCH = 64 * 1024  # bytes of entries that are converted at once: a call of numpy for each small piece would cost more


class IndexTable:
    """The columns of an index while they are filled; entries come in the order of the file."""

    def __init__(
        self, count: int, entry: np.dtype[np.void], stamps: Callable[[NDArray[np.void]], NDArray[np.int64]], size: int
    ) -> None:
        """Make room for ``count`` entries of the type ``entry``, whose stamps ``stamps`` gives.

        Raises:
            ValueError: a file of ``size`` bytes cannot hold so many.

        """
        if not 0 <= count * entry.itemsize <= size:
            msg = f"{count} messages in an index of a file of {size} bytes"
            raise ValueError(msg)
        self._entry = entry
        self._stamps_of = stamps
        self._stamps = np.empty(count, np.int64)
        self._block = np.empty(count, np.int32)
        self._offset = np.empty(count, np.int64)
        self._filled = 0
        self._pieces: list[bytes] = []
        self._blocks: list[int] = []
        self._waiting = 0

    def add(self, block: int, entries: bytes) -> None:
        """Take the entries of one block.

        Raises:
            ValueError: they are no whole entries, or more than there was to be room for.

        """
        self._pieces.append(entries)
        self._blocks.append(block)
        self._waiting += len(entries)
        if self._waiting >= _BATCH:
            self._convert()

    def _convert(self) -> None:
        table = np.frombuffer(b"".join(self._pieces), self._entry)
        lengths = [len(piece) // self._entry.itemsize for piece in self._pieces]
        blocks = np.repeat(np.asarray(self._blocks, np.int32), lengths)
        self.put(self._stamps_of(table), blocks, table["offset"].astype(np.int64))
        self._pieces, self._blocks, self._waiting = [], [], 0

    def put(self, stamps: NDArray[np.int64], blocks: NDArray[np.int32], offsets: NDArray[np.int64]) -> None:
        """Take entries that are arrays already.

        Raises:
            ValueError: they are more than there was to be room for.

        """
        rows = slice(self._filled, self._filled + len(stamps))
        self._stamps[rows], self._block[rows], self._offset[rows] = stamps, blocks, offsets
        self._filled = rows.stop

    def finish(self) -> Index:
        """Return the index, ordered by stamps; equal stamps keep the file's order."""
        self._convert()
        index = Index(self._stamps[: self._filled], self._block[: self._filled], self._offset[: self._filled])
        if np.any(index.stamps[1:] < index.stamps[:-1]):
            order = np.argsort(index.stamps, kind="stable").astype(np.int32)
            for column in (index.stamps, index.block, index.offset):
                column[:] = column[order]  # one at a time, into its own place
        return index
