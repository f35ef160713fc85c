"""The demo of several trials: its markers tell what is in it, and its configuration cuts it there."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from rosbags.highlevel import AnyReader

from streamer import demo
from tests.pipeline.driver import Run

S = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("trials")
    with Run(found, "demo", "trials", "trials.bag") as asked:
        done = asked.end()
    assert done.code == 0, done
    assert "trials.yaml" in done.out
    return found


@pytest.fixture(scope="module")
def heard(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([folder / "trials.bag"]) as reader:
        for connection, stamp, data in reader.messages():
            found.setdefault(connection.topic, []).append((stamp, reader.deserialize(data, connection.msgtype)))
    return found


def test_the_trials_are_cut_where_their_markers_stand_and_the_robot_moves(
    folder: Path, heard: dict[str, list[tuple[int, Any]]]
) -> None:
    marks = [(stamp, message.data) for stamp, message in heard["/trial"]]
    verdicts = [(stamp, message.data) for stamp, message in heard["/verdict"]]
    joints = np.array([stamp for stamp, _ in heard["/joint_states"]])
    angles = np.array([message.position for _, message in heard["/joint_states"]])
    turning = np.abs(np.array([message.velocity for _, message in heard["/joint_states"]])).max(axis=1)
    begins = min(messages[0][0] for messages in heard.values())
    truth = []
    for (start, text), (stop, word) in pairwise(marks):
        inside = (joints >= start) & (joints < stop)
        if text.startswith("start") and word == "stop" and np.ptp(angles[inside], axis=0).max() > 0.1:
            moving = joints[inside][turning[inside] > 0.05]
            label = next(said for stamp, said in verdicts if stamp > stop)
            truth.append(((moving[0] - begins) / S, (moving[-1] - begins) / S, text.removeprefix("start: "), label))
    assert len(truth) == 8
    with Run(folder, "episodes", "trials.yaml", "--json") as asked:
        done = asked.end()
    assert done.code == 0, done
    (found,) = json.loads(done.out)["recordings"]
    episodes = found["episodes"]
    assert [(e["task"], e["label"]) for e in episodes] == [(task, label) for *_, task, label in truth]
    assert [e["start_s"] for e in episodes] == pytest.approx([start for start, *_ in truth], abs=0.1)
    assert [e["start_s"] + e["seconds"] for e in episodes] == pytest.approx([t[1] for t in truth], abs=0.1)
    assert ["abort" in p["text"] for p in found["problems"]].count(True) == 1
    assert ["started again" in p["text"] for p in found["problems"]].count(True) == 1
    assert ["nothing moves" in p["text"] for p in found["problems"]].count(True) == 1


def test_one_trial_is_dark_and_in_one_the_camera_is_lost(heard: dict[str, list[tuple[int, Any]]]) -> None:
    stamps = np.array([stamp for stamp, _ in heard["/camera/image_raw/compressed"]])
    pictures = [message.data.tobytes() for _, message in heard["/camera/image_raw/compressed"]]
    bright = np.array([simplejpeg.decode_jpeg(data, "GRAY").mean() for data in pictures])
    (pause,) = np.flatnonzero(np.diff(stamps) > 0.3 * S)
    assert 0.55 < (stamps[pause + 1] - stamps[pause]) / S < 0.75
    dark = stamps[bright < 5]
    assert 3 < (dark[-1] - dark[0]) / S < 6
    assert np.count_nonzero((stamps >= dark[0]) & (stamps <= dark[-1])) == len(dark)
    assert (bright[bright > 5] > 60).all()


def test_the_same_seed_gives_the_same_bytes_and_nothing_is_written_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        demo.trials(tmp_path / f"{name}.bag", count=1)
    assert (tmp_path / "a.bag").read_bytes() == (tmp_path / "b.bag").read_bytes()
    (tmp_path / "mine.yaml").write_text("mine")
    with Run(tmp_path, "demo", "trials", "mine.bag", "--trials", "1") as asked:
        done = asked.end()
    assert done.code == 73
    assert "mine.yaml exists already" in done.err
    assert not (tmp_path / "mine.bag").exists()
    with Run(tmp_path, "demo", "trials", "none.bag", "--trials", "0") as asked:
        done = asked.end()
    assert done.code == 64
    assert not (tmp_path / "none.yaml").exists()
