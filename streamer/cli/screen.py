"""Text and tables → standard output, also when who was reading it has gone: the exit code tells what was done."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

from streamer.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

_MOST_UNREAD = 1 << 14  # bytes in a pipe, of the 64 kB that it holds on Linux
_WIDE = 200  # characters, for files and pipes: no column is folded there


def screen(*, stderr: bool = False) -> Console:
    """Return the console of a command: as wide as the terminal, or wide enough for any table."""
    from rich.console import Console
    from rich.segment import Segment

    class Screen(Console):
        def on_broken_pipe(self) -> None:  # where rich would end the process
            self.quiet = True
            let_go()

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            """Show control characters in names and messages, where the terminal would obey them."""
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text, lines=True), segment.style)

    stream = sys.stderr if stderr else sys.stdout
    return Screen(highlight=False, stderr=stderr, width=None if stream.isatty() else _WIDE)


def as_line(text: str) -> Text:
    """Return text for one line, whatever names in it hold: a line break in them is shown, too."""
    from rich.text import Text

    return Text(visible(text))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int, less_needed: Sequence[str] = ()) -> Text:
    """Write rows below their headings; numbers to the right.

    What is too wide is not folded: a row's first cell stands in a line above the others then, and where these are still
    too wide, columns are left out: the ``less_needed`` in their order, then from the right. A last line names them.
    """
    from rich.text import Text

    cells = [[visible(cell) for cell in row] for row in rows]
    columns = [_Column(n, list(column)) for n, column in enumerate(zip(headings, *cells, strict=True))]
    above = _needed(columns) > width
    first, shown = columns[0], columns[1:] if above else columns
    left_out: list[str] = []
    ranked = [*less_needed, *reversed(headings)]
    while above and _needed(shown) + 2 > width and len(shown) > 1:
        worst = min(shown, key=lambda column: ranked.index(column.heading))
        shown.remove(worst)
        left_out.append(worst.heading)
    indent = "  " * above
    lines = [(indent + "  ".join(column.laid(n) for column in shown)).rstrip() for n in range(len(cells) + 1)]
    head, *body = lines
    if above:
        body = [text for n, line in enumerate(body, 1) for text in (first.cells[n], line)]
    if left_out:
        names = f"not shown, as the terminal is narrow: {', '.join(left_out)}"
        body += textwrap.wrap(names, max(width, 20), initial_indent="  ", subsequent_indent="  ")
    text = Text("\n".join([head, *body]))
    text.stylize("bold", 0, len(head))
    return text


class _Column:
    """A column of a table: its cells, the heading first, and where they are laid."""

    def __init__(self, number: int, cells: list[str]) -> None:
        self.number = number
        self.cells = cells
        self.heading = cells[0]
        self.size = max(map(len, cells))
        self._is_of_numbers = all(cell[:1] in "0123456789+-" for cell in cells[1:])  # "" is in it, too

    def laid(self, row: int) -> str:
        """Return a cell as wide as the column."""
        cell = self.cells[row]
        return cell.rjust(self.size) if self._is_of_numbers else cell.ljust(self.size)


def _needed(columns: Sequence[_Column]) -> int:
    """Return the width of columns side by side."""
    return sum(column.size for column in columns) + 2 * (len(columns) - 1)


def say(text: str) -> None:
    """Print a line at once, its control characters shown and not obeyed."""
    try:
        print(visible(text, lines=True), flush=True)
    except BrokenPipeError:
        let_go()


def keeps_up(stream: TextIO) -> bool:
    """Tell whether whoever reads a stream has taken most of what was written: a full pipe stops its writer."""
    try:
        if not stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            return True
        import fcntl
        import termios

        unread = fcntl.ioctl(stream.fileno(), termios.FIONREAD, bytes(4))
    except (OSError, ValueError, ImportError):  # it cannot be asked
        return True
    return int.from_bytes(unread, sys.byteorder) < _MOST_UNREAD


def complain(message: str) -> None:
    """Print what is wrong on standard error, after the program's name; red on a terminal, unless NO_COLOR is set."""
    text = f"streamer: {visible(message, lines=True)}"
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    print(f"\x1b[31m{text}\x1b[0m" if is_coloured else text, file=sys.stderr)


def let_go() -> None:
    """Send what is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
