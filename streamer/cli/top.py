"""``streamer top [WORKDIR]``: a live table of running pipelines, from the snapshots that their supervisors keep."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.errors import UsageError
from streamer.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Group
    from rich.text import Text

_SECONDS = 0.5
_OVER = ("ended", "gone")


def top(
    workdir: Annotated[
        Path | None, typer.Argument(metavar="[WORKDIR]", help="the work folder of one run", show_default=False)
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="show it once and end")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON: one object, or one a line")] = False,
) -> None:
    """Watch what runs: progress, speed, the consumer that others wait for, processes that were replaced.

    Without WORKDIR all of yours on this machine are shown (as JSON: a list). Of a run that has ended, its WORKDIR
    shows the last state.

    Example: streamer top data/.streamer
    """
    from rich.live import Live

    from streamer.cli.screen import say, screen

    looks = _looks(workdir)
    console = screen()
    if as_json:
        for found in looks:
            say(json.dumps(found if workdir is None else found[0], indent=2 if once else None))
            if once:
                return
    elif once:
        console.print(_tables(next(looks), console.width))
    else:
        with Live(console=console, auto_refresh=False) as live:
            for found in looks:
                live.update(_tables(found, console.width), refresh=True)


def _looks(workdir: Path | None) -> Iterator[list[dict[str, Any]]]:
    """Yield what is to be seen, again and again until it is over; the last look is at its end."""
    from streamer.pipelines.running import running

    if workdir is not None:
        _read(workdir)
    folders = list(running()) if workdir is None else [workdir]
    while True:
        found = []
        for folder in folders:
            with suppress(UsageError):  # it was removed meanwhile
                found.append(_read(folder))
        if workdir is not None and not found:
            return
        yield found
        if all(pipeline["state"] in _OVER for pipeline in found):
            return
        time.sleep(_SECONDS)
        if workdir is None:  # those that have ended are shown to the end, those that begin as they come
            folders += [folder for folder in running() if folder not in folders]


def _read(workdir: Path) -> dict[str, Any]:
    from streamer.supervisor.status import read

    try:
        return read(workdir) | {"workdir": str(workdir.absolute())}
    except (OSError, ValueError, KeyError) as error:
        msg = f"{workdir}: no run has left its status there; name the work folder (.streamer beside the configuration)"
        raise UsageError(msg) from error


def _tables(found: list[dict[str, Any]], width: int) -> Group:
    from rich.console import Group
    from rich.text import Text

    if not found:
        return Group(Text("no pipeline of yours is running; 'streamer top WORKDIR' shows how the last one ended"))
    return Group(*(part for pipeline in found for part in _table(pipeline, width)))


def _table(found: dict[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    from streamer.cli.progress import words
    from streamer.cli.screen import table

    place = f"{Path(found['recording']).name} ({found['number']} of {found['of']})" if "recording" in found else ""
    yield Text(visible(f"{found['config']}: {found['state']}  {place}  process {found['pid']}"))
    if "recordings" in found:
        frames = found["frames"]
        yield Text(f"{frames['done']}/{frames['all']} frames, {words(found)}")
        headings = ("state", "frames", "of", "frames/s", "waits for", "recycled", "crashed", "its work folder")
        yield table(
            ("recording", *headings), list(_recordings(found["running"])), width, ("its work folder", "waits for")
        )
        return
    if not found.keys() >= {"frames", "pool", "consumers"}:  # it opens yet, or is of another version than this
        return
    frames = found["frames"]
    yield Text(f"{frames['done']}/{frames['all']} frames, {words(found)}; waits for {found['waits_for']}")
    keys = ("phase", "generation", "position", "behind", "committed_chunks", "holds", "recycled", "crashed")
    rows = [(name, *(str(c.get(key, "")) for key in keys)) for name, c in found["consumers"].items()]
    headings = ("phase", "process", "position", "behind", "chunks", "frames in use", "recycled", "crashed")
    yield table(("consumer", *headings), rows, width, ("frames in use", "position", "chunks", "process"))


def _recordings(running: dict[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Describe the recordings of many that are under way; each has a snapshot of its own in its work folder."""
    for name, found in running.items():
        frames = found.get("frames", {})
        lives = found.get("consumers", {}).values()
        counts = [sum(life.get(kind, 0) for life in lives) for kind in ("recycled", "crashed")]
        numbers = [frames.get("done", ""), frames.get("all", ""), round(frames.get("per_second", 0))]
        cells = [found.get("state", ""), *numbers, found.get("waits_for", ""), *counts, found["folder"]]
        yield visible(name), *(visible(str(cell)) for cell in cells)
