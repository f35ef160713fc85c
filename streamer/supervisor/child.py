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


class Child:
    """A process started by this one; it dies with this one (see `runtime.child`)."""

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
        self.title = title
        self.channel, theirs = Channel.pair()
        command = [sys.executable, "-m", module, title, str(theirs.fileno()), str(os.getpid())]
        try:
            with theirs, log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
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
            self.channel.close()
            raise
        self.pid = self._process.pid
        self._end: int | None = None
        try:
            if hasattr(os, "pidfd_open"):
                self._end = os.pidfd_open(self.pid)  # readable once it has ended
        except BaseException:
            self.close()
            raise

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when the child says something or ends."""
        end: list[Channel | int] = [] if self._end is None or self.ended() is not None else [self._end]
        return [self.channel, *end] if self.channel.open else end

    def heard(self) -> list[Any]:
        """Return what the child has said up to now; does not wait."""
        found: list[dict[str, Any]] = []
        while self.channel.ready():
            found += self.channel.receive()
        return found

    def ended(self) -> int | None:
        """Return the exit status where the process has ended: negative for a signal."""
        return self._process.poll()

    def kill(self) -> None:
        """End the process now (SIGKILL: it cannot refuse, and a stopped one obeys too)."""
        self._process.kill()

    def close(self) -> None:
        """Make sure that the process is gone and whatever it has started, and close the channel."""
        with suppress(ProcessLookupError):  # nobody is left in its group
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self.channel.close()
        if self._end is not None:
            os.close(self._end)
            self._end = None
