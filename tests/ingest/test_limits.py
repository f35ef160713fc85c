"""Whoever connects, and whatever is missing for a while: the daemon's work goes on."""

from __future__ import annotations

import errno
import http.client
import os
import re
import resource
import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import structlog

from streamer.errors import BusyError, StorageError, StreamerError, from_shortage
from streamer.ingest.control import NAME, Control, ask
from streamer.ingest.http import HttpServer
from streamer.ingest.log import Repeats
from streamer.ingest.server import most_connections
from streamer.supervisor.workdir import Workdir
from tests.ingest import snapshots
from tests.ingest.driver import Watch, settings
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE, SLOW = 1100, 300
_DATA = re.compile(r"VmData:\s+(\d+) kB")  # what RLIMIT_DATA bounds


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 4096:
        pytest.skip("takes 4,096 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def crowd(port: int) -> Iterator[None]:
    """Connect without a request, and with one that does not end; nobody waits for an answer."""
    with ExitStack() as stack:
        for number in range(IDLE + SLOW):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            if number >= IDLE:
                try:
                    client.send(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nX-")
                except OSError:  # not connected yet, or thrown out already
                    continue
        yield


def alive(port: int) -> bool:
    """Ask whether the daemon's loop turns, as an orchestrator does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def page() -> Iterator[int]:
    """Serve a page; give its port."""
    with HttpServer("127.0.0.1", 0, None, snapshots.idle, lambda: None, lambda _: None) as server:
        yield server.address[1]


@pytest.mark.usefixtures("many_descriptors")
def test_clients_that_ask_nothing_hold_few_descriptors_and_lock_nobody_out() -> None:
    with page() as port, crowd(port):
        wait_until(lambda: alive(port), "an answer")
        served = [c for c in psutil.Process().net_connections("tcp") if c.laddr.port == port and c.status != "LISTEN"]
        assert len(served) <= 64 + 16


def test_a_client_that_does_not_end_its_request_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.server._ASK_SECONDS", 0.2)
    with page() as port, socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"alive\n"):
            answer += client.recv(1 << 16)
        client.sendall(b"GET /livez HTTP/1.1\r\nHo")  # the second request counts, too
        assert not _rest(client)


def _rest(client: socket.socket) -> bytes:
    """Return what still comes, until the other end closes."""
    try:
        return client.recv(1 << 16)
    except ConnectionResetError:
        return b""


def test_a_head_request_for_the_events_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.routes._MOST_STREAMS", 1)
    with page() as port, ExitStack() as stack:
        for method in ("HEAD", "HEAD", "HEAD", "GET"):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            client.sendall(f"{method} /events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("limit", "most"), [(20, 4), (256, 32), (1024, 64), (1 << 20, 64)])
def test_the_work_has_descriptors_of_its_own(limit: int, most: int) -> None:
    assert most_connections(limit) == most


@pytest.mark.slow
@pytest.mark.usefixtures("many_descriptors")
def test_a_recording_comes_out_while_a_crowd_is_connected(tmp_path: Path, small_bag: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    with Watch(tmp_path, settings(incoming) | {"http": "127.0.0.1:0"}) as daemon:
        psutil.Process(daemon.process.pid).rlimit(psutil.RLIMIT_NOFILE, (256, 256))
        port = int(daemon.events("serving")[0]["url"].rstrip("/").rpartition(":")[2])
        with crowd(port), ExitStack() as stack:
            for _ in range(100):  # and to the socket of the command line
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect_ex(str(tmp_path / ".streamer" / NAME))
            shutil.copyfile(small_bag, incoming / "a.bag")
            wait_until((tmp_path / "out" / "a.json").exists, "the output")
            wait_until(lambda: alive(port), "an answer")
        daemon.wait(a="done")
        assert daemon.process.poll() is None
        assert (tmp_path / "daemon.log").stat().st_size < 20_000


def states(daemon: Watch) -> dict[str, str]:
    """Return the states of its recordings; none of a daemon that ends."""
    with suppress(BusyError):
        return daemon.states()
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("more", [0, 300_000, 3_000_000])
def test_a_daemon_that_gets_no_more_memory_neither_hangs_nor_loses_a_recording(
    tmp_path: Path, small_bag: Path, more: int
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    config = settings(incoming) | {"http": "127.0.0.1:0"}
    with Watch(tmp_path, config) as daemon:
        process = psutil.Process(daemon.process.pid)
        most = int(_DATA.findall(Path(f"/proc/{process.pid}/status").read_text())[0]) * 1024 + more
        process.rlimit(psutil.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
        shutil.copyfile(small_bag, incoming / "a.bag")
        wait_until(
            lambda: (
                daemon.process.poll() is not None
                or "has no memory" in (tmp_path / "daemon.log").read_text()
                or (tmp_path / "out" / "a.json").exists()
            ),
            "an end, a complaint or the recording",
        )
        with suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(
            lambda: daemon.process.poll() is not None or states(daemon) == {"a": "done"}, "an end or the recording"
        )
        if daemon.process.poll() is None:
            return
    assert daemon.process.returncode == 74  # which a service manager answers with a restart
    with Watch(tmp_path, config) as daemon:
        daemon.wait(a="done")


# ---- the socket of the command line


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    def broken() -> dict[str, Any]:
        raise OSError(36, "File name too long", "x" * 251)

    def bug() -> dict[str, Any]:
        raise TypeError

    made = Control(Workdir(tmp_path), {"status": broken, "bug": bug})
    yield made
    made.close()


def served(control: Control, folder: Path, verb: str) -> str:
    """Ask as the command line does; return what was refused."""
    said: list[str] = []

    def client() -> None:
        try:
            ask(folder, verb)
        except StreamerError as error:
            said.append(str(error))

    thread = threading.Thread(target=client)
    thread.start()
    while thread.is_alive():
        control.take(lambda _: {"ok": True})
    thread.join()
    return said[0]


def test_what_cannot_be_shown_costs_the_answer_and_not_the_loop(control: Control, tmp_path: Path) -> None:
    assert "File name too long" in served(control, tmp_path, "status")
    assert "TypeError" in served(control, tmp_path, "bug")


def test_no_descriptor_for_a_connection_is_no_reason_to_end(
    control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr("streamer.ingest.control._PAUSE", 0.01)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / NAME))
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, before[1]))  # noqa: PTH208
        try:
            control.take(lambda _: {"ok": True})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert control.busy
        client.sendall(b"{}\n")
        wait_until(lambda: _answer(control, client), "the answer")


def _answer(control: Control, client: socket.socket) -> bytes:
    control.take(lambda _: {"ok": True})
    client.setblocking(False)
    try:
        return client.recv(100)
    except BlockingIOError:
        return b""


def test_connections_without_a_request_are_few(control: Control, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(str(tmp_path / NAME))
            control.take(lambda _: {"ok": True})
        assert len(control.watched()) <= 33


# ---- the log


def test_a_line_that_comes_again_and_again_is_counted_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    limit, written = Repeats(), []
    for _ in range(1000):
        try:
            written.append(limit(None, "error", {"event": "accept failed", "level": "error"}))
        except structlog.DropEvent:
            continue
    assert len(written) == 5
    limit(None, "error", {"event": "another", "level": "error"})
    now = 61.0
    assert limit(None, "error", {"event": "accept failed", "level": "error"})["not_shown_before"] == 995


@pytest.mark.parametrize("number", ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "ENOBUFS"])
def test_what_the_system_has_too_little_of_is_nobodys_fault(number: str) -> None:
    error = OSError(getattr(errno, number), "some words", "/a/file")
    assert isinstance(from_shortage(error), StorageError)
    assert isinstance(from_shortage(MemoryError()), StorageError)
    assert from_shortage(FileNotFoundError(2, "no such file")) is None
