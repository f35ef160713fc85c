"""Folders → a hint that something in or below them has changed, as the kernel reports it (inotify(7), Linux).

Hints only: a network mount reports nothing, and the kernel may refuse to watch any more folders. Everything here is
plain Python on a descriptor, so that too little memory is an exception and not the end of the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from typing import TYPE_CHECKING

from streamer.ingest.scan import counts

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from typing import Self

_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x4, 0x8, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _ONLY_FOLDERS, _IS_FOLDER = 0x4000, 0x8000, 0x1000000, 0x40000000
_ASKED = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_FOLDERS
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_READ = 1 << 16  # bytes at once


class Changes:
    """What the kernel is asked to watch. Folders that come later are watched as well, ``left_out`` never."""

    def __init__(self, left_out: Collection[Path] = ()) -> None:
        """Open the descriptor.

        Raises:
            OSError: there is no inotify, or this user has too many (fs.inotify.max_user_instances).

        """
        self._left_out = left_out
        self._libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, "this system has no inotify")
        self._descriptor = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._paths: dict[int, Path] = {}  # by the number of the watch
        self.refused: OSError | None = None  # why a folder is not watched; the others are
        self.lost = False  # there were too many changes at once: watch everything anew

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor, for poll(2)."""
        return self._descriptor

    def watch(self, top: Path) -> None:
        """Watch a folder and those below it; what vanishes meanwhile or is forbidden is left out."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if folder in self._left_out:
                continue
            try:
                watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _ASKED)
                self._paths[self._checked(watch)] = folder
                with os.scandir(folder) as found:
                    inner = [entry for entry in found if counts(entry.name) and entry.is_dir(follow_symlinks=False)]
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                    self.refused = error
                continue
            waiting += [folder / entry.name for entry in inner]

    def read(self, seconds: float) -> bool:
        """Wait for changes that a scan would see; tell whether there were any, or may have been (``lost``)."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        content = os.read(self._descriptor, _READ)
        at, matters = 0, False
        while at < len(content):
            watch, mask, _, length = _EVENT.unpack_from(content, at)
            at += _EVENT.size + length
            name = content[at - length : at].rstrip(b"\0")
            self.lost = self.lost or bool(mask & _OVERFLOW)
            matters |= self._take(watch, mask, os.fsdecode(name))
        return matters or self.lost

    def _take(self, watch: int, mask: int, name: str) -> bool:
        if mask & _IGNORED:  # it is gone
            self._paths.pop(watch, None)
            return True
        folder = self._paths.get(watch)
        if folder is None or not counts(name) or folder / name in self._left_out:
            return False
        if mask & _IS_FOLDER and mask & _MOVED_FROM:
            self._forget(folder / name)
        elif mask & _IS_FOLDER and mask & (_CREATE | _MOVED_TO):
            self.watch(folder / name)
        return True

    def _forget(self, top: Path) -> None:
        """Watch a folder no longer that is now somewhere else."""
        for watch in [watch for watch, path in self._paths.items() if path.is_relative_to(top)]:
            del self._paths[watch]
            self._libc.inotify_rm_watch(self._descriptor, watch)

    def _checked(self, answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer
