"""``streamer info RECORDING``: what is in a recording, from its index alone."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.errors import RecordingError

if TYPE_CHECKING:
    from rich.console import Console


def info(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="a .bag, .mcap, .db3 file or rosbag2 folder", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    salvage: Annotated[bool, typer.Option("--salvage", help="read what is intact of a damaged recording")] = False,
) -> None:
    """Show topics, rates, gaps and sizes of RECORDING, and a configuration to begin with.

    Example: streamer info recording.bag
    """
    from rich.console import Console

    from streamer.cli.survey import survey
    from streamer.source.source import Source

    try:
        with (
            tempfile.TemporaryDirectory(prefix="streamer-") as scratch,
            Source(recording.absolute(), Path(scratch), salvage=salvage) as source,
        ):
            found = survey(source)
    except RecordingError as error:
        if not as_json:
            raise
        print(json.dumps({"path": str(recording.absolute()), "indexed": False, "error": str(error)}, indent=2))
        raise typer.Exit(error.exit_code) from error
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        piped = not sys.stdout.isatty()
        _show(Console(highlight=False, width=10_000 if piped else None), found, "# " if piped else "")


def _show(console: Console, found: dict[str, Any], mark: str) -> None:
    """Print what was found; ``mark`` makes comments of it, so that the whole output is a configuration."""
    from rich.table import Table
    from rich.text import Text

    from streamer.records import Damage
    from streamer.units import show_duration, show_size

    console.print(Text(mark + found["path"]), soft_wrap=True)
    for damage in found["damage"]:
        console.print(Text(f"{mark}salvaged {Damage(**damage)}"), soft_wrap=True)
    files = f" in {found['files']} files" if found["files"] > 1 else ""
    console.print(
        f"{mark}{found['kind']}, {show_size(found['size_bytes'])}{files}, compression {found['compression']}, "
        f"{'indexed' if found['indexed'] else 'damaged'}; "
        f"{show_duration(round(found['duration_s'] * 1e9))}, {found['messages']} messages"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{mark}topic", overflow="fold")
    table.add_column("type", overflow="fold")
    for heading in ("messages", "size", "rate", "jitter", "begins", "gaps", "largest gap", "header skew"):
        table.add_column(heading, justify="right", overflow="fold")
    for topic in sorted(found["topics"], key=lambda t: (-(t["rate_hz"] or 0), t["name"])):
        table.add_row(
            mark + topic["name"],
            topic["type"],
            str(topic["count"]),
            "" if topic["size_bytes"] is None else show_size(topic["size_bytes"]),
            _number(topic["rate_hz"], "Hz"),
            _number(topic["jitter_ms"], "ms"),
            _number(topic["first_s"], "s"),
            str(topic["gaps"]),
            _gap(topic),
            _number(topic["skew_ms"], "ms"),
        )
    console.print(table)
    console.print(f"{mark}size: estimated from a few messages; gaps: distances of more than three times the median;")
    console.print(f"{mark}header skew: median of receive stamp minus header stamp, of a few messages")
    for warning in found["warnings"]:
        console.print(Text(f"{mark}warning: {warning}"), soft_wrap=True)
    console.print(f"\n{mark}A configuration to begin with:\n")
    console.print(Text(found["suggested_config"]), soft_wrap=True)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}"


def _gap(topic: dict[str, Any]) -> str:
    if topic["largest_gap_ms"] is None:
        return ""
    return f"{topic['largest_gap_ms']:.4g} ms at {topic['largest_gap_at_s']:.4g} s"
