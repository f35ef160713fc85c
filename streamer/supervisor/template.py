"""Generations to start → processes: forked in milliseconds by a template, or by a new interpreter (`runtime.template`).

The first process of a consumer is a new interpreter, and leaves a template behind. Where there is none, because it has
ended, does not answer or could not stay behind, the next process is a new interpreter again.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.runtime.channel import Channel
from streamer.supervisor.child import Child, Process, end_group
from streamer.supervisor.endings import how_it_ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

_MOST = 64  # bytes of an answer
_PATIENCE = 5.0  # seconds for a fork
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
CAN_FORK = sys.platform == "linux" and hasattr(os, "pidfd_open")


@dataclass(frozen=True, slots=True)
class Starter:
    """How the workers of a session are started: where, where they write their logs, and the pool that they inherit."""

    folder: Path
    logs: Path
    pool_fd: int


class Templates:
    """The templates of a session's consumers; while its ``with`` block runs, orphans of ours become our children."""

    def __init__(self, starter: Starter, note: Callable[[str], None]) -> None:
        """Take how processes are started, and who is told what went wrong with a template."""
        self._starter = starter
        self._note = note
        self._templates: dict[str, _Template] = {}

    def __enter__(self) -> Self:
        self._before = _take_orphans(yes=True) if CAN_FORK else False
        return self

    def __exit__(self, *_: object) -> None:
        while self._templates:
            self._templates.popitem()[1].close()
        if CAN_FORK:
            _take_orphans(yes=self._before)

    def start(self, name: str, generation: int) -> tuple[Process, int | None]:
        """Start a generation; return with it the descriptor by which a template is left behind, if one is wanted."""
        title = f"{name}.{generation}"
        if (template := self._templates.get(name)) is not None:
            if (process := template.fork(title)) is not None:
                return process, None
            if what := self._templates.pop(name).close():
                self._note(f"{name}: its template {what}; its next process is a new interpreter")
        if not CAN_FORK:
            return self._interpreter(name, title), None
        orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = self._interpreter(name, title, theirs.fileno())
            except BaseException:
                orders.close()
                raise
            self._templates[name] = _Template(orders)
            return process, theirs.fileno()

    def _interpreter(self, name: str, title: str, *descriptors: int) -> Process:
        own = self._starter
        return Child(
            "streamer.runtime.worker",
            title,
            folder=own.folder,
            log=own.logs / f"{name}.log",
            descriptors=[own.pool_fd, *descriptors],
        )


class _Template:
    """One template: our end of its orders."""

    def __init__(self, orders: socket.socket) -> None:
        """Wait for it to say that it is there, whenever it is asked."""
        self._orders = orders
        self._pid = 0
        self._silent = False

    def fork(self, title: str) -> Process | None:
        """Let it fork a generation; None where it is not there, or does not answer."""
        channel, theirs = Channel.pair()
        with theirs, suppress(OSError):
            self._pid = self._pid or self._answer()
            if self._pid:
                socket.send_fds(self._orders, [title.encode()], [theirs.fileno()])
                if pid := self._answer():
                    return Process(title, channel, pid)
        channel.close()
        return None

    def _answer(self) -> int:
        """Return a process id; 0 where nobody is left at the other end.

        Raises:
            OSError: nobody has answered in time.

        """
        self._orders.settimeout(_PATIENCE)
        try:
            return int(self._orders.recv(_MOST) or 0)
        except TimeoutError:
            self._silent = True
            raise

    def close(self) -> str:
        """End it, and what nobody has heard of yet; return what was wrong with it, if it was ever there."""
        code = end_group(self._pid) if self._pid else None
        what = "" if code is None else "does not answer" if self._silent else f"has ended ({how_it_ended(code)})"
        with suppress(OSError):
            while began := self._answer():  # until nobody is left at the other end
                end_group(began)
        self._orders.close()
        return what


def _take_orphans(*, yes: bool) -> bool:
    """Ask the kernel for the orphans among our descendants, or not; return what was asked before."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)
    return bool(before.value)
