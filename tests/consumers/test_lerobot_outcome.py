"""How episodes went, in a LeRobot dataset: a column of its episodes, and features of its frames where wanted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumers.lerobot import LeRobot
from tests.pipeline.driver import run
from tests.pipeline.trials import WAYS, Trials, configured, make_trials

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = {"observation.state": "joints"}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    found = make_trials(tmp_path_factory.mktemp("trials") / "whole", 4, seed=3)
    assert len({trial.label for trial in found.trials}) == 2
    return found


def config(trials: Trials, **options: Any) -> dict[str, Any]:
    lerobot = {"options": {"out": "dataset", "features": FEATURES, "task": "none"} | options}
    found = configured(trials.path, WAYS["texts"], {"lerobot": lerobot}, timeline={"from": "grid", "rate": "25 Hz"})
    found["streams"]["cam"]["missing"] = "hold"
    return found


def table(dataset: Path, kind: str) -> Any:
    return pa.concat_tables([pq.read_table(path) for path in sorted((dataset / kind).rglob("*.parquet"))])


def expected(trials: Trials, lengths: list[int], good: str) -> tuple[list[bool], list[bool]]:
    done, success = [], []
    for trial, length in zip(trials.trials, lengths, strict=True):
        done += [False] * (length - 1) + [True]
        success += [False] * (length - 1) + [trial.label == good]
    return done, success


def test_episodes_have_their_label_and_frames_say_whether_they_were_a_success(tmp_path: Path, trials: Trials) -> None:
    finished = run(tmp_path, config(trials, outcome="success"))
    assert finished.code == 0, finished
    episodes = table(tmp_path / "dataset", "meta/episodes").to_pylist()
    assert [row["label"] for row in episodes] == [trial.label for trial in trials.trials]
    assert [row["tasks"] for row in episodes] == [[trial.task] for trial in trials.trials]
    data = table(tmp_path / "dataset", "data")
    done, success = expected(trials, [row["length"] for row in episodes], "success")
    assert data["next.done"].to_pylist() == done
    assert data["next.success"].to_pylist() == success
    info = json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())
    feature = {"dtype": "bool", "shape": [1], "names": None}  # as LeRobot's own datasets have them (lerobot/pusht)
    assert info["features"]["next.done"] == info["features"]["next.success"] == feature
    for row, trial in zip(episodes, trials.trials, strict=True):
        assert row["stats/next.success/max"] == [float(trial.label == "success")]
        assert row["stats/next.done/mean"] == pytest.approx([1 / row["length"]])
    stats = json.loads((tmp_path / "dataset" / "meta" / "stats.json").read_text())
    assert stats["next.done"]["mean"] == pytest.approx([np.mean(done)])


def test_a_dataset_that_knew_no_labels_gets_the_column_when_they_come(tmp_path: Path, trials: Trials) -> None:
    (tmp_path / "one.csv").write_text("start,end,task\n0.7,1.1,wait\n")
    plain = config(trials) | {"episodes": {"windows": "one.csv"}}
    assert run(tmp_path, plain).code == 0
    assert "label" not in table(tmp_path / "dataset", "meta/episodes").column_names
    finished = run(tmp_path, config(trials), "--restart")
    assert finished.code == 0, finished
    labels = table(tmp_path / "dataset", "meta/episodes")["label"].to_pylist()
    assert labels == [None, *(trial.label for trial in trials.trials)]


def test_version_2_1_has_the_label_in_the_line_of_an_episode(tmp_path: Path, trials: Trials) -> None:
    finished = run(tmp_path, config(trials, format="v2.1", outcome=["failure"]))
    assert finished.code == 0, finished
    lines = (tmp_path / "dataset" / "meta" / "episodes.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["label"] for row in rows] == [trial.label for trial in trials.trials]
    _, success = expected(trials, [row["length"] for row in rows], "failure")
    assert table(tmp_path / "dataset", "data")["next.success"].to_pylist() == success


def test_an_outcome_beside_a_feature_of_its_name_or_without_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"next\.done, which is one of the features"):
        LeRobot("out", {"next.done": "done"}, task="x", outcome="success")
    with pytest.raises(ValueError, match="is empty"):
        LeRobot("out", {"state": "joints"}, task="x", outcome=[])
