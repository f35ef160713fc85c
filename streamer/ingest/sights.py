"""Scans, one after the other → for each recording: does it still grow, has it settled, is it complete?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from streamer.ingest.proof import identity_of, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.ingest.scan import Candidate, Mark

_LONGEST_UNPROVED = 600.0  # seconds between two reads of a recording that stays unfinished


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a candidate: ``state`` is seen, settling, unfinished or settled.

    ``since`` is when it last changed, in monotonic seconds; ``identity`` is that of a settled one, ``problem`` says
    why one is incomplete.
    """

    candidate: Candidate
    state: str
    since: float
    identity: str = ""
    problem: str = ""
    proved: float = field(default=0.0, compare=False)  # when it was last found unfinished, in monotonic seconds


class Sights:
    """What the scans have shown so far."""

    def __init__(self, settle: float, known: dict[tuple[Path, Mark], str] | None = None) -> None:
        """Begin with the identities that are ``known`` from before; ``settle`` in seconds."""
        self._settle = settle
        self._known = known or {}
        self.all: tuple[Sight, ...] = ()

    def take(
        self, found: Sequence[Candidate], now: float, at: Callable[[Path | None], object] = lambda _: None
    ) -> float:
        """Take in a scan made at ``now``; return the seconds until a recording may have settled, inf for never.

        ``at`` is told each path before it may be read, and None before the result counts; what it raises ends this.
        """
        before = {sight.candidate.path: sight for sight in self.all}
        sights = []
        for candidate in found:
            at(candidate.path)
            sights.append(self._look(candidate, before.get(candidate.path), now))
        at(None)
        self.all = tuple(sights)
        waits = [sight.since + self._settle - now for sight in self.all if sight.state in ("seen", "settling")]
        return max(0.0, min(waits)) if waits else float("inf")

    def _look(self, candidate: Candidate, before: Sight | None, now: float) -> Sight:
        if before is None or before.candidate.mark != candidate.mark:
            if who := self._known.get((candidate.path, candidate.mark)):
                return Sight(candidate, "settled", now, who)
            return Sight(candidate, "seen" if before is None else "settling", now)
        if before.state == "settled":
            return before
        if now - before.since < self._settle:
            return replace(before, state="settling")
        if before.state == "unfinished" and now - before.proved < min(before.proved - before.since, _LONGEST_UNPROVED):
            return before  # the longer it stays unchanged, the less often it is read again
        return _prove(before, now)


def _prove(before: Sight, now: float) -> Sight:
    """Read what shows whether an unchanged recording is complete."""
    candidate = before.candidate
    try:
        problem = unfinished(candidate.path) or ""
        who = identity_of(candidate.files)
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
        return replace(before, state="unfinished", problem=why, proved=now)
    state = "unfinished" if problem else "settled"
    return replace(before, state=state, identity=who, problem=problem, proved=now)
