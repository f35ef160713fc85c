"""Frames → one Parquet file a recording: a row for each frame, with the values of all vectors and every stamp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import (
    check_count,
    check_names,
    check_parts,
    check_same_names,
    list_recordings,
    make_folder,
    provenance,
    remove_folder,
    replacing,
    require,
    working_folder,
    write_json,
)
from streamer.contract import Consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.contract import Chunk, Frame, Part, Recording, Sample, StreamInfo


class Parquet(Consumer):
    """Writes ``<out>/<recording>.parquet``, a row group for each chunk.

    Columns: ``frame`` and ``tick_number`` (int64), ``tick`` (int64, ns); for every stream, of whatever kind,
    ``<stream>.stamp`` and ``<stream>.offset`` (int64, ns; null where the frame has no sample) and ``<stream>.held``,
    ``.interpolated``, ``.gap`` (bool); for a vector also ``<stream>``, a list of its numbers as they are, of fixed
    length unless the stream's varies, in whose field the metadata has ``names`` (JSON) and ``unit``. The file's
    metadata has the key ``provenance`` (JSON). A chunk lies in a file of its own until the end, so a repeated chunk
    replaces itself. Of many recordings in one run, ``<out>/_recordings.json`` has the order: name, file and rows of
    each (what begins with ``_`` is no data to those who read the folder as one dataset).
    """

    many_recordings = True

    def __init__(self, out: str, compression: str = "zstd") -> None:
        """Write into the folder ``out``; ``compression`` is one that Parquet has: zstd, snappy, gzip, lz4 or none.

        Raises:
            ValueError: it has no such compression.

        """
        known = ("zstd", "snappy", "gzip", "lz4", "none")
        if compression not in known:
            msg = f"compression is one of {', '.join(known)}, not {compression!r}"
            raise ValueError(msg)
        self._pa: Any = require(
            "pyarrow", "parquet"
        )  # here, so that the next process has it loaded when its turn comes
        self._pq: Any = require("pyarrow.parquet", "parquet")
        self._out = Path(out)
        self._compression = compression
        self._frames: list[tuple[int, int, int]] = []
        self._samples: dict[str, list[tuple[int, int, int] | None]] = {}
        self._values: dict[str, list[Any]] = {}

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Prepare the columns and a folder for the chunks."""
        make_folder(self._out)
        self._check_names(recording)
        self._parts = working_folder(self._out / f".{recording.name}.parquet", anew=state is None)
        self._streams = recording.streams
        self._final = self._out / f"{recording.name}.parquet"
        self._chunks: int = state["chunk"] + 1 if state else 0
        self._rows: int = state["rows"] if state else 0
        if state is not None:
            self._check()
        self._clear()

    def _check(self) -> bool:
        """Make sure that what was committed is there; tell whether its parts are still to be put together."""
        waiting = check_parts(self._parts, map(_part, range(self._chunks)), self._final)
        if not waiting:
            check_count(self._final, self._pq.read_metadata(self._final).num_rows, self._rows)
        return waiting

    def _check_names(self, recording: Recording) -> None:
        """Make sure that the elements are those of the other recordings in the folder."""
        whole = [path for path in sorted(self._out.glob("*.parquet")) if not path.name.startswith(".")]
        for path in [*whole, *sorted(self._out.glob(".*.parquet/part-*.parquet"))]:
            if recording.name not in (path.stem, path.parent.name.removeprefix(".").removesuffix(".parquet")):
                known = self._names_in(path)
                for name, names in known.items():
                    if name in recording.streams:
                        check_names(recording.streams[name], names, str(path))
                return  # which agree with each other

    def _names_in(self, path: Path) -> dict[str, list[str]]:
        fields = self._pq.read_schema(path)
        return {f.name: json.loads(f.metadata[b"names"]) for f in fields if f.metadata and b"names" in f.metadata}

    def _clear(self) -> None:
        self._frames = []
        self._samples = {name: [] for name in self._streams}
        self._values = {name: [] for name, stream in self._streams.items() if stream.kind == "vector"}

    def on_frame(self, frame: Frame) -> None:
        """Copy what the row is made of."""
        self._frames.append((frame.number, frame.tick_number, frame.tick))
        for name, sample in frame.samples.items():
            self._samples[name].append(_about(sample))
            if name in self._values:
                self._values[name].append(None if sample is None else sample.value.copy())

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's rows to a file of their own."""
        with replacing(self._parts / _part(chunk.number)) as draft:
            self._pq.write_table(self._table(), draft, compression=self._compression)
        self._chunks, self._rows = chunk.number + 1, self._rows + len(self._frames)
        self._clear()
        return {"chunk": chunk.number, "rows": self._rows}

    def _table(self) -> Any:
        numbers = np.array(self._frames, np.int64).reshape(-1, 3)
        columns: dict[str, Any] = dict(zip(("frame", "tick_number", "tick"), numbers.T, strict=True))
        for name, stream in self._streams.items():
            samples = self._samples[name]
            for position, (key, kind) in enumerate((("stamp", "int64"), ("offset", "int64"))):
                values = [None if sample is None else sample[position] for sample in samples]
                columns[f"{name}.{key}"] = self._pa.array(values, kind)
            for bit, key in enumerate(("held", "interpolated", "gap")):
                values = [None if sample is None else bool(sample[2] >> bit & 1) for sample in samples]
                columns[f"{name}.{key}"] = self._pa.array(values, "bool")
            if stream.kind == "vector":
                columns[name] = self._pa.array(self._values[name], self._type(stream))
        return self._described(self._pa.table(columns))

    def _described(self, table: Any) -> Any:
        """Say in the vectors' fields what their elements are."""
        fields = []
        for field in table.schema:
            stream = self._streams.get(field.name)
            about = {} if stream is None else {"names": json.dumps(stream.names), "unit": stream.unit}
            said = {key: value for key, value in about.items() if value not in ("", "[]")}
            fields.append(field.with_metadata(said) if said else field)
        return table.cast(self._pa.schema(fields))

    def _type(self, stream: StreamInfo) -> Any:
        # a list of fixed size with a missing value in between is what Arrow before 26 writes and cannot read (GH-35692)
        return self._pa.list_(self._pa.from_numpy_dtype(stream.dtype))

    def close(self, recording: Recording) -> None:
        """Put the chunks together, one row group each."""
        if self._chunks == 0 or self._check():  # else an earlier process came as far as to tidy up
            origin = json.dumps(provenance(recording, "pyarrow"), sort_keys=True)
            schema = self._empty().schema.with_metadata({"provenance": origin})
            with replacing(self._final) as draft:
                with self._pq.ParquetWriter(draft, schema, compression=self._compression) as file:
                    for number in range(self._chunks):
                        file.write_table(self._pq.read_table(self._parts / _part(number)).cast(schema))
                check_count(self._final, self._pq.read_metadata(draft).num_rows, self._rows)
        remove_folder(self._parts)

    def merge(self, parts: Sequence[Part]) -> None:
        """List the recordings in this order."""
        path = self._out / "_recordings.json"
        before = json.loads(path.read_text(encoding="utf-8"))["recordings"] if path.exists() else []
        files = [(part.name, self._out / f"{part.name}.parquet") for part in parts]
        first = self._names_in(files[0][1]) if files else {}
        for name, file in files[1:]:
            for stream, names in self._names_in(file).items():
                check_same_names(name, stream, names, first.get(stream, []), files[0][0])
        ours = [{"name": n, "file": f.name, "rows": self._pq.read_metadata(f).num_rows} for n, f in files]
        write_json(path, {"recordings": list_recordings(before, ours)})

    def _empty(self) -> Any:
        self._clear()
        return self._table()


def _part(chunk: int) -> str:
    return f"part-{chunk:08d}.parquet"


def _about(sample: Sample | None) -> tuple[int, int, int] | None:
    """Return stamp, offset and the flags as bits: held, interpolated, gap."""
    if sample is None:
        return None
    return sample.stamp, sample.offset, sample.held | sample.interpolated << 1 | sample.gap << 2
