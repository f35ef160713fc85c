"""A plan, and consumers that want the messages themselves → streams that show each frame's messages as they are.

A frame's messages are those that its samples are made of (``chosen``), each once; or all that were received since the
tick before (``all``), so that together they are those from the first tick to the last. Streams of one topic share its
messages: the first that a consumer is shown has them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.copied import CopyDecoder
from streamer.errors import ConfigError
from streamer.records import MESSAGE_COUNT, MESSAGE_HEAD, Channel, Index, Spec, StreamPlan
from streamer.runtime.passthrough import show
from streamer.runtime.plugin import packets_wanted
from streamer.source.payload import MemoryPayload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.records import Payload, Topic
    from streamer.runtime.passthrough import Taker
    from streamer.runtime.prepare import Prepared, Stream
    from streamer.source.source import Source


class _Chosen(NamedTuple):
    """Messages of one topic: ``numbers`` in its index; frame f's are ``edges[f]`` to ``edges[f + 1]``."""

    places: Index
    numbers: NDArray[np.int64]
    edges: NDArray[np.int64]


def give_messages(prepared: Prepared, takers: Sequence[Taker]) -> Prepared:
    """Show messages in place of samples to each consumer that wants them.

    Raises:
        ConfigError: a stream has none that could be written again.

    """
    made: dict[tuple[str, str], Stream] = {}
    known: dict[tuple[Any, ...], Stream] = {}  # consumers that want the same share it
    for one in takers:
        wishes = packets_wanted(one.use, one.options, one.streams)
        wanted = {name: wish.messages for name, wish in wishes.items() if wish.messages and name in one.streams}
        streams = [prepared.streams[place] for place in sorted(prepared.place("", name) for name in wanted)]
        if not streams or not prepared.plan.frames:
            continue
        which = next(iter(wanted.values()))
        _check(prepared, one, streams, which)
        for stream, topics in _shares(streams):
            name = stream.settings.name
            key = (name, which, topics, tuple(wanted))
            if key not in known:
                known[key] = _messages_of(prepared, stream, topics, streams, everything=which == "all")
            made[one.name, name] = known[key]
    return show(prepared, takers, made)


def _check(prepared: Prepared, one: Taker, streams: Sequence[Stream], which: str) -> None:
    """Refuse what cannot be written again.

    Raises:
        ConfigError: a stream or the consumer's settings are against it.

    """
    key, whole = f"consumers.{one.name}.options.messages", which == "all"
    if whole and (one.every != 1 or one.latest):
        msg = f"'messages: all' needs every frame, and 'every' or 'mode: latest' leaves some of {one.name}'s out"
        raise ConfigError(msg, key=key, hint="leave them out, or say 'messages: chosen'")
    if whole and len(prepared.passes) > 1 and not prepared.episodes:
        msg = "the recording's clock was set, and messages have no order then"
        raise ConfigError(msg, key=key, hint="say 'messages: chosen', or choose one pass with source.resets")
    for stream in streams:
        name = stream.settings.name
        if stream.compute is not None:
            msg = f"{name!r} is computed from many messages (tf), which are not written again"
            raise ConfigError(msg, key=f"streams.{name}", hint=f"leave it out of 'consumers.{one.name}.streams'")
        for part in stream.parts or (stream,):
            if part.topic.channels:
                msg = f"{part.topic.name} has messages of several kinds ({part.topic.msgtype}), not one to declare"
                raise ConfigError(msg, key=f"streams.{name}")


def _shares(streams: Sequence[Stream]) -> Iterator[tuple[Stream, tuple[str, ...]]]:
    """Say of each stream which topics' messages it shows: those that no stream before it has."""
    seen: set[str] = set()
    for stream in streams:
        topics = dict.fromkeys(part.topic.name for part in stream.parts or (stream,))
        yield stream, tuple(topic for topic in topics if topic not in seen)
        seen.update(topics)


def _messages_of(
    prepared: Prepared, stream: Stream, topics: Sequence[str], streams: Sequence[Stream], *, everything: bool
) -> Stream:
    """Return a stream of the messages of some topics in place of the samples."""
    frames, indexes = prepared.plan.frames, prepared.source.index(topics)
    parts = [part for one in streams for part in one.parts or (one,)]
    chosen = []
    for topic in topics:
        used = [part for part in parts if part.topic.name == topic]
        chosen.append(_received(prepared, indexes[topic]) if everything else _used(prepared, indexes[topic], used))
    by_name: dict[str, Topic] = {part.topic.name: part.topic for part in parts}
    table = MessageTable(prepared.source, chosen)
    spec = Spec((table.largest(frames),), "|u1", variable=True)
    numbers = np.arange(frames, dtype=np.int32)
    ticks, zeros = prepared.plan.ticks, np.zeros(frames, np.int64)
    plan = StreamPlan(stream.settings.name, numbers, numbers, np.zeros(0), ticks, zeros, np.zeros(frames, np.uint8))
    return replace(
        stream,
        # of no message of the index: frames are not told apart by where their first message lies
        index=Index(ticks, np.zeros(frames, np.int32), np.arange(frames, dtype=np.int64)),
        decoder=CopyDecoder("messages", spec),
        plan=plan,
        spec=spec,
        raw=spec,
        repeats=np.zeros(frames, bool),
        unfit={},
        source=table,
        chain=None,
        parts=(),
        reduced=None,
        turns=(),
        channels=tuple(_channel(by_name[topic]) for topic in topics),
    )


def _channel(topic: Topic) -> Channel:
    text = (topic.name, topic.msgtype, topic.encoding, topic.definition, topic.definition_format)
    return Channel(*text, metadata=dict(topic.metadata))


def _starts(prepared: Prepared) -> NDArray[np.bool_]:
    """Return which frames begin a recording or an episode."""
    begins = np.zeros(prepared.plan.frames, bool)
    begins[[episode.first for episode in prepared.episodes if episode.frames] or [0]] = True
    return begins


def _received(prepared: Prepared, index: Index) -> _Chosen:
    """Choose what was received after the tick before a frame, up to its own."""
    ticks, begins = prepared.plan.ticks, _starts(prepared)
    last = np.searchsorted(index.stamps, ticks, "right")
    first = np.where(begins, np.searchsorted(index.stamps, ticks, "left"), np.concatenate([[0], last[:-1]]))
    counts = last - first
    numbers = np.concatenate([np.arange(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True)])
    return _Chosen(index, numbers.astype(np.int64), np.concatenate([[0], np.cumsum(counts)]))


def _used(prepared: Prepared, index: Index, streams: Sequence[Stream]) -> _Chosen:
    """Choose the messages that the samples of streams of a topic are made of, each in the first frame that shows it."""
    found: dict[int, set[int]] = {}
    for stream in streams:
        own = _numbers_in(index, stream.index)
        averaged = stream.settings.alignment.align == "mean"
        pairs = zip(stream.plan.first.tolist(), stream.plan.second.tolist(), strict=True)
        for frame, (first, second) in enumerate(pairs):
            if first >= 0:
                used = range(first, second + 1) if averaged else range(first, second + 1, max(second - first, 1))
                found.setdefault(frame, set()).update(own[n] for n in used)
    begins, seen = _starts(prepared), set[int]()
    numbers, edges = list[int](), [0]
    for frame in range(prepared.plan.frames):
        if begins[frame]:
            seen.clear()
        new = found.get(frame, set()) - seen
        seen |= new
        numbers += sorted(new)
        edges.append(len(numbers))
    return _Chosen(index, np.array(numbers, np.int64), np.array(edges, np.int64))


def _numbers_in(index: Index, other: Index) -> Sequence[int]:
    """Return the numbers in an index of the messages of another, which has them in the order of another clock."""
    if other is index or (np.array_equal(other.offset, index.offset) and np.array_equal(other.block, index.block)):
        return range(len(index.stamps))
    places = zip(index.block.tolist(), index.offset.tolist(), strict=True)
    by_place: Mapping[tuple[int, int], int] = {place: number for number, place in enumerate(places)}
    return [by_place[place] for place in zip(other.block.tolist(), other.offset.tolist(), strict=True)]


class MessageTable:
    """The messages of each frame, in the order of their stamps, as a source: message n is that of frame n.

    The format is that of `streamer.contract.Sample.messages`.
    """

    def __init__(self, source: Source, chosen: Sequence[_Chosen]) -> None:
        self._source = source
        self._chosen = chosen

    def _of(self, frame: int) -> list[tuple[int, int, Index, int]]:
        """Return stamp, channel, index and number of a frame's messages."""
        found = [
            (int(index.stamps[number]), channel, index, number)
            for channel, (index, numbers, edges) in enumerate(self._chosen)
            for number in numbers[edges[frame] : edges[frame + 1]].tolist()
        ]
        return sorted(found, key=lambda one: one[:2])

    def largest(self, frames: int) -> int:
        """Return how many bytes the largest frame has.

        Raises:
            RecordingError: a message is damaged.

        """
        sizes = np.zeros(frames, np.int64)
        for index, numbers, edges in self._chosen:
            lengths = [MESSAGE_HEAD.size + len(self._source.payload(index, n)) for n in numbers.tolist()]
            total = np.concatenate([[0], np.cumsum(np.array(lengths, np.int64))])
            sizes += total[edges[1:]] - total[edges[:-1]]
        return MESSAGE_COUNT.size + int(sizes.max(initial=0))

    def payload(self, index: Index, number: int) -> Payload:  # noqa: ARG002 - a source is asked so
        """Return a frame's messages.

        Raises:
            RecordingError: one is damaged.

        """
        found = [(stamp, channel, self._source.payload(of, place)) for stamp, channel, of, place in self._of(number)]
        made = memoryview(bytearray(MESSAGE_COUNT.size + sum(MESSAGE_HEAD.size + len(one) for *_, one in found)))
        MESSAGE_COUNT.pack_into(made, 0, len(found))
        at = MESSAGE_COUNT.size
        for stamp, channel, payload in found:
            MESSAGE_HEAD.pack_into(made, at, stamp, channel, len(payload))
            at += MESSAGE_HEAD.size
            payload.into(0, made[at : at + len(payload)])
            at += len(payload)
        return MemoryPayload(made)
