"""One recording that several runs stream, a part of its episodes each: merged, it is the dataset of one run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.consumers.test_merge import content
from tests.pipeline.driver import Finished, Run, digests, run, start
from tests.pipeline.trials import WAYS, configured, make_trials

if TYPE_CHECKING:
    from pathlib import Path

GRID = {"from": "grid", "rate": "25 Hz"}
SUMS = {"use": "checksum", "options": {"out": "sums/{episode}.json"}}


def consumers() -> dict[str, Any]:
    features = {"observation.state": "joints"}
    return {
        "lerobot": {"options": {"out": "dataset", "features": features, "task": "nothing"}},
        "csv": {"options": {"out": "table"}},
        "sums": SUMS,
    }


def merged(folder: Path) -> Finished:
    with Run(folder, "merge", "config.yaml") as merging:
        return merging.end()


def parts(folder: Path, config: dict[str, Any], *which: str) -> list[Finished]:
    with ExitStack() as stack:
        running = [stack.enter_context(start(folder, config, "--only", part)) for part in which]
        return [one.end() for one in running]


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "sums").iterdir())


def test_parts_of_the_episodes_that_are_merged_are_the_dataset_of_one_run(tmp_path: Path) -> None:
    trials = make_trials(tmp_path / "whole", 5)
    config = configured(trials.path, WAYS["texts"], consumers(), timeline=GRID)
    config["streams"]["cam"]["missing"] = "hold"
    done = run(tmp_path / "one", config)
    assert done.code == 0, done
    assert names(tmp_path / "one") == trials.names
    several = tmp_path / "several"
    for finished in parts(several, config, "0/3", "2/3"):
        assert finished.code == 0, finished
    assert names(several) == [trials.names[n] for n in (0, 3, 4)]  # 5 in three parts: 1, 2, 2
    first = merged(several)
    assert first.code == 0, first
    assert "0 of 1 recordings" in first.out
    (last,) = parts(several, config, "1/3")
    assert last.code == 0, last
    assert names(several) == trials.names
    second = merged(several)
    assert "1 of 1 recordings" in second.out, second
    assert content(several / "dataset") == content(tmp_path / "one" / "dataset")
    listed = [(folder / "table" / "_recordings.json").read_text() for folder in (several, tmp_path / "one")]
    assert listed[0] == listed[1]
    for name in trials.names:
        found = [digests(folder / "sums" / f"{name}.json") for folder in (several, tmp_path / "one")]
        assert found[0] == found[1]


def test_recordings_with_an_episode_each_are_spread_over_the_parts(tmp_path: Path) -> None:
    for number in range(4):
        make_trials(tmp_path / "bags" / f"bag-{number}", 1, seed=number)
    config = configured(tmp_path / "bags" / "bag-*", WAYS["texts"], {"sums": SUMS})
    seen = []
    for part in ("0/2", "1/2"):
        folder = tmp_path / part[0]
        (finished,) = parts(folder, config, part)
        assert finished.code == 0, finished
        seen.append(names(folder))
    assert [len(part) for part in seen] == [2, 2]
    assert sorted(seen[0] + seen[1]) == [f"bag-{number}-000" for number in range(4)]
