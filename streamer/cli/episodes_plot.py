"""How recordings are cut → one picture: a lane a task with its episodes over time, what is left out, idle ends."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

from streamer.quality import FLAGGED, KEPT, LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamer.inspect.episodes import Division

_INK, _FAINT, _LINE = "#22313f", "#8796a5", "#e3e8ec"
_IDLE, _OUT, _PALE, _FLAG = "#d5dce2", "#e4572e", "#fbe3dc", "#f2a541"
_LABELS = {"success": "#3a9d6e", "failure": "#c9463d", "": "#2a6f97"}
_OTHERS = ("#7b5ea7", "#f2a541", "#1f9eb8", "#9a6b4b")
_MOST_LANES = 12
_LINE_LENGTH = 140  # characters of a reason
_WRAP = 34  # characters of a task in a line
_MOST_REASONS = 12
_MANY = 80  # episodes, from which their numbers do not fit any more


def draw(found: Sequence[Division], path: Path) -> None:
    """Draw all recordings below each other.

    Raises:
        OSError, ValueError: the picture cannot be written there, or not in this format.

    """
    from matplotlib import pyplot as plt

    colors = _colors(found)
    heights = [1.3 + 0.42 * (len(_lanes(one)) + bool(one.problems)) + 0.17 * len(_reasons(one)) for one in found]
    figure, grid = plt.subplots(
        len(found), 1, figsize=(11, sum(heights)), layout="constrained", squeeze=False, height_ratios=heights
    )
    for axes, one in zip(grid[:, 0], found, strict=True):
        _recording(axes, one, colors)
    figure.legend(handles=_legend(found, colors), loc="outside lower center", ncols=7, frameon=False, fontsize=9)
    try:
        figure.savefig(path, dpi=150)
    finally:
        plt.close(figure)


def _colors(found: Sequence[Division]) -> dict[str, str]:
    """Give each label a color."""
    labels = sorted({e.episode.label for one in found for e in one.episodes})
    own = [label for label in labels if label not in _LABELS]
    return {label: _LABELS.get(label) or _OTHERS[own.index(label) % len(_OTHERS)] for label in labels}


def _lanes(one: Division) -> list[str]:
    """Return the tasks that get a lane, in the order in which they come; the last is of all others."""
    tasks = list(dict.fromkeys(e.episode.task for e in one.episodes))
    if len(tasks) > _MOST_LANES:
        return [*tasks[: _MOST_LANES - 1], f"{len(tasks) - _MOST_LANES + 1} other tasks"]
    return tasks


def _reasons(one: Division) -> list[str]:
    told = [f"{number}  at {one.at(p.stamp):.2f} s: {p.text}" for number, p in enumerate(one.problems, 1)]
    for e in one.episodes:
        told += [f"episode {e.episode.number} is {e.verdict}: {reason.text}" for reason in e.reasons]
    told = [textwrap.shorten(line, _LINE_LENGTH, placeholder="…") for line in told]
    more = len(told) - _MOST_REASONS
    return told if more <= 0 else [*told[:_MOST_REASONS], f"and {more} more: streamer episodes lists them"]


def _recording(axes: Any, one: Division, colors: dict[str, str]) -> None:
    lanes = _lanes(one)
    length = one.at(one.ends)
    seconds = sum(e.episode.end - e.episode.start for e in one.episodes) / 1e9
    many = len(one.episodes)
    judged = Counter(e.verdict for e in one.episodes if e.verdict != KEPT)
    told = "".join(f"; {count} {what}" for what, count in judged.items())
    title = f"{one.name}: {many} episode{'s' * (many != 1)}, {seconds:.1f} s of {length:.1f} s{told}"
    axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    for e in one.episodes:
        episode = e.episode
        lane = lanes.index(episode.task) if episode.task in lanes else len(lanes) - 1
        start, width = one.at(episode.start), (episode.end - episode.start) / 1e9
        out = e.verdict == LEFT_OUT
        axes.barh(lane, width, left=start, height=0.62, color=_PALE if out else colors[episode.label], zorder=3)
        if e.verdict != KEPT:
            style = {"facecolor": "none", "edgecolor": _OUT if out else _FLAG, "hatch": "////" if out else None}
            axes.barh(lane, width, left=start, height=0.62, linewidth=1.8 - out, zorder=3, **style)
        if many <= _MANY:
            middle = start + width / 2
            axes.text(
                middle, lane, episode.number, color=_INK if out else "w", fontsize=7, ha="center", va="center", zorder=4
            )
        for low, high in one.idle:
            if high == episode.start or low == episode.end:
                axes.barh(lane, (high - low) / 1e9, left=one.at(low), height=0.62, color=_IDLE, linewidth=0, zorder=2)
    _left_out(axes, one, len(lanes))
    rows = [*(textwrap.shorten(task, 2 * _WRAP, placeholder="…") or "no task" for task in lanes)]
    rows += ["left out"] * bool(one.problems)
    axes.set_yticks(range(len(rows)), [textwrap.fill(row, _WRAP) for row in rows], fontsize=8, color=_INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, length or 1)
    reasons = "\n".join(_reasons(one))
    axes.set_xlabel(f"seconds from the first message\n{reasons}" if reasons else "seconds from the first message")
    axes.xaxis.label.set(color=_INK, fontsize=8, ha="left", x=0)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="both", length=0, labelsize=8, labelcolor=_INK)


def _left_out(axes: Any, one: Division, lane: int) -> None:
    """Show stretches that are no episode, and instants at which something is wrong, each with its number."""
    for number, problem in enumerate(one.problems, 1):
        start = one.at(problem.stamp)
        if problem.until is not None:
            width = (problem.until - problem.stamp) / 1e9
            bar = {"facecolor": _PALE, "edgecolor": _OUT, "hatch": "////", "linewidth": 0.6}
            axes.barh(lane, width, left=start, height=0.5, zorder=3, **bar)
        else:
            axes.plot(start, lane, marker="v", color=_OUT, markersize=5, zorder=3)
        if number <= _MOST_REASONS:
            place = {"xytext": (-3, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
            axes.annotate(str(number), (start, lane), fontsize=7, color=_OUT, **place)


def _legend(found: Sequence[Division], colors: dict[str, str]) -> list[Any]:
    """Explain what the picture shows, and nothing that it does not."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    problems = [problem for one in found for problem in one.problems]
    stretches = any(problem.until is not None for problem in problems)
    instants = any(problem.until is None for problem in problems)
    judged = {e.verdict for one in found for e in one.episodes}
    out = Patch(facecolor=_PALE, edgecolor=_OUT, hatch="////", label="left out")
    return [
        *(Patch(color=color, label=label or "no label") for label, color in colors.items()),
        *([Patch(color=_IDLE, label="idle, cut off")] if any(one.idle for one in found) else []),
        *([Patch(facecolor="none", edgecolor=_FLAG, linewidth=1.8, label="flagged")] if FLAGGED in judged else []),
        *([out] if stretches or LEFT_OUT in judged else []),
        *([Line2D([], [], color=_OUT, marker="v", linestyle="", label="something is wrong")] if instants else []),
    ]
