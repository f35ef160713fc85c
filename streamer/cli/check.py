"""``streamer check CONFIG``: what would go wrong in a run, and what it would need, before any process starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import ConfigPath, Overrides, TypesSetting
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from streamer.inspect.findings import Checked


def check(
    config: ConfigPath,
    overrides: Overrides = None,
    types: TypesSetting = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    with_recordings: Annotated[
        bool, typer.Option("--recordings/--no-recordings", help="whether recordings are opened")
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="do not look at every planned message")] = False,
) -> None:
    """Check CONFIG against its recordings and consumers: topics, fields, options, memory, disk, expected frames.

    All findings are told, not only the first. Nothing is streamed; consumers are asked but not opened. The head of
    every planned message is read, as its size may differ from that of the first.
    Exit codes: 0 it would run, 78 mend the configuration, 65 a recording does not hold what is asked of it.

    Example: streamer check config.yaml timeline.rate='20 Hz'
    """
    from streamer.cli.screen import screen
    from streamer.config.lenient import load_leniently
    from streamer.config.load import with_types
    from streamer.inspect.checks import check_config
    from streamer.inspect.findings import Checked

    try:
        loaded, mistakes = load_leniently(config, with_types(overrides, types))
    except ConfigError as error:
        if not as_json:
            raise
        loaded, mistakes = None, [error]
    if loaded is None:
        found = Checked()
        for mistake in mistakes:
            found.add(mistake)
    else:
        found = check_config(loaded, with_recordings=with_recordings, quick=quick, mistakes=mistakes)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        _show(screen(), found)
    raise typer.Exit(found.exit_code)


def _show(console: Console, found: Checked) -> None:
    from streamer.cli.screen import as_line
    from streamer.units import show_duration, show_size

    for r in found.recordings:
        skipped = "".join(f", {count} skipped ({reason})" for reason, count in r["skipped"].items())
        line = (
            f"{Path(r['path']).name}: {r['frames']} frames in {r['chunks']} chunks{skipped}; "
            f"{show_duration(round(r['seconds'] * 1e9))}"
        )
        console.print(as_line(line), soft_wrap=True)
        console.print(_streams(r["streams"], console.width))
    if found.consumers:
        console.print(as_line(f"consumers: {', '.join(found.consumers)}"), soft_wrap=True)
    if found.recordings:
        memory, disk = found.memory, found.disk
        slots = max(r["slots"] for r in found.recordings)
        console.print(
            f"memory: {show_size(memory['pool_bytes'])} shared ({slots} slots), and what {memory['processes']} "
            f"processes take of their own; {show_size(memory['available_bytes'])} available"
        )
        room = f"; {show_size(disk['free_bytes'])} free at {disk['folder']}" if "folder" in disk else ""
        text = f"disk: all frames as they are take {show_size(disk['frames_bytes'])}{room}"
        console.print(as_line(text), soft_wrap=True)
    errors = [finding for finding in found.findings if finding.code]
    for finding in found.findings:
        mark = "error" if finding.code else "warning"
        console.print(as_line(f"{mark}: {finding.message}"), soft_wrap=True)
    console.print(f"{len(errors)} error{'s' * (len(errors) != 1)}" if errors else "ready to run")


def _streams(streams: dict[str, Any], width: int) -> Text:
    from streamer.cli.screen import table

    headings = ("  stream", "topic", "array", "messages", "held", "in gaps", "none", "largest offset")
    rows = []
    for name, s in streams.items():
        array = f"{'×'.join(map(str, s['shape']))} {s['dtype']}"
        if s["kind"] in ("points", "text"):
            array = f"{s['shape'][0]} points" if s["kind"] == "points" else "text"
        numbers = [str(s[key]) for key in ("messages", "held", "gaps", "none")]
        rows.append((f"  {name}", s["topic"], f"({array})", *numbers, f"{s['max_offset_ms']:.1f} ms"))
    found: Text = table(headings, rows, width)
    for name, s in streams.items():
        if s["map"]:
            found.append(f"\n  {name}: {s['map']}")
        if s["averaged"]:
            least, most = s["averaged"]
            found.append(f"\n  {name}: each sample is the mean of {least} to {most} messages")
    return found
