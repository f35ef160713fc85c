"""A picture or a measured image of one size → the same at another, written where it is wanted.

Shrinking a picture averages the area that becomes one pixel, growing it blends neighbours; measured values
(depth) are picked, never mixed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MILD = 1.6  # shrunk by less, two neighbours hold most of the area that becomes one pixel
_SMALL = 1 << 16  # pixels of which the exact average takes no time that matters


def resize_into(image: NDArray[Any], out: NDArray[Any], *, picture: bool) -> None:
    """Write ``image`` at the size of ``out``.

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
    image = _readable(image)
    down, across = image.shape[0] / height, image.shape[1] / width
    if not picture:
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_NEAREST)
    elif min(down, across) >= 1:
        _shrink(image, out)
    else:
        if max(down, across) > 1:  # along one axis only
            size = min(width, image.shape[1]), min(height, image.shape[0])
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def _shrink(image: NDArray[Any], out: NDArray[Any]) -> None:
    """Average: exactly where that is quick, else over two or more blended samples an axis for each pixel.

    OpenCV's exact average of a large picture takes longer than decoding it, unless sizes are multiples.
    """
    import cv2

    height, width = out.shape[:2]
    pixels, ratio = image.shape[0] * image.shape[1], max(image.shape[0] / height, image.shape[1] / width)
    exact = image.shape[0] % height == 0 and image.shape[1] % width == 0
    if not exact and pixels > _SMALL:
        if ratio <= MILD:
            cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
            return
        doublings = max(1, math.ceil(math.log2(ratio / 2)))  # samples at most two pixels apart: none is left out
        if (width * height) << (2 * doublings) <= 2 * pixels:
            size = width << doublings, height << doublings
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            for _ in range(doublings - 1):
                image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_AREA)


def _readable(image: NDArray[Any]) -> NDArray[Any]:
    """Give OpenCV what it reads: 8-bit rows may be padded, all else lies without gaps in the machine's order."""
    return image if image.dtype == np.uint8 else np.ascontiguousarray(image, image.dtype.newbyteorder("="))
