"""A dataset's folder → the names of its files, the lock on it, the swap of one dataset for another.

Of version 3.0, ``data/``, ``videos/<key>/`` and ``meta/episodes/`` are in ``chunk-XXX/file-XXX``, each of which many
episodes share until it is full. A *place* is such a pair of numbers.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from consumers.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES_IN_CHUNK = 1000
MB = 2**20
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO, STATS, TASKS, ORIGINS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/provenance.jsonl"
_FOLDERS = ("meta", "data", "videos")
_NEXT, _BEFORE = ".merged", ".replaced"  # a dataset that is about to take this one's place; what it has replaced

Place = tuple[int, int]


class Version(NamedTuple):
    """A version of the format: its name, and the names of its data files and videos."""

    name: str
    data: str
    video: str


V30 = Version("v3.0", DATA, VIDEO)
V21 = Version(
    "v2.1",
    "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
)
VERSIONS = {version.name: version for version in (V30, V21)}


def file_at(root: Path, pattern: str, place: Place, key: str = "") -> Path:
    """Return the file at a place; ``key`` is that of a video."""
    return root / pattern.format(chunk_index=place[0], file_index=place[1], video_key=key)


def place_of(path: Path) -> Place:
    """Return the place of a file, by its name."""
    chunk, file = (re.findall(r"\d+", name)[0] for name in (path.parent.name, path.stem))
    return int(chunk), int(file)


def next_place(place: Place) -> Place:
    """Return the place behind another."""
    chunk, file = place
    return (chunk, file + 1) if file + 1 < FILES_IN_CHUNK else (chunk + 1, 0)


@contextmanager
def anew(path: Path) -> Iterator[Path]:
    """Give a name to write to, which becomes ``path`` when all is well; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        yield draft


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep others from adding to the dataset for the time of the block; wait until they have done so."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _take_in(root)
        yield
    finally:
        os.close(folder)


def replace(root: Path, other: Path) -> None:
    """Put another dataset, which lies in a folder below, in the place of this one; whoever has it `locked` may.

    Its folder's new name is the decision: from then on, the next who locks finishes what a killed process began. The
    folder ``meta`` goes first and comes last, so that a reader finds the one, the other, or for a moment no dataset.
    """
    other.rename(root / _NEXT)
    _take_in(root)


def _take_in(root: Path) -> None:
    new, old = root / _NEXT, root / _BEFORE
    if new.exists():
        old.mkdir(exist_ok=True)
        for name in _FOLDERS:
            if (new / name).exists() and (root / name).exists():
                (root / name).rename(old / name)
        for name in reversed(_FOLDERS):
            if (new / name).exists():
                (new / name).rename(root / name)
        shutil.rmtree(new)
    shutil.rmtree(old, ignore_errors=True)
