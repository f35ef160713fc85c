"""Callbacks that raise, hang, exit, fork or spoil their process: told by name, and no output changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import MISFITS, Config
from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from pathlib import Path


def misfit(name: str, how: str, where: str, times: int) -> Config:
    options = {"out": f"{name}.json", "how": how, "where": where, "times": times}
    deadline = {"deadline": "2 s"} if how in ("hang", "stop") else {}
    return {"use": f"{MISFITS}Misfit", "options": options} | deadline


FAILS_ONCE = {
    "raise": "on_frame, frame 17, raised KeyError: 'the gripper is upside down'",
    "cancel": "on_frame, frame 17, raised CancelledError",
    "interrupt": "on_frame, frame 17, raised KeyboardInterrupt",
    "exit": "on_frame, frame 17, raised SystemExit",
    "_exit": "exit code 0",
    "kill": "its own code sent it SIGKILL",
    "segfault": "killed by SIGSEGV",
    "stop": "it was silent for",
}


def test_whatever_ends_a_callback_once_is_told_and_changes_no_output(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"] |= {how: misfit(how, how, "on_frame", 1) for how in FAILS_ONCE}
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    for how, why in FAILS_ONCE.items():
        assert finished.report["consumers"][how]["restarts"] == {"planned": 0, "crash": 1}
        assert any(line.startswith(f"consumer {how}: ") and why in line for line in finished.err.splitlines()), finished
    for name in config["consumers"]:
        assert digests(tmp_path / f"{name}.json") == expected, name
    assert finished.report["frames"] == {"planned": 60, "delivered": 60, "skipped": {}, "remaining": 0}


@pytest.mark.slow
def test_it_does_not_matter_in_which_callback_it_happens(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    places = [(how, where) for how in ("raise", "_exit", "hang") for where in ("open", "on_chunk", "close")]
    names = [f"{how}-{where}" for how, where in places]
    config["consumers"] |= {name: misfit(name, *place, 1) for name, place in zip(names, places, strict=True)}
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    for name in names:
        assert finished.report["consumers"][name]["restarts"] == {"planned": 0, "crash": 1}, name
        assert digests(tmp_path / f"{name}.json") == expected, name
    assert "consumer raise-on_chunk: on_chunk, chunk 3, raised KeyError" in finished.err
    assert "consumer raise-close: close raised KeyError" in finished.err


@pytest.mark.slow
def test_those_that_fail_each_time_are_given_up_and_each_is_named(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    failing = {
        "always": (misfit("always", "raise", "on_frame", 1000), "on_frame, frame 17, raised KeyError"),
        "chunk": (misfit("chunk", "raise", "on_chunk", 1000), "on_chunk, chunk 3, raised KeyError"),
        "open": (misfit("open", "exit", "open", 1000), "open raised SystemExit"),
        "end": (misfit("end", "raise", "close", 1000), "close raised KeyError"),
        "leaves": (misfit("leaves", "_exit", "on_frame", 1000), "exit code 0 (after 3 failures, at frame 17)"),
        "set": ({"use": f"{MISFITS}Strange", "options": {"what": "set"}}, "cannot be stored as state"),
        "list": ({"use": f"{MISFITS}Strange", "options": {"what": "list"}}, "a list as state"),
        "lock": ({"use": f"{MISFITS}Strange", "options": {"what": "lock"}}, "cannot be stored as state"),
        "large": ({"use": f"{MISFITS}Strange", "options": {"what": "large"}}, "put the rest into a file"),
    }
    config["consumers"] |= {name: how | {"on_failed": "isolate"} for name, (how, _) in failing.items()}
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    assert "Traceback" not in finished.err + finished.out
    for name, (_, why) in failing.items():
        told = finished.report["consumers"][name]["failed"]
        assert f"consumer {name}: " in told
        assert why in told
        assert f"{name}.log" in told
        assert not (tmp_path / f"{name}.json").exists()
    assert finished.report["consumers"]["digest"]["failed"] is None
    assert digests(tmp_path / "digest.json") == expected


def test_what_a_callback_does_to_its_process_disturbs_nobody_and_does_not_outlive_the_run(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    """Children of it are ended (see `nothing_left`), and one that it left running inside a callback shows nothing."""
    ways = ["fork", "fork and return", "fork and raise", "close", "signals", "thread", "move"]
    names = {way: way.replace(" ", "-") for way in ways}
    config["consumers"] |= {
        name: misfit(name, way, "on_frame", 1000) | {"recycle": {"chunks": 6}} for way, name in names.items()
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    for name in config["consumers"]:
        assert finished.report["consumers"][name]["restarts"]["crash"] == 0, finished
        assert finished.report["consumers"][name]["frames"] == 60
    log = (tmp_path / ".streamer" / "logs" / "fork-and-raise.log").read_text()
    assert "Traceback" not in log  # of the child: what it came back with is nobody's
    for name in set(config["consumers"]) - {"move"}:  # the outputs of that one have no mode at all
        assert digests(tmp_path / f"{name}.json") == expected, name
    assert (tmp_path / "move.json").exists()
