"""Recordings of other people's robots, and one content in many formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.demo import Workload, make
from tests.pipeline.driver import Run, digests, run

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]
DIGEST = {"digest": {"use": "checksum", "options": {"out": "digest.json"}, "recycle": {"chunks": 2}}}


def test_three_compressions_of_one_bag_give_one_digest(tmp_path: Path, recordings: Path) -> None:
    found = []
    for name in ("example.bag", "example-lz4.bag", "example-bz2.bag"):
        config = {
            "source": {"path": str(recordings / name)},
            "timeline": {"from": "pose", "rate": "20 Hz"},
            "streams": {
                "pose": {"topic": "/turtle1/pose"},
                "command": {"topic": "/turtle2/cmd_vel", "align": "previous", "missing": "none"},
                "frame": {"topic": "/tf", "field": "transforms[0].transform", "align": "linear"},
            },
            "consumers": DIGEST,
        }
        finished = run(tmp_path / name, config)
        assert finished.code == 0, finished
        found.append(digests(tmp_path / name / "digest.json"))
    assert found[0] == found[1] == found[2]
    assert found[0]["frames"] > 400


def test_a_wrist_camera_reaches_two_consumers_one_of_them_recycled(tmp_path: Path, recordings: Path) -> None:
    config = {
        "source": {"path": str(recordings / "so101_wrist.bag")},
        "timeline": {"from": "wrist", "rate": "10 Hz"},
        "chunk_size": 10,
        "streams": {
            "wrist": {"topic": "/wrist_camera/image_raw/compressed"},
            "state": {"topic": "/joint_states", "field": "position", "clock": "header"},
            "action": {"topic": ["/nowhere", "/joint_commands"], "field": "position", "scale": "rad2deg"},
        },
        "consumers": DIGEST | {"other": {"use": "checksum", "options": {"out": "other.json"}}},
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "other.json")
    assert finished.report["frames"]["delivered"] == 128
    assert finished.report["consumers"]["digest"]["restarts"] == {"planned": 6, "crash": 0}


@pytest.mark.parametrize(
    ("name", "timeline", "streams", "frames"),
    [
        ("kuka.bag", {"from": "arm", "rate": "25 Hz"}, {"arm": {"topic": "/joint_states", "field": "position"}}, 1025),
        (
            "nav2_turtlebot.mcap",
            {"from": "grid", "rate": "5 Hz"},
            {"odom": {"topic": "/odom", "field": "pose.pose", "align": "linear"}},
            487,
        ),
        (
            "gpsnav.db3",
            {"from": "odom", "rate": "10 Hz", "end": "timeline"},
            {"odom": {"topic": "/odometry", "field": "twist.twist"}, "gps": {"topic": "/gps", "field": "latitude"}},
            1233,  # six gaps in it
        ),
        (
            "ros_numpy.bag",
            {"from": "image"},
            {
                "image": {"topic": "/image"},
                "png": {"topic": "/compressedimage", "resize": [4, 4]},
                "cloud": {"topic": "/pointcloud"},
                "map": {"topic": "/occupancygrid", "field": "data"},
                "pose": {"topic": "/pose"},
            },
            1,
        ),
    ],
)
def test_real_recordings_stream(
    tmp_path: Path, recordings: Path, name: str, timeline: Config, streams: Config, frames: int
) -> None:
    config = {"source": {"path": str(recordings / name)}, "timeline": timeline, "streams": streams, "consumers": DIGEST}
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert abs(digests(tmp_path / "digest.json")["frames"] - frames) <= 2
    if name == "gpsnav.db3":
        assert "does not hold all of this type's definition" in finished.err  # it says whose types it used


def test_a_type_that_nobody_defines_is_told(tmp_path: Path, recordings: Path) -> None:
    topic = "/vehicle_command_ackermann"
    config = {
        "source": {"path": str(recordings / "gpsnav.db3")},
        "timeline": {"from": "command"},
        "streams": {"command": {"topic": topic, "field": "drive.speed"}},
        "consumers": DIGEST,
    }
    finished = run(tmp_path, config)
    assert finished.code == 78, finished
    assert "ackermann_msgs/msg/AckermannDriveStamped" in finished.err
    folder = tmp_path / "types" / "ackermann_msgs" / "msg"
    folder.mkdir(parents=True)
    speeds = ("steering_angle", "steering_angle_velocity", "speed", "acceleration", "jerk")
    (folder / "AckermannDrive.msg").write_text("\n".join(f"float32 {name}" for name in speeds))
    (folder / "AckermannDriveStamped.msg").write_text("std_msgs/Header header\nAckermannDrive drive\n")
    mended = run(tmp_path, config, "types=[types, humble]")
    assert mended.code == 0, mended


@pytest.mark.parametrize(
    ("form", "image", "compression"),
    [
        ("ros1", "raw", "lz4"),
        ("mcap", "raw", "zstd"),
        ("db3", "raw", "none"),
        pytest.param("mcap", "raw", "none", marks=pytest.mark.slow),
        pytest.param("db3", "raw", "zstd", marks=pytest.mark.slow),
    ],
)
def test_one_workload_in_every_format_gives_one_digest(tmp_path: Path, form: str, image: str, compression: str) -> None:
    config: Config = {
        "timeline": {"from": "camera", "rate": "10 Hz"},
        "streams": {
            "camera": {"topic": "/camera_0/image_raw"},
            "joints": {"topic": "/joints_0", "field": "position", "clock": "header"},
        },
        "consumers": DIGEST,
    }
    found = []
    for kind, squeezed in (("ros1", "none"), (form, compression)):
        folder = tmp_path / f"{kind}-{squeezed}"
        folder.mkdir()
        path = folder / ("work.bag" if kind == "ros1" else "work")
        make(
            path,
            Workload(
                cameras=1, width=64, height=48, format=kind, image=image, compression=squeezed,
                joint_topics=1, joint_hz=100, seconds=2,
            ),
        )  # fmt: skip
        finished = run(folder, config | {"source": {"path": str(path)}})
        assert finished.code == 0, finished
        found.append(digests(folder / "digest.json"))
    assert found[0] == found[1]


def test_several_recordings_are_streamed_one_after_the_other(tmp_path: Path, recordings: Path) -> None:
    config: Config = {
        "source": {"path": [str(recordings / "example*.bag")]},
        "timeline": {"from": "pose"},
        "streams": {"pose": {"topic": "/turtle1/pose"}},
        "consumers": {"digest": {"use": "checksum", "options": {"out": "{recording}.json"}}},
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    names = ("example", "example-bz2", "example-lz4")
    first, second, third = (digests(tmp_path / f"{name}.json") for name in names)
    assert first == second == third
    assert [r["state"] for r in finished.report["recordings"]] == ["done"] * 3
    assert finished.report["frames"]["delivered"] == 3 * first["frames"]


def test_info_tells_what_is_in_a_recording_and_its_suggestion_runs(tmp_path: Path, recordings: Path) -> None:
    import json

    with Run(tmp_path, "info", str(recordings / "so101_wrist.bag"), "--json") as running:
        finished = running.end()
    assert finished.code == 0, finished
    found = json.loads(finished.out)
    assert found["indexed"] is True
    assert found["compression"] == "none"
    assert found["messages"] == 1149
    camera = next(t for t in found["topics"] if t["name"].startswith("/wrist_camera"))
    assert camera["type"] == "sensor_msgs/msg/CompressedImage"
    assert camera["rate_hz"] == pytest.approx(30, rel=0.01)
    (tmp_path / "suggested.yaml").write_text(found["suggested_config"])
    with Run(tmp_path, "run", "suggested.yaml") as running:
        finished = running.end()
    assert finished.code == 0, finished
    assert (tmp_path / "out" / "so101_wrist.preview.png").exists()


def test_info_says_of_an_unfinished_bag_that_it_has_no_index(tmp_path: Path, recordings: Path) -> None:
    import json

    content = bytearray((recordings / "kuka.bag").read_bytes())
    at = content.index(b"index_pos=") + len(b"index_pos=")
    content[at : at + 8] = bytes(8)
    (tmp_path / "open.bag").write_bytes(content)
    with Run(tmp_path, "info", "open.bag", "--json") as running:
        finished = running.end()
    assert finished.code == 65
    assert json.loads(finished.out)["indexed"] is False


def test_several_recordings_may_not_write_over_each_other(tmp_path: Path, recordings: Path) -> None:
    config: Config = {
        "source": {"path": [str(recordings / "example.bag"), str(recordings / "example-lz4.bag")]},
        "timeline": {"from": "pose"},
        "streams": {"pose": {"topic": "/turtle1/pose"}},
        "consumers": {
            "digest": {"use": "checksum", "options": {"out": "digest.json"}},
            "stats": {"options": {"out": "out"}},  # names its files after the recording
        },
    }
    refused = run(tmp_path, config)
    assert refused.code == 78, refused
    assert "consumers.digest.options.out" in refused.err
    assert "{recording}" in refused.err
    assert not (tmp_path / "digest.json").exists()
    config["consumers"]["digest"]["options"]["out"] = "{recording}.json"
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    names = {path.name for path in [*tmp_path.glob("*.json"), *(tmp_path / "out").iterdir()]}
    assert names == {"example.json", "example-lz4.json", "example.stats.json", "example-lz4.stats.json"}


def test_recordings_of_one_name_keep_apart(tmp_path: Path, recordings: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "arm.bag").symlink_to(recordings / "kuka.bag")
    config: Config = {
        "source": {"path": ["a/arm.bag", "b/arm.bag"]},
        "timeline": {"from": "arm", "rate": "10 Hz"},
        "streams": {"arm": {"topic": "/joint_states", "field": "position"}},
        "consumers": {"digest": {"use": "checksum", "options": {"out": "{recording}.json"}}},
    }
    assert run(tmp_path, config).code == 0
    assert digests(tmp_path / "arm.json") == digests(tmp_path / "arm-2.json")


def test_what_info_prints_into_a_pipe_is_a_configuration(tmp_path: Path, recordings: Path) -> None:
    from streamer.config.load import load

    with Run(tmp_path, "info", str(recordings / "example.bag")) as running:
        finished = running.end()
    assert finished.code == 0, finished
    assert "/turtle1/color_sensor" in finished.out
    assert "rosgraph_msgs/msg/Log" in finished.out
    (tmp_path / "config.yaml").write_text(finished.out)
    assert "turtle1_pose" in load(tmp_path / "config.yaml").config.streams
