"""A recording's transforms and two frames' names → a stream of poses, computed at planning for every tick.

Transforms are small and one pose may need several of them, from before and after a tick and from messages that name
other links as well: so all are read once, and what the loader puts into a slot is a row of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.plan import sample_instants
from streamer.records import Index, Spec
from streamer.resets import in_file_order, restarts
from streamer.tf import NAMES, Tree, parse, track

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from streamer.records import Alignment, Payload, StreamSettings, Topic, Track
    from streamer.source.source import Source
    from streamer.source.types import Types
    from streamer.tf import Link, Transform

TF_TYPES = frozenset({"tf2_msgs/msg/TFMessage", "tf/msg/tfMessage"})
_STAMPED = ["header", "child_frame_id", "transform"]  # the fields of geometry_msgs/TransformStamped


class Payloads(Protocol):
    """Where the messages of a stream are: the recording, or a table of what was computed."""

    def payload(self, index: Index, number: int) -> Payload:
        """Return one message."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The links between two frames; ``stamps`` (n,) int64 are those of its moving links, from where all are known."""

    links: tuple[list[Link], list[Link]]
    align: str
    stamps: NDArray[np.int64]

    def __call__(self, instants: NDArray[np.int64]) -> Track:
        """Return the pose at each instant."""
        return track(self.links, instants, self.align)

    @property
    def index(self) -> Index:
        """The stamps as an index, for timelines: no message lies behind them."""
        return Index(self.stamps, np.zeros(len(self.stamps), np.int32), np.zeros(len(self.stamps), np.int64))

    def rows(self, ticks: NDArray[np.int64], how: Alignment) -> Rows:
        """Return the pose that each tick's sample shows, as the table of which the plan names the rows."""
        instants, _ = sample_instants(ticks, self.stamps, how)
        return Rows(self(instants).values)


def find_chain(source: Source, types: Types, settings: StreamSettings) -> Chain:
    """Read all transforms of a recording and find the way between the stream's two frames.

    Raises:
        ConfigError: none of the topics is there, or one is of another type.
        RecordingError: a message is damaged, or the frames are not connected.

    """
    if settings.tf is None:
        msg = f"{settings.name} is no stream of transforms"
        raise ValueError(msg)
    tree = Tree(_transforms(source, types, settings))
    try:
        links = tree.chain(*(name.lstrip("/") for name in settings.tf))  # as those in messages
    except RecordingError as error:
        raise error.within(stream=settings.name) from error
    moving = [link.stamps for side in links for link in side if not link.static]
    stamps = np.unique(np.concatenate(moving)) if moving else np.empty(0, np.int64)
    if moving:
        low, high = max(int(s[0]) for s in moving), min(int(s[-1]) for s in moving)
        stamps = stamps[(stamps >= low) & (stamps <= high)]
    return Chain(links, settings.alignment.align, stamps)


def _transforms(source: Source, types: Types, settings: StreamSettings) -> Iterator[tuple[int, bool, Transform]]:
    present = [source.topics[name] for name in settings.topics if name in source.topics]
    for topic in present:
        stamped = types.fields(topic).get("geometry_msgs/msg/TransformStamped")
        if topic.msgtype not in TF_TYPES or stamped is None or [name for name, _ in stamped[1]] != _STAMPED:
            msg = f"{topic.name} holds {topic.msgtype}, not transforms (tf2_msgs/msg/TFMessage)"
            raise ConfigError(msg, key=f"streams.{settings.name}.topic")
    indexes = source.index([topic.name for topic in present])
    for topic in present:
        yield from _of_topic(source, settings, topic, indexes[topic.name])


def _of_topic(
    source: Source, settings: StreamSettings, topic: Topic, index: Index
) -> Iterator[tuple[int, bool, Transform]]:
    order = in_file_order(index)
    if len(restarts(index.stamps if order is None else index.stamps[order])):
        msg = f"the receive stamps of {topic.name} jump: transforms of several passes would be mixed"
        raise RecordingError(msg, stream=settings.name)
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

    def verify(self, payload: Payload) -> Spec:
        """Return the shape of every pose."""
        return self.probe(payload)

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
