"""``streamer show``: the arrays of a run in words and in a picture, whatever the streams hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from PIL import Image

import streamer
from streamer.config.load import load
from streamer.inprocess import Opened
from streamer.inspect.moment import number_at, show_frame
from tests.bags import record
from tests.test_recipes import robot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

STREAMS: dict[str, dict[str, Any]] = {
    "cam": {"topic": "/cam", "color": "bgr", "map": [{"crop": [0, 0, 100, 80]}, {"gray": "bgr"}]},
    "depth": {"topic": "/depth", "map": [{"scale": 0.001}]},
    "pose": {"topic": "/pose", "field": "pose.orientation", "map": [{"rotation": {"to": "euler xyz"}}]},
    "points": {"topic": "/points", "map": [{"crop": {"x": [0, 0.5]}}, {"fields": ["x", "y"]}]},
    "late": {"topic": "/pose", "field": "pose.position", "shift": "500 ms", "tolerance": "10 ms", "missing": "none"},
}


def config(folder: Path) -> Path:
    path = record(folder / "bag", "mcap", robot())
    values = {"source": {"path": str(path)}, "timeline": {"from": "cam", "end": "timeline"}, "streams": STREAMS}
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return folder / "config.yaml"


def test_one_frame_is_drawn_and_told(tmp_path: Path, commands: Command) -> None:
    config(tmp_path)
    found = commands(tmp_path, "show", "config.yaml", "--at", "310 ms", "-o", "it.png")
    assert found.code == 0, found
    lines = found.out.splitlines()
    assert lines[0] == "bag: frame 3, 0.30 s"
    assert lines[1] == "  cam: 640×480×3 → crop → 100×80×3 → gray → 100×80, +0.0 ms"
    assert lines[2].startswith("  depth: 64×48 → scale → 64×48, ")
    angles = [f"pose.orientation.{name}" for name in ("roll 1.5708", "pitch 0", "yaw 1.5708")]
    assert lines[3] == f"  pose: 4 → rotation → 3, +0.0 ms: {', '.join(angles)} (rad)"
    assert "points (x, y, z, ring) → crop → 500 points" in lines[4]
    assert lines[5] == "  late: no sample"
    with Image.open(tmp_path / "it.png") as picture:
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture))) > 20
    for options, said in (
        (("--frame", "8"), "bag has no frame 8: its frames are 0 to 7"),
        (("--frame", "1", "--at", "1 s"), "by --frame or by --at"),
        (("--at", "soon"), "--at: 'soon' is not a duration"),
    ):
        found = commands(tmp_path, "show", "config.yaml", *options)
        assert found.code == 64, found
        assert said in found.err


def test_what_is_shown_last_is_what_a_run_gives(tmp_path: Path) -> None:
    path = config(tmp_path)
    opened = Opened(load(path, (), consumers_needed=False))
    frames = [{name: np.array(frame[name]) for name in STREAMS} for frame in streamer.open(path).frames()]
    with opened.prepared(opened.paths()[0]) as prepared:
        assert number_at(prepared, 260_000_000) == 3
        for number in (0, 6):
            for shown in show_frame(prepared, number):
                if shown.stages:
                    assert np.array_equal(shown.stages[-1].array, frames[number][shown.name]), shown.name
