"""Where a picture lies in a recording's file → its array over the file's own pages, in a consumer."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import ConsumerError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.layout import Place

_AT_ONCE = 64 * 2**20  # bytes that are mapped: the system maps large pages whole, and what comes behind is wanted next


class Pages:
    """Maps a part of a file, read-only, and another one when that is wanted."""

    def __init__(self, fd: int) -> None:
        """Map nothing yet."""
        self._fd = fd
        self._start = 0
        self._map: mmap.mmap | None = None

    def find(self, position: int, size: int) -> tuple[mmap.mmap, int]:
        """Return what is mapped, and where in it the ``size`` bytes from ``position`` on are.

        Who looks at them when the file has been cut is ended by a signal (SIGBUS).

        Raises:
            ValueError: the file ends before they do. OSError: the system refused.

        """
        if self._map is None or not self._start <= position <= position + size <= self._start + len(self._map):
            self._start = position & -mmap.ALLOCATIONGRANULARITY
            there = os.fstat(self._fd).st_size - self._start
            length = max(min(_AT_ONCE, there), position + size - self._start)
            self._map = mmap.mmap(self._fd, length, prot=mmap.PROT_READ, offset=self._start)
        return self._map, position - self._start


class PagesView:
    """The files of the recording that the reader has open, read-only: of each stream, the one that it is in."""

    def __init__(self, reader: int) -> None:
        """Take the process id of the reader, whose files are to be mapped."""
        self._reader = reader
        self._files: dict[int, int] = {}  # our own descriptors, by the reader's
        self._pages: dict[str, tuple[int, Pages]] = {}  # of each stream: the reader's descriptor, what is mapped of it

    def array(self, place: Place, file: int, position: int) -> NDArray[Any]:
        """Return a picture: the root array, on which every view of it depends.

        Raises:
            ConsumerError: the file ends before it does, or may not be opened. EOFError: the reader is gone.

        """
        where, pages = self._pages.get(place.name, (-1, None))
        if pages is None or where != file:
            pages = Pages(self._open(file))
            self._pages[place.name] = file, pages
            self._close_others()
        try:
            mapped, start = pages.find(position, place.nbytes)
        except ValueError as error:  # the reader says why, once this process has ended
            msg = f"the recording ends before byte {position + place.nbytes}, where a picture was"
            raise ConsumerError(msg) from error
        return np.ndarray(place.spec.shape, place.spec.dtype, mapped, start)

    def _open(self, file: int) -> int:
        if file not in self._files:
            try:
                self._files[file] = os.open(f"/proc/{self._reader}/fd/{file}", os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, ProcessLookupError) as error:
                msg = "the reader is gone"
                raise EOFError(msg) from error
            except PermissionError as error:  # which may be given back
                msg = "its process may not open the recording, as the reader could: who was forbidden to since?"
                raise ConsumerError(msg) from error
        return self._files[file]

    def _close_others(self) -> None:
        """Close the files that no stream is in any more: a recording may have more than a process may open."""
        for file in self._files.keys() - {file for file, _ in self._pages.values()}:
            os.close(self._files.pop(file))
