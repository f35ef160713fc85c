"""Consumers that misbehave in every way that their authors could think of, or that are stopped while they behave."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from consumers.checksum import Checksum
from streamer.contract import Consumer
from streamer.transport import ConsumerSocket
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Recording


def _raise() -> None:
    message = "the gripper is upside down"
    raise KeyError(message)


def _cancel() -> None:
    raise asyncio.CancelledError


def _interrupt() -> None:
    raise KeyboardInterrupt


def _hang() -> None:
    threading.Event().wait()


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault() -> None:
    ctypes.string_at(1)


def _fork_and_sleep() -> None:
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def _fork_and_return() -> None:
    os.fork()


def _fork_and_raise() -> None:
    if os.fork() == 0:
        _raise()


def _close_outputs() -> None:
    sys.stdin.close()
    sys.stdout.close()
    for descriptor in (0, 1):
        os.close(descriptor) if _is_open(descriptor) else None


def _is_open(descriptor: int) -> bool:
    return Path(f"/proc/self/fd/{descriptor}").exists()


def _take_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGSEGV):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))


def _start_thread() -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()


def _move() -> None:
    os.chdir("/")
    os.umask(0o777)


WAYS: dict[str, Callable[[], object]] = {
    "raise": _raise,
    "cancel": _cancel,
    "interrupt": _interrupt,
    "exit": lambda: sys.exit(0),
    "_exit": lambda: os._exit(0),
    "hang": _hang,
    "stop": _stop,
    "kill": _kill,
    "segfault": _segfault,
    "fork": _fork_and_sleep,
    "fork and return": _fork_and_return,
    "fork and raise": _fork_and_raise,
    "close": _close_outputs,
    "signals": _take_signals,
    "thread": _start_thread,
    "move": _move,
}


class Misfit(Checksum):
    """A checksum that does something wrong at a place, in its first processes only or in each."""

    def __init__(self, out: str, how: str, where: str = "on_frame", at: int = 17, times: int = 1000) -> None:
        super().__init__(str(Path(out).absolute()))
        self._how = how
        self._where = where
        self._at = at
        self._times = times
        self._count = Path(f"{out}.count").absolute()
        self._do("constructor", at)

    def _do(self, where: str, at: int) -> None:
        if where != self._where or at != self._at:
            return
        times = len(self._count.read_bytes()) if self._count.exists() else 0
        if times < self._times:
            with self._count.open("ab") as file:
                file.write(b".")
            WAYS[self._how]()

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        super().open(recording, state)
        self._do("open", self._at)

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        self._do("on_frame", frame.number)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        self._do("on_chunk", self._at if chunk.first <= self._at <= chunk.last else -1)
        return super().on_chunk(chunk)

    def close(self, recording: Recording) -> None:
        self._do("close", self._at)
        super().close(recording)


class Waiting(Checksum):
    """A checksum that says at some places that it is there, and waits until it may go on.

    ``places`` are such as "on_frame 17", "on_chunk 3", "open 0", "close 0"; of "constructor 0" every process waits.
    """

    def __init__(self, out: str, places: list[str]) -> None:
        super().__init__(str(Path(out).absolute()))
        self._base = Path(out).absolute()
        self._places = places
        self._wait("constructor 0")

    def _wait(self, place: str) -> None:
        if place in self._places and not self._file("go").exists():
            self._file("draft").write_text(str(os.getpid()))
            self._file("draft").rename(self._file("here"))
            wait_until(self._file("go").exists)
            self._file("left").touch()

    def _file(self, what: str) -> Path:
        return self._base.with_suffix(f".{what}")

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        super().open(recording, state)
        self._wait("open 0")

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        self._wait(f"on_frame {frame.number}")

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        self._wait(f"on_chunk {chunk.number}")
        return super().on_chunk(chunk)

    def close(self, recording: Recording) -> None:
        self._wait("close 0")
        super().close(recording)


class Paced(Checksum):
    """A checksum that goes as far as a file says: chunk ``n`` is begun when the file holds a number above n."""

    def __init__(self, out: str, leash: str) -> None:
        super().__init__(out)
        self._leash = Path(leash)
        self._far = 0

    def on_frame(self, frame: Frame) -> None:
        if frame.number >= self._far:
            wait_until(lambda: self._look() > frame.number)
        super().on_frame(frame)

    def _look(self) -> int:
        self._far = int(self._leash.read_text())
        return self._far


class Watching(Checksum):
    """Looks at one frame's array until it is told to go on; writes down whether it ever changed."""

    def __init__(self, out: str, at: int) -> None:
        super().__init__(out)
        self._out_path = Path(out)
        self._at = at

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        go = self._out_path.with_suffix(".go")
        if frame.number != self._at or go.exists():
            return
        value = frame["n"]
        assert value is not None
        changed = False
        here = self._out_path.with_suffix(".here")

        def looked() -> bool:
            nonlocal changed
            if not changed and value[0] != frame.number:
                changed = True
                self._out_path.with_suffix(".changed").write_text(f"{value[0]}")
            self._out_path.with_suffix(".ask").unlink(missing_ok=True)  # it was asked to look, and has
            if not here.exists():
                here.with_suffix(".draft").write_text(str(os.getpid()))
                here.with_suffix(".draft").rename(here)
            return go.exists()

        wait_until(looked)


class Keeping(Consumer):
    """Keeps the arrays of the last ``most`` frames beyond their callbacks, and looks whether they stay what they were.

    With ``times``, the first processes end at a frame, so that a successor is shown the frames one at a time.
    """

    def __init__(self, out: str, most: int, times: int = 0, at: int = 17) -> None:
        self._out = Path(out)
        self._most = most
        self._times = times
        self._at = at
        self._kept: list[tuple[int, NDArray[Any]]] = []
        self._numbers: list[int] = []

    def on_frame(self, frame: Frame) -> None:
        value = frame["n"]
        assert value is not None
        for number, kept in self._kept:
            assert kept[0] == number, f"the array of frame {number} is now {kept[0]}"
        self._kept = [*self._kept, (frame.number, value)][-self._most :]
        self._numbers.append(frame.number)
        count = self._out.with_suffix(".count")
        times = len(count.read_bytes()) if count.exists() else 0
        if frame.number == self._at and times < self._times:
            count.write_bytes(b"." * (times + 1))
            _raise()

    def on_chunk(self, chunk: Chunk) -> None:
        self._out.mkdir(exist_ok=True)
        (self._out / f"part-{chunk.number:06d}.txt").write_text(" ".join(map(str, self._numbers)))
        self._numbers = []


class Hostile(Checksum):
    """Sends all sorts of things to the reader in its own name, at every frame."""

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        (mine,) = [thing for thing in gc.get_objects() if isinstance(thing, ConsumerSocket)]
        rng = np.random.default_rng(frame.number)
        for size in (0, 1, 7, 300):
            mine.socket.send(rng.bytes(size))
        mine.socket.send_multipart([b"", b"one part too many"])
        messages: list[tuple[object, ...]] = [
            (2, [frame.number + 50, -1, 2**63, -(2**63), 10**6]),  # releases
            (2, ["frame", None, 1.5]),
            (2, 5),
            (3, 10**9, b"state"),  # commits
            (3, -1, None),
            (3, frame.number // 5 + 1, None),
            (4,),  # its outputs are finished
            (10, {}, 1, 1, None),  # what only the reader says
            (13,),
        ]
        for message in messages:
            mine.socket.send(msgpack.packb(message))


class Numbers(Consumer):
    """Writes the numbers of its frames, one file a chunk: what is doubled or lost is seen."""

    def __init__(self, out: str, at: list[int], how: str = "raise") -> None:
        self._out = Path(out)
        self._at = at
        self._how = how
        self._numbers: list[int] = []

    def on_frame(self, frame: Frame) -> None:
        if frame.number in self._at:
            WAYS[self._how]()
        self._numbers.append(frame.number)

    def on_chunk(self, chunk: Chunk) -> None:
        self._out.mkdir(exist_ok=True)
        (self._out / f"part-{chunk.number:06d}.txt").write_text(" ".join(map(str, self._numbers)))
        self._numbers = []


class Strange(Consumer):
    """Returns something as its state."""

    def __init__(self, what: str) -> None:
        self._what = what

    def on_frame(self, frame: Frame) -> None:
        """Look at nothing."""

    def on_chunk(self, chunk: Chunk) -> Any:
        return {"set": {"a": {1}}, "list": [1], "lock": {"a": threading.Lock()}, "large": {"a": bytes(2**26)}}[
            self._what
        ]


class Large(Consumer):
    """Writes a large file."""

    def __init__(self, out: str) -> None:
        self._out = Path(out)

    def on_frame(self, frame: Frame) -> None:
        """Look at nothing."""

    def on_chunk(self, chunk: Chunk) -> None:
        with self._out.open("ab") as file:
            file.write(bytes(10**6))
