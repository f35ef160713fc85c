"""The size of a JPEG and the size asked for → the scale at which it is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.errors import DecodeError
from streamer.resize import MILD

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EIGHTHS = (1, 2, 4)  # the scales at which decoding is fast; others are as far from an average and take longer


class Scaled(NamedTuple):
    """The size at which a JPEG is decoded on its way to another; ``reduced`` says that it is not its own."""

    height: int
    width: int
    reduced: bool


def jpeg_scale(height: int, width: int, target: tuple[int, int]) -> Scaled:
    """Choose the eighths of its size at which a JPEG is decoded; ``target`` is (height, width).

    Decoding at a reduced scale averages blocks of pixels where the cosines are turned back (libjpeg).
    """
    if max(height / target[0], width / target[1]) > MILD:
        for eighths in _EIGHTHS:
            scaled = -(-height * eighths // 8), -(-width * eighths // 8)
            if scaled[0] >= target[0] and scaled[1] >= target[1]:
                return Scaled(*scaled, reduced=True)
    return Scaled(height, width, reduced=False)


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
