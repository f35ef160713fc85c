"""A LeRobot dataset's features → the keys under which other training code looks for the same streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_CAMERA, _STATE, _ACTION, _OTHER = "observation.images.", "observation.state", "action", "observation."
LAYOUTS = {  # of outputs with ``features``: what stands for a camera's key, the state, the action and any other vector
    "hdf5": {
        "aloha": ("observations/images/", "observations/qpos", "action", "observations/"),
        "robomimic": ("obs/", "obs/state", "actions", "obs/"),
    },
    "zarr": {"replay_buffer": ("", "state", "action", "")},
}


def has_features(to: str, layout: str) -> bool:
    """Tell whether an output, in a layout, has keys that are made of streams."""
    return to == "lerobot" or layout in LAYOUTS.get(to, {})


def keys_of(features: Mapping[str, str | list[str]], to: str, layout: str) -> dict[str, str | list[str]]:
    """Return the features by the keys of another output; a key that is taken gets ``_`` behind it."""
    if to == "lerobot":
        return dict(features)
    camera, state, action, other = LAYOUTS[to][layout]
    names = {_STATE: state, _ACTION: action}
    found: dict[str, str | list[str]] = {}
    for key, streams in features.items():
        prefix, ours = (_CAMERA, camera) if key.startswith(_CAMERA) else (_OTHER, other)
        new = names.get(key) or f"{ours}{key.removeprefix(prefix)}"
        while new in found:
            new += "_"
        found[new] = streams
    return found
