"""What people do to a run under way: Ctrl-C twice, the output folder removed. It ends in words and goes on."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import MISFITS, Config, let_go, processes, reached
from tests.pipeline.driver import digests, run, start, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def waiting(name: str, place: str) -> Config:
    return {"use": f"{MISFITS}Waiting", "options": {"out": f"{name}.json", "places": [place]}}


def test_a_second_ctrl_c_ends_everyone_at_once_and_the_run_can_be_continued(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"]["a"] = waiting("a", "on_frame 28")
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does: to every process of the run
        wait_until(lambda: "stop" in running.said().lower(), "the answer to the first")
        os.killpg(running.process.pid, signal.SIGINT)
        wait_until(lambda: running.process.poll() is not None, "an end, although a callback hangs")
        wait_until(lambda: not processes(tmp_path), "the end of everyone")
        let_go(tmp_path, "a")
    assert running.process.returncode not in (0, None)
    finished = run(tmp_path, config, "--resume")
    assert finished.code == 0, finished
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected


@pytest.mark.parametrize("use", ["parquet", pytest.param("csv", marks=pytest.mark.slow)])
def test_an_output_folder_that_is_removed_in_mid_run_is_told_and_never_a_shorter_output(
    tmp_path: Path, config: Config, use: str
) -> None:
    config["consumers"] = {"a": waiting("a", "on_frame 28"), "b": {"use": use, "options": {"out": "out"}}}
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        wait_until(lambda: any((tmp_path / "out").rglob("*part*")) or any((tmp_path / "out").rglob("*.tmp")), "a part")
        shutil.rmtree(tmp_path / "out")
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code != 0, finished
    assert "consumer b" in finished.err, finished
    assert "Traceback" not in finished.err + finished.out
    assert run(tmp_path, config, "--restart").code == 0
