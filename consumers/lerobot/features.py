"""Options × a recording's streams → the features of a dataset: key, kind, shape, names.

The format is that of ``lerobot/datasets/utils.py`` (0.4.4): a feature has a ``dtype`` (``video``, ``image`` or that of
its numbers), a ``shape`` (height, width, channels; or the length of a vector) and ``names``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.mp4 import check_size
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.contract import Frame, StreamInfo

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

    ``dtype`` is ``video`` (8 bits), ``image`` (PNG, 8 or 16 bits) or ``float32`` (a vector).
    """

    key: str
    streams: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    def value(self, frame: Frame) -> NDArray[Any]:
        """Take the feature's value out of a frame: a view of a picture, or a float32 vector of its own.

        Raises:
            ConfigError: the frame has no sample of one of the streams.

        """
        for stream in self.streams:
            if frame[stream] is None:
                raise no_sample(stream, self.key, f"frame {frame.number} has no sample")
        values = [np.asarray(frame[stream]) for stream in self.streams]
        return np.concatenate(values).astype(np.float32) if self.dtype == "float32" else values[0]

    def as_json(self) -> dict[str, Any]:
        """Return the feature as ``info.json`` has it."""
        return {"dtype": self.dtype, "shape": list(self.shape), "names": list(self.names)}


def no_sample(stream: str, feature: str, what: str) -> ConfigError:
    """Say that a feature has no value in a frame."""
    msg = f"{what}, and {feature!r} of a LeRobot dataset cannot be without"
    return ConfigError(msg, key=f"streams.{stream}", hint="use 'missing: hold' or 'missing: skip'")


def make_features(
    wanted: Mapping[str, Sequence[str]],
    names: Mapping[str, Sequence[str]],
    streams: Mapping[str, StreamInfo],
    *,
    video: bool,
) -> tuple[Feature, ...]:
    """Find out what each feature looks like; ``names`` are those that were given for a vector's elements.

    Raises:
        ConfigError: a stream does not exist or does not fit.

    """
    return tuple(_make(key, found, names.get(key), streams, video=video) for key, found in wanted.items())


def _make(
    key: str, wanted: Sequence[str], names: Sequence[str] | None, streams: Mapping[str, StreamInfo], *, video: bool
) -> Feature:
    missing = [name for name in wanted if name not in streams]
    if missing:
        msg = f"features.{key}: there is no stream {missing[0]!r}; this consumer is shown: {', '.join(streams)}"
        raise ConfigError(msg)
    kinds = {streams[name].kind for name in wanted}
    if kinds == {"vector"}:
        own = [[f"{name}_{n}" for n in range(streams[name].shape[0])] for name in wanted]
        found = tuple(names or chain.from_iterable(own))
        if len(found) != sum(map(len, own)):
            msg = f"names.{key}: there are {len(found)} names for {sum(map(len, own))} numbers"
            raise ConfigError(msg)
        return Feature(key, tuple(wanted), "float32", (len(found),), found)
    if len(wanted) > 1:
        msg = f"features.{key}: only vectors can be put together, and these are {', '.join(sorted(kinds))}"
        raise ConfigError(msg)
    return _picture(key, streams[wanted[0]], video=video)


def _picture(key: str, stream: StreamInfo, *, video: bool) -> Feature:
    size = stream.shape[:2]
    if stream.kind == "image" and stream.dtype == np.uint8:
        if video:
            check_size(stream.name, stream.shape)
        return Feature(key, (stream.name,), "video" if video else "image", (*size, 3), IMAGE_NAMES)
    if stream.kind in ("image", "depth") and stream.dtype == np.uint16 and len(stream.shape) == 2:
        if "image" in key:
            msg = (
                f"features.{key}: LeRobot takes every key with 'image' in it for three channels of 8 bits, and "
                f"{stream.name!r} has one of 16: call it observation.depth.{stream.name}"
            )
            raise ConfigError(msg)
        return Feature(key, (stream.name,), "image", (*size, 1), IMAGE_NAMES)
    msg = (
        f"features.{key}: {stream.name!r} is {stream.kind} of {stream.dtype} {stream.shape}; a LeRobot dataset takes "
        "vectors, 8-bit images and 16-bit depth"
    )
    raise ConfigError(msg)
