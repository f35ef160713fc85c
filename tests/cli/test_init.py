"""`streamer init`: from a recording to a configuration that runs as it is; and the schema that editors get."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from streamer.config.load import load
from tests.bags import SECOND, START, joints, record
from tests.pipeline.driver import ROOT, Finished, Run

REAL = ("so101_wrist.bag", "example.bag", "example-lz4.bag", "example-bz2.bag", "kuka.bag", "ros_numpy.bag")
REAL_2 = ("nav2_turtlebot.mcap", "gpsnav.db3")
SCHEMA = Draft202012Validator(json.loads((ROOT / "configs" / "schema.json").read_text()))


def command(folder: Path, *arguments: str) -> Finished:
    with Run(folder, *arguments) as running:
        return running.end()


def valid(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(path.read_text())
    assert not [error.message for error in SCHEMA.iter_errors(values)]
    return values


@pytest.mark.parametrize("name", [*REAL, *REAL_2])
def test_what_it_writes_for_a_real_recording_runs_unedited(tmp_path: Path, recordings: Path, name: str) -> None:
    wrote = command(tmp_path, "init", str(recordings / name))
    assert wrote.code == 0, wrote
    assert "streamer check config.yaml" in wrote.out
    valid(tmp_path / "config.yaml")
    finished = command(tmp_path, "run", "config.yaml")
    assert finished.code == 0, finished
    assert finished.report["frames"]["delivered"] > 0
    assert (tmp_path / "out" / f"{Path(name).stem}.preview.png").exists()


def test_the_demo_gets_cameras_depth_and_joints_with_their_names(tmp_path: Path) -> None:
    wrote = command(tmp_path, "init", "demo://tabletop?seconds=2", "-o", "robot.yaml")
    assert wrote.code == 0, wrote
    values = valid(tmp_path / "robot.yaml")
    assert values["source"] == {"path": "demo://tabletop?seconds=2"}
    assert values["streams"]["gripper_command"]["align"] == "previous"
    assert {"cam_front", "cam_wrist", "cam_front_depth", "joint_states"} <= set(values["streams"])
    assert values["timeline"] == {"from": "cam_front"}
    text = (tmp_path / "robot.yaml").read_text()
    assert ", JointState, 6 (rad, m for sliding joints)\n" in text
    assert "elements: [waist, shoulder, elbow, wrist_pitch, wrist_roll, gripper]" in text
    assert text.startswith("# yaml-language-server: $schema=.streamer/schema.json\n")
    assert (tmp_path / ".streamer" / "schema.json").read_text() == (ROOT / "configs" / "schema.json").read_text()
    assert command(tmp_path, "run", "robot.yaml").code == 0


def test_every_consumer_that_is_offered_as_a_comment_is_a_line_that_loads(tmp_path: Path) -> None:
    assert command(tmp_path, "init", "demo://tabletop?seconds=2").code == 0
    lines = (tmp_path / "config.yaml").read_text().split("consumers:", 1)[1].splitlines()[1:]
    offered = [re.sub("^  # ", "  ", line).split("  # ")[0] for line in lines if "{" in line]
    assert {"checksum", "lerobot", "parquet", "video", "zarr"} <= {line.split(":")[0].strip() for line in offered}
    text = (tmp_path / "config.yaml").read_text().split("consumers:", 1)[0] + "consumers:\n" + "\n".join(offered)
    (tmp_path / "all.yaml").write_text(text)
    valid(tmp_path / "all.yaml")
    load(tmp_path / "all.yaml")
    finished = command(tmp_path, "run", "all.yaml", "timeline.rate=10 Hz")
    assert finished.code == 0, finished


def test_headings_are_offered_as_comments_that_check_and_nothing_is_cut_short(tmp_path: Path, recordings: Path) -> None:
    assert command(tmp_path, "init", str(recordings / "gpsnav.db3")).code == 0
    text = (tmp_path / "config.yaml").read_text()
    assert "…" not in text
    names = re.findall(r"^  # (\w+_yaw): ", text, re.MULTILINE)
    assert names == ["odometry_yaw", "vehicle_pose_yaw"]
    (tmp_path / "config.yaml").write_text(re.sub(r"^  # (\w+_yaw: )", r"  \1", text, flags=re.MULTILINE))
    checked = command(tmp_path, "check", "config.yaml", "--json")
    assert checked.code == 0, checked
    streams = json.loads(checked.out)["recordings"][0]["streams"]
    assert [streams[name]["shape"] for name in names] == [[1], [1]]


def test_a_file_that_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    path = record(tmp_path / "arm", "ros1", joints("/arm", range(START, START + SECOND, SECOND // 10)))
    (tmp_path / "config.yaml").write_text("mine")
    refused = command(tmp_path, "init", str(path))
    assert refused.code == 64
    assert "--force" in refused.err
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert command(tmp_path, "init", str(path), "--force").code == 0
    assert valid(tmp_path / "config.yaml")["source"] == {"path": "arm.bag"}  # beside it: relative
    shown = command(tmp_path, "init", str(path), "-o", "-")
    assert shown.out == (tmp_path / "config.yaml").read_text()


def test_a_topic_that_ends_early_does_not_cut_the_run_and_one_whose_length_varies_is_read(tmp_path: Path) -> None:
    ten = range(START, START + 10 * SECOND, SECOND // 10)
    varying = [*joints("/scan", ten[:50], size=3), *joints("/scan", ten[50:], size=5)]
    path = record(tmp_path / "bag[1]", "ros1", [*joints("/arm", ten), *joints("/short", ten[:60]), *varying])
    assert command(tmp_path, "init", str(path)).code == 0
    assert command(tmp_path, "run", "config.yaml").report["frames"]["delivered"] == 100


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_takes_the_examples_and_an_editor_is_told_where_it_is(path: Path) -> None:
    values = valid(path)
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")
    for where in (values, *values["streams"].values(), *values["consumers"].values(), values["source"]):
        where["topik"] = 1
        assert not SCHEMA.is_valid(values)
        del where["topik"]


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"timeline": {"rate": "10 Hz"}, "pool": "512 MB"}, True),
        ({"timeline": {"rate": "${HZ:-10 Hz}"}, "chunk_size": "${N:-50}"}, True),
        ({"streams": {"a": {"topic": ["/a", "/b"], "tolerance": "50 ms", "scale": "deg2rad", "resize": [4, 3]}}}, True),
        ({"timeline": {"rate": "10 hz"}}, False),
        ({"pool": 512}, False),
        ({"chunk_sise": 3}, False),
        ({"streams": {"a": {"topic": "/a", "scale": "degrees"}}}, False),
    ],
)
def test_the_schema_knows_units(values: dict[str, Any], fits: bool) -> None:  # noqa: FBT001 - a column of the table
    whole = {"source": {"path": "a.bag"}, "streams": {"a": {"topic": "/a"}}, "consumers": {"null": {}}, **values}
    assert SCHEMA.is_valid(whole) is fits


def test_the_committed_schema_is_the_one_that_is_printed(tmp_path: Path) -> None:
    printed = command(tmp_path, "schema")
    assert printed.code == 0
    assert printed.out == (ROOT / "configs" / "schema.json").read_text(), "streamer schema > configs/schema.json"
    Draft202012Validator.check_schema(json.loads(printed.out))
