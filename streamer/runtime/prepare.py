"""Settings and a recording → everything that is decided before the first payload is streamed.

This is where stages are joined: source → index → timeline → plan → decoders → layout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.decode import IMAGE_TYPES, make_decoder
from streamer.decode.vector import VectorDecoder
from streamer.decode.video import FOXGLOVE, PROTOBUF, taken_at
from streamer.errors import ConfigError, DecodeError, RecordingError, nearest_name
from streamer.layout import make_layout
from streamer.records import Index, Spec
from streamer.runtime.cutting import Material, cut
from streamer.runtime.episodes import schedule_episodes
from streamer.runtime.headers import header_stamps
from streamer.runtime.mapping import make_chain, reduction
from streamer.runtime.names import UNDECODABLE, belonging, fit
from streamer.runtime.poses import PoseDecoder, find_chain
from streamer.runtime.schedule import schedule
from streamer.runtime.video import find_video, share_pictures
from streamer.source.payload import sorted_index
from streamer.stamps import own_period

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.decode import Decoder
    from streamer.episodes import Cut
    from streamer.plan import Compute
    from streamer.records import EpisodeSettings, Layout, Plan, StreamPlan, StreamSettings, TimelineSettings, Topic
    from streamer.runtime.names import Fit
    from streamer.runtime.poses import Payloads
    from streamer.runtime.schedule import EpisodePlan, Pass
    from streamer.runtime.video import Video
    from streamer.source.source import Source
    from streamer.source.types import Types
    from streamer.transform import Chain

_PIECE = 1 << 16  # frames that are looked at at once


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream, ready to be read."""

    settings: StreamSettings
    topic: Topic
    index: Index
    decoder: Decoder
    plan: StreamPlan
    spec: Spec
    repeats: NDArray[np.bool_]  # for each frame: shows just the message that the frame before shows
    unfit: Mapping[int, str]  # planned messages that cannot be taken, and why
    source: Payloads  # where its messages are: the recording, or a table of what was computed
    raw: Spec  # what the decoder makes
    compute: Compute | None = None  # what made that table
    chain: Chain | None = None  # the steps from ``raw`` to ``spec``
    parts: tuple[Stream, ...] = ()  # of which it is put together
    reduced: tuple[int, Chain] | None = None  # at one of how many parts JPEGs may be decoded for them

    @property
    def kind(self) -> str:
        """What its samples are: image, depth, vector, points or text."""
        flat = len(self.spec.shape) == 1 and not isinstance(self.spec.dtype, dict)
        return "vector" if self.chain is not None and flat else self.decoder.kind

    @property
    def names_matter(self) -> bool:
        """Tell whether names that stand in the messages say which element is which."""
        return isinstance(self.decoder, VectorDecoder) and self.decoder.elements.by_list and bool(self.spec.names)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the loader needs; ``ticks`` are all of the timeline; ``seconds`` say how long opening and planning took.

    ``passes`` are more than one where the recording's clock was set, or it is cut into ``episodes``, and each part is
    planned by itself.
    """

    source: Source
    ticks: NDArray[np.int64]
    plan: Plan
    streams: tuple[Stream, ...]
    layout: Layout
    rate: float | None
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]
    passes: tuple[Pass, ...]
    episodes: tuple[EpisodePlan, ...] = ()
    cut: Cut | None = None  # how they were found

    @property
    def read(self) -> tuple[Stream, ...]:
        """The streams that messages are read for: of one that is put together, its parts."""
        return tuple(part for stream in self.streams for part in (stream.parts or (stream,)))


class Episodes(NamedTuple):
    """How a recording is cut, and the name by which tables know it."""

    settings: EpisodeSettings
    name: str


def prepare(
    source: Source,
    types: Types,
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    ticks: NDArray[np.int64] | None = None,
    episodes: Episodes | None = None,
) -> Prepared:
    """Decide everything about a run; ``ticks`` (n,) int64 stand for the timeline's where they are given.

    ``episodes`` say how the recording is cut.

    Raises:
        ConfigError: a topic, field or setting does not fit the recording.
        RecordingError: the recording does not hold what is asked of it.

    """
    topics = {settings.name: _choose_topic(settings, source) for settings in streams}
    fields = {name: types.fields(topic) for name, topic in topics.items()}
    decoders = {s.name: _make_decoder(s, topics[s.name], fields[s.name]) for s in streams}
    streams = [_aligned(settings, decoders[settings.name]) for settings in streams]
    _check_align(streams, decoders)
    chains = {s.name: find_chain(source, types, s) for s in streams if s.tf is not None}
    by_receipt = source.index({topic.name for topic in topics.values()})
    warnings: list[str] = []
    own = {s.name: _own(s, by_receipt[topics[s.name].name], source, decoders[s.name], warnings) for s in streams}
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
    opened = time.monotonic()
    images = [s.name for s in streams if topics[s.name].msgtype in IMAGE_TYPES and s.decoding.field is None]
    division = None
    if episodes is None:
        timed = schedule(source, timeline, streams, images, own, indexes, ticks, chains)
    else:
        by_receipt = own | {n: indexes[n] for n in chains}
        division = cut(
            Material(source, types, episodes.name, decoders, by_receipt, chains, timeline.source, images),
            episodes.settings,
        )
        timed = schedule_episodes(source, division.episodes, timeline, streams, images, own, indexes, chains)
    plan, used = timed.plan, timed.indexes
    fits = {s.name: _fit(s, source, used[s.name], plan, n, decoders[s.name]) for n, s in enumerate(streams)}
    sources: dict[str, Payloads] = dict.fromkeys(own, source)
    sources |= {s.name: chains[s.name].rows(timed.ticks, s.alignment) for s in streams if s.name in chains}
    sources |= share_pictures({name: (topics[name].name, video, used[name]) for name, video in videos.items()})
    raw = {s.name: _spec(s, sources[s.name], used[s.name], p, decoders[s.name], fits) for s, p in _zip(streams, plan)}
    maps = {s.name: make_chain(s, raw[s.name], source, types) for s in streams}
    specs = {name: raw[name] if steps is None else steps.spec for name, steps in maps.items()}
    ready = tuple(
        Stream(
            *(s, topics[s.name], used[s.name], decoders[s.name], p, specs[s.name], _repeats(p)),
            unfit=found.unfit if (found := fits[s.name]) is not None else {},
            source=sources[s.name],
            compute=chains.get(s.name),
            raw=raw[s.name],
            chain=maps[s.name],
            reduced=reduction(maps[s.name], decoders[s.name]),
        )
        for s, p in _zip(streams, plan)
    )
    rate = float(Fraction(*timeline.rate)) if timeline.rate else _pace(timed.ticks)
    seconds = {"open": opened - source.began, "plan": time.monotonic() - opened}
    told = (*warnings, *timed.warnings, *_warnings(source, types, plan))
    return Prepared(
        source,
        timed.ticks,
        plan,
        ready,
        make_layout(specs),
        rate,
        seconds,
        told,
        timed.passes,
        timed.episodes,
        division,
    )


def _zip(streams: Sequence[StreamSettings], plan: Plan) -> list[tuple[StreamSettings, StreamPlan]]:
    return list(zip(streams, plan.streams, strict=True))


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


def _aligned(settings: StreamSettings, decoder: Decoder) -> StreamSettings:
    """Settle how a stream is aligned that does not say it: a text holds until the next, never before it was said."""
    usual = "previous" if decoder.kind == "text" else "nearest"
    return replace(settings, alignment=settings.alignment.settled(usual))


def _check_align(streams: Sequence[StreamSettings], decoders: Mapping[str, Decoder]) -> None:
    for settings in streams:
        align = settings.alignment.align
        if settings.tf is not None and align != "mean":
            continue
        if align in ("linear", "mean") and not isinstance(decoders[settings.name], VectorDecoder):
            msg = f"{align!r} is for vectors; use 'nearest' or 'previous' here"
            raise ConfigError(msg, key=f"streams.{settings.name}.align")


def _own(settings: StreamSettings, index: Index, source: Source, decoder: Decoder, warnings: list[str]) -> Index:
    """Return the messages that belong to a stream: all of its topic, or those that carry its elements."""
    if not isinstance(decoder, VectorDecoder) or settings.decoding.elements is None:
        return index
    found, warned = belonging(source, index, settings, decoder.elements)
    warnings += warned
    return found


def _fit(
    settings: StreamSettings, source: Source, index: Index, plan: Plan, number: int, decoder: Decoder
) -> Fit | None:
    """Look at every planned message of a stream whose names or length can differ; None where they cannot."""
    if not isinstance(decoder, VectorDecoder) or not decoder.elements.varies:
        return None
    return fit(source, index, plan, number, settings, decoder.elements)


def _spec(
    settings: StreamSettings,
    source: Payloads,
    index: Index,
    plan: StreamPlan,
    decoder: Decoder,
    fits: Mapping[str, Fit | None],
) -> Spec:
    """Find out what a stream's arrays look like."""
    found, planned = fits[settings.name], planned_messages(plan, averaged=settings.alignment.align == "mean")
    if found is None:
        return _probe(settings, source, index, planned, decoder)
    spec = _probe(settings, source, index, (n for n in planned if n not in found.unfit), decoder)
    return replace(spec, names=found.names)


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


def _probe(settings: StreamSettings, source: Payloads, index: Index, planned: Iterator[int], decoder: Decoder) -> Spec:
    """Find out what a stream's arrays look like from the first of some messages that decodes."""
    spec = None
    for number in planned:
        try:
            spec = decoder.probe(source.payload(index, number))
            break
        except RecordingError as error:
            if settings.undecodable == "error":
                raise error.within(stream=settings.name, message=number, hint=UNDECODABLE) from error
        except ConfigError as error:
            placed = error.under("streams", settings.name)
            raise placed from error
    if spec is None:
        return Spec((0,), "<f8")
    if not spec.variable or settings.decoding.capacity is not None:
        return spec
    rows = spec.shape[0]
    for number in planned:
        try:
            rows = max(rows, decoder.rows(source.payload(index, number)))
        except DecodeError:  # counted where the frame is loaded
            continue
    return replace(spec, shape=(max(rows, 1), *spec.shape[1:]))


def planned_messages(plan: StreamPlan, *, averaged: bool) -> Iterator[int]:
    """Yield the messages that a stream's samples are made of, each once, in order."""
    last = -1
    for start in range(0, len(plan.first), _PIECE):
        piece = slice(start, start + _PIECE)
        used = np.concatenate([plan.first[piece], plan.second[piece]])
        if averaged:
            pairs = zip(plan.first[piece].tolist(), plan.second[piece].tolist(), strict=True)
            used = np.concatenate([np.arange(first, second + 1) for first, second in pairs])
        for number in np.sort(used).tolist():
            if number > last:
                yield (last := number)


def _repeats(plan: StreamPlan) -> NDArray[np.bool_]:
    single = (plan.first == plan.second) & (plan.first >= 0)
    same = np.zeros(len(single), bool)
    same[1:] = single[1:] & single[:-1] & (plan.first[1:] == plan.first[:-1])
    return same


def _pace(ticks: NDArray[np.int64]) -> float | None:
    period = own_period(ticks)
    return 1e9 / period if period else None


def _warnings(source: Source, types: Types, plan: Plan) -> tuple[str, ...]:
    found = [f"salvaged {damage}" for damage in source.damage]
    found += [f"{topic}: {warning} (set 'types:' to choose)" for topic, warning in types.warnings.items()]
    if plan.frames == 0:
        found.append("the plan has no frame: the streams do not overlap, or 'crop' and 'skip' leave nothing")
    return tuple(found)
