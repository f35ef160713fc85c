"""Processes that are killed or stopped by a signal, at every turn of their lives (simpler: tests/pipeline)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.harness import MISFITS, Config, cursors, let_go, processes, reached, stopped
from tests.pipeline.driver import digests, run, start, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def waiting(name: str, *places: str) -> Config:
    return {"use": f"{MISFITS}Waiting", "options": {"out": f"{name}.json", "places": list(places)}}


@pytest.mark.parametrize("turn", ["standby", "successor", "last"])
def test_a_consumer_that_is_killed_in_a_handover_loses_and_doubles_nothing(
    tmp_path: Path, config: Config, expected: dict[str, Any], turn: str
) -> None:
    """The standby while it stands ready, the successor as it opens, or the old one in its last commit."""
    place = {"standby": "on_chunk 5", "successor": "open 0", "last": "on_chunk 5"}[turn]
    config["consumers"]["a"] = waiting("a", place) | {"recycle": {"chunks": 6}}
    with start(tmp_path, config) as running:
        if turn == "successor":
            wait_until((tmp_path / "a.here").exists, "the first process")
            let_go(tmp_path, "a")
            wait_until(lambda: cursors(tmp_path).get("a", 0) >= 5, "the last chunk before the handover")
            wait_until(lambda: "a.2" in running.children(), "the successor")
            running.children()["a.2"].kill()
        else:
            reached(tmp_path, "a")
            wait_until(lambda: "a.2" in running.children(), "the standby")
            running.children()["a.2" if turn == "standby" else "a.1"].kill()
            let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected
    restarts = finished.report["consumers"]["a"]["restarts"]
    assert restarts["planned"] + restarts["crash"] >= 1
    assert restarts["crash"] <= 1


def test_a_reader_that_is_killed_while_a_commit_is_under_way_is_replaced(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"]["a"] = waiting("a", "on_chunk 7")
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        reader = running.children()["reader"]
        stopped(reader.pid)  # what is committed arrives at a reader that will never read it
        let_go(tmp_path, "a")
        wait_until((tmp_path / "a.left").exists, "the commit")
        reader.kill()
        finished = running.end()
    assert finished.code == 0, finished
    assert "the reader ended (killed by SIGKILL)" in finished.err
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected


@pytest.mark.parametrize(
    "place",
    [
        "on_chunk 4",
        pytest.param("constructor 0", marks=pytest.mark.slow),
        pytest.param("open 0", marks=pytest.mark.slow),
        pytest.param("close 0", marks=pytest.mark.slow),
    ],
)
def test_a_killed_supervisor_takes_everyone_along_and_the_run_can_be_continued(
    tmp_path: Path, config: Config, expected: dict[str, Any], place: str
) -> None:
    config["consumers"]["a"] = waiting("a", place) | {"recycle": {"chunks": 5}}
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not processes(tmp_path), "the end of everyone")
        let_go(tmp_path, "a")
    finished = run(tmp_path, config, "--resume")
    assert finished.code == 0, finished
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected


def test_memory_is_not_used_again_under_a_process_that_is_stopped_however_long(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    """Two are stopped in a callback while another wants every slot; one is ended at its deadline, one goes on then."""
    watching = {name: {"use": f"{MISFITS}Watching", "options": {"out": f"{name}.json", "at": 17}} for name in "ab"}
    config["consumers"] |= watching | {"b": watching["b"] | {"deadline": "1 s"}}
    with start(tmp_path, config) as running:
        patient, late = reached(tmp_path, "a"), reached(tmp_path, "b")
        for pid in (patient, late):
            stopped(pid)
        wait_until(lambda: not psutil.pid_exists(late), "the end of the one that is late")
        let_go(tmp_path, "b")
        wait_until(lambda: cursors(tmp_path).get("digest", 0) >= 3, "the other, which is ahead of them")
        os.kill(patient, signal.SIGCONT)
        (tmp_path / "a.ask").touch()
        wait_until(lambda: not (tmp_path / "a.ask").exists(), "another look at the array")
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert "b: it was silent for" in finished.err
    assert finished.report["consumers"]["a"]["restarts"] == {"planned": 0, "crash": 0}
    assert finished.report["consumers"]["b"]["restarts"]["crash"] >= 1
    for name in "ab":
        assert not (tmp_path / f"{name}.changed").exists()
        assert digests(tmp_path / f"{name}.json") == expected
    assert digests(tmp_path / "digest.json") == expected
