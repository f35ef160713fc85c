"""``streamer episodes CONFIG``: where a configuration cuts its recordings, before anything is streamed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import ConfigPath, Overrides, TypesSetting
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from streamer.inspect.episodes import Division

_HEADINGS = ("  no.", "starts", "length", "frames", "task", "label", "why")


def episodes(
    config: ConfigPath,
    overrides: Overrides = None,
    types: TypesSetting = None,
    write: Annotated[
        Path | None, typer.Option(help="write a table to edit and use as episodes.windows", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the episodes into which CONFIG cuts its recordings, what is left out, and what looks wrong.

    Times are from the recording's first message on. Consumers are not needed.

    Example: streamer episodes config.yaml episodes.min='2 s' --write trials.csv
    """
    from streamer.cli.pictures import written
    from streamer.cli.screen import screen
    from streamer.config.load import load, with_types
    from streamer.episodes import write_windows
    from streamer.inprocess import Opened
    from streamer.inspect.episodes import divide
    from streamer.source.find import recording_name

    loaded = load(config, with_types(overrides, types), consumers_needed=False)
    if loaded.config.episodes is None:
        msg = "nothing says where episodes begin and end"
        hint = "add 'episodes:' with one of from, windows, gap, still, every, such as episodes.every='60 s'"
        raise ConfigError(msg, key="episodes", path=config, hint=hint)
    opened = Opened(loaded)
    try:
        with ExitStack() as stack:
            found = [
                divide(stack.enter_context(opened.prepared(path)), recording_name(path)) for path in opened.paths()
            ]
    except ConfigError as error:
        raise loaded.locate(error) from error
    if write is not None:
        with written(write):
            write_windows(write, [(one.name, one.begins, [e.episode for e in one.episodes]) for one in found])
    if as_json:
        print(json.dumps({"recordings": [one.as_json() for one in found]}, indent=2))
        return
    console = screen()
    for one in found:
        _show(console, one)


def _show(console: Console, found: Division) -> None:
    from rich.text import Text

    from streamer.cli.screen import table
    from streamer.units import show_duration

    values: dict[str, Any] = found.as_json()
    seconds = sum(e["seconds"] for e in values["episodes"])
    many = len(values["episodes"])
    line = f"{found.name}: {many} episode{'s' * (many != 1)}, {seconds:.1f} s of {values['seconds']:.1f} s"
    console.print(Text(line), soft_wrap=True)
    rows = [
        (
            f"  {e['number']}",
            f"{e['start_s']:.3f} s",
            show_duration(round(e["seconds"] * 1e9)),
            str(e["frames"]),
            e["task"],
            e["label"],
            e["why"],
        )
        for e in values["episodes"]
    ]
    if rows:
        console.print(table(_HEADINGS, rows, console.width), soft_wrap=True)
    for problem in values["problems"]:
        console.print(Text(f"  at {problem['at_s']:.3f} s: {problem['text']}"), soft_wrap=True)
