"""``streamer sync CONFIG``: how late a camera's stamps are, from the motion in its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import ConfigPath, Overrides

if TYPE_CHECKING:
    from streamer.inspect.sync import Latency


def sync(
    config: ConfigPath,
    overrides: Overrides = None,
    of: Annotated[str, typer.Option(help="the camera's stream", show_default=False)] = "",
    reference: Annotated[str, typer.Option(help="the stream of joint positions", show_default=False)] = "",
    plot: Annotated[
        Path | None, typer.Option(help="draw how well each shift fits (.png, .svg or .pdf)", show_default=False)
    ] = None,
) -> None:
    """Estimate a camera's latency: compare the motion in its pictures with the speed of the joints.

    All messages of both streams are read, of each recording by itself. The answer is the 'shift:' of the camera, with
    the interval that holds it in 95 of 100 cases, or "cannot tell" where the motion does not allow it.

    Example: streamer sync config.yaml --of wrist --reference joints --plot latency.png
    """
    from streamer.cli.pictures import check_plot, written
    from streamer.cli.screen import say
    from streamer.config.load import load
    from streamer.errors import ConfigError, UsageError
    from streamer.inprocess import Opened
    from streamer.inspect.sync import latency
    from streamer.text import visible

    if not of or not reference:
        msg = "name both streams: --of CAMERA --reference JOINTS"
        raise UsageError(msg)
    if plot is not None:
        check_plot()
    loaded = load(config, overrides or (), consumers_needed=False)
    opened = Opened(loaded)
    found: dict[str, Latency] = {}
    try:
        for path in opened.paths():
            with opened.prepared(path) as prepared:
                found[path.name] = latency(prepared, of, reference)
                shift = next(s.settings.shift for s in prepared.streams if s.settings.name == of)
                say(visible(_told(path.name, of, found[path.name], shift)))
    except ConfigError as error:
        raise loaded.locate(error) from error
    if plot is not None:
        with written(plot):
            _draw(found, of, reference, plot)


def _told(name: str, of: str, found: Latency, shift: int) -> str:
    if not found.known:
        return f"{name}: cannot tell: {found.why}"
    total = round((shift - found.lag) / 1e6, 1)
    late = f"{abs(found.lag) / 1e6:.1f} ms {'late' if found.lag > 0 else 'early'}"
    return (
        f"{name}: {of} is {late} (95 %: {found.low / 1e6:.1f} … {found.high / 1e6:.1f} ms, "
        f"correlation {found.correlation:.2f}). Write: streams.{of}.shift: {total:+g} ms"
    )


def _draw(found: dict[str, Latency], of: str, reference: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 2 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    for n, (name, one) in enumerate(found.items(), 1):
        axes = figure.add_subplot(len(found), 1, n)
        axes.plot(one.lags / 1e6, one.agreement, color="#2a5db0")
        if one.known:
            axes.axvspan(one.low / 1e6, one.high / 1e6, color="#2a5db0", alpha=0.15, linewidth=0)
            axes.axvline(one.lag / 1e6, color="#2a5db0", linewidth=0.8)
        axes.set_title(f"{name}: {one.why or f'{one.lag / 1e6:.1f} ms late'}", fontsize=9, loc="left")
        axes.set_ylabel("correlation")
    axes.set_xlabel(f"how much later {of} is stamped than {reference} (ms)")
    figure.savefig(path)
