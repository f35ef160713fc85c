"""Frames → one CSV file a recording: a row for each frame, with the values of all vectors and every stamp."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from consumers.files import provenance, write_json
from consumers.lines import count_lines, join_lines, write_lines
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
    numbered has columns, too (``scan.0``, …). How values are written: `consumers.lines`.
    """

    suffix = ".csv"

    def columns(self, recording: Recording) -> list[Column]:
        """Return the columns of a recording's table."""
        return columns_of(recording.streams, "wide", numbered=True)

    def write_rows(self, path: Path, rows: Rows) -> None:
        """Write a chunk's rows, without a heading."""
        write_lines(path, rows)

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Write the heading and the chunks below it."""
        join_lines(path, [column.name for column in self.columns(recording)], parts)
        write_json(_about(self.path_of(recording.name)), {"provenance": provenance(recording)})

    def count(self, path: Path) -> int:
        """Return how many rows a file has."""
        return count_lines(path)

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of a file's vectors."""
        about = _about(path)
        origin = json.loads(about.read_text(encoding="utf-8"))["provenance"] if about.exists() else {}
        streams: dict[str, Any] = origin.get("plan", {}).get("streams", {})
        return {name: stream["names"] for name, stream in streams.items() if stream["names"]}


def _about(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
