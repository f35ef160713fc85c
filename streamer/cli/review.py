"""``streamer review OUT``: say of the episodes of an output which are good, for the next merging."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.errors import UsageError
from streamer.text import visible

_EPISODES = "an episode, by its number or its recording's name; may be repeated"


def review(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="the folder of an output", show_default=False)],
    accept: Annotated[list[str] | None, typer.Option("--accept", metavar="EPISODE", help=_EPISODES)] = None,
    reject: Annotated[list[str] | None, typer.Option("--reject", metavar="EPISODE", help=_EPISODES)] = None,
    forget: Annotated[list[str] | None, typer.Option("--forget", metavar="EPISODE", help=_EPISODES)] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="what to remember of them")] = None,
) -> None:
    """List the episodes of an output with what was said of them; accept or reject some, with a note.

    It is kept beside the output (OUT.review.json); 'streamer merge CONFIG' leaves rejected episodes out, and takes in
    again those that are rejected no more.

    Example: streamer review out/dataset --reject 3 --note "gripper slipped"
    """
    from streamer.pipelines import review as kept

    if not out.is_dir():
        msg = f"{out} is no folder: name an output, such as the dataset's folder"
        raise UsageError(msg)
    asked = [(accept, kept.ACCEPTED), (reject, kept.REJECTED), (forget, "")]
    if note is not None and not any(words for words, _ in asked):
        msg = "--note goes with --accept or --reject, which say what it is about"
        raise UsageError(msg)
    meant = [(kept.chosen(out, words), verdict) for words, verdict in asked if words]
    for names, verdict in meant:
        kept.say(out, names, verdict, note if verdict else "")
    _show(out)


def _show(out: Path) -> None:
    from streamer.cli.screen import say, screen, table
    from streamer.pipelines import review as kept

    said, episodes = kept.read(out), kept.listed(out)
    rows = [(str(one.number), one.name, one.frames, one.task) for one in episodes]
    rows += [("", name, None, "") for name in sorted(said.keys() - {one.name for one in episodes})]
    if not rows:
        say(f"{visible(str(out))} lists no episodes, and nothing was said of any")
        return
    cells = [
        (
            number,
            visible(name),
            "" if frames is None else str(frames),
            visible(task),
            *map(visible, said.get(name, ("", ""))),
        )
        for number, name, frames, task in rows
    ]
    console = screen()
    console.print(table(("#", "recording", "frames", "task", "verdict", "note"), cells, console.width))
    count = sum(one.verdict == kept.REJECTED for one in said.values())
    if count:
        say(f"{count} rejected: the next 'streamer merge' leaves {'it' if count == 1 else 'them'} out")
