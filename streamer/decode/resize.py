"""A picture or a measured image of one size → the same at another, written where it is wanted.

Shrinking a picture averages the area that becomes one pixel, growing it blends neighbours; measured values
(depth) are picked, never mixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EIGHTHS = (1, 2, 4)  # the scales at which decoding is fast; others are as far from an average and take longer
_MILD = 1.6  # shrunk by less, two neighbours hold most of the area that becomes one pixel


class Scaled(NamedTuple):
    """The size at which a JPEG is decoded on its way to another; ``reduced`` says that it is not its own."""

    height: int
    width: int
    reduced: bool


def jpeg_scale(height: int, width: int, target: tuple[int, int]) -> Scaled:
    """Choose the eighths of its size at which a JPEG is decoded; ``target`` is (height, width).

    Decoding at a reduced scale averages blocks of pixels where the cosines are turned back (libjpeg).
    """
    if max(height / target[0], width / target[1]) > _MILD:
        for eighths in _EIGHTHS:
            scaled = -(-height * eighths // 8), -(-width * eighths // 8)
            if scaled[0] >= target[0] and scaled[1] >= target[1]:
                return Scaled(*scaled, reduced=True)
    return Scaled(height, width, reduced=False)


def resize_into(image: NDArray[Any], out: NDArray[Any], *, picture: bool, mild: bool = False) -> None:
    """Write ``image`` at the size of ``out``; ``mild`` lets a picture that shrinks little be blended.

    Raises:
        DecodeError: the two differ in type or number of channels.

    """
    if image.shape[2:] != out.shape[2:] or image.dtype != out.dtype:
        msg = f"an image of {image.dtype} {image.shape} in a stream of {out.dtype} {out.shape}: the topic changed"
        raise DecodeError(msg)
    if image.shape == out.shape:
        out[...] = image
        return
    import cv2

    height, width = out.shape[:2]
    down, across = image.shape[0] / height, image.shape[1] / width
    image = _readable(image)
    if not picture:
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_NEAREST)
    elif min(down, across) >= 1 and not (mild and max(down, across) <= _MILD):
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA)
    else:
        if max(down, across) > 1 and not (mild and max(down, across) <= _MILD):  # along one axis only
            size = min(width, image.shape[1]), min(height, image.shape[0])
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def _readable(image: NDArray[Any]) -> NDArray[Any]:
    """Give OpenCV what it reads: 8-bit rows may be padded, all else lies without gaps in the machine's order."""
    return image if image.dtype == np.uint8 else np.ascontiguousarray(image, image.dtype.newbyteorder("="))


def require_size(size: tuple[int, ...], out: NDArray[Any]) -> None:
    """Make sure that an image has the size that its stream began with.

    Raises:
        DecodeError: it has another.

    """
    if size != out.shape[:2]:
        msg = (
            f"an image of {size[1]}x{size[0]} in a stream that began with {out.shape[1]}x{out.shape[0]}: "
            f"set 'resize: [{out.shape[1]}, {out.shape[0]}]' to give all the same size"
        )
        raise DecodeError(msg)
