"""Features, their streams and element names → ``meta/modality.json``, by which GR00T finds its way about a dataset.

The format is that of Isaac-GR00T's ``getting_started/data_preparation.md``: state and action are vectors of which
each part has a name and a range, videos have a short name, and an annotation names the column that holds its number.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from consumers.files import write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from consumers.lerobot.features import Feature
    from streamer.contract import StreamInfo

MODALITY = "meta/modality.json"
_STATE, _ACTION, _IMAGES = "observation.state", "action", "observation.images."
_GRIPPER = ("gripper", "finger", "jaw", "hand")
_SIDES = ("left", "right")


def write_modality(root: Path, features: Sequence[Feature], streams: Mapping[str, StreamInfo]) -> None:
    """Write the file; one that is there stays, as a person may have named the parts."""
    path = root / MODALITY
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_json(path, modality(features, streams))


def modality(features: Sequence[Feature], streams: Mapping[str, StreamInfo]) -> dict[str, Any]:
    """Return what the file says. A part of a vector is a stream, or what its element names tell apart."""
    found: dict[str, dict[str, Any]] = {"state": {}, "action": {}, "video": {}}
    for feature in features:
        if feature.dtype == "video":
            found["video"][feature.key.removeprefix(_IMAGES)] = {"original_key": feature.key}
        kind = _kind_of(feature)
        if kind is None:
            continue
        for name, start, end in _parts(feature, streams):
            unused = name if name not in found[kind] else f"{feature.key}.{name}"
            usual = feature.key == {"state": _STATE, "action": _ACTION}[kind]
            found[kind][unused] = {"start": start, "end": end} | ({} if usual else {"original_key": feature.key})
    return found | {"annotation": {"human.task_description": {"original_key": "task_index"}}}


def _kind_of(feature: Feature) -> str | None:
    """Tell whether a feature is what the robot is like, or what it is to do; None for other things."""
    if not feature.is_vector:
        return None
    if feature.key == _ACTION or feature.key.startswith(f"{_ACTION}."):
        return "action"
    return "state" if feature.key.startswith("observation.") else None


def _parts(feature: Feature, streams: Mapping[str, StreamInfo]) -> Iterator[tuple[str, int, int]]:
    """Give the name and the range of each part of a vector."""
    start = 0
    for stream in feature.streams:
        end = start + streams[stream].shape[0]
        words = [_words(name) for name in feature.names[start:end]]
        apart = len(set(words)) > 1
        at = start
        for (side, part), group in groupby(words):
            count = len(list(group))
            name = "_".join(word for word in (side, part or stream) if word) if apart else stream
            yield name, at, at + count
            at += count
        start = end


def _words(element: str) -> tuple[str, str]:
    """Return the side of the robot that an element belongs to, and whether it is part of a gripper."""
    name = element.lower()
    side = next((side for side in _SIDES if side in name), "")
    return side, "gripper" if any(word in name for word in _GRIPPER) else ""
