"""Text and tables → standard output, also when who was reading it has gone: the exit code tells what was done."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

from streamer.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

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


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Text:
    """Write rows below their headings; numbers to the right.

    What is too wide is not folded: a row's first cell stands in a line above the others then, and where these are still
    too wide, each with its heading before it.
    """
    from rich.text import Text

    rows = [[visible(cell) for cell in row] for row in rows]
    columns = list(zip(headings, *rows, strict=True))
    sizes = [max(map(len, column)) for column in columns]
    numbers = [all(cell[:1] in "0123456789+-" for cell in column[1:]) for column in columns]  # "" is in it, too

    def line(cells: Sequence[str], begin: int = 0) -> str:
        laid = zip(cells[begin:], sizes[begin:], numbers[begin:], strict=True)
        text = "  ".join(cell.rjust(size) if number else cell.ljust(size) for cell, size, number in laid)
        return f"{'  ' * begin}{text}".rstrip()

    needed = sum(sizes) + 2 * (len(sizes) - 1)
    if needed <= width:
        lines = [line(headings), *map(line, rows)]
    elif needed - sizes[0] <= width:
        lines = [line(headings, 1), *(text for row in rows for text in (row[0], line(row, 1)))]
    else:
        lines = [text for row in rows for text in (row[0], _in_words(headings, row, width))]
    text = Text("\n".join(lines))
    if needed - sizes[0] <= width:
        text.stylize("bold", 0, len(lines[0]))
    return text


def _in_words(headings: Sequence[str], row: Sequence[str], width: int) -> str:
    """Write the cells behind the first, each with its heading, in as many lines as that takes."""
    told = (f"{heading} {cell}" for heading, cell in zip(headings[1:], row[1:], strict=True) if cell)
    whole = ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in told)  # no line breaks within a part
    lines = textwrap.fill(whole, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def say(text: str) -> None:
    """Print a line at once, its control characters shown and not obeyed."""
    try:
        print(visible(text, lines=True), flush=True)
    except BrokenPipeError:
        let_go()


def complain(message: str) -> None:
    """Print what is wrong on standard error, after the program's name; red on a terminal, unless NO_COLOR is set."""
    text = f"streamer: {visible(message, lines=True)}"
    is_coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    print(f"\x1b[31m{text}\x1b[0m" if is_coloured else text, file=sys.stderr)


def let_go() -> None:
    """Send what is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
