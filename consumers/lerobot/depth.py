"""16-bit depth pictures → a video of 12-bit codes, as LeRobot 0.6 writes and reads depth cameras.

The quantizer is that of ``lerobot/datasets/depth_utils.py`` (0.6.1) with its defaults: the logarithm of metres,
shifted, from 0.01 m (code 0) to 10 m (code 4095). The codes are kept without loss by HEVC; what is nearer, or no
measurement (0), comes back as 0.01 m, what is further as 10 m.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import require
from consumers.mp4 import Segment
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction
    from pathlib import Path

    from av import VideoFrame
    from numpy.typing import NDArray

    from consumers.mp4 import Coding

_NEAR, _FAR, _SHIFT = 0.01, 10.0, 3.5  # metres
_USUAL = {"depth_min": _NEAR, "depth_max": _FAR, "shift": _SHIFT, "use_log": True}
_LAST_CODE, _LEVELS = 4095, 65536
_FORMAT, _ENCODER = "gray12le", "libx265"
_KEYS = 2  # pictures from one key picture to the next, as LeRobot has it
_X265 = "lossless=1"  # LeRobot's own word for it
_OURS = "bframes=0:open-gop=0:scenecut=0:info=0:log-level=error"  # so that segments join by counting


def described(unit: str) -> dict[str, Any]:
    """Return what ``info.json`` says beside what the file tells; ``unit`` is that of the statistics."""
    about = _USUAL | {"g": _KEYS, "extra_options": {"x265-params": _X265}, "video_backend": "pyav"}
    return {"is_depth_map": True, "depth_unit": unit} | {f"video.{name}": value for name, value in about.items()}


def quantizer(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a feature of ``info.json`` makes codes of depth; nothing where it is no video of depth."""
    info = feature.get("info") or {}
    is_code = feature["dtype"] == "video" and info.get("is_depth_map")
    return {name: info.get(f"video.{name}", usual) for name, usual in _USUAL.items()} if is_code else {}


def check_depth_encoder() -> None:
    """Make sure that the PyAV that is installed has the encoder.

    Raises:
        ConfigError: it was built without.

    """
    av = require("av", "lerobot")
    if _ENCODER not in av.codecs_available or _FORMAT not in {
        one.name for one in av.Codec(_ENCODER, "w").video_formats
    }:
        msg = f"depth: av {version('av')} encodes no HEVC of 12 bits; install av from PyPI, or leave out 'depth: video'"
        raise ConfigError(msg)


@cache
def codes(unit: str) -> NDArray[np.uint16]:
    """Return the code of each value of a picture, (65536,), whose unit is mm or m."""
    metres = np.arange(_LEVELS) / (1 if unit == "m" else 1000)
    low, high = np.log(_NEAR + _SHIFT), np.log(_FAR + _SHIFT)
    share = (np.log(metres + _SHIFT) - low) / (high - low)
    found: NDArray[np.uint16] = np.rint(share * _LAST_CODE).clip(0, _LAST_CODE).astype(np.uint16)
    return found


class DepthSegment(Segment):
    """A segment of depth pictures, uint16 (height, width)."""

    def __init__(self, path: Path, rate: Fraction, coding: Coding, unit: str) -> None:
        """Begin a file of pictures in this unit, mm or m."""
        self._codes = codes(unit)
        super().__init__(path, rate, coding)

    def _convert(self, picture: NDArray[Any]) -> VideoFrame:
        """Put the codes into a frame."""
        height, width = picture.shape
        frame: VideoFrame = self._av.VideoFrame(width, height, _FORMAT)
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint16).reshape(height, plane.line_size // 2)
        rows[:] = 0
        np.take(self._codes, picture, out=rows[:, :width])
        return frame

    def _new_stream(self, frame: VideoFrame) -> Any:
        chosen = {"g": str(_KEYS), "preset": "ultrafast", "x265-params": f"{_X265}:{_OURS}"}
        if self._coding.threads:
            chosen["x265-params"] += f":pools={self._coding.threads}"
        stream = self._file.add_stream(_ENCODER, rate=self._rate, options=chosen)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, _FORMAT
        stream.codec_context.time_base = self._time_base
        return stream
