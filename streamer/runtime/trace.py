"""A process's allocations → the lines of code whose memory grows, or a recording for memray."""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streamer.errors import ConfigError, OutputError
from streamer.runtime.messages import GrownLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINES = 10
_OWN = (tracemalloc.__file__, __file__)


class Growth:
    """Compares what is allocated now with what was when it was made."""

    def __init__(self) -> None:
        """Take the first snapshot."""
        self._before = _snapshot()

    def begin_anew(self) -> None:
        """Leave out what was allocated up to now."""
        self._before = _snapshot()

    def lines(self) -> tuple[GrownLine, ...]:
        """Return the lines that hold more than before, those that hold most more first."""
        grown = [d for d in _snapshot().compare_to(self._before, "lineno") if d.size_diff > 0][:_LINES]
        return tuple(
            GrownLine(d.traceback[0].filename, d.traceback[0].lineno, round(d.size_diff / 1e6, 3), d.count_diff)
            for d in grown
        )


def _snapshot() -> tracemalloc.Snapshot:
    hidden = [tracemalloc.Filter(inclusive=False, filename_pattern=name) for name in _OWN]
    return tracemalloc.take_snapshot().filter_traces(hidden)


@contextmanager
def traced() -> Iterator[Growth]:
    """Trace the allocations of the block by tracemalloc (every one costs several times as much)."""
    tracemalloc.start()
    try:
        yield Growth()
    finally:
        tracemalloc.stop()


@contextmanager
def recorded(folder: Path, name: str) -> Iterator[None]:
    """Record the allocations of the block, those of native code too, into ``folder``/``name``.memray.

    Raises:
        ConfigError: memray is not installed. OutputError: the folder cannot be written to.

    """
    try:
        import memray
    except ImportError as error:
        msg = "it is not installed: pip install 'rosbag-streamer[memray]'"
        raise ConfigError(msg, key="memray") from error
    path = folder / f"{name}.memray"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of an earlier run
        tracker = memray.Tracker(path, native_traces=False, follow_fork=False)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        raise OutputError(msg, key="memray") from error
    with tracker:
        yield
