"""``streamer plan CONFIG|RECORDING…``: how well the streams fit together in time, before paying for a run."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import Given, Salvage, TypesSetting
from streamer.errors import StreamerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from streamer.inspect.alignment import View

_BLOCKS = " ▁▂▃▄▅▆▇█"
_HEADINGS = (
    "  stream",
    "messages",
    "|offset| median",
    "95 %",
    "largest",
    "held",
    "in gaps",
    "none",
    "offsets, least … largest",
)
_LESS_NEEDED = (_HEADINGS[-1], "95 %", "held")
_LISTED = 5  # spans of each kind


def plan(  # long, as its arguments are the command's options
    given: Given,
    types: TypesSetting = None,
    salvage: Salvage = False,
    plot: Annotated[
        Path | None, typer.Option(help="draw the timeline, a lane a stream (.png, .svg or .pdf)", show_default=False)
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="write a row a frame", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show how far samples are from their ticks, where streams hold or have gaps, and which ticks are left out.

    Only the index of a recording is read, and one message of each topic: it costs next to nothing.
    Consumers are not needed. Offsets are stamp minus tick; histograms run from the least to the largest.

    Example: streamer plan config.yaml --plot timeline.png timeline.rate='20 Hz'
    """
    from streamer.cli.pictures import check_plot, written
    from streamer.cli.screen import screen
    from streamer.inprocess import Opened
    from streamer.inspect.alignment import view, write_csv
    from streamer.inspect.given import given as read_given
    from streamer.source.find import recording_name

    if plot is not None:
        check_plot()
    loaded = read_given(given, types=types or (), salvage=salvage)
    opened = Opened(loaded)
    paths = opened.paths()
    path = paths[0]
    try:
        with ExitStack() as stack:
            prepared = []
            for path in paths:
                prepared.append((recording_name(path), stack.enter_context(opened.prepared(path))))
            views = [view(part, name) for name, part in prepared]
            if csv is not None:
                with written(csv):
                    write_csv(csv, prepared)
    except StreamerError as error:
        raise loaded.locate(error.within(path=path) if len(paths) > 1 else error) from error
    if plot is not None:
        from streamer.cli.plan_plot import draw

        with written(plot):
            draw(views, plot)
    if as_json:
        print(json.dumps({"recordings": [found.as_json() for found in views]}, indent=2))
        return
    console = screen()
    for found in views:
        _show(console, found)


def _show(console: Console, found: View) -> None:

    from streamer.cli.screen import as_line, table

    values = found.as_json()
    left_out = values["planned"] - values["frames"]
    length = f"; {found.seconds[-1] - found.seconds[0]:.1f} s" if len(found.seconds) else ""
    line = (
        f"{Path(found.path).name}: {values['frames']} frames of {values['planned']} ticks, {left_out} left out{length}"
    )
    console.print(as_line(line), soft_wrap=True)
    rows = []
    for name, s in values["streams"].items():
        sizes = [_ms(s["offset_ms"][key]) for key in ("median", "p95", "largest")]
        counts = [str(s[kind]["frames"]) for kind in ("held", "gaps", "none")]
        rows.append((f"  {name}", str(s["messages"]), *sizes, *counts, _bars(s["histogram"])))
    console.print(table(_HEADINGS, rows, console.width, _LESS_NEEDED), soft_wrap=True)
    for line in _lines(found):
        console.print(as_line(f"  {line}"), soft_wrap=True)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _bars(histogram: dict[str, list[float]]) -> str:
    counts, edges = histogram["counts"], histogram["edges_ms"]
    if not counts or edges[-1] - edges[0] < 1e-3:
        return "all at the tick" if counts and abs(edges[0] + edges[-1]) <= 1.001 else ""
    top = max(counts)
    bars = "".join(_BLOCKS[-(-8 * int(count) // int(top))] for count in counts)
    return f"{edges[0]:+.1f} {bars} {edges[-1]:+.1f} ms"


def _lines(found: View) -> Iterator[str]:
    """Tell the longest spans of each kind in words."""
    end = float(found.seconds[-1]) if len(found.seconds) else 0.0
    kinds = [(f"left out, {reason}", spans) for reason, spans in found.left_out.items()]
    for lane in found.lanes:
        if lane.map:
            yield f"{lane.name}: {lane.map}"
        kinds += [(f"{lane.name}: in a gap", lane.spans["gaps"]), (f"{lane.name}: no sample", lane.spans["none"])]
        if lane.begins_s is not None and lane.begins_s > 1.0:
            yield f"{lane.name}: its first message comes {lane.begins_s:.1f} s after the first tick"
        if lane.ends_s is not None and lane.ends_s < end - 1.0:
            yield f"{lane.name}: its last message comes {end - lane.ends_s:.1f} s before the last tick"
    for what, spans in kinds:
        if not spans:
            continue
        longest = sorted(sorted(spans, key=lambda s: s.first - s.last)[:_LISTED], key=lambda s: s.first)
        told = ", ".join(f"{s.begin_s:.2f}–{s.end_s:.2f} s ({s.last - s.first + 1})" for s in longest)
        more = f" and {len(spans) - len(longest)} shorter spans" if len(spans) > len(longest) else ""
        yield f"{what}: {told}{more}"
