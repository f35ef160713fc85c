"""Patterns from a configuration → the recordings they stand for, none of them opened."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import RecordingError
from streamer.files import is_there
from streamer.text import safe_name, visible

if TYPE_CHECKING:
    from collections.abc import Iterable

# what can be done about a damaged recording
SALVAGE = "'source.on_damage: salvage' reads what is intact (without a configuration: --salvage)"


def recording_name(path: Path) -> str:
    """Return the name of a recording for people and output files: the file's without its ending, fit for a path."""
    name = path.name
    for ending in (".zstd", ".active", ".bag", ".mcap", ".db3"):
        name = name.removesuffix(ending)
    return safe_name(name or path.name)


def is_text(path: Path) -> bool:
    """Tell whether a path is text in UTF-8, and not any bytes, which a file's name may be."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return False
    return True


def printable(path: Path) -> str:
    """Return a path as text for a person; control characters and bytes that are not UTF-8 as escapes."""
    return visible(str(path))


def find_recordings(patterns: Iterable[str], base: Path, *, salvage: bool = False) -> list[Path]:
    """Turn files, folders and globs, relative to ``base``, into recordings: in order, each once.

    A rosbag2 folder is one recording; another folder stands for the recordings directly in it. With ``salvage``
    a rosbag2 folder need not have its metadata.yaml, and bags that were not closed (.bag.active) count.

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
        if others := [path for path in paths if not is_text(path)]:
            msg = f"{printable(others[0])}: its name is not UTF-8; rename it"
            raise RecordingError(msg)
        for path in paths:
            try:
                found.update(dict.fromkeys(_recordings_at(path, salvage=salvage)))
            except OSError as error:
                raise unreadable(path, error) from error
    return list(found)


def unreadable(path: Path, error: OSError) -> RecordingError:
    """Return the error of a path that cannot be looked at: it is too long, or lies where one may not look."""
    return RecordingError(f"it cannot be read: {error.strerror or error}", path=path)


def data_files(folder: Path) -> list[Path]:
    """Return the files that hold the messages of a rosbag2 folder, as their names count them: 2 before 10.

    Of one that was being compressed (.zstd) when its recorder ended, the file itself is taken.
    """
    found = {path for path in folder.iterdir() if path.is_file() and {".db3", ".mcap"} & set(path.suffixes)}
    found -= {path.with_name(f"{path.name}.zstd") for path in found}
    return sorted(found, key=lambda path: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", path.name)])


def _recordings_at(path: Path, *, salvage: bool) -> list[Path]:
    if not is_there(path) or not path.is_dir() or _is_recording(path, salvage=salvage):
        return [path]
    endings = (".bag", ".bag.active") if salvage else (".bag",)
    inside = sorted(p for p in path.iterdir() if p.name.endswith(endings) or _is_recording(p, salvage=salvage))
    loose = data_files(path)
    if loose:
        msg = (
            f"the folder holds {loose[0].name!r} but no metadata.yaml, as its recorder was not closed "
            f"properly; 'ros2 bag reindex' on a copy of it makes one, {SALVAGE}, or name the file itself"
        )
        raise RecordingError(msg, path=path)
    if not inside:
        msg = "the folder holds no recording (no metadata.yaml, no *.bag)"
        raise RecordingError(msg, path=path)
    return inside


def _is_recording(path: Path, *, salvage: bool) -> bool:
    """Tell whether this is a rosbag2 folder."""
    return is_there(path / "metadata.yaml") or (salvage and path.is_dir() and bool(data_files(path)))
