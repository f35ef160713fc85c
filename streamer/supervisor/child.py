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
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Process:
    """A child process of this one and its channel; it dies with this one (see `runtime.child`)."""

    def __init__(self, title: str, channel: Channel, pid: int) -> None:
        """Take over a process that has a group of its own, and our end of its channel."""
        self.title = title
        self.channel = channel
        self.pid = pid
        self._code: int | None = None
        self._end: int | None = None
        try:
            if hasattr(os, "pidfd_open"):
                self._end = os.pidfd_open(pid)  # readable once it has ended
        except BaseException:
            self.close()
            raise

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when the child says something or ends, until `ended` has told of its end.

        Not until it has ended, which may be after the caller asked `ended`: nothing would wake whoever waits then.
        """
        end: list[Channel | int] = [] if self._end is None or self._code is not None else [self._end]
        return [self.channel, *end] if self.channel.open else end

    def heard(self) -> list[Any]:
        """Return what the child has said up to now; does not wait."""
        found: list[dict[str, Any]] = []
        while self.channel.ready():
            found += self.channel.receive()
        return found

    def ended(self) -> int | None:
        """Return the exit status where the process has ended: negative for a signal."""
        if self._code is None:
            self._code = status(self.pid)
        return self._code

    def kill(self) -> None:
        """End the process now (SIGKILL: it cannot refuse, and a stopped one obeys too)."""
        if self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Make sure that the process is gone and whatever it has started, and close the channel."""
        code = end_group(self.pid)
        self._code = code if self._code is None else self._code
        self.channel.close()
        if self._end is not None:
            os.close(self._end)
            self._end = None


class Child(Process):
    """A new interpreter."""

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
        channel, theirs = Channel.pair()
        command = [sys.executable, "-m", module, title, str(theirs.fileno()), str(os.getpid())]
        try:
            with theirs, log.open("ab") as output:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=os.environ | (environment or {}),
                    pass_fds=(theirs.fileno(), *descriptors),
                    process_group=0,
                )
        except OSError:
            channel.close()
            raise
        process.returncode = 0  # its end is waited for here, and not by that object
        super().__init__(title, channel, process.pid)


def status(pid: int) -> int | None:
    """Return the exit status of a child that has ended, negative for a signal, and let go of it."""
    ended, how = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(how) if ended else None


def end_group(pid: int) -> int | None:
    """End a child's group and let go of those in it that are our children; return the child's status if it was one."""
    code = None
    with suppress(ProcessLookupError):  # nobody is left in its group
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            ended, how = os.waitpid(-pid, 0)
            code = os.waitstatus_to_exitcode(how) if ended == pid else code
    return code
