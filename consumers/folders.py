"""Frames → a folder of files a recording, with a table of frames: what consumers share that write a file a sample."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from consumers.files import (
    about_episode,
    check_count,
    check_parts,
    make_folder,
    provenance,
    remove_folder,
    replacing,
    working_folder,
    write_json,
    write_list,
)
from consumers.keys import none_of
from consumers.lines import count_lines, join_lines, last_columns, write_lines
from consumers.rows import Rows, columns_of
from streamer.contract import Consumer
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.contract import Chunk, Frame, Outlook, Part, Recording, Sample, StreamInfo

INDEX = "index.csv"


class Folder(Consumer):
    """Writes ``<out>/<recording><suffix>/``: the base of consumers that make a file of each sample.

    ``<stream>/<frame>.<ending>`` are the samples and ``index.csv`` has a row for each frame: the columns of
    `consumers.csv.Csv`, and for every stream with files the column ``<stream>``, the file's path, empty where the frame
    has no sample. A file is named by its frame, so a repeated chunk replaces its own. The folder has its name when it
    is whole; until then it is ``.<recording><suffix>``. Of many recordings in one run, or episodes of one,
    ``<out>/_recordings.json`` has the order: name, folder and frames of each.
    """

    many_recordings = True
    suffix: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]  # of streams whose samples become files
    what: ClassVar[str]  # they are, in words

    def __init__(self, out: str, streams: Sequence[str] | None) -> None:
        """Write into the folder ``out`` the samples of these ``streams``, or of all that can be files."""
        self._out = Path(out)
        self._chosen = streams

    # ---- what a kind of file says

    @abstractmethod
    def check_stream(self, stream: StreamInfo) -> None:
        """Raise a ConfigError for a stream whose samples cannot be such files."""

    @abstractmethod
    def name_of(self, stream: StreamInfo, number: int, sample: Sample) -> str:
        """Return the path of a sample's file in the recording's folder."""

    @abstractmethod
    def write(self, path: Path, stream: StreamInfo, sample: Sample) -> None:
        """Write a sample's file."""

    def check_all(self, recording: Recording, streams: dict[str, StreamInfo]) -> None:
        """Raise a ConfigError for streams that do not go together."""

    def add_lists(self, folder: Path) -> None:
        """Add to a whole folder, of which only the name is missing, what can be made of its table."""

    # ---- what they share

    def check(self, outlook: Outlook) -> None:
        """Hold the chosen streams against those that there are."""
        self._choose(outlook.recording)

    def _choose(self, recording: Recording) -> dict[str, StreamInfo]:
        """Return the streams whose samples become files."""
        there = recording.streams
        chosen = [n for n, s in there.items() if s.kind in self.kinds] if self._chosen is None else self._chosen
        for name in chosen:
            if name not in there or there[name].kind not in self.kinds:
                what = f"{there[name].kind}: no {self.what}" if name in there else "not there"
                msg = f"streams: {name!r} is {what}; this consumer is shown: {', '.join(there)}"
                raise ConfigError(msg)
            if recording.frames:
                self.check_stream(there[name])
        if not chosen:
            raise none_of(self.what, there)
        found = {name: there[name] for name in chosen}
        self.check_all(recording, found)
        return found

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Prepare the folder, or go on with it."""
        self._streams = self._choose(recording)
        self._rows = Rows(columns_of(recording.streams, "wide", numbered=True))
        self._paths: dict[str, list[str]] = {name: [] for name in self._streams}
        make_folder(self._out)
        self._final = self._out / f"{recording.name}{self.suffix}"
        self._draft = self._out / f".{self._final.name}"
        if state is None:
            working_folder(self._draft, anew=True)
        self._tables = working_folder(self._out / f".{self._final.name}.rows", anew=state is None)
        self._chunks: int = state["chunk"] + 1 if state else 0
        self._frames: int = state["frames"] if state else 0
        if state is not None:
            self._check()

    def _check(self) -> bool:
        """Make sure that what was committed is there; tell whether the folder is still to be named."""
        tables = [self._table(n) for n in range(self._chunks)]
        if not check_parts(self._tables, [table.name for table in tables], self._final):
            return False
        files = (path for table in tables for row in last_columns(table, len(self._streams)) for path in row if path)
        return check_parts(working_folder(self._draft, anew=False), files, self._final)

    def _table(self, chunk: int) -> Path:
        return self._tables / f"{chunk:08d}.csv"

    def on_frame(self, frame: Frame) -> None:
        """Write the samples' files."""
        for name, stream in self._streams.items():
            sample = frame.samples[name]
            path = "" if sample is None else self.name_of(stream, frame.number, sample)
            if sample is not None and path not in self._paths[name][-1:]:  # as a name by stamps is, when it is held
                (self._draft / path).parent.mkdir(exist_ok=True)
                self.write(self._draft / path, stream, sample)
            self._paths[name].append(path)
        self._rows.add(frame)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's rows of the table."""
        with replacing(self._table(chunk.number)) as draft:
            write_lines(draft, self._rows, list(self._paths.values()))
        self._chunks, self._frames = chunk.number + 1, self._frames + len(self._rows)
        self._rows.clear()
        for paths in self._paths.values():
            paths.clear()
        return {"chunk": chunk.number, "frames": self._frames}

    def close(self, recording: Recording) -> None:
        """Put the table together and give the folder its name."""
        if self._check():  # else an earlier process came as far as to name it
            index = self._draft / INDEX
            heading = [*(column.name for column in self._rows.columns), *self._streams]
            join_lines(index, heading, [self._table(n) for n in range(self._chunks)])
            check_count(index, count_lines(index), self._frames)
            write_json(self._draft / "provenance.json", provenance(recording))
            self.add_lists(self._draft)
            remove_folder(self._final)
            self._draft.rename(self._final)
        remove_folder(self._tables)

    def merge(self, parts: Sequence[Part]) -> None:
        """List the recordings in this order."""
        listed = []
        for part in parts:
            name = f"{part.name}{self.suffix}"
            rows = count_lines(self._out / name / INDEX)
            listed.append({"name": part.name, "file": name, "rows": rows} | about_episode(part))
        write_list(self._out, listed, self.left_out)
