"""What a session tells an observer → a snapshot of the run, several times a second, in a file that others may read."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import psutil

from streamer.supervisor.workdir import STATUS

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.runtime.messages import Planned, Position, Progress
    from streamer.supervisor.observer import Display

_WINDOW = 5.0  # seconds over which speed is told


class Pace:
    """Progress messages → a snapshot: how far, how fast, how long still, who is waited for."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._seen: deque[tuple[float, int, int]] = deque()
        self._frames = self._slots = self._slot_size = 0

    def planned(self, frames: int, slots: int, slot_size: int) -> None:
        """Take in how much there is; a slot's size in bytes."""
        self._frames, self._slots, self._slot_size = frames, slots, slot_size
        self._seen.clear()

    def take(self, progress: Progress, now: float) -> dict[str, Any]:
        """Take in how far everyone is; return frames (done, all, a second), bytes a second, seconds left, and more.

        ``pool`` counts slots; ``waits_for`` is ``reader``, or the consumer that is furthest behind.
        """
        self._seen.append((now, progress.reached, progress.bytes))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        then, frames, loaded = self._seen[0]
        seconds = max(now - then, 1e-6)
        rate = (progress.reached - frames) / seconds if len(self._seen) > 1 else 0.0
        left = self._frames - progress.reached
        ahead = max((c.position for c in progress.consumers.values()), default=0)
        return {
            "frames": {"done": progress.reached, "all": self._frames, "per_second": round(rate, 3)},
            "bytes_per_second": round((progress.bytes - loaded) / seconds) if len(self._seen) > 1 else 0,
            "seconds_left": round(left / rate, 1) if rate > 0 else None,
            "pool": {
                "in_use": progress.slots,
                "allocated": progress.allocated,
                "most": self._slots,
                "slot_bytes": self._slot_size,
            },
            "waits_for": _bottleneck(progress.consumers),
            "reader_anon_bytes": progress.anon,
            "consumers": {
                name: {
                    "position": c.position,
                    "behind": ahead - c.position,
                    "committed_chunks": c.cursor,
                    "holds": c.holds,
                }
                for name, c in progress.consumers.items()
            },
        }


def _bottleneck(consumers: dict[str, Position]) -> str:
    """Name the one for which the others wait: a consumer with work that is furthest behind, else the reader."""
    busy = {name: c.position for name, c in consumers.items() if c.silent > 0}
    return min(busy, key=lambda name: busy[name]) if busy else "reader"


class Status:
    """The observer of a session that makes snapshots for a display; the newest is kept in the work folder."""

    def __init__(self, inner: Display, path: Path, config: str) -> None:
        """Write to ``path``, whole or not at all, for as long as the run goes on."""
        self._inner = inner
        self._path = path
        self._pace = Pace()
        self._values: dict[str, Any] = {
            "state": "opening",
            "config": config,
            "pid": os.getpid(),
            "began": psutil.Process().create_time(),
        }

    def recording(self, path: Path, number: int, count: int) -> None:
        """Take in that a recording is begun: ``number`` of ``count``, from 1."""
        self._write(state="opening", recording=str(path), number=number, of=count)

    def planned(self, plan: Planned) -> None:
        """Pass on, and remember how much there is."""
        self._pace.planned(plan.frames, plan.slots, plan.slot_size)
        self._write(state="streaming")
        self._inner.planned(plan)

    def progress(self, progress: Progress, lives: dict[str, dict[str, Any]], memory: dict[str, Any]) -> None:
        """Make a snapshot of it, write it, and pass it on."""
        snapshot = self._pace.take(progress, time.monotonic()) | {"memory": memory}
        for name, life in lives.items():
            snapshot["consumers"].setdefault(name, {}).update(life)
        self._write(**snapshot)
        self._inner.progress(snapshot | {"recording": self._values.get("recording", "")})

    def planned_one(self, name: str, plan: Planned) -> None:
        """Take in the plan of one of many recordings that are under way."""
        self._inner.planned(plan, name)

    def many(self, snapshot: dict[str, Any]) -> None:
        """Take in how far many recordings are together: ``recordings`` counts them, ``running`` has each one's."""
        self._write(state="streaming", **snapshot)
        self._inner.progress(snapshot)

    def note(self, text: str, **about: Any) -> None:
        """Pass on."""
        self._inner.note(text, **about)

    def ended(self, exit_code: int) -> None:
        """Say in the file that the run is over."""
        self._write(state="ended", exit_code=exit_code)

    def _write(self, **values: Any) -> None:
        self._values |= values | {"updated": time.time()}
        draft = self._path.with_name(self._path.name + ".tmp")
        try:
            draft.write_text(json.dumps(self._values), encoding="utf-8")
            os.replace(draft, self._path)
        except OSError:  # a full disk ends the run where data are lost, not where they are shown
            return


def read(path: Path) -> dict[str, Any]:
    """Return the snapshot in a work folder; its state is ``gone`` where the process that wrote it no longer lives.

    Raises:
        OSError, ValueError: there is none.

    """
    found: dict[str, Any] = json.loads((path / STATUS).read_text(encoding="utf-8"))
    if found["state"] != "ended" and not _lives(found):
        found["state"] = "gone"
    return found


def _lives(found: dict[str, Any]) -> bool:
    try:
        return bool(abs(psutil.Process(found["pid"]).create_time() - found["began"]) < 1)
    except psutil.Error:
        return False
