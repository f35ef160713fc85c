"""What was prepared → what the supervisor and the consumers are told of it, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.contract import Recording, StreamInfo
from streamer.layout import Place
from streamer.quality import FLAGGED, KEPT, Verdict
from streamer.records import Channel, Flag, Spec
from streamer.runtime.messages import Alignment, EpisodeTold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.records import StreamPlan
    from streamer.runtime.prepare import Prepared, Stream


def alignments(prepared: Prepared) -> dict[str, Alignment]:
    """Count what a reader of the report wants to know of each stream's alignment."""
    layout = prepared.layout
    pairs = zip(prepared.streams, layout.places, strict=True)
    return {s.settings.name: _alignment(s.plan, mean=s.averaged, mapped=layout.is_later(p)) for s, p in pairs}


def _alignment(plan: StreamPlan, *, mean: bool, mapped: bool) -> Alignment:
    counts = (plan.second - plan.first + 1)[plan.first >= 0] if mean else plan.first[:0]
    return Alignment(
        held=int(np.count_nonzero(plan.flags & Flag.HELD)),
        interpolated=int(np.count_nonzero(plan.flags & Flag.INTERPOLATED)),
        gaps=int(np.count_nonzero(plan.flags & Flag.GAP)),
        none=int(np.count_nonzero(plan.first < 0)),
        max_offset_ms=round(float(np.abs(plan.offset).max(initial=0)) / 1e6, 6),
        averaged=(int(counts.min()), int(counts.max())) if len(counts) else None,
        mapped=mapped,
    )


def told_episodes(prepared: Prepared, name: str) -> tuple[EpisodeTold, ...]:
    """Tell what becomes of each episode; of a recording that is not cut, only where it was judged."""
    verdicts = {verdict.number: verdict for verdict in prepared.verdicts}
    if None in verdicts:
        whole, ticks = verdicts[None], prepared.ticks
        times = (int(ticks[0]), int(ticks[-1])) if len(ticks) else (0, 0)
        return (EpisodeTold(None, name, *times, "", "", prepared.plan.frames, whole.outcome, whole.reasons),)
    found = []
    for e in prepared.episodes:
        about, verdict = e.episode, verdicts.get(e.episode.number, Verdict(e.episode.number, KEPT))
        texts = about.task, about.label, e.frames, verdict.outcome, verdict.reasons
        found.append(EpisodeTold(about.number, episode_name(name, about.number), about.start, about.end, *texts))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class AboutStream:
    """One stream of a recording, and where it lies in a slot: `contract.StreamInfo` and `layout.Place` in one."""

    name: str
    topic: str
    msgtype: str
    kind: str
    clock: str
    shape: tuple[int, ...]
    dtype: Any
    variable: bool
    names: tuple[str, ...]
    unit: str
    offset: int
    nbytes: int
    codec: str = ""
    picture: tuple[int, ...] = ()
    averaged: bool = False
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class AboutRecording:
    """A recording and its slots, as a consumer's process is told of them."""

    name: str
    path: str
    frames: int
    chunk_size: int
    rate: float | None
    start: int
    end: int
    provenance: dict[str, Any]
    slot_size: int
    streams: tuple[AboutStream, ...]
    cut: bool = False
    episodes: tuple[AboutEpisode, ...] = ()
    flagged: str = ""


@dataclass(frozen=True, slots=True)
class AboutEpisode:
    """An episode that has frames: ``frames`` from ``first`` on, in the chunks from ``chunk`` on; its outer ticks."""

    number: int
    name: str
    task: str
    label: str
    first: int
    frames: int
    chunk: int
    start: int
    end: int
    flagged: str = ""


def episode_name(recording: str, number: int) -> str:
    """Name an episode of a recording."""
    return f"{recording}-{number:03d}"


def chunk_starts(prepared: Prepared, chunk_size: int) -> Sequence[int]:
    """Return the first frame of each chunk: chunks end where an episode ends."""
    if prepared.cut is None:
        return range(0, prepared.plan.frames, chunk_size)
    return [n for e in prepared.episodes for n in range(e.first, e.first + e.frames, chunk_size)]


def about_episodes(prepared: Prepared, name: str, chunk_size: int) -> tuple[AboutEpisode, ...]:
    """Describe the episodes that have frames."""
    found, chunk, ticks, flagged = [], 0, prepared.plan.ticks, _flagged(prepared)
    for e in prepared.episodes:
        if e.frames:
            about = e.episode
            times = int(ticks[e.first]), int(ticks[e.first + e.frames - 1])
            texts = episode_name(name, about.number), about.task, about.label
            found.append(
                AboutEpisode(about.number, *texts, e.first, e.frames, chunk, *times, flagged.get(about.number, ""))
            )
        chunk += -(-e.frames // chunk_size)
    return tuple(found)


def _flagged(prepared: Prepared) -> dict[int | None, str]:
    """Say why episodes are flagged, by their numbers."""
    low = [verdict for verdict in prepared.verdicts if verdict.outcome == FLAGGED]
    return {verdict.number: "; ".join(reason.text for reason in verdict.reasons) for verdict in low}


def about_recording(
    prepared: Prepared, name: str, chunk_size: int, provenance: dict[str, Any], shown: Sequence[int] | None = None
) -> AboutRecording:
    """Describe the recording and its slots to someone who is ``shown`` these of the streams (None: all)."""
    ticks = prepared.plan.ticks
    shown = range(len(prepared.streams)) if shown is None else shown
    streams = [prepared.streams[n] for n in shown]
    places = [prepared.layout.places[n] for n in shown]
    return AboutRecording(
        name=name,
        path=str(prepared.source.path),
        frames=prepared.plan.frames,
        chunk_size=chunk_size,
        rate=prepared.rate,
        start=int(ticks[0]) if len(ticks) else 0,
        end=int(ticks[-1]) if len(ticks) else 0,
        provenance=provenance | {"fingerprint": prepared.source.fingerprint},
        slot_size=prepared.layout.slot_size,
        streams=tuple(map(_about_stream, streams, places)),
        cut=prepared.cut is not None,
        episodes=about_episodes(prepared, name, chunk_size),
        flagged=_flagged(prepared).get(None, ""),
    )


def _about_stream(s: Stream, p: Place) -> AboutStream:
    return AboutStream(
        name=s.settings.name,
        topic=s.topic.name,
        msgtype=s.topic.msgtype,
        kind=s.kind,
        clock=s.settings.clock,
        shape=s.spec.shape,
        dtype=s.spec.dtype,
        variable=s.spec.variable,
        names=s.spec.names,
        unit=s.spec.unit,
        averaged=s.averaged,
        offset=p.offset,
        nbytes=p.nbytes,
        codec=s.packets.codec if s.packets else "",
        picture=s.packets.picture if s.packets else (),
        channels=s.channels,
    )


def whole(about: AboutRecording) -> AboutEpisode:
    """Describe a recording that is not cut as if it were an episode."""
    return AboutEpisode(-1, about.name, "", "", 0, about.frames, 0, about.start, about.end)


def part_of(recording: Recording, episode: AboutEpisode) -> Recording:
    """Return the recording that a consumer sees of an episode; one that is `whole` is the recording itself."""
    if episode.number < 0:
        return recording
    return replace(
        recording,
        name=episode.name,
        frames=episode.frames,
        start=episode.start,
        end=episode.end,
        episode=episode.number,
        task=episode.task,
        label=episode.label,
        flagged=episode.flagged,
    )


def recording_of(about: AboutRecording) -> tuple[Recording, tuple[Place, ...]]:
    """Turn such a description into what a consumer sees, and the places of its streams in a slot."""
    places = []
    streams = {}
    for s in about.streams:
        spec = Spec(s.shape, s.dtype, s.variable, s.names, s.unit)
        places.append(Place(s.name, s.offset, s.nbytes, spec))
        streams[s.name] = StreamInfo(
            *(s.name, s.topic, s.msgtype, s.kind, spec.shape),
            *(np.dtype(spec.dtype), spec.variable, s.clock, spec.names, spec.unit),
            codec=s.codec,
            picture=s.picture,
            averaged=s.averaged,
            channels=s.channels,
        )
    times = (about.rate, about.start, about.end)
    told = about.name, about.path, about.frames, about.chunk_size, *times
    recording = Recording(*told, streams=streams, provenance=about.provenance, flagged=about.flagged)
    return recording, tuple(places)
