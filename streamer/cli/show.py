"""``streamer show CONFIG``: one frame as a picture, every stream before and after each step of its map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import Given
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from rich.text import Text

    from streamer.inspect.moment import Shown

_LISTED = 12  # elements of a vector that are printed


def show(  # long, as its arguments are the command's options
    given: Given,
    frame: Annotated[int | None, typer.Option(help="the frame's number, from 0", show_default=False)] = None,
    at: Annotated[
        str | None, typer.Option(help="the frame nearest to this time from the first tick, such as '5 s'")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="the picture (.png, .svg or .pdf)", show_default="frame-N.png")
    ] = None,
) -> None:
    """Draw one frame of the first recording, in the middle unless told otherwise, and print its vectors.

    Nothing is streamed, and consumers are not needed: it is what one looks at while writing a configuration.

    Example: streamer show config.yaml --at '5 s' -o frame.png
    """
    from streamer.cli.pictures import check_plot, written
    from streamer.cli.screen import as_line, screen
    from streamer.errors import UsageError
    from streamer.inprocess import Opened
    from streamer.inspect.given import given as read_given
    from streamer.inspect.moment import number_at, show_frame
    from streamer.units import duration

    if frame is not None and at is not None:
        msg = "name the frame by --frame or by --at, not by both"
        raise UsageError(msg)
    try:
        after = None if at is None else duration(at)
    except ValueError as error:
        msg = f"--at: {error}"
        raise UsageError(msg) from error
    check_plot("show")
    loaded = read_given(given)
    opened = Opened(loaded)
    path = opened.paths()[0]
    try:
        with opened.prepared(path) as prepared:
            middle = prepared.plan.frames // 2
            number = frame if frame is not None else middle if after is None else number_at(prepared, after)
            shown = show_frame(prepared, number)
            seconds = (int(prepared.plan.ticks[number]) - int(prepared.ticks[0])) / 1e9
    except ConfigError as error:
        raise loaded.locate(error) from error
    title = f"{path.name}: frame {number}, {seconds:.2f} s"
    console = screen()
    console.print(as_line(title), soft_wrap=True)
    for stream in shown:
        console.print(_told(stream), soft_wrap=True)
    from streamer.cli.show_plot import draw

    target = out or Path(f"frame-{number}.png")
    with written(target):
        draw(shown, title, target)
    console.print(as_line(f"picture: {target}"), soft_wrap=True)


def _told(stream: Shown) -> Text:
    """Say what a stream is in the frame; of vectors the numbers, too."""
    from streamer.cli.screen import as_line

    line = f"  {stream.name}: "
    if not stream.stages:
        return as_line(line + stream.why)
    parts = [stream.stages[0].shape, *(part for s in stream.stages[1:] for part in (s.label, s.shape))]
    line += f"{' → '.join(parts)}, {stream.offset / 1e6:+.1f} ms"
    last = stream.stages[-1]
    if last.text is not None:
        line += f": {last.text!r}"
    elif last.array.ndim == 1 and last.array.dtype.names is None:
        names = last.spec.names or tuple(map(str, range(len(last.array))))
        pairs = [f"{name} {value + 0.0:.6g}" for name, value in zip(names, last.array[:_LISTED].tolist(), strict=False)]
        more = f", … {len(last.array) - _LISTED} more" if len(last.array) > _LISTED else ""
        line += f": {', '.join(pairs)}{more}" + (f" ({last.spec.unit})" if last.spec.unit else "")
    return as_line(line)
