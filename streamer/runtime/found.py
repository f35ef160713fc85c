"""Settings and a recording → each stream's topic, decoder and messages, before anything is planned."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.decode import IMAGE_TYPES, make_decoder
from streamer.decode.vector import VectorDecoder
from streamer.decode.video import FOXGLOVE, PROTOBUF, taken_at
from streamer.errors import ConfigError, RecordingError, nearest_name
from streamer.records import Index
from streamer.runtime.headers import header_stamps
from streamer.runtime.names import Said, belonging, read_names
from streamer.runtime.poses import PoseDecoder, find_chain
from streamer.runtime.video import find_video
from streamer.source.latched import is_latched
from streamer.source.payload import sorted_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rosbags.interfaces.typing import Typesdict

    from streamer.decode import Decoder
    from streamer.records import StreamSettings, Topic
    from streamer.runtime.poses import Chain
    from streamer.runtime.video import Video
    from streamer.source.source import Source
    from streamer.source.types import Types


class Found(NamedTuple):
    """What streams are made of, by name, before anything is planned.

    ``own`` are the indexes by receipt; ``said`` is what all messages of a topic say, where that was asked for.
    """

    topics: dict[str, Topic]
    decoders: dict[str, Decoder]
    chains: dict[str, Chain]
    videos: dict[str, Video]
    own: dict[str, Index]
    said: dict[str, Said]
    indexes: dict[str, Index]
    images: list[str]
    warnings: list[str]
    opened: float  # when they were found, on the monotonic clock


def find_streams(source: Source, types: Types, streams: Sequence[StreamSettings]) -> tuple[list[StreamSettings], Found]:
    """Find each stream's topic, decoder and messages, and settle how it is aligned."""
    topics = {settings.name: _choose_topic(settings, source) for settings in streams}
    fields = {name: types.fields(topic) for name, topic in topics.items()}
    decoders = {s.name: _make_decoder(s, topics[s.name], fields[s.name]) for s in streams}
    streams = [_aligned(settings, decoders[settings.name], topics[settings.name]) for settings in streams]
    _check_align(streams, decoders)
    chains = {s.name: find_chain(source, types, s) for s in streams if s.tf is not None}
    by_receipt = source.index({topic.name for topic in topics.values()})
    warnings: list[str] = []
    own = {s.name: by_receipt[topics[s.name].name] for s in streams}
    said = _leave_those_that_carry(streams, own, source, decoders, warnings)
    videos = _find_videos(source, streams, topics, own)
    own |= {name: video.index for name, video in videos.items()}
    warnings += [f"{name}: {video.doubt}" for name, video in videos.items() if video.doubt]
    decoders |= {name: video.decoder for name, video in videos.items()}
    indexes = {
        s.name: chains[s.name].index
        if s.name in chains
        else _on_clock(s, topics[s.name], own[s.name], source, fields[s.name])
        for s in streams
    }
    images = [s.name for s in streams if topics[s.name].msgtype in IMAGE_TYPES and s.decoding.field is None]
    return streams, Found(topics, decoders, chains, videos, own, said, indexes, images, warnings, time.monotonic())


def _choose_topic(settings: StreamSettings, source: Source) -> Topic:
    for name in settings.topics:
        if name in source.topics:
            return source.topics[name]
    hint = nearest_name(settings.topics[0], source.topics)
    wanted = " or ".join(map(repr, settings.topics))
    topics = ", ".join(sorted(source.topics))
    msg = f"{source.path.name} has no {wanted}{hint or '.'} It has: {topics}"
    raise ConfigError(msg, key=f"streams.{settings.name}.topic")


def _make_decoder(settings: StreamSettings, topic: Topic, types: Typesdict) -> Decoder:
    if settings.tf is not None:
        return PoseDecoder()
    try:
        return make_decoder(topic, types, settings.decoding)
    except ConfigError as error:
        placed = error.under("streams", settings.name)
        raise placed from error


def _find_videos(
    source: Source, streams: Sequence[StreamSettings], topics: Mapping[str, Topic], indexes: Mapping[str, Index]
) -> dict[str, Video]:
    """Find the streams whose messages hold the packets of a video."""
    found = {}
    for settings in streams:
        name = settings.name
        try:
            video = find_video(source, topics[name], indexes[name], settings.decoding) if settings.tf is None else None
        except ConfigError as error:
            placed = error.under("streams", name)
            raise placed from error
        except RecordingError as error:
            raise error.within(stream=name) from error
        if video is not None:
            found[name] = video
    return found


def _aligned(settings: StreamSettings, decoder: Decoder, topic: Topic) -> StreamSettings:
    """Settle how a stream is aligned that does not say it: a text holds until the next, never before it was said."""
    usual = "previous" if decoder.kind == "text" else "nearest"
    settled = settings.alignment.settled(usual)
    latched = is_latched(topic) and settled.missing == "hold" and settings.tf is None
    return replace(settings, alignment=replace(settled, latched=latched))


def _check_align(streams: Sequence[StreamSettings], decoders: Mapping[str, Decoder]) -> None:
    for settings in streams:
        align = settings.alignment.align
        if settings.tf is not None and align != "mean":
            continue
        if align in ("linear", "mean") and not isinstance(decoders[settings.name], VectorDecoder):
            msg = f"{align!r} is for vectors; use 'nearest' or 'previous' here"
            raise ConfigError(msg, key=f"streams.{settings.name}.align")


def _leave_those_that_carry(
    streams: Sequence[StreamSettings],
    own: dict[str, Index],
    source: Source,
    decoders: Mapping[str, Decoder],
    warnings: list[str],
) -> dict[str, Said]:
    """Leave streams of chosen elements the messages that carry them; return what all messages of their topics say."""
    asked = [
        (settings, own[settings.name], decoder.elements)
        for settings in streams
        if isinstance(decoder := decoders[settings.name], VectorDecoder) and settings.decoding.elements is not None
    ]
    said = {}
    every = read_names(source, [(index, elements) for _, index, elements in asked])
    for (settings, index, elements), kinds in zip(asked, every, strict=True):
        said[settings.name] = Said(index, kinds)
        own[settings.name], warned = belonging(index, settings, elements, kinds)
        warnings += warned
    return said


def _on_clock(settings: StreamSettings, topic: Topic, index: Index, source: Source, types: Typesdict) -> Index:
    """Return a stream's index on the clock that it asks for."""
    if settings.clock == "receive":
        return _shifted(index, settings.shift)
    first = types[topic.msgtype][1][:1] if types else ()
    if topic.msgtype not in (FOXGLOVE, PROTOBUF) and (not first or first[0][1][1] != "std_msgs/msg/Header"):
        msg = f"{topic.msgtype} has no header, so no header stamp; use 'receive'"
        raise ConfigError(msg, key=f"streams.{settings.name}.clock")
    if topic.msgtype == PROTOBUF:
        every = range(len(index.stamps))
        stamps = np.array([taken_at(source.payload(index, number)) for number in every], np.int64)
    else:
        stamps = header_stamps(source, index, topic.encoding, seq=topic.msgtype != FOXGLOVE)
    if len(stamps) and not stamps.any():
        msg = f"all header stamps of {topic.name} are 0; use 'receive'"
        raise ConfigError(msg, key=f"streams.{settings.name}.clock")
    return _shifted(sorted_index(stamps, index.block, index.offset), settings.shift)


def _shifted(index: Index, shift: int) -> Index:
    return Index(index.stamps + shift, index.block, index.offset) if shift else index
