"""A process → the memory that it holds, and from samples of that a verdict: what only its exit gives back for certain.

RSS counts shared pages (a consumer that looks at a 512 MB pool seems to hold it) and peaks survive
exec, so a process is judged by its anonymous memory. Samples are taken at commits, one a chunk.
"""

from __future__ import annotations

import os
import statistics
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Samples = Sequence[tuple[int, int]]  # (chunk, bytes), the chunks in order

_MB = 10**6
_STABLE, _LEAKING = 5 * _MB, 10 * _MB  # bytes a chunk: the origin's own bounds
_WARM_UP = 2  # chunks of a process that fill caches and arenas
_FEWEST = 3  # samples behind these that make a trend
_ENOUGH = 8  # that tell a leak from what fills up, such as the pools of an AV1 encoder
_MOST = 60  # samples of a process that its slope is computed from
_GENERATIONS = 20  # processes, the last ones, that make a verdict


class Held(NamedTuple):
    """Bytes that a process holds: anonymous, and of shared memory that it has looked at."""

    anon: int
    shared: int


class Trend(NamedTuple):
    """How memory goes from chunk to chunk: ``slope`` in bytes a chunk, None where there are too few chunks.

    ``verdict``: stable (below 5 MB a chunk), growing, leaking (above 10 MB a chunk), or unknown, where no process lived
    for ten chunks and so what grows may be what fills up.
    """

    slope: float | None
    verdict: str


def held(pid: int | None = None) -> Held:
    """Return what a process holds now; zeros where it is gone.

    Linux: RssAnon and RssShmem of /proc/PID/status. Elsewhere: psutil's unique set size, the nearest there is.
    """
    pid = os.getpid() if pid is None else pid
    if sys.platform != "linux":
        return Held(_unique(pid), 0)
    found = {b"RssAnon": 0, b"RssShmem": 0}
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123 - called often: Path costs more than the read
            for line in file:
                name, _, value = line.partition(b":")
                if name in found:
                    found[name] = int(value.split()[0]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return Held(0, 0)
    return Held(found[b"RssAnon"], found[b"RssShmem"])


def anonymous(pid: int | None = None) -> int:
    """Return the anonymous resident memory of a process in bytes; 0 where it is gone."""
    return held(pid).anon


def _unique(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return 0


def trend(generations: Iterable[Samples]) -> Trend:
    """Judge a consumer by the samples of its processes, those of each apart: an exit gives all back.

    The slope of one process is the median of the slopes between any two of its samples behind the warm-up
    (Theil 1950, Sen 1968): a jump or a dip does not change it. Where the later half is flatter, that half counts: what
    fills up, such as an encoder's pools, is no leak. The verdict goes by the median of the processes.
    """
    judged = list(generations)[-_GENERATIONS:]
    slopes = [slope for samples in judged if (slope := _slope(samples)) is not None]
    if not slopes:
        return Trend(None, "unknown")
    slope = statistics.median(slopes)
    if slope < _STABLE:
        return Trend(slope, "stable")
    if max(map(len, judged)) < _WARM_UP + _ENOUGH:
        return Trend(slope, "unknown")
    return Trend(slope, "leaking" if slope > _LEAKING else "growing")


def _slope(samples: Samples) -> float | None:
    settled = samples[_WARM_UP:]
    if len(settled) < _FEWEST:
        return None
    settled = settled[:: -(-len(settled) // _MOST)]
    later = settled[len(settled) // 2 :]
    slope = _theil_sen(settled)
    return slope if len(later) < _FEWEST else min(slope, _theil_sen(later))


def _theil_sen(settled: Samples) -> float:
    return statistics.median(
        (b - a) / (later - earlier)
        for n, (earlier, a) in enumerate(settled)
        for later, b in settled[n + 1 :]
        if later > earlier
    )


def thinned(samples: Samples, most: int) -> list[tuple[int, int]]:
    """Keep at most ``most`` samples, the first and the last among them."""
    step = max(1, -(-len(samples) // most))
    kept = list(samples[::step])
    return kept if not samples or kept[-1] == samples[-1] else [*kept, samples[-1]]
