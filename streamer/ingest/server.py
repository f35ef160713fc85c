"""An application and a listening socket → answers, from a thread that is never given a signal and idles for free."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

_END_SECONDS = 2  # for clients that do not take what is sent to them
_TICK_SECONDS = 1.0  # the Date header is that exact


class Server(uvicorn.Server):
    """uvicorn without what a daemon has already: logging, signals, a look at the clock ten times a second."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,  # the daemon's own logging stands …
            log_level="error",  # … and need not hear of every odd request
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        config.load()
        super().__init__(config)
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def serve_alone(self, listening: socket.socket) -> None:
        """Answer until ``end`` is called, in a thread of its own."""
        # A signal that the kernel gave to this thread would not wake the daemon's loop in the main one.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self.run(sockets=[listening])

    async def main_loop(self) -> None:
        """Wait for the end."""
        ended = asyncio.Event()
        self._wake = asyncio.get_running_loop(), ended
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TICK_SECONDS)

    def end(self) -> None:
        """Ask the server to end; from any thread, at any time."""
        self.should_exit = True
        if self._wake is not None:
            loop, ended = self._wake
            with contextlib.suppress(RuntimeError):  # it has ended by itself: its loop is closed
                loop.call_soon_threadsafe(ended.set)
