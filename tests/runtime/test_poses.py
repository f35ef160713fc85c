"""Poses of a recording's transforms, through a whole run → what scipy makes of the same messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

import streamer
from streamer.errors import RecordingError
from tests.bags import FLOAT, Message, encoded, header, make, record
from tests.test_tf import BASE, STEP, links, random_tree, to_root

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.tf import Transform

TF = "tf2_msgs/msg/TFMessage"
TICKS = 39
ALL = ["/tf", "/arm/tf", "/tf_static"]


def message(topic: str, at: int, transform: Transform) -> Message:
    x, y, z, *turn = transform.pose
    pose = {"translation": {"x": x, "y": y, "z": z}, "rotation": dict(zip("xyzw", turn, strict=True))}
    values: dict[str, Any] = {"header": header(at, "/" + transform.parent), "child_frame_id": transform.child}
    made = make("cdr", "geometry_msgs/msg/TransformStamped", **values, transform=pose)
    return Message(topic, at, encoded("cdr", TF, transforms=[made]), TF)


def recorded(folder: Path, transforms: list[tuple[int, bool, Transform]]) -> Path:
    """Write a clock and transforms: moving ones on two topics, static ones at the very end."""
    found = [Message("/clock", BASE + n * STEP + 7, encoded("cdr", FLOAT, data=n)) for n in range(TICKS)]
    for stamp, static, transform in transforms:
        topic = "/tf_static" if static else ("/tf", "/arm/tf")[int(transform.child.strip("f") or 0) % 2]
        found.append(message(topic, BASE + 41 * STEP if static else stamp, transform))
    return record(folder / "bag", "mcap", sorted(found, key=lambda m: m.stamp))


def opened(folder: Path, path: Path, streams: dict[str, Any], **timeline: Any) -> streamer.Opened:
    values = {
        "source": {"path": str(path)},
        "timeline": {"from": "clock", **timeline},
        "streams": {"clock": {"topic": "/clock"}, **streams},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return streamer.open(folder / "config.yaml")


@pytest.mark.parametrize("seed", range(3))
def test_every_pose_of_a_random_tree_is_that_of_brute_force(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    transforms = random_tree(rng, 9)
    path = recorded(tmp_path, transforms)
    pairs = [(f"f{a}", f"f{b}") for a, b in rng.integers(9, size=(6, 2))] + [("f0", "f8"), ("f8", "f0"), ("f3", "f3")]
    streams = {
        f"s{n}": {"tf": {"from": a, "to": f"/{b}"}, "topic": ALL, "align": "linear"} for n, (a, b) in enumerate(pairs)
    }
    seen = 0
    for frame in opened(tmp_path, path, streams).frames():
        for n, (a, b) in enumerate(pairs):
            right = np.linalg.inv(to_root(transforms, a, frame.tick)) @ to_root(transforms, b, frame.tick)
            np.testing.assert_allclose(frame[f"s{n}"][:3], right[:3, 3], atol=1e-9)
            np.testing.assert_allclose(Rotation.from_quat(frame[f"s{n}"][3:]).as_matrix(), right[:3, :3], atol=1e-9)
        seen += 1
    assert seen == TICKS


def test_frames_that_only_another_topic_connects_are_named_with_their_pieces(tmp_path: Path) -> None:
    path = recorded(tmp_path, [*links(("f0", "f2"), ("f1", "f3")), *links(("f3", "f4"), static=True)])
    said = "streams.it: no transforms connect 'f0' and 'f4'. Pieces: f0 → f2; f3 → f4"
    with pytest.raises(RecordingError, match=said):
        next(iter(opened(tmp_path, path, {"it": {"tf": {"from": "f0", "to": "f4"}}}).frames()))


def test_a_window_in_iso_time_a_shift_and_a_later_instant_go_with_a_pose(tmp_path: Path) -> None:
    transforms = random_tree(np.random.default_rng(1), 4)
    assert not any(static for _, static, _ in transforms)
    path = recorded(tmp_path, transforms)
    start = datetime.fromtimestamp((BASE + 10 * STEP) / 1e9, UTC).isoformat()
    tf = {"tf": {"from": "f0", "to": "f3"}, "topic": ALL, "align": "linear"}
    streams = {"late": {**tf, "shift": "-3 ms"}, "next": {**tf, "at": "+1 tick"}, "soon": {**tf, "at": "4 ms"}}
    frames = {
        frame.tick: {name: frame[name].copy() for name in streams}
        for frame in opened(tmp_path, path, streams, start=start, end_at="300 ms").frames()
    }
    assert list(frames) == [BASE + n * STEP + 7 for n in range(10, 29)]  # the last has no next one
    for tick, found in frames.items():
        for name, instant in (("late", tick + 3_000_000), ("next", tick + STEP), ("soon", tick + 4_000_000)):
            right = np.linalg.inv(to_root(transforms, "f0", instant)) @ to_root(transforms, "f3", instant)
            np.testing.assert_allclose(found[name][:3], right[:3, 3], atol=1e-9, err_msg=name)
