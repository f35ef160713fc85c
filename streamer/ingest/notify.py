"""The daemon's state → systemd, if that started it: ready, alive, reloading, stopping (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time


class Systemd:
    """The service manager; does nothing where there is none."""

    def __init__(self) -> None:
        """Read NOTIFY_SOCKET and WATCHDOG_USEC."""
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        mine = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = int(os.environ.pop("WATCHDOG_USEC", "0")) / 1e6 if mine else 0.0
        self.period = period / 2 if self._address and period else float("inf")  # seconds between two signs of life

    def tell(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            try:
                out.sendto("\n".join(lines).encode(), address)
            except OSError:  # it restarts: the next sign of life will reach it
                return

    def reloading(self) -> None:
        """Say that a reload has begun; `READY=1` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
