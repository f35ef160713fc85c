"""A budget of memory → slots that one process fills and many read: the shared memory.

The memory has no name (memfd on Linux), so nothing is left behind whatever dies. The reader holds it
writable; consumers get a read-only descriptor, so numpy refuses to write there.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import StorageError
from streamer.units import show_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Layout, Place

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE, Linux 5.14: make the pages present, as if written to


def create() -> tuple[int, int]:
    """Make an empty pool; return its writable and its read-only descriptor."""
    if sys.platform == "linux":
        writable = os.memfd_create("streamer-pool", os.MFD_CLOEXEC)
        return writable, os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    with tempfile.NamedTemporaryFile(prefix="streamer-pool-") as file:  # no memfd there: a file without a name
        return os.dup(file.fileno()), os.open(file.name, os.O_RDONLY)


class Pool:
    """The writable side, in the reader: ``slots`` slots of ``layout``."""

    def __init__(self, fd: int, layout: Layout, slots: int) -> None:
        """Allocate all memory now: a machine that is full says so here, not in mid-run.

        Raises:
            StorageError: there is not enough memory, with the arithmetic.

        """
        self.layout = layout
        self.slots = slots
        size = slots * layout.slot_size
        try:
            os.ftruncate(fd, size)
            if sys.platform == "linux":
                os.posix_fallocate(fd, 0, size)
            self._map = mmap.mmap(fd, size)
        except OSError as error:
            msg = (
                f"pool: the machine has no {show_size(size)} of memory free "
                f"({slots} slots of {show_size(layout.slot_size)}): {error.strerror}; set a smaller 'pool'"
            )
            raise StorageError(msg) from error
        self._bytes = np.frombuffer(self._map, np.uint8)

    def array(self, slot: int, place: Place) -> NDArray[Any]:
        """Return the writable array of one stream in one slot."""
        start = slot * self.layout.slot_size + place.offset
        raw = self._bytes[start : start + place.nbytes]
        array: NDArray[Any] = raw.view(np.dtype(place.spec.dtype)).reshape(place.spec.shape)
        return array

    def warm(self, slots: int) -> None:
        """Make the first slots present, so that the first write to them is as fast as any later one."""
        if sys.platform != "linux":
            return
        try:
            self._map.madvise(_POPULATE_WRITE, 0, min(slots, self.slots) * self.layout.slot_size)
        except OSError:  # an older kernel: the pages come as they are written
            return


class PoolView:
    """The read-only side, in a consumer."""

    def __init__(self, fd: int, layout: Layout, slots: int) -> None:
        """Map the pool that the reader has allocated."""
        self._layout = layout
        self.slots = slots
        self._map = mmap.mmap(fd, slots * layout.slot_size, prot=mmap.PROT_READ)
        self._dtypes = {place.name: np.dtype(place.spec.dtype) for place in layout.places}
        self._counts = {place.name: int(np.prod(place.spec.shape)) for place in layout.places}

    def array(self, slot: int, place: Place, rows: int) -> NDArray[Any]:
        """Return one stream's array in one slot: the root array, on which every view of it depends.

        ``rows`` is the length of this sample where the stream's length varies.
        """
        start = slot * self._layout.slot_size + place.offset
        count = rows if place.spec.variable else self._counts[place.name]
        return np.frombuffer(self._map, self._dtypes[place.name], count, start)
