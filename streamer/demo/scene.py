"""(seconds, camera number, size) → a picture of the demo robot at that time, in colour or in millimetres.

Camera 0 looks from the front, 1 rides on the wrist, 2 looks from above; higher numbers walk round the
table. Colour and depth are drawn from the same shapes through the same pinhole camera, so they match
pixel by pixel, and both match ``joint_angles``. Nothing is random: grain comes from fixed tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
import numpy as np

from streamer.demo import motion
from streamer.demo.ground import (
    FOCAL,
    NEAR,
    SUBPIXEL,
    Colour,
    Depth,
    Eye,
    Image,
    Size,
    draw_table,
    fixed,
    measure_table,
    shade,
)
from streamer.demo.motion import Floats, gripper_command, joint_angles

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CAMERAS", "depth", "frame", "gripper_command", "joint_angles"]

CAMERAS: Final = ("front", "wrist", "top")

_BLIND: Final = 0.03  # share of the width at the left that the second eye of a depth camera cannot see
_SHADE: Final = 42.0  # what a full shadow takes from a colour
_LIGHT: Final = np.array([-0.35, -0.30, 0.89])  # unit vector towards the lamp

_SHELL: Final[Colour] = (240, 238, 232)
_JOINT: Final[Colour] = (238, 128, 52)
_DARK: Final[Colour] = (58, 62, 70)
_PAINTS: Final[tuple[Colour, ...]] = ((222, 74, 66), (44, 158, 148), (244, 190, 58))

_NORMALS: Final = np.array([[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float64)  # sides of a block
_CUBE: Final = (motion.BLOCK / 2) * np.array(  # (5, 4, 3): the corners of each side
    [
        [[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
        [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]],
        [[-1, -1, -1], [-1, 1, -1], [-1, 1, 1], [-1, -1, 1]],
        [[-1, 1, -1], [1, 1, -1], [1, 1, 1], [-1, 1, 1]],
        [[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]],
    ],
)
_ARC: Final = np.linspace([0.5, -0.5], [1.5, 0.5], 13, axis=-1) * np.pi  # (2, 13): half a turn at either end
_CAPS: Final = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=-1)  # (2, 13, 2): half circles of a rod along x


@dataclass(frozen=True, slots=True)
class _Solids:
    """What stands on the table, in metres: flat sides with four corners, and round rods that may taper."""

    sides: Floats  # (n, 4, 3)
    side_colours: list[Colour]
    rods: Floats  # (m, 2, 3), both ends
    radii: Floats  # (m, 2)
    rod_colours: list[Colour]


class _Outline(NamedTuple):
    """A convex polygon in the picture: fixed-point corners, metres ahead, and how to colour it."""

    corners: NDArray[np.int32]
    ahead: float
    colour: Colour


def frame(t: float, camera: int, size: tuple[int, int]) -> Image:
    """Draw what a colour camera sees.

    Args:
        t: Seconds since the recording began; burnt into the picture.
        camera: Number of the camera, from 0.
        size: Width and height in pixels.

    Returns:
        uint8 array (height, width, 3), RGB.

    """
    size = Size(*size)
    pose = motion.arm(t)
    eye = _eye(camera, pose)
    solids = _solids(t, pose, eye)
    canvas = _moving_ground(solids, eye, size) if _rides(camera) else _ground(solids, eye, size, _still(camera, size))
    for outline in _outlines(solids, eye, size, _GLOSS):
        cv2.fillConvexPoly(canvas, outline.corners, outline.colour, cv2.LINE_AA, SUBPIXEL)
    _grain(canvas, t)
    _label(canvas, f"{_name(camera)}  {t:07.3f} s")
    return canvas


def depth(t: float, camera: int, size: tuple[int, int]) -> Depth:
    """Measure what a depth camera at the same place sees.

    Args:
        t: Seconds since the recording began.
        camera: Number of the camera, from 0.
        size: Width and height in pixels.

    Returns:
        uint16 array (height, width): millimetres along the optical axis, 0 where there is no return.

    """
    size = Size(*size)
    pose = motion.arm(t)
    eye = _eye(camera, pose)
    canvas = measure_table(eye, size) if _rides(camera) else _still_ranges(camera, size).copy()
    for outline in _outlines(_solids(t, pose, eye), eye, size, _MATT):
        millimetres = float(round(1000 * outline.ahead))
        cv2.fillConvexPoly(canvas, outline.corners, (millimetres,), cv2.LINE_8, SUBPIXEL)
    ripple = _noise(size)[: size.height, : size.width, 0] >> 3  # a millimetre here and there
    cv2.add(canvas, ripple, dst=canvas, mask=(canvas > 0).view(np.uint8), dtype=cv2.CV_16U)
    canvas[:, : int(_BLIND * size.width)] = 0
    return canvas


def _rides(camera: int) -> bool:
    return camera % len(CAMERAS) == CAMERAS.index("wrist")


def _name(camera: int) -> str:
    turn = camera // len(CAMERAS)
    return f"cam_{CAMERAS[camera % len(CAMERAS)]}{turn + 1 if turn else ''}"


def _eye(camera: int, pose: motion.Arm) -> Eye:
    if not _rides(camera):
        return _standing(camera)
    hand = np.stack([pose.approach, pose.across, pose.outward])
    mount = _mount()
    return Eye(pose.wrist + mount.place @ hand, mount.axes @ hand)


@cache
def _mount() -> Eye:
    """Screw a camera to the back of the hand, in the axes of the hand: approach, across, outward."""
    return _look(np.array([-0.02, 0.0, 0.095]), np.array([0.14, 0.0, 0.0]), up=np.array([0.0, 0.0, 1.0]))


@cache
def _standing(camera: int) -> Eye:
    """Place a camera on its stand; one after the third stands as its like does, 35 degrees further round the table."""
    turn = 0.6 * (camera // len(CAMERAS))
    spin = np.array([[np.cos(turn), -np.sin(turn), 0.0], [np.sin(turn), np.cos(turn), 0.0], [0.0, 0.0, 1.0]])
    if camera % len(CAMERAS) == CAMERAS.index("top"):
        place, target = np.array([0.0, -0.20, 1.15]), np.array([0.0, -0.14, 0.0])
    else:
        place, target = np.array([-0.36, -0.88, 0.50]), np.array([0.0, -0.10, 0.14])
    return _look(spin @ place, spin @ target, up=spin @ np.array([0.0, 0.3, 1.0]))


def _look(place: Floats, target: Floats, *, up: Floats) -> Eye:
    ahead = (target - place) / np.linalg.norm(target - place)
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    return Eye(place, np.stack([right, np.cross(ahead, right), ahead]))


def _solids(t: float, pose: motion.Arm, eye: Eye) -> _Solids:
    blocks = motion.blocks(t)
    centres = np.array([block.centre for block in blocks])
    yaw = np.array([block.yaw for block in blocks])
    c, s, zero = np.cos(yaw), np.sin(yaw), np.zeros(len(blocks))
    turned = np.array([[c, s, zero], [-s, c, zero], [zero, zero, zero + 1.0]]).transpose(2, 0, 1)
    normals = _NORMALS @ turned
    facing = np.einsum("bsi,bi->bs", normals, eye.place - centres) > motion.BLOCK / 2
    sides = (centres[:, None, None] + _CUBE @ turned[:, None])[facing]
    light = (0.66 + 0.36 * np.maximum(normals @ _LIGHT, 0.0))[facing].tolist()
    colours = [shade(_PAINTS[block], lit) for block, lit in zip(facing.nonzero()[0].tolist(), light, strict=True)]
    ends, radii, rod_colours = zip(*_limbs(pose), strict=True)
    return _Solids(sides, colours, np.array(ends), np.array(radii), list(rod_colours))


def _limbs(pose: motion.Arm) -> list[tuple[tuple[Floats, Floats], tuple[float, float], Colour]]:
    """Give the arm from its base to its finger tips: ends, radii and colour of each rod."""
    base = np.zeros(3)
    knuckle = pose.wrist + 0.35 * (pose.tip - pose.wrist)
    spread = (0.022 + 0.040 * pose.opening) * pose.across
    grip = pose.tip + 0.012 * pose.approach
    inset = 0.05 * pose.opening * pose.across
    return [
        ((base, 0.75 * pose.shoulder), (0.075, 0.058), _DARK),
        ((0.6 * pose.shoulder, pose.shoulder), (0.050, 0.046), _JOINT),
        ((pose.shoulder, pose.elbow), (0.040, 0.030), _SHELL),
        ((pose.elbow, pose.elbow), (0.036, 0.036), _JOINT),
        ((pose.elbow, pose.wrist), (0.029, 0.022), _SHELL),
        ((pose.wrist, pose.wrist), (0.027, 0.027), _JOINT),
        ((pose.wrist, knuckle), (0.020, 0.020), _DARK),
        ((knuckle - spread, knuckle + spread), (0.011, 0.011), _DARK),
        ((knuckle - spread, grip - spread - inset), (0.010, 0.006), _JOINT),
        ((knuckle + spread, grip + spread + inset), (0.010, 0.006), _JOINT),
    ]


class _Layer(NamedTuple):
    """One of the coats in which a rod is painted: how wide, how far towards the lamp, how bright."""

    girth: float
    shift: float
    light: float


_MATT: Final = (_Layer(1.0, 0.0, 1.0),)
_GLOSS: Final = (_Layer(1.0, 0.0, 0.62), _Layer(0.84, 0.0, 1.0), _Layer(0.34, 0.32, 1.13))  # edge, body, streak
_STREAK: Final = np.array([-0.75, -0.66])  # where the lamp is in the picture


def _outlines(solids: _Solids, eye: Eye, size: Size, layers: tuple[_Layer, ...]) -> list[_Outline]:
    """Project the solids and give the polygons to fill, from far to near."""
    sides, rods = _project(solids, eye, size, layers)
    shapes = [
        [_Outline(corners, ahead, colour)]
        for corners, ahead, colour in zip(sides.corners, sides.ahead.tolist(), solids.side_colours, strict=True)
    ]
    for coats, ahead, colour in zip(rods.corners, rods.ahead.tolist(), solids.rod_colours, strict=True):
        shapes.append([_Outline(coats[i], ahead, shade(colour, layer.light)) for i, layer in enumerate(layers)])
    order = np.argsort(np.concatenate([sides.ahead, rods.ahead]))[::-1].tolist()
    visible = [*sides.visible.tolist(), *rods.visible.tolist()]
    return [outline for i in order if visible[i] for outline in shapes[i]]


class _Projected(NamedTuple):
    """Polygons in the picture: fixed-point corners, metres ahead (n,), and whether all of it is before the camera."""

    corners: NDArray[np.int32]
    ahead: Floats
    visible: NDArray[np.bool_]


def _project(
    solids: _Solids,
    eye: Eye,
    size: Size,
    layers: tuple[_Layer, ...],
) -> tuple[_Projected, _Projected]:
    """Give sides, corners (n, 4, 2), and rods, corners (m, layers, k, 2)."""
    corners = 4 * len(solids.sides)
    seen = eye.project(np.concatenate([solids.sides.reshape(-1, 3), solids.rods.reshape(-1, 3)]), size)
    sides, rods = seen[:corners].reshape(-1, 4, 3), seen[corners:].reshape(-1, 2, 3)
    radii = solids.radii * (FOCAL * size.height) / np.maximum(rods[..., 2], NEAR)
    capsules = _capsules(rods[..., :2], radii, layers)
    return (
        _Projected(fixed(sides[..., :2]), sides[..., 2].mean(1), sides[..., 2].min(1) > NEAR),
        _Projected(fixed(capsules), rods[..., 2].mean(1), rods[..., 2].min(1) > NEAR),
    )


def _capsules(ends: Floats, radii: Floats, layers: tuple[_Layer, ...]) -> Floats:
    """Outline rods seen as two discs and what lies between.

    Args:
        ends: float64 array (m, 2, 2), the middles of the discs.
        radii: float64 array (m, 2).
        layers: The k coats to outline.

    Returns:
        float64 array (m, k, 26, 2): a half circle round each end.

    """
    along = ends[:, 1] - ends[:, 0]
    length = np.hypot(along[:, 0], along[:, 1])[:, None]
    c, s = np.divide(along, length, where=length > 0, out=np.tile([1.0, 0.0], (len(ends), 1))).T
    rim = _CAPS @ np.array([[c, s], [-s, c]]).transpose(2, 0, 1)[:, None]
    girths = np.array([layer.girth for layer in layers])[:, None, None, None]
    shifts = np.array([layer.shift for layer in layers])[:, None, None, None] * _STREAK
    outline: Floats = ends[:, None, :, None] + radii[:, None, :, None, None] * (rim[:, None] * girths + shifts)
    return outline.reshape(len(ends), len(layers), -1, 2)


def _moving_ground(solids: _Solids, eye: Eye, size: Size) -> Image:
    """Draw the ground for a camera that moves: at half size, as the table fills the picture and is magnified anyway."""
    half = Size(max(size.width // 2, 1), max(size.height // 2, 1))
    ground = _ground(solids, eye, half, draw_table(eye, half))
    return np.asarray(cv2.resize(ground, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _ground(solids: _Solids, eye: Eye, size: Size, empty: Image) -> Image:
    """Give the empty table with the soft shadow on it that the solids throw, found at a quarter of the size."""
    small = Size(max(size.width // 4, 1), max(size.height // 4, 1))
    fallen = replace(solids, sides=_drop(solids.sides), rods=_drop(solids.rods))
    mask = np.zeros((small.height, small.width), np.uint8)
    for shapes in _project(fallen, eye, small, _MATT):
        for corners in shapes.corners[shapes.visible]:
            cv2.fillConvexPoly(mask, corners.reshape(-1, 2), (_SHADE,), cv2.LINE_8, SUBPIXEL)
    full = cv2.resize(cv2.blur(mask, (5, 5)), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.subtract(empty, cv2.cvtColor(full, cv2.COLOR_GRAY2RGB)), np.uint8)


def _drop(points: Floats) -> Floats:
    """Move points along the light onto the table."""
    fallen: Floats = points - points[..., 2:] / _LIGHT[2] * _LIGHT
    return fallen


def _grain(canvas: Image, t: float) -> None:
    """Add the noise of a sensor: a fixed table, laid at an offset that changes with time."""
    height, width = canvas.shape[:2]
    x, y = (int(t * 1000) * step % _NOISE_MARGIN for step in (7, 13))
    cv2.add(canvas, _noise(Size(width, height))[y : y + height, x : x + width], dst=canvas)


def _label(canvas: Image, text: str) -> None:
    height = canvas.shape[0]
    scale = max(0.2, 0.5 * height / 480)
    x, y = round(20 * scale), height - round(24 * scale)
    for place, colour in (((x + 1, y + 1), (30, 34, 38)), ((x, y), (255, 255, 250))):
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


_NOISE_MARGIN: Final = 64  # pixels


@cache
def _noise(size: Size) -> Image:
    rng = np.random.default_rng(1)
    return rng.integers(0, 9, (size.height + _NOISE_MARGIN, size.width + _NOISE_MARGIN, 3), np.uint8)


@cache
def _still(camera: int, size: Size) -> Image:
    return draw_table(_standing(camera), size)


@cache
def _still_ranges(camera: int, size: Size) -> Depth:
    return measure_table(_standing(camera), size)
