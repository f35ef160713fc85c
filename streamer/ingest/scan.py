"""Watched folders → the recordings that lie in them, and a mark that changes when a recording does."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.source.find import data_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

_ENDINGS = (".bag", ".mcap", ".db3")
_IGNORED = (".active", ".tmp", ".partial")


@dataclass(frozen=True, slots=True)
class Mark:
    """What changes when a recording does: bytes, number of files, newest change, inode of the first file."""

    size: int
    files: int
    changed: int  # ns
    inode: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recording on the disk: a file, or a rosbag2 folder with its files."""

    path: Path
    files: tuple[Path, ...]
    mark: Mark


def scan(
    folders: Sequence[Path],
    patterns: Sequence[str],
    left_out: Collection[Path] = (),
    skipped: Callable[[OSError], object] = lambda _: None,
    at: Callable[[Path], object] = lambda _: None,
) -> list[Candidate]:
    """Return the recordings in the folders and below, each once. Hidden files and working names are ignored.

    What cannot be read below a folder goes to ``skipped``, so that it does not hide the rest. ``at`` is told each
    path before the system is asked about it, which may take for ever (a mount that hangs).

    Raises:
        OSError: one of the folders themselves cannot be read.

    """
    found: dict[Path, Candidate] = {}
    for folder in folders:
        if folder in left_out:
            continue
        at(folder)
        os.listdir(folder)  # noqa: PTH208 - a folder that is not mounted is no empty folder
        for path, files in _walk(folder, left_out, skipped, at):
            if any(_matches(name, pattern) for name in (path, *files) for pattern in patterns):
                at(path)
                with _vanishing(skipped):
                    found.setdefault(path, Candidate(path, files, mark_of(files)))
    return list(found.values())


@contextmanager
def _vanishing(skipped: Callable[[OSError], object]) -> Iterator[None]:
    """Pass on what cannot be read (forbidden, a link to itself, a failing disk); ignore what has gone."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        skipped(error)


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a recording, as `Candidate` has them.

    Raises:
        OSError: it is not there.

    """
    if not path.is_dir():
        return (path,)
    files = _rosbag2(path, list(path.iterdir()))
    if not files:
        raise FileNotFoundError(errno.ENOENT, "the folder holds no recording any more", str(path))
    return files


def _walk(
    top: Path, left_out: Collection[Path], skipped: Callable[[OSError], object], at: Callable[[Path], object]
) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Yield recordings with their files, in the order of their names; folders may be nested without limit."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if path in left_out:
            continue
        at(path)
        entries: list[os.DirEntry[str]] = []
        files: tuple[Path, ...] | None = None
        with _vanishing(skipped):
            with os.scandir(path) as found:
                entries = sorted((entry for entry in found if counts(entry.name)), key=lambda entry: entry.name)
            files = _rosbag2(path, [path / entry.name for entry in entries])
        if files is not None:
            yield path, files
            continue
        folders = []
        for entry in entries:
            inner = path / entry.name
            if inner in left_out:
                continue
            with _vanishing(skipped):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(inner)
                elif inner.suffix in _ENDINGS:
                    at(inner)
                    if entry.is_file():
                        yield inner, (inner,)
        waiting += reversed(folders)


def counts(name: str) -> bool:
    """Tell whether a name is neither hidden nor a working name."""
    return not name.startswith(".") and not name.endswith(_IGNORED)


def _rosbag2(folder: Path, paths: Sequence[Path]) -> tuple[Path, ...] | None:
    """Return the files of a rosbag2 folder, also while it is being recorded; None where it is none."""
    if not any({".mcap", ".db3"} & set(path.suffixes) for path in paths):
        return None
    files = [path for path in data_files(folder) if counts(path.name)]
    part = re.compile(re.escape(folder.name) + r"_\d+\.(mcap|db3)(\.zstd)?")
    if folder / "metadata.yaml" in paths:
        return (*files, folder / "metadata.yaml")
    return tuple(files) if files and all(part.fullmatch(path.name) for path in files) else None


def _matches(path: Path, pattern: str) -> bool:
    return fnmatch.fnmatch(str(path) if "/" in pattern else path.name, pattern)


def mark_of(files: Sequence[Path]) -> Mark:
    """Return the mark of a recording's files.

    Raises:
        OSError: one is not there.

    """
    stats = [path.stat() for path in files]
    return Mark(sum(s.st_size for s in stats), len(stats), max(s.st_mtime_ns for s in stats), stats[0].st_ino)
