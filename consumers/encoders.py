"""The name of a codec → the encoder behind it, its options, and whether it works on this machine."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from consumers.files import require
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEEDS = ("balanced", "fast", "fastest")
SOFTWARE = ("libsvtav1", "h264")
HARDWARE = ("h264_nvenc", "hevc_nvenc", "h264_vaapi", "h264_videotoolbox")
CODECS = (*SOFTWARE, *HARDWARE)
MOST_QUALITY = {"libsvtav1": 63}
_H26X = 51  # what CRF and its like go up to
_PRESET = "12"  # of SVT-AV1, the fastest; LeRobot's choice, too
_X264_PRESETS = {"balanced": "medium", "fast": "veryfast", "fastest": "ultrafast"}
_NVENC_PRESETS = {"balanced": "p4", "fast": "p2", "fastest": "p1"}
_LAMBDA = 118  # FF_QP2LAMBDA (libavutil/avutil.h)
_TRIED = 256  # pixels: hardware refuses much smaller pictures


def encoder_for(codec: str) -> str:
    """Return FFmpeg's name of the encoder."""
    return "libx264" if codec == "h264" else codec


def most_quality(codec: str) -> int:
    """Return the highest number that stands for a quality, which is the worst."""
    return MOST_QUALITY.get(codec, _H26X)


def options_of(codec: str, quality: int, speed: str, gop: int, threads: int | None) -> Mapping[str, str]:
    """Return an encoder's options: constant quality, a key frame every ``gop``, no B-frames."""
    own = {"threads": str(threads)} if threads else {}
    if codec == "libsvtav1":
        params = {"svtav1-params": f"lp={threads}"} if threads else {}
        return {"g": str(gop), "crf": str(quality), "preset": _PRESET} | params
    if codec == "h264":
        chosen = {"g": str(gop), "crf": str(quality), "preset": _X264_PRESETS[speed]}
        return chosen | {"bf": "0", "sc_threshold": "0"} | own
    chosen = {"g": str(gop), "bf": "0"}
    if codec.endswith("nvenc"):
        return chosen | {"rc": "vbr", "cq": str(quality), "b": "0", "preset": _NVENC_PRESETS[speed]}
    if codec.endswith("vaapi"):
        return chosen | {"rc_mode": "CQP", "qp": str(quality)}
    percent = round(100 - 100 * quality / _H26X)  # of VideoToolbox 100 is best
    return chosen | {"flags": "+qscale", "global_quality": str(percent * _LAMBDA)}


def check_encoder(codec: str) -> None:
    """Make sure that the PyAV that is installed has the encoder of a codec, and this machine what it needs.

    Raises:
        ConfigError: it has not.

    """
    av = require("av", "video")
    others = [name for name in SOFTWARE if name != codec and encoder_for(name) in av.codecs_available]
    instead = f"choose 'codec: {others[0]}'" if others else ""
    if encoder_for(codec) not in av.codecs_available:
        better = "install av from PyPI" if codec in SOFTWARE else ""
        todo = " or ".join(filter(None, (better, instead)))
        msg = f"codec: av {version('av')} was built without {codec}; {todo}"
        raise ConfigError(msg)
    if codec in HARDWARE and (why := failure(codec)):
        msg = f"codec: {codec} does not work on this machine ({why}); {instead}"
        raise ConfigError(msg)


@cache
def failure(encoder: str) -> str:
    """Encode one picture and say what goes wrong; empty where nothing does."""
    av: Any = require("av", "video")
    try:
        context = av.CodecContext.create(encoder, "w")
        context.width = context.height = _TRIED
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 30)
        frame = av.VideoFrame(_TRIED, _TRIED, "yuv420p")
        frame.pts = 0
        if not [*context.encode(frame), *context.encode(None)]:
            return "it gives nothing"
    except (OSError, ValueError, av.FFmpegError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""
