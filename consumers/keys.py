"""Keys of a data set × a recording's streams → what lies under each key, for training code that reads plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.contract import Frame, Outlook, StreamInfo

_AXES, _PLACES, _TURNS = list("xyzxyzw"), ("position", "translation"), ("orientation", "rotation")  # of a pose


class Key(NamedTuple):
    """One array of a data set: its key, the streams that it is made of, and what one frame of it looks like.

    ``shape`` is (height, width[, 3]) of a picture, (n,) of a vector; ``names`` are those of a vector's elements, with
    the stream's name in front where several streams are put together.
    """

    key: str
    streams: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    names: tuple[str, ...]

    def value(self, frame: Frame) -> NDArray[Any]:
        """Return what a frame has: a view of one stream's sample, or vectors side by side.

        Raises:
            ConfigError: one of the streams has no sample.

        """
        values = [self._sample(stream, frame) for stream in self.streams]
        return values[0] if len(values) == 1 else np.concatenate(values)

    def _sample(self, stream: str, frame: Frame) -> NDArray[Any]:
        value: NDArray[Any] | None = frame[stream]
        if value is None:
            raise _no_sample(self, stream, f"frame {frame.number} has no sample")
        return value


def make_keys(wanted: Mapping[str, str | Sequence[str]], streams: Mapping[str, StreamInfo]) -> list[Key]:
    """Find out what lies under each key.

    Raises:
        ConfigError: a stream does not exist, or cannot be an array of one size.

    """
    return [_make(key, (found,) if isinstance(found, str) else tuple(found), streams) for key, found in wanted.items()]


def _make(key: str, wanted: tuple[str, ...], streams: Mapping[str, StreamInfo]) -> Key:
    missing = [name for name in wanted if name not in streams]
    if missing or not wanted:
        what = f"there is no stream {missing[0]!r}" if missing else "no stream is named"
        msg = f"{what}; this consumer is shown: {', '.join(streams)}"
        raise ConfigError(msg, key=f"features.{key}")
    found = [streams[name] for name in wanted]
    for stream in found:
        if stream.variable or stream.dtype.names:
            msg = f"{stream.name!r} has another length in every frame, and {key!r} is an array of one size"
            raise ConfigError(msg, key=f"features.{key}", hint="a map can give it one: voxel, sample or pad")
    if len(found) == 1:
        return Key(key, wanted, found[0].shape, found[0].dtype, found[0].names)
    if {stream.kind for stream in found} != {"vector"}:
        msg = f"only vectors can be put together, and these are {', '.join(sorted({s.kind for s in found}))}"
        raise ConfigError(msg, key=f"features.{key}")
    names = [f"{s.name}.{n}" for s in found for n in (s.names or range(s.shape[0]))]
    dtype = np.result_type(*(stream.dtype for stream in found))
    return Key(key, wanted, (sum(stream.shape[0] for stream in found),), dtype, tuple(names))


def check_samples(keys: Sequence[Key], outlook: Outlook) -> None:
    """Make sure, before a run, that every frame has a sample of all streams.

    Raises:
        ConfigError: one has not.

    """
    for key in keys:
        for stream in key.streams:
            if count := outlook.without.get(stream):
                frames = outlook.recording.frames
                raise _no_sample(key, stream, f"{count} of {frames} frames have no sample")


def _no_sample(key: Key, stream: str, what: str) -> ConfigError:
    msg = f"{what}, and {key.key!r} cannot be without"
    return ConfigError(msg, key=f"streams.{stream}", hint="use 'missing: hold' or 'missing: skip'")


def none_of(what: str, streams: Mapping[str, StreamInfo]) -> ConfigError:
    """Return the error of a consumer that needs a stream of a kind where there is none."""
    return ConfigError(f"there is no stream of {what}; this consumer is shown: {', '.join(streams) or 'nothing'}")


def is_pose(stream: StreamInfo) -> bool:
    """Tell whether a vector is a position x, y, z and a quaternion x, y, z, w, by the names of its elements."""
    tails = [name.split(".")[-2:] for name in stream.names]
    groups = [tail[0] for tail in tails]
    axes = [tail[-1] for tail in tails] == _AXES
    return axes and all(g in _PLACES for g in groups[:3]) and all(g in _TURNS for g in groups[3:])
