"""A pinhole camera and a size → the empty table of the demo and what is behind it, in colour or in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from streamer.demo.motion import Floats

Image: TypeAlias = NDArray[np.uint8]
Depth: TypeAlias = NDArray[np.uint16]
Colour: TypeAlias = tuple[int, int, int]

_TABLE: Final = (-0.52, 0.52, -0.52, 0.24)  # metres: left, right, near, far
_FLOOR: Final = -0.72  # metres, the height of the floor
_WALL: Final = 1.10  # metres, how far behind the arm the wall is
NEAR: Final = 0.03  # metres; what is nearer to a camera is not drawn
_RANGE: Final = 2.5  # metres; beyond it the depth camera gets no return
_BOARD: Final = 0.03  # metres, how thick the table is
_PER_METRE: Final = 800  # pixels of table texture
SUBPIXEL: Final = 4  # bits of fraction in the coordinates given to OpenCV, so that motion is smooth
FOCAL: Final = 1.05  # in picture heights

_WALL_TOP: Final[Colour] = (196, 210, 218)
_WALL_FOOT: Final[Colour] = (226, 229, 226)
_WOOD: Final[Colour] = (214, 190, 158)
_MAT: Final[Colour] = (74, 96, 104)
_LINE: Final[Colour] = (104, 128, 135)


class Size(NamedTuple):
    """The size of a picture in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Eye:
    """A pinhole camera: where it stands and its axes (right, down, ahead) as the rows of a rotation."""

    place: Floats
    axes: Floats

    def project(self, points: Floats, size: Size) -> Floats:
        """Give (n, 3) of pixel x, pixel y and metres ahead for (n, 3) points in the world."""
        seen: Floats = (points - self.place) @ self.axes.T
        focal = FOCAL * size.height
        seen[:, :2] *= focal / np.maximum(seen[:, 2:], NEAR / 2)  # what is nearer or behind is not drawn
        seen[:, 0] += size.width / 2
        seen[:, 1] += size.height / 2
        return seen


@lru_cache(256)
def shade(colour: Colour, light: float) -> Colour:
    """Return a colour in some light, 1 for its own."""
    red, green, blue = (min(255, round(part * light)) for part in colour)
    return red, green, blue


def fixed(values: Floats) -> NDArray[np.int32]:
    """Return pixel coordinates as OpenCV takes them with a fraction of `SUBPIXEL` bits."""
    return np.rint(values * (1 << SUBPIXEL)).astype(np.int32)


def draw_table(eye: Eye, size: Size) -> Image:
    """Draw the empty table and what is behind it; in four channels, which OpenCV warps twice as fast as three."""
    left, right, near, far = _TABLE
    canvas = _backdrop(size).copy()
    rim = np.array([[left, near, 0.0], [right, near, 0.0], [right, far, 0.0], [left, far, 0.0]])
    seen = eye.project(np.concatenate([rim, rim - [0.0, 0.0, _BOARD]]), size)
    if seen[:, 2].min() > NEAR:  # the camera on the wrist is too close to see an edge from the side
        for i, k in ((0, 1), (1, 2), (2, 3), (3, 0)):
            edge = fixed(seen[[i, k, k + 4, i + 4], :2])
            cv2.fillConvexPoly(canvas, edge, shade(_WOOD, 0.72), cv2.LINE_AA, SUBPIXEL)
    focal = FOCAL * size.height
    lens = np.array([[focal, 0.0, size.width / 2], [0.0, focal, size.height / 2], [0.0, 0.0, 1.0]])
    plane = np.column_stack([eye.axes[:, 0], eye.axes[:, 1], -eye.axes @ eye.place])
    pixel = np.array([[1 / _PER_METRE, 0.0, left], [0.0, -1 / _PER_METRE, far], [0.0, 0.0, 1.0]])
    view = lens @ plane @ pixel
    cv2.warpPerspective(_texture(), view, size, canvas, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
    return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGBA2RGB), np.uint8)


@cache
def _backdrop(size: Size) -> Image:
    """Give the wall, in RGBA: a soft gradient from top to bottom."""
    top, foot = np.array([*_WALL_TOP, 255]), np.array([*_WALL_FOOT, 255])
    rows = top + np.linspace(0.0, 1.0, size.height)[:, None] * (foot - top)
    return np.repeat(rows[:, None, :], size.width, axis=1).astype(np.uint8)


@cache
def _texture() -> Image:
    """Draw the table from above, in RGBA: wood with its grain, and a cutting mat with a 5 cm grid."""
    left, right, near, far = _TABLE
    height, width = round((far - near) * _PER_METRE), round((right - left) * _PER_METRE)
    rng = np.random.default_rng(2)
    fibres = cv2.blur(rng.normal(0.0, 30.0, (height, width)).astype(np.float32), (61, 3))
    wood = np.array(_WOOD, np.float32) + fibres[:, :, None] * np.array([1.0, 0.95, 0.8], np.float32)
    canvas: Image = np.clip(wood, 0, 255).astype(np.uint8)

    def pixel(x: float, y: float) -> tuple[int, int]:
        return round((x - left) * _PER_METRE), round((far - y) * _PER_METRE)

    cv2.rectangle(canvas, pixel(-0.42, 0.14), pixel(0.42, -0.44), _MAT, cv2.FILLED)
    for x in np.arange(-0.40, 0.401, 0.05).tolist():
        cv2.line(canvas, pixel(x, 0.10), pixel(x, -0.40), _LINE, 1)
    for y in np.arange(-0.40, 0.101, 0.05).tolist():
        cv2.line(canvas, pixel(-0.40, y), pixel(0.40, y), _LINE, 1)
    return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2RGBA), np.uint8)


def measure_table(eye: Eye, size: Size) -> Depth:
    """Measure the table, the floor and the wall, in millimetres along the optical axis; 0 beyond the range."""
    focal = FOCAL * size.height
    x = (np.arange(size.width) + 0.5 - size.width / 2) / focal
    y = (np.arange(size.height) + 0.5 - size.height / 2) / focal
    right, down, ahead = eye.axes
    rays = x[None, :, None] * right + y[:, None, None] * down + ahead
    with np.errstate(divide="ignore"):
        table = -eye.place[2] / rays[..., 2]
        floor = (_FLOOR - eye.place[2]) / rays[..., 2]
        wall = (_WALL - eye.place[1]) / rays[..., 1]
    left, right_edge, near, far = _TABLE
    across, away = (eye.place[i] + table * rays[..., i] for i in (0, 1))
    on_table = (table > 0) & (across > left) & (across < right_edge) & (away > near) & (away < far)
    behind = np.minimum(np.where(floor > 0, floor, np.inf), np.where(wall > 0, wall, np.inf))
    metres = np.where(on_table, table, behind)
    return np.where(metres < _RANGE, 1000.0 * metres, 0.0).astype(np.uint16)
