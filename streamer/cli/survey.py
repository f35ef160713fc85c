"""``streamer survey RECORDING…``: many recordings → groups of those that one configuration fits."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import Recordings, Salvage, Types

if TYPE_CHECKING:
    from rich.console import Console

    from streamer.inspect.groups import Group, Grouped, Member

_NAMED = 3  # recordings of a group that are named, unless -v is given


def survey(
    recordings: Recordings,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, with a configuration for each group")] = False,
    salvage: Salvage = False,
    types: Types = None,
) -> None:
    """Group recordings by what a configuration depends on: topics, types, sizes, names of elements, clocks.

    Only their indexes are read, and a few messages of each topic.

    Example: streamer survey 'bags/*.bag'
    """
    from streamer.cli.recordings import find
    from streamer.cli.screen import screen
    from streamer.cli.talk import is_quiet
    from streamer.inspect.groups import grouped

    def told(done: int, of: int) -> None:
        if sys.stderr.isatty() and not is_quiet():
            print(f"\r{done} of {of} recordings", end="\n" if done == of else "", file=sys.stderr, flush=True)

    found = grouped(find(recordings, salvage=salvage), salvage=salvage, types=types or (), told=told)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        _show(screen(), found)
    if not found.groups:
        raise typer.Exit(65)


def _show(console: Console, found: Grouped) -> None:
    from rich.text import Text

    from streamer.inspect.groups import differences

    count = sum(len(group.members) for group in found.groups)
    told = f"{_count(count, 'recording')} in {_count(len(found.groups), 'group')}"
    lost = f"; {len(found.unreadable)} cannot be read" if found.unreadable else ""
    console.print(Text(told + lost), soft_wrap=True)
    for number, group in enumerate(found.groups, 1):
        console.print(Text(f"\n{number}: {_headline(group)}"), soft_wrap=True)
        if number == 1:
            _show_streams(console, group)
        for text in () if number == 1 else differences(found.groups[0].first, group.first):
            console.print(Text(f"  {text}"), soft_wrap=True)
        for text in group.unusual():
            console.print(Text(f"  unusual: {text}"), soft_wrap=True)
        first = shlex.quote(os.path.relpath(group.first.path))
        console.print(Text(f"  its configuration: streamer init {first} -o group-{number}.yaml"), soft_wrap=True)
    for path, why in found.unreadable.items():
        console.print(Text(f"cannot be read: {os.path.relpath(path)}: {why}"), soft_wrap=True)


def _headline(group: Group) -> str:
    from streamer.cli.talk import is_verbose
    from streamer.units import show_duration

    seconds = sum(member.seconds for member in group.members)
    shown: tuple[Member, ...] = group.members if is_verbose() else group.members[:_NAMED]
    more = f", … ({len(group.members) - len(shown)} more)" if len(shown) < len(group.members) else ""
    names = ", ".join(os.path.relpath(member.path) for member in shown)
    return f"{_count(len(group.members), 'recording')}, {show_duration(round(seconds * 1e9))}: {names}{more}"


def _show_streams(console: Console, group: Group) -> None:
    from streamer.cli.screen import table

    rows = []
    for name, facts in group.first.streams.items():
        low, high = (f"{rate:.3g}" for rate in group.rates(facts.topic))
        rate = f"{low} Hz" if low == high else f"{low} to {high} Hz"
        rows.append((name, facts.topic, facts.array, rate, group.first.clocks[facts.topic]))
    console.print(table(("stream", "topic", "array", "rate", "clock"), rows, console.width), soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
