"""Requests of other commands → answers of the daemon: JSON over a Unix socket that only its user can open.

A connection carries one request, an object on a line with the key ``verb``, and one answer, an object with the key
``ok``. Who may open the socket (mode 0600, in a folder of mode 0700) may do everything that the daemon can.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from streamer.errors import BusyError, ConfigError, StreamerError, by_name, from_shortage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from streamer.supervisor.workdir import Workdir

NAME = "control.sock"
_LONGEST = 1 << 16  # bytes of a request
_PATIENCE = 5.0  # seconds for a request to be whole, and for an answer to be taken
_ANSWER_SECONDS = 30.0
_MOST_OPEN = 32  # connections whose request is not whole
_MOST_ANSWERS = 16  # that are being sent
_PAUSE = 1.0  # seconds without accepting, where the system has no descriptor
_log = logging.getLogger("streamer.ingest")
_NO_REQUEST = {"ok": False, "error": "no request"}


class Control:
    """The daemon's end. No connection and no request ends the loop, blocks it, or uses up its descriptors."""

    def __init__(self, workdir: Workdir, shown: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
        """Make the socket; one that a killed daemon left is replaced, as nobody else holds the work folder.

        The verbs in ``shown`` only show something: another thread answers them.
        """
        self._path = workdir.path / NAME
        self._shown = shown
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
        self._answers = threading.Semaphore(_MOST_ANSWERS)
        self._closed_until = 0.0  # the system has no descriptor for another connection, in monotonic seconds

    @property
    def busy(self) -> bool:
        """Whether a connection is open or waits to be accepted, so that a time limit is running."""
        return bool(self._open) or time.monotonic() < self._closed_until

    def watched(self) -> list[socket.socket]:
        """Return the sockets that become readable when there is something to take in."""
        may_accept = len(self._open) < _MOST_OPEN and time.monotonic() >= self._closed_until
        return [*([self._socket] if may_accept else []), *self._open]

    def take(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Read what has come and answer complete requests; does not wait."""
        self._accept()
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

    def _accept(self) -> None:
        while len(self._open) < _MOST_OPEN:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor, no memory: whoever asks waits
                self._closed_until = time.monotonic() + _PAUSE
                return
            connection.setblocking(False)
            self._open[connection] = (time.monotonic(), bytearray())

    def _answer(
        self, connection: socket.socket, text: bytes, answer: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        self._open.pop(connection, None)
        try:
            request = json.loads(text)
            shown = self._shown.get(str(request.get("verb"))) if isinstance(request, dict) else None
            if shown is None:
                found = _answered(partial(answer, request)) if isinstance(request, dict) else _NO_REQUEST
                shown = partial(dict, found)
        except (ValueError, RecursionError) as error:
            shown = partial(dict, ok=False, error=f"the request is not JSON: {error}")
        if not self._answers.acquire(blocking=False):  # too many who ask and do not listen
            connection.close()
            return
        try:
            threading.Thread(target=self._send, args=(connection, shown), name="answer", daemon=True).start()
        except RuntimeError:  # the system has no thread for it
            self._answers.release()
            connection.close()

    def _send(self, connection: socket.socket, shown: Callable[[], dict[str, Any]]) -> None:
        """Make an answer and send it, in a thread: the loop does not wait for a client that does not read."""
        try:
            with connection, suppress(OSError):  # who asked has gone
                connection.settimeout(_PATIENCE)
                connection.sendall(json.dumps(_answered(shown)).encode() + b"\n")
        finally:
            self._answers.release()

    def _end(self, connection: socket.socket) -> None:
        self._open.pop(connection, None)
        connection.close()


def _answered(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return an answer, or an error as one."""
    try:
        return make()
    except StreamerError as error:
        return {"ok": False, "error": str(error), "kind": type(error).__name__}
    except Exception as error:  # noqa: BLE001 - what is asked for never ends the loop, whatever is wrong with it
        shortage = from_shortage(error)
        _log.error("a request could not be answered", exc_info=None if shortage else error)  # that takes memory, too
        why = str(shortage or f"{type(error).__name__}: {error}")
        return {"ok": False, "error": f"the daemon cannot answer that: {why}"}


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
    """Give a path of at most 107 bytes to a socket, through a descriptor of its folder where that is longer."""
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
