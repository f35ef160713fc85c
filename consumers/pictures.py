"""A picture → the content of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import simplejpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 3]  # half the time of OpenCV's default for a few per cent of size


def check_quality(quality: int) -> None:
    """Raise a ValueError for a quality that JPEG does not have."""
    if not 1 <= quality <= 100:
        msg = f"quality is 1 to 100, not {quality}"
        raise ValueError(msg)


def jpeg(picture: NDArray[Any], quality: int) -> bytes:
    """Encode a picture (height, width[, 3]) uint8, its colours red, green, blue."""
    gray = picture.ndim == 2
    shown = np.ascontiguousarray(picture[..., None] if gray else picture)
    return simplejpeg.encode_jpeg(shown, quality, "GRAY" if gray else "RGB")  # type: ignore[no-any-return]


def png(picture: NDArray[Any]) -> bytes:
    """Encode a picture (height, width[, 3]) uint8 or uint16, its colours red, green, blue."""
    return _encode(".png", picture, _FAST)


def tiff(picture: NDArray[Any]) -> bytes:
    """Encode a picture (height, width) float32."""
    return _encode(".tiff", picture, [])


def _encode(suffix: str, picture: NDArray[Any], how: list[int]) -> bytes:
    shown = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    return cv2.imencode(suffix, shown, how)[1].tobytes()
