"""Consumers for the tests: they record what they are shown, wait where a test says, or misbehave."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.contract import Consumer
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.contract import Chunk, Frame, Part, Recording


class Recorder(Consumer):
    """Writes the numbers of its frames, one file a chunk, and a log of all its calls."""

    def __init__(self, out: str) -> None:
        self._out = Path(out)
        self._numbers: list[int] = []

    def _log(self, text: str) -> None:
        with (self._out / "calls.txt").open("a") as file:
            file.write(f"{os.getpid()} {text}\n")

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        self._log(f"open {state}")

    def on_frame(self, frame: Frame) -> None:
        self._numbers.append(frame.number)
        assert all(value is None or not value.flags.writeable for value in frame.values())

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        text = " ".join(map(str, self._numbers))
        (self._out / f"part-{chunk.number:06d}.txt").write_text(text)
        self._numbers = []
        self._log(f"chunk {chunk.number} {chunk.first} {chunk.last} {chunk.frames}")
        return {"last": chunk.number}

    def close(self, recording: Recording) -> None:
        self._log("close")

    @staticmethod
    def read(out: Path) -> list[int]:
        """Return all frame numbers in the order of the parts."""
        return [int(n) for part in sorted(out.glob("part-*.txt")) for n in part.read_text().split()]


class Gate(Consumer):
    """Says at one frame that it is there, with its process id, and waits until it may go on."""

    def __init__(self, folder: str, at: int, where: str = "on_frame") -> None:
        self._folder = Path(folder)
        self._at = at
        self._where = where

    def _wait(self) -> None:
        if not (self._folder / "go").exists():
            (self._folder / "here.tmp").write_text(str(os.getpid()))
            (self._folder / "here.tmp").rename(self._folder / "here")
            wait_until((self._folder / "go").exists)

    def on_frame(self, frame: Frame) -> None:
        if self._where == "on_frame" and frame.number == self._at:
            self._wait()

    def on_chunk(self, chunk: Chunk) -> None:
        if self._where == "on_chunk" and chunk.first <= self._at <= chunk.last:
            self._wait()


class Gates(Consumer):
    """Waits at several frames, each with its own files: ``here-9`` and ``go-9``."""

    def __init__(self, at: list[int]) -> None:
        self._at = at

    def on_frame(self, frame: Frame) -> None:
        if frame.number in self._at:
            Path(f"here-{frame.number}").touch()
            wait_until(Path(f"go-{frame.number}").exists)


class Slow(Gate):
    """Waits at the gate while it is constructed."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, -1)
        self._wait()


class Faulty(Consumer):
    """Does something wrong at one frame."""

    def __init__(self, how: str, at: int = 3) -> None:
        self._how = how
        self._at = at
        self._kept: Any = None

    def on_frame(self, frame: Frame) -> None:
        if frame.number != self._at:
            return
        if self._how == "raise":
            message = "the gripper is upside down"
            raise KeyError(message)
        if self._how == "exit":
            sys.exit(3)
        if self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._how == "keep":
            self._kept = frame["camera"][10:20]
        if self._how == "write":
            frame["camera"][0] = 0

    def on_chunk(self, chunk: Chunk) -> Any:
        return {"set": {1}} if self._how == "state" else None


def count(frame: Frame, out: str) -> None:
    """Be a plain function as a consumer."""
    with Path(out).open("a") as file:
        file.write(f"{frame.number}\n")


NOT_CALLABLE = 3


class Crowd(Consumer):
    """Starts helpers of its own, moves to another folder, and leaves a file open."""

    def __init__(self, out: str) -> None:
        self._file = Path(out).absolute().open("a")
        os.chdir("/")
        self._helper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))

    def on_frame(self, frame: Frame) -> None:
        if frame.number == 0:
            self._helper.start()
            Path(self._file.name + ".pid").write_text(str(self._helper.pid))
            second = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            second.start()
            second.terminate()  # it obeys, though its parent would not
            second.join()
        self._file.write(f"{frame.number}\n")  # never closed: flushed as a process that exits does


class Hasher(Consumer):
    """Writes for each chunk a line for each of its frames: its number, its tick and a digest of what it showed."""

    def __init__(self, out: str) -> None:
        self._out = Path(out)
        self._out.mkdir(parents=True, exist_ok=True)
        self._lines: list[str] = []

    def on_frame(self, frame: Frame) -> None:
        digest = hashlib.sha256()
        for sample in frame.samples.values():
            digest.update(b"none" if sample is None else sample.stamp.to_bytes(8, "little") + sample.value.tobytes())
        self._lines.append(f"{frame.number} {frame.tick} {digest.hexdigest()}")

    def on_chunk(self, chunk: Chunk) -> None:
        (self._out / f"part-{chunk.number:06d}.txt").write_text("\n".join(self._lines))
        self._lines = []

    @staticmethod
    def read(out: Path) -> list[str]:
        """Return all lines in the order of the parts."""
        return [line for part in sorted(out.glob("part-*.txt")) for line in part.read_text().splitlines()]


class Merger(Consumer):
    """Counts the frames of each recording, and lists all when they are merged, unless the file ``fails`` exists."""

    many_recordings = True

    def __init__(self, out: str, fails: str | None = None) -> None:
        self._out = Path(out)
        self._fails = None if fails is None else Path(fails)
        self._frames = 0

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        self._frames = state["frames"] if state else 0
        (self._out / f"{recording.name}.part").write_text(str(recording.part))

    def on_frame(self, frame: Frame) -> None:
        self._frames += 1

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        return {"frames": self._frames}

    def merge(self, parts: Sequence[Part]) -> None:
        if self._fails is not None and self._fails.exists():
            message = "the parts do not fit"
            raise ValueError(message)
        lines = [f"{part.name} {part.state and part.state['frames']}" for part in parts]
        (self._out / "merged.txt").write_text("\n".join(lines))


class Merging(Merger):
    """Merges as a `Merger`, but says before that it does, in the file ``merging``, and waits for the file ``go``."""

    def merge(self, parts: Sequence[Part]) -> None:
        draft = self._out / "merging.draft"
        draft.write_text(str(os.getpid()))
        draft.rename(self._out / "merging")
        wait_until((self._out / "go").exists, "the word to go on")
        super().merge(parts)


class Flags:
    """Writes down what it is told of each episode's quality."""

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def on_frame(self, frame: Frame) -> None:
        """Look at nothing."""

    def close(self, recording: Recording) -> None:
        """Add a line."""
        with self._file.open("a") as file:
            file.write(f"{recording.flagged}\n")


class Looker(Hasher):
    """A `Hasher` that also writes, for each frame and stream, in whose memory its array lies: a file, or the pool."""

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        assert all(value is None or not value.flags.writeable for value in frame.values())
        where = {name: "" if value is None else _mapping_of(value) for name, value in frame.items()}
        with (self._out / "where.txt").open("a") as file:
            file.write(f"{frame.number} {' '.join(f'{name}={path}' for name, path in where.items())}\n")

    @staticmethod
    def where(out: Path) -> dict[int, dict[str, str]]:
        """Return for each frame the names of the files in which its arrays lay."""
        lines = [line.split() for line in (out / "where.txt").read_text().splitlines()]
        return {int(number): dict(part.split("=", 1) for part in parts) for number, *parts in lines}


def _mapping_of(array: Any) -> str:
    """Return the name of the file that is mapped where an array begins."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, _, *name = line.split(maxsplit=5)
        first, last = (int(end, 16) for end in span.split("-"))
        if first <= address < last:
            return Path(name[0].split()[0]).name if name else ""
    return ""


class Late(Gate):
    """Looks at the picture of its frame when it has waited, and not before."""

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        hashlib.sha256(frame["camera"])


class Keeper(Gate):
    """Keeps the picture of its frame, and looks at it as it closes, when it has waited."""

    def on_frame(self, frame: Frame) -> None:
        if frame.number == self._at:
            self._kept = frame["camera"]

    def close(self, recording: Recording) -> None:
        self._wait()
        if hasattr(self, "_kept"):
            hashlib.sha256(self._kept)
