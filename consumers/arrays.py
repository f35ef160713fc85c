"""A recording's streams → the arrays that a Zarr group has of them, and a frame's place in each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from consumers.keys import Key
    from streamer.contract import Frame, Sample, StreamInfo

_NO_TIME = np.iinfo(np.int64).min  # what numpy and xarray take for no instant (NaT)
_NO_SAMPLE = 128
_DIMENSIONS = {
    "image": ("y", "x", "channel"),
    "depth": ("y", "x"),
    "vector": ("element",),
    "points": ("point",),
    "text": ("byte",),
}
# CF conventions 1.11, 4.4: xarray makes datetime64[ns] of it, without a loss
_TIME = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian", "standard_name": "time"}
_FLAGS = {"flag_masks": [1, 2, 4, _NO_SAMPLE], "flag_meanings": "held interpolated gap no_sample"}  # CF 3.5


class Array(NamedTuple):
    """One array: what a frame has in it, the names of all its dimensions, and what stands where nothing is."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    dimensions: tuple[str, ...]
    fill: Any
    about: dict[str, Any]


class Layout(ABC):
    """How a group is divided: names of arrays with ``/`` between those of the groups that they lie in."""

    zarr_format: ClassVar[int]

    @abstractmethod
    def arrays(self) -> dict[str, Array]:
        """Return what every array looks like."""

    @abstractmethod
    def groups(self) -> dict[str, dict[str, Any]]:
        """Return the attributes of groups, by their names."""

    @abstractmethod
    def values(self, frame: Frame) -> Iterator[tuple[str, NDArray[Any]]]:
        """Give, for every array, a copy of what the frame has in it."""


class ByStream(Layout):
    """A group for each stream, with values, stamps and flags: nothing of a frame is lost."""

    zarr_format = 3

    def __init__(self, streams: Mapping[str, StreamInfo]) -> None:
        """Make the arrays of these streams."""
        self._streams = streams
        self._arrays = self.arrays()

    def arrays(self) -> dict[str, Array]:
        """Return what every array looks like."""
        int64 = np.dtype(np.int64)
        found = {
            "tick": Array(int64, (), ("tick",), _NO_TIME, _TIME),
            "tick_number": Array(int64, (), ("tick",), 0, {"unit": "ticks from the timeline's first"}),
        }
        for name, stream in self._streams.items():
            found |= dict(_value_arrays(stream))
            if stream.variable:
                about = {"unit": "rows of 'value' that are meant"}
                found[f"{name}/length"] = Array(np.dtype(np.int32), (), ("tick",), 0, about)
            found[f"{name}/stamp"] = Array(int64, (), ("tick",), _NO_TIME, _TIME)
            found[f"{name}/offset"] = Array(int64, (), ("tick",), 0, {"unit": "ns, stamp - tick"})
            found[f"{name}/flags"] = Array(np.dtype(np.uint8), (), ("tick",), _NO_SAMPLE, _FLAGS)
            if stream.averaged:
                about = {"unit": "messages that were averaged"}
                found[f"{name}/count"] = Array(np.dtype(np.int32), (), ("tick",), 0, about)
            found[f"{name}/valid"] = Array(np.dtype(np.bool_), (), ("tick",), False, {"unit": "is there a sample"})
        return found

    def groups(self) -> dict[str, dict[str, Any]]:
        """Return what each stream is."""
        keys = ("topic", "msgtype", "kind", "clock", "unit")
        return {
            name: {key: getattr(stream, key) for key in keys} | {"names": list(stream.names)}
            for name, stream in self._streams.items()
        }

    def values(self, frame: Frame) -> Iterator[tuple[str, NDArray[Any]]]:
        """Give values, stamps and flags."""
        yield "tick", np.array(frame.tick)
        yield "tick_number", np.array(frame.tick_number)
        for name, stream in self._streams.items():
            sample = _in_bytes(frame.samples[name])
            yield from self._values_of(stream, sample)
            if stream.variable:
                yield f"{name}/length", np.array(0 if sample is None else len(sample.value), np.int32)
            yield f"{name}/stamp", np.array(_NO_TIME if sample is None else sample.stamp)
            yield f"{name}/offset", np.array(0 if sample is None else sample.offset)
            yield f"{name}/flags", np.array(_flags(sample), np.uint8)
            if stream.averaged:
                yield f"{name}/count", np.array(0 if sample is None else sample.count, np.int32)
            yield f"{name}/valid", np.array(sample is not None)

    def _values_of(self, stream: StreamInfo, sample: Sample | None) -> Iterator[tuple[str, NDArray[Any]]]:
        """Give a sample, or each field of its points, filled up where it is shorter than others."""
        for field in stream.dtype.names or ("",):
            name = f"{stream.name}/value/{field}" if field else f"{stream.name}/value"
            array = self._arrays[name]
            values = np.full(array.shape, array.fill, array.dtype)
            if sample is not None:
                shown = sample.value[field] if field else sample.value
                values[: len(shown)] = shown
            yield name, values


def _value_arrays(stream: StreamInfo) -> Iterator[tuple[str, Array]]:
    dimensions = ("tick", *_DIMENSIONS[stream.kind])
    about = {"unit": stream.unit or "as in the messages"}
    if stream.unit:
        about["units"] = stream.unit  # as the CF conventions call it: xarray writes it beside an axis
    for field in stream.dtype.names or ("",):
        kind = stream.dtype[field] if field else np.dtype(np.uint8) if stream.kind == "text" else stream.dtype
        shape = (*stream.shape, *kind.shape)
        fill = np.nan if kind.base.kind == "f" else kind.base.type(0)
        names = (*dimensions, *(f"part_{n}" for n in range(len(kind.shape))))[: len(shape) + 1]
        yield f"{stream.name}/value{field and '/'}{field}", Array(kind.base, shape, names, fill, about)


def _in_bytes(sample: Sample | None) -> Sample | None:
    """Return a text as its bytes in UTF-8, anything else as it is."""
    if sample is None or not isinstance(sample.value, str):
        return sample
    return sample._replace(value=np.array(bytearray(sample.value.encode()), np.uint8))


def _flags(sample: Sample | None) -> int:
    if sample is None:
        return _NO_SAMPLE
    return sample.held | sample.interpolated << 1 | sample.gap << 2


class ReplayBuffer(Layout):
    """The layout of Diffusion Policy: ``data/<key>``, beside ``meta/episode_ends``.

    See ``diffusion_policy/common/replay_buffer.py``; its authors use Zarr 2, which reads format 2 alone.
    """

    zarr_format = 2

    def __init__(self, keys: Sequence[Key]) -> None:
        """Make an array for each key."""
        self._keys = keys

    def arrays(self) -> dict[str, Array]:
        """Return what every key looks like."""
        found = {}
        for key in self._keys:
            dimensions = ("time", *(f"{key.key}_{n}" for n in range(len(key.shape))))
            about = {"names": list(key.names), "streams": list(key.streams), "_ARRAY_DIMENSIONS": list(dimensions)}
            found[f"data/{key.key}"] = Array(key.dtype, key.shape, dimensions, key.dtype.type(0), about)
        return found

    def groups(self) -> dict[str, dict[str, Any]]:
        """Return the two groups, which have no attributes."""
        return {"data": {}, "meta": {}}

    def values(self, frame: Frame) -> Iterator[tuple[str, NDArray[Any]]]:
        """Give what lies under each key; a frame without one of them is an error."""
        for key in self._keys:
            yield f"data/{key.key}", key.value(frame).copy()
