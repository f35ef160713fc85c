"""The name of an image encoding → how its bytes are read, and OpenCV's code for the colours asked for.

Names: sensor_msgs/image_encodings.hpp. Meaning: cv_bridge, which demosaics and converts as done here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from streamer.errors import ConfigError, DecodeError

_ORDERS = {"rgb": "RGB", "bgr": "BGR", "rgba": "RGBA", "bgra": "BGRA"}
_COLOR = {f"{name}{bits}": (f"u{bits // 8}", order) for name, order in _ORDERS.items() for bits in (8, 16)}
_BAYER = {
    f"bayer_{mosaic}{bits}": (f"u{bits // 8}", f"Bayer{mosaic.upper()}")
    for mosaic in ("rggb", "bggr", "gbrg", "grbg")
    for bits in (8, 16)
}
_YUV = {"yuv422": "UYVY", "uyvy": "UYVY", "yuv422_yuy2": "YUY2", "yuyv": "YUY2"}
_PLANAR = {"nv12": "NV12", "nv21": "NV21", "nv24": "NV24"}
_MONO = {"mono8": "u1", "mono16": "u2"}
_GENERIC = re.compile(r"(?:(8|16|32)([US])|(16|32|64)(F))C(\d{1,3})")
_MOST_CHANNELS = 512  # CV_CN_MAX
_KINDS = {"U": "u", "S": "i", "F": "f"}


class Pixels(NamedTuple):
    """How the bytes of an image are to be read: ``order`` names the colours; "" has none and keeps the values."""

    dtype: str
    channels: int
    order: str

    @property
    def mosaic(self) -> bool:
        """Tell whether each pixel has one colour of a Bayer pattern."""
        return self.order.startswith("Bayer")

    @property
    def planar(self) -> bool:
        """Tell whether brightness and colour lie in two planes."""
        return self.order.startswith("NV")

    @property
    def picture(self) -> bool:
        """Tell whether neighbouring pixels may be averaged: light, and no measured values such as depth."""
        return self.dtype == "u1" or bool(self.order)


_NAMED = {
    **{name: Pixels(dtype, len(order), order) for name, (dtype, order) in _COLOR.items()},
    **{name: Pixels(dtype, 1, order) for name, (dtype, order) in _BAYER.items()},
    **{name: Pixels("u1", 2, order) for name, order in _YUV.items()},
    **{name: Pixels("u1", 1, order) for name, order in _PLANAR.items()},
    **{name: Pixels(dtype, 1, "") for name, dtype in _MONO.items()},
}


@lru_cache(maxsize=256)
def find_pixels(encoding: str) -> Pixels | None:
    """Return how an encoding is read, None where its name is not known; case does not matter."""
    name = encoding.strip().lower()
    if name in _NAMED:
        return _NAMED[name]
    match = _GENERIC.fullmatch(name.upper())
    if match is None or not 0 < int(match[5]) <= _MOST_CHANNELS:
        return None
    dtype, channels = _KINDS[match[2] or match[4]] + str(int(match[1] or match[3]) // 8), int(match[5])
    order = "BGR" if (dtype, channels) == ("u1", 3) else ""  # OpenCV's own, as the viewers read it
    return Pixels(dtype, channels, order)


def pixels(encoding: str) -> Pixels:
    """Return how an encoding is read.

    Raises:
        DecodeError: its name is not known.

    """
    found = find_pixels(encoding)
    if found is None:
        known = ", ".join([*_NAMED, "8UC1 … 64FC4"])
        msg = f"the image encoding {encoding!r} is not known; known are {known}"
        raise DecodeError(msg)
    return found


def conversion(read: Pixels, color: str | None, encoding: str) -> tuple[int | None, int]:
    """Return OpenCV's conversion code (None: none needed) and the number of channels after it.

    Raises:
        ConfigError: the image has no colours and ``color`` asks for some.

    """
    if not read.order:
        if color is None or (color == "gray" and read.channels == 1):
            return None, read.channels
        if read.channels != 1 or read.dtype != "u1":
            msg = f"{color} does not fit an image of encoding {encoding!r}; leave 'color' out"
            raise ConfigError(msg, key="color")
    target = (color or "rgb").upper()
    if read.order == target:
        return None, 3
    return _code(read.order, target), 1 if target == "GRAY" else 3


@lru_cache(maxsize=256)
def _code(order: str, target: str) -> int | None:
    import cv2

    if not order:
        return int(cv2.COLOR_GRAY2RGB)
    if order in _YUV.values():
        return int(getattr(cv2, f"COLOR_YUV2{target}_{order}"))
    if order == "NV24":
        return None  # OpenCV has none: see planar.py
    if order in _PLANAR.values():
        return int(cv2.COLOR_YUV2GRAY_420 if target == "GRAY" else getattr(cv2, f"COLOR_YUV2{target}_{order}"))
    return int(getattr(cv2, f"COLOR_{order}2{target}"))
