"""Every line of the recipes' tables, tried on a small robot: what is written gives what the line says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

import streamer
from streamer.transform import BUILT_IN
from tests.bags import CLOUD, COMPRESSED, IMAGE, JOINTS, START, Message, encoded, make, record
from tests.pipeline.driver import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.contract import StreamInfo

_ROW = re.compile(r"^\| (?P<wish>[^|]+) \| (?P<write>[^|]+) \| (?P<get>[^|]+) \|$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
TEXT = "std_msgs/msg/String"
POSE, TF, INFO = "geometry_msgs/msg/PoseStamped", "tf2_msgs/msg/TFMessage", "sensor_msgs/msg/CameraInfo"
STATES = {"name": ["waist", "elbow", "gripper"], "position": [0.1, 0.2, 0.05]}
TURN = {"x": 0.5, "y": 0.5, "z": 0.5, "w": 0.5}


def recipes() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").partition("## What a step costs")[0]
    found = [(m["wish"], m["write"], m["get"]) for m in _ROW.finditer(text)]
    return [row for row in found if row[0] not in ("I want", "---")]


def robot() -> Iterator[Message]:
    picture = np.full((480, 640, 3), 90, np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].ravel()
    fields = [
        make("cdr", "sensor_msgs/msg/PointField", name=name, offset=4 * n, datatype=kind, count=1)
        for n, (name, kind) in enumerate({"x": 7, "y": 7, "z": 7, "ring": 6}.items())
    ]
    cloud = {"height": 1, "width": 500, "fields": fields, "point_step": 16, "row_step": 8000}
    k, p = [500.0, 0, 320, 0, 500, 240, 0, 0, 1], [500.0, 0, 320, 0, 0, 500, 240, 0, 0, 0, 1, 0]
    lens = {"height": 480, "width": 640, "distortion_model": "plumb_bob", "d": [-0.2, 0.1, 0, 0, 0], "k": k, "p": p}
    move = {"translation": {"x": 1.0}, "rotation": TURN}
    tree = make("cdr", "geometry_msgs/msg/TransformStamped", header=_header(0), child_frame_id="tool", transform=move)
    yield Message("/cam/camera_info", START, encoded("cdr", INFO, **lens, r=np.eye(3).ravel()), INFO)
    yield Message("/tf_static", START, encoded("cdr", TF, transforms=[tree]), TF)
    for n in range(8):
        at = START + n * 10**8
        yield Message("/cam", at, encoded("cdr", COMPRESSED, format="jpeg", data=jpeg), COMPRESSED)
        depth = {"height": 48, "width": 64, "encoding": "16UC1", "step": 128, "data": np.zeros(6144, np.uint8)}
        yield Message("/depth", at, encoded("cdr", IMAGE, **depth), IMAGE)
        yield Message("/joints", at, encoded("cdr", JOINTS, **STATES), JOINTS)
        yield Message("/pose", at, encoded("cdr", POSE, pose={"position": {"x": 1.0}, "orientation": TURN}), POSE)
        points = np.random.default_rng(n).random((500, 4), np.float32).view(np.uint8).ravel()
        yield Message("/instruction", at + 1, encoded("cdr", TEXT, data=f"part {n}"), TEXT)
        yield Message("/points", at, encoded("cdr", CLOUD, **cloud, data=points), CLOUD)


def _header(stamp: int) -> dict[str, Any]:
    return {"stamp": {"sec": (START + stamp) // 10**9, "nanosec": 0}, "frame_id": "base"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("robot") / "bag", "mcap", robot())


def told(info: StreamInfo) -> str:
    """Say what a stream is in the words of the page."""
    if info.kind == "text":
        return "text"
    if info.kind == "points":
        count = f"up to {info.shape[0]}" if info.variable else f"{info.shape[0]}"
        return f"{count} points: {', '.join(info.dtype.names or ())}"
    shape = [info.shape[1], info.shape[0], *info.shape[2:]] if len(info.shape) > 1 else info.shape
    names = f": {', '.join(name.rpartition('.')[2] for name in info.names)}" if info.names else ""
    return f"{'×'.join(map(str, shape))} {info.dtype.name}{names}"


@pytest.mark.parametrize(("wish", "write", "get"), recipes(), ids=[row[0] for row in recipes()])
def test_a_recipe_gives_what_it_says(recorded: Path, tmp_path: Path, wish: str, write: str, get: str) -> None:
    config: dict[str, Any] = {"source": {"path": str(recorded)}, "timeline": {"from": "clock"}, "streams": {}}
    for code in _CODE.findall(write):
        ((key, value),) = yaml.safe_load(code).items()
        if key == "timeline":
            config["timeline"] = value
        else:
            config["streams"][key] = value
    config["streams"]["clock"] = {"topic": "/cam"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found, there = "", []
    for chunk in streamer.open(tmp_path / "config.yaml").chunks():
        found = told(chunk.recording.streams["it"])
        there += [frame["it"] is not None for frame in chunk]
    assert found == get or found.partition(":")[0] == get, wish
    assert there == [True] * (5 if "timeline" in write else 7 if "tick" in write or "shift" in write else 8)


def test_there_are_recipes_for_every_step() -> None:
    written = " ".join(write for _, write, _ in recipes())
    assert [name for name in BUILT_IN if name not in written] == []
    assert len(recipes()) > 30
