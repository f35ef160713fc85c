"""A path → the work folder of a run, locked for as long as the run lasts."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.errors import BusyError, ConfigError, OutputError, StorageError, StreamerError
from streamer.text import LineFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUS = "status.json"
_LONGEST_SOCKET = 100  # bytes; the system takes 107


@dataclass(frozen=True, slots=True)
class Workdir:
    """The folder in which a run keeps what is its own; nobody else may look into it."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.path / "ledger.sqlite"

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.path / "logs"

    @property
    def scratch(self) -> Path:
        """What is unpacked for the time of a run."""
        return self.path / "scratch"

    @property
    def report(self) -> Path:
        """The report of the last run."""
        return self.path / "report.json"

    @property
    def status(self) -> Path:
        """How far the run is, for ``streamer top``."""
        return self.path / STATUS

    def endpoint(self, folder: Path) -> str:
        """Return the address of the reader's socket, as seen from ``folder``.

        Raises:
            ConfigError: the path is too long for a socket.

        """
        absolute = str(self.path / "reader.sock")
        name = absolute if len(absolute.encode()) <= _LONGEST_SOCKET else os.path.relpath(absolute, folder)
        if len(name.encode()) > _LONGEST_SOCKET:
            msg = f"{self.path} is too long a path for a socket ({_LONGEST_SOCKET} bytes)"
            raise ConfigError(msg, key="workdir", hint="choose a shorter one")
        return f"ipc://{name}"


@contextmanager
def open_workdir(path: Path) -> Iterator[Workdir]:
    """Make the folder where it is missing, and keep others out of it for the time of the block.

    Raises:
        BusyError: another run holds it. OutputError: it cannot be made. StorageError: its disk is full.

    """
    workdir = Workdir(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)  # it may have been made by somebody else
        workdir.logs.mkdir(exist_ok=True)
        lock = (path / "lock").open("a+")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}"
        kind = StorageError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
        raise kind(msg, key="workdir", hint="set 'workdir' to a folder that can") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"{path} is in use by another run"
            raise BusyError(msg, key="workdir", hint="wait for it, or set another 'workdir'") from error
        shutil.rmtree(workdir.scratch, ignore_errors=True)
        (path / "reader.sock").unlink(missing_ok=True)
        try:
            yield workdir
        finally:
            (path / "reader.sock").unlink(missing_ok=True)
            shutil.rmtree(workdir.scratch, ignore_errors=True)


def sweep(path: Path) -> None:
    """Remove what a run that was killed has left in its work folder for others to see; the ledger and the logs stay.

    Where another run holds the folder, or it cannot be written, nothing is done: the next run sweeps it.
    """
    if path.is_dir():
        with suppress(StreamerError), open_workdir(path):
            pass


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts off: the command says what is wrong, and a log on its disk cannot."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """Say nothing."""

    def close(self) -> None:
        """Close the file, with what could be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def written_log(workdir: Workdir) -> Iterator[None]:
    """Write what is logged in the block to the supervisor's log; the logs of the run before are removed."""
    for old in workdir.logs.glob("*.log"):
        old.unlink()
    handler = _LogFile(workdir.logs / "supervisor.log")
    handler.setFormatter(LineFormatter("%(asctime)s supervisor %(levelname)s %(message)s"))
    root = logging.getLogger("streamer")
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
