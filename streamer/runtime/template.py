"""The template process of one consumer: what every generation imports, imported once → a generation whenever told to.

A generation is a fork of it, which costs milliseconds where a new interpreter costs tenths of a second. That is sound
because a fork breaks nothing in a template: it has no thread (it makes sure of that), no ZeroMQ context, no open
output, and no code but Python's, numpy's and ours. Other people's modules are imported by each generation.

It forks twice, and the one in between ends at once: the kernel then gives the generation to the nearest ancestor that
has asked for orphans, the supervisor (PR_SET_CHILD_SUBREAPER), whose child it is from then on. So its exit status, its
death signal and its place in the tree of processes are those of a process which the supervisor has started itself, and
a template that ends takes nobody with it.

An order is a datagram with a descriptor, the generation's end of its channel; the answer is its process id.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgpack

from streamer.runtime import child, worker
from streamer.runtime.job import TemplateJob
from streamer.runtime.plugin import preload

if TYPE_CHECKING:
    from streamer.runtime.channel import Channel

_MOST = 1 << 12
_ARG_START = 48 - 3  # the field's number, counted from behind the command's name
_log = logging.getLogger("streamer.template")


def main(channel: Channel) -> None:
    """Import, say whether it can be forked, then obey until the supervisor is gone."""
    job = channel.receive_one(TemplateJob)
    orders = socket.socket(fileno=job.orders)
    orders.set_inheritable(False)
    preload(job.use)
    gc.collect()
    gc.freeze()  # what is there stays: a generation's collector need not look at it, nor copy its pages
    orders.send(msgpack.packb(["forks", _is_alone()]))
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(orders, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if channel.fileno() in ready:
            msg = "the supervisor is gone"
            raise EOFError(msg)
        _obey(channel, orders)


def _obey(channel: Channel, orders: socket.socket) -> None:
    order, (end,), _, _ = socket.recv_fds(orders, _MOST, 1)
    number, title = msgpack.unpackb(order)
    supervisor = os.getppid()
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        if generation := os.fork():
            os.write(writing, generation.to_bytes(8, "little"))
            os._exit(0)
        for mine in (channel, orders):
            mine.close()
        for fd in (reading, writing):
            os.close(fd)
        _live(title, end, supervisor)
    os.waitpid(between, 0)
    pid = int.from_bytes(os.read(reading, 8), "little")
    for fd in (reading, writing, end):
        os.close(fd)
    orders.send(msgpack.packb(["began", number, pid]))


def _live(title: str, end: int, supervisor: int) -> NoReturn:
    """Be a generation, in a group of its own, as soon as the process in between is gone."""
    os.setpgid(0, 0)
    _wait_for_the_end(os.getppid(), supervisor)
    if "numpy.random" in sys.modules:  # Python seeds its own anew
        sys.modules["numpy.random"].seed()
    sys.argv[1:] = [title, str(end), str(supervisor)]
    _show_command()
    child.live(worker.main, title, end, supervisor, foreign=True)


def _wait_for_the_end(between: int, supervisor: int) -> None:
    """Wait until the process in between is gone, and this one the supervisor's child."""
    if between == supervisor:
        return
    with suppress(ProcessLookupError):  # gone meanwhile
        end = os.pidfd_open(between)
        select.select([end], [], [])
        os.close(end)


def _show_command() -> None:
    """Let lists of processes show a generation's command line, which fits into that of its template.

    The kernel keeps where the arguments lie (proc_pid_stat(5), arg_start and arg_end); what is left over goes in front
    of the last one, as zeros.
    """
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, stop = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    before = ctypes.string_at(start, stop - start).split(b"\0")
    *texts, parent = map(os.fsencode, sys.argv[1:])
    line = [*before[: before.index(b"-m") + 1], worker.__name__.encode(), *texts]
    room = stop - start - sum(len(part) + 1 for part in line) - 1
    if room >= len(parent):
        ctypes.memmove(start, b"\0".join([*line, parent.rjust(room, b"0"), b""]), stop - start)


def _is_alone() -> bool:
    """Tell whether there is one thread where it forks: a library may end its own before, and start them again after."""
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are all that is wanted
    if threads > 1:
        _log.warning("the imports have left %d threads: generations are started anew, not forked", threads - 1)
    return threads == 1


if __name__ == "__main__":
    child.run(main, foreign=False)
