"""What a session came to, also where the reader or a consumer was ended before it could say so itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.errors import ConfigError, ConsumerError
from streamer.runtime.messages import Anonymous, Shown, Streamed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streamer.errors import StreamerError
    from streamer.runtime.job import ReaderJob
    from streamer.runtime.messages import Planned, Progress
    from streamer.supervisor.seats import Seat


@dataclass(slots=True)
class Outcome:
    """How a session ended: done, interrupted, failed, or ``died`` (the reader did; worth another try)."""

    state: str
    error: StreamerError | None = None
    planned: Planned | None = None
    streamed: Streamed | None = None
    committed: bool = False  # whether anything was committed
    code: int = 0  # the exit status of a reader that died
    starved: bool = False  # … killed by the kernel, which was out of memory


def so_far(
    job: ReaderJob, planned: Planned, cursors: Mapping[str, int], last: Progress | None, seconds: float
) -> Streamed:
    """Say what is known of a session whose reader was ended before it could report, after so many seconds.

    ``cursors`` are the chunks that each consumer has committed, ``last`` is the reader's last word.
    """
    done = {
        n: planned.frames if c >= planned.chunks else min(c * job.chunk_size, planned.frames)
        for n, c in cursors.items()
    }
    lossless = [name for name, seat in job.consumers.items() if not seat.latest]
    used, slots, allocated = (last.anon, last.slots, last.allocated) if last is not None else (0, 0, 0)
    return Streamed(
        reached=min(done[name] for name in lossless),
        consumers={n: Shown(-(-done[n] // seat.every), cursors[n]) for n, seat in job.consumers.items()},
        pool_peak=slots * planned.slot_size,
        pool_allocated=allocated * planned.slot_size,
        stream_seconds=seconds,
        anon=Anonymous(used, used, used),
    )


def final_error(seat: Seat, logs: Path, *, begun: bool) -> StreamerError:
    """Return the error because of which a consumer was given up: with its name, its log, and how often it failed.

    One about a setting says more than any log.
    """
    error = seat.error or ConsumerError("it failed")
    if isinstance(error, ConfigError):
        return error
    error = error.within(consumer=seat.name, hint=f"its log: {logs / (seat.name + '.log')}")
    if seat.fatal or not begun:
        return error
    at = "" if seat.frame is None else f", at frame {seat.frame}"
    return error.at(text=f"{error.text} (after {seat.crashed} failures{at})")
