"""Index entries, from a file's index or from a walk → a topic's Index, in little more memory than it takes."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from streamer.records import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

_BATCH = 64 * 1024  # bytes of entries that are converted at once: a call of numpy for each small piece would cost more


class IndexTable:
    """The columns of an index while they are filled; entries come in the order of the file."""

    def __init__(
        self,
        listed: int,
        entry: np.dtype[np.void],
        stamps: Callable[[NDArray[np.void]], NDArray[np.int64]],
        size: int,
        found: int = 0,
    ) -> None:
        """Make room for ``listed`` entries of the type ``entry``, whose stamps ``stamps`` gives, and ``found`` others.

        Raises:
            ValueError: a file of ``size`` bytes cannot list so many.

        """
        if not 0 <= listed * entry.itemsize <= size:
            msg = f"{listed} messages in an index of a file of {size} bytes"
            raise ValueError(msg)
        count = listed + found
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


class Found:
    """The messages that a walk finds, in the order of the file, by the number of their connection or channel."""

    def __init__(self) -> None:
        """Begin with none."""
        self._entries: dict[int, array[int]] = {}  # stamp, block, offset; stamp, block, offset; …

    def add(self, key: int, stamp: int, block: int, offset: int) -> None:
        """Take in one message."""
        self._entries.setdefault(key, array("q")).extend((stamp, block, offset))

    def counts(self) -> Mapping[int, int]:
        """Return how many there are."""
        return {key: len(entries) // 3 for key, entries in self._entries.items()}

    def columns(self, key: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Return the stamps, blocks and offsets of one number's messages."""
        stamps, blocks, offsets = np.asarray(self._entries.get(key, ()), np.int64).reshape(-1, 3).T
        return stamps, blocks.astype(np.int32), offsets


def check_stamps(found: Mapping[str, Index], bounds: Sequence[tuple[int, int]]) -> None:
    """Make sure that messages lie between the first and the last stamp that are said of their blocks.

    Raises:
        ValueError: they do not.

    """
    first, last = np.array(bounds, np.uint64).clip(max=2**63 - 1).astype(np.int64).T
    for name, index in found.items():
        if (index.stamps < first[index.block]).any() or (index.stamps > last[index.block]).any():
            msg = f"messages of {name} are listed at other times than their chunks are"
            raise ValueError(msg)


def make_tables(
    topics: Collection[str],
    names: Mapping[int, str],
    counts: Mapping[int, int],
    found: Found,
    entry: np.dtype[np.void],
    stamps: Callable[[NDArray[np.void]], NDArray[np.int64]],
    size: int,
) -> dict[str, IndexTable]:
    """Make the table of each topic, with what a walk has found in it already.

    ``names`` says which connection or channel is of which topic, ``counts`` how many messages each has in all.

    Raises:
        ValueError: they are more than a file of ``size`` bytes can list.

    """
    known = found.counts()
    tables = {}
    for topic in topics:
        own = [key for key, name in names.items() if name == topic]
        held = sum(known.get(key, 0) for key in own)
        listed = sum(counts.get(key, 0) for key in own) - held
        tables[topic] = IndexTable(listed, entry, stamps, size, held)
        for key in own:
            tables[topic].put(*found.columns(key))
    return tables
