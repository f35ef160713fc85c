"""Alignments → one picture: a lane a stream with its offsets over time, its gaps and holds, and a histogram beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.inspect.alignment import Lane, Span, View

_INK, _FAINT, _BAND = "#22313f", "#8796a5", "#eef2f5"
_OFFSET = "#2a6f97"
_COLORS = {"held": "#f2c14e", "gaps": "#e4572e", "none": "#4a4a4a"}
_WORDS = {"held": "held", "gaps": "in a gap", "none": "no sample"}
_BANDS = {"held": (0.86, 0.14), "gaps": (0.0, 1.0), "none": (0.0, 0.14)}  # from, height: two of them may be true
_COLUMNS = 1200  # more than the picture has pixels to show


def draw(views: Sequence[View], path: Path) -> None:
    """Draw all recordings below each other.

    Raises:
        OSError, ValueError: the picture cannot be written there, or not in this format.

    """
    from matplotlib import pyplot as plt

    heights = [part for found in views for part in (0.75, *[1.0] * len(found.lanes))]
    rows = len(heights)
    figure = plt.figure(figsize=(11, 1.1 + 0.72 * rows))
    figure.set_layout_engine("constrained", hspace=0.02, wspace=0.01)
    grid = figure.add_gridspec(rows, 2, width_ratios=(5.2, 1), height_ratios=heights)
    row = 0
    for found in views:
        shared = figure.add_subplot(grid[row, 0])
        _timeline(shared, found)
        for number, lane in enumerate(found.lanes):
            row += 1
            axes = figure.add_subplot(grid[row, 0], sharex=shared)
            _lane(axes, found, lane)
            _histogram(figure.add_subplot(grid[row, 1]), lane, titled=number == 0)
            if number < len(found.lanes) - 1:
                axes.tick_params(labelbottom=False, bottom=False)
            else:
                axes.set_xlabel("seconds from the first tick", color=_INK)
        row += 1
    figure.legend(handles=_legend(views), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    try:
        figure.savefig(path, dpi=150)
    finally:
        plt.close(figure)


def _timeline(axes: Any, found: View) -> None:
    """Show the ticks: those that are frames, and those that are left out."""
    left_out = found.planned - len(found.seconds)
    title = f"{found.name}: {len(found.seconds)} frames" + (f", {left_out} ticks left out" if left_out else "")
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    _rug(axes, found.seconds, _OFFSET)
    _rug(axes, found.left_out_seconds, _COLORS["gaps"])
    axes.set_ylim(0, 1)
    _bare(axes, "ticks")
    axes.tick_params(labelbottom=False, bottom=False)


def _rug(axes: Any, seconds: NDArray[np.float64], color: str) -> None:
    if len(seconds):
        shown = seconds[:: max(len(seconds) // _COLUMNS, 1)]
        axes.vlines(shown, 0.15, 0.85, color=color, linewidth=0.6)


def _lane(axes: Any, found: View, lane: Lane) -> None:
    if lane.begins_s is not None and lane.ends_s is not None:
        axes.axvspan(lane.begins_s, lane.ends_s, color=_BAND, linewidth=0, zorder=0)
        if lane.shift_s:  # where its messages lay before
            edges = lane.begins_s - lane.shift_s, lane.ends_s - lane.shift_s
            axes.vlines(edges, 0, 1, color=_FAINT, linewidth=0.8, linestyle=":", transform=axes.get_xaxis_transform())
    step = float(np.median(np.diff(found.seconds))) if len(found.seconds) > 1 else 0.1
    for kind, color in _COLORS.items():
        _shade(axes, lane.spans[kind], color, step, _BANDS[kind])
    size = float(np.nanmax(np.abs(lane.offsets))) if np.isfinite(lane.offsets).any() else 0.0
    axes.axhline(0, color=_FAINT, linewidth=0.5, zorder=1)
    _trace(axes, found.seconds, lane.offsets)
    axes.set_ylim(-1.25 * max(size, 1e-3), 1.25 * max(size, 1e-3))
    if len(found.seconds):
        axes.set_xlim(found.seconds[0] - step, found.seconds[-1] + step)
    _bare(axes, f"{lane.name}\nshift {_signed(lane.shift_s)}" if lane.shift_s else lane.name)
    axes.yaxis.tick_right()
    axes.set_yticks([-size, size] if size else [0], [f"-{_told(size)}", f"+{_told(size)}"] if size else ["0"])
    axes.tick_params(axis="y", length=0, labelsize=7, labelcolor=_FAINT)


def _shade(axes: Any, spans: Sequence[Span], color: str, step: float, band: tuple[float, float]) -> None:
    bars = [(span.begin_s - step / 2, span.end_s - span.begin_s + step) for span in spans]
    if bars:
        transform = axes.get_xaxis_transform()
        axes.broken_barh(bars, band, color=color, alpha=0.55, linewidth=0, zorder=1, transform=transform)


def _trace(axes: Any, seconds: NDArray[np.float64], offsets: NDArray[np.float64]) -> None:
    """Draw the offsets; of a long recording the least and the largest of each column."""
    if len(seconds) <= 2 * _COLUMNS:
        axes.plot(seconds, offsets, color=_OFFSET, linewidth=0.9, marker=".", markersize=2, zorder=3)
        return
    starts = np.linspace(0, len(seconds), _COLUMNS, endpoint=False).astype(int)
    low, high = np.fmin.reduceat(offsets, starts), np.fmax.reduceat(offsets, starts)
    axes.fill_between(seconds[starts], low, high, color=_OFFSET, linewidth=0.6, step="post", zorder=3)


def _histogram(axes: Any, lane: Lane, *, titled: bool) -> None:
    if titled:
        axes.set_title("offset, ms", fontsize=8, color=_FAINT)
    if len(lane.counts):
        axes.bar(lane.edges[:-1], lane.counts, np.diff(lane.edges), align="edge", color=_OFFSET, linewidth=0)
        size = np.abs(lane.offsets[np.isfinite(lane.offsets)])
        text = f"median {_told(np.median(size))}\n95 % {_told(np.quantile(size, 0.95))}"
        axes.text(0.98, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.5, color=_INK)
        axes.set_ylim(0, 2.1 * max(int(lane.counts.max()), 1))
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=6.5, labelcolor=_FAINT, length=2, color=_FAINT)
    axes.locator_params(axis="x", nbins=3)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)


def _signed(seconds: float) -> str:
    return f"{seconds * 1e3:+g} ms"


def _told(milliseconds: float) -> str:
    return show_duration(round(float(milliseconds) * 1e6)) if milliseconds else "0"


def _bare(axes: Any, name: str) -> None:
    axes.set_ylabel(name, rotation=0, ha="right", va="center", color=_INK, fontsize=9)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", labelsize=8, labelcolor=_INK, color=_FAINT)


def _shifted(views: Sequence[View]) -> bool:
    return any(lane.shift_s for found in views for lane in found.lanes)


def _legend(views: Sequence[View]) -> list[Any]:
    """Explain what the picture shows, and nothing that it does not."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = {kind for found in views for lane in found.lanes for kind, spans in lane.spans.items() if spans}
    return [
        Line2D([], [], color=_OFFSET, marker=".", label="frame; offset of each sample"),
        *([Line2D([], [], color=_COLORS["gaps"], label="tick left out")] if any(v.left_out for v in views) else []),
        Patch(color=_BAND, label="topic has messages"),
        *([Line2D([], [], color=_FAINT, ls=":", label="before the shift")] if _shifted(views) else []),
        *(Patch(color=color, alpha=0.55, label=_WORDS[kind]) for kind, color in _COLORS.items() if kind in shown),
    ]
