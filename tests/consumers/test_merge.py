"""What many recordings write together: one dataset, whoever ended first, or failed at first, or was killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from consumers.lerobot import LeRobot
from streamer.config.load import load
from streamer.contract import Part
from streamer.ledger import Ledger
from streamer.pipelines.process import Pipeline
from streamer.transport import unpack_state
from tests.pipeline.driver import ROOT, Run, run, start, wait_until
from tests.pipeline.takes import NAMES, SECONDS, at_the_gate, damaged, gated, open_gate, status

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]
DATASET: dict[str, Any] = {
    "out": "dataset",
    "features": {"observation.images.head": "camera", "observation.state": "joints"},
    "task": {name: f"Task {name[-1]}" for name in NAMES},
    "codec": "h264",
}


def configured(takes: Path) -> Config:
    return {
        "source": {"path": str(takes)},
        "timeline": {"from": "camera", "rate": "30 Hz"},
        "chunk_size": 5,
        "pool": "200 kB",
        "streams": {
            "camera": {"topic": "/camera_0/image_raw/compressed"},
            "joints": {"topic": "/joints_0", "field": "position"},
        },
        "consumers": {"lerobot": {"options": DATASET}},
    }


def content(dataset: Path) -> dict[str, Any]:
    """Return every file, whether it may be seen or not; of where episodes come from, what does not name a run."""
    files = {str(path.relative_to(dataset)): path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    lines = [json.loads(line) for line in files.pop("meta/provenance.jsonl").splitlines()]
    keys = ("episode_index", "task", "frames", "recording", "video_bytes", "plan")
    return files | {"origins": [{key: line[key] for key in keys} for line in lines]}


def lengths(dataset: Path) -> list[int]:
    table = pq.read_table(dataset / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    return [int(length) for length in table["length"].to_pylist()]


FRAMES = [round(SECONDS[name] * 30) for name in NAMES]


@pytest.fixture(scope="module")
def one_job(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run over one recording after the other, whose parts are merged later."""
    folder = tmp_path_factory.mktemp("one")
    finished = run(folder, configured(takes), "--only", "0/1")
    assert finished.code == 0, finished
    return folder


@pytest.fixture(scope="module")
def expected(one_job: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the dataset that becomes of it."""
    merged = shutil.copytree(one_job, tmp_path_factory.mktemp("merged") / "run")
    LeRobot(**DATASET | {"out": str(merged / "dataset")}).merge(parts(merged))
    assert lengths(merged / "dataset") == FRAMES
    return content(merged / "dataset")


def parts(folder: Path) -> list[Part]:
    """Return what the run has left in its ledger."""
    with Ledger(folder / ".streamer" / "only-0-of-1" / "ledger.sqlite") as ledger:
        known = sorted(ledger.recordings("config.yaml").values(), key=lambda k: k.path)
        states = [unpack_state(ledger.cursor(k.number, "lerobot").state) for k in known]
    return [Part(name, k.path, state) for name, k, state in zip(NAMES, known, states, strict=True)]


def test_side_by_side_they_give_the_dataset_of_one_after_the_other(
    tmp_path: Path, takes: Path, expected: dict[str, Any]
) -> None:
    with start(tmp_path, gated(configured(takes), tmp_path, ["take-0"]), "jobs=3") as running:  # it ends last
        at_the_gate(tmp_path, "take-0")
        wait_until(lambda: status(tmp_path).get("recordings", {}).get("done") == 2, "the others")
        open_gate(tmp_path, "take-0")
        finished = running.end()
    assert finished.code == 0, finished
    assert content(tmp_path / "dataset") == expected


def test_without_one_that_failed_the_dataset_is_whole_and_with_it_as_if_it_had_never_failed(
    tmp_path: Path, takes: Path, expected: dict[str, Any]
) -> None:
    config = configured(damaged(takes, tmp_path / "bags"))
    finished = run(tmp_path, config, "jobs=2")
    assert finished.code == 65, finished
    assert lengths(tmp_path / "dataset") == [FRAMES[0], FRAMES[2]]
    assert json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())["total_episodes"] == 2
    (tmp_path / "bags" / "take-1.bag").write_bytes((takes / "take-1.bag").read_bytes())
    mended = run(tmp_path, config, "--resume")
    assert mended.code == 0, mended
    assert content(tmp_path / "dataset") == expected
    with Run(tmp_path, "merge", "config.yaml") as merging:  # there is nothing to do
        assert merging.end().code == 0
    assert content(tmp_path / "dataset") == expected


_KILLED_AT_EVERY_RENAME = """
import json, os, shutil, signal, sys
from pathlib import Path
from consumers.lerobot import LeRobot
from streamer.contract import Part

folder, parts, options = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])

def attempt(out, last):
    count = 0
    def counting(rename):
        def counted(*names, **more):
            nonlocal count
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(*names, **more)
        return counted
    os.rename, os.replace = counting(os.rename), counting(os.replace)
    LeRobot(**options | {"out": str(out)}).merge([Part(*part) for part in parts])
    os._exit(0)

number, status = 0, 1
while status:
    number += int(sys.argv[4])
    out = shutil.copytree(folder, folder.parent / f"killed-{number}")
    if (child := os.fork()) == 0:
        attempt(out, number)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
"""


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
def test_a_merging_that_is_killed_leaves_the_old_or_the_new_and_is_done_again(
    tmp_path: Path, one_job: Path, expected: dict[str, Any], step: int
) -> None:
    ours = parts(one_job)
    some = [ours[0], ours[2]]
    dataset = shutil.copytree(one_job / "dataset", tmp_path / "dataset")
    LeRobot(**DATASET | {"out": str(dataset)}).merge(some)  # so that an episode is to be put in between
    wanted = json.dumps([[part.name, part.path, part.state] for part in ours])
    command = [sys.executable, "-c", _KILLED_AT_EVERY_RENAME, str(dataset), wanted, json.dumps(DATASET), str(step)]
    subprocess.run(command, check=True, cwd=ROOT)
    killed = sorted(tmp_path.glob("killed-*"))
    assert len(killed) > 16 // step
    for out in killed:
        if (out / "meta" / "info.json").exists():  # else a reader finds no dataset for a moment
            assert lengths(out) in ([FRAMES[0], FRAMES[2]], FRAMES)
        LeRobot(**DATASET | {"out": str(out)}).merge(ours)
        assert content(out) == expected, out


def test_two_pipelines_that_end_at_once_add_to_one_dataset_in_the_order_of_their_ends(
    tmp_path: Path, takes: Path
) -> None:
    """As an ingest daemon does: no part, no merging, a dataset that is whole after each recording."""
    start(tmp_path, gated(configured(takes), tmp_path, NAMES), "--no-such-option").end()  # writes the configuration
    loaded = load(tmp_path / "config.yaml")
    loaded.config.consumers["gate"].options["at"] = 15  # in the last chunk that all of them have
    loaded.values["consumers"]["gate"]["options"]["at"] = 15
    under_way = [Pipeline(loaded, takes / f"{name}.bag", name, tmp_path / "work" / name) for name in NAMES]
    try:
        for name in NAMES:
            at_the_gate(tmp_path, name)
        for name in NAMES:
            open_gate(tmp_path, name)
        wait_until(lambda: all(pipeline.ended() for pipeline in under_way), "the ends")
        assert [pipeline.ended().state for pipeline in under_way] == ["done"] * 3  # type: ignore[union-attr] # they have
    finally:
        for pipeline in under_way:
            pipeline.close()
    assert sorted(lengths(tmp_path / "dataset")) == sorted(FRAMES)
    info = json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, sum(FRAMES), 3)
    rows = pq.read_table(tmp_path / "dataset" / "data" / "chunk-000" / "file-000.parquet")
    assert rows["index"].to_pylist() == list(range(sum(FRAMES)))
    assert not (tmp_path / "dataset" / ".shares").exists()
