"""The end of a process → how it came about, in words: by itself, by us, or from outside.

Nobody of this run sends SIGKILL but the policy, which says so before, and Python code of a consumer, which its process
tells before it obeys. Any other comes from outside: from an operator, or from a kernel that is short of memory. Linux
counts the latter for a control group (``memory.events`` of cgroup v2, ``memory.oom_control`` of v1) and for the system
(``/proc/vmstat``).
"""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import BusyError, ConsumerError, StreamerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MINE = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")
_SYSTEM = Path("/proc/vmstat")
_TOGETHER = 2.0  # seconds within which several processes end of one shortage


def how_it_ended(code: int) -> str:
    """Write an exit status for a person."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def how_it_was_killed(*, out_of_memory: bool, since_commit: float | None) -> str:
    """Write for a person how a process was ended by a SIGKILL that this run has not sent, so long after a commit."""
    outside = "from outside (an operator, the kernel) or by native code of its own"
    who = "by the kernel, which was out of memory" if out_of_memory else outside
    when = "before its first commit" if since_commit is None else f"{since_commit:.1f} s after its last commit"
    return f"killed by SIGKILL {who}, {when}"


def given_up(kills: int, starved: int, *, consumer: str = "") -> StreamerError:
    """Say that a process was killed too often without a commit in between; ``starved`` times for want of memory.

    A machine that has too little memory for a recording still has when it is tried again: that counts against it.
    """
    who = "it" if consumer else "the reader"
    if 2 * starved > kills:
        kind = ConsumerError if consumer else StreamerError
        why = f"the kernel, out of memory, killed {who} {starved} times without a commit in between"
        hint = "give it more memory, or have it hold less: a smaller pool or chunk_size, fewer threads, jobs, consumers"
        return kind(why, consumer=consumer, hint=hint)
    why = f"{who} was killed from outside {kills} times without a commit in between"
    return BusyError(why, consumer=consumer, hint="see who does that; --resume goes on")


def out_of_memory_kills(mine: Path = _MINE, groups: Path = _GROUPS, system: Path = _SYSTEM) -> int:
    """Return how many processes the kernel has killed for want of memory, in this control group; 0 if unknown.

    Where the group has no count, as outside a container, it is the system's.
    """
    for path in (*_counts(mine, groups), system):
        with suppress(OSError, ValueError):  # no Linux, no such control group, or nobody may look
            for line in path.read_text(encoding="ascii").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0


def _counts(mine: Path, groups: Path) -> Iterator[Path]:
    """Yield the files in which the kernel may count for this control group."""
    with suppress(OSError, ValueError):
        for line in mine.read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            inner = path.lstrip("/")
            if not controllers:
                yield groups / inner / "memory.events"
            elif controllers == "memory":
                yield groups / "memory" / inner / "memory.oom_control"


class MemoryKills:
    """Watches the kernel's count of kills for want of memory."""

    def __init__(
        self, count: Callable[[], int] = out_of_memory_kills, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._count, self._clock = count, clock
        self._seen = count()
        self._rose_at = float("-inf")

    def just_now(self) -> bool:
        """Tell whether it rose since the last look, or a moment before that: several may end of one shortage."""
        now, count = self._clock(), self._count()
        if count > self._seen:
            self._seen, self._rose_at = count, now
        return now - self._rose_at < _TOGETHER
