"""A path → a regular file, opened or created without surprises, and what proves later that it is the same file.

A pipe, a device or a socket can lie wherever a file is expected. Opening one may wait for ever, or do something.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_TELLING = {  # file systems (f_type of statfs(2)) that set the time of change themselves, and keep inodes apart;
    # not tmpfs, which does not notice what is written into a mapped page that was read before
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # XFS
    0x9123683E,  # Btrfs
    0xF2F52010,  # F2FS
    0x2FC12FC1,  # ZFS
    0xCA451A4E,  # bcachefs
    0x794C7630,  # overlayfs
}
_RENAME = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux
_HERE, _NO_REPLACE = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def is_there(path: Path) -> bool:
    """Tell whether something lies at a path, and not, as `Path.exists` does since Python 3.14, whether one may see it.

    Raises:
        OSError: that cannot be told: a name is too long, a folder is closed to this user, a disk does not answer.

    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise
    return True


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
    """What no two files share, and what changes with each write: nobody can set ``changed_ns`` but the system."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    digest: str = ""  # of the whole content, where the file system cannot tell that a file was written to

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
    def from_wire(cls, values: Sequence[Any]) -> Self:
        """Return what `wire` has packed."""
        return cls(*values)

    @property
    def wire(self) -> tuple[int | str, ...]:
        """Plain values, for a message or JSON."""
        return astuple(self)


def content_digest(descriptor: int) -> str:
    """Return the digest of a file's whole content."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def tells_changes(descriptor: int) -> bool:
    """Tell whether a file's identity changes with each write to it, by its file system and how exact its times are."""
    fstatfs = getattr(ctypes.CDLL(None), "fstatfs", None)
    found = ctypes.create_string_buffer(256)
    if sys.platform != "linux" or fstatfs is None or fstatfs(descriptor, found) != 0:
        return False
    kind = int.from_bytes(found.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)
    return kind in _TELLING and os.fstat(descriptor).st_ctime_ns % 10**9 != 0


def lease(descriptor: int) -> bool:
    """Ask that nobody opens a file for writing until this descriptor is closed; False where nobody can promise that.

    It cannot be promised of another user's file, nor by every system and file system. Who wants to write is held up.

    Raises:
        OSError: a program has it open for writing, perhaps mapped into its memory (errno EBUSY).

    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # whose default is to do nothing
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise OSError(errno.EBUSY, "a program has it open for writing") from error
        return False
    return True


def may_be_written_to(descriptor: int) -> bool:
    """Tell whether a program has a file open for writing: what it has mapped, it changes without a trace."""
    try:
        other = os.open(f"/proc/self/fd/{descriptor}", _FLAGS) if sys.platform == "linux" else os.dup(descriptor)
    except OSError:  # it may not be read any more, or there is no descriptor left: nobody can tell
        return True
    try:
        lease(other)
    except OSError:
        return True
    finally:
        os.close(other)
    return False


def create_new(path: Path, mode: int = 0o666) -> BinaryIO:
    """Create a file for writing; neither an existing file nor a link that somebody has put there is opened.

    Raises:
        FileExistsError: something has this name. OSError: the system refused.

    """
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode), "w+b")


def rename_to_free(path: Path, target: Path) -> None:
    """Rename a file, link or folder; what has the name ``target`` already is never replaced.

    Raises:
        FileExistsError: something has that name. OSError: the system refused.

    """
    if _RENAME is not None:
        if _RENAME(_HERE, os.fsencode(path), _HERE, os.fsencode(target), _NO_REPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):  # a file system, a kernel that does not know it
            raise OSError(number, os.strerror(number), str(path), None, str(target))
    if path.is_dir() and not path.is_symlink():
        target.mkdir()  # an empty folder is what a rename replaces
        os.rename(path, target)  # noqa: PTH104 - which says what it replaces
        return
    os.link(path, target, follow_symlinks=False)
    path.unlink()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for the time of the block.

    It goes with the block, also where that lies in a generator which nobody ends and the garbage collector finds.
    """
    folder = Path(tempfile.mkdtemp(prefix="streamer-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
