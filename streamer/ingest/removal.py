"""A recording and the files that were read of it → moved or deleted, if it is proven that they are the same.

It may be the only copy, so a doubt keeps it. The proof has three parts, and nothing is destroyed before the last:

1. Each file has the identity that it had when the reader opened it. Where the system grants it, a lease shows that
   nobody has it open for writing, and holds up whoever wants to.
2. It is renamed to a private name in the same folder. From then on no other program finds it by its name.
3. What lies under the private name is what was checked, and was not written to in between.

The private name says how far it came: ``.checking`` is put back by the next start, ``.filing`` is finished.
"""

from __future__ import annotations

import errno
import fcntl
import filecmp
import hashlib
import os
import shutil
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamer.errors import StorageError
from streamer.files import FileIdentity, content_digest, create_new, lease, regular_descriptor, rename_to_free
from streamer.ingest.scan import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_PIECE = 1 << 23  # bytes that are copied between two looks whether to stop


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of a recording, in words, and where it lies now."""

    what: str
    path: Path


class CannotFileError(StorageError):
    """It could not be done now; the original is where it was.

    ``everywhere`` says that the next would fail the same way, ``read`` has its identity where the attempt changed it.
    """

    everywhere = False
    read: dict[str, FileIdentity] | None = None


class _DoubtError(Exception):
    """It is not proven that this is what was read."""


def file_away(
    path: Path,
    read: dict[str, FileIdentity],
    archive: Path | None,
    stopped: Callable[[], bool] = lambda: False,
    noted: Callable[[dict[str, FileIdentity]], object] = lambda _: None,
) -> Filed:
    """Move a recording into a folder, or delete it where ``archive`` is None; keep it where anything is in doubt.

    ``read`` has the identity of each file as its reader opened it, by name. A copy is given up when ``stopped``.
    ``noted`` is given what it is once it is proven and has its private name: who calls again after a kill gives that.

    Raises:
        CannotFileError: the system refused; the original is where it was.
        Exception: it cannot be noted; likewise.

    """
    tag = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    checking, filing = (path.with_name(f".{tag}.{step}") for step in ("checking", "filing"))
    try:
        if os.path.lexists(checking):
            _put_back(checking, path)
        if archive is not None and _is_in(path, archive):
            return Filed(f"moved to {path}", path)
        if os.path.lexists(filing):
            return _take_up(filing, path, read, archive, stopped)
        if not os.path.lexists(path):
            return Filed("it is no longer there", path)
        with _proven(path, read, checking) as held:
            rename_to_free(checking, filing)
            try:
                noted({name: one.now(read[name]) for name, one in held.items()})
                return _finish(filing, path, read, archive, stopped)
            except Exception as error:
                if os.path.lexists(filing):
                    _put_back(filing, path)
                if isinstance(error, OSError):
                    raise _cannot(
                        path, archive, error, {name: one.now(read[name]) for name, one in held.items()}
                    ) from error
                raise
    except _DoubtError as doubt:
        return Filed(f"kept: {doubt}", path)
    except OSError as error:
        raise _cannot(path, archive, error) from error


def _cannot(
    path: Path, archive: Path | None, error: OSError, read: dict[str, FileIdentity] | None = None
) -> CannotFileError:
    verb = "deleted" if archive is None else "moved"
    at = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    found = CannotFileError(f"{path} cannot be {verb}: {error.strerror}{at}")
    in_archive = str(error.filename or "").startswith(str(archive))
    found.everywhere = archive is not None and (in_archive or error.errno in _FULL)
    found.read = read
    return found


def _is_in(path: Path, archive: Path) -> bool:
    archive.mkdir(parents=True, exist_ok=True)
    return archive.samefile(path.parent)


# ---- proof


def _take_up(
    filing: Path, path: Path, read: dict[str, FileIdentity], archive: Path | None, stopped: Callable[[], bool]
) -> Filed:
    """Finish what a daemon that was killed had proven, if nobody has touched it since.

    Raises:
        _DoubtError: somebody has, or has put something else there; it has its own name again.

    """
    try:
        files = {name: filing / name for name in read} if filing.is_dir() else {next(iter(read), ""): filing}
        there = {name: file for name, file in files.items() if os.path.lexists(file)}  # the others were removed already
        with ExitStack() as stack:
            for name, file in there.items():
                stack.enter_context(_hold(file)).must_be_as_left(read.get(name))
            return _finish(filing, path, read, archive, stopped)
    except _DoubtError:
        _put_back(filing, path)
        raise


@contextmanager
def _proven(path: Path, read: dict[str, FileIdentity], checking: Path) -> Iterator[dict[str, _Held]]:
    """Give a recording its private name, proven to be what was read; hold its files open for the time of the block.

    Raises:
        _DoubtError: it is not, or nobody can say; it has its own name again.

    """
    files = _names(path, read)
    itself = not path.is_dir() and not path.is_symlink()  # a file's own rename changes its time of change
    with ExitStack() as stack:
        held = {name: stack.enter_context(_hold(file)) for name, file in files.items()}
        for name, one in held.items():
            one.must_be(read[name])
        rename_to_free(path, checking)
        try:
            for name, one in held.items():
                one.must_still_be(read[name], checking / name if checking.is_dir() else checking, renamed=itself)
        except BaseException:
            _put_back(checking, path)
            raise
        yield held


def _names(path: Path, read: dict[str, FileIdentity]) -> dict[str, Path]:
    """Return the files that lie there by the names under which they were read."""
    if not read:
        msg = "it is not known which files were read"
        raise _DoubtError(msg)
    if not path.is_dir():
        if len(read) > 1:
            msg = "a folder was read, and a file lies there now"
            raise _DoubtError(msg)
        return {next(iter(read)): path}
    files = {file.name: file for file in files_of(path)}
    for name in files.keys() ^ read.keys():
        msg = f"{name} was not read" if name in files else f"{name}, which was read, is no longer there"
        raise _DoubtError(msg)
    return files


class _Held:
    """An open file, with a lease where the system grants one."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path
        try:
            self._leased = lease(descriptor)
        except OSError as error:
            error.filename = str(path)
            raise

    def now(self, read: FileIdentity) -> FileIdentity:
        """Return its identity after it was renamed."""
        return replace(FileIdentity.of(self._descriptor), digest=read.digest)

    def must_be(self, read: FileIdentity) -> None:
        """Make sure that it has the identity with which it was read."""
        found = replace(FileIdentity.of(self._descriptor), digest=read.digest)
        same = found.size == read.size if read.digest else found == read  # with a digest, the content decides
        if not same:
            msg = f"{self._path.name} is another file than was read, or was written to since ({_differs(found, read)})"
            raise _DoubtError(msg)

    def must_be_as_left(self, read: FileIdentity | None) -> None:
        """Make sure that it is what was noted when it had been proven."""
        found = FileIdentity.of(self._descriptor)
        same = content_digest(self._descriptor) == read.digest if read is not None and read.digest else found == read
        if not same:
            msg = f"{self._path.name} is not what was read, or was written to since"
            raise _DoubtError(msg)

    def must_still_be(self, read: FileIdentity, path: Path, *, renamed: bool) -> None:
        """Make sure that it lies at its private name, unwritten; its time of change counts unless it was renamed."""
        now, there = FileIdentity.of(self._descriptor), FileIdentity.of(path)
        expected = replace(read, changed_ns=now.changed_ns) if renamed else read
        if there != now or not (read.digest or now == expected):
            msg = f"{self._path.name} was replaced or written to at the last moment"
            raise _DoubtError(msg)
        if self._leased and fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            msg = f"somebody wants to write to {self._path.name}"
            raise _DoubtError(msg)
        if read.digest and content_digest(self._descriptor) != read.digest:
            msg = f"{self._path.name} has another content than was read"
            raise _DoubtError(msg)


@contextmanager
def _hold(path: Path) -> Iterator[_Held]:
    descriptor = regular_descriptor(path)
    try:
        yield _Held(descriptor, path)
    finally:
        os.close(descriptor)


def _differs(found: FileIdentity, read: FileIdentity) -> str:
    names = ("device", "inode", "size", "modified_ns", "changed_ns")
    words = ("disk", "inode", "size", "time of last write", "time of last change")
    return ", ".join(
        word for name, word in zip(names, words, strict=True) if getattr(found, name) != getattr(read, name)
    )


def _put_back(private: Path, path: Path) -> None:
    """Give a recording its own name again, or one like it where another has taken that."""
    target, number = path, 2
    while True:
        try:
            rename_to_free(private, target)
        except FileExistsError:
            target, number = path.with_name(f"{path.stem}-kept-{number}{path.suffix}"), number + 1
        else:
            return


# ---- carrying out


def _finish(
    filing: Path, path: Path, read: dict[str, FileIdentity], archive: Path | None, stopped: Callable[[], bool]
) -> Filed:
    """Move or delete what was proven."""
    if archive is None:
        _remove(filing, {filing / name for name in read} if filing.is_dir() else {filing})
        if os.path.lexists(filing):  # a folder in which somebody else has put something
            _put_back(filing, path)
        return Filed("deleted", path)
    target = _move(filing, path, archive, stopped)
    return Filed(f"moved to {target}", target)


def _move(filing: Path, path: Path, archive: Path, stopped: Callable[[], bool]) -> Path:
    target, number = archive / path.name, 2
    if filing.is_symlink() and not filing.readlink().is_absolute():
        msg = "it is a relative link, which would point elsewhere"
        raise _DoubtError(msg)
    while True:
        if os.path.lexists(target):
            if _holds(target, filing):  # copied by a daemon that was killed before it took the original away
                _remove(filing, set(_content(filing)))
                return target
            target, number = archive / f"{path.stem}-{number}{path.suffix}", number + 1
            continue
        try:
            _rename_or_copy(filing, target, stopped)
        except FileExistsError as error:
            if error.filename2 != str(target):  # else somebody was faster
                raise
        else:
            return target


def _rename_or_copy(filing: Path, target: Path, stopped: Callable[[], bool]) -> None:
    try:
        rename_to_free(filing, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(filing, target.with_name(f"{filing.name}.partial"), target, stopped)


def _copy(filing: Path, draft: Path, target: Path, stopped: Callable[[], bool]) -> None:
    """Copy everything, bring it to the disk, give it its name, and only then take the original away.

    Raises:
        FileExistsError: another file took the name (``filename2``) meanwhile. OSError: the system refused.

    """
    _discard(draft)
    content = _content(filing)
    before = [FileIdentity.of(file) for file in content]
    try:
        _fill(draft, filing, content, stopped)
        _must_be_unchanged(filing, content, before)
        rename_to_free(draft, target)
    except (OSError, _DoubtError):
        _discard(draft)
        raise
    _flush(target.parent)
    _remove(filing, set(content))


def _must_be_unchanged(path: Path, content: tuple[Path, ...], before: list[FileIdentity]) -> None:
    if _content(path) != content or [FileIdentity.of(file) for file in content] != before:
        msg = "it was changed while it was copied"
        raise _DoubtError(msg)


def _fill(draft: Path, path: Path, content: tuple[Path, ...], stopped: Callable[[], bool]) -> None:
    for file in content:
        copy = draft / file.relative_to(path) if path.is_dir() else draft
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(file, copy, stopped)
    if path.is_dir():
        shutil.copystat(path, draft)
    for written in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        _flush(written)


def _discard(draft: Path) -> None:
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)


def _copy_file(path: Path, target: Path, stopped: Callable[[], bool]) -> None:
    with os.fdopen(regular_descriptor(path), "rb") as source, create_new(target) as out:
        while piece := source.read(_PIECE):
            if stopped():
                raise OSError(errno.EINTR, "the daemon ends", str(path))
            out.write(piece)
    shutil.copystat(path, target)


def _content(path: Path) -> tuple[Path, ...]:
    """Return all files of a recording, in a folder also those that are not the recorder's."""
    return tuple(sorted(file for file in path.rglob("*") if not file.is_dir())) if path.is_dir() else (path,)


def _holds(copy: Path, path: Path) -> bool:
    """Tell whether all files that are left of a recording are in its copy, byte for byte."""
    if path.is_dir() != copy.is_dir() or copy.is_symlink():
        return False
    if not path.is_dir():
        return filecmp.cmp(path, copy, shallow=False)
    names, copied = ({file.relative_to(folder) for file in _content(folder)} for folder in (path, copy))
    return names <= copied and all(filecmp.cmp(path / n, copy / n, shallow=False) for n in names)


def _remove(path: Path, files: set[Path]) -> None:
    """Remove the files, and the folders that are empty then: what somebody else has put there stays."""
    for file in files:
        file.unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        for folder in sorted((f for f in path.rglob("*") if f.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            path.rmdir()


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
