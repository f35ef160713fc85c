"""A rosbag2 folder → what its metadata.yaml says, as plain texts, lists and mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from streamer.errors import DamagedError, RecordingError, from_shortage
from streamer.files import is_there, open_regular

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST = 64 * 2**20  # bytes
_DEEPEST = 32
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # leaves every scalar a text: nothing is computed
_OPEN = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSE = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_metadata(folder: Path) -> Mapping[str, Any]:
    """Return what stands in metadata.yaml below ``rosbag2_bagfile_information``.

    Raises:
        DamagedError: there is none, or it is not that of a recording. RecordingError: it cannot be read.

    """
    path = folder / "metadata.yaml"
    if not is_there(path):
        msg = "the folder has no metadata.yaml, so it is no rosbag2 recording or its recorder was not closed properly"
        raise DamagedError(msg, path=folder, hint="'ros2 bag reindex' on a copy of it makes one")
    try:
        with open_regular(path) as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        msg = f"cannot be opened: {error.strerror}"
        raise from_shortage(error) or RecordingError(msg, path=path) from error
    if not text.strip(b" \t\r\n\0"):
        msg = "metadata.yaml is empty"
        raise DamagedError(msg, path=folder, hint="'ros2 bag reindex' on a copy of the folder makes one")
    try:
        _check(text)
        found = yaml.load(text, Loader=_LOADER)["rosbag2_bagfile_information"]  # noqa: S506 - it only makes texts
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        msg = f"not the metadata of a rosbag2 recording: {error}"
        raise DamagedError(msg, path=path) from error
    if not isinstance(found, dict):
        msg = "not the metadata of a rosbag2 recording"
        raise DamagedError(msg, path=path)
    return found


def _check(text: bytes) -> None:
    """Refuse what no recorder writes and what could grow without end: size, nesting, aliases."""
    if len(text) > _LARGEST:
        msg = f"it has more than {_LARGEST} bytes"
        raise ValueError(msg)
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, _OPEN) - isinstance(event, _CLOSE)
        if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST:
            what = "an alias" if isinstance(event, yaml.AliasEvent) else f"more than {_DEEPEST} levels"
            msg = f"it has {what}, which no recorder writes"
            raise ValueError(msg)
