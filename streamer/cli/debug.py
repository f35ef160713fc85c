"""``streamer debug CONFIG CONSUMER``: one consumer in this process, on the real frames, where a debugger can be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.options import ConfigPath, Overrides
from streamer.errors import ConsumerError

if TYPE_CHECKING:
    from types import TracebackType

_HERE = {"foreground.py", "plugin.py"}  # our frames of a traceback, above those of the consumer


def debug(
    config: ConfigPath,
    consumer: Annotated[str, typer.Argument(metavar="CONSUMER", help="its name there", show_default=False)],
    overrides: Overrides = None,
    frames: Annotated[int | None, typer.Option(help="end behind so many frames", min=1, show_default=False)] = None,
    pdb: Annotated[bool, typer.Option("--pdb", help="where it raises, stop in the debugger")] = False,
) -> None:
    """Run one consumer in the foreground, on the frames of the first recording: prints show, breakpoint() stops.

    Nothing is committed, and 'out' becomes a folder for trials beside the logs; what the consumer raises is shown
    with its traceback and locals.

    Example: streamer debug config.yaml preview --frames 5
    """
    from streamer.cli.screen import say
    from streamer.cli.talk import is_quiet
    from streamer.config.load import load
    from streamer.inspect.foreground import debug as run
    from streamer.inspect.foreground import trial_folder

    loaded = load(config, overrides or ())
    try:
        count = run(loaded, consumer, frames)
    except ConsumerError as error:
        if error.__cause__ is not None:
            _show_traceback(error.__cause__, into_pdb=pdb)
        raise
    if not is_quiet():
        folder = trial_folder(loaded, consumer)
        out = f" → {folder}" if folder.exists() else ""
        say(f"✓ {consumer}: {count} frame{'s' * (count != 1)}{out}")


def _show_traceback(error: BaseException, *, into_pdb: bool) -> None:
    """Print where the consumer's code raised, with its locals; then stop there if that is asked for."""
    from rich.traceback import Traceback

    from streamer.cli.screen import screen

    trace = _below_ours(error.__traceback__)
    whole = Traceback.from_exception(type(error), error, trace, show_locals=True, locals_max_string=60, word_wrap=True)
    screen(stderr=True).print(whole)
    if into_pdb:
        import pdb  # noqa: T100 - what was asked for

        pdb.post_mortem(trace)


def _below_ours(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of this package that called the consumer."""
    below = trace
    while below is not None and Path(below.tb_frame.f_code.co_filename).name in _HERE:
        below = below.tb_next
    return below or trace
