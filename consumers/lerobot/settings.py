"""What all episodes of a dataset have in common → ``info.json``'s features, the schema of the rows, whether both fit.

The format is that of ``lerobot/datasets`` (0.4.4 and 0.6.1; of version 2.1, 0.3.3).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumers.files import require
from consumers.lerobot.depth import quantizer
from consumers.lerobot.features import COUNTED, Feature, check_elements, features_differ, plain_names, plain_shape
from consumers.lerobot.layout import INFO, V21, V30, VERSIONS, Version
from consumers.lerobot.share import arrow_type
from streamer.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARK = b"rosbag-streamer"  # in the metadata of a data file that this program wrote


@dataclass(frozen=True, slots=True)
class Settings:
    """What all episodes of a dataset have in common."""

    fps: int
    features: tuple[Feature, ...]
    robot_type: str | None = None
    data_mb: float = 100
    video_mb: float = 200
    version: Version = V30

    @classmethod
    def of(cls, root: Path) -> Settings:
        """Read those of a dataset that is there."""
        info = read_info(root)
        features = tuple(
            Feature(key, (), f["dtype"], plain_shape(f), tuple(plain_names(f) or ()), info=f.get("info") or {})
            for key, f in info["features"].items()
            if key not in COUNTED
        )
        sizes = (info.get("data_files_size_in_mb", 100), info.get("video_files_size_in_mb", 200))
        return cls(info["fps"], features, info.get("robot_type"), *sizes, _version(root, info))

    @property
    def videos(self) -> list[str]:
        """The keys of the features that are videos."""
        return [feature.key for feature in self.features if feature.dtype == "video"]

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Return the features as ``info.json`` has them."""
        counted = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in COUNTED.items()}
        return {feature.key: feature.as_json() for feature in self.features} | counted

    def data_schema(self) -> Any:
        """Return the Arrow schema of the data files, with the description that ``datasets`` reads."""
        pa = require("pyarrow", "lerobot")
        kept = [feature for feature in self.features if feature.dtype != "video"]
        fields = [pa.field(feature.key, arrow_type(feature)) for feature in kept]
        fields += [pa.field(key, pa.type_for_alias(dtype)) for key, dtype in COUNTED.items()]
        described = {feature.key: _described(feature, self.version) for feature in kept}
        described |= {key: {"dtype": dtype, "_type": "Value"} for key, dtype in COUNTED.items()}
        return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": described}}), MARK: b"1"})


def _described(feature: Feature, version: Version) -> dict[str, Any]:
    """Return a feature's words for ``datasets``, whose older versions, which read v2.1, know no List."""
    if feature.dtype == "image":
        return {"_type": "Image"}
    value = {"dtype": feature.dtype, "_type": "Value"}
    return (
        value
        if feature.shape == (1,)
        else {"feature": value, "length": feature.shape[0], "_type": "Sequence" if version == V21 else "List"}
    )


def read_info(root: Path) -> dict[str, Any]:
    """Return what ``info.json`` says.

    Raises:
        OutputError: it cannot be read.

    """
    try:
        info: dict[str, Any] = json.loads((root / INFO).read_text(encoding="utf-8"))
        info["features"], info["fps"], info["codebase_version"]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"it is not what LeRobot writes ({type(error).__name__}: {error})"
        raise OutputError(msg, path=root / INFO) from error
    return info


def _version(root: Path, info: Mapping[str, Any]) -> Version:
    if info["codebase_version"] not in VERSIONS:
        msg = f"{root} is a dataset of version {info['codebase_version']}; known are {', '.join(VERSIONS)}"
        raise OutputError(msg)
    return VERSIONS[info["codebase_version"]]


def _holds_something(path: Path) -> bool:
    """Tell whether there is more than folders and drafts, which a process leaves that is killed as it begins."""
    if path.name.startswith("."):
        return False
    return not path.is_dir() or any(map(_holds_something, path.iterdir()))


def is_dataset(root: Path, settings: Settings) -> bool:
    """Tell whether a dataset to which such episodes can be added lies in a folder that may not exist yet.

    Who wrote it does not matter; features are held against its own by type, shape and names of the elements.

    Raises:
        ConfigError: it is a dataset with another rate or other features.
        OutputError: it is something else.

    """
    if not (root / INFO).exists():
        found = sorted(e.name for e in root.iterdir() if _holds_something(e)) if root.is_dir() else []
        if found:
            msg = f"{root} is no LeRobot dataset (it has {found[0]!r} and no meta/info.json): use another 'out'"
            raise OutputError(msg)
        return False
    info = read_info(root)
    version = settings.version
    robots = (info.get("robot_type"), settings.robot_type)
    for what, old, new in (
        ("version", info["codebase_version"], version.name),
        ("fps", info["fps"], settings.fps),
        ("robot_type", robots[0], robots[0] if robots[1] is None else robots[1]),
        ("data_path", info.get("data_path", version.data), version.data),
        ("video_path", info.get("video_path") or version.video, version.video),
    ):
        if old != new:
            msg = f"{root} is a dataset with {what} {old}, to which episodes with {new} cannot be added"
            raise ConfigError(msg)
    _check_features(root, info["features"], settings.as_json())
    return True


def _check_features(root: Path, there: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> None:
    """Hold features against a dataset's, one by one: what a dataset's author left unnamed may have any names."""
    check_elements(root, there, new)
    kinds = [
        {key: {"dtype": f["dtype"], "shape": list(plain_shape(f))} | quantizer(f) for key, f in both.items()}
        for both in (there, new)
    ]
    if told := "; ".join(features_differ(*kinds)):
        msg = f"{root} is a dataset with other features: {told}"
        raise ConfigError(msg, hint="use another 'out', or the same streams and features")
