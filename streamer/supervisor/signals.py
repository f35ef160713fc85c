"""Signals → a readable descriptor and a count: handlers only take notes, the loop decides."""

from __future__ import annotations

import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stops(Protocol):
    """Where a run hears that it shall stop: signals, or whoever started it."""

    asked: int  # 1 is drain, 2 is stop now

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is something to hear."""

    def clear(self) -> None:
        """Take in what there is to hear."""


class Signals:
    """What has been asked for: 1 is drain, 2 is stop now."""

    def __init__(self, wake: socket.socket) -> None:
        """Read wake-ups from ``wake``."""
        self._wake = wake
        self.asked = 0
        self.hung_up = 0  # SIGHUP, where it means something of its own

    def fileno(self) -> int:
        """Return the descriptor, readable after any signal (the end of a child among them)."""
        return self._wake.fileno()

    def clear(self) -> None:
        """Take the wake-ups away."""
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            return

    def note(self, number: int, frame: object) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP."""
        del number, frame
        self.asked += 1

    def note_hang_up(self, number: int, frame: object) -> None:
        """Handle SIGHUP that asks for something else than an end."""
        del number, frame
        self.hung_up += 1


@contextmanager
def listen(*, hang_up: bool = False) -> Iterator[Signals]:
    """Take SIGINT, SIGTERM, SIGHUP and SIGCHLD for the time of the block; with ``hang_up`` SIGHUP asks for no end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        signals = Signals(ours)
        stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in (*stops, signal.SIGCHLD)}
        before_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in stops:
            signal.signal(number, signals.note)
        if hang_up:
            signal.signal(signal.SIGHUP, signals.note_hang_up)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield signals
        finally:
            signal.set_wakeup_fd(before_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
