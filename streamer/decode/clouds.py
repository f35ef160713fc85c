"""CompressedPointCloud2 messages → record arrays (points,), as of the PointCloud2 that was compressed.

Format: point_cloud_interfaces/CompressedPointCloud2, whose ``format`` names how the points are compressed: ``zlib`` and
``zstd`` (the bytes of the cloud), ``cloudini`` (pureini reads it) or ``draco`` (DracoPy does), in the layout of
draco_point_cloud_transport: an attribute for each field, in their order, and colours as their single bytes.
"""

from __future__ import annotations

import sys
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cursor import parse_head
from streamer.decode.points import Cloud, PointsDecoder, cloud_head
from streamer.errors import ConfigError, DecodeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.decode.cursor import Cursor
    from streamer.records import Payload, Spec

COMPRESSED_CLOUD = "point_cloud_interfaces/msg/CompressedPointCloud2"
_MOST = 2**30  # bytes that a cloud may claim to have
_ANY_HEADER = 47  # for zlib.decompress: of zlib or gzip
_EXACT = 2**24  # up to here a float32 holds every whole number


class _Packed(NamedTuple):
    """A cloud, its compressed bytes, and what they are compressed with."""

    cloud: Cloud
    data: memoryview
    how: str


class CompressedPointsDecoder(PointsDecoder):
    """point_cloud_interfaces/CompressedPointCloud2."""

    def probe(self, payload: Payload) -> Spec:
        """Read one message's head, and find out whether what it needs is installed."""
        _require(self._packed(payload).how)
        return super().probe(payload)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Decompress the points into their place."""
        cloud, data, how = self._packed(payload)
        rows = self.room(cloud, out)
        if rows:
            try:
                points = _points(cloud, rows, data, how)
            except (RuntimeError, ValueError, TypeError, MemoryError, EOFError, zlib.error, zstd.ZstdError) as error:
                msg = f"a cloud of format {how!r} that does not decompress: {error or type(error).__name__}"
                raise DecodeError(msg) from error
            for name in cloud.dtype.names or ():
                out[name][:rows] = points[name]
        return rows

    def cloud(self, payload: Payload) -> Cloud:
        """Read a message's head."""
        return parse_head(payload, self.wire, _head)

    def _packed(self, payload: Payload) -> _Packed:
        def read(cursor: Cursor) -> tuple[Cloud, str]:
            cloud = _head(cursor)
            cursor.skip(cloud.length)
            cursor.byte()
            return cloud, cursor.text()

        cloud, how = parse_head(payload, self.wire, read)
        return _Packed(cloud, payload.all()[cloud.start : cloud.start + cloud.length], how)


def _head(cursor: Cursor) -> Cloud:
    cloud = cloud_head(cursor, None)
    size = cloud.height * cloud.width * cloud.dtype.itemsize
    if size > _MOST:
        msg = f"a compressed cloud of {cloud.width}x{cloud.height} points would take {size} bytes: it is damaged"
        raise DecodeError(msg)
    return cloud


def _require(how: str) -> Any:
    """Import what decompresses a format.

    Raises:
        ConfigError: it is not installed. DecodeError: nothing is known that does.

    """
    modules = {"cloudini": "pureini", "draco": "DracoPy", "zlib": "zlib", "zstd": ""}
    if how not in modules:
        msg = f"a cloud of format {how!r} cannot be read; {', '.join(sorted(modules))} can"
        raise DecodeError(msg)
    if not modules[how]:
        return zstd
    try:
        return import_module(modules[how])
    except ImportError as error:
        msg = f"the topic holds clouds of format {how!r}: pip install 'rosbag-streamer[clouds]' to read them"
        raise ConfigError(msg, key="topic") from error


def _points(cloud: Cloud, rows: int, data: memoryview, how: str) -> NDArray[Any]:
    """Return a cloud's points (rows,), or a view of them."""
    if how == "draco":
        return _from_draco(cloud, rows, data)
    size = rows * cloud.dtype.itemsize
    if how == "zlib":
        found = zlib.decompressobj(_ANY_HEADER).decompress(data, size + 1)
    elif how == "zstd":
        found = zstd.ZstdDecompressor().decompress(data, size + 1)
    else:
        found = _from_cloudini(cloud, data)
    if len(found) != size:
        msg = f"{rows} points of {cloud.dtype.itemsize} bytes are promised, and {len(found)} bytes are inside"
        raise ValueError(msg)
    return np.frombuffer(found, cloud.stored)


def _from_cloudini(cloud: Cloud, data: memoryview) -> bytes:
    found, info = _require("cloudini").PointcloudDecoder().decode(bytes(data))
    fields: Any = cloud.dtype.fields or {}
    inside = {field.name: field.offset for field in info.fields}
    if info.point_step != cloud.dtype.itemsize or any(inside.get(name) != fields[name][1] for name in fields):
        msg = f"its points of {info.point_step} bytes have the fields {inside}, the message says {cloud.dtype}"
        raise ValueError(msg)
    return bytes(found)


def _from_draco(cloud: Cloud, rows: int, data: memoryview) -> NDArray[Any]:
    """Put the attributes into the fields: one for each, in their order."""
    if cloud.stored != cloud.dtype:
        msg = "it is big-endian, which Draco does not know"
        raise ValueError(msg)
    library = _require("draco")
    try:
        attributes = library.decode(bytes(data)).attributes
    except library.FileTypeException as error:  # whatever is wrong
        msg = "it is damaged, or no Draco cloud"
        raise ValueError(msg) from error
    names = cloud.dtype.names or ()
    if len(attributes) != len(names):
        msg = f"it has {len(attributes)} attributes for {len(names)} fields"
        raise ValueError(msg)
    points = np.zeros(rows, cloud.dtype)
    for name, attribute in zip(names, attributes, strict=True):
        values, target = attribute["data"], points[name].reshape(rows, -1)
        if values is None or len(values) != rows:
            msg = f"{name!r} has {0 if values is None else len(values)} values for {rows} points"
            raise ValueError(msg)
        if name in ("rgb", "rgba") and values.dtype == np.uint8:  # four bytes, which the field holds as one number
            values = np.ascontiguousarray(values).view(target.dtype)
        if values.shape != target.shape or not _holds(values, target.dtype):
            msg = f"{name!r} is {values.dtype} {values.shape[1:]}, which {target.dtype} {target.shape[1:]} is not"
            raise ValueError(msg)
        target[...] = values
    return points


def _holds(values: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Tell whether values came through DracoPy whole: it gives small whole numbers in other types."""
    if values.dtype == dtype:
        return True
    if dtype.kind not in "iu":
        return False
    return bool((np.abs(values.astype(float)) < _EXACT).all() and (values == values.astype(dtype)).all())
