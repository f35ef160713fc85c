"""``streamer run CONFIG``: stream a configuration's recordings and say how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streamer.errors import OutputError, UsageError


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="the YAML configuration", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="settings that override the file's", show_default=False),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="write the report here, too", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue an unfinished run")] = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="progress and end as JSON, one a line")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="forget an unfinished run and begin anew")] = False,
) -> None:
    """Stream the recordings of CONFIG to its consumers.

    Example: streamer run configs/quickstart.yaml chunk_size=50 'pool=256 MB'
    """
    from streamer.cli.progress import make_observer
    from streamer.cli.screen import say
    from streamer.cli.summary import show_summary
    from streamer.config.load import load
    from streamer.supervisor.run import run as run_all

    if resume and restart:
        msg = "--resume continues a run and --restart forgets it: give one of them"
        raise UsageError(msg)
    if report is not None and not report.absolute().parent.is_dir():
        msg = f"--report: {report}: the folder does not exist"
        raise OutputError(msg)
    loaded = load(config, overrides or ())
    mode = "resume" if resume else "restart" if restart else "fresh"
    with make_observer(json_lines=json_lines) as observer:
        found = run_all(loaded, mode, observer)
    if json_lines:
        error = str(found.error) if found.error else None
        say(json.dumps({"event": "end", "exit_code": found.exit_code, "error": error, **found.as_json()["frames"]}))
    else:
        show_summary(found, loaded)
    if report is not None:
        found.write(report)
    raise typer.Exit(found.exit_code)
