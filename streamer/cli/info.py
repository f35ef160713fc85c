"""``streamer info RECORDING``: what is in a recording, from its index alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import Recordings, Salvage, Types
from streamer.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from streamer.inspect.contents import TopicFacts
    from streamer.inspect.survey import Looked, Survey

_NUMBERS = ("messages", "size", "rate", "jitter", "begins", "gaps", "largest gap", "skew")
_LESS_NEEDED = ("jitter", "begins", "gaps", "size")
_WIDE = 140  # characters, from which a topic takes one line


def info(
    recordings: Recordings,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, of several recordings one a line")] = False,
    salvage: Salvage = False,
    types: Types = None,
) -> None:
    """Show topics, rates, gaps and sizes of each RECORDING, and a configuration to begin with.

    Example: streamer info recording.bag
    """
    from streamer.cli.recordings import find

    found = find(recordings, salvage=salvage)
    codes = []
    for number, path in enumerate(found):
        if number and not as_json:
            print()
        codes.append(
            _tell(
                path,
                indent=None if as_json and len(found) > 1 else 2,
                as_json=as_json,
                salvage=salvage,
                types=types or (),
            )
        )
    raise typer.Exit(max(codes, default=0))


def _tell(path: Path, *, indent: int | None, as_json: bool, salvage: bool, types: Sequence[str]) -> int:
    """Print what is known of a recording; return the exit code."""
    from streamer.cli.screen import screen
    from streamer.inspect import info as survey

    try:
        found = survey(path, salvage=salvage, types=types)
    except RecordingError as error:
        if not as_json:
            raise
        print(json.dumps({"path": str(path.absolute()), "indexed": False, "error": str(error)}, indent=indent))
        return error.exit_code
    if as_json:
        print(json.dumps(found.as_json(), indent=indent))
    else:
        _show(screen(), found, "" if sys.stdout.isatty() else "# ")
    return 0


def _show(console: Console, found: Survey, mark: str) -> None:
    """Print what was found; ``mark`` makes comments of it, so that the whole output is a configuration."""
    from rich.text import Text

    from streamer.cli.screen import as_line, table
    from streamer.units import show_duration, show_size

    def line(text: str) -> None:
        console.print(as_line(mark + text), soft_wrap=True)

    line(found.path)
    for damage in found.damage:
        line(f"salvaged {damage}")
    files = f" in {found.files} files" if found.files > 1 else ""
    line(
        f"{found.kind}, {show_size(found.size_bytes)}{files}, compression {found.compression}, "
        f"{'indexed' if found.indexed else 'damaged' if found.damage else 'unindexed'}; "
        f"{show_duration(round(found.duration_s * 1e9))}, {found.messages} messages"
    )
    topics = sorted(found.topics, key=lambda t: (-(t.rate_hz or 0), t.name))
    wide = console.width >= _WIDE
    headings = ("topic", *(("type",) if wide else ()), *_NUMBERS)
    names = [(t.name, t.type) if wide else (f"{t.name}  {t.type}",) for t in topics]
    rows = [(*name, *_numbers(t, found.looks[t.name])) for name, t in zip(names, topics, strict=True)]
    for text in table(headings, rows, console.width - len(mark), _LESS_NEEDED).plain.splitlines():
        line(text)
    line("size: estimated from a few messages; gaps: distances over three times the median;")
    line("skew: median of receive stamp minus header stamp, of a few messages")
    for warning in found.warnings:
        line(f"warning: {warning}")
    if not found.suggestion.streams:
        from streamer.inspect.suggestion import reasons

        line("no topic can be read as a stream without further settings:")
        for reason in reasons(found.suggestion.left_out):
            line(f"  {reason}")
        return
    console.print(f"\n{mark}A configuration to begin with:\n")
    console.print(Text(found.suggestion.as_yaml()), soft_wrap=True)


def _numbers(topic: TopicFacts, look: Looked) -> tuple[str, ...]:
    """Write what is known of a topic, in the order of the headings."""
    from streamer.units import show_duration, show_size

    def told(value: float | None, unit_ns: float) -> str:
        return "" if value is None else ("-" if value < 0 else "") + show_duration(round(abs(value) * unit_ns))

    at = "" if topic.largest_gap_at_s is None else f" at {topic.largest_gap_at_s:.1f} s"
    return (
        str(topic.count),
        "" if look.size_bytes is None else show_size(look.size_bytes),
        "" if topic.rate_hz is None else f"{topic.rate_hz:.3g} Hz",
        told(topic.jitter_ms, 1e6),
        told(topic.first_s, 1e9),
        str(topic.gaps),
        told(topic.largest_gap_ms, 1e6) + at,
        told(look.skew_ms, 1e6),
    )
