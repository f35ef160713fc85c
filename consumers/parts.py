"""Frames → a file for each chunk → one file a recording: what consumers share that put parts together at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumers.files import (
    about_episode,
    check_count,
    check_names,
    check_parts,
    check_same_names,
    make_folder,
    remove_folder,
    replacing,
    working_folder,
    write_list,
)
from streamer.contract import Consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.contract import Chunk, Outlook, Part, Recording


class Parts(Consumer, ABC):
    """Writes ``<out>/<recording><suffix>``: the base of consumers that make one file of a recording.

    A chunk lies in a file of its own, in ``.<recording><suffix>``, until the end, so a repeated chunk replaces itself.
    Of many recordings in one run, ``<out>/_recordings.json`` has the order: name, file and rows of each.
    """

    many_recordings = True
    suffix = ""

    def __init__(self, out: str) -> None:
        """Write into the folder ``out``."""
        self._out = Path(out)

    # ---- what a kind of file says

    @abstractmethod
    def prepare(self, recording: Recording) -> None:
        """Hold the options against the recording and get ready for frames; nothing is written yet."""

    @abstractmethod
    def write_part(self, path: Path) -> int:
        """Write the frames since the chunk before, and forget them; return how many they are."""

    @abstractmethod
    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Put the files of the chunks together; there are none where there was no frame."""

    @abstractmethod
    def count(self, path: Path) -> int:
        """Return how many frames a whole file has."""

    @abstractmethod
    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of a file's vectors, by what they are called there."""

    def own_names(self, recording: Recording) -> dict[str, Sequence[str]]:
        """Return likewise what the file of a recording will have."""
        return {name: stream.names for name, stream in recording.streams.items()}

    def others(self, recording: str) -> list[Path]:
        """Return the files in the folder that are of other recordings and can be asked for their names."""
        whole = sorted(self._out.glob(f"*{self.suffix}"))
        return [path for path in whole if not path.name.startswith(".") and path != self.path_of(recording)]

    def finished(self, recording: Recording) -> None:
        """Do what is left when a recording's file is whole; it may be repeated."""

    def finish(self, files: dict[str, Path], about: dict[str, dict[str, Any]]) -> None:
        """Do what is left when the files of many recordings are whole; it may be repeated.

        ``about`` says of each which episode it is, if it is one.
        """

    # ---- what they share

    def check(self, outlook: Outlook) -> None:
        """Hold the options against the recording, and elements against those of other recordings."""
        self.prepare(outlook.recording)
        self._check_names(outlook.recording)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Prepare a folder for the chunks, or go on with it."""
        self.prepare(recording)
        make_folder(self._out)
        self._check_names(recording)
        self._final = self.path_of(recording.name)
        self._parts = working_folder(self._out / f".{self._final.name}", anew=state is None)
        self._chunks: int = state["chunk"] + 1 if state else 0
        self._written: int = state["rows"] if state else 0
        if state is not None:
            self._check()

    def path_of(self, recording: str) -> Path:
        """Return where a recording's file lies."""
        return self._out / f"{recording}{self.suffix}"

    def _part(self, chunk: int) -> Path:
        return self._parts / f"part-{chunk:08d}{self.suffix}"

    def _check(self) -> bool:
        """Make sure that what was committed is there; tell whether its parts are still to be put together."""
        waiting = check_parts(self._parts, [self._part(n).name for n in range(self._chunks)], self._final)
        if not waiting:
            check_count(self._final, self.count(self._final), self._written)
        return waiting

    def _check_names(self, recording: Recording) -> None:
        """Make sure that the elements are those of the other recordings in the folder, which agree with each other."""
        waiting = {name: names for name, names in self.own_names(recording).items() if names}
        for path in self.others(recording.name):
            if not waiting:
                return
            for name, names in self.names_in(path).items():
                if own := waiting.pop(name, None):
                    self._check_own(recording, name, own, path, names)

    def _check_own(self, recording: Recording, name: str, own: Sequence[str], path: Path, names: Sequence[str]) -> None:
        if name in recording.streams and tuple(own) == recording.streams[name].names:
            check_names(recording.streams[name], names, str(path))
        else:
            check_same_names(recording.name, name, own, names, path.name)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's frames to a file of their own."""
        with replacing(self._part(chunk.number)) as draft:
            self._written += self.write_part(draft)
        self._chunks = chunk.number + 1
        return {"chunk": chunk.number, "rows": self._written}

    def close(self, recording: Recording) -> None:
        """Put the chunks together."""
        if self._chunks == 0 or self._check():  # else an earlier process came as far as to tidy up
            with replacing(self._final) as draft:
                self.join(draft, [self._part(n) for n in range(self._chunks)], recording)
                check_count(self._final, self.count(draft), self._written)
        self.finished(recording)
        remove_folder(self._parts)

    def merge(self, parts: Sequence[Part]) -> None:
        """List the recordings in this order."""
        files = {part.name: self.path_of(part.name) for part in parts}
        first: dict[str, tuple[str, list[str]]] = {}
        for name, file in files.items():
            for stream, names in self.names_in(file).items():
                whose, known = first.setdefault(stream, (name, names))
                check_same_names(name, stream, names, known, whose)
        about = {part.name: about_episode(part) for part in parts}
        self.finish(files, about)
        ours = [{"name": n, "file": f.name, "rows": self.count(f)} | about[n] for n, f in files.items()]
        write_list(self._out, ours, self.left_out)
