"""Rows of episodes ↔ data files: an Arrow table a row group, never more than one in memory."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consumers.files import replacing, require
from consumers.lerobot.settings import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


class RowFile:
    """A data file under way."""

    def __init__(self, sink: Any, schema: Any) -> None:
        """Begin it."""
        self._sink = sink
        self._schema = schema
        self._writer = require("pyarrow.parquet", "lerobot").ParquetWriter(sink, schema, compression="snappy")

    def write(self, table: Any, more: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Add a row group, with ``more`` columns; all are put into the schema's order."""
        for name, column in (more or {}).items():
            table = table.append_column(name, [column])
        self._writer.write_table(table.select(self._schema.names).cast(self._schema))

    @property
    def size(self) -> int:
        """Bytes so far."""
        return int(self._sink.tell())

    def close(self) -> None:
        """Write the index at its end."""
        self._writer.close()


@contextmanager
def row_file(path: Path, schema: Any) -> Iterator[RowFile]:
    """Give a data file to write to, which takes its place at the end of the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft, require("pyarrow", "lerobot").OSFile(str(draft), "wb") as sink:
        file = RowFile(sink, schema)
        yield file
        file.close()


def is_ours(path: Path) -> bool:
    """Tell whether this program wrote a data file, and nobody has since."""
    return MARK in (require("pyarrow.parquet", "lerobot").read_schema(path).metadata or {})


def size_of(path: Path) -> int:
    """Return the bytes of a Parquet file's row groups: what `RowFile.size` was when the last was written."""
    with path.open("rb") as file:
        end = file.seek(-8, 2)
        (index,) = struct.unpack("<I", file.read(4))
    return end - int(index)


def last_index(path: Path) -> int:
    """Return the number in the dataset of a file's last frame."""
    return int(require("pyarrow.parquet", "lerobot").read_table(path, columns=["index"])["index"][-1].as_py())


def kept(path: Path, frames: int) -> Iterator[Any]:
    """Give the row groups of a file of ours that belong to the first ``frames`` frames of the dataset."""
    if not path.exists():
        return
    with require("pyarrow.parquet", "lerobot").ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            if table["index"][-1].as_py() < frames:
                yield table


class Rows:
    """A data file to read from, by episode, however its row groups are cut."""

    def __init__(self, path: Path) -> None:
        """Remember where it is."""
        self._path = path

    @cached_property
    def _groups(self) -> dict[int, list[int]]:
        """The row groups that hold rows of an episode, by its number."""
        found: dict[int, list[int]] = {}
        with require("pyarrow.parquet", "lerobot").ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["episode_index"])["episode_index"]
                for episode in column.unique().to_pylist():
                    found.setdefault(episode, []).append(group)
        return found

    def of(self, episode: int) -> Iterator[Any]:
        """Give an episode's rows in order, a table for each row group."""
        pc = require("pyarrow.compute", "lerobot")
        groups = self._groups.get(episode, [])
        with require("pyarrow.parquet", "lerobot").ParquetFile(self._path) as file:
            for group in groups:
                table = file.read_row_group(group)
                yield table.filter(pc.equal(table["episode_index"], episode))
