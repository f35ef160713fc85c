"""A frame that ends its consumer each time: named, or left out with its traceback while all others arrive once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import MISFITS, Config, asked, reached
from tests.pipeline.driver import digests, run, start, wait_until
from tests.pipeline.probes import Recorder

if TYPE_CHECKING:
    from pathlib import Path

WAYS = {"raise": "upside down", "kill": "its own code sent it SIGKILL", "segfault": "killed by SIGSEGV"}


def numbers(name: str, how: str, at: list[int], **settings: object) -> Config:
    return {"use": f"{MISFITS}Numbers", "options": {"out": name, "at": at, "how": how}} | settings


def test_a_frame_that_kills_is_quarantined_with_its_traceback_and_all_others_arrive_once(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    at = {name: [17] for name in WAYS} | {"two": [16, 18], "ends": [0, 59], "thin": [16, 17]}
    config["consumers"] |= {
        name: numbers(name, name if name in WAYS else "raise", frames, on_error="quarantine")
        for name, frames in at.items()
    }
    config["consumers"]["thin"]["every"] = 4
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    for name, bad in at.items():
        told = finished.report["consumers"][name]
        wanted = range(0, 60, 4) if name == "thin" else range(60)
        left_out = [frame for frame in bad if frame in wanted]
        assert Recorder.read(tmp_path / name) == [frame for frame in wanted if frame not in left_out], name
        assert [q["frame"] for q in told["quarantined"]] == left_out
        assert told["frames"] == len(wanted) - len(left_out)
        for entry in told["quarantined"]:
            assert WAYS.get(name, "upside down") in entry["reason"]
            assert ("in on_frame" in entry["trace"]) == (name != "segfault")
            lines = [line for line in finished.err.splitlines() if line.startswith(f"consumer {name}: ")]
            assert any(f"frame {entry['frame']} is quarantined" in line for line in lines), finished
    crashes = {name: finished.report["consumers"][name]["restarts"]["crash"] for name in at}
    late = 1  # a commit of which the reader hears behind the end of its process: the chunk is done again
    assert 3 <= crashes["raise"] <= 3 + late
    assert 4 <= crashes["two"] <= 4 + late  # in one chunk: the second is known at once
    assert digests(tmp_path / "digest.json") == expected


@pytest.mark.slow
def test_one_that_dies_at_every_frame_is_given_up(tmp_path: Path, config: Config, expected: dict[str, Any]) -> None:
    config["consumers"]["all"] = numbers("all", "raise", list(range(60)), on_error="quarantine", on_failed="isolate")
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    hopeless = finished.report["consumers"]["all"]
    assert "20 frames are quarantined already" in hopeless["failed"]
    assert 20 <= len(hopeless["quarantined"]) <= 21
    assert digests(tmp_path / "digest.json") == expected


def test_without_quarantine_the_frame_is_named(tmp_path: Path, config: Config, expected: dict[str, Any]) -> None:
    config["consumers"] |= {name: numbers(name, name, [17], on_failed="isolate") for name in WAYS}
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    for name, why in WAYS.items():
        told = finished.report["consumers"][name]
        assert why in told["failed"]
        assert "failures, at frame 17)" in told["failed"]
        assert 3 <= told["restarts"]["crash"] <= 5  # a commit may be lost with its process, and is repeated
        assert told["quarantined"] == []
        assert Recorder.read(tmp_path / name) == list(range(15))
    assert digests(tmp_path / "digest.json") == expected


@pytest.mark.slow
def test_a_continued_run_keeps_what_is_quarantined(tmp_path: Path, config: Config, expected: dict[str, Any]) -> None:
    config["consumers"]["bad"] = numbers("bad", "raise", [17], on_error="quarantine")
    config["consumers"]["a"] = {
        "use": f"{MISFITS}Waiting",
        "options": {"out": "a.json", "places": ["on_frame 50"]},
    }
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        wait_until(lambda: asked(tmp_path, "SELECT frame FROM quarantine"), "the quarantine")
        running.process.kill()
    (tmp_path / "a.go").touch()
    finished = run(tmp_path, config, "--resume")
    assert finished.code == 0, finished
    told = finished.report["consumers"]["bad"]
    assert told["restarts"]["crash"] == 0
    assert [(q["frame"], "upside down" in q["reason"]) for q in told["quarantined"]] == [(17, True)]
    assert Recorder.read(tmp_path / "bad") == [n for n in range(60) if n != 17]
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected
