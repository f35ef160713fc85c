"""The processes of this machine → the work folders of the pipelines that this user runs at the moment.

Nothing is written down for it, so nothing can be left behind: a supervisor holds the lock of its work folder open for
as long as it lives, and the system knows which process has which file open.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from streamer.supervisor.status import read

if TYPE_CHECKING:
    from collections.abc import Iterator


def running() -> Iterator[Path]:
    """Yield the work folders of runs that are under way, each once, in the order in which they were started.

    The pipelines of a run over many recordings lie in its folder, and its status tells of them.
    """
    found = list(dict.fromkeys(_held()))
    yield from (folder for folder in found if not any(other in folder.parents for other in found))


def _held() -> Iterator[Path]:
    """Yield the work folders that a supervisor holds."""
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid():
                continue
            held = [Path(file.path) for file in process.open_files() if file.path.endswith("/lock")]
        except psutil.Error:  # it has just ended, or is none of ours
            continue
        yield from (lock.parent for lock in held if _leads(process.pid, lock.parent))


def _leads(pid: int, folder: Path) -> bool:
    """Tell whether this process is the supervisor of a run in this folder."""
    try:
        found = read(folder)
    except (OSError, ValueError, KeyError):
        return False
    return bool(found["pid"] == pid and found["state"] != "ended")
