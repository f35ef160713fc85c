"""The records of a ROS 1 bag → plain values. Format: http://wiki.ros.org/Bags/Format/2.0."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import RecordingError
from streamer.source.payload import HEAD
from streamer.source.salvage import DAMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.source.blocks import Read
    from streamer.source.file import Window

MAGIC = b"#ROSBAG V2.0\n"
MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 2, 3, 4, 5, 6, 7
ENTRY = np.dtype([("sec", "<u4"), ("nsec", "<u4"), ("offset", "<u4")])
INDEX_RECORD_HEAD = 4 + 47 + 4  # header length, header of four fixed fields, data length
U32 = struct.Struct("<I")
MESSAGE_HEADER = 38  # bytes of the three fields of a message's header
LONGEST = 16 * 2**20  # bytes of a header, or of what is said of a connection
_SHORT = 128  # bytes; headers up to this length recur, one a chunk
_LAYOUTS: dict[int, tuple[tuple[str, bytes, int, int, int], ...]] = {}  # length → name, what precedes the value, places
COMPRESSIONS = ("none", "lz4", "bz2")


def stamps(entries: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the stamps of index entries in nanoseconds."""
    found: NDArray[np.int64] = entries["sec"].astype(np.int64) * 10**9 + entries["nsec"]
    return found


def record_head(read: Read, position: int, end: int) -> tuple[dict[str, bytes], tuple[int, int]]:
    """Read a record's header, in one go if it is short; return its fields, position and length of its data."""
    head = read(position, max(4, min(HEAD, end - position)))
    (length,) = U32.unpack_from(head)
    if length > LONGEST:
        msg = f"a record's header of {length} bytes"
        raise ValueError(msg)
    if length + 8 > len(head):
        head = read(position, length + 8)
    fields = parse_fields(bytes(head[4 : 4 + length]))
    (data_length,) = U32.unpack_from(head, 4 + length)
    return fields, (position + 8 + length, data_length)


def parse_record(section: Window, position: int, op: int) -> tuple[dict[str, bytes], bytes, int]:
    """Read a record of a kind; return its header's fields, its data, and where the next begins.

    Raises:
        ValueError: it is of another kind, or does not end in the section.

    """
    (length,) = U32.unpack(section.read(position, 4))
    fields = parse_fields(bytes(section.read(position + 4, length)))
    expect(fields, op)
    position += 4 + length
    (length,) = U32.unpack(section.read(position, 4))
    return fields, bytes(section.read(position + 4, length)), position + 4 + length


def parse_fields(header: bytes) -> dict[str, bytes]:
    """Split a header into its fields; one that has the layout of an earlier one is only compared with it."""
    known = _LAYOUTS.get(len(header), ())
    if known and all([header[at:start] == prefix for _, prefix, at, start, _ in known]):  # noqa: C419 - a list is faster
        return {name: header[start:end] for name, _, _, start, end in known}
    fields: dict[str, bytes] = {}
    layout = []
    position = 0
    while position < len(header):
        (length,) = U32.unpack_from(header, position)
        name, _, value = header[position + 4 : position + 4 + length].partition(b"=")
        fields[name.decode()] = value
        start, end = position + 4 + len(name) + 1, position + 4 + length
        layout.append((name.decode(), header[position:start], position, start, end))
        position = end
    if len(header) <= _SHORT and position == len(header):
        _LAYOUTS[len(header)] = tuple(layout)
    return fields


def expect(fields: dict[str, bytes], op: int) -> None:
    """Make sure that a header is that of a kind of records.

    Raises:
        ValueError: it is of another.

    """
    if fields["op"][0] != op:
        msg = f"a record of kind {fields['op'][0]} where one of kind {op} should be"
        raise ValueError(msg)


def message_head(head: memoryview) -> tuple[int, int, int]:
    """Return the kind of a record, and the place and length of its data."""
    try:
        (length,) = U32.unpack_from(head, 0)
        if length == MESSAGE_HEADER:
            raw = bytes(head[4:42])
            op = raw[raw.index(b"op=") + 3]
        else:
            op = parse_fields(bytes(head[4 : 4 + length]))["op"][0]
        (size,) = U32.unpack_from(head, 4 + length)
    except DAMAGE as error:
        msg = f"the index points at something that is not a message ({error!r}): the bag is damaged"
        raise RecordingError(msg) from error
    return op, 8 + length, size


def normal_name(name: str) -> str:
    """Write a topic's name with single slashes, as rosbags does."""
    return ("/" if name.startswith("/") else "") + "/".join(part for part in name.split("/") if part)
