"""Episodes where much else goes on: many recordings, a daemon, Ray, frames that are refused, kills at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import psutil
import pyarrow.parquet as pq
import pytest
import zarr

from tests.consumers.test_merge import content
from tests.ingest.driver import Watch
from tests.pipeline.driver import digests, run, start
from tests.pipeline.trials import WAYS, Trials, configured, make_trials

if TYPE_CHECKING:
    from pathlib import Path

GRID = {"from": "grid", "rate": "25 Hz"}
SUMS = {"use": "checksum", "options": {"out": "sums/{episode}.json"}}
DATASET = {"out": "dataset", "features": {"observation.state": "joints"}, "task": "none"}
BUFFER = {"out": "buffer", "layout": "replay_buffer", "features": {"action": "joints", "cam": "cam"}}
BOTH: dict[str, Any] = {"lerobot": {"options": DATASET}, "zarr": {"options": BUFFER}}


def settings(path: Path, consumers: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = configured(path, WAYS["texts"], consumers, timeline=GRID, **more)
    found["streams"]["cam"]["missing"] = "hold"
    return found


def episodes(dataset: Path) -> list[tuple[str, str]]:
    """Return the task and the label of each episode of a LeRobot dataset."""
    (table,) = (dataset / "meta" / "episodes").rglob("*.parquet")
    rows = pq.read_table(table, columns=["tasks", "label"]).to_pylist()
    return [(row["tasks"][0], row["label"]) for row in rows]


def shown(buffer: Path) -> list[set[int]]:
    """Return which trials are seen in the pictures of each episode of a replay buffer."""
    group: Any = zarr.open_group(buffer, mode="r")
    pixels, begin, found = group["data/cam"][:, 0, 0, 0].tolist(), 0, []
    for end in group["meta/episode_ends"][:].tolist():
        found.append({*pixels[begin:end]})
        begin = end
    return found


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[Trials]:
    folder = tmp_path_factory.mktemp("days")
    return [make_trials(folder / f"day-{n}", 2 + n, seed=20 + n) for n in range(2)]


@pytest.fixture(scope="module")
def many(days: list[Trials], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run over two recordings side by side."""
    folder = tmp_path_factory.mktemp("many")
    done = run(folder, settings(days[0].path.parent / "day-*", BOTH, jobs=2))
    assert done.code == 0, done
    return folder


def test_the_episodes_of_many_recordings_follow_each_other_and_show_only_their_own(
    days: list[Trials], many: Path
) -> None:
    told = [(trial.task, trial.label) for day in days for trial in day.trials]
    assert episodes(many / "dataset") == told
    own = [{number} for day in days for number in range(len(day.trials))]
    assert shown(many / "buffer" / "replay_buffer.zarr") == own


def test_a_daemon_makes_the_same_dataset_of_recordings_that_come_one_by_one(
    tmp_path: Path, days: list[Trials], many: Path
) -> None:
    (tmp_path / "incoming").mkdir()
    watching = settings(tmp_path / "incoming", BOTH)
    watching["source"] = {"watch": str(tmp_path / "incoming"), "settle": "300 ms", "scan": "1 s"}
    with Watch(tmp_path, watching) as daemon:
        for day in days:
            copy = shutil.copytree(day.path, tmp_path / "copies" / day.path.name)
            copy.rename(tmp_path / "incoming" / day.path.name)  # whole: 300 ms may pass between two files
            daemon.wait(**{day.path.name: "done"})
        assert daemon.end() == 0
    assert episodes(tmp_path / "dataset") == episodes(many / "dataset")
    data = [sorted((folder / "dataset" / "data").rglob("*.parquet")) for folder in (tmp_path, many)]
    columns = ["observation.state", "episode_index", "frame_index"]
    assert pq.read_table(data[0][0], columns=columns) == pq.read_table(data[1][0], columns=columns)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_makes_the_same_dataset(tmp_path: Path, days: list[Trials], many: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra: pip install 'rosbag-streamer[ray]'")
    cluster = {"address": "local", "cpus": 1, "memory": "300 MB"}
    done = run(tmp_path, settings(days[0].path.parent / "day-*", BOTH, engine="ray", ray=cluster))
    assert done.code == 0, done
    assert content(tmp_path / "dataset") == content(many / "dataset")
    assert shown(tmp_path / "buffer" / "replay_buffer.zarr") == shown(many / "buffer" / "replay_buffer.zarr")


def test_a_frame_that_is_refused_is_missing_in_its_episode_and_in_no_other(tmp_path: Path) -> None:
    trials = make_trials(tmp_path / "whole", 3, seed=5)
    config = configured(trials.path, WAYS["texts"], {"sums": SUMS})
    assert run(tmp_path / "all", config).code == 0
    refusing = {
        "use": "tests.pipeline.borders:Refusing",
        "options": {"out": "sums/{episode}.json", "trial": 1, "picture": 3},
        "on_error": "quarantine",
        "recycle": {"chunks": 2},
    }
    done = run(tmp_path / "less", config | {"consumers": {"sums": refusing}})
    assert done.code == 0, done
    found = [
        [digests(tmp_path / folder / "sums" / f"{name}.json") for name in trials.names] for folder in ("all", "less")
    ]
    assert found[0][0] == found[1][0]
    assert found[0][2] == found[1][2]
    assert found[1][1]["frames"] == found[0][1]["frames"] - 1


def kill_one(parent: psutil.Process, chosen: random.Random) -> None:
    """Kill a process of a run: a reader, a consumer, or the run itself."""
    try:
        running = [parent, *parent.children(recursive=True)]
        os.kill(chosen.choice(running).pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return  # it has ended


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_killed_when_the_episodes_come_out_as_if_nothing_had_been(tmp_path: Path, seed: int) -> None:
    trials = make_trials(tmp_path / "whole", 8, seed=seed)
    consumers = {
        "sums": SUMS | {"recycle": {"chunks": 3}},
        "table": {"use": "csv", "options": {"out": "table"}, "recycle": {"chunks": 2}},
        "lerobot": {"options": DATASET, "recycle": {"chunks": 4}},
    }
    config = settings(trials.path, consumers, chunk_size=4)
    right = run(tmp_path / "right", config)
    assert right.code == 0, right
    chosen = random.Random(seed)  # noqa: S311 - which is to be the same in every run
    for attempt in range(60):
        with start(tmp_path / "killed", config, *(["--resume"] if attempt else [])) as running:
            end = time.monotonic() + chosen.uniform(0.3, 3.0) if attempt < 12 else None
            while running.process.poll() is None and (end is None or time.monotonic() < end):
                time.sleep(0.02)  # between two looks
            if running.process.poll() is None:
                kill_one(psutil.Process(running.process.pid), chosen)
            done = running.end()
        if done.code == 0:
            break
    assert done.code == 0, done
    for name in trials.names:
        found = [digests(tmp_path / folder / "sums" / f"{name}.json") for folder in ("right", "killed")]
        assert found[0] == found[1]
        texts = [(tmp_path / folder / "table" / f"{name}.csv").read_bytes() for folder in ("right", "killed")]
        assert texts[0] == texts[1]
    lists = [
        json.loads((tmp_path / folder / "table" / "_recordings.json").read_text()) for folder in ("right", "killed")
    ]
    assert lists[0] == lists[1]
    assert content(tmp_path / "killed" / "dataset") == content(tmp_path / "right" / "dataset")
