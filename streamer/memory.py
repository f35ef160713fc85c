"""A process → how much anonymous memory it holds: what only its exit gives back for certain.

RSS counts shared pages (a consumer that looks at a 512 MB pool seems to hold it) and peaks survive
exec, so neither is used.
"""

from __future__ import annotations

import os
import sys


def anonymous(pid: int | None = None) -> int:
    """Return the anonymous resident memory of a process in bytes; 0 where it is gone.

    Linux: RssAnon of /proc/PID/status. Elsewhere: psutil's unique set size, the nearest there is.
    """
    pid = os.getpid() if pid is None else pid
    if sys.platform != "linux":
        return _unique(pid)
    try:
        with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123 - called often: Path costs more than the read
            for line in file:
                if line.startswith(b"RssAnon:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0


def _unique(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_full_info().uss)
    except psutil.Error:
        return 0
