"""Pipes, mounts that hang, folders without end: what is odd costs itself, and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer.cli.watch import _checked
from streamer.errors import BusyError, ConfigError
from streamer.ingest.proof import unfinished
from streamer.ingest.scan import Candidate, scan
from streamer.ingest.sights import Sights
from streamer.ingest.watcher import Watcher
from tests.ingest.numbered import make
from tests.pipeline.driver import ROOT, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def put(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
@pytest.mark.parametrize("place", ["x.bag", "run/metadata.yaml", "data"])
def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path, kind: str, place: str) -> None:
    (data,) = make(tmp_path / "run", 1, form="mcap").glob("*.mcap")
    good = make(tmp_path / "good", 2)
    path = data if place == "data" else tmp_path / place
    path.unlink(missing_ok=True)
    put(kind, path)
    sights = Sights(10.0)
    for now in (0.0, 10.0):
        sights.take(scan([tmp_path], ["*"]), now)
    states = {sight.candidate.path: sight.state for sight in sights.all}
    assert states.pop(good) == "settled"
    if place == "x.bag":
        assert states == {tmp_path / "run": "settled"}
    else:
        assert "settled" not in states.values()


def test_a_listed_file_that_is_a_pipe_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    (data,) = folder.glob("*.mcap")
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(OSError, match="it is a named pipe, not a regular file"):
        unfinished(folder)


def test_folders_are_scanned_however_deep_they_are(tmp_path: Path) -> None:
    depth = 1500
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (tmp_path / "z.bag").touch()
    try:
        assert [candidate.path.name for candidate in scan([tmp_path], ["*"])] == ["z.bag"]
    finally:  # Python's own removal goes down folder by folder
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # noqa: S607 - the system's


def test_a_file_that_is_listed_again_and_again_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    (data,) = folder.glob("*.mcap")
    lines = "\n".join(f"  - {data.name}" for _ in range(20_000))
    (folder / "metadata.yaml").write_text(f"rosbag2_bagfile_information:\n  relative_file_paths:\n{lines}\n")
    reads: list[Path] = []
    monkeypatch.setattr("streamer.ingest.proof._unfinished_file", reads.append)
    assert unfinished(folder) is None
    assert reads == [data]


def test_a_mount_that_hangs_costs_itself_until_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.watcher._STUCK_SECONDS", 0.2)
    dead, answers = tmp_path / "dead", threading.Event()
    dead.mkdir()
    (dead / "a.bag").touch()
    (tmp_path / "b.bag").touch()

    def slow(stuck: Collection[Path], at: Callable[[Path], object]) -> list[Candidate]:
        def arrive(path: Path) -> None:
            at(path)
            if path == dead:
                answers.wait()

        return scan([tmp_path], ["*"], stuck, at=arrive)

    watcher = Watcher([tmp_path], slow, Sights(60.0), 0.05, lambda: None)
    watcher.start()

    def names() -> set[str]:
        watcher.look_after()
        return {sight.candidate.path.name for sight in watcher.sights}

    try:
        wait_until(lambda: names() == {"b.bag"}, "the recording that can be read")
        assert watcher.stuck == (dead,)
        answers.set()
        wait_until(lambda: names() == {"a.bag", "b.bag"}, "both")
        assert not watcher.stuck
    finally:
        answers.set()
        watcher.stop()


def _is_full(watcher: Watcher) -> bool:
    watcher.look_after()
    return bool(watcher.problem) and len(watcher.stuck) == 8


def test_no_more_threads_are_left_behind_than_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.ingest.watcher._STUCK_SECONDS", 0.0)
    answers = threading.Event()

    def dead(_: Collection[Path], at: Callable[[Path], object]) -> list[Candidate]:
        at(tmp_path)
        answers.wait()
        return []

    watcher = Watcher([tmp_path], dead, Sights(60.0), 0.05, lambda: None)
    watcher.start()
    try:
        wait_until(lambda: _is_full(watcher), "the limit")
        watcher.look_after()
        assert len(watcher.stuck) == 8
        assert "does its mount hang?" in watcher.problem
    finally:
        answers.set()
        watcher.stop()


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        ("kill -KILL $$", BusyError),
        ("kill -TERM $$", BusyError),
        ("exit 75", BusyError),
        ("kill -SEGV $$", ConfigError),
        ("echo broken >&2; exit 1", ConfigError),
    ],
)
def test_a_check_that_somebody_ended_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str, error: type[Exception]
) -> None:
    config = tmp_path / "watch.yaml"
    config.write_text(
        "source: {watch: .}\nstreams: {a: {topic: /a}}\ntimeline: {from: a}\nconsumers: {c: {use: 'null'}}\n"
    )
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{ends}\n")
    fake.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(fake))
    with pytest.raises(error, match="could not be checked"):
        _checked(config, [])


WATCH = """
import logging, sys
import streamer.ingest.watcher as module
from pathlib import Path
from streamer.ingest.scan import scan
from streamer.ingest.sights import Sights
from streamer.ingest.watcher import Watcher
from tests.pipeline.driver import wait_until

module._REPORT_SECONDS = 1
said = []
class Handler(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())

logging.getLogger("streamer").addHandler(Handler())
folder = Path(sys.argv[1])
watcher = Watcher([folder], lambda *_: scan([folder], ["*"]), Sights(60.0), 0.1, lambda: None)
watcher.start()
wait_until(lambda: said, "the warning")
(folder / "a.bag").touch()
wait_until(lambda: watcher.sights, "the recording")
looks = watcher.looks
wait_until(lambda: watcher.looks > looks + 5, "more scans")
print(len(said), said[0])
watcher.stop()
"""


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_where_the_kernel_reports_no_more_changes_the_scans_go_on(tmp_path: Path, limit: str) -> None:
    (tmp_path / "below").mkdir()
    script = f"echo 0 > /proc/sys/user/{limit} && exec {sys.executable} -c '{WATCH}' {tmp_path}"
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", script],  # noqa: S607 - the system's
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip("takes a user namespace of its own")
    assert done.stdout.startswith(("1 changes are not", "1 not all changes are")), done.stderr
    assert "a scan every 0.1 s finds them" in done.stdout
