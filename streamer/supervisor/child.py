"""A module to run and what to give it → one child process, its channel and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from streamer.runtime.channel import Channel

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Process:
    """A child process of this one, as far as it is known; it dies with this one (see `runtime.child`)."""

    def __init__(self, title: str) -> None:
        """Make its channel; there may be no process yet."""
        self.title = title
        self.channel, self._theirs = Channel.pair()
        self.pid: int | None = None
        self._pidfd: int | None = None  # readable once it has ended
        self._code: int | None = None

    def began(self, pid: int) -> None:
        """Take in which process it is."""
        self.pid = pid
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(pid)

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when the process says something or ends."""
        end: list[Channel | int] = [] if self._pidfd is None or self.ended() is not None else [self._pidfd]
        return [self.channel, *end] if self.channel.open else end

    def heard(self) -> list[Any]:
        """Return what the process has said up to now; does not wait."""
        found: list[Any] = []
        while self.channel.ready():
            found += self.channel.receive()
        return found

    def ended(self) -> int | None:
        """Return the exit status where the process has ended: negative for a signal."""
        if self._code is None and self.pid is not None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def kill(self) -> None:
        """End the process now (SIGKILL: it cannot refuse, and a stopped one obeys too)."""
        if self.pid is not None and self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Make sure that the process is gone and whatever it has started, and close the channel."""
        if self.pid is not None:
            with suppress(ProcessLookupError):  # nobody is left in its group
                os.killpg(self.pid, signal.SIGKILL)
            if self._code is None:
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            with suppress(ChildProcessError):  # of its group, those that have become our children
                while True:
                    os.waitpid(-self.pid, 0)
        self.channel.close()
        self._theirs.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class Child(Process):
    """A process started as a new interpreter."""

    def __init__(
        self,
        module: str,
        title: str,
        *,
        folder: Path,
        log: Path,
        descriptors: Sequence[int] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start ``python -m module`` in ``folder``, output going to ``log``; ``environment`` adds to our own."""
        super().__init__(title)
        try:
            self.began(spawn(module, title, self._theirs, folder, log, descriptors, environment or {}))
        except BaseException:
            self.close()
            raise
        self._theirs.close()


def spawn(
    module: str,
    title: str,
    end: socket.socket,
    folder: Path,
    log: Path,
    descriptors: Sequence[int],
    environment: Mapping[str, str],
) -> int:
    """Start an interpreter in a group of its own, with ``end`` of its channel; return its process id."""
    command = [sys.executable, "-m", module, title, str(end.fileno()), str(os.getpid())]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=os.environ | environment,
            pass_fds=(end.fileno(), *descriptors),
            process_group=0,
        )
    process.returncode = 0  # `Process` waits for its end, and this object need not
    return process.pid
