"""Hands for the tests of faults: look at a run from outside, wait for it, limit it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipeline.driver import MARK, wait_until

Config = dict[str, Any]
MISFITS = "tests.faults.misfits:"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder is looked at, not written to


def what_is_left(folder: Path) -> list[str]:
    """List what runs in a folder have left: processes, sockets, drafts, shared memory with a name."""
    left = [str(p) for p in folder.rglob("*") if p.name.endswith(".tmp") or stat.S_ISSOCK(p.lstat().st_mode)]
    left += [str(p) for p in SHARED_MEMORY.glob("*streamer*")]
    return left + [f"{process.pid} {process.name()}" for process in processes(folder)]


def processes(folder: Path) -> list[psutil.Process]:
    """Return the living processes of runs in a folder, whoever is their parent now."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = Path(process.environ().get(MARK, "/")).is_relative_to(folder)
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # somebody else's, or gone meanwhile
    return found


def reached(folder: Path, name: str, what: str = "here") -> int:
    """Wait until a misfit says that it is there; return its process id."""
    path = folder / f"{name}.{what}"
    wait_until(path.exists, f"{path.name}")
    return int(path.read_text())


def let_go(folder: Path, name: str) -> None:
    """Let a misfit that waits go on."""
    (folder / f"{name}.go").touch()


def stopped(pid: int) -> None:
    """Stop a process, and wait until it stands."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "the stop")


def asked(folder: Path, question: str) -> list[tuple[Any, ...]]:
    """Ask the ledger of a run that may be under way."""
    path = folder / ".streamer" / "ledger.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            return ledger.execute(question).fetchall()
    except sqlite3.OperationalError:
        return []  # not there yet, or just being written


def cursors(folder: Path) -> dict[str, int]:
    """Return how many chunks each consumer has committed, of a run that may be under way."""
    return dict(asked(folder, "SELECT consumer, chunk FROM cursors"))


@cache
def _can(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def with_small(folder: str | Path, size: str) -> list[str]:
    """Return a command that runs another where ``folder`` is a file system in memory of this size.

    It is mounted in a name space of its own, so that it is gone with the processes; where that is not permitted, the
    test is skipped.
    """
    if not _can("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"):
        pytest.skip("needs the right to mount a small file system (unshare -m)")
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} none "{folder}" && exec "$@"', "sh"]


def limited(**limits: int) -> list[str]:
    """Return a command that runs another under limits of resources, such as nofile=64."""
    if not _can("prlimit", "--version"):
        pytest.skip("needs prlimit")
    return ["prlimit", *(f"--{name}={value}" for name, value in limits.items())]
