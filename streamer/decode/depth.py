"""Compressed depth → distances: uint16 as they were measured, or metres as float32 from inverse numbers.

compressed_depth_image_transport, codec.cpp: a head of 12 bytes (a number, then the float32 parameters a and b, which
only mean something for 32FC1), and 16-bit pixels as PNG or RVL; 32FC1 is a / (value - b), where 0 means none.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.encodings import find_pixels
from streamer.decode.heads import look, require_pixels
from streamer.decode.rvl import decode_rvl
from streamer.errors import DecodeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.decode.form import Form

_HEAD = struct.Struct("<iff")
_SIZE = struct.Struct("<II")
_PNG = b"\x89PNG"


class Depth(NamedTuple):
    """What a message says before its pixels are decoded; ``body`` is a PNG, or RVL behind its size."""

    width: int
    height: int
    dtype: str
    body: memoryview
    rvl: bool
    parameters: tuple[float, float] | None


def look_at_depth(form: Form, data: memoryview, max_pixels: int) -> Depth:
    """Read the heads.

    Raises:
        DecodeError: the format does not say what was compressed, or the data are not that.

    """
    if not len(data):
        msg = "the picture is empty"
        raise DecodeError(msg)
    dtype = _dtype(form)
    rvl = form.codec == "rvl"
    body, parameters = _body(form, data, rvl=rvl)
    if dtype == "f4":
        parameters = _require_parameters(form, parameters)
    if rvl:
        width, height = _SIZE.unpack_from(body)
        require_pixels(width, height, max_pixels, "RVL depth")
        return Depth(width, height, dtype, body[_SIZE.size :], rvl, parameters)
    head = look(body, max_pixels)
    stored = "u1" if dtype == "u1" else "u2"
    if head.channels != 1 or head.bits != 8 * int(stored[1]):
        msg = f"format {form.text!r}: its PNG holds {head.channels or 4} channels of {head.bits} bits, not depth"
        raise DecodeError(msg)
    return Depth(head.width, head.height, dtype, body, rvl, parameters)


def decode_depth(depth: Depth) -> NDArray[Any]:
    """Return the distances (height, width).

    Raises:
        DecodeError: the pixels are cut off or damaged.

    """
    shape = depth.height, depth.width
    image: Any
    if depth.rvl:
        image = decode_rvl(depth.body, depth.height * depth.width).reshape(shape)
    else:
        import cv2

        image = cv2.imdecode(np.frombuffer(depth.body, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != shape:
        msg = f"a PNG of {len(depth.body)} bytes does not decode: it is cut off or damaged"
        raise DecodeError(msg)
    return image if depth.dtype != "f4" else _metres(image, *(depth.parameters or (0.0, 0.0)))


def _dtype(form: Form) -> str:
    """Return the type of the distances, from the encoding that was compressed."""
    found = find_pixels(form.original or form.codec)
    if found is None or found.channels != 1 or found.order or found.dtype not in ("u1", "u2", "f4"):
        msg = f"compressed depth of format {form.text!r}: it should begin with 16UC1 or 32FC1"
        raise DecodeError(msg)
    return found.dtype


def _body(form: Form, data: memoryview, *, rvl: bool) -> tuple[memoryview, tuple[float, float] | None]:
    """Return what was compressed, and the parameters of the head, None where there is no head."""
    if not rvl and form.codec not in ("", "png", form.text.lower().strip()):
        msg = f"compressed depth of format {form.text!r}: the codec {form.codec!r} is neither png nor rvl"
        raise DecodeError(msg)
    begins = _plausible if rvl else _is_png
    if begins(data):  # a head begins with 0, which is no width
        return data, None
    if begins(behind := data[_HEAD.size :]):
        _, a, b = _HEAD.unpack_from(data)
        return behind, (a, b)
    msg = f"compressed depth of format {form.text!r}: its {len(data)} bytes are no {'RVL' if rvl else 'PNG'}"
    raise DecodeError(msg)


def _is_png(data: memoryview) -> bool:
    return bytes(data[:4]) == _PNG


def _plausible(data: memoryview) -> bool:
    """Tell whether RVL may begin here: a width and a height, neither of which is 0 nor beyond 16 bits."""
    return len(data) > _SIZE.size and all(0 < n < 1 << 16 for n in _SIZE.unpack_from(data))


def _require_parameters(form: Form, parameters: tuple[float, float] | None) -> tuple[float, float]:
    if parameters is None or not all(map(math.isfinite, parameters)) or parameters[0] == 0:
        found = "has no head" if parameters is None else f"has the parameters {parameters[0]:g} and {parameters[1]:g}"
        msg = f"compressed depth of format {form.text!r} {found}: its distances cannot be known"
        raise DecodeError(msg)
    return parameters


def _metres(inverse: NDArray[np.uint16], a: float, b: float) -> NDArray[np.float32]:
    with np.errstate(divide="ignore"):
        depth: NDArray[np.float32] = np.float32(a) / (inverse.astype(np.float32) - np.float32(b))
    depth[inverse == 0] = np.nan
    return depth
