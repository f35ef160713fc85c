"""``streamer report RUN``: the summary of a run again, from its report.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="a report.json, or a work folder", show_default=False)
    ] = Path(".streamer"),
    as_json: Annotated[bool, typer.Option("--json", help="print the report as it is")] = False,
) -> None:
    """Show in tables how the last run in a work folder ended, and exit with its code.

    Example: streamer report .streamer
    """
    from streamer.cli.memory import read_report
    from streamer.cli.screen import as_line, say, screen
    from streamer.cli.tables import show_recording

    found = read_report(run)
    if as_json:
        say(json.dumps(found, indent=2))
        raise typer.Exit(found["exit_code"])
    console = screen()
    console.print(as_line(f"configuration: {found['config']}"), soft_wrap=True)
    for values in found["recordings"]:
        show_recording(console, Path(values["path"]).name, values["state"], values)
    if found["error"] is not None:
        console.print(as_line(f"error: {found['error']['message']}"), soft_wrap=True)
    console.print(f"exit code: {found['exit_code']}")
    raise typer.Exit(found["exit_code"])
