"""An application and a listening socket → answers, from a thread that is never given a signal and idles for free.

Whoever connects costs a descriptor. There are few connections, each has to ask soon and to take its answer, and where
there are too many the one that has waited longest without a request makes room: idle clients lock nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

_END_SECONDS = 2  # for clients that do not take what is sent to them
_TICK_SECONDS = 1.0  # the Date header is that exact
_ASK_SECONDS = 10.0  # for a request to be whole, and for some of an answer to be taken
_MOST_CONNECTIONS = 64
_RESERVE = 128  # descriptors that are left to the daemon's work
_BACKLOG = 16  # connections that are accepted at once
_log = logging.getLogger("streamer.ingest")


def most_connections(limit: int) -> int:
    """Return how many connections there may be where a process may have so many descriptors."""
    return max(4, min(_MOST_CONNECTIONS, (limit - _RESERVE) // 4))


class _Bounded(H11Protocol):
    """One connection of a few."""

    last: float  # when it connected, had its last answer, or took some of it; in the event loop's seconds
    ended = False  # closed, though the event loop has still to hear of it
    _untaken = 0  # bytes of an answer that it had not taken when it was last looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take in a connection; make room for it, or end it."""
        super().connection_made(transport)
        self.last = self.loop.time()
        others: list[Any] = [one for one in self.connections if one is not self]
        others = [one for one in others if not one.ended]
        if len(others) >= self.config.h11_most:  # type: ignore[attr-defined]
            silent = [one for one in others if not one.is_answered()]
            min(silent, key=lambda one: one.last, default=self).end()
        self._timer = self.loop.call_later(_ASK_SECONDS / 2, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self.last = self.loop.time()
        super().on_response_complete()

    def is_answered(self) -> bool:
        """Tell whether a request has come whole, and its answer is not."""
        return self.cycle is not None and not self.cycle.response_complete

    def end(self) -> None:
        """Close it at once."""
        self.ended = True
        self.transport.abort()

    def _check(self) -> None:
        now, untaken = self.loop.time(), self.transport.get_write_buffer_size()
        if self.is_answered() and (not untaken or untaken != self._untaken):
            self.last = now
        self._untaken = untaken
        if now - self.last >= _ASK_SECONDS:
            self.end()
            return
        self._timer = self.loop.call_later(_ASK_SECONDS / 2, self._check)


class UvicornServer(uvicorn.Server):
    """uvicorn without what a daemon has already: logging, signals, a look at the clock ten times a second."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_Bounded,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,  # the daemon's own logging stands …
            log_level="error",  # … and need not hear of every odd request
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=_END_SECONDS,
        )
        config.load()
        limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        settings: Any = config
        settings.h11_most = most_connections(limit)
        super().__init__(config)
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def serve_alone(self, listening: socket.socket) -> None:
        """Answer until ``end`` is called, in a thread of its own; its faults are its own, too."""
        # A signal that the kernel gave to this thread would not wake the daemon's loop in the main one.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.run(sockets=[listening])
        except Exception:  # noqa: BLE001 - whatever it is, the page is gone and the daemon goes on
            _log.exception("the web server has ended by a fault; the daemon goes on without it")

    async def main_loop(self) -> None:
        """Wait for the end."""
        ended = asyncio.Event()
        self._wake = asyncio.get_running_loop(), ended
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _TICK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End as uvicorn does, then close what is connected still: late guests, and who does not take an answer."""
        loop = asyncio.get_running_loop()
        for listening in [one for server in self.servers for one in server.sockets]:
            loop.remove_reader(listening.fileno())
        # Who was accepted in this turn is connected in the next; a server that has closed by then fails to, without
        # closing the connection (CPython gh-109564).
        await asyncio.sleep(0)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # they close in the loop's next turn

    def end(self) -> None:
        """Ask the server to end; from any thread, at any time."""
        self.should_exit = True
        if self._wake is not None:
            loop, ended = self._wake
            with contextlib.suppress(RuntimeError):  # it has ended by itself: its loop is closed
                loop.call_soon_threadsafe(ended.set)
