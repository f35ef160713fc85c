"""Frames → one file of rows a recording: what all tables share; a kind of file says how rows become bytes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from consumers.parts import Parts
from consumers.rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from consumers.rows import Column
    from streamer.contract import Frame, Recording


class Table(Parts):
    """The base of consumers whose output has a row for each frame."""

    @abstractmethod
    def columns(self, recording: Recording) -> list[Column]:
        """Return the columns of a recording's table."""

    @abstractmethod
    def write_rows(self, path: Path, rows: Rows) -> None:
        """Write a chunk's rows."""

    def prepare(self, recording: Recording) -> None:
        """Prepare the columns."""
        self._rows = Rows(self.columns(recording))

    def on_frame(self, frame: Frame) -> None:
        """Copy what the row is made of."""
        self._rows.add(frame)

    def write_part(self, path: Path) -> int:
        """Write the chunk's rows, and begin a chunk."""
        self.write_rows(path, self._rows)
        written = len(self._rows)
        self._rows.clear()
        return written
