"""What the daemon does and what its queue remembers → one object for JSON, which status, page and metrics show."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from streamer.supervisor.recording import fill_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.config.load import Loaded
    from streamer.ingest.queue import Entry, Queue
    from streamer.ingest.sights import Sight

_MOST_DONE = 200  # that are shown, the last ones
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    """A recording under way: ``status`` reads what its pipeline wrote last, ``image`` finds its newest picture."""

    entry: Entry
    status: Callable[[], dict[str, Any]]
    image: Callable[[], Path | None]


@dataclass(frozen=True, slots=True)
class Live:
    """What only the daemon's process knows. It is replaced as a whole, so any thread may read it."""

    config: str
    pid: int = 0
    began: float = 0.0
    state: str = "not running"  # | watching | paused | draining
    paused: str | None = None
    held: bool = False  # a person paused it
    warnings: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()
    last_scan: float = 0.0
    jobs: int = 1
    budget: int | None = None
    disks: Callable[[], tuple[Path, ...]] = tuple
    sights: tuple[Sight, ...] = ()
    running: tuple[Running, ...] = field(default=())
    own_memory: Callable[[], int] = lambda: 0


def snapshot(queue: Queue, live: Live, rows: list[Row] | None = None) -> dict[str, Any]:
    """Return everything that is shown, the queue's ``rows`` among it; times in Unix seconds, sizes in bytes."""
    if rows is None:
        rows = [as_json(entry) for entry in queue.not_done() + queue.last_done(_MOST_DONE)]
    known = {row["path"] for row in rows if row["state"] != "done"}
    waiting = [s for s in live.sights if s.state != "settled" and str(s.candidate.path) not in known]
    running = [_running(one) for one in live.running]
    states = [_shown(sight)["state"] for sight in waiting]
    return {
        "config": live.config,
        "pid": live.pid,
        "version": version("rosbag-streamer"),
        "began": live.began,
        "updated": time.time(),
        "state": live.state,
        "paused": live.paused,
        "held": live.held,
        "warnings": list(live.warnings),
        "watch": list(live.watch),
        "last_scan": live.last_scan or None,
        "jobs": live.jobs,
        "memory": {"used": live.own_memory() + sum(_memory(one["status"]) for one in running), "budget": live.budget},
        "free": _free(live.disks()),
        "counts": {"seen": states.count("seen"), "settling": states.count("settling"), **queue.counts()},
        "frames_done": queue.frames(),
        "recordings": [_shown(sight) for sight in waiting] + rows,
        "running": running,
    }


def as_json(entry: Entry) -> Row:
    """Return what is shown of an entry."""
    return {
        "id": entry.id,
        "name": entry.name,
        "path": str(entry.path),
        "state": entry.state,
        "attempts": entry.attempts,
        "error": entry.error,
        "advice": entry.advice if entry.error else "",
        "note": "; ".join(text for text in (entry.note, entry.filed) if text),
        "size": entry.mark.size,
        "seen": entry.seen,
        "began": entry.began,
        "ended": entry.ended,
        "next_try": entry.next_try,
        "frames": entry.frames,
        "outputs": entry.outputs,
        "configuration": entry.configuration,
    }


def newest_image(loaded: Loaded, name: str) -> Path | None:
    """Find the picture that a consumer keeps of the newest frame: ``<out>/.<recording>.<consumer>/latest.jpg``.

    It is for display, so whatever is wrong with it means that there is none.
    """
    found: list[tuple[int, Path]] = []
    for consumer in loaded.config.consumers.values():
        out = consumer.options.get("out")
        if not isinstance(out, str):
            continue
        with suppress(OSError, ValueError), os.scandir(loaded.base / fill_in(out, name)) as entries:
            for folder in (entry for entry in entries if entry.name.startswith(f".{name}.")):
                with suppress(OSError, ValueError):  # it was replaced or removed a moment ago
                    path = loaded.base / folder.path / "latest.jpg"
                    found.append((path.stat().st_mtime_ns, path))
    return max(found)[1] if found else None


def _free(disks: tuple[Path, ...]) -> dict[str, int]:
    found = {}
    for path in disks:
        with suppress(OSError):  # it was unmounted a moment ago
            found[str(path)] = shutil.disk_usage(path).free
    return found


def _shown(sight: Sight) -> dict[str, Any]:
    """Return the same for a recording that has no entry yet."""
    nothing = dict.fromkeys(("id", "seen", "began", "ended", "next_try", "frames"))
    return nothing | {
        "name": sight.candidate.path.name,
        "path": str(sight.candidate.path),
        "state": "seen" if sight.state == "seen" else "settling",
        "attempts": 0,
        "error": sight.problem,
        "advice": "",
        "note": "",
        "size": sight.candidate.mark.size,
        "outputs": {},
        "configuration": "",
    }


def _running(one: Running) -> dict[str, Any]:
    entry = one.entry
    return {
        "id": entry.id,
        "name": entry.name,
        "path": str(entry.path),
        "began": entry.began,
        "attempts": entry.attempts,
        "image": f"/image/{entry.id}" if one.image() is not None else None,
        "status": one.status(),
    }


def _memory(status: dict[str, Any]) -> int:
    """Add up the anonymous memory of a pipeline's processes and the pages of its pool."""
    try:
        pool = status.get("pool", {"allocated": 0, "slot_bytes": 0})
        processes = sum(memory["anon"] for memory in status.get("memory", {}).values())
        return int(processes + pool["allocated"] * pool["slot_bytes"])
    except (KeyError, TypeError, AttributeError):  # another program version wrote it, or it is damaged
        return 0
