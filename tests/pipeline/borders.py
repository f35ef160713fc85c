"""A consumer whose process is killed once at each place beside a border of episodes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumers.checksum import Checksum

if TYPE_CHECKING:
    from streamer.contract import Chunk, Frame, Recording


class Dying(Checksum):
    """Takes checksums; dies once before and once behind each open, last chunk and close."""

    def __init__(self, out: str, folder: str) -> None:
        super().__init__(out)
        self._folder = Path(folder)
        self._episode: Recording

    def _die(self, where: str) -> None:
        mark = self._folder / f"{self._episode.name}-{where}"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        self._episode = recording
        self._frames_of = recording.frames
        with (self._folder / "opened.txt").open("a") as file:
            file.write(f"{recording.name} {recording.episode} {recording.task!r} {recording.label!r}\n")
        super().open(recording, state)
        if recording.episode == 1:
            self._die("open")

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        if chunk.last + 1 == self._frames_of and self._episode.episode == 0:
            self._die("chunk")
        return super().on_chunk(chunk)

    def close(self, recording: Recording) -> None:
        if recording.episode in (0, 2):
            self._die("before close")
        super().close(recording)
        if recording.episode == 1:
            self._die("behind close")


class Stopping(Checksum):
    """Takes checksums; at the end of its first episode the run is told to stop."""

    def __init__(self, out: str, folder: str) -> None:
        super().__init__(out)
        self._mark = Path(folder) / "stopped"

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        if not self._mark.exists():
            self._mark.touch()
            os.kill(os.getppid(), signal.SIGTERM)
        return super().on_chunk(chunk)


class Refusing(Checksum):
    """Takes checksums, but not of one picture: that is refused."""

    def __init__(self, out: str, trial: int, picture: int) -> None:
        super().__init__(out)
        self._refused = [trial, picture]

    def on_frame(self, frame: Frame) -> None:
        if frame["cam"][0, 0, :2].tolist() == self._refused:
            msg = "no such picture, please"
            raise ValueError(msg)
        super().on_frame(frame)


class Ending(Checksum):
    """Takes checksums; at the end of its first chunk the supervisor is killed, and so the whole run."""

    def __init__(self, out: str, folder: str) -> None:
        super().__init__(out)
        self._mark = Path(folder) / "ended"

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        if not self._mark.exists():
            self._mark.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()  # a process of a run dies with its supervisor
        return super().on_chunk(chunk)
