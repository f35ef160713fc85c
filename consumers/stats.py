"""Frames → what a stream's values, stamps and offsets look like as a whole, as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import make_folder, provenance, require, write_bytes, write_json
from consumers.plot import add_to_bins, new_bins, plot
from streamer.contract import Consumer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Recording, Sample, StreamInfo

_MS = 1e6  # nanoseconds


class Stats(Consumer):
    """Writes ``<out>/<recording>.stats.json`` and, with ``plot``, ``<out>/<recording>.stats.png``.

    Per stream: ``count`` of samples, ``none``, ``held``, ``interpolated``, ``gaps``; ``rate_hz`` of the
    distinct messages; ``offset_ms`` min, max and mean of the absolute value; ``min``, ``max``,
    ``mean``, ``std`` per column of a vector, per channel of an image, per field of a point cloud,
    values that are not finite left out. The plot has, for every stream, offsets over time (band from least
    to most), gaps and frames without a sample, and for a vector its values.
    """

    many_recordings = True

    def __init__(self, out: str, *, plot: bool = False) -> None:
        """Write into the folder ``out``; ``plot`` needs matplotlib (the extra ``plot``)."""
        if plot:
            require("matplotlib", "plot")
        self._out = Path(out)
        self._plots = plot
        self._streams: dict[str, dict[str, Any]] = {}

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Take the sums up where they were committed."""
        make_folder(self._out)
        self._start, self._span = recording.start, recording.end - recording.start + 1
        streams = recording.streams.items() if self._plots else ()
        self._bins = state["bins"] if state else {name: new_bins(stream, recording.frames) for name, stream in streams}
        self._streams = state["streams"] if state else {name: _nothing() for name in recording.streams}

    def on_frame(self, frame: Frame) -> None:
        """Add one sample of each stream to its sums."""
        for name, sample in frame.samples.items():
            _count(self._streams[name], sample)
            if self._plots:
                add_to_bins(self._bins[name], (frame.tick - self._start) / self._span, sample)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Hand the sums on."""
        del chunk
        return {"streams": self._streams, "bins": self._bins}

    def close(self, recording: Recording) -> None:
        """Write the file."""
        streams = {name: _summary(recording.streams[name], sums) for name, sums in self._streams.items()}
        values = {"frames": recording.frames, "streams": streams, "provenance": provenance(recording)}
        write_json(self._out / f"{recording.name}.stats.json", values)
        if self._plots:
            write_bytes(self._out / f"{recording.name}.stats.png", plot(recording, self._bins))


def _nothing() -> dict[str, Any]:
    return {"count": 0, "none": 0, "held": 0, "interpolated": 0, "gaps": 0, "first": None, "last": None}


def _count(sums: dict[str, Any], sample: Sample | None) -> None:
    if sample is None:
        sums["none"] += 1
        return
    offset = sample.offset / _MS
    if sums["count"] == 0:
        sums |= {"first": sample.stamp, "offset_min": offset, "offset_max": offset, "offset_abs": 0.0}
    sums["last"] = sample.stamp
    sums["count"] += 1
    sums["held"] += sample.held
    sums["interpolated"] += sample.interpolated
    sums["gaps"] += sample.gap
    sums["offset_min"] = min(sums["offset_min"], offset)
    sums["offset_max"] = max(sums["offset_max"], offset)
    sums["offset_abs"] += abs(offset)
    _merge(sums, _columns(sample.value))


def _columns(value: NDArray[Any]) -> list[NDArray[Any]]:
    """Split a sample into what is summed apart: columns, channels or fields."""
    if value.dtype.names:
        return [value[name].ravel() for name in value.dtype.names]
    if value.ndim == 1:
        return list(value.reshape(-1, 1))
    if value.ndim == 2:
        return [value.ravel()]
    return [value[..., channel].ravel() for channel in range(value.shape[2])]


def _merge(sums: dict[str, Any], columns: list[NDArray[Any]]) -> None:
    """Add values to count, mean and squared deviation (Chan, Golub, LeVeque 1979), exactly mergeable."""
    known = sums.setdefault("columns", [[0, 0.0, 0.0, None, None] for _ in columns])
    for total, column in zip(known, columns, strict=False):
        values = column[np.isfinite(column)] if column.dtype.kind == "f" else column
        n = len(values)
        if n == 0:
            continue
        count, mean, squares, low, high = total
        own_mean = float(np.mean(values, dtype=np.float64))
        own_squares = float(np.var(values, dtype=np.float64)) * n
        delta = own_mean - mean
        total[0] = count + n
        total[1] = mean + delta * n / (count + n)
        total[2] = squares + own_squares + delta * delta * count * n / (count + n)
        least, most = float(values.min()), float(values.max())
        total[3] = least if low is None else min(low, least)
        total[4] = most if high is None else max(high, most)


def _summary(stream: StreamInfo, sums: dict[str, Any]) -> dict[str, Any]:
    count = sums["count"]
    messages = count - sums["held"]
    span = (sums["last"] - sums["first"]) / 1e9 if count else 0.0
    columns = sums.get("columns", [])
    return {
        "topic": stream.topic,
        "kind": stream.kind,
        "dtype": str(stream.dtype),
        "shape": list(stream.shape),
        **{key: sums[key] for key in ("count", "none", "held", "interpolated", "gaps")},
        "rate_hz": (messages - 1) / span if span > 0 and messages > 1 else None,
        "offset_ms": {
            "min": sums["offset_min"] if count else None,
            "max": sums["offset_max"] if count else None,
            "mean_abs": sums["offset_abs"] / count if count else None,
        },
        "columns": list(stream.dtype.names) if stream.dtype.names else None,
        "min": [c[3] for c in columns],
        "max": [c[4] for c in columns],
        "mean": [c[1] if c[0] else None for c in columns],
        "std": [(c[2] / c[0]) ** 0.5 if c[0] else None for c in columns],
    }
