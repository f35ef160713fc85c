"""``streamer top [WORKDIR]``: a live table of a running pipeline, from the snapshot that its supervisor keeps."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_SECONDS = 0.5


def top(
    workdir: Annotated[
        Path, typer.Argument(metavar="[WORKDIR]", help="the work folder of the run", show_default=False)
    ] = Path(".streamer"),
    once: Annotated[bool, typer.Option("--once", help="show it once and end")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON: one object, or one a line")] = False,
) -> None:
    """Watch a running pipeline: how far, how fast, who is waited for, which process was replaced; ends with it.

    Example: streamer top data/.streamer
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    found = _read(workdir)
    if once or as_json:
        while True:
            print(json.dumps(found, indent=2 if once else None)) if as_json else console.print(_table(found))
            if once or found["state"] in ("ended", "gone"):
                return
            time.sleep(_SECONDS)
            found = _read(workdir)
    with Live(_table(found), console=console, auto_refresh=False) as live:
        while found["state"] not in ("ended", "gone"):
            time.sleep(_SECONDS)
            found = _read(workdir)
            live.update(_table(found), refresh=True)


def _read(workdir: Path) -> dict[str, Any]:
    from streamer.supervisor.status import read

    try:
        return read(workdir)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{workdir}: no run has left its status there; name the work folder (.streamer beside the configuration)"
        raise UsageError(msg) from error


def _table(found: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from streamer.cli.progress import words

    place = f"{Path(found['recording']).name} ({found['number']} of {found['of']})" if "recording" in found else ""
    lines = [Text(f"{Path(found['config']).name}: {found['state']}  {place}  process {found['pid']}")]
    if "frames" not in found:
        return Group(*lines)
    frames = found["frames"]
    if "recordings" in found:
        lines.append(Text(f"{frames['done']}/{frames['all']} frames, {words(found)}"))
        return Group(*lines, _recordings(found["running"]))
    lines.append(Text(f"{frames['done']}/{frames['all']} frames, {words(found)}; waits for {found['waits_for']}"))
    table = Table("consumer", "phase", box=None, pad_edge=False)
    for heading in ("process", "position", "behind", "chunks", "holds", "recycled", "crashed"):
        table.add_column(heading, justify="right")
    for name, c in found["consumers"].items():
        keys = ("generation", "position", "behind", "committed_chunks", "holds", "recycled", "crashed")
        table.add_row(name, str(c.get("phase", "")), *(str(c.get(key, "")) for key in keys))
    return Group(*lines, table)


def _recordings(running: dict[str, dict[str, Any]]) -> Table:
    """Show the recordings of many that are under way; each has a snapshot of its own in its work folder."""
    from rich.table import Table

    table = Table("recording", "state", box=None, pad_edge=False)
    for heading in ("frames", "of", "frames/s", "waits for", "recycled", "crashed", "its work folder"):
        table.add_column(heading, justify="right")
    for name, found in running.items():
        frames = found.get("frames", {})
        lives = found.get("consumers", {}).values()
        counts = [sum(life.get(kind, 0) for life in lives) for kind in ("recycled", "crashed")]
        numbers = [frames.get("done", ""), frames.get("all", ""), round(frames.get("per_second", 0))]
        cells = [found.get("state", ""), *numbers, found.get("waits_for", ""), *counts, found["folder"]]
        table.add_row(name, *map(str, cells))
    return table
