"""While a run goes on and after it: progress for machines, `streamer top`, `streamer report`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import psutil

from streamer.runtime.messages import Position, Progress
from streamer.supervisor.status import Pace
from tests.pipeline.driver import Finished, Run, run, start, wait_until

Config = dict[str, Any]


def command(folder: Path, *arguments: str) -> Finished:
    with Run(folder, *arguments) as running:
        return running.end()


def look(folder: Path) -> Any:
    finished = command(folder, "top", ".streamer", "--once", "--json")
    assert finished.code == 0, finished
    return json.loads(finished.out)


def test_top_shows_where_a_running_pipeline_stands_and_for_whom_it_waits(tmp_path: Path, config: Config) -> None:
    config["consumers"]["gate"] = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 12}}
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists, "the gate")
        wait_until(lambda: look(tmp_path).get("waits_for") == "gate", "the others")
        found = look(tmp_path)
        assert (found["state"], found["number"], found["of"]) == ("streaming", 1, 1)
        assert found["frames"]["all"] == 40
        assert found["frames"]["done"] < 40
        assert found["consumers"]["gate"]["holds"] > 0
        assert found["consumers"]["gate"]["phase"] == "active"
        assert found["pool"]["in_use"] > 0
        shown = command(tmp_path, "top", "--once")
        assert "config.yaml: streaming" in shown.out
        assert "waits for gate" in shown.out
        running.signal(signal.SIGKILL)
        running.process.wait()
        assert look(tmp_path)["state"] == "gone"


def test_top_without_an_argument_shows_every_running_pipeline_and_none_that_was_killed(
    tmp_path: Path, config: Config
) -> None:
    config["consumers"]["gate"] = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 12}}
    folders = [tmp_path / name for name in ("one", "two three", "killed")]

    def shown() -> dict[Path, dict[str, Any]]:
        found = json.loads(command(tmp_path, "top", "--once", "--json").out)  # others of this machine may run, too
        return {Path(p["workdir"]).parent: p for p in found if Path(p["workdir"]).is_relative_to(tmp_path)}

    with start(folders[0], config), start(folders[1], config), start(folders[2], config) as killed:
        for folder in folders:
            wait_until((folder / "here").exists, "the gate")
        wait_until(lambda: set(shown()) == set(folders), "all of them")
        killed.signal(signal.SIGKILL)
        killed.process.wait()
        found = shown()
        assert set(found) == set(folders[:2])
        assert all(pipeline["state"] == "streaming" for pipeline in found.values())
        tables = command(tmp_path, "top", "--once").out
        assert all(f"{folder}/config.yaml: streaming" in tables for folder in folders[:2])
    assert not shown()


def test_top_shows_of_a_pipeline_of_another_version_what_it_understands(tmp_path: Path) -> None:
    mine = psutil.Process()
    status = {"pid": mine.pid, "began": mine.create_time(), "state": "watching", "config": "c.yaml", "frames": 3}
    (tmp_path / "status.json").write_text(json.dumps(status))
    with (tmp_path / "lock").open("w"):  # as a supervisor holds it
        shown = command(tmp_path, "top", "--once")
    assert shown.code == 0, shown
    assert f"c.yaml: watching    process {mine.pid}" in shown.out


def test_json_lines_tell_the_plan_the_progress_and_the_end(tmp_path: Path, config: Config) -> None:
    config["consumers"]["digest"]["recycle"] = {"chunks": 2}
    finished = run(tmp_path, config, "--json-lines")
    assert finished.code == 0, finished
    events = [json.loads(line) for line in finished.out.splitlines()]
    assert [e["event"] for e in events if e["event"] != "progress"] == ["planned", "end"]
    assert events[0]["frames"] == 40
    last = [e for e in events if e["event"] == "progress"][-1]
    assert (last["frames"]["done"], last["consumers"]["digest"]["recycled"]) == (40, 3)
    assert (events[-1]["exit_code"], events[-1]["delivered"]) == (0, 40)
    assert finished.err == ""
    ended = look(tmp_path)
    assert (ended["state"], ended["exit_code"]) == ("ended", 0)


def test_report_says_again_what_a_run_said_that_was_asked_to_say_more(tmp_path: Path, config: Config) -> None:
    finished = run(tmp_path, config, "-v")
    assert finished.code == 0, finished
    again = command(tmp_path, "report")
    assert again.code == 0
    tables = finished.out.split("✓ ")[0].strip().splitlines()
    assert len(tables) >= 8
    assert set(tables) <= set(again.out.splitlines())
    assert json.loads(command(tmp_path, "report", ".streamer/report.json", "--json").out) == finished.report
    config["streams"]["camera"]["topic"] = "/gone"
    assert run(tmp_path, config, "--restart").code == 78
    failed = command(tmp_path, "report", ".streamer")
    assert failed.code == 78
    assert "/gone" in failed.out


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path: Path) -> None:
    for arguments in (("top", ".streamer", "--once"), ("report",)):
        refused = command(tmp_path, *arguments)
        assert refused.code == 64
        assert ".streamer" in refused.err


def test_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    pace.planned(1000, slots=9, slot_size=100)

    def say(reached: int, now: float, silent: float) -> dict[str, Any]:
        consumers = {"a": Position(reached + 5, 0, 0, 0.0), "b": Position(reached, 0, 0, silent)}
        return pace.take(Progress(consumers, reached, slots=3, allocated=9, bytes=100 * reached, anon=1), now)

    assert say(0, 0.0, 0.0)["seconds_left"] is None
    for second in range(1, 21):
        found = say(10 * second if second < 10 else 90 + 50 * (second - 9), float(second), 0.1)
    assert found["frames"] == {"done": 640, "all": 1000, "per_second": 50.0}
    assert found["seconds_left"] == 7.2
    assert found["bytes_per_second"] == 5000
    assert found["waits_for"] == "b"
    assert found["consumers"]["b"]["behind"] == 5
