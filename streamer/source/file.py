"""A path → an open file whose bytes are read where a format says that they lie, and its checksums.

What a damaged file claims to have is held against what it can have before memory is taken.
"""

from __future__ import annotations

import os
import threading
import zlib
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from streamer.errors import DamagedError
from streamer.files import regular_descriptor
from streamer.source.payload import read_bytes, read_into

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE = 2**20  # bytes that are read for a checksum at once: few pieces, as each waits for the interpreter's lock
_WINDOW = 4 * 2**20
_RECORD = 64 * 2**20  # bytes; no record of an index is larger
_FREE = 64 * 2**20  # bytes that are believed of any file
_PACKED = 64  # times; how much smaller than its content a file may lie on a disk that compresses

crc32: Callable[[memoryview, int], int] = (
    import_module("isal.isal_zlib").crc32 if find_spec("isal") else zlib.crc32  # the first is three times as fast
)


class RecordingFile:
    """One file, open for reading; its methods may be called from several threads."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self.fd = regular_descriptor(path)
        found = os.fstat(self.fd)
        self.size = found.st_size
        # a sparse file can have any size and hold next to nothing
        self.most = min(self.size, _FREE + _PACKED * 512 * found.st_blocks)
        self._local = threading.local()

    def close(self) -> None:
        """Close it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def read(self, position: int, size: int) -> memoryview:
        """Return ``size`` bytes.

        Raises:
            DamagedError: they are not all there.

        """
        if size > self.most:
            msg = f"{size} bytes should lie at byte {position}, the file holds {self.most} at most: it is damaged"
            raise DamagedError(msg)
        return read_bytes(self.fd, position, size, self.size)

    def checksum(self, start: int, end: int, found: int = 0) -> int:
        """Return the CRC-32 of the bytes from ``start`` to ``end``, behind others that have ``found``.

        Raises:
            RecordingError: they are not all there.

        """
        buffer: memoryview | None = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = memoryview(bytearray(_PIECE))
        for position in range(start, end, _PIECE):
            found = self.read_summed(position, buffer[: min(_PIECE, end - position)], found)
        return found

    def read_summed(self, start: int, out: memoryview, found: int) -> int:
        """Fill ``out`` with the bytes from ``start`` on; return as `checksum` does, while they are in the cache."""
        for first in range(0, len(out), _PIECE):
            piece = out[first : first + _PIECE]
            read_into(self.fd, start + first, piece)
            found = crc32(piece, found)
        return found


class Window:
    """A section of a file that is read from its start to its end, some megabytes at once."""

    def __init__(self, file: RecordingFile, start: int, end: int) -> None:
        """Begin at ``start``."""
        self._file = file
        self._buffer = memoryview(b"")
        self._start = start
        self.end = end

    def read(self, position: int, size: int) -> memoryview:
        """Return ``size`` bytes.

        Raises:
            ValueError: no record is so long, or the section ends before it does.

        """
        if size > _RECORD or position + size > self.end:
            msg = f"a record of {size} bytes at byte {position}, the section ends at {self.end}"
            raise ValueError(msg)
        if not self._start <= position <= position + size <= self._start + len(self._buffer):
            self._start = position
            self._buffer = self._file.read(position, min(max(size, _WINDOW), self.end - position))
        first = position - self._start
        return self._buffer[first : first + size]


class Once:
    """Do something once for each block: who asks first does it, who asks meanwhile waits; a failure is remembered."""

    def __init__(self, check: Callable[[int], None]) -> None:
        """Remember what to do."""
        self._check = check
        self._lock = threading.Lock()
        self._done: set[int] = set()
        self._failed: dict[int, DamagedError] = {}
        self._running: dict[int, threading.Event] = {}

    def __call__(self, block: int) -> None:
        """Do it for ``block``, unless it is done.

        Raises:
            DamagedError: it failed, now or before.

        """
        if block in self._done:
            return
        with self._lock:
            running = self._running.get(block)
            mine = running is None and block not in self._done and block not in self._failed
            if mine:
                running = self._running[block] = threading.Event()
        if mine and running is not None:
            self._run(block, running)
        elif running is not None:
            running.wait()
        if error := self._failed.get(block):
            raise error.at()
        if block not in self._done:  # who did it ran into something else, which may not last
            self(block)

    def is_done(self, block: int) -> bool:
        """Tell whether it was done.

        Raises:
            DamagedError: it failed.

        """
        if error := self._failed.get(block):
            raise error.at()
        return block in self._done

    def settle(self, block: int, error: DamagedError | None) -> None:
        """Take in what somebody found who did it otherwise.

        Raises:
            DamagedError: ``error``.

        """
        if error is not None:
            self._failed[block] = error
            raise error
        self._done.add(block)

    def _run(self, block: int, running: threading.Event) -> None:
        try:
            self._check(block)
            self._done.add(block)
        except DamagedError as error:
            self._failed[block] = error
        finally:
            with self._lock:
                del self._running[block]
            running.set()
