"""The records of an MCAP file → plain values. Format: https://mcap.dev/spec."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from streamer.source.definition import full_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.source.file import RecordingFile, Window

_T = TypeVar("_T")
MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = 3, 4, 5, 6, 8, 11, 15
ENTRY = np.dtype([("stamp", "<u8"), ("offset", "<u8")])
RECORD = struct.Struct("<BQ")
CHUNK_HEAD = struct.Struct("<QQQI")
INDEX_PLACE = "<HQ"
INDEX_RECORD_HEAD = 9 + 2 + 4  # operation code and length; channel; length of the array
MESSAGE_HEAD = struct.Struct("<BQHIQQ")
FOOTER = struct.Struct("<QQI")
_HEAD = 256  # bytes; the head of a chunk is shorter
COMPRESSIONS = ("", "lz4", "zstd")
_FORMATS = {"ros2msg": "msg", "ros1msg": "msg", "ros2idl": "idl", "omgidl": "idl"}


class Block(NamedTuple):
    """A stretch of records: a chunk's, or (block 0) the file itself for messages outside chunks.

    ``record`` is where the chunk's record begins, ``start`` where its ``length`` bytes of data do, ``size`` how many
    these are decompressed. ``first`` and ``last`` are the stamps between which its messages should lie.
    """

    record: int
    start: int
    length: int
    compression: str
    size: int
    indexes: bytes = b""  # for each channel its number and the position of its message index record
    first: int = 0
    last: int = 2**64 - 1


class Schema(NamedTuple):
    """What a file says of one type; ``form`` is empty where its text is none of ROS."""

    name: str
    text: str
    form: str


class Channel(NamedTuple):
    """What a file says of one channel; ``md5sum`` where it was converted from ROS 1."""

    topic: str
    schema: int
    encoding: str
    md5sum: str
    metadata: dict[str, str]


@dataclass(slots=True)
class Contents:
    """What a summary, or a walk over a file, tells of it."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)  # of messages, by channel
    messages: int | None = None  # in all; None where it is not said
    chunks: int = 0  # how many the statistics count

    def describe(self, op: int, record: memoryview) -> None:
        """Take in a schema or a channel.

        Raises:
            ValueError: one of its number was another.

        """
        if op == SCHEMA:
            number, schema = _schema(record)
            _put(self.schemas, number, schema, "schema")
        elif op == CHANNEL:
            number, channel = _channel(record)
            _put(self.channels, number, channel, "channel")

    def count(self, record: memoryview) -> None:
        """Take in the statistics."""
        (self.messages,) = struct.unpack_from("<Q", record)
        (self.chunks,) = struct.unpack_from("<I", record, 22)
        (length,) = struct.unpack_from("<I", record, 42)
        self.counts = dict(struct.iter_unpack("<HQ", record[46 : 46 + length]))

    def is_whole(self) -> bool:
        """Tell whether every message that is counted has a channel, and that its schema."""
        counted = [self.channels.get(number) for number, count in self.counts.items() if count]
        return (
            bool(self.messages)
            and sum(self.counts.values()) == self.messages
            and all(channel and (not channel.schema or channel.schema in self.schemas) for channel in counted)
        )


def _put(known: dict[int, _T], number: int, found: _T, what: str) -> None:
    if known.setdefault(number, found) != found:
        msg = f"{what} {number} is defined twice, each time differently"
        raise ValueError(msg)


def _schema(record: memoryview) -> tuple[int, Schema]:
    (number,) = struct.unpack_from("<H", record)
    name, position = string(record, 2)
    encoding, position = string(record, position)
    form = _FORMATS.get(encoding, "")
    # Another's may be binary; comments may be in another encoding, and names that are fit no message.
    text = string(record, position, errors="replace")[0] if form else ""
    return number, Schema(full_name(name) if form or not encoding else name, text, form)


def _channel(record: memoryview) -> tuple[int, Channel]:
    number, schema = struct.unpack_from("<HH", record)
    topic, position = string(record, 4)
    encoding, position = string(record, position)
    metadata = _metadata(record, position)
    return number, Channel(topic, schema, encoding, metadata.get("md5sum", ""), metadata)


def _metadata(record: memoryview, position: int) -> dict[str, str]:
    """Return a channel's metadata, a map of texts."""
    (length,) = struct.unpack_from("<I", record, position)
    position, end = position + 4, position + 4 + length
    found: dict[str, str] = {}
    while position < min(end, len(record)):
        key, position = string(record, position)
        value, position = string(record, position)
        found.setdefault(key, value)
    return found


def chunk_index(record: memoryview) -> Block:
    """Parse a record of the summary that says where a chunk is."""
    first, last, start, _ = struct.unpack_from("<QQQQ", record)
    (length,) = struct.unpack_from("<I", record, 32)
    indexes = bytes(record[36 : 36 + length])
    compression, position = string(record, 36 + length + 8)
    compressed, size = struct.unpack_from("<QQ", record, position)
    data = start + 9 + CHUNK_HEAD.size + 4 + len(compression) + 8
    if (first, last) == (0, 0):  # a writer that does not fill them in
        last = 2**64 - 1
    return Block(start, data, compressed, compression, size if compression else compressed, indexes, first, last)


def chunk_at(file: RecordingFile, position: int, length: int) -> Block:
    """Read the head of a chunk's record; of one that is cut off, what is there of it, and no checksum."""
    inner = position + RECORD.size
    head = file.read(inner, min(length, _HEAD, file.size - inner))
    _, _, size, _ = CHUNK_HEAD.unpack_from(head)
    compression, place = string(head, CHUNK_HEAD.size)
    (compressed,) = struct.unpack_from("<Q", head, place)
    start, end = inner + place + 8, min(inner + length, file.size)
    if compression:
        return Block(position, start, compressed, compression, size)
    return Block(position if start + size <= end else -1, start, end - start, "", end - start)


def records(section: Window, start: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the kind and the content of every record of a section.

    Raises:
        ValueError: one is of no kind, or does not end in it.

    """
    position = start
    while position < section.end:
        op, length = RECORD.unpack(section.read(position, RECORD.size))
        if op == 0:
            msg = f"the record at byte {position} is of no kind"
            raise ValueError(msg)
        yield op, section.read(position + RECORD.size, length)
        position += RECORD.size + length


def string(buffer: memoryview, position: int, errors: str = "strict") -> tuple[str, int]:
    """Return a text and where it ends; ``errors`` as in ``bytes.decode``.

    Raises:
        ValueError: it is cut off, or no UTF-8.

    """
    (length,) = struct.unpack_from("<I", buffer, position)
    end = position + 4 + length
    if end > len(buffer):
        msg = f"a text of {length} bytes of which {len(buffer) - position - 4} are there"
        raise ValueError(msg)
    return bytes(buffer[position + 4 : end]).decode(errors=errors), end


def message_length(head: memoryview) -> int | None:
    """Return the length of a message from its record's head; None where that is none."""
    if len(head) < MESSAGE_HEAD.size:
        return None
    op, length, *_ = MESSAGE_HEAD.unpack_from(head)
    return int(length) - 22 if op == MESSAGE and length >= MESSAGE_HEAD.size - RECORD.size else None
