"""The streams of one frame → one picture: a row a stream, a column for what was decoded and one for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.inspect.moment import Shown, Stage

_INK, _FAINT, _BAR = "#22313f", "#8796a5", "#2a6f97"
_SIZE = 3.2  # inches of a panel
_MOST_POINTS = 20_000
_MOST_LETTERS = 200


def draw(shown: Sequence[Shown], title: str, path: Path) -> None:
    """Draw a frame.

    Raises:
        OSError, ValueError: the picture cannot be written there, or not in this format.

    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max((len(stream.stages) for stream in shown), default=1) or 1
    figure = Figure(figsize=(_SIZE * max(columns, 2), 0.4 + 0.85 * _SIZE * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=_INK, fontweight="bold")
    grid = figure.subplots(len(shown), columns, squeeze=False)
    for row, stream in zip(grid, shown, strict=True):
        for axes in row[max(len(stream.stages), 1) :]:
            axes.set_axis_off()
        if not stream.stages:
            row[0].text(0.5, 0.5, stream.why, ha="center", va="center", wrap=True, color=_FAINT, fontsize=8)
            row[0].set_title(stream.name, loc="left", fontsize=9, color=_INK)
            _bare(row[0])
        for number, (axes, stage) in enumerate(zip(row, stream.stages, strict=False)):
            _panel(axes, stage, stream)
            label = f"{stream.name}  {stage.shape}" if not number else f"→ {stage.label}  {stage.shape}"
            axes.set_title(label, loc="left", fontsize=8, color=_INK)
    figure.savefig(path, dpi=120)


def _panel(axes: Any, stage: Stage, stream: Shown) -> None:
    array = stage.array
    if stage.text is not None:
        axes.text(0.5, 0.5, stage.text[:_MOST_LETTERS], ha="center", va="center", wrap=True, color=_INK, fontsize=8)
        _bare(axes)
    elif array.dtype.names is not None:
        _points(axes, array)
    elif array.ndim == 1:
        _vector(axes, stage)
    elif array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3):
        _image(axes, array, stream.color)
    else:
        axes.text(0.5, 0.5, f"{array.dtype} {array.shape}", ha="center", va="center", color=_FAINT, fontsize=8)
        _bare(axes)


def _image(axes: Any, array: NDArray[Any], color: str | None) -> None:
    _bare(axes)
    if array.ndim == 3:
        values = array[..., ::-1] if color == "bgr" else array
        if array.dtype == np.uint16:
            values = (values // 257).astype(np.uint8)
        axes.imshow(values if array.dtype != np.float64 else values.astype(np.float32))
    elif array.dtype == np.uint8:
        axes.imshow(array, cmap="gray", vmin=0, vmax=255)
    else:  # depth: what is 0 or no number was not measured
        values = np.where(array == 0, np.nan, array.astype(np.float64))
        drawn = axes.imshow(values, cmap="viridis")
        axes.figure.colorbar(drawn, ax=axes, fraction=0.04).ax.tick_params(labelsize=6)


def _vector(axes: Any, stage: Stage) -> None:
    values = np.nan_to_num(stage.array.astype(np.float64))
    names = stage.spec.names or tuple(map(str, range(len(values))))
    axes.barh(np.arange(len(values)), values, color=_BAR)
    axes.axvline(0, color=_FAINT, linewidth=0.5)
    axes.set_yticks(np.arange(len(values)), names[: len(values)], fontsize=6)
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize=6)
    axes.set_xlabel(stage.spec.unit, fontsize=6, color=_FAINT)
    axes.spines[["top", "right"]].set_visible(False)


def _points(axes: Any, array: NDArray[Any]) -> None:
    """Look at a cloud from above, coloured by height."""
    chosen = array[:: max(len(array) // _MOST_POINTS, 1)]
    if not {"x", "y"} <= set(array.dtype.names or ()):
        axes.text(0.5, 0.5, f"{len(array)} points", ha="center", va="center", color=_FAINT, fontsize=8)
        return
    height = chosen["z"] if "z" in (array.dtype.names or ()) else None
    axes.scatter(chosen["x"], chosen["y"], s=1, c=height, cmap="viridis", linewidths=0)
    axes.set_aspect("equal", "datalim")
    axes.tick_params(labelsize=6)


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
