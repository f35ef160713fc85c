"""A message of Protocol Buffers → its fields (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST = 10  # bytes of a number


def fields_of(content: memoryview) -> Iterator[tuple[int, int, int]]:
    """Yield each field's number and, for bytes, where it begins and ends; for a number, its value and the end.

    Raises:
        DecodeError: the message is cut off, or none of Protocol Buffers.

    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
            value, at = int.from_bytes(_cut(content, at, size), "little"), at + size
        elif kind == _BYTES:
            length, value = _varint(content, at)
            at = value + len(_cut(content, value, length))
        else:
            msg = f"a field of kind {kind}: no message of Protocol Buffers"
            raise DecodeError(msg)
        yield number, value, at


def _cut(content: memoryview, start: int, length: int) -> memoryview:
    if start + length > len(content):
        msg = f"a message of {len(content)} bytes should hold {start + length}: it is cut off"
        raise DecodeError(msg)
    return content[start : start + length]


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(_cut(content, at, min(_LONGEST, len(content) - at))):
        value |= (byte & 127) << 7 * count
        if not byte & 128:
            return value, at + count + 1
    msg = "a number does not end: the message is cut off or damaged"
    raise DecodeError(msg)
