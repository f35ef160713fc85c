"""What was prepared → what the supervisor and the consumers are told of it, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.contract import Recording, StreamInfo
from streamer.records import Flag, Place, Spec
from streamer.runtime.messages import Alignment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.records import StreamPlan
    from streamer.runtime.prepare import Prepared, Stream


def alignments(prepared: Prepared) -> dict[str, Alignment]:
    """Count what a reader of the report wants to know of each stream's alignment."""
    return {
        stream.settings.name: _alignment(stream.plan, mean=stream.settings.alignment.align == "mean")
        for stream in prepared.streams
    }


def _alignment(plan: StreamPlan, *, mean: bool) -> Alignment:
    counts = (plan.second - plan.first + 1)[plan.first >= 0] if mean else plan.first[:0]
    return Alignment(
        held=int(np.count_nonzero(plan.flags & Flag.HELD)),
        interpolated=int(np.count_nonzero(plan.flags & Flag.INTERPOLATED)),
        gaps=int(np.count_nonzero(plan.flags & Flag.GAP)),
        none=int(np.count_nonzero(plan.first < 0)),
        max_offset_ms=round(float(np.abs(plan.offset).max(initial=0)) / 1e6, 6),
        averaged=(int(counts.min()), int(counts.max())) if len(counts) else None,
    )


@dataclass(frozen=True, slots=True)
class AboutStream:
    """One stream of a recording, and where it lies in a slot: `contract.StreamInfo` and `records.Place` in one."""

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
        provenance=provenance | {"fingerprint": prepared.source.fingerprint()},
        slot_size=prepared.layout.slot_size,
        streams=tuple(map(_about_stream, streams, places)),
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
        offset=p.offset,
        nbytes=p.nbytes,
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
        )
    times = (about.rate, about.start, about.end)
    recording = Recording(
        about.name, about.path, about.frames, about.chunk_size, *times, streams=streams, provenance=about.provenance
    )
    return recording, tuple(places)
