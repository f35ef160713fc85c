"""Angles that are unwrapped over the frames of a run → those of numpy and scipy, whatever the chunks are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation, Slerp

import streamer
from tests.bags import FLOAT, START, Message, encoded, make, record
from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MS = 10**6
POSE, TF = "geometry_msgs/msg/PoseStamped", "tf2_msgs/msg/TFMessage"
FRAMES = 40
ANGLES = np.stack([0.7 * np.sin(np.arange(FRAMES)), 0.3 * np.cos(np.arange(FRAMES)), 0.9 * np.arange(FRAMES)], axis=1)
NONE = 17  # a pose that comes too late for its frame
WRONG = 23  # one whose rotation has no length


def robot() -> Iterator[Message]:
    """A base that goes round several times: its pose at 10 Hz, beside a clock of 20 Hz."""
    signs = 1 - 2 * (np.arange(FRAMES) % 2)  # of one rotation
    for n, quaternion in enumerate(Rotation.from_euler("xyz", ANGLES).as_quat() * signs[:, None]):
        at = START + n * 100 * MS
        turn = dict(zip("xyzw", quaternion * (n != WRONG), strict=True))
        yield Message("/clock", at, encoded("cdr", FLOAT, data=n))
        yield Message("/clock", at + 50 * MS, encoded("cdr", FLOAT, data=n))
        late = 20 * MS if n == NONE else 0
        yield Message("/pose", at + late, encoded("cdr", POSE, pose={"orientation": turn}), POSE)
        move = {"rotation": dict(zip("xyzw", quaternion, strict=True))}
        made = make(
            "cdr",
            "geometry_msgs/msg/TransformStamped",
            header={"frame_id": "map"},
            child_frame_id="base",
            transform=move,
        )
        yield Message("/tf", at, encoded("cdr", TF, transforms=[made]), TF)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    messages = sorted(robot(), key=lambda message: message.stamp)
    return record(tmp_path_factory.mktemp("robot") / "bag", "mcap", messages)


def config(path: Path, **more: Any) -> dict[str, Any]:
    euler = [{"rotation": {"to": "euler xyz", "unwrap": True}}]
    heading = [{"rotation": {"to": "yaw", "unwrap": True}}, {"elements": ["orientation.yaw"]}, {"scale": "rad2deg"}]
    pose = {
        "topic": "/pose",
        "field": "pose.orientation",
        "tolerance": "5 ms",
        "missing": "none",
        "undecodable": "none",
    }
    streams = {
        "clock": {"topic": "/clock"},
        "pose": {**pose, "map": euler},
        "held": {**pose, "align": "previous", "tolerance": "60 ms", "map": euler},
        "base": {"tf": {"from": "map", "to": "base"}, "align": "previous", "map": heading},
    }
    return {"source": {"path": str(path)}, "timeline": {"from": "clock"}, "chunk_size": 7, "streams": streams} | more


def expected(values: list[NDArray[np.float64] | None]) -> list[NDArray[np.float64] | None]:
    """Unwrap what is there, as numpy does."""
    there = np.unwrap([value for value in values if value is not None], axis=0)
    found = iter(there)
    return [None if value is None else next(found) for value in values]


def wanted() -> dict[str, list[NDArray[np.float64] | None]]:
    """Say what each stream holds at every tick of the clock, 20 a second."""
    principal = Rotation.from_euler("xyz", ANGLES).as_euler("xyz")
    pose = [None if tick % 2 or tick // 2 in (NONE, WRONG) else principal[tick // 2] for tick in range(2 * FRAMES - 1)]
    held = [None if tick // 2 in (NONE, WRONG) else principal[tick // 2] for tick in range(2 * FRAMES - 1)]
    held[2 * NONE + 1] = principal[NONE]
    base = [principal[tick // 2][2:] for tick in range(2 * FRAMES - 1)]
    return {
        "pose": expected(pose),
        "held": expected(held),
        "base": [np.rad2deg(v) for v in expected(base) if v is not None],
    }


def shown(folder: Path, values: dict[str, Any]) -> dict[str, list[NDArray[np.float64] | None]]:
    (folder / "open.yaml").write_text(yaml.safe_dump({k: v for k, v in values.items() if k != "consumers"}))
    found: dict[str, list[NDArray[np.float64] | None]] = {name: [] for name in values["streams"]}
    for frame in streamer.open(folder / "open.yaml").frames():
        for name, value in frame.items():
            found[name].append(None if value is None else value.copy())
    return found


def test_angles_go_on_where_the_frame_before_was(recorded: Path, tmp_path: Path) -> None:
    found = shown(tmp_path, config(recorded))
    for name, values in wanted().items():
        assert len(found[name]) == len(values) == 2 * FRAMES - 1
        for n, (one, right) in enumerate(zip(found[name], values, strict=True)):
            assert (one is None) == (right is None), (name, n)
            if one is not None and right is not None:
                np.testing.assert_allclose(one, right, atol=1e-9, err_msg=f"{name} {n}")
    last = found["base"][-1]
    assert last is not None
    assert last[0] > 5 * 360


def test_they_depend_on_neither_chunks_nor_recycling_nor_where_a_run_goes_on(recorded: Path, tmp_path: Path) -> None:
    consumers: dict[str, Any] = {"checksum": {"options": {"out": "digest.json"}, "recycle": {"chunks": 2}}}
    values = config(recorded, consumers=consumers)
    assert run(tmp_path / "a", values).code == 0
    found = digests(tmp_path / "a/digest.json")
    consumers["bad"] = {
        "use": "tests.pipeline.probes:Faulty",
        "options": {"how": "kill", "at": 50},
        "on_failed": "isolate",
    }
    other = config(recorded, consumers=consumers, chunk_size=3, threads=1)
    run(tmp_path / "b", other)
    assert digests(tmp_path / "b/digest.json") == found
    consumers["bad"]["on_failed"] = "stop"
    assert run(tmp_path / "c", config(recorded, consumers=consumers)).code == 70
    del other["streams"]["pose"]["map"][0]["rotation"]["unwrap"]
    refused = run(tmp_path / "c", config(recorded, consumers=consumers, streams=other["streams"]), "--resume")
    assert refused.code == 78, refused
    assert "cannot be continued" in refused.err


def test_each_episode_begins_anew(recorded: Path, tmp_path: Path) -> None:
    values = config(recorded, episodes={"every": "1 s"})
    values["consumers"] = {"parquet": {"options": {"out": "out"}}}
    finished = run(tmp_path / "a", values)
    assert finished.code == 0, json.dumps(finished.report, indent=1)
    import pyarrow.parquet as pq

    principal = Rotation.from_euler("xyz", ANGLES).as_euler("xyz")[:, 2]
    for number in range(3):
        rows = pq.read_table(tmp_path / f"a/out/bag-{number:03d}.parquet")
        ticks = rows["tick"].cast("int64").to_numpy()
        right = np.rad2deg(np.unwrap(principal[(ticks - START) // (100 * MS)]))
        np.testing.assert_allclose(rows["base"].to_numpy(), right, atol=1e-9)


ARRAY = "std_msgs/msg/Float64MultiArray"


def test_between_quaternions_that_only_the_map_knows_lies_a_rotation_too(tmp_path: Path) -> None:
    turns = Rotation.from_euler("xyz", ANGLES[:8])
    signs = 1 - 2 * (np.arange(8) % 2)
    rows = np.concatenate([np.arange(8.0)[:, None], np.roll(turns.as_quat(), 1, axis=1) * signs[:, None]], axis=1)
    written = [encoded("cdr", ARRAY, data=row) for row in rows]
    messages = [Message("/row", START + n * 100 * MS, data, ARRAY) for n, data in enumerate(written)]
    messages += [Message("/clock", START + n * 25 * MS, encoded("cdr", FLOAT, data=n)) for n in range(29)]
    path = record(tmp_path / "bag", "mcap", sorted(messages, key=lambda message: message.stamp))
    rotation = {"rotation": {"from": "quaternion wxyz", "to": "matrix"}}
    row = {"topic": "/row", "field": "data", "align": "linear"}
    streams = {
        "clock": {"topic": "/clock"},
        "whole": {**row, "map": [{"rotation": {**rotation["rotation"], "at": 1}}]},
        "cut": {**row, "map": [{"elements": "1:5"}, rotation]},
    }
    found = shown(tmp_path, {"source": {"path": str(path)}, "timeline": {"from": "clock"}, "streams": streams})
    right = Slerp(np.arange(8) * 0.1, turns)(np.arange(29) * 0.025).as_matrix().reshape(29, 9)
    np.testing.assert_allclose([value for value in found["cut"] if value is not None], right, atol=1e-9)
    np.testing.assert_allclose([value[1:] for value in found["whole"] if value is not None], right, atol=1e-9)
