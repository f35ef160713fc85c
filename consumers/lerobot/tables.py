"""The folder ``meta`` of a dataset ↔ its episodes, tasks and origins, whoever wrote them last.

The episodes table is the truth: an episode is there when its line is. ``tasks.parquet`` maps texts to numbers; its text
is the pandas index, which LeRobot 0.4 leaves without a name and 0.6 calls ``task``. ``provenance.jsonl`` is ours alone:
a line holds for the episode with its number and length, for others it says nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from consumers.files import require, write_bytes
from consumers.lerobot.layout import EPISODES, ORIGINS, TASKS, anew, file_at, next_place, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from consumers.lerobot.layout import Place

STATS = "stats/"
LABEL = "label"  # a column of ours, in datasets of which an episode has one: how it went
FLAGGED = "flagged"  # likewise: which limits of quality it is beyond
_TEXTS = ("task", "__index_level_0__")


class EpisodeTable:
    """The episodes table: a row an episode, as a dict; the statistics are read only where they are asked for."""

    def __init__(self, root: Path) -> None:
        """Read it."""
        self._root = root
        self._files = sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))
        self.rows: list[dict[str, Any]] = self._read(statistics=False)

    def _read(self, *, statistics: bool) -> list[dict[str, Any]]:
        pq = require("pyarrow.parquet", "lerobot")
        rows: list[dict[str, Any]] = []
        for path in self._files:
            with pq.ParquetFile(path) as file:
                names = [name for name in file.schema_arrow.names if statistics or not name.startswith(STATS)]
                rows += file.read(names).to_pylist()
        return sorted(rows, key=lambda row: row["episode_index"])

    def whole(self) -> list[dict[str, Any]]:
        """Return the rows with their statistics."""
        return self._read(statistics=True)

    def column(self, prefix: str) -> list[dict[str, Any]]:
        """Return only those columns of the rows whose names begin so, in any order."""
        pq = require("pyarrow.parquet", "lerobot")
        rows = []
        for path in self._files:
            with pq.ParquetFile(path) as file:
                rows += file.read([name for name in file.schema_arrow.names if name.startswith(prefix)]).to_pylist()
        return rows

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return max((int(row["dataset_to_index"]) for row in self.rows), default=0)

    def last_place(self, name: str) -> Place | None:
        """Return the last place of ``data`` or ``videos/<key>`` that an episode has."""
        return max(((row[f"{name}/chunk_index"], row[f"{name}/file_index"]) for row in self.rows), default=None)

    def at(self, name: str, place: Place) -> list[dict[str, Any]]:
        """Return the rows of the episodes at a place."""
        return [row for row in self.rows if (row[f"{name}/chunk_index"], row[f"{name}/file_index"]) == place]

    def append(self, rows: Sequence[dict[str, Any]], full: float) -> None:
        """Add rows: from then on, the episodes are there. A file of more than ``full`` bytes takes no more.

        The columns are those that the table has, with its types; what it does not have, of the statistics, is left out.
        """
        pa, pq = require("pyarrow", "lerobot"), require("pyarrow.parquet", "lerobot")
        for name in (LABEL, FLAGGED):
            if any(name in row for row in rows):
                self._add_texts(name)
        last = self._files[-1] if self._files else None
        continues = last is not None and last.stat().st_size < full
        place = (0, 0) if last is None else place_of(last) if continues else next_place(place_of(last))
        for row in rows:
            row |= {"meta/episodes/chunk_index": place[0], "meta/episodes/file_index": place[1]}
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        if last is not None:
            before = pq.read_table(last)
            table = _like(table, before.schema)
            table = pa.concat_tables([before, table]) if continues else table
        path = file_at(self._root, EPISODES, place)
        with anew(path) as draft:
            pq.write_table(table, draft, compression="snappy")
        if not continues:
            self._files.append(path)
        self.rows += [{name: value for name, value in row.items() if not name.startswith(STATS)} for row in rows]

    def _add_texts(self, name: str) -> None:
        """Give the episodes that are there a column, which is null: all files of the table have the same ones."""
        pa, pq = require("pyarrow", "lerobot"), require("pyarrow.parquet", "lerobot")
        for path in self._files:
            if name not in pq.read_schema(path).names:
                table = pq.read_table(path)
                with anew(path) as draft:
                    whole = table.append_column(name, pa.nulls(len(table), pa.string()))
                    pq.write_table(whole, draft, compression="snappy")


def _like(table: Any, schema: Any) -> Any:
    """Give a table the columns and types of a schema; one that it lacks is null."""
    pa = require("pyarrow", "lerobot")
    there = set(table.column_names)
    columns = [table[f.name].cast(f.type) if f.name in there else pa.nulls(len(table), f.type) for f in schema]
    return pa.table(columns, schema=schema)


def read_tasks(root: Path) -> dict[str, int]:
    """Return the number of each task, by its text."""
    if not (root / TASKS).exists():
        return {}
    table = require("pyarrow.parquet", "lerobot").read_table(root / TASKS)
    texts = [name for name in (*_TEXTS, *table.column_names) if name in table.column_names and name != "task_index"]
    found = sorted(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True))
    return {text: number for number, text in found}


def write_tasks(root: Path, tasks: Mapping[str, int]) -> None:
    """Write the table as pandas does, with the task for its index."""
    pa, pq = require("pyarrow", "lerobot"), require("pyarrow.parquet", "lerobot")
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    text = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"}
    head = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [head | {"metadata": {"encoding": "UTF-8"}}],
        "columns": [number | {"metadata": None}, text | {"metadata": None}],
        "pandas_version": "2.2.0",
    }
    fields = [("task_index", pa.int64()), ("task", pa.string())]
    schema = pa.schema(fields, {"pandas": json.dumps(pandas)})
    with anew(root / TASKS) as draft:
        pq.write_table(pa.table([list(tasks.values()), list(tasks)], schema=schema), draft)


def read_origins(root: Path, rows: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return where episodes come from, by their number; of those alone that the table has with the same length."""
    path = root / ORIGINS
    if not path.exists():
        return {}
    lengths = {row["episode_index"]: row["length"] for row in rows}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {one["episode_index"]: one for one in lines if lengths.get(one["episode_index"]) == one["frames"]}


def write_origins(root: Path, origins: Mapping[int, dict[str, Any]]) -> None:
    """Write where episodes come from, a line each."""
    lines = [json.dumps(origins[number], sort_keys=True) for number in sorted(origins)]
    write_bytes(root / ORIGINS, "".join(f"{line}\n" for line in lines).encode())
