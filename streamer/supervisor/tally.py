"""Samples of processes, generation by generation → what the report says of one consumer's memory and lives."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.memory import thinned, trend

if TYPE_CHECKING:
    from streamer.runtime.messages import GrownLine

_MB = 10**6
_MOST_SAMPLES = 500  # of one process that are reported
_MOST_GENERATIONS = 200  # whose samples are kept, the first and the last half of them; of those between, the figures
_MOST_LINES = 10
_MOST_POINTS = 80  # of a line that is shown while a run goes on
_SHOWN_LIVES = 10
_BRIEF_SECONDS = 1.0


@dataclass(slots=True)
class Life:
    """One process: memory in bytes, ``samples`` of (chunk, anonymous), ``returned`` what its exit gave back."""

    generation: int
    start: int = 0
    peak: int = 0
    end: int = 0
    shared: int = 0
    samples: list[tuple[int, int]] = field(default_factory=list)
    ended: str = ""
    lines: tuple[GrownLine, ...] = ()

    def take(self, chunk: int | None, anonymous: int, shared: int) -> None:
        """Take in a measurement; ``chunk`` is None where none was committed."""
        self.start = self.start or anonymous
        self.peak = max(self.peak, anonymous)
        self.end = anonymous
        self.shared = max(self.shared, shared)
        if chunk is not None and (not self.samples or chunk > self.samples[-1][0]):
            self.samples.append((chunk, anonymous))
        if len(self.samples) > 2 * _MOST_SAMPLES:
            self.samples = thinned(self.samples, _MOST_SAMPLES)

    def as_json(self) -> dict[str, Any]:
        """Return the figures, in 10^6 bytes."""
        kept = thinned(self.samples, _MOST_SAMPLES)
        return {
            "generation": self.generation,
            "ended": self.ended,
            **{f"{key}_mb": round(getattr(self, key) / _MB, 3) for key in ("start", "peak", "end", "shared")},
            "chunks": [chunk for chunk, _ in kept],
            "anon_mb": [round(anonymous / _MB, 3) for _, anonymous in kept],
            "growing_lines": [asdict(line) for line in self.lines],
        }


@dataclass(slots=True)
class Tally:
    """What is counted of one consumer, or of the reader or the supervisor, over all sessions of a recording."""

    generations: int = 0  # started
    planned: int = 0
    crash: int = 0
    killed: int = 0  # of those, from outside
    escaped: int = 0  # frames of which an array was kept, with `escape: warn`
    failed: str | None = None  # why it was given up
    handovers: list[float] = field(default_factory=list)  # seconds from a last commit to the successor's opening
    lives: list[Life] = field(default_factory=list)
    _offset: int = 0  # generations of earlier sessions, which counted from 1, too

    def new_session(self) -> None:
        """Count the generations of the session that begins behind those of the ones before."""
        self._offset = self.lives[-1].generation if self.lives else 0

    def began(self, generation: int, anonymous: int) -> None:
        """Take in what a process holds when it has warmed up."""
        self._life(generation).take(None, anonymous, 0)

    def sample(self, generation: int, chunk: int | None, anonymous: int, shared: int) -> None:
        """Take in what a process holds at a commit, or at its end (``chunk`` None)."""
        self._life(generation).take(chunk, anonymous, shared)

    def grown(self, generation: int, lines: tuple[GrownLine, ...]) -> None:
        """Take in the lines of code whose memory grew most in a process."""
        self._life(generation).lines = lines[:_MOST_LINES]

    def ended(self, generation: int, how: str) -> None:
        """Take in that a process has ended."""
        self._life(generation).ended = how

    def _life(self, generation: int) -> Life:
        number = generation + self._offset
        for life in reversed(self.lives):
            if life.generation == number:
                return life
        self.lives.append(Life(number))
        if len(self.lives) > _MOST_GENERATIONS:
            self.lives[-_MOST_GENERATIONS // 2].samples = []
        return self.lives[-1]

    @property
    def start(self) -> int:
        """Memory of the first process when it had warmed up, in bytes."""
        return self.lives[0].start if self.lives else 0

    @property
    def peak(self) -> int:
        """The most that a process held, in bytes."""
        return max((life.peak for life in self.lives), default=0)

    @property
    def end(self) -> int:
        """Memory of the last process at its end, in bytes."""
        return self.lives[-1].end if self.lives else 0

    def memory(self) -> dict[str, Any]:
        """Return the verdict and what it comes from, fit for JSON."""
        found = trend([life.samples for life in self.lives])
        returned = [life.end for life in self.lives if life.ended == "planned"]
        return {
            "verdict": found.verdict,
            "mb_per_chunk": None if found.slope is None else round(found.slope / _MB, 3),
            "peak_mb": round(self.peak / _MB, 3),
            "returned_mb": round(sum(returned) / _MB, 3),
            "handover_ms": _milliseconds(self.handovers),
            "generations": [life.as_json() for life in self.lives],
        }

    def brief(self) -> dict[str, Any]:
        """Return the verdict so far and a line of (generation, chunk, MB), fit for JSON."""
        found = trend([life.samples for life in self.lives])
        lives = [(life.generation, thinned(life.samples, _MOST_POINTS)) for life in self.lives[-_SHOWN_LIVES:]]
        points = [[number, chunk, round(held / _MB, 1)] for number, kept in lives for chunk, held in kept]
        return {
            "verdict": found.verdict,
            "mb_per_chunk": None if found.slope is None else round(found.slope / _MB, 3),
            "anon": self.end,
            "points": points[:: -(-len(points) // _MOST_POINTS) or 1],
        }


def _milliseconds(seconds: list[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    return {"median": round(statistics.median(seconds) * 1e3, 3), "max": round(max(seconds) * 1e3, 3)}


@dataclass(slots=True)
class Tallies:
    """What is counted of all processes of a recording."""

    consumers: dict[str, Tally]
    reader: Tally = field(default_factory=Tally)
    supervisor: Tally = field(default_factory=Tally)
    _brief: dict[str, Any] = field(default_factory=dict)
    _brief_at: float = -_BRIEF_SECONDS

    def new_session(self) -> None:
        """Count generations from where the session before ended."""
        for tally in (self.reader, self.supervisor, *self.consumers.values()):
            tally.new_session()

    def brief(self, now: float) -> dict[str, Any]:
        """Return each process's memory so far, not older than a second at the monotonic time ``now``."""
        if now - self._brief_at >= _BRIEF_SECONDS:
            self._brief_at = now
            everyone = {"reader": self.reader, "supervisor": self.supervisor, **self.consumers}
            self._brief = {name: tally.brief() for name, tally in everyone.items()}
        return self._brief
