"""Every message between processes of a run, one frozen record each, and the one table that decodes them.

A message travels as a msgpack array of its record's name and fields. What is not in the table, or of another shape, is
an error: the two ends are parts of one program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from streamer.errors import StreamerError
from streamer.plain import from_plain, to_plain
from streamer.quality import Reason
from streamer.records import Damage
from streamer.runtime.job import MergeJob, PipelineJob, ReaderJob, WorkerJob

# ---- supervisor → reader


@dataclass(frozen=True, slots=True)
class Expect:
    """A process with this identity will come to the socket."""

    identity: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Let this process be a consumer's generation, for so many chunks (None: to the end)."""

    name: str
    identity: str
    chunks: int | None


@dataclass(frozen=True, slots=True)
class GenerationEnded:
    """This process has ended, so its leases are free; ``why`` and ``trace`` are for the ledger.

    ``killed`` says that it was killed from outside, so that the frame it was at need not be to blame.
    """

    name: str
    identity: str
    why: str = ""
    trace: str = ""
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Retire:
    """Let a consumer's generation end with the chunk that it is in."""

    name: str


@dataclass(frozen=True, slots=True)
class Drop:
    """A consumer is given up: nothing waits for it any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Let every generation finish its chunk, and then end."""


# ---- reader → supervisor


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a reader of the report wants to know of one stream's alignment.

    ``averaged`` is of how many messages at least and at most a sample is the mean, with ``align: mean``; ``mapped``
    that consumers see it in the recording's own pages, but for what must be copied.
    """

    held: int
    interpolated: int
    gaps: int
    none: int
    max_offset_ms: float
    averaged: tuple[int, int] | None = None
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class EpisodeTold:
    """An episode and what becomes of it; of a recording that is not cut ``number`` is None. Times in nanoseconds."""

    number: int | None
    name: str
    start: int
    end: int
    task: str
    label: str
    frames: int
    verdict: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """What will be streamed; ``seconds`` say how long opening and planning took, ``opened`` when that began.

    ``pool`` and ``slot_size`` in bytes; ``cursors`` are the chunks that each consumer has committed, ``done`` names
    those that had closed their outputs in an earlier run; ``files`` are the identities of what was read.
    """

    frames: int
    planned: int
    chunks: int
    skipped: dict[str, int]
    slot_size: int
    slots: int
    pool: int
    warnings: tuple[str, ...]
    damage: tuple[Damage, ...]
    files: dict[str, tuple[int | str, ...]]
    seconds: dict[str, float]
    streams: dict[str, Alignment]
    cursors: dict[str, int]
    done: tuple[str, ...]
    opened: float
    episodes: tuple[EpisodeTold, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """How far a consumer is: frames sent, chunks committed, frames held, seconds silent with work at hand."""

    position: int
    cursor: int
    holds: int
    silent: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far everyone is; ``slots`` in use of those ``allocated``, ``bytes`` loaded so far, ``anon`` of the reader."""

    consumers: dict[str, Position]
    reached: int
    slots: int
    allocated: int
    bytes: int
    anon: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A consumer has committed a chunk; ``anon`` and ``shared`` are the bytes that the reader holds."""

    name: str
    chunk: int
    anon: int
    shared: int


@dataclass(frozen=True, slots=True)
class Attempted:
    """A consumer's present chunk is begun for the ``count``-th time."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Retiring:
    """A generation was told to exit, with its share committed."""

    name: str


@dataclass(frozen=True, slots=True)
class Ending:
    """A consumer was told to finish its outputs."""

    name: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A consumer has finished its outputs."""

    name: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A successor has begun, so many seconds behind the last commit before it."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A process that was shown frames one at a time ended at this one; None: at none.

    It is ``proven`` that the frame is to blame, but where the process was killed from outside: then it takes a second
    one that ends at the same frame.
    """

    name: str
    frame: int | None
    proven: bool = True


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Anonymous memory of a process in bytes: at its start, at most, at its end."""

    start: int = 0
    peak: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What a consumer has had, in this run and those that it continues."""

    frames: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A frame that is kept from a consumer, and how its process ended at it."""

    consumer: str
    frame: int
    why: str
    trace: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """How a session went, in the reader's eyes: counts of frames, bytes of pool and process, seconds."""

    finished: bool = False
    reached: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    skipped_reached: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, Shown] = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()
    loads: int = 0
    rejected: int = 0
    blocks: int = 0
    pool_peak: int = 0
    pool_allocated: int = 0
    stream_seconds: float = 0.0
    anon: Anonymous = Anonymous()


# ---- worker → supervisor


@dataclass(frozen=True, slots=True)
class WarmedUp:
    """A process has imported and constructed its consumer, and holds so many bytes."""

    anon: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a process holds, in bytes, at a commit or at its end (``chunk`` None)."""

    chunk: int | None
    anon: int
    shared: int


@dataclass(frozen=True, slots=True)
class GrownLine:
    """A line of code that holds more than when the trace began."""

    file: str
    line: int
    mb: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Grown:
    """The lines whose memory grew most in a process."""

    lines: tuple[GrownLine, ...]


@dataclass(frozen=True, slots=True)
class Escaped:
    """An array of a frame was kept beyond its callback, and is lent on."""

    frame: int
    stream: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The parts are put together."""


# ---- pipeline ↔ whoever started it


@dataclass(frozen=True, slots=True)
class Stop:
    """End with the chunk that is under way; said twice: now."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a person should know now; ``about`` has the consumer, generation, chunk or frame."""

    text: str
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineEnded:
    """How one recording went; ``values`` are its part of the report, ``cursors`` each consumer's chunks and state."""

    state: str
    error: dict[str, Any] | None
    values: dict[str, Any] | None
    cursors: dict[str, tuple[int, bytes | None]] | None


# ---- any child → its parent


@dataclass(frozen=True, slots=True)
class Failed:
    """A process is about to end because of an error, of which this is the traceback."""

    error: dict[str, Any]
    trace: str

    @classmethod
    def of(cls, error: StreamerError, trace: str = "") -> Failed:
        """Tell of an error."""
        return cls(error.to_wire(), trace)

    @property
    def cause(self) -> StreamerError:
        """The error."""
        return StreamerError.from_wire(self.error)


FromReader: TypeAlias = (
    Planned | Progress | Committed | Attempted | Retiring | Ending | Closed | HandedOver | Judged | Streamed | Failed
)
FromWorker: TypeAlias = WarmedUp | Measured | Grown | Escaped | Failed

_TABLE: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(ReaderJob, Expect, Begin, GenerationEnded, Retire, Drop, Drain),
        *(Planned, Progress, Committed, Attempted, Retiring, Ending, Closed, HandedOver, Judged, Streamed),
        *(WorkerJob, WarmedUp, Measured, Grown, Escaped),
        *(MergeJob, Merged),
        *(PipelineJob, Stop, Note, PipelineEnded),
        Failed,
    )
}


def encode(message: Any) -> list[Any]:
    """Return a message as plain values."""
    return [type(message).__name__, to_plain(message)]


def decode(values: Any) -> Any:
    """Return the message of which these are the plain values.

    Raises:
        StreamerError: it is none of the table, or of another shape.

    """
    named = isinstance(values, list) and len(values) == 2 and isinstance(values[0], str)
    kind = _TABLE.get(values[0]) if named else None
    if kind is None:
        msg = f"another process of this run sent what is no message here: {values!r:.200}"
        raise StreamerError(msg)
    try:
        return from_plain(kind, values[1])
    except TypeError as error:
        msg = f"another process of this run sent a message {kind.__name__} of another shape: {error}"
        raise StreamerError(msg) from error
