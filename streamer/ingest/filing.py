"""A recording that every consumer has committed → where it belongs now: elsewhere, or nowhere.

It may be the only copy. So before anything is taken away its content is looked at once more, a copy onto another
file system is on the disk under its own name before the original goes, and whatever is done half is done again.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from streamer.errors import StorageError
from streamer.ingest.proof import identity

if TYPE_CHECKING:
    from pathlib import Path


def file_away(path: Path, files: tuple[Path, ...], who: str, move_to: Path | None) -> str:
    """Move a recording into a folder, or delete it where there is none; say what was done.

    ``who`` is its identity: what has another one by now is left where it is.

    Raises:
        StorageError: it could not be done; the original is untouched.

    """
    try:
        if not path.exists():
            return "it is no longer there"
        if identity([file for file in files if file.name != "metadata.yaml"]) != who:
            return "kept: it has been replaced meanwhile"
        if move_to is not None:
            return f"moved to {_move(path, move_to)}"
        _remove(path)
    except OSError as error:
        msg = f"{path} cannot be {'moved' if move_to else 'deleted'}: {error.strerror} ({error.filename})"
        raise StorageError(msg) from error
    return "deleted"


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / path.name, 2
    while target.exists():
        target = folder / f"{path.stem}-{number}{path.suffix}"
        number += 1
    try:
        os.rename(path, target)  # noqa: PTH104 - the rename that fails across file systems is what is meant
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return target
    draft = folder / f".{target.name}.partial"
    _remove(draft)
    if path.is_dir():
        shutil.copytree(path, draft)
    else:
        shutil.copy2(path, draft)
    for file in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        _flush(file)
    os.rename(draft, target)  # noqa: PTH104 - as above
    _flush(folder)
    _remove(path)
    return target


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
