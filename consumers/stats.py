"""Frames → what a stream's values, stamps and offsets look like as a whole, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import make_folder, provenance, require, write_bytes, write_json
from consumers.plot import add_to_bins, new_bins, plot
from consumers.sums import Sums, Texts
from streamer.contract import Consumer

if TYPE_CHECKING:
    from streamer.contract import Chunk, Frame, Recording, StreamInfo

_MS = 1e6  # nanoseconds
_BIT = {"held": 1, "interpolated": 2, "gaps": 4}  # of a sample's flags


class Stats(Consumer):
    """Writes ``<out>/<recording>.stats.json`` and, with ``plot``, ``<out>/<recording>.stats.png``.

    Per stream: ``count`` of samples, ``none``, ``held``, ``interpolated``, ``gaps``; ``rate_hz`` of the
    distinct messages; ``offset_ms`` min, max and mean of the absolute value; ``columns``, the names of a vector's
    elements or a point cloud's fields; ``values``, ``min``, ``max``, ``mean``, ``std`` per column of a vector, per
    channel of an image, per field of a point cloud: values that are not finite left out, ``values`` says how many there
    were. Of vectors whose length varies, a column has those that reach it. Of a text ``distinct``, how many there are,
    and ``texts``, how often each is seen. The plot has, for every stream, offsets over
    time (band from least to most), gaps and frames without a sample, and for a vector its values.
    """

    many_recordings = True

    def __init__(self, out: str, *, plot: bool = False) -> None:
        """Write into the folder ``out``; ``plot`` needs matplotlib (the extra ``plot``)."""
        if plot:
            require("matplotlib", "plot")
        self._out = Path(out)
        self._plots = plot
        self._streams: dict[str, dict[str, Any]] = {}
        self._sums: dict[str, Sums | Texts] = {}
        self._waiting: dict[str, list[tuple[int, int, int]]] = {}

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Take the sums up where they were committed."""
        make_folder(self._out)
        self._start, self._span = recording.start, recording.end - recording.start + 1
        streams = recording.streams.items() if self._plots else ()
        self._bins = state["bins"] if state else {name: new_bins(stream, recording.frames) for name, stream in streams}
        self._streams = state["streams"] if state else {name: _nothing() for name in recording.streams}
        kinds = {name: Texts if stream.kind == "text" else Sums for name, stream in recording.streams.items()}
        self._sums = {name: kind(state["sums"][name] if state else None) for name, kind in kinds.items()}
        self._waiting = {name: [] for name in recording.streams}

    def on_frame(self, frame: Frame) -> None:
        """Take in one sample of each stream: numbers are summed up when there are many."""
        for name, sample in frame.samples.items():
            if sample is None:
                self._streams[name]["none"] += 1
            else:
                self._waiting[name].append((sample.stamp, sample.offset, sample.flags))
                self._sums[name].add(sample.value)
            if self._plots:
                add_to_bins(self._bins[name], (frame.tick - self._start) / self._span, sample)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Hand the sums on."""
        del chunk
        for name, waiting in self._waiting.items():
            _count(self._streams[name], waiting)
            waiting.clear()
        sums = {name: found.state() for name, found in self._sums.items()}
        return {"streams": self._streams, "sums": sums, "bins": self._bins}

    def close(self, recording: Recording) -> None:
        """Write the file."""
        streams = {
            name: _summary(recording.streams[name], counts, self._sums[name]) for name, counts in self._streams.items()
        }
        values = {"frames": recording.frames, "streams": streams, "provenance": provenance(recording)}
        write_json(self._out / f"{recording.name}.stats.json", values)
        if self._plots:
            write_bytes(self._out / f"{recording.name}.stats.png", plot(recording, self._bins))


def _nothing() -> dict[str, Any]:
    return {"count": 0, "none": 0, "held": 0, "interpolated": 0, "gaps": 0, "first": None, "last": None}


def _count(counts: dict[str, Any], samples: list[tuple[int, int, int]]) -> None:
    """Count samples by their stamps, offsets and flags."""
    if not samples:
        return
    table = np.array(samples, np.int64)
    offsets = table[:, 1] / _MS
    low, high = float(offsets.min()), float(offsets.max())
    if counts["count"] == 0:
        counts |= {"first": samples[0][0], "offset_min": low, "offset_max": high, "offset_abs": 0.0}
    counts["last"] = samples[-1][0]
    counts["count"] += len(samples)
    for key, bit in _BIT.items():
        counts[key] += int(np.count_nonzero(table[:, 2] & bit))
    counts["offset_min"] = min(counts["offset_min"], low)
    counts["offset_max"] = max(counts["offset_max"], high)
    counts["offset_abs"] += float(np.abs(offsets).sum())


def _summary(stream: StreamInfo, counts: dict[str, Any], sums: Sums | Texts) -> dict[str, Any]:
    count = counts["count"]
    messages = count - counts["held"]
    span = (counts["last"] - counts["first"]) / 1e9 if count else 0.0
    return {
        "topic": stream.topic,
        "kind": stream.kind,
        "dtype": str(stream.dtype),
        "shape": list(stream.shape),
        "unit": stream.unit,
        **{key: counts[key] for key in ("count", "none", "held", "interpolated", "gaps")},
        "rate_hz": (messages - 1) / span if span > 0 and messages > 1 else None,
        "offset_ms": {
            "min": counts["offset_min"] if count else None,
            "max": counts["offset_max"] if count else None,
            "mean_abs": counts["offset_abs"] / count if count else None,
        },
        "columns": list(stream.dtype.names or stream.names) or None,
        **sums.summary(),
    }
