"""What was prepared → what the supervisor and the consumers are told of it, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.contract import Recording, StreamInfo
from streamer.records import Flag, Place, Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.records import StreamPlan
    from streamer.runtime.prepare import Prepared


def about_plan(prepared: Prepared) -> dict[str, Any]:
    """Describe the plan, for the report and the progress."""
    plan = prepared.plan
    return {
        "frames": plan.frames,
        "planned": plan.planned,
        "skipped": dict(plan.skipped),
        "slot_size": prepared.layout.slot_size,
        "warnings": list(prepared.warnings),
        "damage": [asdict(damage) for damage in prepared.source.damage],
        "files": {name: identity.wire for name, identity in prepared.source.identities.items()},
        "seconds": dict(prepared.seconds),
        "streams": {stream.settings.name: _alignment(stream.plan) for stream in prepared.streams},
    }


def _alignment(plan: StreamPlan) -> dict[str, Any]:
    """Count what a reader of the report wants to know of one stream's alignment."""
    return {
        "held": int(np.count_nonzero(plan.flags & Flag.HELD)),
        "interpolated": int(np.count_nonzero(plan.flags & Flag.INTERPOLATED)),
        "gaps": int(np.count_nonzero(plan.flags & Flag.GAP)),
        "none": int(np.count_nonzero(plan.first < 0)),
        "max_offset_ms": round(float(np.abs(plan.offset).max(initial=0)) / 1e6, 6),
    }


def about_recording(
    prepared: Prepared, name: str, chunk_size: int, provenance: dict[str, Any], shown: Sequence[int] | None = None
) -> dict[str, Any]:
    """Describe the recording and its slots to someone who is ``shown`` these of the streams (None: all)."""
    ticks = prepared.plan.ticks
    shown = range(len(prepared.streams)) if shown is None else shown
    streams = [prepared.streams[n] for n in shown]
    places = [prepared.layout.places[n] for n in shown]
    return {
        "name": name,
        "path": str(prepared.source.path),
        "frames": prepared.plan.frames,
        "chunk_size": chunk_size,
        "rate": prepared.rate,
        "start": int(ticks[0]) if len(ticks) else 0,
        "end": int(ticks[-1]) if len(ticks) else 0,
        "provenance": provenance | {"fingerprint": prepared.source.fingerprint()},
        "slot_size": prepared.layout.slot_size,
        "streams": [
            {
                "name": s.settings.name,
                "topic": s.topic.name,
                "msgtype": s.topic.msgtype,
                "kind": s.decoder.kind,
                "clock": s.settings.clock,
                "shape": s.spec.shape,
                "dtype": s.spec.dtype,
                "variable": s.spec.variable,
                "names": s.spec.names,
                "unit": s.spec.unit,
                "offset": p.offset,
                "nbytes": p.nbytes,
            }
            for s, p in zip(streams, places, strict=True)
        ],
    }


def recording_of(about: dict[str, Any]) -> tuple[Recording, tuple[Place, ...]]:
    """Turn such a description into what a consumer sees, and the places of its streams in a slot."""
    places = []
    streams = {}
    for s in about["streams"]:
        spec = Spec(tuple(s["shape"]), s["dtype"], s["variable"], tuple(s["names"]), s["unit"])
        places.append(Place(s["name"], s["offset"], s["nbytes"], spec))
        streams[s["name"]] = StreamInfo(
            *(s["name"], s["topic"], s["msgtype"], s["kind"], spec.shape),
            *(np.dtype(spec.dtype), spec.variable, s["clock"], spec.names, spec.unit),
        )
    keys = ("name", "path", "frames", "chunk_size", "rate", "start", "end")
    recording = Recording(**{key: about[key] for key in keys}, streams=streams, provenance=about["provenance"])
    return recording, tuple(places)
