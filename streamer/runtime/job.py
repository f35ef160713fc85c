"""What a child process is asked for: the first message that it gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streamer.quality import QualitySettings
from streamer.records import EpisodeSettings, StreamSettings, TimelineSettings, Trust


@dataclass(frozen=True, slots=True)
class ConsumerSeat:
    """What the reader knows of a consumer; ``streams`` are the ones it is shown, in this order.

    ``settings`` are those that decide what it writes, in plain values: a run that is continued must have the same.
    """

    streams: tuple[str, ...]
    latest: bool = False
    every: int = 1
    quarantine: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


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
    trust: Trust = field(default_factory=Trust)
    prove: bool = False  # whether somebody will delete or move the recording
    provenance: dict[str, Any] = field(default_factory=dict)
    durable: bool = False
    together: str = ""  # the ledger of all recordings of the run, if that is another than this one's
    paths: tuple[str, ...] = ()  # go in front of ``sys.path``: where a map's modules are
    episodes: EpisodeSettings | None = None
    share: tuple[int, int] | None = None  # which of how many equal parts of the episodes; all of them
    quality: QualitySettings | None = None


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """One generation of a consumer; ``use`` names it, ``paths`` go in front of ``sys.path``.

    ``shares_out`` says that another recording's run has the same option ``out``; ``tolerant`` that an array kept
    beyond its callback is lent on; ``memray`` is a folder; ``part`` that the outputs are merged later; ``template`` is
    the descriptor by which a template that it leaves behind gets its orders; ``cut`` that the recording comes in
    episodes; ``durable`` wants what it writes on the disk before a commit.
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
    template: int | None = None
    cut: bool = False
    durable: bool = False


@dataclass(frozen=True, slots=True)
class MergeJob:
    """The parts of a consumer's output to put together, in order.

    Of each its name, path and packed state; of an episode also its number, task, label, first and last tick.
    """

    name: str
    use: str
    options: dict[str, Any]
    paths: tuple[str, ...]
    parts: tuple[tuple[str, str, bytes | None, int | None, str, str, int, int, str], ...]
    durable: bool = False
    rejected: tuple[str, ...] = ()  # names of those that are left out


@dataclass(frozen=True, slots=True)
class PipelineJob:
    """One recording of many, for a process of its own: ``values`` of the configuration, ``own`` in place of some.

    ``flush`` wants the outputs on the disk before it is done, ``part`` says that they are merged later. ``together`` is
    the ledger of all recordings of the run, where this process can open it. ``share`` (index, count) is the part of its
    episodes that is streamed, where that is not all.
    """

    config: str
    values: dict[str, Any]
    own: dict[str, Any]
    path: str
    name: str
    flush: bool = False
    part: bool = False
    together: str = ""
    share: tuple[int, int] | None = None
