"""Snapshots as the daemon gives them, for tests of what shows them."""

from __future__ import annotations

import time
from typing import Any

Snapshot = dict[str, Any]


def idle(**changes: Any) -> Snapshot:
    """Return the snapshot of a daemon that has nothing to do."""
    now = time.time()
    states = ("seen", "settling", "queued", "running", "done", "failed", "quarantined")
    return {
        "config": "/srv/robot/watch.yaml",
        "pid": 4711,
        "version": "0.1.0",
        "began": now - 86400,
        "updated": now,
        "state": "watching",
        "paused": None,
        "warnings": [],
        "watch": ["/data/incoming"],
        "last_scan": now - 3,
        "jobs": 2,
        "memory": {"used": 730_000_000, "budget": 4_000_000_000},
        "free": {"/data": 210_000_000_000},
        "counts": dict.fromkeys(states, 0),
        "recordings": [],
        "running": [],
    } | changes


def recording(number: int, state: str, **changes: Any) -> Snapshot:
    """Return one recording of the ledger."""
    now = time.time()
    name = f"run_{number}"
    return {
        "id": number,
        "name": name,
        "path": f"/data/incoming/{name}.bag",
        "state": state,
        "attempts": 1,
        "error": "",
        "size": 123_456_789,
        "seen": now - 300,
        "began": now - 60,
        "ended": now - 20 if state in ("done", "quarantined") else None,
        "next_try": None,
        "frames": 273 if state == "done" else None,
        "outputs": {"dataset": "/data/out"} if state == "done" else {},
        "configuration": "a1b2c3d4",
        "note": "",
    } | changes


def run(number: int, *, done: int = 120, **changes: Any) -> Snapshot:
    """Return a running recording: a dataset writer in its second process, behind the reader."""
    name = f"run_{number}"
    points = [[1, chunk, 60.0 + 9 * chunk] for chunk in range(4)] + [[2, chunk, 44.0 + chunk] for chunk in range(4, 8)]
    status = {
        "state": "streaming",
        "frames": {"done": done, "all": 240, "per_second": 84.1},
        "bytes_per_second": 120_000_000,
        "seconds_left": 3.1,
        "pool": {"in_use": 12, "allocated": 30, "most": 170, "slot_bytes": 3_000_000},
        "waits_for": "dataset",
        "consumers": {
            "dataset": {
                "position": 130,
                "behind": 7,
                "committed_chunks": 8,
                "holds": 3,
                "phase": "active",
                "generation": 2,
                "recycled": 1,
                "crashed": 0,
            }
        },
        "memory": {
            "reader": {
                "verdict": "stable",
                "mb_per_chunk": 0.01,
                "anon": 61_000_000,
                "points": [[1, 0, 60.1], [1, 7, 61]],
            },
            "dataset": {"verdict": "growing", "mb_per_chunk": 9.0, "anon": 51_000_000, "points": points},
        },
    }
    common = {"id": number, "name": name, "path": f"/data/incoming/{name}.bag", "began": time.time() - 5}
    return common | {"attempts": 1, "image": None, "status": status} | changes


def counted(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with the counts of its recordings."""
    counts = dict(snapshot["counts"])
    for one in snapshot["recordings"]:
        counts[one["state"]] += 1
    return snapshot | {"counts": counts}
