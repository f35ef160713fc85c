"""The examples in configs/, each run unedited on a recording of its kind, and its frames looked at."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

import streamer
from tests.bags import SECOND, START
from tests.pipeline.driver import ROOT, Finished, Run
from tests.robots import humanoid, lidar_camera, raw_cameras

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from streamer import Frame


def run_example(folder: Path, name: str, recording: Path, monkeypatch: pytest.MonkeyPatch) -> list[Frame]:
    """Check and run an example in a folder of its own; return its frames."""
    shutil.copy(ROOT / "configs" / f"{name}.yaml", folder)
    monkeypatch.setenv("RECORDING", str(recording))
    checked = command(folder, "check", f"{name}.yaml", "--json")
    assert checked.code == 0, checked
    finished = command(folder, "run", f"{name}.yaml")
    assert finished.code == 0, finished
    frames: list[Frame] = list(streamer.open(folder / f"{name}.yaml").frames())
    assert finished.report["frames"]["delivered"] == len(frames)
    assert json.loads(checked.out)["recordings"][0]["frames"] == len(frames)
    assert (folder / "out" / name / f"{recording.stem}.preview.png").exists()
    return frames


def command(folder: Path, *arguments: str) -> Finished:
    with Run(folder, *arguments) as running:
        return running.end()


def value(frame: Frame, name: str) -> Any:
    found = frame[name]
    assert found is not None
    return found


def test_raw_cameras_come_resized_as_rgb_and_joints_by_their_own_stamps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw_cameras(tmp_path / "cameras")
    frames = run_example(tmp_path, "raw-cameras", path, monkeypatch)
    assert len(frames) == 40
    for frame in frames[1:]:
        assert value(frame, "left").shape == value(frame, "right").shape == (240, 424, 3)
        assert value(frame, "left")[0, 0].tolist() == [3 * frame.number, 90, 30]
        assert value(frame, "right")[0, 0, 1:].tolist() == [90, 30]
        seconds = (frame.tick - frames[0].tick) / 1e9
        if frame is not frames[-1]:
            assert np.allclose(value(frame, "joints"), seconds + 0.02)


def test_the_humanoids_arms_are_cut_out_its_degrees_converted_and_its_gripper_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = run_example(tmp_path, "humanoid", humanoid(tmp_path / "humanoid"), monkeypatch)
    assert len(frames) in (39, 40)  # of 6 s at 10 Hz, ten left out at both ends
    for frame in frames:
        at = (frame.tick - START) / SECOND
        assert value(frame, "arms").dtype == np.float32
        assert np.allclose(value(frame, "arms"), np.arange(12, 26) + at, atol=0.004)
        assert np.allclose(value(frame, "action"), np.deg2rad(np.arange(14) * 10.0))
        assert value(frame, "depth").dtype == np.uint16
        grips = [n for n, command in enumerate((0.5, 1.5, 2.0, 4.9, 5.5)) if command <= at]
        assert value(frame, "gripper").tolist() == [grips[-1], -grips[-1]]
        assert [bool(s and s.gap) for s in map(frame.samples.get, ("gripper", "action"))] == [
            2 < at < 4.9,
            3 < at < 3.5,
        ]


def test_the_lidar_sets_the_pace_and_a_lost_picture_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = run_example(tmp_path, "lidar-camera", lidar_camera(tmp_path / "drive"), monkeypatch)
    assert len(frames) >= 39
    for frame in frames:
        points = value(frame, "lidar")
        assert points.dtype.names == ("x", "y", "z", "intensity")
        assert len(points) == 100 + frame.number
        assert set(points["intensity"].tolist()) == {float(frame.number)}
        half = (frame.tick - frames[0].tick) / 4e9
        assert np.allclose(value(frame, "odometry")[[0, 5, 6]], [half, np.sin(half), np.cos(half)], atol=1e-6)
        assert np.isclose(value(frame, "gyro")[2], 4 * half)
    assert (tmp_path / "out" / "lidar-camera" / "drive.checksum.json").exists()
