"""Block number → decompressed bytes, each block decompressed once while it is in use."""

from __future__ import annotations

import bz2
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import lz4.frame

from streamer.errors import RecordingError
from streamer.units import show_size

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable

    Buffer = bytes | bytearray
    Read = Callable[[int, int], memoryview]

_LARGE = 8 * 2**20  # bytes; of larger blocks only one at a time is decompressed, in pieces
_PIECE = 2**20


_CODECS: dict[str, Callable[[], Any]] = {
    "bz2": bz2.BZ2Decompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}
CORRUPT = (OSError, RuntimeError, EOFError, ValueError, zstd.ZstdError)  # what decompressing damaged bytes raises


def decompress(codec: str, read: Read, start: int, length: int, size: int) -> Buffer:
    """Decompress what ``read`` gives from ``start`` on; a large block never lies in memory in both its forms.

    Args:
        codec: bz2, lz4 or zstd.
        read: returns so many bytes of the file from a position on.
        start: where the block begins.
        length: bytes that it has in the file.
        size: bytes that it has decompressed.

    Raises:
        One of CORRUPT: it does not decompress, or not to ``size`` bytes.

    """
    content = bytearray()
    small = max(length, size) <= _LARGE
    position, end, rest = start, start + length, b""
    while (rest or position < end) and len(content) <= size:  # a block may be several frames, one behind the other
        decompressor = _CODECS[codec]()
        while not decompressor.eof and len(content) <= size:
            piece, rest = rest, b""
            if not piece and decompressor.needs_input:
                if position == end:
                    msg = "it ends too early"
                    raise EOFError(msg)
                piece = bytes(read(position, end - position if small else min(_PIECE, end - position)))
                position += len(piece)
            most = size - len(content) + 1
            made = decompressor.decompress(piece, most if small else min(most, _PIECE))
            if not content and decompressor.eof and position == end and not decompressor.unused_data:
                return _of_size(made, size)  # in one piece: no copy
            content += made
        rest = decompressor.unused_data or b""
    return _of_size(content, size)


def _of_size(content: Buffer, size: int) -> Buffer:
    if len(content) != size:
        found = len(content) if len(content) < size else f"more than {size}"
        msg = f"it has {found} bytes decompressed, its header says {size}"
        raise ValueError(msg)
    return content


def check_size(what: str, size: int, most: int) -> None:
    """Make sure that something is not too large to be held in memory.

    Raises:
        RecordingError: it is; the text says which setting allows it.

    """
    if size > most:
        msg = f"{what} has {show_size(size)}, more than the {show_size(most)} that are read as one"
        raise RecordingError(msg, hint="if that is right, raise 'source.max_chunk'")


class BlockCache:
    """The most recently used blocks within a budget; safe to call from many threads.

    Two threads that need one block at once share one decompression: the second waits for the first.
    """

    def __init__(
        self,
        load: Callable[[int], Buffer],
        size_of: Callable[[int], int],
        budget: int = 32 * 2**20,
        most: int = 64 * 2**20,
    ) -> None:
        """Remember how to ``load`` a block, and how many bytes it will have; the newest is kept, whatever its size.

        The budget doubles, up to ``most``, whenever a block is wanted that was dropped before: where more
        blocks overlap in time than it holds, each would be decompressed again for every frame.
        """
        self._load = load
        self._size_of = size_of
        self._budget = budget
        self._most = max(budget, most)
        self._known: set[int] = set()  # blocks that were loaded before
        self._lock = threading.Lock()
        self._large = threading.Lock()
        self._blocks: OrderedDict[int, Future[Buffer]] = OrderedDict()
        self._size = 0
        self.loads = 0

    def get(self, block: int) -> Buffer:
        """Return the bytes of a block.

        Raises:
            Whatever ``load`` raises, in every thread that waited for it; the failure is not kept.

        """
        with self._lock:
            future = self._blocks.get(block)
            if future is not None:
                self._blocks.move_to_end(block)
            else:
                mine: Future[Buffer] = Future()
                self._blocks[block] = mine
                self._make_room(block)
        if future is not None:
            return future.result()
        size = self._size_of(block)
        try:
            with self._large if size > _LARGE else nullcontext():
                content = self._load(block)
        except BaseException as error:
            with self._lock:
                del self._blocks[block]
                self._size -= size
            mine.set_exception(error)
            raise
        with self._lock:
            self.loads += 1
            self._known.add(block)
        mine.set_result(content)
        return content

    def _make_room(self, wanted: int) -> None:
        """Drop the blocks that were not used for longest, before another takes memory."""
        if wanted in self._known:
            self._budget = min(2 * self._budget, self._most)
        self._size += self._size_of(wanted)
        for block, future in list(self._blocks.items()):
            if self._size <= self._budget:
                break
            if future.done():
                del self._blocks[block]
                self._size -= self._size_of(block)
