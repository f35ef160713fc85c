"""Episodes ↔ a table (CSV) that people edit: recording, start, end, task, label."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from streamer.episodes.cut import Span
from streamer.errors import ConfigError
from streamer.units import moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from streamer.records import Episode

_NEEDED = ("start", "end")
COLUMNS = ("recording", "number", "start", "end", "task", "label", "why")


def read_windows(path: Path, names: Collection[str], begins: int) -> tuple[list[Span], list[str]]:
    """Read the rows of a table that are of a recording with one of these ``names`` (or of none in particular).

    Returns them, and the names that the other rows have.

    Columns are found by their names: ``start`` and ``end`` (seconds from the recording's first stamp ``begins`` on, or
    ISO 8601 times), and where there are such ``recording``, ``task`` and ``label``; others are left alone.

    Raises:
        ConfigError: the file cannot be read, a column is missing, an instant makes no sense.

    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
            header = rows[0].keys() if rows else ()
    except (OSError, UnicodeError, csv.Error) as error:
        msg = f"the table of windows cannot be read: {error}"
        raise ConfigError(msg, path=path, key="episodes.windows") from error
    missing = [column for column in _NEEDED if rows and column not in header]
    if missing or not rows:
        what = f"has no column {missing[0]!r}" if missing else "has no row"
        msg = f"the table of windows {what}: its first line names recording, start, end, task, label"
        raise ConfigError(msg, path=path, key="episodes.windows")
    spans = []
    others: dict[str, None] = {}
    for number, row in enumerate(rows, 2):
        if (whose := (row.get("recording") or "").strip()) and whose not in names:
            others[whose] = None
            continue
        try:
            start, end = (_instant(row[column], begins) for column in _NEEDED)
        except ValueError as error:
            msg = f"row {number} of the table of windows: {error}"
            raise ConfigError(msg, path=path, key="episodes.windows") from error
        task, label = ((row.get(column) or "").strip() for column in ("task", "label"))
        spans.append(Span(start, end, task, label, f"row {number}"))
    return spans, [*others]


def _instant(text: str | None, begins: int) -> int:
    """Read seconds from the beginning, exactly, or an ISO 8601 time, as nanoseconds."""
    text = (text or "").strip()
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        nanoseconds, absolute = moment(text)
        return nanoseconds if absolute else begins + nanoseconds
    if not seconds.is_finite():
        msg = f"{text!r} is no instant"
        raise ValueError(msg)
    return begins + int(seconds * 10**9)


def write_windows(path: Path, recordings: Iterable[tuple[str, int, Iterable[Episode]]]) -> None:
    """Write a table of which `read_windows` reads the same episodes; of each recording its name and first stamp."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, begins, episodes in recordings:
            for e in episodes:
                seconds = (f"{Decimal(at - begins).scaleb(-9):.9f}" for at in (e.start, e.end))
                writer.writerow([name, e.number, *seconds, e.task, e.label, e.why])
