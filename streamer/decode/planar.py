"""A plane of brightness and one of colour (NV12, NV21, NV24) → red, green and blue.

BT.601, limited range, as OpenCV converts them: R = 1.164(Y - 16) + 1.596(V - 128), and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.decode.encodings import Pixels

_SHIFT = 20
_Y, _UB, _UG, _VG, _VR = 1220542, 2116026, -409993, -852492, 1673527  # OpenCV's, times 2 to the 20th


def rows_of(order: str, height: int) -> int:
    """Return how many rows of ``step`` bytes an image of this height has."""
    return height * 3 if order == "NV24" else height + -(-height // 2)


def convert_planes(
    source: NDArray[np.uint8], read: Pixels, size: tuple[int, int], step: int, code: int | None, *, color: str | None
) -> NDArray[np.uint8]:
    """Convert the planes that lie in ``source`` (bytes,); ``size`` is (height, width).

    Raises:
        DecodeError: colours that are shared by two pixels need an even height and width.

    """
    import cv2

    height, width = size
    brightness = source[: step * height].reshape(height, step)[:, :width]
    if color == "gray":
        return brightness
    if read.order == "NV24":
        chroma = source[step * height : step * height * 3].reshape(height, 2 * step)[:, : 2 * width]
        return _full_chroma(brightness, chroma.reshape(height, width, 2), blue_first=color == "bgr")
    if height % 2 or width % 2:
        msg = f"an image of {width}x{height} {read.order.lower()}: its height and width must be even"
        raise DecodeError(msg)
    chroma = source[step * height :].reshape(height // 2, step)[:, :width].reshape(height // 2, width // 2, 2)
    converted: NDArray[Any] = cv2.cvtColorTwoPlane(brightness, np.ascontiguousarray(chroma), code or 0)
    return converted


def _full_chroma(brightness: NDArray[np.uint8], chroma: NDArray[np.uint8], *, blue_first: bool) -> NDArray[np.uint8]:
    y = np.maximum(brightness.astype(np.int32) - 16, 0) * _Y + (1 << (_SHIFT - 1))
    u, v = (chroma[..., n].astype(np.int32) - 128 for n in (0, 1))
    channels = [y + _VR * v, y + _VG * v + _UG * u, y + _UB * u]
    stacked = np.stack(channels[::-1] if blue_first else channels, axis=2) >> _SHIFT
    clipped: NDArray[np.uint8] = np.clip(stacked, 0, 255).astype(np.uint8)
    return clipped
