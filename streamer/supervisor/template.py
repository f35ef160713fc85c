"""A consumer's template process → its generations, started in milliseconds."""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgpack

from streamer.runtime.channel import Channel
from streamer.runtime.job import TemplateJob, to_wire
from streamer.supervisor.child import Child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POSSIBLE = hasattr(os, "pidfd_open") and hasattr(os, "P_PIDFD")
_MOST = 1 << 12


class Template:
    """A process that forks the generations of one consumer (see `runtime.template`).

    Its death is theirs: the kernel ends them.
    """

    def __init__(self, title: str, use: str, *, folder: Path, log: Path, descriptors: Sequence[int]) -> None:
        """Start it; it is ready for orders at once, as they wait for it."""
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders.setblocking(False)
        self._generations: dict[int, Generation] = {}
        self._started = 0
        try:
            with theirs:
                inherited = [theirs.fileno(), *descriptors]
                self._child = Child("streamer.runtime.template", title, folder=folder, log=log, descriptors=inherited)
                job = TemplateJob(use, theirs.fileno(), list(descriptors))
                self._child.channel.send("job", job=to_wire(job))
        except OSError:
            self._orders.close()
            raise

    @property
    def alive(self) -> bool:
        return self._child.ended() is None

    def start(self, title: str) -> Generation:
        """Order a generation."""
        self._started += 1
        channel, theirs = Channel.pair()
        with theirs, suppress(OSError):  # where it is gone, so is the generation
            socket.send_fds(self._orders, [msgpack.packb(["start", self._started, title])], [theirs.fileno()])
        generation = Generation(self, self._started, title, channel)
        self._generations[self._started] = generation
        return generation

    def watched(self) -> list[socket.socket | Channel | int]:
        """Return what becomes readable when it says something or ends."""
        return [self._orders, *self._child.watched()] if self.alive else []

    def hear(self) -> None:
        """Take in what it has said up to now."""
        while True:
            try:
                message = self._orders.recv(_MOST)
            except (BlockingIOError, ConnectionResetError):
                return
            if not message:
                return
            what, number, value = msgpack.unpackb(message)
            generation = self._generations.get(number)
            if generation is not None:
                generation.take_in(what, value)

    def bury(self, generation: Generation, number: int) -> None:
        del self._generations[number]
        with suppress(OSError):
            self._orders.send(msgpack.packb(["bury", number]))

    def alone(self, generation: Generation) -> bool:
        """Tell whether it has no other generation that lives."""
        return all(other is generation or other.ended() is not None for other in self._generations.values())

    def kill(self) -> None:
        self._child.kill()

    def close(self) -> None:
        """End it, which ends all of its generations."""
        self._child.close()
        self._orders.close()


class Generation:
    """A process that a template has started, with the methods of a `Child`."""

    def __init__(self, template: Template, number: int, title: str, channel: Channel) -> None:
        """Stand for one that is ordered."""
        self.title = title
        self.channel = channel
        self.pid: int | None = None
        self._template = template
        self._number = number
        self._pidfd: int | None = None
        self._code: int | None = None
        self._doomed = False

    def take_in(self, what: str, value: int) -> None:
        """Take in what the template says: ``began`` with a process id, ``ended`` with an exit status."""
        if what == "ended":
            self._code = value
            return
        self.pid, self._pidfd = value, os.pidfd_open(value)
        if self._doomed:
            self.kill()

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when it says something or ends."""
        end = [] if self._pidfd is None or self._template.alive or self._code is not None else [self._pidfd]
        return [self.channel, *end] if self.channel.open else end

    def heard(self) -> list[dict[str, Any]]:
        """Return what it has said up to now; does not wait."""
        found: list[dict[str, Any]] = []
        while self.channel.open and select.select([self.channel], [], [], 0)[0]:
            found += self.channel.receive()
        return found

    def ended(self) -> int | None:
        """Return the exit status where the process has ended: negative for a signal."""
        if self._code is None and not self._template.alive and self._gone():
            self._code = -signal.SIGKILL
        return self._code

    def _gone(self) -> bool:
        """Tell whether a process whose template is gone is so, too."""
        if self._pidfd is not None:
            return bool(select.select([self._pidfd], [], [], 0)[0])
        return not self.channel.open

    def kill(self) -> None:
        """End the process now; one that has not begun ends when it does."""
        self._doomed = True
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        elif self._template.alone(self):
            self._template.kill()

    def close(self) -> None:
        """Make sure that the process is gone and whatever it has started, and close the channel."""
        if self.pid is not None and self._pidfd is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            select.select([self._pidfd], [], [])
            os.close(self._pidfd)
            self._pidfd = None
        self.channel.close()
        self._template.bury(self, self._number)
