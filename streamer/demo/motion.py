"""Seconds → what the demo robot does then: its joints, its gripper, and where the blocks are.

The robot repeats a script of five moves that stacks two blocks on a third and takes them down again, so
that after one period everything lies where it began. Every function here is pure: the same time gives
the same scene, whichever camera looks and in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

JOINTS: Final = ("waist", "shoulder", "elbow", "wrist_pitch", "wrist_roll", "gripper")
PERIOD: Final = 20.0  # seconds
BLOCK: Final = 0.05  # metres, the edge of a block
SHOULDER: Final = 0.13  # metres above the table
UPPER_ARM: Final = 0.24  # metres
FOREARM: Final = 0.22  # metres
HAND: Final = 0.10  # metres, from the wrist to between the finger tips
OPEN: Final = 0.60  # rad, what the gripper is commanded to
CLOSED: Final = 0.12  # rad

_STROKE: Final = 0.40  # seconds to go down, and to come up
_CLEARANCE: Final = 0.11  # metres above the place of a block, before going down and after coming up
_GRASP: Final = 0.25  # seconds from a gripper command to its end
_SLOPE: Final = 1e-3  # seconds to either side for a numeric derivative
_HOME: Final = (0.0, 1.95, 2.25, -1.1, 0.0, OPEN)


class Place(NamedTuple):
    """A place for a block: around and away from the base of the arm, and how the block is turned there."""

    bearing: float  # rad
    reach: float  # metres
    turn: float  # rad, against the bearing


class Move(NamedTuple):
    """One pick and place; the times are those of the two gripper commands."""

    block: int
    origin: int
    target: int
    pick: float
    put: float
    low: int = 0  # blocks below it at the origin
    high: int = 0  # blocks below it at the target


PLACES: Final = (
    Place(-1.08, 0.29, 0.35),
    Place(-0.22, 0.32, 0.0),
    Place(0.52, 0.29, -0.5),
    Place(1.15, 0.28, 0.3),
)
MOVES: Final = (
    Move(0, 0, 1, 1.20, 2.70, high=1),
    Move(2, 2, 1, 4.15, 7.05, high=2),
    Move(2, 1, 3, 8.95, 10.45, low=2),
    Move(0, 1, 0, 11.95, 14.35, low=1),
    Move(2, 3, 2, 15.85, 17.75),
)
HOMES: Final = (0, 1, 2)  # the place of each block when a period begins


@dataclass(frozen=True, slots=True)
class Arm:
    """Where the arm is: points in metres (x right, y away, z up; the base stands at the origin) and directions."""

    shoulder: Floats
    elbow: Floats
    wrist: Floats
    tip: Floats
    approach: Floats  # unit vector from the wrist to the tip
    across: Floats  # unit vector from one finger to the other
    outward: Floats  # approach x across: out of the back of the hand, away from the base when it points down
    opening: float  # rad


@dataclass(frozen=True, slots=True)
class Block:
    """Where a block is: its centre in metres and its turn around the vertical in rad."""

    centre: Floats
    yaw: float


def joint_angles(t: float) -> Floats:
    """Give the six joint positions at a time.

    Args:
        t: Seconds since the recording began.

    Returns:
        float64 array (6,) in the order of JOINTS, rad.

    """
    times, poses = _keyframes()
    phase = t % PERIOD
    after = int(np.searchsorted(times, phase, side="right"))
    before = after - 1
    if after == len(times):
        last: Floats = poses[before].copy()
        return last
    u = (phase - times[before]) / (times[after] - times[before])
    eased: Floats = poses[before] + (poses[after] - poses[before]) * (u * u * (3.0 - 2.0 * u))
    return eased


def joint_motion(t: float) -> tuple[Floats, Floats, Floats]:
    """Give positions, velocities and torques of the joints at a time.

    The torques are only plausible: gravity on two links, friction on all, the grip on a block.

    Args:
        t: Seconds since the recording began.

    Returns:
        Three float64 arrays (6,): rad, rad/s, N m.

    """
    q = joint_angles(t)
    rate: Floats = (joint_angles(t + _SLOPE) - joint_angles(t - _SLOPE)) / (2.0 * _SLOPE)
    forearm = 1.1 * np.cos(q[1] - q[2])
    effort: Floats = 0.15 * rate
    effort[1] += 2.3 * np.cos(q[1]) + forearm
    effort[2] -= forearm
    effort[5] += 0.8 if gripper_command(t) == CLOSED else 0.0
    return q, rate, effort


def gripper_command(t: float) -> float:
    """Give the opening in rad that the gripper was last commanded to at a time in seconds."""
    phase = t % PERIOD
    return CLOSED if any(move.pick <= phase < move.put for move in MOVES) else OPEN


def command_times(seconds: float) -> list[float]:
    """List the times in [0, seconds) at which a gripper command is given; the first is 0."""
    times = [0.0]
    start = 0.0
    while start < seconds:
        times.extend(start + at for move in MOVES for at in (move.pick, move.put))
        start += PERIOD
    return [t for t in times if t < seconds]


def arm(t: float) -> Arm:
    """Place the arm at a time, by forward kinematics from joint_angles."""
    waist, shoulder, elbow, pitch, roll, opening = joint_angles(t).tolist()
    ahead = np.array([np.sin(waist), -np.cos(waist), 0.0])
    up = np.array([0.0, 0.0, 1.0])

    def along(angle: float) -> Floats:
        direction: Floats = np.cos(angle) * ahead + np.sin(angle) * up
        return direction

    root = SHOULDER * up
    middle = root + UPPER_ARM * along(shoulder)
    wrist = middle + FOREARM * along(shoulder - elbow)
    hand = shoulder - elbow + pitch
    side = np.array([np.cos(waist), np.sin(waist), 0.0])
    back = along(hand + np.pi / 2)
    across = np.cos(roll) * side + np.sin(roll) * back
    outward = np.cos(roll) * back - np.sin(roll) * side
    return Arm(root, middle, wrist, wrist + HAND * along(hand), along(hand), across, outward, opening)


def blocks(t: float) -> list[Block]:
    """Place the three blocks at a time; a held block hangs between the finger tips."""
    phase = t % PERIOD
    placed = [_resting(home, 0) for home in HOMES]
    for move in MOVES:
        if phase >= move.put + _GRASP / 2:
            placed[move.block] = _resting(move.target, move.high)
        elif phase >= move.pick + _GRASP / 2:
            hand = arm(t)
            placed[move.block] = Block(hand.tip, float(np.arctan2(hand.across[1], hand.across[0])))
    return placed


@cache
def _resting(place: int, level: int) -> Block:
    bearing, reach, turn = PLACES[place]
    height = BLOCK * (level + 0.5)
    return Block(np.array([reach * np.sin(bearing), -reach * np.cos(bearing), height]), bearing + turn)


@cache
def _keyframes() -> tuple[Floats, Floats]:
    """Give the times (n,) at which the arm rests, and its joints (n, 6) there."""
    frames: list[tuple[float, tuple[float, ...]]] = [(0.0, _HOME)]
    for move in MOVES:
        for at, place, level, before, after in (
            (move.pick, move.origin, move.low, OPEN, CLOSED),
            (move.put, move.target, move.high, CLOSED, OPEN),
        ):
            down = BLOCK * (level + 0.5)
            frames += [
                (at - _STROKE, _reach(place, down + _CLEARANCE, before)),
                (at, _reach(place, down, before)),
                (at + _GRASP, _reach(place, down, after)),
                (at + _GRASP + _STROKE, _reach(place, down + _CLEARANCE, after)),
            ]
    frames.append((PERIOD, _HOME))
    return np.array([at for at, _ in frames]), np.array([pose for _, pose in frames])


def _reach(place: int, height: float, opening: float) -> tuple[float, ...]:
    """Solve for the joints that point the hand straight down, its tip at a height above a place.

    The usual closed form for two links with the elbow up (law of cosines).
    """
    bearing, out, turn = PLACES[place]
    rise = height + HAND - SHOULDER
    bend = (out * out + rise * rise - UPPER_ARM**2 - FOREARM**2) / (2.0 * UPPER_ARM * FOREARM)
    elbow = float(np.arccos(bend))
    shoulder = float(np.arctan2(rise, out) + np.arctan2(FOREARM * np.sin(elbow), UPPER_ARM + FOREARM * np.cos(elbow)))
    return (bearing, shoulder, elbow, elbow - shoulder - np.pi / 2, -turn, opening)
