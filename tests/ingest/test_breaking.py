"""A daemon whose folders, files, clients, disk and processes fail: it goes on, or says why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from streamer.errors import StreamerError
from streamer.ingest.control import ask
from tests.faults.harness import processes
from tests.ingest.driver import COMMAND, Watch, command
from tests.ingest.numbered import FRAMES, expected, make, settings
from tests.pipeline.driver import digests, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Config = dict[str, Any]
GATE = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 17}}


@pytest.fixture(autouse=True)
def nobody_left(tmp_path: Path) -> Iterator[None]:
    """Fail a test whose daemons leave a process."""
    yield
    try:
        wait_until(lambda: not processes(tmp_path), "the end of all processes")
    finally:
        for process in processes(tmp_path):
            process.kill()


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def watching(incoming: Path) -> Config:
    return settings(incoming)


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording."""
    return make(tmp_path_factory.mktemp("one") / "one", 1)


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another, as long and with the same stamps."""
    return make(tmp_path_factory.mktemp("two") / "two", 2)


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory, one: Path, two: Path) -> dict[str, Any]:
    """Return the digest of each."""
    return {path.stem: expected(tmp_path_factory.mktemp("truth") / path.stem, path) for path in (one, two)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "8M"):
        yield folder


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 - as it was mounted


def fill(disk: Path) -> Path:
    """Take all of its space."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def drop(recording: Path, folder: Path, name: str) -> Path:
    """Let a recording appear under its name when it is whole."""
    draft = folder / f"{name}.partial"
    shutil.copyfile(recording, draft)
    return draft.rename(folder / name)


def column(folder: Path, name: str) -> list[Any]:
    with closing(sqlite3.connect(folder / ".streamer" / "queue.sqlite")) as queue:
        return [row[0] for row in queue.execute(f"SELECT {name} FROM entries ORDER BY id")]  # noqa: S608 - a test's own


def at_the_gate(folder: Path) -> None:
    wait_until((folder / "here").exists, "the gate")


# how soon


@pytest.mark.slow
def test_a_recording_is_begun_as_soon_as_it_has_settled(
    tmp_path: Path, incoming: Path, watching: Config, one: Path
) -> None:
    """What comes behind `settle` is a start of processes; a plain run has that, too, and is the measure here."""
    watching["consumers"]["all"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "{recording}-all"}}
    watching["source"] |= {"settle": "1 s", "scan": "1 h"}  # so only a hint can be the reason
    plain = watching | {"source": {"path": str(one)}}
    del plain["free_space"]
    began = time.time()
    assert run(tmp_path / "plain", plain).code == 0
    start = first_chunk(tmp_path / "plain" / "one-all") - began
    with Watch(tmp_path, watching) as daemon:
        wait_until(lambda: daemon.status()["last_scan"], "the first look")
        path = drop(one, incoming, "a.bag")
        complete = time.time()
        daemon.wait(a="done")
    assert path.exists()
    assert 1.0 <= first_chunk(tmp_path / "a-all") - complete < 1.0 + 1.0 + 2 * start


def first_chunk(out: Path) -> float:
    return (out / "part-000000.txt").stat().st_mtime


# names and places


@pytest.mark.slow
def test_names_of_any_kind_come_out_and_one_that_is_no_text_is_told(
    tmp_path: Path, incoming: Path, watching: Config, one: Path
) -> None:
    names = ["new\nline", "Straße ü", "quote'\"s", "-rf", "a b", "%s{recording}", "$(id)"]
    for n, name in enumerate(names):
        make(incoming / "draft", 100 + n).rename(incoming / f"{name}.bag")
    drop(one, incoming, os.fsdecode(b"bytes\xff\xfe.bag"))
    with Watch(tmp_path, watching | {"jobs": 2}) as daemon:
        shown = {"new%0Aline", "Straße ü", "quote'\"s", "%2Drf", "a b", "%s{recording}", "$(id)"}
        daemon.wait(**dict.fromkeys(shown, "done"))
        assert {path.stem for path in (tmp_path / "out").iterdir()} == shown
        (warning,) = daemon.status()["warnings"]
        assert "bytes\\xff\\xfe.bag is left out: its name is not UTF-8" in warning
        assert "rename it" in command(tmp_path, "status", "watch.yaml").stdout.replace("\n", " ")
        assert len([line for line in daemon.log() if "is not UTF-8" in line["event"]]) == 1


@pytest.mark.slow
def test_a_folder_that_is_not_mounted_yet_goes_and_comes_back_is_told_and_forgotten_of_nothing(
    tmp_path: Path, watching: Config, one: Path, two: Path
) -> None:
    incoming = tmp_path / "incoming"
    incoming.rmdir()
    with Watch(tmp_path, watching) as daemon:
        wait_until(lambda: daemon.status()["warnings"], "the warning")
        assert f"{incoming} cannot be scanned" in daemon.status()["warnings"][0]
        incoming.mkdir()
        drop(one, incoming, "a.bag")
        daemon.wait(a="done")
        assert daemon.status()["warnings"] == []
        incoming.rename(tmp_path / "elsewhere")
        wait_until(lambda: daemon.status()["warnings"], "the warning")
        (tmp_path / "elsewhere").rename(incoming)
        drop(two, incoming, "b.bag")
        daemon.wait(a="done", b="done")
        assert daemon.one("a")["attempts"] == 1


# what happens to a recording between its being found and its being done


@pytest.mark.slow
def test_a_recording_that_goes_while_it_waits_fails_and_comes_back(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, two: Path, truth: Config
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        at_the_gate(tmp_path)
        drop(two, incoming, "b.bag")
        folder = make(incoming / "draft.tmp", 3, form="mcap")
        (folder / "draft.tmp.mcap").rename(folder / "c_0.mcap")
        (folder / "metadata.yaml").write_text(
            (folder / "metadata.yaml").read_text().replace("draft.tmp.mcap", "c_0.mcap")
        )
        folder.rename(incoming / "c")
        daemon.wait(b="queued", c="queued")
        (incoming / "b.bag").rename(tmp_path / "kept")
        (incoming / "c" / "c_0.mcap").rename(tmp_path / "c_0.mcap")  # its metadata.yaml stays
        (tmp_path / "go").touch()
        daemon.wait(a="done", b="failed", c="failed")
        assert "no longer there" in daemon.one("b")["error"]
        (tmp_path / "kept").rename(incoming / "other name.bag")
        (tmp_path / "c_0.mcap").rename(incoming / "c" / "c_0.mcap")
        daemon.wait(b="done", c="done")
    assert digests(tmp_path / "out" / "b.json") == truth["two"]


@pytest.mark.slow
def test_a_recording_that_goes_while_it_is_read_is_read_to_its_end(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, truth: Config
) -> None:
    watching["consumers"]["gate"] = GATE
    path = drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        at_the_gate(tmp_path)
        path.unlink()
        (tmp_path / "go").touch()
        daemon.wait(a="done")
    assert digests(tmp_path / "out" / "a.json") == truth["one"]


@pytest.mark.slow
def test_what_is_replaced_before_its_reader_opens_it_is_not_taken_for_what_was_found(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, two: Path, truth: Config
) -> None:
    with Watch(tmp_path, watching) as daemon:
        drop(one, incoming, "a.bag")
        wait_until(lambda: psutil.Process(daemon.process.pid).children(), "the pipeline")
        (pipeline,) = psutil.Process(daemon.process.pid).children()
        pipeline.suspend()
        drop(two, incoming, "a.bag")
        pipeline.resume()
        wait_until(lambda: "done" in daemon.states().values(), "the end")
        wait_until(lambda: daemon.events("replaced"), "the new content")
        daemon.wait(a="done")
        assert list(daemon.states()) == ["a"]
    assert digests(tmp_path / "out" / "a.json") == truth["two"]


@pytest.mark.slow
def test_a_retry_does_not_read_one_recording_under_the_name_of_another(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, two: Path
) -> None:
    drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
        drop(two, incoming, "a.bag")
        daemon.wait(**{"a": "done", "a-2": "done"})
        refused = command(tmp_path, "retry", "watch.yaml", "#1")
        assert refused.returncode == 64
        assert "another recording lies at" in refused.stderr
        assert "queued" in command(tmp_path, "retry", "watch.yaml", "a-2").stdout


# processes


@pytest.mark.slow
def test_every_process_may_be_killed_and_the_output_is_the_same(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, truth: Config
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        for title in ("gate.1", "reader", "pipeline"):
            at_the_gate(tmp_path)
            (tmp_path / "here").unlink()
            children = psutil.Process(daemon.process.pid).children(recursive=True)
            next(child for child in children if title in child.cmdline()).kill()
        at_the_gate(tmp_path)
        (tmp_path / "go").touch()
        daemon.wait(a="done")
    assert digests(tmp_path / "out" / "a.json") == truth["one"]


@pytest.mark.slow
def test_an_isolated_consumer_that_fails_costs_its_own_output_and_is_told(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, truth: Config
) -> None:
    watching["consumers"]["bad"] = {
        "use": "tests.pipeline.probes:Faulty",
        "options": {"how": "raise"},
        "on_failed": "isolate",
    }
    drop(one, incoming, "a.bag")
    watching["source"]["attempts"] = 2
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="quarantined")
        assert "bad" in daemon.one("a")["error"]
    assert digests(tmp_path / "out" / "a.json") == truth["one"]


@pytest.mark.slow
def test_to_be_stopped_at_once_is_no_death_of_the_recording(
    tmp_path: Path, incoming: Path, watching: Config, one: Path
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        at_the_gate(tmp_path)
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.status()["state"] == "draining", "the first signal")
        assert daemon.end() == 0
    assert column(tmp_path, "state") == ["queued"]
    assert column(tmp_path, "deaths") == [0]
    assert column(tmp_path, "attempts") == [0]


@pytest.mark.slow
def test_a_clock_that_is_set_back_does_not_put_off_the_next_attempt_for_a_year(
    tmp_path: Path, incoming: Path, watching: Config, one: Path
) -> None:
    drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
        daemon.end()
    with closing(sqlite3.connect(tmp_path / ".streamer" / "queue.sqlite", isolation_level=None)) as queue:
        queue.execute("UPDATE entries SET state = 'failed', next_try = ?", [time.time() + 3e7])
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")


# what the daemon itself stands on


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("PRAGMA user_version = 99", "newer version"),
        ("garbage", "not a database"),
    ],
)
def test_a_queue_that_cannot_be_read_is_an_error_that_says_what_to_do(
    tmp_path: Path, watching: Config, harm: str, says: str
) -> None:
    with Watch(tmp_path, watching) as daemon:
        daemon.end()
    path = tmp_path / ".streamer" / "queue.sqlite"
    if harm == "garbage":
        path.write_bytes(b"garbage" * 4096)
    else:
        with closing(sqlite3.connect(path)) as queue:
            queue.execute(harm)
    finished = command(tmp_path, "watch", "watch.yaml")
    assert finished.returncode == 74
    assert says in finished.stderr
    assert str(path) in finished.stderr
    assert says != "not a database" or "move it aside" in finished.stderr


def test_a_work_folder_that_cannot_be_made_is_an_error_before_anything_starts(tmp_path: Path, watching: Config) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "watch.yaml").write_text(json.dumps(watching | {"workdir": "file/work"}))
    finished = command(tmp_path, "watch", "watch.yaml")
    assert finished.returncode == 73
    assert "cannot be written" in finished.stderr


@pytest.mark.slow
def test_an_output_on_a_full_disk_is_tried_until_there_is_space_and_is_nobodys_fault(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, truth: Config, small_disk: Path
) -> None:
    watching["consumers"]["digest"]["options"]["out"] = str(small_disk / "{recording}.json")
    watching["free_space"] = "1 B"
    watching["consumers"]["gate"] = GATE
    drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        at_the_gate(tmp_path)
        ballast = fill(small_disk)
        (tmp_path / "go").touch()
        wait_until(lambda: daemon.status()["paused"] or daemon.one("a")["error"], "the full disk")
        wait_until(lambda: daemon.events("failed"), "a failure")
        assert daemon.one("a")["attempts"] == 0
        ballast.unlink()
        daemon.wait(a="done")
    assert digests(small_disk / "a.json") == truth["one"]


@pytest.mark.slow
def test_a_work_folder_on_a_full_disk_ends_the_daemon_and_the_next_goes_on(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, truth: Config, small_disk: Path
) -> None:
    watching |= {"workdir": str(small_disk / "work"), "free_space": "1 B"}
    (tmp_path / ".streamer").symlink_to(small_disk / "work")  # where the driver asks
    with Watch(tmp_path, watching) as daemon:
        ballast = fill(small_disk)
        drop(one, incoming, "a.bag")
        assert daemon.process.wait(60) == 74
    assert "queue.sqlite: the ledger cannot be used: database or disk is full" in (tmp_path / "daemon.log").read_text()
    ballast.unlink()
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
    assert digests(tmp_path / "out" / "a.json") == truth["one"]


@pytest.mark.slow
def test_what_cannot_be_filed_is_filed_when_it_can(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, small_disk: Path
) -> None:
    watching["source"] |= {"after": "move", "move_to": str(small_disk / "archive")}
    ballast = fill(small_disk)
    path = drop(one, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until(lambda: any("No space left" in text for text in daemon.status()["warnings"]), "the warning")
        assert path.exists()
        ballast.unlink()
        wait_until(lambda: daemon.events("filed"), "the filing")
        assert not path.exists()
        assert daemon.status()["warnings"] == []
    assert (small_disk / "archive" / "a.bag").read_bytes() == one.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "2>&1 | true"])
def test_a_log_that_cannot_be_written_does_not_end_the_daemon(
    tmp_path: Path, incoming: Path, watching: Config, one: Path, stderr: str
) -> None:
    (tmp_path / "watch.yaml").write_text(json.dumps(watching))
    line = f'"$@" {stderr}'
    with subprocess.Popen(["sh", "-c", line, "sh", *COMMAND, "watch", "watch.yaml"], cwd=tmp_path) as shell:  # noqa: S607
        drop(one, incoming, "a.bag")
        wait_until((tmp_path / "out" / "a.json").exists, "the output")
        ask(tmp_path / ".streamer", "drain")
        shell.wait(60)
        wait_until(lambda: column(tmp_path, "state") == ["done"], "the end")


# clients


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_", [b"{}", b"7", b"null", b"[" * 60_000, b'{"verb": "retry"}', b'{"verb": "retry", "what": 7}', b"\xff"]
)
def test_no_request_ends_the_daemon(tmp_path: Path, watching: Config, request_: bytes) -> None:
    with Watch(tmp_path, watching) as daemon:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / ".streamer" / "control.sock"))
            client.sendall(request_ + b"\n")
            assert json.loads(client.makefile().readline())["ok"] is False
        assert daemon.status()["state"] == "watching"


def test_clients_that_do_not_speak_or_do_not_listen_hold_nobody_up(
    tmp_path: Path, incoming: Path, watching: Config
) -> None:
    for n in range(400):  # so that an answer is larger than the kernel keeps for a client
        (incoming / f"{n:0200}.bag").write_bytes(b"x" * n)
    with Watch(tmp_path, watching) as daemon:
        wait_until(lambda: len(daemon.status()["recordings"]) == 400, "the files")
        dead = [socket.socket(socket.AF_UNIX) for _ in range(6)]
        for number, client in enumerate(dead):
            client.connect(str(tmp_path / ".streamer" / "control.sock"))
            client.sendall(b'{"verb": "status"}\n' if number % 2 else b'{"verb": "sta')
        began = time.monotonic()
        for _ in range(5):
            daemon.status()
        assert time.monotonic() - began < 5.0  # the patience with one of them
        for client in dead:
            client.close()
        assert daemon.status()["state"] == "watching"


@pytest.mark.slow
def test_a_configuration_that_watches_nothing_does_not_replace_one_that_does(
    tmp_path: Path, incoming: Path, watching: Config, one: Path
) -> None:
    with Watch(tmp_path, watching) as daemon:
        for key, value in (("source", {"path": str(one)}), ("workdir", "other")):
            changed = watching | {key: value}
            if key == "source":
                del changed["free_space"]
            daemon.write(changed)
            daemon.process.send_signal(signal.SIGHUP)
            wait_until(lambda: any("old one stays" in line["event"] for line in daemon.log()), "the refusal")
        with pytest.raises(StreamerError, match="cannot change while the daemon runs"):
            ask(tmp_path / ".streamer", "reload")
        second = tmp_path / "second"
        second.mkdir()
        daemon.write(watching | {"source": watching["source"] | {"watch": [str(incoming), str(second)]}})
        assert "read again" in ask(tmp_path / ".streamer", "reload")["text"]
        drop(one, second, "a.bag")
        daemon.wait(a="done")
        assert daemon.one("a")["frames"] == FRAMES
