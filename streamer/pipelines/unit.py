"""A unit of work, one recording of many: what it is, how it is handled while it runs, and how it ended."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

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
    """One recording of many: where it lies, what it is called, how far it is."""

    path: Path
    name: str
    folder: Path
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
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())


def folder_of(workdir: Path, pipeline: str, path: Path, name: str) -> Path:
    """Return the work folder of one recording: readable, its own, and short enough for a socket in it."""
    own = hashlib.sha256(f"{pipeline}\0{path}".encode()).hexdigest()[:8]
    return workdir / "recordings" / f"{name[:24]}-{own}"
