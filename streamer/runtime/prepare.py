"""Settings and a recording → everything that is decided before the first payload is streamed.

This is where stages are joined: source → index → timeline → plan → decoders → layout.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.decode.vector import VectorDecoder
from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.layout import make_layout
from streamer.records import Index, Spec
from streamer.runtime.cutting import Material, cut, warnings
from streamer.runtime.episodes import schedule_episodes
from streamer.runtime.found import find_streams
from streamer.runtime.mapping import make_chain, reduction, turns_of
from streamer.runtime.names import UNDECODABLE, fit, planned_part, read_names
from streamer.runtime.schedule import schedule
from streamer.runtime.video import share_pictures
from streamer.stamps import own_period
from streamer.transform.base import ANGLES, usual_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.decode import Decoder
    from streamer.decode.interpolate import Turn
    from streamer.episodes import Cut
    from streamer.layout import Layout
    from streamer.plan import Compute
    from streamer.quality import Verdict
    from streamer.records import (
        Channel,
        Episode,
        EpisodeSettings,
        Plan,
        StreamPlan,
        StreamSettings,
        TimelineSettings,
        Topic,
    )
    from streamer.runtime.found import Found
    from streamer.runtime.names import Fit
    from streamer.runtime.poses import Payloads
    from streamer.runtime.schedule import EpisodePlan, Pass, Schedule
    from streamer.source.source import Source
    from streamer.source.types import Types
    from streamer.transform import Chain

_PIECE = 1 << 16  # frames that are looked at at once


class Packets(NamedTuple):
    """What the packets of a video are: their codec, and the shape of a picture."""

    codec: str
    picture: tuple[int, ...]


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
    packets: Packets | None = None  # of what it is shown where that is not pictures
    quaternions: tuple[int, ...] = ()  # at which of a vector's numbers they begin
    rotations: tuple[Turn, ...] = ()  # which of its numbers are rotations that a map reads in other forms
    turns: Sequence[Sequence[NDArray[np.float64]]] = ()  # of a map that unwraps, for each frame its angles
    channels: tuple[Channel, ...] = ()  # of the messages that it is shown as they are

    @property
    def kind(self) -> str:
        """What its samples are: image, depth, vector, points or text."""
        if self.chain is None:
            return self.decoder.kind
        if isinstance(self.spec.dtype, dict):
            return "points"
        flat = len(self.spec.shape) == 1
        return "vector" if flat else "image" if self.decoder.kind == "vector" else self.decoder.kind

    def chain_of(self, frame: int) -> Chain | None:
        """Return the steps of one frame's sample: how often an angle has gone round may depend on the frame."""
        return self.chain.around(self.turns[frame]) if self.chain is not None and self.turns else self.chain

    @property
    def averaged(self) -> bool:
        """Tell whether a sample is the mean of its tick's messages."""
        return self.settings.alignment.align == "mean"

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
    verdicts: tuple[Verdict, ...] = ()  # on episodes, where there are limits or one has no frame
    packets: Mapping[tuple[str, str], int] = field(default_factory=dict)  # consumer, stream → which one it is shown

    def place(self, consumer: str, stream: str) -> int:
        """Return which of the streams a consumer is shown by this name."""
        names = [one.settings.name for one in self.streams]
        return self.packets.get((consumer, stream), names.index(stream))

    @property
    def read(self) -> tuple[Stream, ...]:
        """The streams that messages are read for: of one that is put together, its parts."""
        return tuple(part for stream in self.streams for part in (stream.parts or (stream,)))


class Episodes(NamedTuple):
    """How a recording is cut, the name by which tables know it, and which ``share`` of its episodes is planned."""

    settings: EpisodeSettings
    name: str
    share: tuple[int, int] | None = None

    def mine(self, found: Sequence[Episode]) -> Sequence[Episode]:
        """Return the share (index, count): episodes in a row, as many as in the others, or one more or less."""
        index, count = self.share or (0, 1)
        return found[index * len(found) // count : (index + 1) * len(found) // count]


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
    streams, found = find_streams(source, types, streams)
    timed, division = _schedule(source, types, timeline, streams, found, ticks, episodes)
    plan = timed.plan
    ready = _make_streams(source, types, streams, found, timed)
    rate = float(Fraction(*timeline.rate)) if timeline.rate else _pace(timed.ticks)
    seconds = {"open": found.opened - source.began, "plan": time.monotonic() - found.opened}
    told = (*found.warnings, *timed.warnings, *_warnings(source, types, plan))
    layout = make_layout({stream.settings.name: stream.spec for stream in ready})
    return Prepared(
        source, timed.ticks, plan, ready, layout, rate, seconds, told, timed.passes, timed.episodes, division
    )


def _schedule(
    source: Source,
    types: Types,
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    found: Found,
    ticks: NDArray[np.int64] | None,
    episodes: Episodes | None,
) -> tuple[Schedule, Cut | None]:
    """Plan the frames, of each episode by itself where the recording is cut."""
    if episodes is None:
        timed = schedule(source, timeline, streams, found.images, found.own, found.indexes, ticks, found.chains)
        return timed, None
    by_receipt = found.own | {name: found.indexes[name] for name in found.chains}
    material = Material(
        source, types, episodes.name, found.decoders, by_receipt, found.chains, timeline.source, found.images
    )
    division = cut(material, episodes.settings)
    parts = episodes.mine(division.episodes)
    timed = schedule_episodes(source, parts, timeline, streams, found.images, found.own, found.indexes, found.chains)
    said = warnings(division, material.bounds()[0])
    if division.episodes and not parts:
        said = (*said, "none of its episodes is in this part of the run")
    return replace(timed, warnings=(*timed.warnings, *said)), division


def _make_streams(
    source: Source, types: Types, streams: Sequence[StreamSettings], found: Found, timed: Schedule
) -> tuple[Stream, ...]:
    """Put together what loads each stream's samples."""
    plan, used = timed.plan, timed.indexes
    decoders, chains, topics = found.decoders, found.chains, found.topics
    fits = _fits(source, streams, timed, found)
    sources: dict[str, Payloads] = dict.fromkeys(found.own, source)
    sources |= {s.name: chains[s.name].rows(timed.ticks, s.alignment) for s in streams if s.name in chains}
    sources |= share_pictures({n: (topics[n].name, video, used[n]) for n, video in found.videos.items()})
    raw = {s.name: _spec(s, sources[s.name], used[s.name], p, decoders[s.name], fits) for s, p in _zip(streams, plan)}
    maps = {s.name: make_chain(s, raw[s.name], source, types) for s in streams}
    return tuple(
        Stream(
            *(s, topics[s.name], used[s.name], decoders[s.name], p),
            raw[s.name] if (steps := maps[s.name]) is None else steps.spec,
            _repeats(p),
            unfit=fits[s.name].unfit if s.name in fits else {},
            source=sources[s.name],
            compute=chains.get(s.name),
            raw=raw[s.name],
            chain=steps,
            reduced=reduction(steps, decoders[s.name]),
            quaternions=decoder.quaternions if isinstance(decoder := decoders[s.name], VectorDecoder) else (),
            rotations=turns_of(steps, s, decoder),
        )
        for s, p in _zip(streams, plan)
    )


def _zip(streams: Sequence[StreamSettings], plan: Plan) -> list[tuple[StreamSettings, StreamPlan]]:
    return list(zip(streams, plan.streams, strict=True))


def _fits(source: Source, streams: Sequence[StreamSettings], timed: Schedule, found: Found) -> dict[str, Fit]:
    """Look at every planned message of the streams whose names or length can differ; others are left out."""
    asked = [
        (number, settings, decoder.elements, *planned_part(timed.indexes[settings.name], timed.plan, number, settings))
        for number, settings in enumerate(streams)
        if isinstance(decoder := found.decoders[settings.name], VectorDecoder) and decoder.elements.varies
    ]
    known = {
        settings.name: kinds
        for _, settings, _, _, part in asked
        if settings.name in found.said and (kinds := found.said[settings.name].by(part)) is not None
    }
    rest = [(settings.name, part, elements) for _, settings, elements, _, part in asked if settings.name not in known]
    read = read_names(source, [(part, elements) for _, part, elements in rest])
    known |= {name: kinds for (name, _, _), kinds in zip(rest, read, strict=True)}
    return {
        settings.name: fit(planned, timed.plan, number, settings, elements, known[settings.name])
        for number, settings, elements, planned, _ in asked
    }


def _spec(
    settings: StreamSettings,
    source: Payloads,
    index: Index,
    plan: StreamPlan,
    decoder: Decoder,
    fits: Mapping[str, Fit],
) -> Spec:
    """Find out what a stream's arrays look like."""
    found, planned = fits.get(settings.name), planned_messages(plan, averaged=settings.alignment.align == "mean")
    if found is None:
        spec = _probe(settings, source, index, planned, decoder)
    else:
        spec = _probe(settings, source, index, (n for n in planned if n not in found.unfit), decoder)
        spec = replace(spec, names=found.names)
    return replace(spec, unit=_unit(settings, spec, decoder))


def _unit(settings: StreamSettings, spec: Spec, decoder: Decoder) -> str:
    """Say what a stream's numbers count, where that is known."""
    if decoder.kind == "depth":
        return usual_unit(np.dtype(spec.dtype))
    return next((unit for factor, unit in ANGLES.values() if settings.decoding.scale == factor), spec.unit)


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
