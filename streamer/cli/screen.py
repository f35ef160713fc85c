"""Text and tables → standard output, also when who was reading it has gone: the exit code tells what was done."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 200  # characters, for files and pipes: no column is folded there


def screen() -> Console:
    """Return the console of a command: as wide as the terminal, or wide enough for any table."""
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:  # where rich would end the process
            self.quiet = True
            let_go()

    return Screen(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def say(text: str) -> None:
    """Print a line at once."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        let_go()


def let_go() -> None:
    """Send what is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
