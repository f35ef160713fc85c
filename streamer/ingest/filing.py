"""A recording that every consumer has committed → where it belongs now: elsewhere, or nowhere.

It may be the only copy. So before anything is taken away its content is looked at once more, a copy onto another
file system is on the disk under its own name before the original goes, and whatever is done half is done again.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from streamer.errors import StorageError
from streamer.ingest.proof import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE = 1 << 23  # bytes that are copied between two looks whether to stop


def file_away(
    path: Path, files: tuple[Path, ...], who: str, move_to: Path | None, stopped: Callable[[], bool] = lambda: False
) -> str:
    """Move a recording into a folder, or delete it where there is none; say what was done.

    ``who`` is its identity: what has another one by now is left where it is. A copy is given up when ``stopped``.

    Raises:
        StorageError: it could not be done; the original is untouched.

    """
    try:
        if not path.exists():
            return "it is no longer there"
        if identity_of(files) != who:
            return "kept: it has been replaced meanwhile"
        if move_to is not None:
            return f"moved to {_move(path, move_to, stopped)}"
        _remove(path, files)
    except OSError as error:
        msg = f"{path} cannot be {'moved' if move_to else 'deleted'}: {error.strerror} ({error.filename})"
        raise StorageError(msg) from error
    return "deleted"


def _move(path: Path, folder: Path, stopped: Callable[[], bool]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.samefile(path.parent):
        return path
    target, number = folder / path.name, 2
    while os.path.lexists(target):
        if _equal(path, target):  # copied by a daemon that was killed before it took the original away
            _remove(path, _content(path))
            return target
        target = folder / f"{path.stem}-{number}{path.suffix}"
        number += 1
    try:
        os.rename(path, target)  # noqa: PTH104 - the rename that fails across file systems is what is meant
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, folder / f".{target.name}.partial", target, stopped)
    return target


def _copy(path: Path, draft: Path, target: Path, stopped: Callable[[], bool]) -> None:
    """Copy everything, bring it to the disk, give it its name, and only then take the original away."""
    _discard(draft)
    content = _content(path)
    try:
        _fill(draft, path, content, stopped)
    except OSError:
        _discard(draft)
        raise
    os.rename(draft, target)  # noqa: PTH104 - as above
    _flush(target.parent)
    _remove(path, content)


def _fill(draft: Path, path: Path, content: tuple[Path, ...], stopped: Callable[[], bool]) -> None:
    before = [(file.stat().st_size, file.stat().st_mtime_ns) for file in content]
    for file in content:
        copy = draft / file.relative_to(path) if path.is_dir() else draft
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(file, copy, stopped)
    if path.is_dir():
        shutil.copystat(path, draft)
    for written in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        _flush(written)
    if [(file.stat().st_size, file.stat().st_mtime_ns) for file in content] != before:
        raise OSError(errno.EBUSY, "it was changed while it was copied", str(path))


def _discard(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)


def _copy_file(path: Path, target: Path, stopped: Callable[[], bool]) -> None:
    with path.open("rb") as source, target.open("wb") as out:
        while piece := source.read(_PIECE):
            if stopped():
                raise OSError(errno.EINTR, "the daemon ends", str(path))
            out.write(piece)
    shutil.copystat(path, target)


def _content(path: Path) -> tuple[Path, ...]:
    """Return all files of a recording, in a folder also those that are not the recorder's."""
    return tuple(file for file in path.rglob("*") if not file.is_dir()) if path.is_dir() else (path,)


def _equal(path: Path, other: Path) -> bool:
    """Tell whether all files are the same, byte for byte."""
    if path.is_dir() != other.is_dir() or other.is_symlink():
        return False
    if not path.is_dir():
        return filecmp.cmp(path, other, shallow=False)
    names = [{file.relative_to(folder) for file in _content(folder)} for folder in (path, other)]
    return names[0] == names[1] and all(filecmp.cmp(path / n, other / n, shallow=False) for n in names[0])


def _remove(path: Path, files: tuple[Path, ...]) -> None:
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
