"""A budget of memory → slots that one process fills and many read: the shared memory.

The reader holds the memory (`memfd`) writable; consumers get a read-only descriptor, so numpy refuses to write there.
"""

from __future__ import annotations

import mmap
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import StorageError
from streamer.units import show_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.layout import Layout, Place

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14: map the pages, as if written to


class Pool:
    """The writable side, in the reader: ``slots`` slots of ``layout``."""

    def __init__(self, fd: int, layout: Layout, slots: int, ready: int | None = None) -> None:
        """Map room for ``slots`` slots and allocate ``ready`` of them (all, where left out); see `grow`.

        Raises:
            StorageError: there is not enough memory for these, with the arithmetic.

        """
        self.layout = layout
        self.slots = slots
        self.ready = 0
        self._fd = fd
        self._whole: set[int] = set()  # slots that have memory for what is seldom written
        first = slots if ready is None else min(ready, slots)
        try:
            os.ftruncate(fd, slots * layout.slot_size)
            self._map = mmap.mmap(fd, slots * layout.slot_size)
            try:
                self._allocate(first)
            except BaseException:
                self._map.close()
                raise
        except OSError as error:
            msg = (
                f"the machine has no {show_size(first * layout.slot_size)} of memory free "
                f"({first} slots of {show_size(layout.slot_size)}): {error.strerror}; set a smaller 'pool'"
            )
            raise StorageError(msg, key="pool") from error
        self._bytes = np.frombuffer(self._map, np.uint8)

    def grow(self, slots: int) -> int:
        """Allocate more slots; return how many: 0 where the machine has no memory for them."""
        slots = min(slots, self.slots - self.ready)
        try:
            self._allocate(slots)
        except OSError:
            return 0
        return slots

    def _allocate(self, slots: int) -> None:
        size, later = self.layout.slot_size, self.layout.later
        if not later:
            self._take(self.ready * size, slots * size)
        for slot in range(self.ready, self.ready + slots if later else 0):
            self._take(slot * size, size - later)
        self.ready += slots

    def _take(self, start: int, size: int) -> None:
        """Take memory now, so that a full machine says so here and not by a signal at the first write."""
        if sys.platform == "linux" and size:
            os.posix_fallocate(self._fd, start, size)
            with suppress(OSError):  # an older kernel: the pages are mapped as they are written
                self._map.madvise(_POPULATE_WRITE, start, size)

    @property
    def allocated(self) -> int:
        """How many bytes have memory."""
        return self.ready * (self.layout.slot_size - self.layout.later) + len(self._whole) * self.layout.later

    def _complete(self, slot: int) -> None:
        """Take the memory of a slot's last part.

        Raises:
            StorageError: there is none.

        """
        later = self.layout.later
        try:
            self._take((slot + 1) * self.layout.slot_size - later, later)
        except OSError as error:
            msg = f"the machine has no {show_size(later)} of memory free for a frame: {error.strerror}"
            raise StorageError(msg, key="pool") from error
        self._whole.add(slot)

    def array(self, slot: int, place: Place) -> NDArray[Any]:
        """Return the writable array of one stream in one slot.

        Raises:
            StorageError: there is no memory for it.

        """
        if slot not in self._whole and self.layout.is_later(place):
            self._complete(slot)
        start = slot * self.layout.slot_size + place.offset
        raw = self._bytes[start : start + place.nbytes]
        array: NDArray[Any] = raw.view(np.dtype(place.spec.dtype)).reshape(place.spec.shape)
        return array


class PoolView:
    """The read-only side, in a consumer."""

    def __init__(self, fd: int, layout: Layout, slots: int) -> None:
        """Map the pool that the reader has allocated."""
        self._layout = layout
        self.slots = slots
        self._map = mmap.mmap(fd, slots * layout.slot_size, prot=mmap.PROT_READ)
        self._dtypes = {place.name: np.dtype(place.spec.dtype) for place in layout.places}

    def array(self, slot: int, place: Place, rows: int) -> NDArray[Any]:
        """Return one stream's array in one slot: the root array, on which every view of it depends.

        ``rows`` is the length of this sample where the stream's length varies.
        """
        spec = place.spec
        shape = (rows, *spec.shape[1:]) if spec.variable else spec.shape
        start = slot * self._layout.slot_size + place.offset
        return np.ndarray(shape, self._dtypes[place.name], self._map, start)
