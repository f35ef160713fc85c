"""The daemon's snapshot → a page, JSON and metrics over HTTP: a small server in a thread of the daemon."""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from streamer.errors import ConfigError
from streamer.ingest.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.ingest.details import Details
    from streamer.ingest.server import UvicornServer

_SILENT_SECONDS = 30.0  # after which the daemon's loop counts as dead
_FAULTS = {
    errno.EADDRINUSE: "another program uses that port; end it or choose another port",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "ports below 1024 need a privilege; choose a higher one",
}


class HttpServer:
    """Shows the daemon to people, scripts and Prometheus, from ``start`` to ``stop`` or as a ``with`` block.

    All three callables are called from threads of the server: ``snapshot`` when somebody looks, at most once a second
    however many do; ``trouble`` (why the daemon is not ready, or None) for each ``/readyz``; ``image`` (PNG or JPEG
    of a running recording, or None) for each ``/image/{id}``. ``act`` asks the daemon to do something (a verb and its
    values), from a thread of its own; without it the page only shows. ``details`` looks up what is known of one
    recording.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None,
        snapshot: Callable[[], dict[str, Any]],
        trouble: Callable[[], str | None],
        image: Callable[[int], bytes | None],
        act: Callable[..., dict[str, Any]] | None = None,
        details: Details | None = None,
    ) -> None:
        """Check what was configured; port 0 is any free one.

        Raises:
            ConfigError: an empty token, none where other machines can connect, or the extra ``watch`` is missing.

        """
        if token is not None and not token.strip():
            msg = "the token is empty, so anybody would know it: give one, or leave it out on 127.0.0.1"
            raise ConfigError(msg, key="http")
        if token is None and not is_loopback(host):
            msg = f"{host!r} can be reached from other machines: that needs a token; or listen at 127.0.0.1"
            raise ConfigError(msg, key="http")
        try:
            from streamer.ingest import routes, server  # noqa: F401 - only whether the server is there
        except ImportError as error:
            msg = f"its server is not installed ({error}): pip install 'rosbag-streamer[watch]'"
            raise ConfigError(msg, key="http") from error
        self._host, self._port, self._token = host, port, token
        newest = routes.Newest(snapshot)
        self._view = routes.View(newest, trouble, image, self._alive, lambda: self._ending, act, details)
        self._ending = False
        self._beat: float | None = None
        self._server: UvicornServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Return host and port; once started, the real port where 0 was asked for."""
        return self._host, self._port

    @property
    def url(self) -> str:
        """Return the address of the page."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/"

    def start(self) -> None:
        """Listen, and answer from a thread that is never given a signal.

        Raises:
            ConfigError: nobody can listen at that address.

        """
        from streamer.ingest.routes import application
        from streamer.ingest.server import UvicornServer

        listening = _listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        cookie = f"streamer_{self._port}"  # a browser sends a host's cookies to all of its ports
        self._ending = False
        self._server = UvicornServer(application(self._view, self._token, cookie, is_local=is_loopback(self._host)))
        self._thread = threading.Thread(target=self._server.serve_alone, args=(listening,), name="http", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Note that the daemon's loop turns: from the first call on, ``/livez`` fails 30 s after the last one."""
        self._beat = time.monotonic()

    def stop(self) -> None:
        """End the open streams, stop listening and wait for the thread; may be repeated."""
        self._ending = True
        if self._server is not None and self._thread is not None:
            self._server.end()
            self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _alive(self) -> bool:
        return self._beat is None or time.monotonic() - self._beat < _SILENT_SECONDS


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = _FAULTS.get(error.errno or 0, error.strerror or str(error))
        msg = f"cannot listen at {host}:{port}: {why}"
        raise ConfigError(msg, key="http") from error
