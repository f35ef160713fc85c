"""Snapshots, one after the other → what a page is told: the whole state once, then only what has changed.

A state is nested dicts without None. A change is a JSON merge patch (RFC 7396): what it does not name stays, and None
removes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    State = dict[str, Any]

_LONGEST_ERROR = 300  # letters of it in a row; the whole is among the details
_ORDER = ("running", "quarantined", "failed", "done", "queued", "settling", "seen")  # what is told first
_ROW = ("id", "name", "path", "state", "attempts", "size", "frames")
_TIMES = ("seen", "began", "ended", "next_try")


class States:
    """Makes states of snapshots; a row whose recording is the same object as before is taken over as it is."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: dict[str, tuple[Any, State]] = {}

    def take(self, snapshot: Mapping[str, Any]) -> State:
        """Return the state that a snapshot shows."""
        known: dict[str, tuple[Any, State]] = {}
        for one in snapshot.get("recordings", ()):
            key = f"#{one['id']}" if one.get("id") else one["path"]
            before = self._known.get(key)
            known[key] = before if before is not None and before[0] is one else (one, _row(one))
        self._known = known
        head = {key: value for key, value in snapshot.items() if key not in ("recordings", "running", "updated")}
        if "memory" in head:
            head["memory"] = head["memory"] | {"used": _rounded(head["memory"].get("used") or 0)}
        head["free"] = {path: _rounded(size) for path, size in head.get("free", {}).items()}
        return {
            "head": _without_none(head),
            "rows": {key: row for key, (_, row) in known.items()},
            "running": {f"#{one['id']}": _without_none(_run(one)) for one in snapshot.get("running", ())},
        }


def difference(before: State, now: State) -> State:
    """Return the patch that makes ``now`` of ``before``."""
    patch: State = dict.fromkeys(key for key in before if key not in now)
    for key, value in now.items():
        old = before.get(key)
        if value is old:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := difference(old, value):
                patch[key] = inner
        elif value != old:
            patch[key] = value
    return patch


def step(seen: State, now: State, most: int) -> tuple[State, State]:
    """Return a patch with at most some ``most`` bytes of rows, and the state that whoever has ``seen`` has with it."""
    rows = difference(seen["rows"], now["rows"])
    taken: State = {}
    for key in sorted(rows, key=lambda key: _rank(now["rows"].get(key, {}))):
        most -= len(json.dumps({key: rows[key]}))
        if most < 0 and taken:
            break
        taken[key] = rows[key]
    patch = difference(seen | {"rows": {}}, now | {"rows": {}}) | ({"rows": taken} if taken else {})
    if len(taken) == len(rows):
        return patch, now
    part = {key: row for key, row in seen["rows"].items() if taken.get(key, row) is not None}
    part |= {key: now["rows"][key] for key, change in taken.items() if change is not None}
    return patch, now | {"rows": part}


def _rank(row: State) -> int:
    state = row.get("state")
    return _ORDER.index(state) if state in _ORDER else 0


def _row(one: Mapping[str, Any]) -> State:
    row = {key: one.get(key) for key in _ROW}
    row |= {key: round(one[key]) for key in _TIMES if one.get(key)}
    if error := one.get("error"):
        row["error"] = error if len(error) <= _LONGEST_ERROR else f"{error[:_LONGEST_ERROR]} …"
    return _without_none(row)


def _run(one: Mapping[str, Any]) -> State:
    """Return what is shown of a running recording, without the lines of its memory, which are asked for."""
    status = one.get("status") or {}
    memory = {name: _held(values) for name, values in status.get("memory", {}).items()}
    shown = {key: status.get(key) for key in ("state", "pool", "waits_for", "consumers", "frames", "seconds_left")}
    if shown["frames"]:
        shown["frames"] = shown["frames"] | {"per_second": round(shown["frames"].get("per_second") or 0, 1)}
    if shown["seconds_left"] is not None:
        shown["seconds_left"] = round(shown["seconds_left"])
    if (speed := status.get("bytes_per_second")) is not None:
        shown["bytes_per_second"] = _rounded(speed)
    return {"id": one["id"], "began": one.get("began"), "image": one.get("image")} | shown | {"memory": memory}


def _held(values: Mapping[str, Any]) -> State:
    """Return what a process holds, and the most that it has held: never less than it holds."""
    anon = values.get("anon")
    peak = max([anon or 0, *(point[2] * 1e6 for point in values.get("points", ()))])
    told = {"anon": None if anon is None else _rounded(anon), "peak": _rounded(peak)}
    return told | {key: values.get(key) for key in ("verdict", "mb_per_chunk")}


def _rounded(count: float) -> int:
    """Return a count of bytes to three digits: what changes less is told less often."""
    return int(float(f"{count:.3g}"))


def _without_none(values: State) -> State:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
