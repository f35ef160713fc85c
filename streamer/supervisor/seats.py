"""The words of the policy: what it orders, and what it remembers of each consumer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from streamer.runtime.messages import Drain, Drop, Retire

if TYPE_CHECKING:
    from streamer.config.model import ConsumerConfig
    from streamer.errors import StreamerError


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for a generation; it warms up and touches no output."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class Activate:
    """Let a generation begin, for so many chunks (None: to the end)."""

    name: str
    generation: int
    chunks: int | None


@dataclass(frozen=True, slots=True)
class Gone:
    """Tell the reader that a generation has ended, so that its leases are free; ``killed``: from outside."""

    name: str
    generation: int
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """End a generation's process now."""

    name: str
    generation: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a person what happened to a consumer: its error, and what follows."""

    name: str
    generation: int
    chunk: int
    error: StreamerError
    what: str
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The run fails because of this consumer."""

    name: str


Order = Start | Activate | Gone | Retire | Kill | Drop | Drain | Tell | Fail


class Phase(Enum):
    """Where a consumer stands."""

    STARTING = auto()  # its next generation is warming up
    READY = auto()  # … and waits for the run to begin
    ACTIVE = auto()
    CLOSING = auto()  # has ended well; the reader has not yet confirmed that its outputs are finished
    JUDGING = auto()  # has ended at its last attempt; the reader has yet to say at which frame
    WAITING = auto()  # after a crash, for its time to come
    STOPPED = auto()  # ended by a drain; a later run goes on from its cursor
    DONE = auto()
    FAILED = auto()


@dataclass(slots=True)
class Seat:
    """One consumer's life."""

    name: str
    recycle_chunks: int | None = None
    recycle_memory: int | None = None  # bytes
    recycle_growth: int | None = None  # bytes a chunk
    isolate: bool = False
    quarantine: bool = False
    deadline: float | None = None  # seconds of silence; None: as long as it takes
    phase: Phase = Phase.STARTING
    generation: int = 0
    standby: int | None = None
    standby_ready: bool = False
    cursor: int = 0
    began_at: int = 0  # the cursor when the present generation was activated
    samples: list[tuple[int, int]] = field(default_factory=list)  # (chunk, bytes) of the present generation
    full_at_once: int = 0  # generations in a row that held too much at their first commit
    told: bool = False  # to make way because of its memory
    retiring: bool = False
    ending: bool = False
    closed: bool = False
    crashes: int = 0  # by itself, since the last commit
    kills: int = 0  # from outside, since the last commit
    starved: int = 0  # of those, for want of memory
    committed_at: float | None = None
    attempts: int = 0  # at the present chunk
    wait_until: float = 0.0
    started_at: float = 0.0  # its youngest process
    active_since: float = 0.0
    warm_up: float = 0.0  # seconds that the last process took for it
    pace: float | None = None  # seconds a chunk, in the generation that committed last
    warming_since: float | None = None  # seen in its warm-up for the first time
    too_late: bool = False  # was killed there: it took too long
    planned: int = 0
    crashed: int = 0
    killed: int = 0  # of those, from outside
    generations: int = 0
    frame: int | None = None  # at which its last attempt at a chunk ended
    quarantined: int = 0  # frames
    error: StreamerError | None = None  # why its last process ended, where it is known
    fatal: bool = False


def seat_of(name: str, config: ConsumerConfig) -> Seat:
    """Return a consumer's seat at the beginning, as its settings want it."""
    recycle = config.recycle
    return Seat(
        name,
        *(recycle.chunks, recycle.memory, recycle.growth),
        isolate=config.on_failed == "isolate",
        quarantine=config.on_error == "quarantine",
        deadline=config.deadline / 1e9,
    )
