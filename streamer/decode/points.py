"""PointCloud2 messages → record arrays (points,) with the cloud's own field names.

The bytes of the points are the array: nothing is parsed. Format: sensor_msgs/PointField.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cursor import Cursor, parse_head
from streamer.errors import DecodeError
from streamer.records import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Decoding, Payload

_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_MOST_FIELDS = 256


class _Cloud(NamedTuple):
    """The head of a cloud; ``start`` and ``length`` say where the points' bytes lie."""

    height: int
    width: int
    dtype: np.dtype[Any]
    row_step: int
    start: int
    length: int


class PointsDecoder:
    """sensor_msgs/PointCloud2."""

    kind = "points"

    def __init__(self, encoding: str, how: Decoding) -> None:
        """Remember the wire encoding and the capacity, where one is given."""
        self._wire = encoding
        self._how = how

    def probe(self, payload: Payload) -> Spec:
        """Read one message's head; without a given capacity, its number of points is the shape's."""
        cloud = parse_head(payload, self._wire, _head)
        rows = self._how.capacity or cloud.height * cloud.width
        return Spec((rows,), _description(cloud.dtype), variable=True)

    def rows(self, payload: Payload) -> int:
        """Return the number of points."""
        cloud = parse_head(payload, self._wire, _head)
        return cloud.height * cloud.width

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Copy the points' bytes into their place."""
        cloud = parse_head(payload, self._wire, _head)
        rows = cloud.height * cloud.width
        if cloud.dtype != out.dtype:
            msg = f"a cloud with the fields {cloud.dtype} in a stream of {out.dtype}: the topic changed"
            raise DecodeError(msg)
        if rows > len(out):
            msg = f"a cloud of {rows} points in a stream with room for {len(out)}: raise 'capacity'"
            raise DecodeError(msg)
        packed = cloud.width * cloud.dtype.itemsize
        if cloud.length < cloud.row_step * (cloud.height - 1) + packed and rows:
            msg = f"a cloud of {cloud.width}x{cloud.height} points has only {cloud.length} bytes"
            raise DecodeError(msg)
        target = out.view(np.uint8).data
        if cloud.row_step == packed or cloud.height <= 1:
            payload.into(cloud.start, target[: rows * cloud.dtype.itemsize])
            return rows
        for row in range(cloud.height):
            payload.into(cloud.start + row * cloud.row_step, target[row * packed : (row + 1) * packed])
        return rows


def _head(cursor: Cursor) -> _Cloud:
    cursor.require_version_1()
    height, width, count = cursor.number(), cursor.number(), cursor.number()
    if count > _MOST_FIELDS:
        msg = f"a cloud with {count} fields: the message is damaged"
        raise DecodeError(msg)
    fields = [(cursor.text(), cursor.number(), cursor.byte(), cursor.number()) for _ in range(count)]
    big_endian, point_step, row_step = bool(cursor.byte()), cursor.number(), cursor.number()
    length = cursor.number()
    order = ">" if big_endian else "<"
    try:
        formats = [f"({n},){order}{_DATATYPES[kind]}" if n > 1 else order + _DATATYPES[kind] for *_, kind, n in fields]
        dtype = np.dtype(
            {
                "names": [name for name, *_ in fields],
                "formats": formats,
                "offsets": [offset for _, offset, *_ in fields],
                "itemsize": point_step,
            }
        )
    except (KeyError, ValueError) as error:
        msg = f"a cloud whose fields do not make sense ({error}): the message is damaged"
        raise DecodeError(msg) from error
    return _Cloud(height, width, dtype, row_step, cursor.position, length)


def _description(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Describe a record type in plain values, from which ``np.dtype`` makes it again."""
    fields: Any = dtype.fields or {}
    names = list(dtype.names or ())
    formats = []
    for name in names:
        base, shape = fields[name][0].base, fields[name][0].shape
        formats.append(f"({shape[0]},){base.str}" if shape else base.str)
    return {
        "names": names,
        "formats": formats,
        "offsets": [int(fields[n][1]) for n in names],
        "itemsize": dtype.itemsize,
    }
