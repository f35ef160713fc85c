"""``streamer memory REPORT``: what each process of a run held from chunk to chunk, and what came back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.errors import UsageError

_SHORT = 3  # chunks, below which a curve says nothing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text


def memory(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="a report.json, or a work folder", show_default=False)
    ] = Path(".streamer"),
    plot: Annotated[Path | None, typer.Option(help="draw memory over chunks (a .png)", show_default=False)] = None,
) -> None:
    """Show the verdict on each process of a run, its peaks, and what recycling freed.

    Memory is a process's own (anonymous) memory, sampled at each commit. stable is below 5 MB a chunk, leaking above
    10, by the median slope of each process behind its first two chunks.

    Example: streamer memory .streamer/report.json --plot memory.png
    """
    from streamer.cli.pictures import check_plot, panels
    from streamer.cli.screen import as_line, screen

    if plot is not None:
        check_plot()
    recordings = [values for values in read_report(report)["recordings"] if "consumers" in values]
    console = screen()
    for values in recordings:
        console.print(as_line(Path(values["path"]).name), soft_wrap=True)
        console.print(_table(dict(_processes(values)), console.width), soft_wrap=True)
    if plot is not None:
        with panels(plot, max(len(recordings), 1), 3.5) as found:
            for axes, values in zip(found, recordings, strict=False):
                _draw(axes, Path(values["path"]).name, dict(_processes(values)))


def _draw(axes: Any, title: str, processes: dict[str, dict[str, Any]]) -> None:
    """Draw each process over the chunks: a line a generation, which ends where its memory went back."""
    for number, (name, found) in enumerate(processes.items()):
        color = f"C{number % 10}"
        label: str | None = f"{name} ({found['verdict']})"
        for life in found["generations"]:
            axes.plot(life["chunks"], life["anon_mb"], color=color, label=label, linewidth=1.5, marker=".", ms=3)
            label = None
            if life["ended"] == "planned" and life["chunks"]:
                axes.plot(life["chunks"][-1:], life["anon_mb"][-1:], "v", color=color, ms=7)
    axes.set(title=title, xlabel="chunk", ylabel="own memory in MB (▼ recycled)")
    longest = max((len(life["chunks"]) for found in processes.values() for life in found["generations"]), default=0)
    if longest < _SHORT:
        words = f"{longest} chunk{'s' * (longest != 1)}: too short to show a trend; a smaller chunk_size gives more"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center")


def read_report(report: Path) -> dict[str, Any]:
    """Return what stands in a report.json, which may be named by its work folder.

    Raises:
        UsageError: it cannot be read, or is something else.

    """
    path = report / "report.json" if report.is_dir() else report
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["recordings"], found["exit_code"]
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}; a run writes it into its work folder (.streamer)"
        raise UsageError(msg) from error
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path}: not the report of a run"
        raise UsageError(msg) from error
    return found


def _processes(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, consumer in values["consumers"].items():
        yield name, consumer["memory"]
    yield "reader", values["reader"]["memory"]
    yield "supervisor", values["supervisor"]["memory"]


def _table(processes: dict[str, dict[str, Any]], width: int) -> Text:
    from streamer.cli.screen import table

    headings = ("process", "generations", "MB at start", "peak", "end", "freed", "MB/chunk", "verdict")
    rows = []
    for name, found in processes.items():
        lives = found["generations"]
        lines: list[dict[str, Any]] = next(
            (one["growing_lines"] for one in reversed(lives) if one["growing_lines"]), []
        )
        slope, handover = found["mb_per_chunk"], found["handover_ms"]
        rows.append(
            (
                name,
                str(len(lives)),
                f"{lives[0]['start_mb']:.1f}" if lives else "",
                f"{found['peak_mb']:.1f}",
                f"{lives[-1]['end_mb']:.1f}" if lives else "",
                f"{found['returned_mb']:.1f}" if found["returned_mb"] else "",
                "" if slope is None else f"{slope:+.2f}",
                found["verdict"],
                "" if handover is None else f"{handover['median']:.0f} ms",
                f"{lines[0]['file']}:{lines[0]['line']}" if lines else "",
            )
        )
    return table((*headings, "handover (median)", "grows most in"), rows, width)
