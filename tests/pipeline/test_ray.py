"""Recordings as tasks of a real Ray on this machine: what is killed is tried again, what is damaged is not."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from streamer.demo import Workload, make
from tests.consumers.test_merge import configured, content
from tests.faults.harness import processes, what_is_left
from tests.pipeline.driver import Finished, run, start, wait_until
from tests.pipeline.takes import NAMES, at_the_gate, damaged, gated, open_gate, status

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("ray", reason="needs the extra: pip install 'rosbag-streamer[ray]'")
pytestmark = pytest.mark.timeout(600)  # a Ray is started, of which most of the time is

Config = dict[str, Any]


def on_ray(config: Config, **ray: Any) -> Config:
    return config | {"engine": "ray", "ray": {"address": "local", "cpus": 1, "memory": "300 MB"} | ray}


def worker_of(folder: Path, name: str) -> psutil.Process:
    """Return the Ray worker that has a recording's task."""
    wait_until(lambda: "worker" in status(folder).get("running", {}).get(name, {}), f"{name} on the board")
    return psutil.Process(status(folder)["running"][name]["worker"])


def states(finished: Finished) -> list[str]:
    return [recording["state"] for recording in finished.report["recordings"]]


def all_gone(folder: Path) -> None:
    wait_until(lambda: processes(folder) == [], "the end of Ray")
    assert what_is_left(folder) == []


def test_a_killed_worker_is_replaced_a_damaged_recording_is_not_and_the_dataset_is_that_of_one_job(
    tmp_path: Path, takes: Path
) -> None:
    config = configured(damaged(takes, tmp_path / "bags"))
    with start(tmp_path / "ray", gated(on_ray(config), tmp_path / "ray", ["take-2"])) as running:
        at_the_gate(tmp_path / "ray", "take-2")
        worker = worker_of(tmp_path / "ray", "take-2")
        open_gate(tmp_path / "ray", "take-2")
        worker.kill()
        finished = running.end()
    assert finished.code == 65, finished
    assert states(finished) == ["done", "failed", "done"]
    assert "take-2: its Ray task ended" in finished.err
    assert "it is begun again" in finished.err
    assert finished.err.count("take-1: failed") == 1
    all_gone(tmp_path / "ray")
    assert run(tmp_path / "one", config).code == 65
    assert content(tmp_path / "ray" / "dataset") == content(tmp_path / "one" / "dataset")


@pytest.mark.slow
def test_what_no_node_has_is_told_before_anything_begins(tmp_path: Path, takes: Path) -> None:
    finished = run(tmp_path, on_ray(configured(takes), cpus=1000))
    assert finished.code == 78, finished
    assert "ray.cpus: a recording is to have 1000 and no node of the cluster has it" in finished.err
    assert states(finished) == []


@pytest.mark.slow
def test_ctrl_c_drains_and_cancels_and_the_next_driver_continues(tmp_path: Path, takes: Path) -> None:
    config = gated(on_ray(configured(takes), cpus=os.cpu_count()), tmp_path, NAMES)  # one at a time: two wait
    config["pool"] = "100 kB"
    gates = [tmp_path / "gates" / name for name in NAMES]
    with start(tmp_path, config) as running:
        wait_until(lambda: any((gate / "here").exists() for gate in gates), "whichever Ray takes first")
        (taken,) = [gate.name for gate in gates if (gate / "here").exists()]
        worker_of(tmp_path, taken)
        os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does: Ray's own processes get it, too
        wait_until(lambda: f"{taken}: stopping" in running.said(), "the announcement")
        for name in NAMES:
            open_gate(tmp_path, name)
        finished = running.end()
    assert finished.code == 75, finished
    assert states(finished) == ["interrupted" if name == taken else "waiting" for name in NAMES]
    all_gone(tmp_path)
    resumed = run(tmp_path, config, "--resume")
    assert resumed.code == 0, resumed
    assert states(resumed) == ["done"] * 3


@pytest.mark.slow
def test_twenty_recordings_a_killed_worker_and_a_killed_driver(tmp_path: Path) -> None:
    names = [f"rec-{number:02d}" for number in range(20)]
    for number, name in enumerate(names):
        work = Workload(
            cameras=1, width=64, height=48, image="jpeg", joint_topics=1, joint_hz=60, seconds=0.5 + 0.05 * number
        )
        make(tmp_path / "bags" / f"{name}.bag", work)
    content_of_bad = (tmp_path / "bags" / "rec-07.bag").read_bytes()
    (tmp_path / "bags" / "rec-07.bag").write_bytes(content_of_bad[: len(content_of_bad) // 2])
    config = configured(tmp_path / "bags")
    config["consumers"]["lerobot"]["options"] |= {"task": "Try"}
    folder = tmp_path / "ray"
    with start(folder, gated(on_ray(config), folder, ["rec-03", "rec-10"], names)) as running:
        at_the_gate(folder, "rec-03", 300)
        worker = worker_of(folder, "rec-03")
        open_gate(folder, "rec-03")
        worker.kill()
        at_the_gate(folder, "rec-10", 300)
        running.signal(signal.SIGKILL)  # the driver
        running.process.wait()
        wait_until(lambda: processes(folder) == [], "the end of Ray")
    open_gate(folder, "rec-10")
    with start(folder, gated(on_ray(config), folder, [], names), "--resume") as running:
        resumed = running.end(300)
    assert resumed.code == 65, resumed
    assert int(re.findall(r"(\d+) were done in an earlier run", resumed.out)[0]) >= 5
    assert states(resumed) == ["failed" if name == "rec-07" else "done" for name in names]
    all_gone(folder)
    assert run(tmp_path / "one", config).code == 65
    assert run(tmp_path / "two", config, "jobs=2").code == 65
    assert content(folder / "dataset") == content(tmp_path / "one" / "dataset") == content(tmp_path / "two" / "dataset")
