"""A worker before any foreign code has run in it → a template that stays behind, from which successors are forked.

A fork costs milliseconds where a new interpreter and its imports cost tenths of a second. It is sound here, as a
template has no second thread, no ZeroMQ context, no open output, and no code but Python's, numpy's and ours: other
people's modules are imported by each generation. Where there is a thread, no template stays behind, and successors
are started anew.

Each fork is one of a fork that ends at once. The kernel then gives it to the nearest ancestor that takes orphans, the
supervisor (PR_SET_CHILD_SUBREAPER, prctl(2)), whose child it is from then on: exit status, death signal and group are
those of a process which that has started itself, and a template that ends takes nobody with it.

An order is a datagram, the title of a generation, with its end of a channel; the answer is its process id. A
template's own process id says that it is ready.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.runtime import child
from streamer.runtime.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1 << 12  # bytes of an order
_ARG_START = 48 - 3  # proc_pid_stat(5) numbers its fields from 1; those behind the name begin with the third
_log = logging.getLogger("streamer.template")


def leave_behind(name: str, fd: int, main: Callable[[Channel], None], channel: Channel) -> None:
    """Let a template of this process stay behind, which takes orders from ``fd``; ``main`` is what its forks do."""
    with socket.socket(fileno=fd) as orders:
        orders.set_inheritable(False)
        if not _fork_for(os.getppid(), partial(_serve, f"{name}.template", orders, main, channel)):
            _log.warning("the imports have left threads: successors are started anew, not forked")


def _serve(title: str, orders: socket.socket, main: Callable[[Channel], None], channel: Channel) -> None:
    """Be a template until the supervisor is gone, or needs it no more."""
    channel.close()
    supervisor = os.getppid()
    child.bind(title, supervisor)
    _show(title)
    gc.collect()
    gc.freeze()  # what is there stays: a collector need not look at it, nor copy its pages
    orders.send(b"%d" % os.getpid())
    while True:
        order, ends, _, _ = socket.recv_fds(orders, _MOST, 1)
        if not ends:
            os._exit(0)
        _fork_for(supervisor, partial(_live, order.decode(), ends[0], orders, main))
        os.close(ends[0])


def _live(title: str, end: int, orders: socket.socket, main: Callable[[Channel], None]) -> None:
    """Be a generation."""
    with orders:
        orders.send(b"%d" % os.getpid())
    if "numpy.random" in sys.modules:  # Python's own is seeded anew by the fork
        sys.modules["numpy.random"].seed()
    _show(title)
    child.live(main, title, Channel.inherited(end), os.getppid(), foreign=True)


def _fork_for(supervisor: int, life: Callable[[], None]) -> bool:
    """Fork a child of the ``supervisor``, with its own group, that lives a ``life``; False where there are threads."""
    between = os.fork()
    if between:
        return os.waitpid(between, 0)[1] == 0
    try:
        me = os.pidfd_open(os.getpid())
        alone = len(os.listdir(f"/proc/{os.getppid()}/task")) == 1  # noqa: PTH208 - names are all that is wanted
        if not alone or os.fork():
            os._exit(not alone)
        os.setpgid(0, 0)
        select.select([me], [], [])  # until it has ended, and this one is the supervisor's
        os.close(me)
        if os.getppid() == supervisor:
            life()
    finally:
        os._exit(1)


def _show(title: str) -> None:
    """Let lists of processes show a title, in the place of that with which this process's ancestor was started.

    The kernel tells where arguments lie (proc_pid_stat(5), arg_start and arg_end); a title is cut where it is too long.
    """
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, stop = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
    before = ctypes.string_at(start, stop - start).split(b"\0")
    line = b"\0".join([*before[: before.index(b"-m") + 2], os.fsencode(title)])[: stop - start - 1]
    ctypes.memmove(start, line.ljust(stop - start, b"\0"), stop - start)
