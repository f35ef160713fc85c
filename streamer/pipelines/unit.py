"""A unit of work, one recording of many: what it is, how it is handled while it runs, and how it ended."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.config.model import Config
    from streamer.errors import StreamerError
    from streamer.runtime.channel import Channel
    from streamer.runtime.messages import Note, Planned


@dataclass(frozen=True, slots=True)
class Ended:
    """How a unit ended: ``state`` is done, interrupted, failed, died or waiting (it never had its turn).

    ``error`` says why, ``values`` is the recording's part of the report, ``cursors`` how many chunks each consumer has
    committed, and its state.
    """

    state: str
    error: StreamerError | None = None
    values: dict[str, Any] | None = None
    cursors: dict[str, tuple[int, bytes | None]] | None = None

    @property
    def exit_code(self) -> int:
        """The code of its error; 0 where there is none."""
        return 0 if self.error is None else self.error.exit_code

    @property
    def delivered(self) -> int:
        """The frames that were delivered."""
        return int(self.values["frames"]["delivered"]) if self.values else 0


class Unit(Protocol):
    """A recording under way, wherever it is streamed."""

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when it says something or ends."""

    def heard(self) -> list[Planned | Note]:
        """Return what it has said up to now; does not wait."""

    def ended(self) -> Ended | None:
        """Tell how it ended; None while it goes on."""

    def status(self) -> dict[str, Any]:
        """Return its last snapshot."""

    def drain(self) -> None:
        """Ask it to end with the chunk that is under way."""

    def stop(self) -> None:
        """Ask it to end now."""

    def close(self) -> None:
        """Make sure that it is gone."""


@dataclass(slots=True)
class Work:
    """One recording of many: where it lies, what it is called, how far it is.

    ``asked`` is a digest of what a run is asked for: when it is another, what is done is done for something else.
    ``share`` (index, count) is the part of its episodes that is streamed, where that is not all.
    """

    path: Path
    name: str
    folder: Path
    asked: str = ""
    share: tuple[int, int] | None = None
    state: str = "waiting"  # then running, and as it ended; 'earlier' where an earlier run has finished it
    tries: int = 0
    not_before: float = 0.0  # the time of its next try
    began: float = 0.0
    ended: Ended | None = None
    snapshot: dict[str, Any] = field(default_factory=dict)
    frames: tuple[int, int] = (0, 0)  # done, of

    @property
    def size(self) -> int:
        """Its bytes on the disk."""
        return sum(file.stat().st_size for file in self._files())

    @property
    def stamp(self) -> str:
        """The sizes of its files and when they were last written, by which a change is seen."""
        facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in self._files()]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def _files(self) -> list[Path]:
        files = sorted(self.path.rglob("*")) if self.path.is_dir() else [self.path]
        return [file for file in files if file.is_file()]


_DECIDE = {"source", "types", "timeline", "streams", "chunk_size", "episodes", "quality"}


def asked_of(config: Config, base: Path) -> str:
    """Return a digest of what decides the frames of every recording: its streams, its timeline, how it is read and cut.

    Paths are relative to ``base``.
    """
    values = {key: value for key, value in config.model_dump(mode="json", include=_DECIDE).items() if value}
    values["source"].pop("path", None)
    if config.episodes is not None:
        files = [base / name for name in (config.episodes.windows, config.episodes.task_file) if name is not None]
        values["told"] = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def folder_of(workdir: Path, pipeline: str, path: Path, name: str) -> Path:
    """Return the work folder of one recording: readable, its own, and short enough for a socket in it."""
    own = hashlib.sha256(f"{pipeline}\0{path}".encode()).hexdigest()[:8]
    return workdir / "recordings" / f"{name[:24]}-{own}"
