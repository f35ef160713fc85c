"""Measured methods → one picture of their memory over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from streamer.bench.compare import Measured


def plot(measured: Sequence[Measured], title: str, path: Path) -> None:
    """Draw memory over time, a line for each method from the start of its process to its end."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for m in measured:
        if m.memory:
            label = m.method if m.chunk_size is None else f"{m.method}, chunks of {m.chunk_size}"
            axes.plot([at for at, _ in m.memory], [mb for _, mb in m.memory], label=label, linewidth=1.5)
    axes.set(xlabel="seconds from the start of the process", ylabel="memory in MB (anonymous and pool)", title=title)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
