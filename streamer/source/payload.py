"""A message's place in a file or in memory → its bytes, with as few copies as the place allows."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import DamagedError, RecordingError
from streamer.records import Index

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HEAD = 512  # bytes read together with a message's record header: most headers and small messages


class MemoryPayload:
    """A message whose bytes are in memory already: a row, or a part of a decompressed block."""

    __slots__ = ("_bytes",)

    def __init__(self, content: memoryview) -> None:
        """Wrap ``content``; nothing is copied."""
        self._bytes = content

    @classmethod
    def cut(cls, content: memoryview, start: int, length: int) -> MemoryPayload:
        """Take a message out of a larger piece; it must lie in it whole."""
        if start + length > len(content):
            raise_short(length, len(content) - start)
        return cls(content[start : start + length])

    def __len__(self) -> int:
        return len(self._bytes)

    def head(self) -> memoryview:
        """Return the whole message."""
        return self._bytes

    def all(self) -> memoryview:
        """Return the whole message."""
        return self._bytes

    def into(self, start: int, out: memoryview) -> None:
        """Copy the bytes from ``start`` on into ``out``."""
        part = self._bytes[start : start + len(out)]
        if len(part) != len(out):
            raise_short(start + len(out), len(self._bytes))
        copy(part, out)


class _Scratch(threading.local):
    """One growing buffer a thread: compressed images pass through it on their way to a decoder."""

    def __init__(self) -> None:
        self.buffer = bytearray(1 << 16)

    def take(self, length: int) -> memoryview:
        if len(self.buffer) < length:
            self.buffer = bytearray(length + length // 4)
        return memoryview(self.buffer)[:length]


_scratch = _Scratch()


class FilePayload:
    """A message that lies as it is in a file: read when asked, straight to where it is wanted."""

    __slots__ = ("_fd", "_head", "_length", "_position")

    def __init__(self, fd: int, position: int, length: int, head: memoryview) -> None:
        """Describe ``length`` bytes at ``position`` of which ``head`` has been read already."""
        self._fd = fd
        self._position = position
        self._length = length
        self._head = head[:length]

    def __len__(self) -> int:
        return self._length

    def head(self) -> memoryview:
        """Return what was read together with the record header."""
        return self._head

    def all(self) -> memoryview:
        """Read the whole message into this thread's scratch buffer, unless the head holds it."""
        if len(self._head) == self._length:
            return self._head
        scratch = _scratch.take(self._length)
        self.into(0, scratch)
        return scratch

    def lies_at(self, start: int) -> tuple[int, int]:
        """Return in which file (its descriptor), and at which of its bytes, the message has its byte ``start``."""
        return self._fd, self._position + start

    def into(self, start: int, out: memoryview) -> None:
        """Read from ``start`` on into ``out``: one ``preadv``, no copy in this process."""
        if start + len(out) > self._length:
            raise_short(start + len(out), self._length)
        read_into(self._fd, self._position + start, out)


class CheckedPayload(FilePayload):
    """A message whose bytes are held against a checksum as they are read, by whoever ``read`` is."""

    __slots__ = ("_read",)

    def __init__(
        self, read: Callable[[int, memoryview], None], fd: int, position: int, length: int, head: memoryview
    ) -> None:
        """Describe it as any other; ``read`` is given a place in the file, and fills what it is given."""
        super().__init__(fd, position, length, head)
        self._read = read

    def into(self, start: int, out: memoryview) -> None:
        """Read from ``start`` on into ``out``."""
        if start + len(out) > self._length:
            raise_short(start + len(out), self._length)
        self._read(self._position + start, out)


def read_into(fd: int, position: int, out: memoryview) -> None:
    """Fill ``out`` from the file.

    Raises:
        RecordingError: the file ends earlier (it was cut, or is cut while it is read), or cannot be read.

    """
    if position < 0:
        msg = f"the index points at byte {position}: it is damaged"
        raise RecordingError(msg)
    done = 0
    while done < len(out):
        try:
            count = os.preadv(fd, [out[done:]], position + done)
        except (OSError, OverflowError) as error:
            msg = f"reading {len(out)} bytes at byte {position} fails: {error}"
            raise RecordingError(msg) from error
        if count == 0:
            raise _ended(position + done, len(out) - done)
        done += count


def fill_cache(fd: int, position: int, size: int) -> None:
    """Have the system read bytes of a file into its page cache, as `read_into` would, without a copy of them.

    They go to a device that takes pages without looking at them. To ask for them with `posix_fadvise` would be simpler,
    but tells of no error, and Linux then reads into single pages, which cost ten times as much to map.

    Raises:
        RecordingError: the file ends earlier, or cannot be read.

    """
    done = 0
    while done < size:
        try:
            count = os.sendfile(_nowhere(), fd, position + done, size - done)
        except OSError as error:
            msg = f"reading {size} bytes at byte {position} fails: {error}"
            raise RecordingError(msg) from error
        if count == 0:
            raise _ended(position + done, size - done)
        done += count


@cache
def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _ended(position: int, missing: int) -> RecordingError:
    return RecordingError(
        f"the file ends at byte {position}, {missing} bytes before the message does: "
        "it was cut off or is still being copied"
    )


def read_bytes(fd: int, position: int, size: int, end: int) -> memoryview:
    """Read ``size`` bytes of a file that has ``end``: a damaged length is found before it is allocated.

    Raises:
        DamagedError: they are not all there.

    """
    if position < 0 or size < 0 or position + size > end:
        msg = f"{size} bytes should lie at byte {position}, the file has {end}: it is cut off or damaged"
        raise DamagedError(msg)
    out = memoryview(bytearray(size))
    read_into(fd, position, out)
    return out


def copy(content: bytes | memoryview, out: memoryview) -> None:
    """Copy bytes; numpy lets other threads run meanwhile, a memoryview does not."""
    if len(out):
        np.copyto(np.frombuffer(out, np.uint8), np.frombuffer(content, np.uint8))


def raise_short(wanted: int, length: int) -> None:
    """Complain that a message is shorter than its own header says."""
    msg = f"a message of {length} bytes should hold {wanted}: it is damaged"
    raise RecordingError(msg)


def sorted_index(stamps: NDArray[np.int64], block: NDArray[np.int32], offset: NDArray[np.int64]) -> Index:
    """Order entries that stand in file order by their stamps; equal stamps keep the file's order."""
    if np.all(stamps[1:] >= stamps[:-1]):
        return Index(stamps, block, offset)
    order = np.argsort(stamps, kind="stable")
    return Index(stamps[order], block[order], offset[order])
