"""Images of two planes, brightness and colour → what OpenCV makes of the same numbers in three planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from streamer.errors import DecodeError
from streamer.records import Decoding
from tests.bags import IMAGE, encoded
from tests.decode.pictures import decode, noise

if TYPE_CHECKING:
    from numpy.typing import NDArray


def planes(kind: str, y: NDArray[Any], u: NDArray[Any], v: NDArray[Any], padding: int = 0) -> bytes:
    """Make an NV12, NV21 or NV24 image of (h, w) brightness; the rows of each plane are padded."""
    pair = (v, u) if kind == "nv21" else (u, v)
    rows = np.stack(pair, axis=2).reshape(len(u), -1)
    wide = padding * (2 if kind == "nv24" else 1)
    data = [np.pad(y, ((0, 0), (0, padding))), np.pad(rows, ((0, 0), (0, wide)))]
    height, width = y.shape
    flat = np.concatenate([plane.ravel() for plane in data])
    return encoded("ros1", IMAGE, height=height, width=width, encoding=kind, step=width + padding, data=flat)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize(("color", "target"), [(None, "RGB"), ("bgr", "BGR"), ("gray", "GRAY")])
@pytest.mark.parametrize("kind", ["nv12", "nv21", "nv24"])
def test_planes_of_brightness_and_colour_are_converted_as_opencv_does(
    kind: str, color: str | None, target: str, padding: int
) -> None:
    y, u, v = noise(8, 10), noise(8, 10)[:4, :5] // 2 + 60, noise(8, 10)[4:, 5:] // 2 + 60
    wide_u, wide_v = (np.repeat(np.repeat(c, 2, 0), 2, 1) if kind == "nv24" else c for c in (u, v))
    i420 = np.concatenate([y.ravel(), u.ravel(), v.ravel()]).reshape(12, 10)
    wanted = cv2.cvtColor(i420, getattr(cv2, f"COLOR_YUV2{target}_I420"))
    assert np.array_equal(decode(planes(kind, y, wide_u, wide_v, padding), Decoding(color=color)), wanted)


def test_planes_of_an_odd_size_are_refused() -> None:
    y = noise(7, 10)
    with pytest.raises(DecodeError, match="an image of 10x7 nv12: its height and width must be even"):
        decode(planes("nv12", y, noise(4, 5), noise(4, 5)))
