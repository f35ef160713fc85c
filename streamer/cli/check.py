"""``streamer check CONFIG|RECORDING…``: what would go wrong in a run and what it would need, before one starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamer.cli.options import Given, Salvage, TypesSetting
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from streamer.inspect.findings import Checked


def check(
    given: Given,
    types: TypesSetting = None,
    salvage: Salvage = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    with_recordings: Annotated[
        bool, typer.Option("--recordings/--no-recordings", help="whether recordings are opened")
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="do not look at every planned message")] = False,
) -> None:
    """Find every mistake before a run: topics, fields, options, memory, disk. Say how many frames to expect.

    Of recordings, check the configuration that 'streamer init' would write for the first against all of them.

    Nothing is streamed or written. Every planned message is looked at, since its size may differ from the first;
    --quick leaves that out.

    Exit codes: 0 ready to run, 78 mend the configuration, 65 a recording does not hold what is asked of it.

    Example: streamer check config.yaml timeline.rate='20 Hz'
    """
    from streamer.cli.screen import screen
    from streamer.inspect.checks import check_config
    from streamer.inspect.findings import Checked
    from streamer.inspect.given import given_leniently

    try:
        loaded, mistakes = given_leniently(given, types=types or (), salvage=salvage)
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
        at_once = f"{max(r['slots'] for r in found.recordings)} frames at a time"
        console.print(
            f"memory: {show_size(memory['pool_bytes'])} shared ({at_once}), and what {memory['processes']} processes "
            f"take of their own; {show_size(memory['available_bytes'])} available"
        )
        room = f"; {show_size(disk['free_bytes'])} free at {disk['folder']}" if "folder" in disk else ""
        text = f"disk: all frames as they are take {show_size(disk['frames_bytes'])}{room}"
        console.print(as_line(text), soft_wrap=True)
    errors = [finding for finding in found.findings if finding.code]
    paths = {finding.recording for finding in found.findings if finding.recording}
    several = len(paths | {r["path"] for r in found.recordings}) > 1
    for finding in found.findings:
        mark = "error" if finding.code else "warning"
        name = Path(finding.recording).name if finding.recording and several else ""
        of = f"{name}: " if name and name not in finding.message else ""
        console.print(as_line(f"{mark}: {of}{finding.message}"), soft_wrap=True)
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
    found: Text = table(headings, rows, width, ("topic", "held", "in gaps"))
    for name, s in streams.items():
        if s["map"]:
            found.append(f"\n  {name}: {s['map']}")
        if s["averaged"]:
            least, most = s["averaged"]
            found.append(f"\n  {name}: each sample is the mean of {least} to {most} messages")
    return found
