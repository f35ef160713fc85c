"""Poses between frames, against scipy on random trees, and messages against the bytes that rosbags writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation, Slerp

from streamer.errors import DecodeError, RecordingError
from streamer.tf import Transform, Tree, parse, track

if TYPE_CHECKING:
    from numpy.typing import NDArray

BASE = 1_700_000_000 * 10**9
STEP = 10**7


def pose(rng: np.random.Generator) -> tuple[float, ...]:
    return (*rng.uniform(-2, 2, 3), *Rotation.random(rng=rng).as_quat())


def random_tree(rng: np.random.Generator, size: int) -> list[tuple[int, bool, Transform]]:
    """A random tree: every frame but the first hangs on an earlier one, static or moving with its own stamps."""
    found = []
    for n in range(1, size):
        parent, child = f"f{rng.integers(n)}", f"f{n}"
        static = bool(rng.integers(2))
        count = 1 if static else 20
        stamps = np.sort(rng.choice(40 * STEP, count, replace=False)) + BASE
        if not static:
            stamps[0], stamps[-1] = BASE, BASE + 40 * STEP
        found += [(int(s), static, Transform(int(s), parent, child, pose(rng))) for s in stamps]
    rng.shuffle(found)
    return found


def matrix(values: list[tuple[int, Transform]], instant: int, *, static: bool) -> NDArray[np.float64]:
    """The brute force: one link at one instant as a 4×4 matrix, by scipy."""
    values = sorted(values, key=lambda value: value[0])
    stamps = np.array([stamp for stamp, _ in values])
    poses = np.array([transform.pose for _, transform in values])
    result = np.eye(4)
    if static:
        result[:3, :3], result[:3, 3] = Rotation.from_quat(poses[0, 3:]).as_matrix(), poses[0, :3]
        return result
    seconds = (stamps - BASE) / 1e9
    at = (instant - BASE) / 1e9
    result[:3, :3] = Slerp(seconds, Rotation.from_quat(poses[:, 3:]))(at).as_matrix()
    result[:3, 3] = [np.interp(at, seconds, poses[:, axis]) for axis in range(3)]
    return result


def to_root(transforms: list[tuple[int, bool, Transform]], name: str, instant: int) -> NDArray[np.float64]:
    result = np.eye(4)
    while own := [(s, static, t) for s, static, t in transforms if t.child == name]:
        result = matrix([(s, t) for s, _, t in own], instant, static=own[0][1]) @ result
        name = own[0][2].parent
    return result


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(2, 12))
def test_poses_in_random_trees_equal_those_of_scipy(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    transforms = random_tree(rng, size)
    parent, child = (f"f{n}" for n in rng.integers(size, size=2))
    instants = BASE + np.sort(rng.integers(0, 40 * STEP, 7))
    found = track(Tree(transforms).chain(parent, child), instants, "linear")
    assert found.found.all()
    for row, instant in zip(found.values, instants.tolist(), strict=True):
        right = np.linalg.inv(to_root(transforms, parent, instant)) @ to_root(transforms, child, instant)
        np.testing.assert_allclose(row[:3], right[:3, 3], atol=1e-9)
        np.testing.assert_allclose(Rotation.from_quat(row[3:]).as_matrix(), right[:3, :3], atol=1e-9)


def links(*pairs: tuple[str, str], static: bool = False) -> list[tuple[int, bool, Transform]]:
    return [(BASE, static, Transform(BASE, parent, child, (0, 0, 0, 0, 0, 0, 1))) for parent, child in pairs]


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        (
            links(("base", "arm"), ("map", "odom")),
            "no transforms connect 'base' and 'odom'. Pieces: base → arm; map → odom",
        ),
        (links(("base", "arm")), "no transform names the frame 'odom'"),
        (links(("base", "odom"), ("map", "odom")), "'odom' has two parents, 'base' and 'map'"),
        (links(("base", "odom"), ("odom", "base")), "ring through"),
    ],
)
def test_a_chain_that_cannot_be_found_names_the_pieces(transforms: list[Any], said: str) -> None:
    with pytest.raises(RecordingError, match=said.replace("(", r"\(")):
        Tree(transforms).chain("base", "odom")


def test_nothing_is_found_outside_the_stamps_of_a_moving_link_but_a_static_one_always_holds() -> None:
    moving = [(BASE + n * STEP, False, Transform(0, "base", "arm", (float(n), 0, 0, 0, 0, 0, 1))) for n in range(3)]
    late = [(BASE + 50 * STEP, True, Transform(0, "arm", "tool", (0, 1.0, 0, 0, 0, 0, 1)))]
    instants = BASE + np.array([-1, 0, STEP // 2, 2 * STEP, 2 * STEP + 1])
    chain = Tree(moving + late).chain("base", "tool")
    found = track(chain, instants, "linear")
    assert found.found.tolist() == [False, True, True, True, False]
    assert found.between.tolist() == [False, False, True, False, False]
    assert found.values[2].tolist() == [0.5, 1, 0, 0, 0, 0, 1]
    assert track(chain, instants, "previous").values[:, 0].tolist() == [0, 0, 0, 2, 2]
    assert track(chain, instants, "nearest").offset.tolist() == [1, 0, -STEP // 2, 0, -1]


@pytest.mark.parametrize(("cdr", "big"), [(False, False), (True, False), (True, True)])
def test_messages_are_read_as_rosbags_writes_them(*, cdr: bool, big: bool) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE if cdr else Stores.ROS1_NOETIC)
    if not cdr:
        store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))
    t = store.types
    header = {"seq": 7} if not cdr else {}
    rng = np.random.default_rng(3)
    wanted = [Transform(5 * 10**9 + n, "base"[: n + 1], f"/tool{'x' * n}"[1:], pose(rng)) for n in range(4)]
    message = t["tf2_msgs/msg/TFMessage"](
        transforms=[
            t["geometry_msgs/msg/TransformStamped"](
                header=t["std_msgs/msg/Header"](
                    stamp=t["builtin_interfaces/msg/Time"](sec=5, nanosec=w.stamp - 5 * 10**9),
                    frame_id="/" + w.parent,
                    **header,
                ),
                child_frame_id=w.child,
                transform=t["geometry_msgs/msg/Transform"](
                    translation=t["geometry_msgs/msg/Vector3"](*w.pose[:3]),
                    rotation=t["geometry_msgs/msg/Quaternion"](*w.pose[3:]),
                ),
            )
            for w in wanted
        ]
    )
    raw = (
        store.serialize_cdr(message, "tf2_msgs/msg/TFMessage", little_endian=not big)
        if cdr
        else store.serialize_ros1(message, "tf2_msgs/msg/TFMessage")
    )
    assert parse(memoryview(bytes(raw)), cdr=cdr) == wanted
    for cut in range(4, len(raw) - 1, 5):
        with pytest.raises(DecodeError, match="no whole tf2_msgs/TFMessage"):
            parse(memoryview(bytes(raw))[:cut], cdr=cdr)
