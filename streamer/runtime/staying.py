"""A plan → the pictures that need no copy: they stay in the recording's file, and consumers map its pages (`pages`).

What happens to the file meanwhile then happens to the picture: one that is cut ends whoever looks at it by a signal
(SIGBUS), one that is written to changes before their eyes. So only files are mapped that tell when they were written
to. The reader asks them before it takes in a commit, and before it looks for any other reason why something failed.

Whoever copies another file over one may set the time of writing back, as ``cp -p`` does. Nobody can set the time of the
last change: where that differs, and no new name, mode, owner or attribute tells why, the content may have been another.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from streamer.decode.image import ImageDecoder
from streamer.errors import RecordingError
from streamer.files import FileIdentity, may_be_written_to, tells_changes
from streamer.source.payload import FilePayload, fill_cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.records import Payload
    from streamer.runtime.prepare import Stream

_MOST = 2  # consumers: pages are mapped for each of them, while one copy does for all
Spot = tuple[int, int]  # where a picture begins: the reader's descriptor of the file, the byte


class _Known(NamedTuple):
    """A file as it was: its identity, and what else there is that changes with its time of change."""

    identity: FileIdentity
    others: tuple[object, ...]

    @classmethod
    def of(cls, fd: int) -> Self:
        found = os.fstat(fd)
        name = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - a name, be it of a file that was deleted
        others = found.st_mode, found.st_uid, found.st_gid, found.st_nlink, name, *_attributes(fd)
        return cls(FileIdentity.of(fd), others)

    def became(self, now: _Known) -> str:
        """Say what happened to the content, or may have; empty for nothing."""
        before, after = self.identity, now.identity
        if after.size < before.size:
            return "cut"
        if (after.size, after.modified_ns) != (before.size, before.modified_ns):
            return "written to"
        if after.changed_ns != before.changed_ns and now.others == self.others:
            return "written to, or its times were set,"
        return ""


def _attributes(fd: int) -> list[tuple[str, bytes]]:
    """Return a file's extended attributes: servers, backups and file managers keep notes there."""
    try:
        return [(name, os.getxattr(fd, name)) for name in sorted(os.listxattr(fd))]
    except OSError:
        return []


class Staying:
    """The streams whose pictures may stay where they are, and the files they lie in, as those were before."""

    def __init__(self, path: Path, streams: Sequence[Stream], seen: Iterable[int] = ()) -> None:
        """Choose those of a recording's streams of which the first message allows it: ``numbers`` are theirs.

        ``seen`` has the number of each stream that a consumer is shown, once for each consumer.
        """
        self._path = path
        self._files: dict[int, _Known | None] = {}  # None of those whose pictures are copied
        few = [n for n, count in Counter(seen).items() if count <= _MOST and _may_open_each_others_files()]
        self.numbers = frozenset(n for n in few if self._first(streams[n]))

    def _first(self, stream: Stream) -> Spot | None:
        """Return where a stream's first picture stays.

        Where a message that cannot be read is to be left out, the reader must read each: no consumer could do that.
        """
        settings, planned = stream.settings, stream.plan.first[stream.plan.first >= 0]
        as_it_is = settings.decoding.resize is None and stream.chain is None and settings.undecodable == "error"
        if not as_it_is or not len(planned) or not isinstance(stream.decoder, ImageDecoder):
            return None
        try:
            return self.find(stream, stream.source.payload(stream.index, int(planned[0])))
        except RecordingError:  # told where its frame is loaded
            return None

    def find(self, stream: Stream, payload: Payload) -> Spot | None:
        """Return where a message's pixels lie as they are wanted, and have the system read them; None for nowhere.

        Raises:
            RecordingError: the message is damaged, or cannot be read.

        """
        if type(payload) is not FilePayload or not isinstance(stream.decoder, ImageDecoder):
            return None  # a `CheckedPayload`, too: its checksum is made while it is copied
        start = stream.decoder.plain_at(payload, stream.spec)
        if start is None:
            return None
        fd, position = payload.lies_at(start)
        dtype = np.dtype(stream.spec.dtype)
        nbytes = math.prod(stream.spec.shape) * dtype.itemsize
        file = self._file(fd)
        if file is None or position % dtype.itemsize or position + nbytes > file.identity.size:
            return None
        fill_cache(fd, position, nbytes)
        return fd, position

    def _file(self, fd: int) -> _Known | None:
        if fd not in self._files:
            known = _Known.of(fd)  # before the look at who writes: what is written from now on shows
            steady = tells_changes(fd) and not may_be_written_to(fd)
            self._files[fd] = known if steady else None
        return self._files[fd]

    def require_unchanged(self) -> None:
        """Make sure that files of which consumers have seen pages are what they were.

        Raises:
            RecordingError: one was cut or written to: nobody knows what they have seen.

        """
        for fd, was in list(self._files.items()):  # other threads add to them
            if was is None or FileIdentity.of(fd) == was.identity:
                continue
            now = _Known.of(fd)
            if what := was.became(now):
                sizes = f"it had {was.identity.size} bytes and has {now.identity.size} now"
                msg = f"the file was {what} while it was read: {sizes}"
                raise RecordingError(msg, path=self._path, hint="once it is whole again, --resume goes on")
            self._files[fd] = now


def _may_open_each_others_files() -> bool:
    """Tell whether processes of one user may open what another has open: there are systems that forbid it."""
    try:
        Path(f"/proc/{os.getppid()}/exe").readlink()  # has the same check: ptrace(2), PTRACE_MODE_READ_FSCREDS
    except OSError:
        return False
    return True
