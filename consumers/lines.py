"""Rows → lines of a CSV file, a chunk at a time: what all have in common that write such a table.

RFC 4180, but lines end in a line feed alone. Instants are ISO 8601 with nanoseconds, in UTC; offsets nanoseconds;
numbers have as many digits as it takes to read the same number back; vectors whose length varies are lists as
Python's json writes them. What is missing is empty.
"""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consumers.rows import Column, Rows


def write_lines(path: Path, rows: Rows, more: Sequence[Sequence[str]] = ()) -> None:
    """Write a chunk's rows, without a heading; ``more`` are columns of text beside them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        columns = [_texts(rows, column) for column in rows.columns]
        csv.writer(file, lineterminator="\n").writerows(zip(*columns, *more, strict=True))


def join_lines(path: Path, heading: Sequence[str], parts: Sequence[Path]) -> None:
    """Write the heading and the chunks below it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(heading)
        for part in parts:
            with part.open(encoding="utf-8", newline="") as lines:
                shutil.copyfileobj(lines, file)


def count_lines(path: Path) -> int:
    """Return how many rows a file has below its heading."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def last_columns(path: Path, columns: int) -> list[list[str]]:
    """Return the last so many columns of every line of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row[-columns:] for row in csv.reader(file)]


def _texts(rows: Rows, column: Column) -> list[str]:
    if column.kind == "list":
        return ["" if value is None else json.dumps(value.tolist()) for value in rows.lists(column)]
    if column.kind == "text":
        return [value or "" for value in rows.lists(column)]
    values, there = rows.numbers(column)
    if column.kind == "time":
        texts = np.datetime_as_string(values.view("datetime64[ns]"), unit="ns").tolist()
    elif values.dtype == np.bool_:
        texts = ["true" if value else "false" for value in values]
    else:
        texts = [str(value) for value in values]  # of numpy: as many digits as its own type takes
    return [text if found else "" for text, found in zip(texts, there, strict=True)]
