"""Frames → one file of rows a recording: what all tables share; a kind of file says how rows become bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumers.files import (
    check_count,
    check_names,
    check_parts,
    check_same_names,
    list_recordings,
    make_folder,
    remove_folder,
    replacing,
    working_folder,
    write_json,
)
from consumers.rows import Rows
from streamer.contract import Consumer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumers.rows import Column
    from streamer.contract import Chunk, Frame, Outlook, Part, Recording, StreamInfo


class Table(Consumer):
    """Writes ``<out>/<recording><suffix>``: the base of consumers whose output is a row for each frame.

    A chunk lies in a file of its own, in ``.<recording><suffix>``, until the end, so a repeated chunk replaces itself.
    Of many recordings in one run, ``<out>/_recordings.json`` has the order: name, file and rows of each.
    """

    many_recordings = True
    suffix = ""

    def __init__(self, out: str) -> None:
        """Write into the folder ``out``."""
        self._out = Path(out)

    # ---- what a kind of file says

    def columns(self, recording: Recording) -> list[Column]:
        """Return the columns of a recording's table."""
        raise NotImplementedError

    def write_part(self, path: Path, rows: Rows) -> None:
        """Write a chunk's rows."""
        raise NotImplementedError

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Put the files of the chunks together; there are none where there was no frame."""
        raise NotImplementedError

    def count(self, path: Path) -> int:
        """Return how many rows a whole file has."""
        raise NotImplementedError

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of a file's vectors, by stream."""
        raise NotImplementedError

    def others(self, recording: Recording) -> list[Path]:
        """Return the files in the folder that are of other recordings and can be asked for their names."""
        whole = sorted(self._out.glob(f"*{self.suffix}"))
        return [path for path in whole if not path.name.startswith(".") and path != self._path(recording.name)]

    # ---- what they share

    def check(self, outlook: Outlook) -> None:
        """Hold the columns against each other, and the elements against those of other recordings."""
        self.columns(outlook.recording)
        self._check_names(outlook.recording.streams, self.others(outlook.recording))

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Prepare the columns and a folder for the chunks."""
        self._rows = Rows(self.columns(recording))
        make_folder(self._out)
        self._check_names(recording.streams, self.others(recording))
        self._final = self._path(recording.name)
        self._parts = working_folder(self._out / f".{self._final.name}", anew=state is None)
        self._chunks: int = state["chunk"] + 1 if state else 0
        self._written: int = state["rows"] if state else 0
        if state is not None:
            self._check()

    def _path(self, recording: str) -> Path:
        return self._out / f"{recording}{self.suffix}"

    def _part(self, chunk: int) -> Path:
        return self._parts / f"part-{chunk:08d}{self.suffix}"

    def _check(self) -> bool:
        """Make sure that what was committed is there; tell whether its parts are still to be put together."""
        waiting = check_parts(self._parts, [self._part(n).name for n in range(self._chunks)], self._final)
        if not waiting:
            check_count(self._final, self.count(self._final), self._written)
        return waiting

    def _check_names(self, streams: Mapping[str, StreamInfo], others: Sequence[Path]) -> None:
        """Make sure that the elements are those of the other recordings in the folder, which agree with each other."""
        waiting = {name for name, stream in streams.items() if stream.names}
        for path in others:
            if not waiting:
                return
            for name, names in self.names_in(path).items():
                if name in waiting:
                    check_names(streams[name], names, str(path))
                    waiting.remove(name)

    def on_frame(self, frame: Frame) -> None:
        """Copy what the row is made of."""
        self._rows.add(frame)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's rows to a file of their own."""
        with replacing(self._part(chunk.number)) as draft:
            self.write_part(draft, self._rows)
        self._chunks, self._written = chunk.number + 1, self._written + len(self._rows)
        self._rows.clear()
        return {"chunk": chunk.number, "rows": self._written}

    def close(self, recording: Recording) -> None:
        """Put the chunks together."""
        if self._chunks == 0 or self._check():  # else an earlier process came as far as to tidy up
            with replacing(self._final) as draft:
                self.join(draft, [self._part(n) for n in range(self._chunks)], recording)
                check_count(self._final, self.count(draft), self._written)
        remove_folder(self._parts)

    def merge(self, parts: Sequence[Part]) -> None:
        """List the recordings in this order."""
        path = self._out / "_recordings.json"
        before = json.loads(path.read_text(encoding="utf-8"))["recordings"] if path.exists() else []
        files = {part.name: self._path(part.name) for part in parts}
        first: dict[str, tuple[str, list[str]]] = {}
        for name, file in files.items():
            for stream, names in self.names_in(file).items():
                whose, known = first.setdefault(stream, (name, names))
                check_same_names(name, stream, names, known, whose)
        self.unify(list(files.values()))
        ours = [{"name": name, "file": file.name, "rows": self.count(file)} for name, file in files.items()]
        write_json(path, {"recordings": list_recordings(before, ours)})

    def unify(self, paths: Sequence[Path]) -> None:
        """Give the files the same columns, where their kind can."""
