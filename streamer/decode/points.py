"""PointCloud2 messages → record arrays (points,) with the cloud's own field names.

The bytes of the points are the array: nothing is parsed. Format: sensor_msgs/PointCloud2 and PointField. A
``row_step`` that does not fit is not looked at where the data are just ``width × height × point_step`` bytes.
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


class Cloud(NamedTuple):
    """The head of a cloud; ``start`` and ``length`` say where the points' bytes lie, ``step`` how far apart rows are.

    ``dtype`` is the points' type as a little-endian machine has it, ``stored`` as the message has it.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    stored: np.dtype[Any]
    step: int
    start: int
    length: int


class _Field(NamedTuple):
    """One number, or row of numbers, of a point."""

    name: str
    offset: int
    kind: int
    numbers: int


class PointsDecoder:
    """sensor_msgs/PointCloud2."""

    kind = "points"

    def __init__(self, encoding: str, how: Decoding) -> None:
        """Remember the wire encoding and the capacity, where one is given."""
        self.wire = encoding
        self._how = how

    def probe(self, payload: Payload) -> Spec:
        """Read one message's head; without a given capacity, its number of points is the shape's."""
        cloud = self.cloud(payload)
        if not cloud.dtype.names:
            msg = "a cloud without fields: its points cannot be read"
            raise DecodeError(msg)
        return Spec((self._how.capacity or cloud.height * cloud.width,), _description(cloud.dtype), variable=True)

    def verify(self, payload: Payload) -> Spec:
        """Tell what a message's array will look like."""
        return self.probe(payload)

    def rows(self, payload: Payload) -> int:
        """Return the number of points."""
        cloud = self.cloud(payload)
        return cloud.height * cloud.width

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Copy the points' bytes into their place."""
        cloud = self.cloud(payload)
        rows, size = self.room(cloud, out), cloud.dtype.itemsize
        if rows == 0:
            return 0
        foreign = cloud.stored != cloud.dtype
        points = np.empty(rows, cloud.stored) if foreign else out[:rows]
        target, packed = points.view(np.uint8).data, cloud.width * size
        if cloud.step == packed:
            payload.into(cloud.start, target)
        else:
            for row in range(cloud.height):
                payload.into(cloud.start + row * cloud.step, target[row * packed : (row + 1) * packed])
        if foreign:
            for name in cloud.dtype.names or ():
                out[name][:rows] = points[name]
        return rows

    def room(self, cloud: Cloud, out: NDArray[Any]) -> int:
        """Return the number of a cloud's points, for which there is room.

        Raises:
            DecodeError: there is not, or they have other fields.

        """
        rows = cloud.height * cloud.width
        if rows == 0 and not cloud.dtype.names:
            return 0
        if cloud.dtype != out.dtype:
            msg = f"a cloud with the fields {cloud.dtype} in a stream of {out.dtype}: the topic changed"
            raise DecodeError(msg)
        if rows > len(out):
            msg = f"a cloud of {rows} points in a stream with room for {len(out)}: raise 'capacity'"
            raise DecodeError(msg)
        return rows

    def cloud(self, payload: Payload) -> Cloud:
        """Read a message's head."""
        size = len(payload)
        return parse_head(payload, self.wire, lambda cursor: cloud_head(cursor, size))


def cloud_head(cursor: Cursor, size: int | None) -> Cloud:
    """Read the head of a cloud in a message of ``size`` bytes; None where its points are compressed."""
    cursor.require_version_1()
    height, width, count = cursor.number(), cursor.number(), cursor.number()
    if count > _MOST_FIELDS:
        msg = f"a cloud with {count} fields: the message is damaged"
        raise DecodeError(msg)
    fields = [_Field(cursor.text(), cursor.number(), cursor.byte(), cursor.number()) for _ in range(count)]
    big_endian, point_step, row_step = bool(cursor.byte()), cursor.number(), cursor.number()
    length = cursor.number()
    start = cursor.position
    step = width * point_step
    if size is not None:
        step = _row_step(height, width, point_step, row_step, min(length, max(size - start, 0)))
    dtype, stored = (_record(fields, point_step, order) for order in "<>")
    if big_endian and _overlap(fields):
        msg = "a big-endian cloud whose fields overlap: its bytes cannot be put in order"
        raise DecodeError(msg)
    return Cloud(height, width, dtype, stored if big_endian else dtype, step, start, length)


def _row_step(height: int, width: int, point_step: int, row_step: int, length: int) -> int:
    """Return the bytes from one row of points to the next.

    Raises:
        DecodeError: the numbers do not fit the bytes that are there.

    """
    packed = width * point_step
    if length == packed * height:
        return packed
    if height and row_step >= packed and length in (row_step * height, row_step * (height - 1) + packed) and packed:
        return row_step
    msg = (
        f"a cloud of {width}x{height} points of {point_step} bytes, with rows of {row_step}, does not fit its "
        f"{length} bytes"
    )
    raise DecodeError(msg)


def _record(fields: list[_Field], point_step: int, order: str) -> np.dtype[Any]:
    """Make the type of a point; a count of 0 means 1, as in the point cloud library."""
    names = [field.name or f"unnamed_field_{n}" for n, field in enumerate(fields)]
    twice = next((name for n, name in enumerate(names) if name in names[:n]), None)
    if twice is not None:
        msg = f"a cloud with two fields {twice!r}: which of them is meant cannot be known"
        raise DecodeError(msg)
    try:
        bases = [order + _DATATYPES[field.kind] for field in fields]
        formats = [f"({f.numbers},){base}" if f.numbers > 1 else base for f, base in zip(fields, bases, strict=True)]
        offsets = [field.offset for field in fields]
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": point_step})
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        told = ", ".join(f"{f.name} (type {f.kind}, {f.numbers} at {f.offset})" for f in fields[:8])
        msg = f"a cloud whose fields do not fit points of {point_step} bytes: {told}"
        raise DecodeError(msg) from error


def _overlap(fields: list[_Field]) -> bool:
    ends = 0
    for field in sorted(fields, key=lambda field: field.offset):
        if field.offset < ends:
            return True
        ends = field.offset + max(field.numbers, 1) * int(_DATATYPES[field.kind][1])
    return False


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
