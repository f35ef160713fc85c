"""What the processes told of a run → ``report.json``, and the exit code."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.errors import BusyError, OutputError, StorageError, StreamerError
from streamer.libraries import versions
from streamer.runtime import messages

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.supervisor.outcome import Outcome
    from streamer.supervisor.tally import Tallies, Tally

_MB = 10**6


@dataclass(frozen=True, slots=True)
class Streamed:
    """One recording's part of the report."""

    path: Path
    state: str  # done | interrupted | failed | waiting (of many: it was not begun)
    values: dict[str, Any]
    error: StreamerError | None = None


@dataclass(slots=True)
class Report:
    """A run: what every recording came to."""

    config: str
    recordings: list[Streamed] = field(default_factory=list)
    failure: StreamerError | None = None  # why the run could not begin

    def add(self, streamed: Streamed) -> None:
        """Take in a recording."""
        self.recordings.append(streamed)

    @property
    def error(self) -> StreamerError | None:
        """The first error of the run."""
        return self.failure or next((r.error for r in self.recordings if r.error is not None), None)

    @property
    def exit_code(self) -> int:
        """The code with which the command ends."""
        if self.error is not None:
            return self.error.exit_code
        return BusyError.exit_code if any(r.state != "done" for r in self.recordings) else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values: of one recording, its values; of more, also each one's."""
        each = [
            {"path": str(r.path), "state": r.state, "error": str(r.error) if r.error else None, **r.values}
            for r in self.recordings
        ]
        last = each[-1] if each else {"frames": {"planned": 0, "delivered": 0, "skipped": {}}}
        whole = {key: value for key, value in last.items() if key != "error"}  # which is told of the run below
        if len(each) > 1:
            whole["frames"] = _add_up([e["frames"] for e in each])
        error = self.error
        return {
            "config": self.config,
            "exit_code": self.exit_code,
            "error": None if error is None else {"kind": type(error).__name__, "message": str(error)},
            "versions": versions(),
            **whole,
            "recordings": each,
        }

    def write(self, path: Path) -> None:
        """Write the report; the name appears when it is whole.

        Raises:
            OutputError: it cannot be written.

        """
        temporary = path.with_name(path.name + ".tmp")
        try:
            temporary.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        except OSError as error:
            msg = f"the report {path} cannot be written: {error.strerror}"
            raise (StorageError if error.errno == errno.ENOSPC else OutputError)(msg) from error


def streamed(path: Path, outcome: Outcome, tallies: Tallies, began: float) -> Streamed:
    """Put together what is known of one recording."""
    plan, told = outcome.planned, outcome.streamed or messages.Streamed()
    skipped = dict(plan.skipped) if plan is not None else {}
    for reason, count in told.skipped.items():
        skipped[reason] = skipped.get(reason, 0) + count
    planned = plan.planned if plan is not None else 0
    delivered = told.reached - sum(told.skipped_reached.values())
    values = {
        "frames": {
            "planned": planned,
            "delivered": delivered,
            "skipped": skipped,
            "remaining": planned - delivered - sum(skipped.values()),
        },
        "streams": {name: asdict(stream) for name, stream in plan.streams.items()} if plan is not None else {},
        "episodes": [_episode(one) for one in plan.episodes] if plan is not None else [],
        "consumers": {
            name: _consumer(tally, told.consumers.get(name, messages.Shown()))
            | {"quarantined": [_quarantined(q) for q in told.quarantined if q.consumer == name]}
            for name, tally in tallies.consumers.items()
        },
        "reader": {
            "anon_mb": {key: _mb(size) for key, size in asdict(told.anon).items()},
            "loads": told.loads,
            "rejected": told.rejected,
            "memory": tallies.reader.memory(),
        },
        "supervisor": {"memory": tallies.supervisor.memory()},
        "pool": {
            "budget_mb": _mb(plan.pool if plan is not None else 0),
            "allocated_mb": _mb(told.pool_allocated),
            "peak_mb": _mb(told.pool_peak),
            "slots": plan.slots if plan is not None else 0,
        },
        "seconds": {
            **(_seconds(plan.seconds) if plan is not None else {"open": 0.0, "plan": 0.0}),
            "stream": round(told.stream_seconds, 6),
        },
        "warnings": list(plan.warnings) if plan is not None else [],
        "damage": [asdict(damage) for damage in plan.damage] if plan is not None else [],
        "began": began,
        "opened": plan.opened if plan is not None else None,
    }
    return Streamed(path, outcome.state, values, outcome.error)


def already_done(path: Path) -> Streamed:
    """Stand for a recording that an earlier run has finished."""
    return Streamed(
        path, "done", {"frames": {"planned": 0, "delivered": 0, "skipped": {}, "remaining": 0}, "earlier": True}
    )


def _episode(told: messages.EpisodeTold) -> dict[str, Any]:
    values = asdict(told)
    return {**values, "reasons": [dict(reason) for reason in values["reasons"]]}


def _consumer(tally: Tally, told: messages.Shown) -> dict[str, Any]:
    return {
        "frames": told.frames,
        "chunks": told.chunks,
        "generations": tally.generations,
        "restarts": {"planned": tally.planned, "crash": tally.crash},
        "killed": tally.killed,
        "failed": tally.failed,
        "anon_mb": {key: _mb(getattr(tally, key)) for key in ("start", "peak", "end")},
        "memory": tally.memory(),
        "escaped": tally.escaped,
    }


def _quarantined(found: messages.Quarantined) -> dict[str, Any]:
    return {"consumer": found.consumer, "frame": found.frame, "reason": found.why, "trace": found.trace}


def _seconds(seconds: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 6) for key, value in seconds.items()}


def _mb(size: int) -> float:
    return round(size / _MB, 3)


def _add_up(parts: list[dict[str, Any]]) -> dict[str, Any]:
    skipped: dict[str, int] = {}
    for part in parts:
        for reason, count in part["skipped"].items():
            skipped[reason] = skipped.get(reason, 0) + count
    whole = {key: sum(part[key] for part in parts) for key in ("planned", "delivered", "remaining")}
    return {**whole, "skipped": skipped}
