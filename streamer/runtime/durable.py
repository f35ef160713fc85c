"""What a process has written, by whatever library → on the disk, before anything counts on it (`durable: true`)."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_DESTROYING = {"os.rename", "os.remove", "os.rmdir", "os.truncate"}
_SYNCFS = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux


class Disk:
    """Brings everything to the disk: files, folders and renames, those of native libraries too.

    sync(2) is used, as nobody can tell which files a consumer's libraries have written. It tells of no error, so the
    file systems of the options that are paths are asked as well: syncfs(2) has told them since Linux 5.8.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Take a consumer's options; one that is a path says where it writes."""
        self._places = {_there(Path(value)) for value in options.values() if isinstance(value, str)}

    def guard(self) -> None:
        """From now on, let nothing be replaced or removed before what takes its place is on the disk."""
        sys.addaudithook(self._before)

    def _before(self, event: str, _: tuple[Any, ...]) -> None:
        if event in _DESTROYING:
            self.sync()

    def sync(self) -> None:
        """Wait until everything that was written is on the disk.

        Raises:
            OSError: something could not be written.

        """
        os.sync()
        if _SYNCFS is None:
            return
        for place in self._places:
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
            try:
                if _SYNCFS(fd):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number), str(place))
            finally:
                os.close(fd)


def _there(path: Path) -> Path:
    """Return the folder nearest to a path that is there."""
    path = path.absolute()
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), Path("/"))
