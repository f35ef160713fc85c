"""Block number → decompressed bytes, each block decompressed once while it is in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class BlockCache:
    """The most recently used blocks within a budget; safe to call from many threads.

    Two threads that need one block at once share one decompression: the second waits for the first.
    """

    def __init__(self, load: Callable[[int], bytes], budget: int = 32 * 2**20, most: int = 64 * 2**20) -> None:
        """Remember how to ``load`` a block; at least two blocks are kept, whatever their size.

        The budget doubles, up to ``most``, whenever a block is wanted that was dropped before: where more
        blocks overlap in time than it holds, each would be decompressed again for every frame.
        """
        self._load = load
        self._budget = budget
        self._most = max(budget, most)
        self._known: set[int] = set()  # blocks that were loaded before
        self._lock = threading.Lock()
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._size = 0
        self.loads = 0

    def get(self, block: int) -> bytes:
        """Return the bytes of a block.

        Raises:
            Whatever ``load`` raises, in every thread that waited for it; the failure is not kept.

        """
        with self._lock:
            future = self._blocks.get(block)
            if future is not None:
                self._blocks.move_to_end(block)
            else:
                mine: Future[bytes] = Future()
                self._blocks[block] = mine
                if block in self._known:
                    self._budget = min(2 * self._budget, self._most)
        if future is not None:
            return future.result()
        try:
            content = self._load(block)
        except BaseException as error:
            with self._lock:
                del self._blocks[block]
            mine.set_exception(error)
            raise
        mine.set_result(content)
        self._keep(block, content)
        return content

    def _keep(self, loaded: int, content: bytes) -> None:
        with self._lock:
            self.loads += 1
            self._known.add(loaded)
            self._size += len(content)
            for block, future in list(self._blocks.items()):
                if self._size <= self._budget or len(self._blocks) <= 2:
                    break
                if future.done():
                    self._size -= len(self._blocks.pop(block).result())
