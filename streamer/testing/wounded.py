"""A consumer and points in its life → the same consumer, killed by SIGKILL at these points, once at each.

A point is the beginning or the end of a call, or a moment in it just before Python touches the file system (a file
opened for writing, a rename, a removal, a folder made): between two of these nothing changes on the disk but the
content of files that are being written. Such points are the same in every run, so a death can be planned by a seed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.contract import Consumer
from streamer.memory import anonymous
from streamer.runtime.plugin import make_consumer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.contract import Chunk, Frame, Recording

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"})


class Wounded(Consumer):
    """Passes every call on to the consumer that ``use`` and ``options`` name.

    It notes every point that it passes in ``<folder>/points.txt`` and its anonymous memory behind every chunk in
    ``<folder>/memory.txt``, and dies at the points named in ``deaths``. Where ``robs`` is set, it first removes one of
    the files below ``<folder>/out`` that have not changed since its first commit, and notes which in
    ``<folder>/removed.txt``.
    """

    def __init__(
        self, use: str, options: dict[str, Any], folder: str, deaths: Sequence[str] = (), *, robs: bool = False
    ) -> None:
        """Construct the inner consumer."""
        self._robs = robs
        self._committed: dict[Path, int] = {}  # the files behind the first commit, and when they were written
        self._consumer = make_consumer("inner", use, options)
        self.many_recordings = self._consumer.many_recordings
        self._folder = Path(folder)
        self._deaths = frozenset(deaths)
        self._call = ""  # the call that is under way
        self._step = 0
        self._lock = threading.Lock()
        self._noting = 0  # the thread whose own changes are none: it notes a point

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Pass on; from here on, changes to the file system are points."""
        sys.addaudithook(self._heed)
        with self._calling("open", 0):
            self._consumer.open(recording, state)

    def on_frame(self, frame: Frame) -> None:
        """Pass on."""
        with self._calling("on_frame", frame.number):
            self._consumer.on_frame(frame)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any] | None:
        """Pass on, and measure."""
        with self._calling("on_chunk", chunk.number):
            state = self._consumer.on_chunk(chunk)
        _append(self._folder / "memory.txt", str(anonymous()))
        if chunk.number == 0:
            self._committed = {path: path.stat().st_mtime_ns for path in self._files()}
        return state

    def _files(self) -> list[Path]:
        return sorted(path for path in (self._folder / "out").rglob("*") if path.is_file())

    def _rob(self) -> None:
        same = [path for path in self._files() if self._committed.get(path) == path.stat().st_mtime_ns]
        (self._folder / "removed.txt").write_text(str(same[-1]) if same else "", encoding="utf-8")
        if same:
            same[-1].unlink()

    def close(self, recording: Recording) -> None:
        """Pass on."""
        with self._calling("close", 0):
            self._consumer.close(recording)

    @contextmanager
    def _calling(self, call: str, number: int) -> Iterator[None]:
        call, self._step = f"{call}.{number}", 0
        self._pass(call)
        self._call = call
        yield
        self._call = ""
        self._pass(call)

    def _heed(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take a change to the file system for a point, but not the interpreter's own (compiled modules)."""
        changes = event in _CHANGES or (event == "open" and bool(arguments[2] & _WRITES))
        mine = threading.get_ident()
        if changes and self._call and self._noting != mine and "__pycache__" not in str(arguments[0]):
            with self._lock:  # a library may write from several threads, and each of their changes counts
                self._noting = mine
                self._pass(self._call)
                self._noting = 0

    def _pass(self, call: str) -> None:
        point = f"{call}.{self._step}"
        self._step += 1
        _append(self._folder / "points.txt", point)
        died = self._folder / f"died.{point}"
        if point in self._deaths and not died.exists():
            died.touch()
            if self._robs:
                self._call = ""  # what is done now is none of its points
                self._rob()
            os.kill(os.getpid(), signal.SIGKILL)


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
