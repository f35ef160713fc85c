"""Samples → bins over the time of a recording, of a fixed size → a plot of them as a PNG file's content."""

from __future__ import annotations

import io
import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import provenance

if TYPE_CHECKING:
    from streamer.contract import Recording, Sample, StreamInfo

_MOST_BINS = 400
_MOST_CURVES = 12  # of a vector
_GAP_COLOR, _NONE_COLOR = "#f7c6c7", "#c62828"


def new_bins(stream: StreamInfo, frames: int) -> dict[str, Any]:
    """Return empty bins, as many as ``frames`` but not too many: plain lists, for a consumer's state."""
    count = max(1, min(frames, _MOST_BINS))
    curves = min(stream.shape[0], _MOST_CURVES) if stream.kind == "vector" else 0
    empty: list[float | None] = [None] * count
    bins: dict[str, Any] = {"low": [*empty], "high": [*empty], "gaps": [0] * count, "none": [0] * count}
    return bins | {"values": [[*empty] for _ in range(curves)]}


def add_to_bins(bins: dict[str, Any], part: float, sample: Sample | None) -> None:
    """Add a sample at a ``part`` (0 to 1) of the recording's time; of a vector's values, a bin keeps the last."""
    at = min(int(part * len(bins["low"])), len(bins["low"]) - 1)
    if sample is None:
        bins["none"][at] += 1
        return
    offset = sample.offset / 1e6
    low, high = bins["low"][at], bins["high"][at]
    bins["low"][at] = offset if low is None else min(low, offset)
    bins["high"][at] = offset if high is None else max(high, offset)
    bins["gaps"][at] += sample.gap
    if not bins["values"]:
        return
    for curve, value in zip(bins["values"], sample.value[:_MOST_CURVES].tolist(), strict=False):  # it may be shorter
        curve[at] = float(value)


def plot(recording: Recording, bins: dict[str, dict[str, Any]]) -> bytes:
    """Draw a row for every stream: its offsets, and beside them a vector's values. Names are taken as they are."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        return _plot(recording, bins)


def _plot(recording: Recording, bins: dict[str, dict[str, Any]]) -> bytes:
    from matplotlib.figure import Figure

    length = (recording.end - recording.start) / 1e9
    figure = Figure(figsize=(13, 1.2 + 1.7 * len(bins)), layout="constrained")
    figure.suptitle(f"{recording.name}: {recording.frames} frames")
    axes = figure.subplots(max(len(bins), 1), 2, squeeze=False, sharex=True)
    for (left, right), (name, found) in zip(axes, bins.items(), strict=False):
        seconds = (np.arange(len(found["low"])) + 0.5) * length / len(found["low"])
        low, high = (np.array(found[key], np.float64) for key in ("low", "high"))
        left.set_ylabel(f"{name}\noffset, ms", fontsize=8)
        seen = np.isfinite(low)
        left.vlines(seconds[seen], low[seen], high[seen], linewidth=1.5)
        for edge in (low, high):
            left.plot(seconds[seen], edge[seen], ".", markersize=2, color="C0")
        for key, color in (("gaps", _GAP_COLOR), ("none", _NONE_COLOR)):
            for at in np.flatnonzero(found[key]):
                left.axvspan(seconds[at] - seconds[0], seconds[at] + seconds[0], color=color, alpha=0.6, linewidth=0)
        names = recording.streams[name].names
        for number, curve in enumerate(found["values"]):
            values = np.array(curve, np.float64)
            kept = np.isfinite(values)
            right.plot(seconds[kept], values[kept], linewidth=0.8, label=names[number] if number < len(names) else None)
        if not found["values"]:
            right.axis("off")
        elif names:
            right.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6)
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    about = {"Software": None, "provenance": json.dumps(provenance(recording, "matplotlib"), sort_keys=True)}
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100, metadata=about)
    return content.getvalue()
