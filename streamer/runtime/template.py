"""The template process of one consumer: what every generation imports, imported once → a generation whenever told to.

A generation is a fork of it, which costs milliseconds where a new interpreter costs tenths of a second. That is sound
because there is nothing in a template that a fork would break: no thread (it makes sure of that), no ZeroMQ context,
no open output, and no code but Python's, numpy's and ours. A consumer's own module is imported by each generation.

Where a thread is left after the imports, generations are started as new interpreters instead.

Orders come over a socket of their own, a descriptor with each: the generation's end of its channel. A generation that
has ended stays a zombie until its burial is ordered, so that its process id means nobody else.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import msgpack

from streamer.runtime import child, worker
from streamer.runtime.job import TemplateJob
from streamer.runtime.plugin import preload

if TYPE_CHECKING:
    from streamer.runtime.channel import Channel

_MOST = 1 << 16
_log = logging.getLogger("streamer.template")


@dataclass(frozen=True, slots=True)
class _Generation:
    """A child: the number that its order had, its process id and pidfd."""

    number: int
    pid: int
    pidfd: int


def main(channel: Channel) -> None:
    """Import, then carry out orders until the supervisor is gone."""
    job = TemplateJob(**channel.receive_one()["job"])
    preload(job.use)
    gc.collect()
    gc.freeze()  # what is there stays: a generation's collector need not look at it, nor copy its pages
    orders = socket.socket(fileno=job.orders)
    orders.set_inheritable(False)
    _Template(channel, orders, job.inherited, forks=_left_threads() == 0).run()


class _Template:
    """The loop."""

    def __init__(self, channel: Channel, orders: socket.socket, inherited: list[int], *, forks: bool) -> None:
        self._channel = channel
        self._orders = orders
        self._inherited = inherited
        self._forks = forks
        self._living: dict[int, _Generation] = {}  # by pidfd
        self._dead: dict[int, _Generation] = {}  # by number

    def run(self) -> NoReturn:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._orders, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._channel.fileno():
                    msg = "the supervisor is gone"
                    raise EOFError(msg)
                if fd == self._orders.fileno():
                    self._obey(poll)
                else:
                    poll.unregister(fd)
                    self._ended(self._living.pop(fd))

    def _obey(self, poll: select.poll) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._orders, _MOST, 1)
        if not message:
            msg = "the supervisor is gone"
            raise EOFError(msg)
        what, number, *more = msgpack.unpackb(message)
        if what == "bury":
            self._bury(self._dead.pop(number))
            return
        (end,) = descriptors
        pid = self._fork(more[0], end) if self._forks else self._start(more[0], end)
        os.close(end)
        with suppress(OSError):  # it does so itself; whoever is first
            os.setpgid(pid, pid)
        generation = _Generation(number, pid, os.pidfd_open(pid))
        self._living[generation.pidfd] = generation
        poll.register(generation.pidfd, select.POLLIN)
        self._tell("began", number, pid)

    def _fork(self, title: str, end: int) -> int:
        template = os.getpid()
        if pid := os.fork():
            return pid
        with suppress(OSError):
            os.setpgid(0, 0)
        self._orders.close()
        self._channel.close()
        for generation in (*self._living.values(), *self._dead.values()):
            os.close(generation.pidfd)
        if "numpy.random" in sys.modules:  # Python's own is seeded anew by Python
            sys.modules["numpy.random"].seed()
        child.live(worker.main, title, end, template, foreign=True)

    def _start(self, title: str, end: int) -> int:
        """Start a new interpreter."""
        command = [sys.executable, "-m", worker.__name__, title, str(end), str(os.getpid())]
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, pass_fds=(end, *self._inherited), process_group=0
        )
        process.returncode = 0  # its end is ours to take in, not that of the object
        return process.pid

    def _ended(self, generation: _Generation) -> None:
        end = os.waitid(os.P_PIDFD, generation.pidfd, os.WEXITED | os.WNOWAIT)
        assert end is not None
        self._dead[generation.number] = generation
        self._tell("ended", generation.number, end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)

    def _bury(self, generation: _Generation) -> None:
        os.waitid(os.P_PIDFD, generation.pidfd, os.WEXITED)
        os.close(generation.pidfd)

    def _tell(self, what: str, number: int, value: int) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is noticed in the loop
            self._orders.send(msgpack.packb([what, number, value]))


def _left_threads() -> int:
    """Return how many threads there are beside this one where it forks: a library may end its own before."""
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    names = [name for name in os.listdir("/proc/self/task") if int(name) != os.getpid()]
    if names:
        _log.warning("%d threads are left after the imports: generations are started, not forked", len(names))
    return len(names)


if __name__ == "__main__":
    child.run(main, foreign=False)
