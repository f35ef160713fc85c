"""Datasets that the package ``lerobot`` edits, resumes, merges and converts, to which we add, and which it reads again.

Marked ``lerobot``: LEROBOT_PYTHON names one interpreter, or some with ``:`` between, each with that package. Two
environments cover what people run (docs/lerobot.md and CONTRIBUTING.md say how to set them up)::

    LEROBOT_PYTHON=/tmp/le04/bin/python:/tmp/le06/bin/python pytest -m lerobot -n0

An environment with 0.3.3, which reads v2.1, may stand beside them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumers.lerobot import LeRobot
from streamer.contract import Chunk, Sample
from tests.consumers.test_lerobot import DEPTH, HEAD, STATE
from tests.consumers.test_outputs import CHUNK, DEPTHS, JOINTS, PICTURES, frame, recording

pytestmark = pytest.mark.lerobot

PYTHONS = [python for python in os.environ.get("LEROBOT_PYTHON", "").split(":") if python]
FEATURES = {HEAD: "camera", STATE: "joints", DEPTH: "depth"}
COLOURED = {HEAD: "camera", STATE: "joints"}
LENGTHS = (20, 10, 15)


@pytest.fixture(params=PYTHONS or [""], ids=lambda python: Path(python).parts[-3] if python else "none")
def python(request: pytest.FixtureRequest) -> str:
    if not request.param:
        pytest.skip("set LEROBOT_PYTHON to the Python of an environment with lerobot (see the top of this file)")
    return str(request.param)


def real(python: str, *arguments: str | Path) -> str:
    """Run the package's side; return the last line that it prints."""
    script = Path(__file__).with_name("real_lerobot.py")
    done = subprocess.run(
        [python, str(script), *map(str, arguments)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return (done.stdout.splitlines() or [""])[-1]


def add(out: Path, name: str, frames: int, **options: Any) -> None:
    """Add an episode of ours."""
    about = recording(frames)
    about.provenance["fingerprint"] = name  # type: ignore[index] # the tests' own dict
    chosen: dict[str, Any] = {"out": str(out), "features": FEATURES, "task": f"Task {name}"}
    consumer = LeRobot(**chosen | options)
    consumer.open(about, None)
    for number in range(frames):
        shown = frame(number)
        shown.samples["depth"] = Sample(DEPTHS[number], shown.tick, 0, 0)
        consumer.on_frame(shown)
        if number % CHUNK == CHUNK - 1:
            consumer.on_chunk(Chunk(number // CHUNK, number - CHUNK + 1, number, CHUNK))
    consumer.close(about)


def ours(length: int) -> list[list[float]]:
    return [[float(number) for number in row] for row in JOINTS[:length].astype(np.float32)]


def theirs(length: int) -> list[list[float]]:
    return [[100.0 + n] * 3 for n in range(length)]


@cache
def version(python: str) -> str:
    """Return the package's version, such as 0.4."""
    code = "from importlib.metadata import version; print(version('lerobot'))"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    return ".".join(found.split(".")[:2])


@pytest.fixture(scope="module", params=[FEATURES, COLOURED], ids=["depth", "colour"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("written") / "dataset"
    for name, length in zip("abc", LENGTHS, strict=True):
        add(folder, name, length, features=request.param)
    return folder, request.param


EXPECTED: dict[str, tuple[list[str], list[list[list[float]]]]] = {
    "none": (["Task a", "Task b", "Task c"], [ours(n) for n in LENGTHS]),
    "delete": (["Task a", "Task c"], [ours(20), ours(15)]),
    "split": (["Task a", "Task c"], [ours(20), ours(15)]),
    "tasks": (["Changed", "Task b", "Task c"], [ours(n) for n in LENGTHS]),
    "resume": (["Task a", "Task b", "Task c", "Recorded"], [*(ours(n) for n in LENGTHS), theirs(6)]),
    "merge": (["Task a", "Task b", "Task c", "Recorded"], [*(ours(n) for n in LENGTHS), theirs(6)]),
}


@pytest.mark.parametrize("tool", EXPECTED)
def test_what_lerobot_edits_takes_an_episode_of_ours_and_is_read_by_it(
    tmp_path: Path, written: tuple[Path, dict[str, str]], python: str, tool: str
) -> None:
    dataset, features = written
    if version(python) == "0.3":
        pytest.skip("0.3 reads v2.1 only")
    old = version(python) == "0.4"  # whose tools know no pictures of one channel
    if (old and DEPTH in features and tool != "none") or (tool == "none" and DEPTH not in features):
        pytest.skip("0.4's tools know no pictures of one channel; what it reads is read with depth")
    root = shutil.copytree(dataset, tmp_path / "dataset")
    tasks, states = EXPECTED[tool]
    if old and tool == "merge":  # it merges only what describes videos in its own words
        add(tmp_path / "result.own", "own", 5, features=features)
        tasks, states = [*tasks[:-1], "Task own"], [*states[:-1], ours(5)]
    if tool != "none":
        real(python, "edit", tool, root, tmp_path / "result")
        root = {"split": tmp_path / "result/train"}.get(tool, tmp_path / "result")
        root = root if root.exists() else tmp_path / "dataset"
    for name in "de":
        add(root, name, 10, features=features)
    tasks, states = [*tasks, "Task d", "Task e"], [*states, ours(10), ours(10)]
    found = json.loads(real(python, "read", root))
    every = [state for episode in states for state in episode]
    assert found["episodes"] == [e for e, episode in enumerate(states) for _ in episode]
    assert found["index"] == list(range(len(every)))
    assert found["tasks"] == [tasks[e] for e in found["episodes"]]
    np.testing.assert_allclose(found["states"], every, rtol=1e-6)
    assert found["count"] == found["rows"] == len(every)
    np.testing.assert_allclose(found["stats"][STATE], np.mean(every, axis=0), rtol=1e-5, atol=1e-6)
    windows = np.array(found["windows"])
    np.testing.assert_allclose(windows[:, 1], every, rtol=1e-6)
    for number, (window, episode) in enumerate(zip(windows, found["episodes"], strict=True)):
        later = number + 1 if found["episodes"][number + 1 : number + 2] == [episode] else number
        np.testing.assert_allclose(window[2], every[later], rtol=1e-6)
    last = sum(len(episode) for episode in states) - 10
    assert np.mean(found["means"][HEAD]) == pytest.approx(np.mean(found["stats"][HEAD]), abs=0.02)
    heads = [PICTURES[n].mean() / 255 for n in range(10)]
    depths = [float(DEPTHS[n].mean()) for n in range(10)]
    assert found["means"][HEAD][last:] == pytest.approx(heads, abs=0.02)
    if DEPTH not in features:
        return
    assert found["means"][DEPTH][last:] == pytest.approx(depths, rel=1e-4)
    assert np.mean(found["means"][DEPTH]) == pytest.approx(np.mean(found["stats"][DEPTH]), rel=0.01)


def test_v21_is_read_by_the_package_that_wrote_it_and_converted_by_those_that_followed(
    tmp_path: Path, python: str
) -> None:
    root = tmp_path / "dataset"
    for name, length in zip("abc", LENGTHS, strict=True):
        add(root, name, length, format="v2.1", modality=True)
    if version(python) != "0.3":
        real(python, "edit", "convert", root, tmp_path / "unused")
        assert json.loads((root / "meta/info.json").read_text())["codebase_version"] == "v3.0"
    found = json.loads(real(python, "read", root))
    every = [state for length in LENGTHS for state in ours(length)]
    assert found["episodes"] == [e for e, length in enumerate(LENGTHS) for _ in range(length)]
    assert found["tasks"] == [f"Task {'abc'[e]}" for e in found["episodes"]]
    assert found["index"] == list(range(len(every)))
    assert found["count"] == len(every)
    np.testing.assert_allclose(found["states"], every, rtol=1e-6)
    np.testing.assert_allclose(found["stats"][STATE], np.mean(every, axis=0), rtol=1e-5, atol=1e-6)
    heads = [PICTURES[n].mean() / 255 for length in LENGTHS for n in range(length)]
    depths = [float(DEPTHS[n].mean()) for length in LENGTHS for n in range(length)]
    assert found["means"][HEAD] == pytest.approx(heads, abs=0.02)
    assert found["means"][DEPTH] == pytest.approx(depths, rel=1e-4)


def test_depth_as_a_video_is_read_and_resumed_in_millimetres(tmp_path: Path, python: str) -> None:
    if version(python) in ("0.3", "0.4"):
        pytest.skip("LeRobot knows such videos since 0.6")
    root = tmp_path / "dataset"
    for name, length in zip("ab", LENGTHS[:2], strict=True):
        add(root, name, length, depth="video", codec="h264")
    found = json.loads(real(python, "read", root))
    depths = [float(DEPTHS[n].mean()) for length in LENGTHS[:2] for n in range(length)]
    assert found["means"][DEPTH] == pytest.approx(depths, rel=1e-4)
    assert np.mean(depths) == pytest.approx(np.mean(found["stats"][DEPTH]), rel=1e-3)
    real(python, "edit", "resume", root, tmp_path / "unused")
    add(root, "c", 10, depth="video", codec="h264")
    found = json.loads(real(python, "read", root))
    assert found["episodes"] == [0] * 20 + [1] * 10 + [2] * 6 + [3] * 10
    assert found["means"][DEPTH][-10:] == pytest.approx(depths[:10], rel=1e-4)
    assert found["means"][DEPTH][30:36] == pytest.approx([1000 + n for n in range(6)], abs=1)


def test_act_is_trained_on_it_for_two_steps_by_lerobots_own_command(tmp_path: Path, python: str) -> None:
    if version(python) == "0.3":
        pytest.skip("0.3 reads v2.1 only")
    for name, length in zip("ab", LENGTHS[:2], strict=True):
        add(tmp_path / "dataset", name, length, features=COLOURED | {"action": "joints"}, codec="h264")
    wanted = {
        "dataset.repo_id": "me/dataset",
        "dataset.root": str(tmp_path / "dataset"),
        "dataset.video_backend": "pyav",
        "policy.type": "act",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "policy.pretrained_backbone_weights": "null",
        "policy.chunk_size": "5",
        "policy.n_action_steps": "5",
        "policy.dim_model": "32",
        "policy.n_heads": "2",
        "policy.dim_feedforward": "64",
        "steps": "2",
        "batch_size": "2",
        "num_workers": "0",
        "log_freq": "1",
        "wandb.enable": "false",
        "output_dir": str(tmp_path / "trained"),
    }
    done = subprocess.run(
        [str(Path(python).with_name("lerobot-train")), *(f"--{key}={value}" for key, value in wanted.items())],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    trained = tmp_path / "trained/checkpoints/000002/pretrained_model"
    assert (trained / "model.safetensors").stat().st_size > 0
    assert json.loads((trained / "config.json").read_text())["output_features"]["action"]["shape"] == [3]
