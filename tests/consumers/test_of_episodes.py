"""What each consumer makes of a recording that is cut: an output of its own for each episode, and a list of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import zarr

from tests.pipeline.driver import run
from tests.pipeline.trials import WAYS, Trial, Trials, configured, make_trials

if TYPE_CHECKING:
    from pathlib import Path

BUFFER = {"layout": "replay_buffer", "features": {"action": "joints", "cam": "cam"}}
DEMOS = {"layout": "robomimic", "features": {"actions": "joints"}}
CONSUMERS: dict[str, Any] = {  # all in one folder
    "parquet": {},
    "csv": {},
    "images": {},
    "video": {"rate": "variable"},
    "mcap": {},
    "stats": {},
    "preview": {},
    "zarr": {},
    "buffer": {"use": "zarr", "out": "buffer", **BUFFER},
    "demos": {"use": "hdf5", "out": "demos", **DEMOS},
}
FILES = [".parquet", ".csv", ".images", ".video.json", ".mcap"]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trials]:
    """Return the folder of a run that gave four episodes to all of the consumers."""
    folder = tmp_path_factory.mktemp("cut")
    trials = make_trials(folder / "whole", 4)
    consumers = {}
    for name, options in CONSUMERS.items():
        own = {key: value for key, value in options.items() if key != "use"}
        consumers[name] = {"use": options.get("use", name), "options": {"out": "out"} | own}
    done = run(folder, configured(trials.path, WAYS["texts"], consumers))
    assert done.code == 0, done
    return folder, trials


def said(trial: Trial, number: int) -> dict[str, Any]:
    """Return what a list says of a trial."""
    ticks = trial.pictures()
    texts = {"task": trial.task, "label": trial.label}
    return {"episode": number, **texts, "start_ns": ticks[0], "end_ns": ticks[-1]}


def test_the_list_of_a_folder_says_of_each_file_which_episode_it_is(cut: tuple[Path, Trials]) -> None:
    folder, trials = cut
    listed = json.loads((folder / "out" / "_recordings.json").read_text())["recordings"]
    for ending in FILES:
        rows = [row for row in listed if row["file"].endswith(ending)]
        names = [f"{name}{ending}" for name in trials.names]
        assert [row["file"] for row in rows] == names
        assert all((folder / "out" / name).exists() for name in names)
        assert [row["rows"] for row in rows] == [trial.frames for trial in trials.trials]
        for number, (row, trial) in enumerate(zip(rows, trials.trials, strict=True)):
            assert said(trial, number).items() <= row.items()
    assert len(listed) == len(FILES) * len(trials.trials)
    videos = [row["videos"] for row in listed if row["file"].endswith(".video.json")]
    assert videos == [{"cam": f"{name}.cam.mp4"} for name in trials.names]
    assert all((folder / "out" / video["cam"]).exists() for video in videos)


def test_every_file_says_itself_which_episode_it_is(cut: tuple[Path, Trials]) -> None:
    folder, trials = cut
    for number, (name, trial) in enumerate(zip(trials.names, trials.trials, strict=True)):
        episode = {"number": number, "task": trial.task, "label": trial.label}
        for ending in (".csv.json", ".stats.json", ".video.json"):
            about = json.loads((folder / "out" / f"{name}{ending}").read_text())
            assert about["provenance"]["episode"] == episode
        assert (folder / "out" / f"{name}.preview.png").exists()
        group = zarr.open_group(folder / "out" / f"{name}.zarr", mode="r")
        assert dict(group.attrs)["provenance"]["episode"] == episode  # type: ignore[index,call-overload] # plain JSON


def test_groups_replay_buffers_and_demonstrations_carry_task_and_label(cut: tuple[Path, Trials]) -> None:
    folder, trials = cut
    ends = np.cumsum([trial.frames for trial in trials.trials])
    right = [said(trial, number) for number, trial in enumerate(trials.trials)]
    for path in (folder / "out", folder / "buffer" / "replay_buffer.zarr"):
        rows: Any = dict(zarr.open_group(path, mode="r").attrs)["recordings"]
        assert [row["name"] for row in rows] == trials.names
        assert all(one.items() <= row.items() for one, row in zip(right, rows, strict=True))
    buffer: Any = zarr.open_group(folder / "buffer" / "replay_buffer.zarr", mode="r")
    assert buffer["meta/episode_ends"][:].tolist() == ends.tolist()
    pixels = buffer["data/cam"][:]
    begins = [0, *ends[:-1]]
    assert pixels[:, 0, 0, 0].tolist() == [n for n, t in enumerate(trials.trials) for _ in range(t.frames)]
    assert [pixels[at, 0, 0, 1] for at in begins] == [0] * len(begins)
    with h5py.File(folder / "demos" / "demos.hdf5") as file:
        demos = [dict(file["data"][f"demo_{n}"].attrs) for n in range(len(right))]
    for demo, one, name in zip(demos, right, trials.names, strict=True):
        assert {key: demo[key] for key in one} == one
        assert demo["recording"] == name


def test_episodes_that_are_cut_no_more_leave_the_list(cut: tuple[Path, Trials]) -> None:
    folder, trials = cut
    (folder / "two.csv").write_text("start,end\n0.6,1.3\n2,3\n")
    options = {"out": "again"}
    for episodes in (WAYS["texts"], {"windows": "two.csv"}):
        config = configured(trials.path, episodes, {"csv": {"options": options}})
        done = run(folder, config, "--restart")
        assert done.code == 0, done
    listed = json.loads((folder / "again" / "_recordings.json").read_text())["recordings"]
    assert [row["file"] for row in listed] == ["whole-000.csv", "whole-001.csv"]
