"""A recording's transforms and two frames' names → a stream of poses, computed at planning for every tick.

Transforms are small and one pose may need several of them, from before and after a tick and from messages that name
other links as well: so all are read once, and what the loader puts into a slot is a row of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec
from streamer.tf import NAMES, Tree, parse, track

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.records import Index, Payload, StreamSettings, Topic, Track
    from streamer.source.source import Source
    from streamer.tf import Link, Transform

TF_TYPES = frozenset({"tf2_msgs/msg/TFMessage", "tf/msg/tfMessage"})


@dataclass(frozen=True, slots=True)
class Chain:
    """The links between two frames; ``stamps`` (n,) int64 are those of its moving links, from where all are known."""

    links: tuple[list[Link], list[Link]]
    align: str
    stamps: NDArray[np.int64]

    def __call__(self, instants: NDArray[np.int64]) -> Track:
        """Return the pose at each instant."""
        return track(self.links, instants, self.align)


def find_chain(source: Source, settings: StreamSettings, parent: str, child: str) -> Chain:
    """Read all transforms of a recording and find the way from one frame to the other.

    Raises:
        ConfigError: none of the topics is there, or one is of another type.
        RecordingError: a message is damaged, or the frames are not connected.

    """
    if settings.alignment.align == "mean":
        msg = "'mean' is not for transforms; use 'linear', 'nearest' or 'previous'"
        raise ConfigError(msg, key=f"streams.{settings.name}.align")
    links = Tree(_transforms(source, settings)).chain(parent, child)
    moving = [link.stamps for side in links for link in side if not link.static]
    stamps = np.unique(np.concatenate(moving)) if moving else np.empty(0, np.int64)
    if moving:
        low, high = max(int(s[0]) for s in moving), min(int(s[-1]) for s in moving)
        stamps = stamps[(stamps >= low) & (stamps <= high)]
    return Chain(links, settings.alignment.align, stamps)


def _transforms(source: Source, settings: StreamSettings) -> Iterator[tuple[int, bool, Transform]]:
    present = [source.topics[name] for name in settings.topics if name in source.topics]
    if not present:
        msg = f"{source.path.name} has no {' and no '.join(map(repr, settings.topics))}"
        raise ConfigError(msg, key=f"streams.{settings.name}.topic")
    for topic in present:
        if topic.msgtype not in TF_TYPES:
            msg = f"{topic.name} holds {topic.msgtype}, not transforms (tf2_msgs/msg/TFMessage)"
            raise ConfigError(msg, key=f"streams.{settings.name}.topic")
    indexes = source.index([topic.name for topic in present])
    for topic in present:
        yield from _of_topic(source, settings, topic, indexes[topic.name])


def _of_topic(
    source: Source, settings: StreamSettings, topic: Topic, index: Index
) -> Iterator[tuple[int, bool, Transform]]:
    static = topic.name.endswith("tf_static")
    for number, received in enumerate(index.stamps.tolist()):
        try:
            found = parse(source.payload(index, number).all(), cdr=topic.encoding == "cdr")
        except DecodeError as error:
            raise error.within(stream=settings.name, message=number) from error
        for transform in found:
            stamp = transform.stamp if settings.clock == "header" else received
            yield stamp + settings.shift, static, transform


class PoseDecoder:
    """Copies the row of a table: the pose was computed at planning."""

    kind = "vector"

    def probe(self, payload: Payload) -> Spec:
        """Return the shape of every pose: seven numbers."""
        return Spec((len(payload) // 8,), "<f8", names=NAMES)

    def rows(self, payload: Payload) -> int:
        """Return how many numbers a pose has."""
        return len(payload) // 8

    def decode(self, payload: Payload, out: NDArray[np.float64]) -> int:
        """Write a pose."""
        out[:] = np.frombuffer(payload.all(), np.float64)
        return len(out)


class Rows:
    """A table as a source: message ``number`` is the row of that number."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = np.ascontiguousarray(values)

    def payload(self, index: Index, number: int) -> Payload:  # noqa: ARG002 - a source is asked so
        """Return a row's bytes."""
        return _Row(self._values[number].data.cast("B"))


class _Row:
    def __init__(self, data: memoryview) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def head(self) -> memoryview:
        return self._data

    def all(self) -> memoryview:
        return self._data

    def into(self, start: int, out: memoryview) -> None:
        out[:] = self._data[start : start + len(out)]


def tables(chains: dict[str, Chain], instants: dict[str, NDArray[np.int64]]) -> dict[str, Rows]:
    """Return the poses of each stream at its instants."""
    return {name: Rows(chain(instants[name]).values) for name, chain in chains.items()}


__all__: Sequence[str] = ["TF_TYPES", "Chain", "PoseDecoder", "Rows", "find_chain", "tables"]
