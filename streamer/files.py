"""A path → a regular file, opened without waiting, and what proves later that it is still the same file.

A pipe, a device or a socket can lie wherever a file is expected. Opening one may wait for ever, or do something.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, buffered; never wait for it.

    Raises:
        OSError: it cannot be opened, or is no regular file (errno EINVAL; ``strerror`` says what it is).

    """
    return os.fdopen(regular_descriptor(path), "rb")


def regular_descriptor(path: Path) -> int:
    """Open a regular file for reading and return its descriptor; otherwise as `open_regular`."""
    _refuse_others(os.stat(path), path)  # noqa: PTH116 - to open a device may already do something
    fd = os.open(path, _FLAGS)
    try:
        _refuse_others(os.fstat(fd), path)  # another may have taken its place
    except OSError:
        os.close(fd)
        raise
    return fd


def _refuse_others(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What no two files share, and what changes with each write to a file: the system sets ``changed_ns`` itself."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, file: Path | int) -> Self:
        """Return the identity of a file, by its path (a link is followed) or its descriptor.

        Raises:
            OSError: it is not there, or is no regular file.

        """
        found = os.stat(file)  # noqa: PTH116 - a descriptor has no method
        if not isinstance(file, int):
            _refuse_others(found, file)
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    @classmethod
    def from_wire(cls, values: Sequence[int]) -> Self:
        """Return what `wire` has packed."""
        return cls(*values)

    @property
    def wire(self) -> tuple[int, ...]:
        """Plain values, for a message or JSON."""
        return astuple(self)
