"""What is done is not done again: of one recording or many, whatever writes it, until that is asked for or is gone."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from streamer.demo import Workload, make
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]
WORK = Workload(cameras=1, width=64, height=48, hz=10, image="jpeg", joint_topics=1, joint_hz=50, seconds=1, seed=5)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("bag") / "a.bag"
    make(path, WORK)
    return path


def config() -> Config:
    return {
        "source": {"path": "*.bag"},
        "timeline": {"from": "grid", "rate": "10 Hz"},
        "streams": {"arm": {"topic": "/joints_0", "field": "position"}},
        "consumers": {
            "lerobot": {"options": {"out": "set", "task": "t", "features": {"observation.state": "arm"}}},
            "parquet": {"options": {"out": "table"}},
        },
    }


def episodes(folder: Path) -> int:
    count: int = json.loads((folder / "set/meta/info.json").read_text())["total_episodes"]
    return count


def test_a_run_over_one_recording_is_gone_on_with_when_others_come_also_by_a_dataset(tmp_path: Path, bag: Path) -> None:
    shutil.copy(bag, tmp_path)
    assert run(tmp_path, config()).code == 0
    whole = run(tmp_path, config())
    assert whole.code == 0, whole
    assert "✓ a.bag was done in an earlier run (to do it again, remove set) → " in whole.out
    assert whole.report["frames"]["delivered"] == 0
    shutil.copy(bag, tmp_path / "b.bag")
    more = run(tmp_path, config())
    assert more.code == 0, more
    assert "1 was done in an earlier run" in more.out
    assert episodes(tmp_path) == 2
    assert {path.name for path in (tmp_path / "table").glob("*.parquet")} == {"a.parquet", "b.parquet"}
    shutil.rmtree(tmp_path / "set")  # as the message says
    anew = run(tmp_path, config())
    assert anew.code == 0, anew
    assert episodes(tmp_path) == 2
    assert anew.report["frames"]["delivered"] == 2 * pq.read_table(tmp_path / "table/a.parquet").num_rows


def test_what_is_done_is_done_again_where_that_is_said_or_something_has_changed(tmp_path: Path, bag: Path) -> None:
    shutil.copy(bag, tmp_path)
    plain = config()
    del plain["consumers"]["lerobot"]
    assert run(tmp_path, plain).code == 0
    table = tmp_path / "table/a.parquet"
    count = pq.read_table(table).num_rows
    for change, words, delivered in (
        ({}, [], 0),
        ({}, ["--again"], count),
        ({"timeline": {"from": "grid", "rate": "5 Hz"}}, [], (count + 1) // 2),
        ({"consumers": {"parquet": {"options": {"out": "table", "compression": "gzip"}}}}, [], (count + 1) // 2),
        ({"quality": {"max_held": "50 %", "on_low": "drop"}}, [], (count + 1) // 2),
        ({}, [], 0),
        ({"types": "noetic"}, [], (count + 1) // 2),
    ):
        plain |= change
        finished = run(tmp_path, plain, *words)
        assert finished.code == 0, finished
        assert finished.report["frames"]["delivered"] == delivered, (change, words)
        assert ("(--again does it again)" in finished.out) == (not delivered)
    os.utime(tmp_path / "a.bag")  # written to since
    assert run(tmp_path, plain).report["frames"]["delivered"] == (count + 1) // 2
    plain["consumers"] = {"null": {}}  # of which nothing could be missing
    for _ in range(2):
        assert run(tmp_path, plain).report["frames"]["delivered"] == (count + 1) // 2


def test_what_failed_before_it_committed_anything_is_not_unfinished(tmp_path: Path, bag: Path) -> None:
    for name in "abc":
        shutil.copy(bag, tmp_path / f"{name}.bag")
    (tmp_path / "b.bag").write_bytes(bag.read_bytes()[:3000])
    failed = run(tmp_path, config())
    assert failed.code == 65, failed
    assert "nothing was committed" not in failed.out
    shutil.copy(bag, tmp_path / "b.bag")
    mended = run(tmp_path, config())
    assert mended.code == 0, mended
    assert "✓ 1 of 3 recordings: " in mended.out
    assert episodes(tmp_path) == 3
