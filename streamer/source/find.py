"""Patterns from a configuration → the recordings they stand for, none of them opened."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterable


def recording_name(path: Path) -> str:
    """Return the name of a recording for people and output files: the file's without its ending."""
    name = path.name
    for ending in (".zstd", ".bag", ".mcap", ".db3"):
        name = name.removesuffix(ending)
    return name or path.name


def find_recordings(patterns: Iterable[str], base: Path) -> list[Path]:
    """Turn files, folders and globs, relative to ``base``, into recordings: in order, each once.

    A rosbag2 folder is one recording; another folder stands for the recordings directly in it.

    Raises:
        RecordingError: a pattern matches nothing, or a folder holds no recording.

    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        absolute = str(base / Path(pattern).expanduser())
        paths = [Path(absolute)]
        if glob.has_magic(pattern):
            paths = [Path(p) for p in sorted(glob.glob(absolute, recursive=True))]  # noqa: PTH207 - takes absolute patterns
        if not paths:
            msg = f"no recording matches {pattern!r} (looked for {absolute})"
            raise RecordingError(msg)
        for path in paths:
            found.update(dict.fromkeys(_recordings_at(path)))
    return list(found)


def _recordings_at(path: Path) -> list[Path]:
    if not path.is_dir() or (path / "metadata.yaml").exists():
        return [path]
    inside = sorted(p for p in path.iterdir() if p.suffix == ".bag" or (p / "metadata.yaml").exists())
    loose = sorted(p.name for p in path.iterdir() if {".db3", ".mcap"} & set(p.suffixes))
    if loose:
        msg = (
            f"{path}: the folder holds {loose[0]!r} but no metadata.yaml, as its recorder was not closed properly; "
            "'ros2 bag reindex' on a copy of it makes one, or name the file itself"
        )
        raise RecordingError(msg)
    if not inside:
        msg = f"{path}: the folder holds no recording (no metadata.yaml, no *.bag)"
        raise RecordingError(msg)
    return inside
