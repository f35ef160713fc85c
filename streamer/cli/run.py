"""``streamer run CONFIG``: stream a configuration's recordings and say how it went."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.options import ConfigPath, Overrides
from streamer.errors import ConfigError, OutputError, UsageError


def run(  # long, as its arguments are the command's options
    config: ConfigPath,
    overrides: Overrides = None,
    report: Annotated[Path | None, typer.Option(help="write the report here, too", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue an unfinished run")] = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="progress and end as JSON, one a line")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="forget an unfinished run and begin anew")] = False,
    again: Annotated[bool, typer.Option("--again", help="do everything again, even what is done")] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="INDEX/COUNT",
            help="every COUNT-th recording, from INDEX (0 is the first) on; of episodes, that part",
        ),
    ] = None,
) -> None:
    """Stream the recordings of CONFIG to its consumers; what an earlier run has done is not done again.

    Example: streamer run configs/quickstart.yaml chunk_size=50 'pool=256 MB'
    """
    from streamer.cli.progress import make_observer
    from streamer.cli.screen import say
    from streamer.cli.summary import show_summary
    from streamer.config.load import load
    from streamer.pipelines.run import run as run_all
    from streamer.pipelines.run import workdir_of

    if resume and (restart or again):
        msg = "--resume continues a run, --restart and --again forget it: give one of them"
        raise UsageError(msg)
    if report is not None and not report.absolute().parent.is_dir():
        msg = f"--report: {report}: the folder does not exist"
        raise OutputError(msg)
    try:
        loaded = load(config, overrides or ())
    except ConfigError as mistake:
        from streamer.inspect.mistakes import all_of_file

        raise all_of_file(config, overrides or (), mistake) from mistake
    mode = "resume" if resume else "restart" if restart or again else "fresh"
    part = None if only is None else _part(only)
    began = time.monotonic()
    with make_observer(json_lines=json_lines) as observer:
        found = run_all(loaded, mode, observer, part)
    if json_lines:
        error = str(found.error) if found.error else None
        say(json.dumps({"event": "end", "exit_code": found.exit_code, "error": error, **found.as_json()["frames"]}))
    else:
        show_summary(found, loaded, workdir_of(loaded, part), time.monotonic() - began)
    if report is not None:
        found.write(report)
    raise typer.Exit(found.exit_code)


def _part(text: str) -> tuple[int, int]:
    """Read which of how many parts is meant: 0/4 to 3/4."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        msg = f"--only {text!r}: write INDEX/COUNT with an index from 0 to COUNT - 1, such as 0/4"
        raise UsageError(msg)
    return int(index), int(count)
