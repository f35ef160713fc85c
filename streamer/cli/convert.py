"""``streamer convert RECORDING… --to KIND``: recordings → a dataset, a table, a video, … in one command."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import KINDS, Salvage, ToConvert, Types
from streamer.cli.talk import is_quiet
from streamer.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.config.load import Loaded
    from streamer.inspect.conversion import Wish

_NUMBER = re.compile(r"\d+(\.\d+)?")
_WORK = Path(".streamer") / "convert"


def convert(  # noqa: PLR0913, PLR0917 - an argument for each option
    recordings: ToConvert,
    to: Annotated[str, typer.Option("--to", metavar="KIND", help=f"one of {KINDS}", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="the folder for the output; out/KIND where left out")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="frames per second; the busiest camera's where left out", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(help="what the robot does, for lerobot", show_default=False)] = None,
    streams: Annotated[
        str | None, typer.Option(help="only these, by the names of 'streamer init': front,joints", show_default=False)
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="the streams that are the state, of a dataset to train on", show_default=False)
    ] = None,
    action: Annotated[str | None, typer.Option(help="the streams that are the action", show_default=False)] = None,
    start: Annotated[
        str | None, typer.Option(help="seconds from the beginning, or an ISO 8601 time", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="seconds from the beginning, or an ISO 8601 time", show_default=False)
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="aloha or robomimic for hdf5, replay_buffer for zarr, tum for images", show_default=False),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="also write the configuration, for 'streamer run'", show_default=False)
    ] = None,
    again: Annotated[bool, typer.Option("--again", "--restart", help="convert again, even what is done")] = False,
    salvage: Salvage = False,
    types: Types = None,
) -> None:
    """Convert recordings into a dataset, a table, a video, …: everything is chosen from what they hold.

    Cameras become observation.images.NAME of a LeRobot dataset, joint positions observation.state, commands action.
    Several recordings become episodes of one dataset, or a file each. A conversion that was interrupted goes on
    where it was; what is done is not done again.

    KEY=VALUE changes a setting of the configuration that 'streamer init' would write: pool='1 GB'. --save keeps it.

    Example: streamer convert demo://tabletop --to lerobot --task "stack the blocks" --rate 10 -o out/blocks
    """
    from streamer.inspect.conventions import Said
    from streamer.inspect.conversion import Wish
    from streamer.inspect.given import split_recordings

    target = (out or Path("out") / to).absolute()
    if save is not None and save.exists():
        msg = f"{save} exists already: give another name with --save"
        raise UsageError(msg)
    wish = Wish(
        to,
        str(target),
        _with_unit(rate, "Hz"),
        task,
        _names(streams),
        _with_unit(start, "s"),
        _with_unit(end, "s"),
        layout,
        Said(_names(state), _names(action)),
    )
    addresses, overrides = split_recordings(recordings)
    loaded, remarks = _decided(
        wish, lambda wish: _choose(addresses, overrides, wish, salvage=salvage, types=types or ())
    )
    if save is not None:
        _save(save, loaded)
    _run(loaded, target, remarks, again=again)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _decided(wish: Wish, choose: Callable[[Wish], tuple[Loaded, list[str]]]) -> tuple[Loaded, list[str]]:
    """Choose; ask on a terminal what cannot be told.

    Raises:
        UndecidedError: it is no terminal.

    """
    from streamer.inspect.conversion import UndecidedError

    while True:
        try:
            return choose(wish)
        except UndecidedError as error:
            if is_quiet() or not error.choices or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            answer = str(typer.prompt(f"{error.text}. Which is it ({', '.join(error.choices)})?", err=True))
            chosen = {"state": "states", "action": "actions"}[error.option]
            wish = replace(wish, said=replace(wish.said, **{chosen: (answer,)}))


def _choose(
    addresses: Sequence[str], overrides: Sequence[str], wish: Any, *, salvage: bool, types: Sequence[str]
) -> tuple[Loaded, list[str]]:
    """Make the configuration from the first recording; the others must hold the same."""
    from streamer.config.load import apply, checked
    from streamer.inspect import open_contents
    from streamer.inspect.conversion import conversion
    from streamer.pipelines.recordings import recordings

    key = hashlib.sha256(json.dumps([wish.to, wish.out]).encode()).hexdigest()[:12]
    source: dict[str, Any] = {
        "path": list(addresses),
        **({"on_damage": "salvage"} if salvage else {}),
    }
    values: dict[str, Any] = {"source": source, "consumers": {wish.to: {}}, "workdir": str(Path.cwd() / _WORK / key)}
    path = Path.cwd() / "convert.yaml"  # the name under which the work folder remembers it; nobody writes it
    first, *others = recordings(checked(path, {**values, "streams": {"any": {"topic": "/any"}}}))
    with open_contents(first, salvage=salvage, types=types) as inside:
        found = conversion(inside, wish)
    values |= found.values
    values["source"] = {**found.values["source"], **source}
    remarks = list(found.remarks)
    if others:
        remarks.append(f"streams were chosen by {first.name}, the first of {len(others) + 1} recordings")
    lines: dict[tuple[str | int, ...], int | None] = {}
    for override in overrides:
        apply(values, override, lines)
    return checked(path, values, lines), remarks


def _with_unit(text: str | None, unit: str) -> str | None:
    return f"{text} {unit}" if text is not None and _NUMBER.fullmatch(text.strip()) else text


def _save(path: Path, loaded: Loaded) -> None:
    """Write the configuration; paths in it are absolute, as it may lie anywhere."""
    import yaml

    from streamer.cli.pictures import written

    values = {key: value for key, value in loaded.values.items() if key != "workdir"}
    addresses = values["source"]["path"]
    whole = [a if a.startswith("demo://") else str(Path(a).expanduser().absolute()) for a in addresses]
    values["source"] = {**values["source"], "path": whole}
    with written(path):
        path.write_text(yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120), encoding="utf-8")


def _run(loaded: Loaded, target: Path, remarks: list[str], *, again: bool) -> None:
    from streamer.cli.progress import make_observer
    from streamer.cli.summary import show_summary
    from streamer.pipelines.run import run, workdir_of

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        anew = again or not target.exists() or not any(target.iterdir())
    except OSError as error:
        msg = f"{target}: it cannot be made: {error.strerror}"
        raise OutputError(msg) from error
    began = time.monotonic()
    with make_observer() as observer:
        found = run(loaded, "restart" if anew else "go_on", observer)
    show_summary(
        found, loaded, workdir_of(loaded), time.monotonic() - began, again="the same command again", said=remarks
    )
    raise typer.Exit(found.exit_code)
