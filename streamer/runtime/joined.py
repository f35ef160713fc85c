"""The vectors of several topics, each aligned by itself → one stream that holds them one behind the other.

A stream with parts is planned as its parts are; what it shows of a frame is made of their samples in that frame.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.decode.copied import CopyDecoder
from streamer.errors import ConfigError, RecordingError
from streamer.layout import make_layout
from streamer.records import Index, Plan, Spec, StreamPlan, Topic
from streamer.runtime.judging import judged
from streamer.runtime.loader import check_fit, decode_sample
from streamer.runtime.mapping import make_chain, turns_of_parts
from streamer.runtime.prepare import Episodes, Prepared, Stream, prepare
from streamer.runtime.turns import unwrapped
from streamer.source.payload import MemoryPayload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamer.records import Payload, StreamSettings, TimelineSettings
    from streamer.runtime.judging import Judging
    from streamer.source.source import Source
    from streamer.source.types import Types


class Parts:
    """The parts of a stream as a source: message ``number`` is what they are in that frame."""

    def __init__(self, parts: Sequence[Stream], spec: Spec) -> None:
        self._parts = parts
        self._spec = spec

    def payload(self, index: Index, number: int) -> Payload:  # noqa: ARG002 - a source is asked so
        """Return the numbers of all parts in a frame.

        Raises:
            RecordingError: a message of one of them cannot be taken.

        """
        whole = np.empty(self._spec.shape, np.dtype(self._spec.dtype))
        at = 0
        for part in self._parts:
            values = np.empty(part.raw.shape, np.dtype(part.raw.dtype))
            try:
                check_fit(part, number)
                decode_sample(part, number, values)
            except RecordingError as error:
                raise error.within(stream=part.settings.name, message=int(part.plan.first[number])) from error
            whole[at : at + len(values)] = values
            at += len(values)
        return MemoryPayload(whole.data.cast("B"))


def prepare_all(
    source: Source,
    types: Types,
    timeline: TimelineSettings,
    streams: Sequence[StreamSettings],
    ticks: NDArray[np.int64] | None = None,
    episodes: Episodes | None = None,
    judging: Judging | None = None,
) -> Prepared:
    """Decide everything about a run as `prepare` does, also of streams that are put together or whose maps unwrap.

    The episodes are judged, too.

    Raises:
        As `prepare` and `judged` do. ConfigError: a part is no vector of one length.

    """
    if any(settings.parts for settings in streams):
        followed, parts = _expand(timeline, streams)
        found = _join_all(prepare(source, types, followed, parts, ticks, episodes), streams, types)
    else:
        found = prepare(source, types, timeline, streams, ticks, episodes)
    found = unwrapped(found)
    if judging is None:
        return judged(found, None)
    planned = time.monotonic()
    found = judged(found, judging)
    seconds = {**found.seconds, "plan": found.seconds["plan"] + time.monotonic() - planned}
    return replace(found, seconds=seconds)


def _expand(
    timeline: TimelineSettings, streams: Sequence[StreamSettings]
) -> tuple[TimelineSettings, list[StreamSettings]]:
    """Put the parts of streams in their place; a timeline that follows such a stream follows its first part."""
    first = {s.name: s.parts[0].name for s in streams if s.parts}
    parts = [part for s in streams for part in (s.parts or (s,))]
    return replace(timeline, source=first.get(timeline.source, timeline.source)), parts


def _join_all(prepared: Prepared, streams: Sequence[StreamSettings], types: Types) -> Prepared:
    ready = iter(prepared.streams)
    found = []
    for settings in streams:
        parts = tuple(next(ready) for _ in settings.parts or (settings,))
        found.append(_join(settings, parts, prepared, types) if settings.parts else parts[0])
    old = prepared.plan
    plan = Plan(old.ticks, old.numbers, old.planned, old.skipped, tuple(stream.plan for stream in found))
    layout = make_layout({stream.settings.name: stream.spec for stream in found})
    return replace(prepared, streams=tuple(found), plan=plan, layout=layout)


def _join(settings: StreamSettings, parts: tuple[Stream, ...], prepared: Prepared, types: Types) -> Stream:
    for part in parts:
        if part.kind != "vector" or part.raw.variable:
            what = "another length in every message" if part.kind == "vector" else f"no vector, but of kind {part.kind}"
            msg = f"only vectors of one length can be put together, {part.topic.name} is {what}"
            raise ConfigError(msg, key=f"streams.{part.settings.name}")
    raw = _spec(parts)
    chain = make_chain(settings, raw, prepared.source, types)
    aligned = [(part.raw.shape[0], "" if part.compute else part.settings.alignment.align) for part in parts]
    turning = turns_of_parts(chain, settings.name, aligned)
    parts = tuple(replace(part, rotations=turns) for part, turns in zip(parts, turning, strict=True))
    plan = _plan(settings.name, [part.plan for part in parts])
    stamps = np.sort(np.concatenate([part.index.stamps for part in parts]))
    nothing = np.broadcast_to(np.int64(0), len(stamps))
    return replace(
        parts[0],
        topic=_topic(parts),
        settings=replace(settings, alignment=replace(settings.alignment, align="nearest")),  # of frames, now
        index=Index(stamps, nothing.astype(np.int32), nothing),
        decoder=CopyDecoder("vector", raw),
        plan=plan,
        spec=raw if chain is None else chain.spec,
        repeats=np.all([part.repeats for part in parts], axis=0),
        unfit={},
        source=Parts(parts, raw),
        raw=raw,
        chain=chain,
        parts=parts,
    )


def _topic(parts: Sequence[Stream]) -> Topic:
    """Name all topics, each once, and their types."""
    topics = list({part.topic.name: part.topic for part in parts}.values())
    types = dict.fromkeys(topic.msgtype for topic in topics)
    names = ", ".join(topic.name for topic in topics)
    return Topic(names, ", ".join(types), sum(topic.count for topic in topics))


def _spec(parts: Sequence[Stream]) -> Spec:
    """Say what the parts make together; names that several of them have get the topic in front."""
    specs = [part.raw for part in parts]
    length = sum(spec.shape[0] for spec in specs)
    if not all(spec.shape[0] for spec in specs):  # a part without a message
        return Spec((0,), "<f8")
    often = Counter(name for spec in specs for name in spec.names)
    names = tuple(f"{part.topic.name}.{name}" if often[name] > 1 else name for part in parts for name in part.raw.names)
    dtype = np.result_type(*(np.dtype(spec.dtype) for spec in specs)).str
    whole = len(names) == length and len(set(names)) == length
    return Spec((length,), dtype, names=names if whole else ())


def _plan(name: str, parts: Sequence[StreamPlan]) -> StreamPlan:
    """Say what the parts are in each frame: there where all are, as far off as the furthest, flagged as any."""
    frames = len(parts[0].first)
    there = np.all([part.first >= 0 for part in parts], axis=0)
    furthest = np.argmax(np.abs([part.offset for part in parts]), axis=0)
    rows = np.arange(frames)
    stamp, offset = (np.array([getattr(part, key) for part in parts])[furthest, rows] for key in ("stamp", "offset"))
    flags = np.bitwise_or.reduce([part.flags for part in parts], axis=0)
    first = np.where(there, rows, -1).astype(np.int32)
    weight = np.broadcast_to(np.float64(0.0), frames)
    return StreamPlan(name, first, first, weight, stamp, np.where(there, offset, 0), flags.astype(np.uint8))
