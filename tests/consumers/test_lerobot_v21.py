"""LeRobot datasets of version 2.1, and what GR00T wants of them, held against the format and the frames shown.

The format is that of ``lerobot`` 0.3.3 (``datasets/utils.py``) and of Isaac-GR00T's ``data_preparation.md``. Whether
the package reads them, and converts them to v3.0, is asked in `test_lerobot_real.py`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from consumers.lerobot import LeRobot
from consumers.lerobot.features import make_features
from consumers.lerobot.modality import modality
from streamer.contract import Part, StreamInfo
from streamer.errors import ConfigError, OutputError
from tests.consumers.test_lerobot import HEAD, STATE, finish, info, killed_at, lead, options
from tests.consumers.test_outputs import CHUNK, JOINTS, PICTURES, frame, recording

if TYPE_CHECKING:
    from pathlib import Path

OLD: dict[str, Any] = {"format": "v2.1", "codec": "h264", "quality": 1}
DATA = "data/chunk-000/episode_{:06d}.parquet"
VIDEO = f"videos/chunk-000/{HEAD}/episode_{{:06d}}.mp4"


def lines(root: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "meta" / name).read_text().splitlines()]


def pictures(path: Path) -> list[Any]:
    with av.open(str(path)) as file:
        return [(float(one.time or 0), one.to_ndarray(format="rgb24")) for one in file.decode(video=0)]


def hold_episode(root: Path, number: int, begin: int, length: int, task: int) -> None:
    """Hold an episode's files against the frames that were shown."""
    table = pq.read_table(root / DATA.format(number))
    np.testing.assert_array_equal(np.stack(table[STATE].to_numpy()), JOINTS[:length].astype(np.float32))
    assert table["index"].to_pylist() == list(range(begin, begin + length))
    assert table["frame_index"].to_pylist() == list(range(length))
    assert set(table["episode_index"].to_pylist()) == {number}
    assert set(table["task_index"].to_pylist()) == {task}
    np.testing.assert_allclose(table["timestamp"].to_numpy(), np.arange(length) / 10, atol=1e-6)
    described = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert described[STATE] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "Sequence"}
    shown = pictures(root / VIDEO.format(number))
    assert len(shown) == length
    for n, (time, picture) in enumerate(shown):
        assert time == pytest.approx(n / 10)
        far = np.abs(picture.astype(int) - PICTURES[:length]).mean(axis=(1, 2, 3))  # noise, in half the colours' size
        assert np.argmin(far) == n


def test_every_episode_has_files_of_its_own_and_a_line_in_each_table(tmp_path: Path) -> None:
    for name, task in (("one", "Try"), ("two", "Again"), ("three", "Try")):
        finish(tmp_path, lead(tmp_path, fingerprint=name, task=task, **OLD), name, task=task, **OLD)
    paths = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    tables = ("episodes.jsonl", "episodes_stats.jsonl", "info.json", "provenance.jsonl", "tasks.jsonl")
    each = [pattern.format(n) for pattern in (DATA, VIDEO) for n in range(3)]
    assert paths == sorted(["README.md", *each, *(f"meta/{name}" for name in tables)])
    about = info(tmp_path)
    assert {key: about[key] for key in about if key.startswith("total_")} == {
        "total_episodes": 3,
        "total_frames": 60,
        "total_tasks": 2,
        "total_videos": 3,
        "total_chunks": 1,
    }
    assert (about["codebase_version"], about["chunks_size"], about["splits"]) == ("v2.1", 1000, {"train": "0:3"})
    assert about["data_path"].format(episode_chunk=0, episode_index=1) == DATA.format(1)
    assert about["video_path"].format(episode_chunk=0, episode_index=1, video_key=HEAD) == VIDEO.format(1)
    assert about["features"][HEAD]["info"]["video.is_depth_map"] is False
    assert lines(tmp_path, "tasks.jsonl") == [{"task_index": 0, "task": "Try"}, {"task_index": 1, "task": "Again"}]
    assert lines(tmp_path, "episodes.jsonl") == [
        {"episode_index": n, "tasks": [task], "length": 20} for n, task in enumerate(("Try", "Again", "Try"))
    ]
    for number, line in enumerate(lines(tmp_path, "episodes_stats.jsonl")):
        assert line["episode_index"] == number
        state, head = line["stats"][STATE], line["stats"][HEAD]
        assert state.keys() == {"min", "max", "mean", "std", "count"}
        np.testing.assert_allclose(state["mean"], JOINTS[:20].mean(axis=0), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(state["std"], JOINTS[:20].std(axis=0), rtol=1e-5)
        assert (state["count"], np.shape(head["mean"]), head["count"]) == ([20], (3, 1, 1), [20])
    for number, task_index in enumerate((0, 1, 0)):
        hold_episode(tmp_path, number, 20 * number, 20, task_index)
    card = (tmp_path / "README.md").read_text()
    assert "v2.1." in card
    assert "2 tasks: `meta/tasks.jsonl`" in card


def test_recordings_of_one_run_are_merged_in_their_order_and_others_words_stay(tmp_path: Path) -> None:
    parts = []
    for number in range(3):
        frames = CHUNK * (1 + number)
        about = dataclasses.replace(recording(frames), name=f"r{number}", provenance={"fingerprint": number}, part=True)
        consumer = LeRobot(**options(tmp_path / "set", **OLD))
        consumer.open(about, None)
        state: dict[str, Any] | None = None
        for n in range(frames):
            consumer.on_frame(frame(n))
            if n % CHUNK == CHUNK - 1:
                state = consumer.on_chunk(type("Chunk", (), {"number": n // CHUNK}))  # type: ignore[arg-type] # a number is all it takes
        consumer.close(about)
        parts.append(Part(about.name, about.path, state))
    merging = LeRobot(**options(tmp_path / "set", **OLD))
    merging.merge([parts[0], parts[2]])
    assert [line["length"] for line in lines(tmp_path / "set", "episodes.jsonl")] == [CHUNK, 3 * CHUNK]
    (tmp_path / "set/meta/modality.json").write_text("{}")
    # the second has come: it goes in between, and the third is taken out of the dataset, where its part is no more
    merging.merge(parts)
    begin = 0
    for number in range(3):
        hold_episode(tmp_path / "set", number, begin, CHUNK * (1 + number), 0)
        begin += CHUNK * (1 + number)
    assert [line["recording"] for line in lines(tmp_path / "set", "provenance.jsonl")] == ["r0", "r1", "r2"]
    stats = lines(tmp_path / "set", "episodes_stats.jsonl")
    np.testing.assert_allclose(stats[2]["stats"][STATE]["mean"], JOINTS[: 3 * CHUNK].mean(axis=0), rtol=1e-5, atol=1e-7)
    assert (tmp_path / "set/meta/modality.json").read_text() == "{}"
    assert info(tmp_path / "set")["total_frames"] == begin


@pytest.mark.parametrize("stride", [6, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.slow
def test_killed_at_any_step_of_joining_an_episode_it_finishes_the_same_dataset(tmp_path: Path, stride: int) -> None:
    plain, before = tmp_path / "plain", tmp_path / "before"
    for name in ("one", "two"):
        finish(plain, lead(plain, fingerprint=name, **OLD), name, **OLD)
    expected = {path.relative_to(plain): path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    finish(before, lead(before, fingerprint="one", **OLD), "one", **OLD)
    state = lead(before, fingerprint="two", **OLD)
    step, killed = 0, True
    while killed:
        out = shutil.copytree(before, tmp_path / f"killed-{step}")
        killed = killed_at(step, out, state, OLD)
        finish(out, state, "two", **OLD)
        found = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert found.keys() == expected.keys()
        for path, content in expected.items():
            assert found[path] == content or path.name == "provenance.jsonl", (step, path)
        step += stride
    assert step > 20  # seven files, each begun and renamed, and the shares removed


def test_versions_do_not_mix_and_one_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    finish(tmp_path, lead(tmp_path, fingerprint="one", **OLD), "one", **OLD)
    with pytest.raises(ConfigError, match=r"version v2\.1, to which episodes with v3\.0"):
        lead(tmp_path, fingerprint="two", codec="h264")
    with pytest.raises(ValueError, match=r"format is v3\.0 or v2\.1, not 'v1\.6'"):
        LeRobot(**options(tmp_path, format="v1.6"))
    about = info(tmp_path) | {"codebase_version": "v9.0"}
    (tmp_path / "meta/info.json").write_text(json.dumps(about))
    with pytest.raises(OutputError, match=r"version v9\.0; known are v3\.0, v2\.1"):
        LeRobot(**options(tmp_path)).merge([Part("a", "a.bag", {"key": "k", "ignored": False})])


def vector(name: str, *names: str, length: int = 0) -> StreamInfo:
    shape = (len(names) or length,)
    return StreamInfo(name, f"/{name}", "x", "vector", shape, np.dtype("f8"), names=names)


def test_modality_names_the_parts_of_state_and_action_as_groot_reads_them() -> None:
    """The ranges are those of Isaac-GR00T's examples for one SO-101 arm, and for two."""
    so101 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    both = tuple(f"{side}_{name}" for side in ("left", "right") for name in so101)
    streams = {
        "single_arm": vector("single_arm", *so101),
        "arms": vector("arms", *both),
        "torso": vector("torso", length=2),
        "base": vector("base", "vx", "vy"),
        "ego": StreamInfo("ego", "/ego", "x", "image", (4, 6, 3), np.dtype("u1")),
    }
    wanted = {
        "observation.images.ego_view": ["ego"],
        "observation.state": ["single_arm", "torso"],
        "observation.base": ["base"],
        "action": ["arms"],
    }
    features = make_features(wanted, {}, streams, codec="h264")
    assert modality(features, streams) == {
        "state": {
            "single_arm": {"start": 0, "end": 5},
            "gripper": {"start": 5, "end": 6},
            "torso": {"start": 6, "end": 8},
            "base": {"start": 0, "end": 2, "original_key": "observation.base"},
        },
        "action": {
            "left_arms": {"start": 0, "end": 5},
            "left_gripper": {"start": 5, "end": 6},
            "right_arms": {"start": 6, "end": 11},
            "right_gripper": {"start": 11, "end": 12},
        },
        "video": {"ego_view": {"original_key": "observation.images.ego_view"}},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }


def test_modality_is_written_once_and_belongs_to_videos(tmp_path: Path) -> None:
    finish(tmp_path, lead(tmp_path, fingerprint="one", modality=True, **OLD), "one", modality=True, **OLD)
    found = json.loads((tmp_path / "meta/modality.json").read_text())
    assert found["state"] == {"joints": {"start": 0, "end": 3}}
    assert found["video"] == {"head": {"original_key": HEAD}}
    (tmp_path / "meta/modality.json").write_text("{}")  # a person's
    finish(tmp_path, lead(tmp_path, fingerprint="two", modality=True, **OLD), "two", modality=True, **OLD)
    assert (tmp_path / "meta/modality.json").read_text() == "{}"
    with pytest.raises(ValueError, match="GR00T, which reads videos"):
        LeRobot(**options(tmp_path, modality=True, images="png"))
