"""Requests of other commands → the daemon's loop, and its answers: JSON over a Unix socket that only its user opens.

A connection carries one request, an object on a line with the key ``verb``, and one answer, an object with the key
``ok``. Who may open the socket (mode 0600, in a folder of mode 0700) may do everything that the daemon can.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from streamer.errors import BusyError, ConfigError, StreamerError, by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamer.supervisor.workdir import Workdir

NAME = "control.sock"
_LONGEST = 1 << 16  # bytes of a request
_PATIENCE = 5.0  # seconds for a request to be whole, and for an answer to be taken
_ANSWER_SECONDS = 30.0


class Control:
    """The daemon's end."""

    def __init__(self, workdir: Workdir) -> None:
        """Make the socket; one that a killed daemon left is replaced, as nobody else holds the work folder."""
        self._path = workdir.path / NAME
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            with _short(self._path) as name:
                self._socket.bind(name)
            self._socket.listen(8)
        except BaseException:
            self._socket.close()
            raise
        finally:
            os.umask(before)
        self._open: dict[socket.socket, tuple[float, bytearray]] = {}

    def watched(self) -> list[socket.socket]:
        """Return what becomes readable when there is something to take in."""
        return [self._socket, *self._open]

    def take(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Take in what has come, and answer the requests that are whole; never waits."""
        with suppress(BlockingIOError):
            while True:
                connection, _ = self._socket.accept()
                connection.setblocking(False)
                self._open[connection] = (time.monotonic(), bytearray())
        for connection, (since, got) in list(self._open.items()):
            try:
                piece = connection.recv(_LONGEST)
                got.extend(piece)
            except BlockingIOError:
                piece = b"-"
            except OSError:
                piece = b""
            if b"\n" in got:
                self._answer(connection, bytes(got), answer)
            elif not piece or len(got) > _LONGEST or time.monotonic() - since > _PATIENCE:
                self._end(connection)

    def close(self) -> None:
        """Remove the socket."""
        for connection in list(self._open):
            self._end(connection)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _answer(
        self, connection: socket.socket, text: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        try:
            request = json.loads(text)
            found = answer(request) if isinstance(request, dict) else {"ok": False, "error": "no request"}
        except (ValueError, RecursionError) as error:
            found = {"ok": False, "error": f"the request is no JSON: {error}"}
        except StreamerError as error:
            found = {"ok": False, "error": str(error), "kind": type(error).__name__}
        self._open.pop(connection, None)
        threading.Thread(target=_send, args=(connection, found), name="answer").start()

    def _end(self, connection: socket.socket) -> None:
        self._open.pop(connection, None)
        connection.close()


def _send(connection: socket.socket, found: dict[str, Any]) -> None:
    """Send an answer; the loop does not wait for somebody who asks and does not listen."""
    with connection, suppress(OSError):  # who asked has gone
        connection.settimeout(_PATIENCE)
        connection.sendall(json.dumps(found).encode() + b"\n")


def ask(workdir: Path, verb: str, **values: Any) -> dict[str, Any]:
    """Ask the daemon of a work folder; return its answer.

    Raises:
        BusyError: no daemon is running there. StreamerError: it hangs, or what it refuses.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(_ANSWER_SECONDS)
        try:
            with _short(workdir / NAME) as name:
                end.connect(name)
            end.sendall(json.dumps({"verb": verb, **values}).encode() + b"\n")
            got = bytearray()
            while piece := end.recv(_LONGEST):
                got += piece
        except (FileNotFoundError, ConnectionRefusedError) as error:
            msg = f"no daemon is running in {workdir}; start one with: streamer watch CONFIG"
            raise BusyError(msg) from error
        except TimeoutError as error:
            msg = f"the daemon in {workdir} does not answer within {_ANSWER_SECONDS:g} s; its log may say why"
            raise StreamerError(msg) from error
        except OSError as error:
            msg = f"the daemon in {workdir} does not answer: {error}"
            raise BusyError(msg) from error
    answer: dict[str, Any] = json.loads(got or b'{"ok": false, "error": "the daemon ended before it answered"}')
    if not answer["ok"]:
        raise by_name(answer.get("kind", ""))(answer["error"])
    return answer


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a socket's path in at most 107 bytes, however long it is: through a descriptor of its folder."""
    if len(os.fsencode(path)) <= 100:
        yield str(path)
        return
    if not os.path.isdir("/proc/self/fd"):  # noqa: PTH112 - a question to the system, not to a path of ours
        msg = f"{path.parent} is too long a path for a socket: choose a shorter one"
        raise ConfigError(msg, key="workdir")
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
