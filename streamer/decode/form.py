"""The ``format`` of a CompressedImage ("rgb8; jpeg compressed bgr8") → what was compressed, how, and as what.

compressed_image_transport writes ``ORIGINAL; CODEC compressed [INSIDE]``, where INSIDE is the encoding that the
picture was converted to before; compressed_depth_image_transport ``ORIGINAL; compressedDepth [CODEC]``. Older
versions and drivers write the codec alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from streamer.decode.encodings import Pixels, find_pixels
from streamer.errors import DecodeError

_CODES = {"u1": "uint8", "u2": "uint16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32"}


class Form(NamedTuple):
    """A parsed format; a part that is not given is empty, all lower-case."""

    text: str
    original: str = ""
    codec: str = ""
    inside: str = ""
    depth: bool = False


@lru_cache(maxsize=256)
def parse_form(text: str) -> Form:
    """Take a format apart."""
    original, semicolon, rest = text.lower().partition(";")
    words = rest.split()
    depth = "compresseddepth" in words or "compresseddepth" in original.split()
    if depth:
        codec = words[-1] if words and words[-1] != "compresseddepth" else ""
        return Form(text, original.replace("compresseddepth", "").strip(), codec, depth=True)
    if not semicolon:
        alone = find_pixels(original)  # "16UC1" tells what the values are; of colours, the picture's own order holds
        return Form(text, original.strip() if alone and not alone.order else "", original.strip())
    inside = words[words.index("compressed") + 1 :] if "compressed" in words else []
    return Form(text, original.strip(), words[0] if words else "", inside[0] if inside else "")


class Reading(NamedTuple):
    """How the array that a codec gives is read; each value is to be multiplied by ``factor``."""

    pixels: Pixels
    factor: int = 1


@lru_cache(maxsize=256)
def reading(form: Form, kind: str, channels: int, dtype: str) -> Reading:
    """Say what a decoded array means, in OpenCV's order (compressed_subscriber.cpp): ``dtype`` as in ``u1``.

    Raises:
        DecodeError: the format speaks of other values than the picture holds.

    """
    said = find_pixels(form.inside or form.original)
    original = find_pixels(form.original)
    factor = 1
    if kind == "JPEG" and original is not None and original.dtype != "u1":
        if original.dtype != "u2" or not form.inside or form.inside == form.original or not _sees(original, form):
            msg = f"format {form.text!r}: a JPEG holds 8 bits a value, not those of {form.original}; record it as PNG"
            raise DecodeError(msg)
        factor = 256  # as the subscriber brings them back to 16 bits
    elif said is not None and said.dtype != dtype:
        name = form.inside or form.original
        msg = f"format {form.text!r}: the {kind} inside holds {_CODES.get(dtype, dtype)}, which is not {name}"
        raise DecodeError(msg)
    return Reading(Pixels("u2" if factor > 1 else dtype, channels, _order(form, said, kind, channels)), factor)


def _sees(original: Pixels, form: Form) -> bool:
    """Tell whether 16 bits were brought to 8 by scaling: of light, not of measured values."""
    return bool(original.order) or form.original.startswith("mono")


def _order(form: Form, said: Pixels | None, kind: str, channels: int) -> str:
    """Name the colours of a decoded array of 1, 3 or 4 channels."""
    if channels == 1:
        return said.order if said is not None and said.mosaic else ""
    alpha = "A" if channels == 4 else ""
    if said is not None and not said.order and said.channels == channels:
        return ""  # measured values, such as 32FC3
    if form.inside:
        return ("RGB" if form.inside.startswith("rgb") else "BGR") + alpha
    if form.original.startswith(("rgb", "bgr")) and said is not None:
        # compressed_publisher gives a TIFF's pixels to OpenCV as they are; all else that does not say "compressed
        # bgr" is read as RGB by compressed_subscriber.
        order = form.original[:3].upper() if kind == "TIFF" else "RGB"
        return order + alpha
    return "BGR" + alpha
