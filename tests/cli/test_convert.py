"""`streamer convert`: from a recording to an output that its users' tools open, without a file to edit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pyarrow.parquet as pq
import yaml
from rosbags.highlevel import AnyReader

from streamer.demo import Workload, make
from tests.bags import IMAGE, JOINTS, SECOND, START, Message, encoded, header, numbers, record
from tests.pipeline.driver import Run, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pipeline.driver import Finished

WORK = Workload(cameras=1, width=64, height=48, hz=30, image="jpeg", joint_topics=1, joint_hz=100, seconds=2, seed=5)


def command(folder: Path, *arguments: str) -> Finished:
    with Run(folder, "convert", *arguments) as running:
        return running.end()


def positions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the joints as rosbags does: stamps and positions."""
    with AnyReader([path]) as reader:
        found = [
            (stamp, reader.deserialize(data, connection.msgtype).position)  # type: ignore[attr-defined]
            for connection, stamp, data in reader.messages()
            if connection.topic == "/joints_0"
        ]
    return np.array([stamp for stamp, _ in found]), np.array([values for _, values in found])


def test_two_recordings_become_a_dataset_whose_action_is_the_next_state(tmp_path: Path) -> None:
    make(tmp_path / "a.bag", WORK)
    make(tmp_path / "b.bag", WORK)
    what = ["*.bag", "--to", "lerobot", "--rate", "10", "--task", "stack the blocks", "-o", "set"]
    finished = command(tmp_path, *what, "--save", "c.yaml")
    assert finished.code == 0, finished
    first, *more = finished.out.splitlines()
    assert first.startswith("✓ ")
    assert "2 recordings: " in first
    assert "→ set" in first
    assert any("no topic holds commands: the action is joints_0 one tick later" in line for line in more)
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert (info["fps"], info["total_episodes"]) == (10, 2)
    assert {"observation.images.camera_0", "observation.state", "action"} <= info["features"].keys()
    rows = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet").to_pydict()
    for episode in (0, 1):
        mine = [n for n, value in enumerate(rows["episode_index"]) if value == episode]
        state = np.array([rows["observation.state"][n] for n in mine])
        action = np.array([rows["action"][n] for n in mine])
        assert np.array_equal(action[:-1], state[1:])
    stamps, values = positions(tmp_path / "a.bag")
    assert all(np.abs(values - one).sum(axis=1).min() < 1e-5 for one in np.array(rows["observation.state"]))
    assert len(stamps) > len(mine)

    again = command(tmp_path, *what)
    assert again.code == 0, again
    assert "✓ all 2 recordings were done in an earlier run (to do it again, remove set) → set" in again.out
    saved = yaml.safe_load((tmp_path / "c.yaml").read_text())
    saved["consumers"]["lerobot"]["options"]["out"] = str(tmp_path / "other")
    finished = run(tmp_path / "saved", saved)
    assert finished.code == 0, finished
    other = pq.read_table(tmp_path / "other/data/chunk-000/file-000.parquet").to_pydict()
    assert other["action"] == rows["action"]


def test_a_part_of_some_streams_becomes_a_table(tmp_path: Path) -> None:
    make(tmp_path / "a.bag", WORK)
    what = ["a.bag", "--to", "parquet", "--streams", "joints_0", "--start", "0.5", "--end", "1.5", "--rate", "20"]
    finished = command(tmp_path, *what)
    assert finished.code == 0, finished
    assert "1 stream → out/parquet" in finished.out
    table = pq.read_table(tmp_path / "out/parquet/a.parquet")
    stamps, values = positions(tmp_path / "a.bag")
    known = dict(zip(stamps.tolist(), values.tolist(), strict=True))
    elements = [field.name for field in table.schema if (field.metadata or {}).get(b"stream") == b"joints_0"]
    assert all(name.startswith("joints_0.") for name in elements)
    values = np.stack([table[name].to_numpy() for name in elements], axis=1)
    assert values.tolist() == [known[stamp] for stamp in table["joints_0.stamp"].cast("int64").to_pylist()]
    ticks = table["tick"].cast("int64").to_numpy()
    assert np.all(np.diff(ticks) == 50_000_000)
    assert 0.9e9 <= ticks[-1] - ticks[0] <= 1e9
    assert "was done in an earlier run" in command(tmp_path, *what).out
    other = command(tmp_path, *what[:-1], "10")  # is another conversion, and done
    assert other.code == 0, other
    assert pq.read_table(tmp_path / "out/parquet/a.parquet").num_rows == (len(table) + 1) // 2


def test_every_recording_that_failed_is_told_at_the_end_whatever_was_wrong_with_it(tmp_path: Path) -> None:
    make(tmp_path / "a.bag", WORK)
    (tmp_path / "b.bag").write_bytes((tmp_path / "a.bag").read_bytes()[:40_000])
    record(tmp_path / "c", "ros1", numbers("/other", [START, START + SECOND]))
    finished = command(tmp_path, "*.bag", "--to", "csv", "--rate", "5", "-o", "out")
    assert finished.code == 65, finished
    assert "✗ 3 recordings (1 done, 2 failed): " in finished.out
    assert "  b.bag: the bag is cut off" in finished.out
    assert any(line.startswith("  c.bag: ") and "has no '/" in line for line in finished.out.splitlines()), finished


def test_a_recording_becomes_an_episode_as_act_opens_it(tmp_path: Path) -> None:
    make(tmp_path / "a.bag", WORK)
    finished = command(tmp_path, "a.bag", "--to", "hdf5", "--rate", "10", "-o", "act")
    assert finished.code == 0, finished
    assert "the layout is aloha's; there is also --layout robomimic" in finished.out
    with h5py.File(tmp_path / "act/episode_0.hdf5") as root:
        state = root["/observations/qpos"][()]
        assert np.array_equal(root["/action"][:-1], state[1:])
        assert root["/observations/images/camera_0"].shape == (len(state), 48, 64, 3)
    _, values = positions(tmp_path / "a.bag")
    assert all(np.abs(values - one).sum(axis=1).min() == 0 for one in state)


def test_what_cannot_be_converted_is_told_with_what_there_is(tmp_path: Path) -> None:
    make(tmp_path / "a.bag", WORK)
    for options, code, words in (
        (("a.bag", "--to", "lerobt"), 64, "did you mean 'lerobot'?"),
        (("a.bag", "--to", "zarr", "--streams", "joint_0"), 64, "did you mean 'joints_0'?"),
        (("a.bag", "--to", "zarr", "--task", "x"), 64, "zarr has no tasks"),
        (("a.bag", "--to", "hdf5", "--layout", "tall"), 64, "hdf5 has aloha, robomimic"),
        (
            ("a.bag", "--to", "points"),
            65,
            "it has no cloud of points, which --to points is made of; it has camera_0 (image)",
        ),
        (("a.bag", "--to", "hdf5", "--streams", "camera_0"), 64, "which stream is the state, which --to hdf5 needs"),
        (("a.bag", "--to", "hdf5", "--state", "joint_0"), 64, "did you mean 'joints_0'?"),
        (("a.bag", "--to", "csv", "--action", "joints_0"), 64, "csv takes the streams as they are"),
        (("a.bag", "--to", "csv", "chunk_size=many"), 78, "the command line: chunk_size: should be a whole number"),
        (("b.bag", "--to", "zarr"), 65, "b.bag: no such file"),
        (("a.bag", "--to", "zarr", "--rate", "fast"), 64, "--rate: 'fast' is not a rate"),
        (("a.bag", "--to", "stats", "--start", "5"), 0, "the plan has no frame"),
    ):
        finished = command(tmp_path, *options)
        assert finished.code == code, (options, finished)
        assert words in finished.err, (options, finished)
        assert "Traceback" not in finished.err
    assert not (tmp_path / "out/zarr").exists()


def test_what_a_consumer_refuses_of_a_recording_is_told_with_its_name(tmp_path: Path) -> None:
    make(tmp_path / "a.bag", WORK)
    options = {"out": "set", "task": "t", "features": {"observation.state": "joints"}}
    config = {
        "source": {"path": str(tmp_path / "a.bag")},
        "timeline": {"from": "grid", "rate": "10.5 Hz"},
        "streams": {"joints": {"topic": "/joints_0", "field": "position"}},
        "consumers": {"mine": {"use": "lerobot", "options": options}},
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 78, finished
    assert "consumers.mine" in finished.err
    assert "a whole number of frames a second, the timeline 10.5 Hz" in finished.err


def test_an_array_of_numbers_on_a_command_topic_is_the_action_without_the_offset_of_its_layout(tmp_path: Path) -> None:
    kind, text = "std_msgs/msg/Float64MultiArray", "std_msgs/msg/String"
    messages = []
    for n in range(20):
        stamp, about = START + n * 10**8, header(START + n * 10**8)
        picture = {"height": 32, "width": 32, "encoding": "rgb8", "step": 96, "data": np.zeros(32 * 96, np.uint8)}
        joints = {"name": ["a", "b", "c"], "position": np.arange(3.0) + n}
        messages += [
            Message("/arm/commands", stamp, encoded("cdr", kind, data=np.arange(3.0) - n), kind),
            Message("/joint_states", stamp, encoded("cdr", JOINTS, header=about, **joints), JOINTS),
            Message("/cam/image_raw", stamp, encoded("cdr", IMAGE, header=about, **picture), IMAGE),
        ]
    messages.append(Message("/instruction", START, encoded("cdr", text, data="Pick"), text))
    record(tmp_path / "r", "mcap", sorted(messages, key=lambda message: message.stamp))
    finished = command(tmp_path, "r", "--to", "lerobot", "--rate", "10", "-o", "set")
    assert finished.code == 0, finished
    assert "'task_stream: instruction' makes it the task" in finished.out
    rows = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet").to_pydict()
    state, action = np.array(rows["observation.state"]), np.array(rows["action"])
    assert action.shape == state.shape
    assert len(action) >= 19
    np.testing.assert_array_equal(action + state, np.broadcast_to(2 * np.arange(3.0), state.shape))
    assert json.loads((tmp_path / "set/meta/info.json").read_text())["features"]["observation.state"]["names"] == [
        *"abc"
    ]


def test_settings_streams_that_are_state_and_action_and_what_is_not_read_are_said_on_the_command_line(
    tmp_path: Path,
) -> None:
    odometry, log = "nav_msgs/msg/Odometry", "rcl_interfaces/msg/Log"
    messages = []
    for n in range(20):
        stamp = START + n * 10**8
        about = {"header": header(stamp), "child_frame_id": ""}
        half = n / 40  # of the turn about z
        turn = {"x": 0.0, "y": 0.0, "z": float(np.sin(half)), "w": float(np.cos(half))}
        pose = {"pose": {"position": dict.fromkeys("xyz", float(n)), "orientation": turn}, "covariance": np.zeros(36)}
        still = {"linear": dict.fromkeys("xyz", 0.0), "angular": dict.fromkeys("xyz", 0.0)}
        twist = {"twist": still, "covariance": np.zeros(36)}
        for topic in ("/odom", "/ahead"):
            data = encoded("cdr", odometry, **about, pose=pose, twist=twist)
            messages.append(Message(topic, stamp, data, odometry))
    line = {"stamp": {"sec": 0, "nanosec": 0}, "level": 20, "name": "n", "msg": "m", "file": "f", "function": "g"}
    messages.append(Message("/rosout", START, encoded("cdr", log, **line, line=7), log))
    record(tmp_path / "r", "mcap", sorted(messages, key=lambda message: message.stamp))
    yaw = "streams.odom={topic: /odom, field: pose.pose.orientation, map: [{rotation: {to: yaw}}]}"
    finished = command(tmp_path, "r", "--to", "parquet", "--rate", "5", "--streams", "odom", yaw)
    assert finished.code == 0, finished
    assert "not read: /rosout: it is a log" in finished.out
    table = pq.read_table(tmp_path / "out/parquet/r.parquet")
    assert np.allclose(table["odom"].to_numpy(), np.arange(0, 20, 2)[: len(table)] / 20)

    refused = command(tmp_path, "r", "--to", "hdf5", "--rate", "5")
    assert refused.code == 64, refused
    assert "say so with --state: ahead, odom" in refused.err
    finished = command(tmp_path, "r", "--to", "hdf5", "--rate", "5", "--state", "odom", "--action", "ahead")
    assert finished.code == 0, finished
    with h5py.File(tmp_path / "out/hdf5/episode_0.hdf5") as root:
        assert np.array_equal(root["/action"][:, 0], np.arange(0, 20, 2)[: len(root["/action"])])
        assert np.array_equal(root["/observations/qpos"][()], root["/action"][()])
