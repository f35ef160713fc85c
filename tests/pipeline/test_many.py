"""Many recordings side by side: each is streamed once, whatever fails, is killed or stopped on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamer.errors import ConfigError, RecordingError
from streamer.supervisor.report import Report, Streamed
from tests.faults.harness import processes, what_is_left
from tests.pipeline.driver import Finished, Run, digests, run, start, wait_until
from tests.pipeline.takes import GATED, NAMES, SECONDS, at_the_gate, damaged, gated, open_gate, status

if TYPE_CHECKING:
    import psutil

Config = dict[str, Any]


@pytest.fixture
def many(takes: Path) -> Config:
    """Return a configuration over all three, with a checksum each and a list that they share."""
    return {
        "source": {"path": str(takes)},
        "timeline": {"from": "camera"},
        "chunk_size": 5,
        "pool": "100 kB",  # ten frames: nobody is far ahead of a gate
        "jobs": 2,
        "streams": {"camera": {"topic": "/camera_0/image_raw/compressed"}},
        "consumers": {
            "digest": {"use": "checksum", "options": {"out": "{recording}.json"}},
            "list": {"use": "tests.pipeline.probes:Merger", "options": {"out": "list"}},
        },
    }


def frames(name: str) -> int:
    return round(SECONDS[name] * 30)


def listed(folder: Path) -> list[str]:
    return (folder / "list" / "merged.txt").read_text().splitlines()


def written(folder: Path) -> dict[str, Any]:
    return {name: digests(folder / f"{name}.json") for name in NAMES}


def states(finished: Finished) -> list[str]:
    return [recording["state"] for recording in finished.report["recordings"]]


def announced(running: Run, name: str) -> bool:
    return f"{name}: stopping" in running.said()


def pipelines(folder: Path) -> list[psutil.Process]:
    """Return the living supervisors of pipelines."""
    return [p for p in processes(folder) if p.name() == "pipeline"]


@pytest.fixture(scope="module")
def expected(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the digests of each recording streamed alone."""
    folder = tmp_path_factory.mktemp("alone")
    for name in NAMES:
        config = {
            "source": {"path": str(takes / f"{name}.bag")},
            "timeline": {"from": "camera"},
            "streams": {"camera": {"topic": "/camera_0/image_raw/compressed"}},
            "consumers": {"digest": {"use": "checksum", "options": {"out": "{recording}.json"}}},
        }
        assert run(folder, config).code == 0
    return written(folder)


def test_recordings_side_by_side_give_what_each_gives_alone_in_the_order_of_the_configuration(
    tmp_path: Path, many: Config, expected: dict[str, Any]
) -> None:
    with start(tmp_path, gated(many, tmp_path, ["take-0"]), "--json-lines") as running:  # it is the last to end
        at_the_gate(tmp_path, "take-0")
        wait_until(lambda: status(tmp_path).get("recordings", {}).get("done") == 2, "the others")
        assert list(status(tmp_path)["running"]) == ["take-0"]
        with Run(tmp_path, "top", "--once") as top:
            shown = top.end()
        with Run(tmp_path, "top", "--once", "--json") as top:
            everything = json.loads(top.end().out)
        mine = [Path(run["workdir"]) for run in everything if Path(run["workdir"]).is_relative_to(tmp_path)]
        assert mine == [tmp_path / ".streamer"]  # and not each of its pipelines once more
        assert "2/3 recordings, 1 running" in shown.out
        assert "take-0" in shown.out
        open_gate(tmp_path, "take-0")
        finished = running.end()
    assert finished.code == 0, finished
    assert written(tmp_path) == expected
    assert [Path(r["path"]).stem for r in finished.report["recordings"]] == NAMES
    assert finished.report["frames"]["delivered"] == sum(map(frames, NAMES))
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES]
    assert (tmp_path / "list" / "take-0.part").read_text() == "True"
    events = [json.loads(line) for line in finished.out.splitlines()]
    assert {e["recording"] for e in events if e["event"] == "planned"} == set(NAMES)
    last = [e for e in events if e["event"] == "progress"][-1]
    assert last["recordings"] == {"all": 3, "done": 3, "failed": 0, "running": 0}
    assert last["frames"]["done"] == last["frames"]["all"] == events[-1]["delivered"]


def test_a_finished_batch_to_which_a_recording_is_added_streams_that_one_until_something_else_is_asked_for(
    tmp_path: Path, many: Config, takes: Path, expected: dict[str, Any]
) -> None:
    (tmp_path / "bags").mkdir()
    many["source"]["path"] = str(tmp_path / "bags")
    for name in NAMES[1:]:
        shutil.copy(takes / f"{name}.bag", tmp_path / "bags")
    assert run(tmp_path, many).code == 0
    before = (tmp_path / "take-1.json").stat().st_mtime_ns
    shutil.copy(takes / "take-0.bag", tmp_path / "bags")
    added = run(tmp_path, many)
    assert added.code == 0, added
    assert "✓ 1 of 3 recordings: 30 frames" in added.out
    assert "  2 were done in an earlier run (--again does it again)" in added.out
    assert (tmp_path / "take-1.json").stat().st_mtime_ns == before
    assert written(tmp_path) == expected
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES]
    shutil.copy(takes / "take-0.bag", tmp_path / "bags" / "take-3.bag")
    many["streams"]["camera"]["color"] = "gray"
    other = run(tmp_path, many)
    assert other.code == 0, other
    assert states(other) == ["done"] * 4


def test_a_recording_that_fails_stops_no_other_and_comes_in_at_its_place_once_it_is_mended(
    tmp_path: Path, many: Config, takes: Path, expected: dict[str, Any]
) -> None:
    many["source"]["path"] = str(damaged(takes, tmp_path / "bags"))
    finished = run(tmp_path, many)
    assert finished.code == 65, finished
    assert states(finished) == ["done", "failed", "done"]
    assert "take-1.bag" in finished.report["recordings"][1]["error"]
    assert "✗ 3 recordings (2 done, 1 failed): " in finished.out
    assert "--resume" in finished.out
    assert "2 of 3 recordings are merged" in finished.err
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES if name != GATED]
    before = (tmp_path / "take-0.json").stat().st_mtime_ns
    (tmp_path / "bags" / "take-1.bag").write_bytes((takes / "take-1.bag").read_bytes())
    mended = run(tmp_path, many)
    assert mended.code == 0, mended
    assert "  2 were done in an earlier run (" in mended.out
    assert (tmp_path / "take-0.json").stat().st_mtime_ns == before
    assert written(tmp_path) == expected
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES]


def test_keep_going_can_be_turned_off(tmp_path: Path, many: Config, takes: Path) -> None:
    many["source"]["path"] = str(damaged(takes, tmp_path / "bags"))
    finished = run(tmp_path, many, "jobs=1", "keep_going=false")
    assert finished.code == 65, finished
    assert states(finished) == ["done", "failed", "waiting"]
    assert "no further recording is begun" in finished.err
    assert not (tmp_path / "take-2.json").exists()


def test_the_first_error_in_the_order_of_the_configuration_gives_the_exit_code() -> None:
    found = Report("config.yaml")
    for state, error in (("done", None), ("failed", RecordingError("cut off")), ("failed", ConfigError("no topic"))):
        found.add(Streamed(Path("a.bag"), state, {}, error))
    assert found.exit_code == 65


def test_a_killed_pipeline_goes_on_from_its_last_commit(tmp_path: Path, many: Config, expected: dict[str, Any]) -> None:
    many["consumers"]["all"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "all/{recording}"}}
    with start(tmp_path, gated(many, tmp_path)) as running:
        at_the_gate(tmp_path)
        calls = tmp_path / "all" / GATED / "calls.txt"
        wait_until(lambda: calls.exists() and "chunk 0" in calls.read_text(), "the first commit")
        wait_until(lambda: status(tmp_path).get("recordings", {}).get("done") == 2, "the others")
        (victim,) = pipelines(tmp_path)
        open_gate(tmp_path)
        victim.kill()
        finished = running.end()
    assert finished.code == 0, finished
    assert "it is begun again" in finished.err
    assert calls.read_text().count("chunk 0") == 1
    assert written(tmp_path) == expected
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES]
    assert what_is_left(tmp_path) == []


@pytest.mark.parametrize("stops", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_drains_all_and_a_second_stops_now(
    tmp_path: Path, many: Config, expected: dict[str, Any], stops: int
) -> None:
    with start(tmp_path, gated(many, tmp_path, ["take-0", "take-1"])) as running:
        for name in ("take-0", "take-1"):
            at_the_gate(tmp_path, name)
        running.signal(signal.SIGINT)
        for name in ("take-0", "take-1"):
            wait_until(partial(announced, running, name), "the announcement")
        if stops == 1:
            open_gate(tmp_path, "take-0")
            open_gate(tmp_path, "take-1")
        else:
            running.signal(signal.SIGINT)
        finished = running.end()
    assert finished.code == 75, finished
    assert states(finished) == ["interrupted", "interrupted", "waiting"]
    committed = [recording["frames"]["delivered"] for recording in finished.report["recordings"]]
    assert max(committed) <= 15  # the gate's chunk, and the next where its first frames were on their way
    assert min(committed[:2]) >= 10 or stops == 2
    assert not (tmp_path / "list" / "merged.txt").exists()
    assert what_is_left(tmp_path) == []
    if stops == 1:
        resumed = run(tmp_path, many, "--resume")
        assert resumed.code == 0, resumed
        assert written(tmp_path) == expected


def test_a_merging_process_that_is_killed_from_outside_is_started_again(
    tmp_path: Path, many: Config, expected: dict[str, Any]
) -> None:
    many["consumers"]["list"]["use"] = "tests.pipeline.probes:Merging"
    merging = tmp_path / "list" / "merging"
    with start(tmp_path, many) as running:
        wait_until(merging.exists, "the merging")
        first = int(merging.read_text())
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: int(merging.read_text()) != first, "another")
        (tmp_path / "list" / "go").touch()
        finished = running.end()
    assert finished.code == 0, finished
    assert "list: its merging process was killed by SIGKILL; it is started again" in finished.err
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES]
    assert written(tmp_path) == expected


def test_a_killed_driver_takes_all_with_it_and_the_next_does_what_is_missing(
    tmp_path: Path, many: Config, expected: dict[str, Any]
) -> None:
    with start(tmp_path, gated(many, tmp_path)) as running:
        at_the_gate(tmp_path)
        wait_until(lambda: status(tmp_path).get("recordings", {}).get("done") == 2, "the others")
        running.signal(signal.SIGKILL)
        running.process.wait()
        wait_until(lambda: processes(tmp_path) == [], "the end of all")
    open_gate(tmp_path)
    resumed = run(tmp_path, gated(many, tmp_path), "--resume")
    assert resumed.code == 0, resumed
    assert "  2 were done in an earlier run (" in resumed.out
    assert written(tmp_path) == expected
    assert listed(tmp_path) == [f"{name} {frames(name)}" for name in NAMES]


@pytest.mark.parametrize(("memory", "most"), [("700 MB", 2), pytest.param("100 MB", 1, marks=pytest.mark.slow)])
def test_no_more_run_at_once_than_the_memory_allows(tmp_path: Path, many: Config, memory: str, most: int) -> None:
    many |= {"jobs": 3, "memory": memory, "consumers": {}}
    with start(tmp_path, gated(many, tmp_path, NAMES)) as running:
        for name in NAMES[:most]:
            at_the_gate(tmp_path, name)
        assert len(pipelines(tmp_path)) == most
        for name in NAMES:
            open_gate(tmp_path, name)
        finished = running.end()
    assert finished.code == 0, finished
    assert ("one runs at a time" in finished.err) == (most == 1)


def test_parts_of_a_run_are_merged_by_hand(tmp_path: Path, many: Config) -> None:
    many["consumers"] = {"list": many["consumers"]["list"]}
    many["consumers"]["list"]["options"]["fails"] = "wet"
    for index in (1, 0):
        finished = run(tmp_path, many, "--only", f"{index}/2")
        assert finished.code == 0, finished
        assert not (tmp_path / "list" / "merged.txt").exists()
        with Run(tmp_path, "merge", "config.yaml") as merging:
            merged = merging.end()
        assert merged.code == 0, merged
        assert listed(tmp_path) == [f"{name} {frames(name)}" for name in (NAMES[1::2] if index == 1 else NAMES)]
        (tmp_path / "list" / "merged.txt").unlink()
    (tmp_path / "wet").touch()
    with Run(tmp_path, "merge", "config.yaml") as merging:
        failed = merging.end()
    assert failed.code == 70
    assert "consumer list: merge raised ValueError: the parts do not fit" in failed.err
    assert run(tmp_path, many, "--only", "7/8").code == 0  # there are not so many
    assert run(tmp_path, many, "--only", "2/2").code == 64
