"""Frames → one Parquet file a recording: a row for each frame, with the values of all vectors and every stamp."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from consumers.files import provenance, replacing, require
from consumers.rows import LAYOUTS, columns_of
from consumers.table import Table
from streamer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consumers.rows import Column, Rows
    from streamer.contract import Recording

_COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")


class Parquet(Table):
    """Writes ``<out>/<recording>.parquet``, a row group for each chunk.

    Columns: ``frame`` and ``tick_number`` (int64), ``tick`` (timestamp[ns], UTC without saying so); for every stream,
    of whatever kind, ``<stream>.stamp`` (timestamp[ns]) and ``<stream>.offset`` (duration[ns]), null where the frame
    has no sample, ``<stream>.held``, ``.interpolated``, ``.gap`` (bool, false there), and with ``align: mean``
    ``<stream>.count`` (int64), of how many messages. Of a vector, in the layout ``wide``, each named element is a
    column ``<stream>.<element>`` in the vector's own type, a vector of one number the column ``<stream>``, and one
    whose elements are only numbered, or whose length varies, a list ``<stream>``; in the layout ``list`` all are lists.
    A text is a column ``<stream>`` of strings. A field's metadata has ``stream`` and ``unit``, a column's also
    ``element``, a list's ``names`` (JSON). Pandas reads whole numbers as such even where some are missing (``Int64``).

    The file's metadata has the key ``provenance`` (JSON). A recording of which a stream has no message does not know
    that stream's elements; when many recordings of a run are put together, it gets the columns of the others, empty.
    What begins with ``_`` is no data to those who read the folder as one dataset.
    """

    suffix = ".parquet"

    def __init__(self, out: str, compression: str = "zstd", layout: str = "wide") -> None:
        """Write into the folder ``out``; ``compression`` is one that Parquet has: zstd, snappy, gzip, lz4 or none.

        Raises:
            ValueError: it has no such compression, or there is no such ``layout``.

        """
        super().__init__(out)
        for key, value, known in (("compression", compression, _COMPRESSIONS), ("layout", layout, LAYOUTS)):
            if value not in known:
                msg = f"{key} is one of {', '.join(known)}, not {value!r}"
                raise ValueError(msg)
        # here, so that the next process has them loaded when its turn comes
        self._pa: Any = require("pyarrow", "parquet")
        self._pq: Any = require("pyarrow.parquet", "parquet")
        self._compression = compression
        self._layout = layout

    def columns(self, recording: Recording) -> list[Column]:
        """Return the columns of a recording's table."""
        self._units = {stream.name: stream.unit for stream in recording.streams.values()}
        self._names = {stream.name: stream.names for stream in recording.streams.values()}
        return columns_of(recording.streams, self._layout)

    def others(self, recording: str) -> list[Path]:
        """Return the files of other recordings, and the first chunk of those that are being written."""
        ours = self._out / f".{recording}{self.suffix}"
        begun = sorted(self._out.glob(f".*{self.suffix}/part-00000000{self.suffix}"))
        return super().others(recording) + [path for path in begun if path.parent != ours]

    def write_rows(self, path: Path, rows: Rows) -> None:
        """Write a chunk's rows."""
        schema = self._schema(rows.columns)
        arrays = [self._array(rows, column, field.type) for column, field in zip(rows.columns, schema, strict=True)]
        self._pq.write_table(self._pa.table(arrays, schema=schema), path, compression=self._compression)

    def _schema(self, columns: Sequence[Column]) -> Any:
        return self._pa.schema([self._pa.field(c.name, self._type(c), metadata=self._about(c)) for c in columns])

    def _type(self, column: Column) -> Any:
        if column.kind in ("number", "list"):
            kind = self._pa.from_numpy_dtype(column.dtype)
            # a list of fixed size with a missing value is what Arrow before 26 writes and cannot read (GH-35692)
            return kind if column.kind == "number" else self._pa.list_(kind)
        pa = self._pa
        kinds = {
            "count": pa.int64(),
            "time": pa.timestamp("ns"),
            "span": pa.duration("ns"),
            "flag": pa.bool_(),
            "text": pa.string(),
        }
        return kinds[column.kind]

    def _about(self, column: Column) -> dict[str, str] | None:
        """Say what a column's numbers are."""
        if column.kind not in ("number", "list"):
            return None
        names = json.dumps(self._names[column.stream]) if column.kind == "list" else "[]"
        said = {"stream": column.stream, "element": column.element, "unit": self._units[column.stream], "names": names}
        return {key: value for key, value in said.items() if value not in ("", "[]")}

    def _array(self, rows: Rows, column: Column, kind: Any) -> Any:
        if column.kind in ("list", "text"):
            return self._pa.array(rows.lists(column), kind)
        values, there = rows.numbers(column)
        as_they_are = {"time": "datetime64[ns]", "span": "timedelta64[ns]"}.get(column.kind)
        return self._pa.array(values.view(as_they_are) if as_they_are else values, kind, mask=~there)

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Write a row group for each chunk."""
        schema = self._schema(self.columns(recording))
        origin = json.dumps(provenance(recording, "pyarrow"), sort_keys=True)
        self._copy(path, parts, self._described(schema, {b"provenance": origin.encode()}))

    def _copy(self, path: Path, parts: Sequence[Path], schema: Any) -> None:
        """Copy the row groups of some files, one at a time, into one; columns that they lack are empty."""
        with self._pq.ParquetWriter(path, schema, compression=self._compression) as file:
            for part in parts:
                if unknown := set(self._pq.read_schema(part).names) - set(schema.names):
                    msg = f"it has a column {min(unknown)!r}, which another version wrote"
                    raise OutputError(msg, path=part, hint="begin anew with --restart")
                with self._pq.ParquetFile(part) as source:
                    for group in range(source.num_row_groups):
                        file.write_table(self._filled(source.read_row_group(group), schema))

    def _filled(self, table: Any, schema: Any) -> Any:
        there = set(table.column_names)
        columns = [
            table[field.name].cast(field.type) if field.name in there else self._pa.nulls(len(table), field.type)
            for field in schema
        ]
        return self._pa.table(columns, schema=schema)

    def _described(self, schema: Any, metadata: dict[bytes, bytes]) -> Any:
        """Tell pandas to keep whole numbers and truth values as such where some are missing."""
        pa = self._pa
        columns = []
        for field in schema:
            if (field.metadata or {}).get(b"stream") and (pa.types.is_integer(field.type) or field.type == pa.bool_()):
                kind = "boolean" if field.type == pa.bool_() else str(field.type).replace("i", "I").replace("u", "U")
                about = {"pandas_type": str(field.type), "numpy_type": kind, "metadata": None}
                columns.append({"name": field.name, "field_name": field.name, **about})
        about_all = {"index_columns": [], "column_indexes": [], "columns": columns, "creator": {}}
        more = {b"pandas": json.dumps(about_all).encode()} if columns else {}
        return schema.with_metadata(metadata | more)

    def count(self, path: Path) -> int:
        """Return how many rows a file has."""
        return int(self._pq.read_metadata(path).num_rows)

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of a file's vectors, in whichever layout it is."""
        found: dict[str, list[str]] = {}
        for field in self._pq.read_schema(path):
            about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
            if "names" in about:
                found[about.get("stream", field.name)] = json.loads(about["names"])
            elif "element" in about:
                found.setdefault(about["stream"], []).append(about["element"])
        return found

    def finish(self, files: dict[str, Path], about: dict[str, dict[str, Any]]) -> None:
        """Give every file the columns of all, in the order of the one that has most.

        Raises:
            OutputError: a column is of one type here and of another there.

        """
        del about
        schemas = {path: self._pq.read_schema(path) for path in files.values()}
        whole: dict[str, Any] = {}
        for path, schema in sorted(schemas.items(), key=lambda one: -len(one[1])):
            for field in schema:
                known = whole.setdefault(field.name, field)
                if known.type != field.type:
                    msg = f"its column {field.name!r} is {field.type}, in others of this folder {known.type}"
                    raise OutputError(msg, path=path, hint="make the streams alike, or use another 'out'")
        for path, schema in schemas.items():
            if schema.names != list(whole):
                kept = {key: value for key, value in (schema.metadata or {}).items() if key == b"provenance"}
                with replacing(path) as draft:
                    self._copy(draft, [path], self._described(self._pa.schema(list(whole.values())), kept))
