"""``streamer episodes RECORDING|CONFIG``: where recordings are cut, or could be, before anything is streamed."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import TypesSetting
from streamer.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from streamer.inspect.episodes import Division
    from streamer.inspect.markers import Guess

_HEADINGS = ("  no.", "starts", "length", "task", "label", "why")
_CONFIGS = (".yaml", ".yml", ".json")
_SHOWN = 4  # topics that a message lists


def episodes(  # long, as its arguments are the command's options
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RECORDING...|CONFIG [KEY=VALUE]...",
            help="recordings, or the YAML configuration that cuts them",
            show_default=False,
        ),
    ],
    types: TypesSetting = None,
    write: Annotated[
        Path | None, typer.Option(help="write a table to edit and use as episodes.windows", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="draw a picture; needs [plot]", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the episodes into which CONFIG cuts its recordings, what is left out, and what looks wrong.

    A RECORDING alone is cut as its topics suggest: texts such as start and stop, truth values, a joystick's buttons.
    Times are from the recording's first message on. Consumers are not needed.

    Example: streamer episodes config.yaml episodes.min='2 s' --write trials.csv
    """
    from streamer.cli.pictures import check_plot, written
    from streamer.cli.screen import as_line, screen
    from streamer.episodes import write_windows

    if plot is not None:
        check_plot()
    guesses: list[Guess] = []
    if Path(what[0]).suffix in _CONFIGS:
        found = _configured(Path(what[0]), what[1:], types)
    else:
        found, guesses = _suggested(what, types or ())
    if write is not None:
        with written(write):
            write_windows(write, [(one.name, one.begins, [e.episode for e in one.episodes]) for one in found])
    if plot is not None:
        from streamer.cli.episodes_plot import draw

        with written(plot):
            draw(found, plot)
    if as_json:
        values: dict[str, Any] = {"recordings": [one.as_json() for one in found]}
        for one, suggested in zip(values["recordings"], guesses, strict=False):
            one["suggested"] = suggested.as_settings()
        print(json.dumps(values, indent=2))
        return
    console = screen()
    for number, one in enumerate(found):
        if guesses:
            console.print(
                as_line(f"{one.name}: nothing says how to cut it; as its topics suggest, with"), soft_wrap=True
            )
            console.print(as_line(f"  {_as_yaml(guesses[number])}"), soft_wrap=True)
        _show(console, one)


def _configured(config: Path, overrides: Sequence[str], types: Sequence[str] | None) -> list[Division]:
    """Cut the recordings of a configuration."""
    from streamer.config.load import load, with_types
    from streamer.inprocess import Opened
    from streamer.inspect.episodes import divide

    loaded = load(config, with_types(list(overrides), list(types or ())), consumers_needed=False)
    if loaded.config.episodes is None:
        msg = "nothing says where episodes begin and end"
        hint = "add 'episodes:' with one of from, windows, gap, still, every, such as episodes.every='60 s'"
        raise ConfigError(msg, key="episodes", path=config, hint=hint)
    opened = Opened(loaded)
    try:
        with ExitStack() as stack:
            return [
                divide(stack.enter_context(opened.prepared(path, judge=True)), opened.name_of(path))
                for path in opened.paths()
            ]
    except ConfigError as error:
        raise loaded.locate(error) from error


def _suggested(addresses: Sequence[str], types: Sequence[str]) -> tuple[list[Division], list[Guess]]:
    """Cut recordings as their topics suggest.

    Raises:
        RecordingError: no topic of one marks episodes.

    """
    from streamer.cli.recordings import find
    from streamer.inspect import open_contents
    from streamer.inspect.episodes import divide_alone
    from streamer.pipelines.recordings import unique_names

    divisions, guesses = [], []
    for path, name in unique_names(find(addresses)).items():
        with open_contents(path, types=types) as contents:
            division, found = divide_alone(contents, name)
        if division is None:
            more = f" and {len(found.looked) - _SHOWN} more" if len(found.looked) > _SHOWN else ""
            looked = (
                f": {'; '.join(found.looked[:_SHOWN])}{more}"
                if found.looked
                else ": it has no String, Bool, Int or Joy"
            )
            msg = f"no topic marks episodes{looked}"
            hint = "say how to cut it in a configuration: episodes.from, windows, gap, still or every (streamer init)"
            raise RecordingError(msg, path=path, hint=hint)
        divisions.append(division)
        guesses.append(found)
    return divisions, guesses


def _as_yaml(found: Guess) -> str:
    import yaml

    text: str = yaml.safe_dump({"episodes": found.as_settings()}, sort_keys=False, default_flow_style=True, width=10**6)
    return text.strip().removeprefix("{").removesuffix("}")


def _show(console: Console, found: Division) -> None:
    from rich.text import Text

    from streamer.cli.screen import table
    from streamer.units import show_duration

    values: dict[str, Any] = found.as_json()
    seconds = sum(e["seconds"] for e in values["episodes"])
    many = len(values["episodes"])
    judged = Counter(e["verdict"] for e in values["episodes"] if e["verdict"] != "kept")
    told = "".join(f"; {count} {what}" for what, count in judged.items())
    line = f"{found.name}: {many} episode{'s' * (many != 1)}, {seconds:.1f} s of {values['seconds']:.1f} s{told}"
    console.print(Text(line), soft_wrap=True)
    unplanned = any(e["frames"] is None for e in values["episodes"])
    rows = [
        (
            f"  {e['number']}",
            f"{e['start_s']:.3f} s",
            show_duration(round(e["seconds"] * 1e9)),
            *([] if unplanned else [str(e["frames"])]),
            e["task"],
            e["label"],
            e["why"],
        )
        for e in values["episodes"]
    ]
    headings = _HEADINGS if unplanned else (*_HEADINGS[:3], "frames", *_HEADINGS[3:])
    if rows:
        console.print(table(headings, rows, console.width), soft_wrap=True)
    for e in values["episodes"]:
        if e["reasons"]:
            text = f"  episode {e['number']} is {e['verdict']}: {'; '.join(r['text'] for r in e['reasons'])}"
            console.print(Text(text), soft_wrap=True)
    for problem in values["problems"]:
        console.print(Text(f"  at {problem['at_s']:.3f} s: {problem['text']}"), soft_wrap=True)
