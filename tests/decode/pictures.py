"""Pixels → messages that hold them, and what a decoder makes of a message."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from streamer.decode.compressed import CompressedDecoder
from streamer.decode.image import ImageDecoder
from streamer.records import Decoding, Spec
from tests.bags import COMPRESSED, IMAGE, encoded, header, payload

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENCODINGS = ("ros1", "cdr", "cdr_be")


def raw(
    pixels: NDArray[Any],
    kind: str,
    *,
    wire: str = "ros1",
    padding: int = 0,
    big_endian: bool = False,
    frame: str = "cam",
) -> bytes:
    """Make an Image; each row gets `padding` bytes that must not show."""
    if big_endian:
        pixels = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(len(pixels), pixels.nbytes // max(len(pixels), 1))
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    height, width = pixels.shape[:2]
    values = {"height": height, "width": width, "encoding": kind, "is_bigendian": int(big_endian)}
    return encoded(wire, IMAGE, header=header(5, frame), step=padded.shape[1], data=padded.ravel(), **values)


def decode(data: bytes, how: Decoding | None = None, wire: str = "ros1") -> NDArray[Any]:
    decoder = ImageDecoder(wire.removesuffix("_be"), how or Decoding())
    return into(decoder, data)


def into(decoder: ImageDecoder | CompressedDecoder, data: bytes, spec: Spec | None = None) -> NDArray[Any]:
    """Probe and decode into a place full of sevens."""
    spec = spec or decoder.probe(payload(data))
    out = np.full(spec.shape, 7, np.dtype(spec.dtype))
    assert decoder.decode(payload(data), out) == len(out)
    return out


def noise(*shape: int, dtype: str = "u1") -> NDArray[Any]:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype)


def packed(data: bytes, form: str = "jpeg", wire: str = "ros1") -> bytes:
    return encoded(wire, COMPRESSED, header=header(5, "cam"), format=form, data=np.frombuffer(data, np.uint8))


def unpack(data: bytes, how: Decoding | None = None, *, wire: str = "ros1", depth: bool = False) -> NDArray[Any]:
    return into(CompressedDecoder(wire.removesuffix("_be"), how or Decoding(), depth=depth), data)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5 % 256, y * 7 % 256, (x + y) * 3 % 256], axis=2).astype(np.uint8)


def png(pixels: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def depth_message(data: bytes, form: str, a: float = 0.0, b: float = 0.0, wire: str = "ros1") -> bytes:
    return packed(struct.pack("<iff", 0, a, b) + data, form, wire)
