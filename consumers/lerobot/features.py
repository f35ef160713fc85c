"""Options × a recording's streams → the features of a dataset: key, kind, shape, names.

The format is that of ``lerobot/datasets/utils.py`` (0.4.4): a feature has a ``dtype`` (``video``, ``image`` or that of
its numbers), a ``shape`` (height, width, channels; or the length of a vector) and ``names``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.lerobot.depth import described
from consumers.mp4 import check_size
from streamer.errors import ConfigError, names_differ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.contract import Frame, StreamInfo

DTYPES = ("float32", "float64", "int32", "int64", "uint8")
LENGTHS = "length."  # in front of a key: no policy takes it for what it sees or does
TASK = "task"  # a column of texts in rows that are not in a data file yet: what the robot does in each frame
IMAGE_NAMES = ("height", "width", "channels")
COUNTED = {  # what every dataset has: how a frame is counted
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: its key in the dataset, and the streams that it is made of.

    ``dtype`` is ``video`` (8 bits), ``image`` (PNG, 8 or 16 bits) or that of a vector's numbers: ``float32`` unless
    another is wanted, ``int64`` for the lengths of vectors that vary. ``capacities`` are those of the streams whose
    length varies, by their names. ``info`` is what LeRobot knows of a picture besides. ``copied`` is a stream of
    packets that are written as they were recorded.
    """

    key: str
    streams: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    capacities: Mapping[str, int] = field(default_factory=dict, hash=False)
    info: Mapping[str, Any] = field(default_factory=dict, hash=False)
    copied: StreamInfo | None = field(default=None, hash=False)

    def value(self, frame: Frame) -> NDArray[Any]:
        """Take the feature's value out of a frame: a view of a picture, or a vector of its own.

        Raises:
            ConfigError: the frame has no sample of one of the streams.

        """
        for stream in self.streams:
            if frame[stream] is None:
                raise no_sample(stream, self.key, f"frame {frame.number} has no sample")
        values = [np.asarray(frame[stream]) for stream in self.streams]
        if self.key.startswith(LENGTHS):
            return np.array([len(value) for value in values])
        if not self.is_vector:
            return values[0]
        return np.concatenate([self._filled(*pair) for pair in zip(self.streams, values, strict=True)])

    def _filled(self, stream: str, value: NDArray[Any]) -> NDArray[Any]:
        """Return a vector in the feature's type; one whose length varies filled up with zeros."""
        missing = self.capacities.get(stream, len(value)) - len(value)
        return np.pad(value.astype(self.dtype), (0, missing)) if missing else value.astype(self.dtype)

    @property
    def is_vector(self) -> bool:
        """Tell whether its values are numbers side by side."""
        return self.dtype not in ("video", "image")

    def as_json(self) -> dict[str, Any]:
        """Return the feature as ``info.json`` has it."""
        info = {"info": dict(self.info)} if self.info else {}
        return {"dtype": self.dtype, "shape": list(self.shape), "names": list(self.names) or None, **info}


def plain_names(feature: Mapping[str, Any]) -> list[str] | None:
    """Return the names that ``info.json`` has of a feature's elements, None where it has none.

    LeRobot's own datasets have them in groups, too: ``{"motors": [...]}``.
    """
    names = feature.get("names")
    if isinstance(names, dict):
        return [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    return None if names is None else [str(name) for name in names]


def plain_shape(feature: Mapping[str, Any]) -> tuple[int, ...]:
    """Return a feature's shape; that of a picture as height, width and channels, whichever order it is said in."""
    shape, names = tuple(feature["shape"]), feature.get("names") or ()
    first = feature["dtype"] in ("image", "video") and len(shape) == 3 and str(next(iter(names), "")).startswith("chan")
    return (*shape[1:], shape[0]) if first else shape


def no_sample(stream: str, feature: str, what: str) -> ConfigError:
    """Say that a feature has no value in a frame."""
    msg = f"{what}, and {feature!r} of a LeRobot dataset cannot be without"
    return ConfigError(msg, key=f"streams.{stream}", hint="use 'missing: hold' or 'missing: skip'")


def make_features(
    wanted: Mapping[str, Sequence[str]],
    names: Mapping[str, Sequence[str]],
    streams: Mapping[str, StreamInfo],
    *,
    codec: str | None,
    dtypes: Mapping[str, str] | None = None,
    depth_video: bool = False,
) -> tuple[Feature, ...]:
    """Find out what each feature looks like; ``names`` and ``dtypes`` are those given for a vector's elements.

    ``codec`` is that of videos, None where pictures are kept as PNG; with ``depth_video``, depth is a video, too. Where
    the length of a stream varies, ``length.<key>`` says how many of its numbers are meant.

    Raises:
        ConfigError: a stream does not exist or does not fit.

    """
    features = [
        _typed(
            _make(key, found, names.get(key), streams, codec=codec, depth_video=depth_video),
            (dtypes or {}).get(key),
            streams,
        )
        for key, found in wanted.items()
    ]
    lengths = []
    for feature in features:
        if varying := tuple(feature.capacities):
            key = f"{LENGTHS}{feature.key}"
            if key in wanted:
                msg = f"features.{key}: this key is taken by the lengths of {feature.key}, which vary"
                raise ConfigError(msg)
            lengths.append(Feature(key, varying, "int64", (len(varying),), varying))
    return (*features, *lengths)


def _typed(feature: Feature, dtype: str | None, streams: Mapping[str, StreamInfo]) -> Feature:
    """Give a vector the type that is wanted, where that can hold its numbers."""
    if dtype is None:
        return feature
    if not feature.is_vector:
        msg = f"dtype.{feature.key}: it is a picture, and only numbers side by side have a type to choose"
        raise ConfigError(msg)
    for name in feature.streams:
        if not np.can_cast(streams[name].dtype, dtype, "same_kind"):
            msg = f"dtype.{feature.key}: {name!r} is {streams[name].dtype}, which {dtype} cannot hold"
            raise ConfigError(msg, key=f"streams.{name}")
    return replace(feature, dtype=dtype)


def _make(
    key: str,
    wanted: Sequence[str],
    names: Sequence[str] | None,
    streams: Mapping[str, StreamInfo],
    *,
    codec: str | None,
    depth_video: bool,
) -> Feature:
    missing = [name for name in wanted if name not in streams]
    if missing:
        msg = f"features.{key}: there is no stream {missing[0]!r}; this consumer is shown: {', '.join(streams)}"
        raise ConfigError(msg)
    kinds = {streams[name].kind for name in wanted}
    if kinds == {"vector"}:
        found = tuple(names or _own_names([streams[name] for name in wanted]))
        count = sum(streams[name].shape[0] for name in wanted)
        if len(found) != count:
            msg = f"names.{key}: there are {len(found)} names for {count} numbers"
            raise ConfigError(msg)
        capacities = {name: streams[name].shape[0] for name in wanted if streams[name].variable}
        return Feature(key, tuple(wanted), "float32", (len(found),), found, capacities)
    if len(wanted) > 1:
        msg = f"features.{key}: only vectors can be put together, and these are {', '.join(sorted(kinds))}"
        raise ConfigError(msg)
    return _picture(key, streams[wanted[0]], codec=codec, depth_video=depth_video)


def _own_names(streams: Sequence[StreamInfo]) -> list[str]:
    """Name the elements of vectors that are put together: the stream's name stands in front where one is there twice.

    Elements without a name are the stream's, with a number.
    """
    counts = Counter(chain.from_iterable(stream.names for stream in streams))
    found = []
    for stream in streams:
        own = [name if counts[name] == 1 else f"{stream.name}.{name}" for name in stream.names]
        found += own + [f"{stream.name}_{n}" for n in range(len(own), stream.shape[0])]
    return found


def _picture(key: str, stream: StreamInfo, *, codec: str | None, depth_video: bool) -> Feature:
    size = stream.shape[:2]
    if stream.kind == "packets":
        return Feature(key, (stream.name,), "video", (*stream.picture[:2], 3), IMAGE_NAMES, copied=stream)
    if stream.kind == "image" and stream.dtype == np.uint8:
        if codec is not None:
            check_size(stream.name, stream.shape, codec)
        return Feature(key, (stream.name,), "image" if codec is None else "video", (*size, 3), IMAGE_NAMES)
    if stream.kind in ("image", "depth") and stream.dtype == np.uint16 and len(stream.shape) == 2:
        if "image" in key:
            msg = (
                f"features.{key}: LeRobot takes every key with 'image' in it for three channels of 8 bits, and "
                f"{stream.name!r} has one of 16: call it observation.depth.{stream.name}"
            )
            raise ConfigError(msg)
        unit = "m" if stream.unit == "m" else "mm"
        if stream.kind == "depth" and depth_video:
            return Feature(key, (stream.name,), "video", (*size, 1), IMAGE_NAMES, info=described(unit))
        about = {"is_depth_map": True, "depth_unit": unit} if stream.kind == "depth" else {}
        return Feature(key, (stream.name,), "image", (*size, 1), IMAGE_NAMES, info=about)
    msg = (
        f"features.{key}: {stream.name!r} is {stream.kind} of {stream.dtype} {stream.shape}; a LeRobot dataset takes "
        "vectors, 8-bit images and 16-bit depth"
    )
    raise ConfigError(msg)


def check_elements(root: Path, there: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> None:
    """Say which elements of a vector differ from a dataset's, where that has names for them.

    Raises:
        ConfigError: they differ.

    """
    for key in there.keys() & new.keys():
        if new[key]["dtype"] in ("image", "video") or there[key]["dtype"] != new[key]["dtype"]:
            continue
        names, first = plain_names(new[key]), plain_names(there[key])
        if names and first and names != first:
            msg = (
                f"the dataset {root} has other elements: {names_differ(names, first)}; choose them by name with "
                "'elements' of the stream, or name them with the option 'names'"
            )
            raise ConfigError(msg, key=f"features.{key}")


def features_differ(there: Mapping[str, dict[str, Any]], new: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Say in which features, and in what of each, a dataset and the episodes to add to it differ; nothing else."""
    for words, some, others in (("it has", there, new), ("it has no", new, there)):
        if missing := [key for key in some if key not in others]:
            yield f"{words} {', '.join(missing)}"
    for key in (key for key in there if key in new):
        for what in dict.fromkeys([*there[key], *new[key]]):
            before, now = there[key].get(what), new[key].get(what)
            if before != now:
                yield f"{key} has {what} {before}, and {now} here"
