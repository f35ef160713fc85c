"""An MCAP file → its topics, the place of every message, and messages on request.

Format: https://mcap.dev/spec. The summary at the end of the file is read first; a file without one
is walked record by record, and so is one that is salvaged.
"""

from __future__ import annotations

import os
import struct
from binascii import crc32
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.errors import DamagedError, RecordingError
from streamer.files import regular_descriptor
from streamer.records import Topic
from streamer.source.blocks import CORRUPT, BlockCache, decompress
from streamer.source.definition import full_name
from streamer.source.heads import close_together, gather, numbers, padded
from streamer.source.payload import HEAD, FilePayload, MemoryPayload, raise_short, read_bytes
from streamer.source.salvage import DAMAGE, Loss, assess, check_end, resume, walk, walk_block, words
from streamer.source.table import Found, make_tables
from streamer.source.topics import join_topics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.records import Damage, Index, Payload
    from streamer.source.blocks import Buffer, Read


MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _STATISTICS, _DATA_END = 3, 4, 5, 6, 8, 11, 15
_ENTRY = np.dtype([("stamp", "<u8"), ("offset", "<u8")])
_RECORD = struct.Struct("<BQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
_INDEX_PLACE = "<HQ"
_INDEX_RECORD_HEAD = 9 + 2 + 4  # operation code and length; channel; length of the array
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_FOOTER = 8 + 8 + 4
_DEFINITION_FORMATS = {"ros2msg": "msg", "ros1msg": "msg", "ros2idl": "idl", "omgidl": "idl"}
_COMPRESSIONS = ("", "lz4", "zstd")


class _Block(NamedTuple):
    """A stretch of records: a chunk's, or (block 0) the file itself for messages outside chunks."""

    start: int
    length: int
    compression: str
    size: int
    crc: int
    indexes: bytes  # for each channel its number and the position of its message index record


class _Channel(NamedTuple):
    """What a file says of one channel; ``md5sum`` where it was converted from ROS 1."""

    topic: str
    schema: int
    encoding: str
    md5sum: str


class McapSource:
    """One ``.mcap`` file, open for reading; never written to."""

    kind = "mcap"
    damage: Damage | None = None
    walked = False

    def __init__(self, path: Path, *, salvage: bool = False) -> None:
        """Read the summary: channels, schemas, and the place of each chunk's index; ``salvage`` as in `Source`.

        Raises:
            RecordingError: not an MCAP file, not closed properly, cut off, or of an unknown kind.

        """
        self.path = path
        self._fd = regular_descriptor(path)
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self._channels: dict[int, _Channel] = {}
        self._counts: dict[int, int] = {}
        self._found = Found()
        self._losses: list[Loss] = []
        self._starts: list[int] = []  # where the summary says that chunks begin
        try:
            self.size = os.fstat(self._fd).st_size
            self._blocks = [_Block(0, self.size, "", self.size, 0, b"")]
            self._cache = BlockCache(self._decompress, lambda number: self._blocks[number].size)
            self._check_magic()
            self._open(salvage=salvage)
        except DAMAGE as error:
            self.close()
            raise self._damaged(error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _damaged(self, error: Exception) -> DamagedError:
        return DamagedError(
            f"the index is damaged ({words(error)})", path=self.path, hint="'mcap recover' may repair a copy of it"
        )

    def _check_magic(self) -> None:
        if (magic := bytes(self._read(0, min(8, self.size)))) != MAGIC:
            msg = f"not an MCAP file: it begins with {magic!r}, not {MAGIC!r}"
            raise RecordingError(msg, path=self.path)

    def _open(self, *, salvage: bool) -> None:
        try:
            self._read_end()
            if salvage:
                self._check_chunks()
        except (RecordingError, *DAMAGE) as error:
            if not salvage:
                raise
            self._list_all(self.size)
            why = self._damaged(error) if isinstance(error, DAMAGE) else error
            self.damage = assess(self.path, self.size, self._losses, why)
        self.topics = self._topics()

    def _read_end(self) -> None:
        """Read what stands at the end of a file that was closed, or all of it where that does not list everything."""
        end = self.size - 8 - 9 - _FOOTER
        if end < len(MAGIC) or bytes(self._read(self.size - 8, 8)) != MAGIC:
            msg = "the file is cut off or was not closed properly: it does not end with the MCAP magic"
            raise DamagedError(msg, path=self.path, hint="'mcap recover' on a copy of it makes a whole one")
        (summary,) = struct.unpack_from("<Q", self._read(end + 9, _FOOTER))
        counted = self._read_summary(summary, end) if summary else False
        if not counted or not self._is_indexed():
            self._list_all(summary or end)
            if self._losses:
                raise self._losses[0].error

    def _check_chunks(self) -> None:
        """Make sure that the index is whole and that every compressed chunk decompresses to what it was."""
        self._index({channel.topic for channel in self._channels.values()})
        for number, block in enumerate(self._blocks):
            if block.compression:
                self._decompress(number)

    def _is_indexed(self) -> bool:
        """Tell whether the message indexes list every message that the statistics count."""
        listed = sum(self._index_length(block) for block in self._blocks[1:])
        return listed == sum(self._counts.values())

    def _index_length(self, block: _Block) -> int:
        """Count the messages that a chunk's index records list, from the heads of these records."""
        places = struct.iter_unpack(_INDEX_PLACE, block.indexes)
        heads = (self._read(position, _INDEX_RECORD_HEAD) for _, position in places)
        return sum(struct.unpack_from("<I", head, 11)[0] // _ENTRY.itemsize for head in heads)

    def _read_summary(self, start: int, end: int) -> bool:
        """Read the summary section; say whether it counts the messages."""
        counted = False
        for op, record in _records(self._read(start, end - start)):
            if op == _CHUNK_INDEX:
                self._add_chunk(record)
            elif op == _STATISTICS:
                (length,) = struct.unpack_from("<I", record, 42)
                self._counts = dict(struct.iter_unpack("<HQ", record[46 : 46 + length]))
                counted = True
            else:
                self._describe(op, record)
        return counted

    def _add_chunk(self, record: memoryview) -> None:
        (start,) = struct.unpack_from("<Q", record, 16)
        self._starts.append(start)
        (length,) = struct.unpack_from("<I", record, 32)
        indexes = bytes(record[36 : 36 + length])
        compression, position = _string(record, 36 + length + 8)
        compressed, size = struct.unpack_from("<QQ", record, position)
        data = start + 9 + _CHUNK_HEAD.size + 4 + len(compression) + 8
        crc = struct.unpack("<I", self._read(start + 9 + 24, 4))[0] if compression else 0
        block = _Block(data, compressed, compression, size, crc, indexes)
        self._check_inside(block)
        self._add_block(block)

    def _add_block(self, block: _Block) -> None:
        if block.compression not in _COMPRESSIONS:
            msg = f"chunk compression {block.compression!r} is not one of none, lz4, zstd"
            raise RecordingError(msg, path=self.path)
        self._blocks.append(block)

    def _check_inside(self, block: _Block) -> None:
        if block.start + block.length > self.size:
            msg = f"a chunk at byte {block.start} reaches beyond the end of the file: it is damaged"
            raise DamagedError(msg, path=self.path)

    def _describe(self, op: int, record: memoryview) -> None:
        """Take in a schema or a channel; other records are of no use here."""
        if op == _SCHEMA:
            (number,) = struct.unpack_from("<H", record)
            name, position = _string(record, 2)
            encoding, position = _string(record, position)
            text, _ = _string(record, position)
            form = _DEFINITION_FORMATS.get(encoding, "")
            self._schemas[number] = (full_name(name) if form or not encoding else name, text if form else "", form)
        elif op == _CHANNEL:
            number, schema = struct.unpack_from("<HH", record)
            topic, position = _string(record, 4)
            encoding, position = _string(record, position)
            self._channels[number] = _Channel(topic, schema, encoding, _md5sum(record, position))

    def _list_all(self, end: int) -> None:
        """List the messages by walking the records: heads outside chunks and in uncompressed ones, others unpacked."""
        self._blocks, self._found, self._losses = self._blocks[:1], Found(), []
        self.walked = True
        self._starts.sort()
        self._losses += walk(partial(self._take, end), len(MAGIC), end, self._starts)
        self._counts = dict(self._found.counts())

    def _take(self, end: int, position: int) -> int:
        """Take in the record at ``position`` of the file; return where the next one begins."""
        op, length = _RECORD.unpack(self._read(position, _RECORD.size))
        if op == _CHUNK:
            return self._take_chunk(position, length)
        return end if op == _DATA_END else self._take_record(0, self._read, end, position)

    def _take_record(self, number: int, read: Read, end: int, position: int) -> int:
        """Take in a record that is no chunk, in the file or in block ``number``; payloads are not read."""
        head = read(position, min(_MESSAGE_HEAD.size, end - position))
        op, length = _RECORD.unpack_from(head)
        after = check_end(position, position + 9 + length, end)
        if op == _MESSAGE:
            _, _, channel, _, stamp, _ = _MESSAGE_HEAD.unpack(head)
            self._found.add(channel, stamp, number, position - self._blocks[number].start)
        elif op in (_SCHEMA, _CHANNEL):
            self._describe(op, read(position + 9, length))
        elif op == 0:
            msg = f"the record at byte {position} is of no kind"
            raise ValueError(msg)
        return after

    def _take_chunk(self, position: int, length: int) -> int:
        """List the messages of a chunk; where something in it is damaged, the walk goes on behind it."""
        end = min(position + 9 + length, self.size)
        losses: list[Loss] = []
        try:
            head = self._read(position + 9, min(length, HEAD, self.size - position - 9))
            _, _, size, crc = _CHUNK_HEAD.unpack_from(head)
            compression, place = _string(head, _CHUNK_HEAD.size)
            (compressed,) = struct.unpack_from("<Q", head, place)
            start = position + 9 + place + 8
            number = len(self._blocks)
            self._add_block(_Block(start, compressed if compression else end - start, compression, size, crc, b""))
            take = partial(self._take_record, number)
            if compression:
                walk_block(take, self._cache.get(number), start)
            else:
                losses = walk(partial(take, self._read, end), start, end)
        except (RecordingError, *DAMAGE) as error:
            losses = [Loss(position, end, error)]
        for loss in losses:  # at most one
            end = resume(self._starts, loss.start, end)
            self._losses.append(loss._replace(end=end))
        return end

    def _topics(self) -> dict[str, Topic]:
        found = []
        for number, channel in self._channels.items():
            msgtype, text, form = self._schemas.get(channel.schema, ("", "", ""))
            count = self._counts.get(number, 0)
            found.append(Topic(channel.topic, msgtype, count, text, form, channel.encoding, channel.md5sum))
        return join_topics(found)

    @property
    def compression(self) -> str:
        """The chunk compressions in use, in words."""
        return ", ".join(sorted({block.compression or "none" for block in self._blocks[1:]})) or "none"

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return len(self._blocks)

    @property
    def blocks_loaded(self) -> int:
        """How many blocks were decompressed so far."""
        return self._cache.loads

    def index(self, topics: Collection[str]) -> dict[str, Index]:
        """Read the index entries of some topics: one small read for each chunk and channel.

        Raises:
            RecordingError: the index is damaged.

        """
        try:
            return self._index(topics)
        except DAMAGE as error:
            raise self._damaged(error) from error

    def _index(self, topics: Collection[str]) -> dict[str, Index]:
        wanted = {number: channel.topic for number, channel in self._channels.items() if channel.topic in topics}
        tables = make_tables(topics, wanted, self._counts, self._found, _ENTRY, _stamps, self.size)
        for number, block in enumerate(self._blocks):
            for channel, position in struct.iter_unpack(_INDEX_PLACE, block.indexes):
                if channel in wanted:
                    tables[wanted[channel]].add(number, self._message_index(position, channel))
        return {name: table.finish() for name, table in tables.items()}

    def _message_index(self, position: int, channel: int) -> bytes:
        head = self._read(position, _INDEX_RECORD_HEAD)
        _, _, found, size = struct.unpack("<BQHI", head)
        if found != channel or position + size > self.size:
            msg = f"the message index at byte {position} is not that of channel {channel}"
            raise ValueError(msg)
        return bytes(self._read(position + _INDEX_RECORD_HEAD, size))

    def payload(self, block: int, offset: int) -> Payload:
        """Return the message at a place of the index; reads its record header, not its payload.

        Raises:
            RecordingError: there is no message at that place.

        """
        start, length, compression, *_ = self._blocks[block]
        if not compression:
            head = self._read(start + offset, min(HEAD, length - offset))
            size = _message_length(head)
            begin = _MESSAGE_HEAD.size
            if start + offset + begin + size > self.size:
                raise_short(size, self.size - start - offset - begin)
            return FilePayload(self._fd, start + offset + begin, size, head[begin:])
        content = memoryview(self._cache.get(block))
        size = _message_length(content[offset : offset + _MESSAGE_HEAD.size])
        return MemoryPayload.cut(content, offset + _MESSAGE_HEAD.size, size)

    def heads(
        self, block: int, offsets: NDArray[np.int64], size: int, *, short: bool = False
    ) -> NDArray[np.uint8] | None:
        """Return the first ``size`` bytes of some messages of a block, (n, size); None where that takes one by one."""
        start, length, compression, whole, *_ = self._blocks[block]
        span = close_together(offsets, _MESSAGE_HEAD.size + size)
        room = whole if compression else length
        if span is None or (span[1] > room and not short):
            return None
        first, end = span[0], min(span[1], room)
        content = np.frombuffer(
            self._cache.get(block) if compression else self._read(start + first, end - first), np.uint8
        )
        at = offsets if compression else offsets - first
        lengths = numbers(content, at + 1, "<u8")
        if lengths is None or (content[at] != _MESSAGE).any():
            return None
        lengths = lengths - (_MESSAGE_HEAD.size - 9)
        if short and int(lengths.min()) >= 0:
            return padded(content, at + _MESSAGE_HEAD.size, lengths, size)
        return gather(content, at + _MESSAGE_HEAD.size, size) if int(lengths.min()) >= size else None

    def _decompress(self, number: int) -> Buffer:
        start, length, compression, size, crc, _ = self._blocks[number]
        try:
            content = decompress(compression, self._read, start, length, size)
        except CORRUPT as error:
            msg = f"chunk {number - 1} at byte {start} does not decompress: {error}"
            raise DamagedError(msg, path=self.path) from error
        if crc and crc32(content) != crc:
            msg = f"chunk {number - 1} at byte {start} is damaged: its checksum differs"
            raise DamagedError(msg, path=self.path)
        return content

    def _read(self, position: int, size: int) -> memoryview:
        return read_bytes(self._fd, position, size, self.size)


def _stamps(entries: NDArray[np.void]) -> NDArray[np.int64]:
    return entries["stamp"].astype(np.int64)


def _records(buffer: memoryview) -> Iterator[tuple[int, memoryview]]:
    position = 0
    while position < len(buffer):
        op, length = _RECORD.unpack_from(buffer, position)
        yield op, buffer[position + 9 : position + 9 + length]
        position += 9 + length


def _string(buffer: memoryview, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", buffer, position)
    return bytes(buffer[position + 4 : position + 4 + length]).decode(), position + 4 + length


def _md5sum(record: memoryview, position: int) -> str:
    """Look for the checksum of a ROS 1 definition in a channel's metadata, a map of texts."""
    (length,) = struct.unpack_from("<I", record, position)
    position, end = position + 4, position + 4 + length
    while position < min(end, len(record)):
        key, position = _string(record, position)
        value, position = _string(record, position)
        if key == "md5sum":
            return value
    return ""


def _message_length(head: memoryview) -> int:
    try:
        op, length, *_ = _MESSAGE_HEAD.unpack_from(head)
    except struct.error:
        op = length = 0
    if op != _MESSAGE or length < _MESSAGE_HEAD.size - 9:
        msg = "the index points at something that is not a message: the file is damaged"
        raise RecordingError(msg)
    return int(length) - 22
