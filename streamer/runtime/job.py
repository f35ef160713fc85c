"""What the supervisor asks of a child, as plain values that cross the channel and come out typed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from streamer.records import Alignment, Decoding, StreamSettings, TimelineSettings


@dataclass(frozen=True, slots=True)
class ConsumerSeat:
    """What the reader knows of a consumer; ``streams`` are the ones it is shown, in this order."""

    streams: tuple[str, ...]
    latest: bool = False
    every: int = 1
    quarantine: bool = False


@dataclass(frozen=True, slots=True)
class ReaderJob:
    """One recording to stream; paths are absolute, ``pool`` in bytes, ``pool_fd`` inherited.

    ``name`` is the recording's among all of the run.
    """

    pipeline: str
    path: str
    name: str
    base: str
    ledger: str
    scratch: str
    endpoint: str
    pool_fd: int
    pool: int
    chunk_size: int
    threads: int
    types: tuple[str, ...]
    timeline: TimelineSettings
    streams: tuple[StreamSettings, ...]
    consumers: dict[str, ConsumerSeat]
    salvage: bool = False
    prove: bool = False  # whether somebody will delete or move the recording
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> ReaderJob:
        """Make a job of what came through the channel."""
        timeline = values["timeline"]
        rate = tuple(timeline["rate"]) if timeline["rate"] else None
        return cls(
            **values
            | {
                "types": tuple(values["types"]),
                "timeline": TimelineSettings(**timeline | {"rate": rate, "crop": tuple(timeline["crop"])}),
                "streams": tuple(_stream(stream) for stream in values["streams"]),
                "consumers": {name: ConsumerSeat(**seat) for name, seat in values["consumers"].items()},
            }
        )


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """One generation of a consumer; ``use`` names it, ``paths`` go in front of ``sys.path``.

    ``shares_out`` says that another recording's run has the same option ``out``; ``tolerant`` that an array kept
    beyond its callback is lent on; ``memray`` is a folder; ``part`` that the outputs are merged later.
    """

    name: str
    generation: int
    use: str
    options: dict[str, Any]
    endpoint: str
    identity: str
    pool_fd: int
    paths: tuple[str, ...]
    shares_out: bool = False
    tolerant: bool = False
    trace_malloc: bool = False
    memray: str | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class MergeJob:
    """The parts of a consumer's output to put together; of each its name, path and packed state, in order."""

    name: str
    use: str
    options: dict[str, Any]
    paths: tuple[str, ...]
    parts: tuple[tuple[str, str, bytes | None], ...]


def to_wire(job: ReaderJob | WorkerJob | MergeJob) -> dict[str, Any]:
    """Turn a job into plain values."""
    return asdict(job)


def _stream(values: dict[str, Any]) -> StreamSettings:
    decoding = values["decoding"]
    resize = tuple(decoding["resize"]) if decoding["resize"] else None
    elements = tuple(decoding["elements"]) if decoding["elements"] else None
    field = tuple(decoding["field"]) if isinstance(decoding["field"], list | tuple) else decoding["field"]
    return StreamSettings(
        **values
        | {
            "topics": tuple(values["topics"]),
            "decoding": Decoding(**decoding | {"resize": resize, "field": field, "elements": elements}),
            "alignment": Alignment(**values["alignment"]),
        }
    )
