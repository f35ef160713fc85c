"""The daemon's server over real HTTP: what it answers, to whom, and what it leaves behind."""

from __future__ import annotations

import gc
import hmac
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psutil
import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from streamer.errors import ConfigError
from streamer.ingest.http import HttpServer
from tests.ingest import snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

parse_text: Any = text_string_to_metric_families  # Prometheus leaves both untyped
parse_openmetrics: Any = openmetrics_parser.text_string_to_metric_families
TOKEN = 'dös 123; = \\ "'  # noqa: S105 - of a test; every character that could break a header or a cookie
PNG = b"\x89PNG\r\n\x1a\n..."


class Daemon:
    """What a daemon would show, and how often it was asked."""

    def __init__(self, **changes: Any) -> None:
        self.value = snapshots.idle(**changes)
        self.why: str | None = None
        self.asked = 0

    def snapshot(self) -> dict[str, Any]:
        self.asked += 1
        return self.value | {"updated": time.time()}

    def trouble(self) -> str | None:
        return self.why

    def image(self, number: int) -> bytes | None:
        return {13: PNG, 14: b"\xff\xd8\xff"}.get(number)

    def face(self, token: str | None = None, host: str = "127.0.0.1", port: int = 0) -> HttpServer:
        return HttpServer(host, port, token, self.snapshot, self.trouble, self.image)


class Answer:
    """A status, headers (lower case) and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()
        self.text = self.body.decode(errors="replace")


@contextmanager
def asked(face: HttpServer, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", face.address[1], timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        yield connection.getresponse()
    finally:
        connection.close()


def get(face: HttpServer, path: str, **headers: str) -> Answer:
    with asked(face, path, **headers) as response:
        return Answer(response)


def event(response: http.client.HTTPResponse) -> dict[str, Any]:
    """Return the next event of a stream."""
    while not (line := response.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return found


def bearer(token: str) -> str:
    return f"Bearer {token}".encode().decode("latin-1")


def test_every_address_answers_with_its_type_and_headers_that_keep_a_browser_quiet() -> None:
    types = {
        "/": "text/html; charset=utf-8",
        "/page.js": "text/javascript; charset=utf-8",
        "/page.css": "text/css; charset=utf-8",
        "/icon.svg": "image/svg+xml",
        "/status.json": "application/json",
        "/image/13": "image/png",
        "/image/14": "image/jpeg",
        "/livez": "text/plain; charset=utf-8",
        "/readyz": "text/plain; charset=utf-8",
    }
    with Daemon().face() as face:
        for path, media_type in types.items():
            answer = get(face, path)
            assert (answer.status, answer.headers["content-type"]) == (200, media_type), path
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
        assert get(face, "/image/99").status == 204  # it has just ended: nothing that a browser would complain of
        for path in ("/image/x", "/page/../http.py", "/nothing"):
            assert get(face, path).status == 404, path


def test_the_snapshot_is_given_as_it_is_even_where_a_path_is_no_valid_text() -> None:
    daemon = Daemon(recordings=[snapshots.recording(1, "queued", path="/data/\udcff.bag")])
    with daemon.face() as face:
        assert json.loads(get(face, "/status.json").body) | {"updated": 0} == daemon.value | {"updated": 0}


def test_a_snapshot_is_taken_once_a_second_at_most_and_never_for_nobody() -> None:
    daemon = Daemon()
    with daemon.face() as face:
        get(face, "/livez")
        get(face, "/readyz")
        get(face, "/")
        assert daemon.asked == 0
        began = time.monotonic()
        for _ in range(20):
            get(face, "/status.json")
            get(face, "/metrics")
        assert 1 <= daemon.asked <= 1 + (time.monotonic() - began)


def test_health_is_told_apart_from_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = Daemon()
    with daemon.face() as face:
        daemon.why = "2.1 GB are free on /data/\udcff, below free_space 5 GB"
        assert (get(face, "/readyz").status, get(face, "/livez").status) == (503, 200)
        assert get(face, "/readyz").text == "2.1 GB are free on /data/\\udcff, below free_space 5 GB\n"
        daemon.why = None
        assert get(face, "/readyz").status == 200
        face.beat()
        assert get(face, "/livez").status == 200
        monkeypatch.setattr("streamer.ingest.http._SILENT_SECONDS", 0.0)
        assert get(face, "/livez").status == 503


def test_metrics_are_what_prometheus_reads() -> None:
    running = [snapshots.run(13), snapshots.run(14, name='run_13"\n\udcff'), snapshots.run(15, status={})]
    recordings = [snapshots.recording(number, "quarantined") for number in range(2)]
    daemon = Daemon(running=running, state="paused", paused="…")
    daemon.value = snapshots.counted(daemon.value | {"recordings": recordings})
    with daemon.face() as face:
        prometheus = get(face, "/metrics").text
        openmetrics = get(face, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_text(prometheus)}
    assert all(family.documentation for family in families.values())
    samples = {(s.name, *sorted(s.labels.values())): s.value for f in families.values() for s in f.samples}
    assert samples["streamer_recordings", "quarantined"] == 2
    assert samples["streamer_build_info", "0.1.0"] == 1
    assert samples["streamer_paused",] == 1
    assert samples["streamer_memory_budget_bytes",] == 4e9
    assert samples["streamer_free_bytes", "/data"] == 2.1e11
    assert samples["streamer_last_scan_timestamp_seconds",] == pytest.approx(daemon.value["last_scan"])
    assert samples["streamer_frames_done", "13", "run_13"] == 120
    assert samples["streamer_frames_done", "14", 'run_13"\n\\udcff'] == 120
    assert samples["streamer_pool_used_bytes", "13", "run_13"] == 36e6
    assert samples["streamer_process_anonymous_bytes", "13", "reader", "run_13"] == 61e6
    assert samples["streamer_consumer_recycles_total", "13", "dataset", "run_13"] == 1
    assert samples["streamer_consumer_crashes_total", "13", "dataset", "run_13"] == 0
    assert not any(key[1:2] == ("15",) for key in samples)
    assert {family.name for family in parse_openmetrics(openmetrics.text)} >= {"streamer_recordings"}


def test_a_stream_tells_all_at_first_and_then_changes_and_only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.routes._NEWEST_SECONDS", 0.1)
    daemon = Daemon(recordings=[snapshots.recording(1, "queued"), snapshots.recording(2, "queued")])
    with daemon.face() as face, asked(face, "/events") as response:
        assert response.getheader("content-type", "").startswith("text/event-stream")
        assert response.readline() == b"retry: 2000\n"
        first = event(response)
        assert (first["edition"], first["all"]["head"]["state"]) == (1, "watching")
        assert set(first["all"]["rows"]) == {"#1", "#2"}
        taken = daemon.asked
        while daemon.asked < taken + 2:  # looked at again, and nothing new was found
            get(face, "/status.json")
        daemon.value = daemon.value | {"state": "draining"}
        second = event(response)
        assert {key: second[key] for key in ("since", "edition", "patch")} == {
            "since": 1,
            "edition": 2,
            "patch": {"head": {"state": "draining"}},
        }
        daemon.value = daemon.value | {"recordings": [snapshots.recording(2, "queued", attempts=3)]}
        third = event(response)
        assert (third["since"], third["patch"]["rows"]["#1"], third["patch"]["rows"]["#2"]["attempts"]) == (2, None, 3)


def test_a_silent_stream_has_a_heartbeat_that_tells_the_edition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.routes._HEARTBEAT_SECONDS", 0.0)
    with Daemon().face() as face, asked(face, "/events") as response:
        event(response)
        beat = event(response)
        assert set(beat) == {"edition", "now"}
        assert beat["edition"] == 1


def test_a_disk_that_hangs_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.aside._SECONDS", 0.2)
    daemon, release = Daemon(), threading.Event()

    def hang(*_: object) -> Any:
        release.wait(120)  # as a mount that is gone

    try:
        with HttpServer("127.0.0.1", 0, None, hang, daemon.trouble, hang) as face:
            for _ in range(8):  # more than there are threads for it
                answer = get(face, "/image/13")
                assert (answer.status, "does a disk hang?" in answer.text) == (503, True)
                assert get(face, "/status.json").status == 503
            with asked(face, "/events") as response:
                assert response.readline() == b"retry: 2000\n"
                assert (get(face, "/livez").status, get(face, "/").status) == (200, 200)
    finally:
        release.set()


def test_streams_are_limited_and_a_client_that_goes_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.routes._MOST_STREAMS", 1)
    with Daemon().face() as face:
        with asked(face, "/events") as response:
            event(response)
            assert get(face, "/events").status == 503
            assert get(face, "/status.json").status == 200
        deadline = time.monotonic() + 60
        while True:
            with asked(face, "/events") as response:
                if response.status == 200:
                    break
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/status.json",
        "/metrics",
        "/events",
        "/image/13",
        "/page.js",
        "/recording/1",
        "/log",
        "/log/1",
        "/picture/1/0",
        "/nothing",
    ],
)
def test_without_the_token_there_is_nothing_to_see(path: str) -> None:
    daemon = Daemon()
    with daemon.face(TOKEN) as face:
        for header in ("", "Bearer", "Bearer ", bearer(TOKEN[:-1]), bearer(TOKEN + "x"), f"Basic {TOKEN[0]}"):
            answer = get(face, path, Authorization=header) if header.isascii() else get(face, path)
            assert answer.status == 401, header
            assert answer.headers["www-authenticate"] == "Bearer"
        assert get(face, f"{path}?token=wrong").status == 401
        assert get(face, path, Cookie=f"streamer_{face.address[1]}=").status == 401
        assert daemon.asked == 0
        assert (get(face, "/livez").status, get(face, "/readyz").status) == (200, 200)


def test_the_token_opens_all_as_bearer() -> None:
    with Daemon().face(TOKEN) as face:
        for path in ("/", "/status.json", "/metrics", "/image/13", "/page.js"):
            assert get(face, path, Authorization=bearer(TOKEN)).status == 200, path


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_and_other_sites_do_not_get() -> None:
    with Daemon().face(TOKEN) as face:
        answer = get(face, f"/?token={quote(TOKEN)}")
        assert (answer.status, answer.headers["location"]) == (303, "./")
        cookie, *attributes = answer.headers["set-cookie"].lower().split("; ")
        assert {"httponly", "samesite=strict", "path=/"} <= set(attributes)
        assert "123" not in cookie.partition("=")[2][:3]
        assert get(face, "/status.json", Cookie=cookie).status == 200
        assert get(face, f"/status.json?token={quote(TOKEN)}").status == 401  # addresses are remembered and logged


def test_a_link_from_elsewhere_is_asked_again_by_the_page_itself() -> None:
    with Daemon().face(TOKEN) as face:
        assert get(face, "/", **{"Sec-Fetch-Site": "cross-site"}).headers["refresh"] == "0; url=./"
        assert "refresh" not in get(face, "/", **{"Sec-Fetch-Site": "same-origin"}).headers


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append(given)
        return given == known

    with Daemon().face("right") as face:
        monkeypatch.setattr(hmac, "compare_digest", compare)
        get(face, "/status.json", Authorization="Bearer wrong", Cookie=f"streamer_{face.address[1]}=old")
        get(face, "/?token=guess")
    assert {b"wrong", b"old", b"guess"} <= set(compared)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9400", "127.0.0.1.evil.example", "[", "10.0.0.7"])
def test_a_foreign_name_that_points_here_is_refused(host: str) -> None:
    with Daemon().face() as face:
        assert get(face, "/status.json", Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9400", "127.0.0.1:1", "127.0.0.2", "[::1]:9400"])
def test_every_name_of_this_machine_is_its_own(host: str) -> None:
    with Daemon().face() as face:
        assert get(face, "/status.json", Host=host).status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.7", "robot.local"])  # noqa: S104 - refused
def test_beyond_this_machine_a_token_is_needed(host: str) -> None:
    with pytest.raises(ConfigError, match="needs a token"):
        Daemon().face(host=host)
    assert Daemon().face(TOKEN, host=host)


def test_an_empty_token_is_none() -> None:
    with pytest.raises(ConfigError, match="empty"):
        Daemon().face(" ")


def test_beyond_this_machine_any_name_will_do() -> None:
    with Daemon().face(TOKEN, host="0.0.0.0") as face:  # noqa: S104 - that is the case
        assert get(face, "/status.json", Host="robot.local", Authorization=bearer(TOKEN)).status == 200


def test_a_port_in_use_and_an_address_of_others_are_told_in_words() -> None:
    with Daemon().face() as face, pytest.raises(ConfigError, match=f"127.0.0.1:{face.address[1]}.*another program"):
        Daemon().face(port=face.address[1]).start()
    with pytest.raises(ConfigError, match="does not have that address"):
        Daemon().face(TOKEN, host="192.0.2.1").start()


@pytest.mark.parametrize("module", ["uvicorn", "starlette", "prometheus_client"])
def test_a_missing_extra_is_named(module: str) -> None:
    use = "from streamer.ingest.http import HttpServer; HttpServer('127.0.0.1', 0, None, None, None, None)"
    code = f"import sys; sys.modules[{module!r}] = None; {use}"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigError" in finished.stderr
    assert "pip install 'rosbag-streamer[watch]'" in finished.stderr


def test_stop_leaves_no_thread_and_no_port_even_with_an_open_stream() -> None:
    before = set(threading.enumerate())
    face = Daemon().face()
    face.start()
    with asked(face, "/events") as response:
        event(response)
        face.stop()  # which would wait for ever for a stream that nobody ends
        assert response.read() == b"\n"  # ended, not cut off
    face.stop()
    assert set(threading.enumerate()) == before
    socket.create_server(face.address).close()


def test_stop_leaves_no_connection_even_where_a_client_does_not_take_its_answer() -> None:
    daemon = Daemon(padding="x" * (32 << 20))  # more than the sockets of both sides hold
    before = psutil.Process().num_fds()
    gc.disable()  # which would close a connection that was left
    try:
        with daemon.face() as face, socket.create_connection(face.address) as client:
            client.sendall(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(4) == b"HTTP"
            face.stop()
        assert psutil.Process().num_fds() == before
    finally:
        gc.enable()


def test_signals_are_left_to_the_daemon() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Daemon().face() as face:
            get(face, "/livez")
            assert handlers == {number: signal.getsignal(number) for number in handlers}
            thread = next(thread for thread in threading.enumerate() if thread.name == "http")
            status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]
    blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
    assert blocked & (1 << (signal.SIGTERM - 1))
