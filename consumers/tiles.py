"""Pictures of several cameras → one picture of even size, with words on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from consumers.sheet import thumbnail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_INK, _SHADE = (255, 255, 255), (0, 0, 0)
_MARGIN = 6


def even(shape: Sequence[int]) -> tuple[int, int]:
    """Return (height, width) as video wants them: an odd one grows by one."""
    return shape[0] + shape[0] % 2, shape[1] + shape[1] % 2


def make_even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row, or column, of a picture whose height, or width, is odd."""
    below, right = picture.shape[0] % 2, picture.shape[1] % 2
    if not below and not right:
        return picture
    return cv2.copyMakeBorder(picture, 0, below, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[return-value]


class Grid:
    """The places of cameras in one picture of ``shape`` (height, width), side by side, as wide as high in their number.

    All are scaled to one width, that of the widest, but no more than ``width``.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], width: int) -> None:
        """Give each camera, whose pictures are (height, width, …), a place."""
        columns = math.ceil(math.sqrt(len(shapes)))
        widest = min(width, max(shape[1] for shape in shapes.values()))
        self._wide = widest + widest % 2
        high = max(max(1, round(shape[0] * self._wide / shape[1])) for shape in shapes.values())
        self._high = high + high % 2
        self._places = {name: divmod(n, columns) for n, name in enumerate(shapes)}
        self.shape = (math.ceil(len(shapes) / columns) * self._high, columns * self._wide)

    def scale(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        """Return a picture in colours, as wide as its place."""
        return thumbnail(picture, self._wide)

    def draw(self, pictures: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Put scaled pictures in their places; what is left is black."""
        whole = np.zeros((*self.shape, 3), np.uint8)
        for name, picture in pictures.items():
            row, column = self._places[name]
            top, left = row * self._high, column * self._wide
            whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return whole


def write_on(picture: NDArray[np.uint8], words: str, *, below: bool = False) -> NDArray[np.uint8]:
    """Write into the upper, or lower, left corner of a copy; OpenCV has no letters but those of ASCII."""
    copy = np.ascontiguousarray(picture).copy()
    text = words.encode("ascii", "replace").decode().replace("\n", " ")
    size = max(0.35, picture.shape[0] / 900)
    (width, height), under = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    top = picture.shape[0] - (height + under + _MARGIN) if below else 0
    cv2.rectangle(copy, (0, top), (width + 2 * _MARGIN, top + height + under + _MARGIN), _SHADE, -1)
    cv2.putText(copy, text, (_MARGIN, top + height + 4), cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
    return copy
