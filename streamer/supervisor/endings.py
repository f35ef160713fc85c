"""The end of a process → how it came about, in words: by itself, by us, or from outside.

Nobody of this run sends SIGKILL but the policy, which says so before. Any other comes from outside: from an operator,
or from a kernel that is short of memory. Linux counts the latter for a control group (``memory.events`` of cgroup v2).
"""

from __future__ import annotations

import signal
from pathlib import Path

_MINE = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def how_it_ended(code: int) -> str:
    """Write an exit status for a person."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def how_it_was_killed(*, out_of_memory: bool, since_commit: float | None) -> str:
    """Write for a person how a process was ended by a SIGKILL from outside, so many seconds after a commit."""
    who = "by the kernel, which was out of memory" if out_of_memory else "from outside, by an operator or the kernel"
    when = "before its first commit" if since_commit is None else f"{since_commit:.1f} s after its last commit"
    return f"killed by SIGKILL {who}, {when}"


def out_of_memory_kills(mine: Path = _MINE, groups: Path = _GROUPS) -> int:
    """Return how many processes of this control group the kernel has killed for want of memory; 0 if unknown."""
    try:
        lines = mine.read_text(encoding="ascii").splitlines()
        path = next(line.split("::", 1)[1] for line in lines if line.startswith("0::"))
        for line in (groups / path.lstrip("/") / "memory.events").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, StopIteration, ValueError):  # no Linux, no cgroup v2, or nobody may look
        return 0
    return 0
