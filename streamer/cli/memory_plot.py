"""Samples of processes → one picture: a line a process over the chunks, recycles marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def draw(recordings: Mapping[str, Mapping[str, dict[str, Any]]], path: Path) -> None:
    """Draw one panel a recording: each generation of a process is a line that ends where its memory went back."""
    from matplotlib import pyplot as plt

    count = max(len(recordings), 1)
    figure, panels = plt.subplots(count, 1, figsize=(9, 3.5 * count), layout="constrained", squeeze=False)
    for axes, (title, processes) in zip(panels[:, 0], recordings.items(), strict=False):
        for number, (name, found) in enumerate(processes.items()):
            color = f"C{number % 10}"
            label: str | None = f"{name} ({found['verdict']})"
            for life in found["generations"]:
                axes.plot(life["chunks"], life["anon_mb"], color=color, label=label, linewidth=1.5, marker=".", ms=3)
                label = None
                if life["ended"] == "planned" and life["chunks"]:
                    axes.plot(life["chunks"][-1:], life["anon_mb"][-1:], "v", color=color, ms=7)
        axes.set(title=title, xlabel="chunk", ylabel="own memory in MB (▼ recycled)")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
