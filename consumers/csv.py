"""Frames → one CSV file a recording: a row for each frame, with the values of all vectors and every stamp."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import provenance, write_json
from consumers.rows import columns_of
from consumers.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consumers.rows import Column, Rows
    from streamer.contract import Recording


class Csv(Table):
    """Writes ``<out>/<recording>.csv`` and, for where it comes from, ``<out>/<recording>.csv.json``.

    The columns are those of `consumers.parquet.Parquet` in its layout ``wide``, but a vector whose elements are only
    numbered has columns, too (``scan.0``, …). Instants are ISO 8601 with nanoseconds, in UTC; offsets nanoseconds;
    numbers have as many digits as it takes to read the same number back; vectors whose length varies are lists as
    Python's json writes them. What is missing is empty. RFC 4180, but lines end in a line feed alone.
    """

    suffix = ".csv"

    def columns(self, recording: Recording) -> list[Column]:
        """Return the columns of a recording's table."""
        return columns_of(recording.streams, "wide", numbered=True)

    def write_rows(self, path: Path, rows: Rows) -> None:
        """Write a chunk's rows, without a heading."""
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = zip(*(_texts(rows, column) for column in rows.columns), strict=True)
            csv.writer(file, lineterminator="\n").writerows(lines)

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Write the heading and the chunks below it."""
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([column.name for column in self.columns(recording)])
            for part in parts:
                with part.open(encoding="utf-8", newline="") as lines:
                    shutil.copyfileobj(lines, file)
        write_json(_about(self.path_of(recording.name)), {"provenance": provenance(recording)})

    def count(self, path: Path) -> int:
        """Return how many rows a file has."""
        with path.open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file)) - 1

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of a file's vectors."""
        about = _about(path)
        origin = json.loads(about.read_text(encoding="utf-8"))["provenance"] if about.exists() else {}
        streams: dict[str, Any] = origin.get("plan", {}).get("streams", {})
        return {name: stream["names"] for name, stream in streams.items() if stream["names"]}


def _about(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


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
