"""The latency of a camera, on motions whose shift is known, and on motions that cannot tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.demo.record import tabletop
from streamer.inprocess import open as open_config
from streamer.inspect.sync import estimate, latency

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MS = 10**6
FRAME = 33 * MS
BASE = 1_700_000_000 * 10**9


def motion(rng: np.random.Generator, seconds: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Joints that go from pose to pose, each in its own time, at 200 Hz."""
    stamps = BASE + np.arange(int(seconds * 200)) * 5 * MS
    at = (stamps - BASE) / 1e9
    turns = np.cumsum(rng.uniform(0.4, 1.5, int(seconds * 3)))
    turns = np.concatenate([[0], turns[turns < seconds], [seconds]])
    poses = rng.uniform(-1, 1, (len(turns), 4))
    part = np.clip(np.searchsorted(turns, at, side="right") - 1, 0, len(turns) - 2)
    share = (at - turns[part]) / np.diff(turns)[part]
    smooth = (share * share * (3 - 2 * share))[:, None]  # smoothstep: it stops at every pose
    return stamps, poses[part] * (1 - smooth) + poses[part + 1] * smooth


def camera(
    rng: np.random.Generator, stamps: NDArray[np.int64], joints: NDArray[np.float64], late: int, noise: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pictures at 30 Hz whose change is the way that the joints went, stamped too late."""
    taken = np.arange(stamps[0] + MS, stamps[-1], FRAME) + rng.integers(-3 * MS, 3 * MS, 1)
    places = np.stack([np.interp(taken, stamps, column) for column in joints.T], axis=1)
    change = np.linalg.norm(np.diff(places, axis=0), axis=1)
    return taken + late, change + noise * change.mean() * rng.random(len(change))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), late=st.integers(-200, 200))
def test_a_known_shift_is_found_within_half_a_frame(seed: int, late: int) -> None:
    rng = np.random.default_rng(seed)
    stamps, joints = motion(rng, 20)
    found = estimate(*camera(rng, stamps, joints, late * MS, noise=0.3), stamps, joints)
    assert found.known
    assert abs(found.lag - late * MS) <= FRAME / 2
    assert found.low <= found.lag <= found.high


def test_a_regular_motion_a_still_one_and_a_foreign_one_cannot_tell() -> None:
    rng = np.random.default_rng(1)
    stamps, joints = motion(rng, 20)
    wave = np.sin((stamps - BASE) / 1e9 * 2 * np.pi * 2)[:, None]  # its speed comes back every 250 ms
    told = estimate(*camera(rng, stamps, wave, 0, noise=0.5), stamps, wave)
    assert "equally well" in told.why
    pictures, change = camera(rng, stamps, joints, 0, noise=0)
    assert estimate(pictures, change, stamps, np.zeros((len(stamps), 3))).why == "the joints never move"
    assert estimate(pictures, np.ones(len(change)), stamps, joints).why == "the pictures never change"
    assert not estimate(pictures, rng.random(len(change)), stamps, joints).known
    few = estimate(pictures[:40], change[:39], stamps, joints)
    assert "pictures lie within the joints' messages" in few.why


def test_the_shift_of_a_recorded_camera_is_found(tmp_path: Path) -> None:
    shift = 70
    tabletop(tmp_path / "demo.bag", seconds=20)
    config = tmp_path / "c.yaml"
    config.write_text(
        "source: {path: demo.bag}\n"
        "streams:\n"
        f"  front: {{topic: /cam_front/color/image_raw/compressed, shift: {shift} ms}}\n"
        "  joints: {topic: /joint_states, field: position, missing: none}\n"
    )
    opened = open_config(config)
    with opened.prepared(opened.paths()[0]) as prepared:
        found = latency(prepared, "front", "joints")
    assert found.known
    assert abs(found.lag - shift * MS) <= FRAME / 2
