"""A ROS 1 bag file → its topics, the place of every message, and messages on request.

Format: http://wiki.ros.org/Bags/Format/2.0. Only the records of the index are read here; chunks are
opened when a message of theirs is asked for. To salvage a bag whose index is missing or damaged, or one
with damaged chunks, it is walked record by record, as `rosbag reindex` does.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import DamagedError, RecordingError
from streamer.records import Topic, Trust
from streamer.source.blocks import CORRUPT, BlockCache, check_size, decompress
from streamer.source.definition import full_name
from streamer.source.file import RecordingFile, Window
from streamer.source.heads import close_together, gather, numbers, padded
from streamer.source.payload import HEAD, FilePayload, MemoryPayload, raise_short
from streamer.source.ros1_records import (
    BAG_HEADER,
    CHUNK,
    CHUNK_INFO,
    COMPRESSIONS,
    CONNECTION,
    ENTRY,
    INDEX,
    INDEX_RECORD_HEAD,
    LONGEST,
    MAGIC,
    MESSAGE,
    MESSAGE_HEADER,
    U32,
    expect,
    message_head,
    normal_name,
    parse_fields,
    parse_record,
    record_head,
    stamps,
)
from streamer.source.salvage import DAMAGE, Loss, assess, check_end, resume, walk, walk_block, words
from streamer.source.table import Found, make_tables
from streamer.source.topics import join_topics

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.records import Damage, Index, Payload
    from streamer.source.blocks import Buffer, Read

_KEPT = ("callerid", "latching", "md5sum")  # of a connection, as MCAP files made of bags have them


class Ros1Source:
    """One ``.bag`` file of format 2.0, open for reading; never written to."""

    kind = "ros1"

    damage: Damage | None = None
    walked = False

    def __init__(self, path: Path, *, salvage: bool = False, trust: Trust = Trust()) -> None:  # noqa: B008 - a value
        """Read the connections, the chunk list and the place of each chunk's index; ``salvage`` as in `Source`.

        Raises:
            RecordingError: not a bag, not closed properly, cut off, or of an unknown compression.

        """
        self.path = path
        self._connections: dict[int, Topic] = {}
        self._found = Found()
        self._starts: list[int] = []  # where the index says that chunks begin
        self._trust = trust
        self._file = RecordingFile(path)
        self.size = self._file.size
        self._cache = BlockCache(self._decompress, lambda block: self._data[block][2])
        try:
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
        self._file.close()

    def _damaged(self, error: Exception) -> DamagedError:
        return DamagedError(
            f"the index is damaged ({words(error)})", path=self.path, hint="'rosbag reindex' may repair a copy of it"
        )

    def _check_magic(self) -> None:
        magic = self._file.read(0, min(len(MAGIC), self.size))
        if magic != MAGIC:
            msg = f"not a ROS 1 bag: it begins with {bytes(magic[:13])!r}, not {MAGIC!r}"
            raise RecordingError(msg, path=self.path)

    def _open(self, *, salvage: bool) -> None:
        try:
            self._read_index_section()
            if salvage:
                self._check_chunks()
        except (RecordingError, *DAMAGE) as error:
            if not salvage:
                raise
            self._rebuild(self._damaged(error) if isinstance(error, DAMAGE) else error)
        self.topics = self._topics()

    def _read_index_section(self) -> None:
        header, _ = self._record(len(MAGIC), BAG_HEADER)
        (index_position,) = struct.unpack("<Q", header["index_pos"])
        if index_position == 0:
            msg = "the bag has no index, as its recorder was not closed properly"
            raise DamagedError(msg, path=self.path, hint="'rosbag reindex' on a copy of it makes one")
        if index_position > self.size:
            msg = f"the bag is cut off: its index should begin at byte {index_position}, the file ends at {self.size}"
            raise DamagedError(msg, path=self.path)
        tail = Window(self._file, index_position, self.size)
        position = self._read_connections(tail, index_position, U32.unpack(header["conn_count"])[0])
        self._read_chunks(tail, position, U32.unpack(header["chunk_count"])[0])

    def _read_connections(self, tail: Window, position: int, count: int) -> int:
        for _ in range(count):
            header, data, position = parse_record(tail, position, CONNECTION)
            self._add_connection(header, data)
        return position

    def _add_connection(self, header: dict[str, bytes], data: bytes) -> None:
        fields = parse_fields(data)
        self._connections[U32.unpack(header["conn"])[0]] = Topic(
            normal_name(header["topic"].decode()),
            full_name(fields["type"].decode()),
            0,
            fields.get("message_definition", b"").decode(errors="replace"),
            "msg",
            "ros1",
            fields.get("md5sum", b"").decode(errors="replace").strip(),
            metadata={key: fields[key].decode(errors="replace") for key in _KEPT if key in fields},
        )

    def _forget_chunks(self) -> None:
        self._counts: dict[int, int] = dict.fromkeys(self._connections, 0)
        self._chunk_counts: list[np.ndarray] = []
        self._data: list[tuple[int, int, int]] = []  # of each chunk's data: position, length, length decompressed
        self._compression: list[str] = []

    def _read_chunks(self, tail: Window, position: int, count: int) -> None:
        self._forget_chunks()
        infos: list[tuple[dict[str, bytes], bytes]] = []
        for _ in range(count):
            header, data, position = parse_record(tail, position, CHUNK_INFO)
            infos.append((header, data))
            self._starts += struct.unpack("<Q", header["chunk_pos"])
        for (header, data), chunk_position in zip(infos, self._starts, strict=True):
            self._add_chunk(*self._record(chunk_position, CHUNK))
            counts = np.frombuffer(data, "<u4").reshape(-1, 2)
            if len(counts) != U32.unpack(header["count"])[0]:
                msg = f"{len(counts)} of {U32.unpack(header['count'])[0]} connections of a chunk"
                raise ValueError(msg)
            self._chunk_counts.append(counts)
            for connection, messages in counts.tolist():
                self._counts[connection] += messages

    def _add_chunk(self, fields: dict[str, bytes], place: tuple[int, int]) -> str:
        compression = fields["compression"].decode()
        if compression not in COMPRESSIONS:
            msg = f"chunk compression {compression!r} is not one of none, lz4, bz2"
            raise RecordingError(msg, path=self.path)
        self._data.append((*place, U32.unpack(fields["size"])[0]))
        self._compression.append(compression)
        return compression

    # ---- salvage

    def _check_chunks(self) -> None:
        """Make sure that the index is whole and that every compressed chunk decompresses."""
        self._index({kind.name for kind in self._connections.values()})
        for block, compression in enumerate(self._compression):
            if compression != "none":
                self._decompress(block)

    def _rebuild(self, error: Exception) -> None:
        """List the messages by walking the records; ``error`` says why the bag's own index does not do."""
        self._forget_chunks()
        self._losses: list[Loss] = []
        _, (start, padding) = self._record(len(MAGIC), BAG_HEADER)
        self._starts.sort()
        self._losses += walk(self._take, start + padding, self.size, self._starts)
        self._counts = dict(self._found.counts())
        self.damage = assess(self.path, self.size, self._losses, error)

    def _take(self, position: int) -> int:
        """Take in the record at ``position`` of the file; return where the next one begins."""
        fields, place = record_head(self._file.read, position, self.size)
        if fields["op"][0] == CHUNK:
            return self._take_chunk(position, fields, place)
        return self._take_record(self._file.read, self.size, position, fields, place)

    def _take_inner(self, read: Read, end: int, position: int) -> int:
        """Take in the record at ``position`` of a chunk that has this ``end``."""
        return self._take_record(read, end, position, *record_head(read, position, end))

    def _take_record(
        self, read: Read, end: int, position: int, fields: dict[str, bytes], place: tuple[int, int]
    ) -> int:
        """Take in a record that is no chunk; the payload of a message is not read."""
        start, length = place
        after = check_end(position, start + length, end)
        op = fields["op"][0]
        if op == MESSAGE:
            seconds, nanoseconds = struct.unpack("<II", fields["time"])
            offset = position - self._data[-1][0]
            stamp = seconds * 10**9 + nanoseconds
            self._found.add(U32.unpack(fields["conn"])[0], stamp, len(self._data) - 1, offset)
        elif op == CONNECTION and length <= LONGEST:
            self._add_connection(fields, bytes(read(start, length)))
        elif op not in (INDEX, CHUNK_INFO):
            msg = f"a record of kind {op}"
            raise ValueError(msg)
        return after

    def _take_chunk(self, position: int, fields: dict[str, bytes], place: tuple[int, int]) -> int:
        """List the messages of a chunk; where something in it is damaged, the walk goes on behind it."""
        start, length = place
        end = min(start + length, self.size)
        losses: list[Loss] = []
        try:
            compression = self._add_chunk(fields, place)
            if compression != "none":
                walk_block(self._take_inner, self._decompress(len(self._data) - 1), start)
            elif length:
                self._data[-1] = start, end - start, end - start
                losses = walk(partial(self._take_inner, self._file.read, end), start, end)
            else:  # its length is filled in when it is closed, which it was not: its records come next
                self._data[-1] = start, self.size - start, self.size - start
        except (RecordingError, *DAMAGE) as error:
            losses = [Loss(position, end, error)]
        for loss in losses:  # at most one
            end = resume(self._starts, loss.start, end)
            self._losses.append(loss._replace(end=end))
        return end

    # ---- what was recorded

    def _topics(self) -> dict[str, Topic]:
        return join_topics(replace(kind, count=self._counts.get(c, 0)) for c, kind in self._connections.items())

    @property
    def compression(self) -> str:
        """The chunk compressions in use, in words."""
        return ", ".join(sorted(set(self._compression))) or "none"

    @property
    def blocks(self) -> int:
        """How many blocks the file has."""
        return len(self._data)

    @property
    def blocks_loaded(self) -> int:
        """How many blocks were decompressed so far."""
        return self._cache.loads

    def index(self, topics: Collection[str]) -> dict[str, Index]:
        """Read the index entries of some topics: one small read a chunk, parsed as arrays.

        Raises:
            RecordingError: the index is damaged.

        """
        try:
            return self._index(topics)
        except DAMAGE as error:
            raise self._damaged(error) from error

    def _index(self, topics: Collection[str]) -> dict[str, Index]:
        wanted = {c: kind.name for c, kind in self._connections.items() if kind.name in topics}
        tables = make_tables(topics, wanted, self._counts, self._found, ENTRY, stamps, self._file.most)
        for block, held in enumerate(self._chunk_counts):
            if wanted.keys().isdisjoint(held[:, 0].tolist()):
                continue
            for connection, entries in self._index_records(block, held):
                if connection in wanted:
                    tables[wanted[connection]].add(block, entries)
        return {name: table.finish() for name, table in tables.items()}

    def _index_records(self, block: int, counts: np.ndarray) -> list[tuple[int, bytes]]:
        """Split what follows a chunk into (connection, raw entries)."""
        start, length, whole = self._data[block]
        listed = int(counts[:, 1].sum(dtype=np.int64))
        if listed > whole // MESSAGE_HEADER:
            msg = f"{listed} messages in a chunk of {whole} bytes"
            raise ValueError(msg)
        size = INDEX_RECORD_HEAD * len(counts) + ENTRY.itemsize * listed
        raw = bytes(self._file.read(start + length, size))
        records: list[tuple[int, bytes]] = []
        position = 0
        for _ in range(len(counts)):
            head = raw[position : position + INDEX_RECORD_HEAD]
            (connection,) = U32.unpack_from(head, head.index(b"conn=") + 5)
            (entries,) = U32.unpack_from(head, head.index(b"count=") + 6)
            position += INDEX_RECORD_HEAD
            records.append((connection, raw[position : position + entries * ENTRY.itemsize]))
            position += entries * ENTRY.itemsize
        return records

    def payload(self, block: int, offset: int) -> Payload:
        """Return the message at a place of the index; reads its record header, not its payload.

        Raises:
            RecordingError: there is no message at that place.

        """
        start, length, _ = self._data[block]
        if self._compression[block] == "none":
            while True:
                head = self._file.read(start + offset, min(HEAD, length - offset))
                op, begin, size = message_head(head)
                if op == MESSAGE:
                    return self._in_file(start + offset + begin, size, head[begin:])
                offset += begin + size  # a connection record may stand before its first message
        content = memoryview(self._cache.get(block))
        while True:
            op, begin, size = message_head(content[offset:])
            if op == MESSAGE:
                return MemoryPayload.cut(content, offset + begin, size)
            offset += begin + size

    def heads(
        self, block: int, offsets: NDArray[np.int64], size: int, *, short: bool = False
    ) -> NDArray[np.uint8] | None:
        """Return the first ``size`` bytes of some messages of a block, (n, size); None where that takes one by one."""
        start, length, whole = self._data[block]
        plain = self._compression[block] == "none"
        room = min(length, whole) if plain else whole
        span = close_together(offsets, 8 + MESSAGE_HEADER + size)
        if span is None or (span[1] > room and not short):
            return None
        first, end = span[0], min(span[1], room)
        raw = self._file.read(start + first, end - first) if plain else self._cache.get(block)
        content = np.frombuffer(raw, np.uint8)
        at = offsets - first if plain else offsets
        kind = content[int(at[0]) + 4 :][:MESSAGE_HEADER].tobytes().find(b"op=%c" % MESSAGE)
        lengths, kinds = numbers(content, at, "<u4"), numbers(content, at + 4 + kind, "<u4")
        sizes = numbers(content, at + 4 + MESSAGE_HEADER, "<u4")
        if kind < 0 or lengths is None or kinds is None or sizes is None:
            return None
        if (lengths != MESSAGE_HEADER).any() or (kinds != kinds[0]).any():
            return None  # a connection record stands before a message
        if short:
            return padded(content, at + 8 + MESSAGE_HEADER, sizes, size)
        return gather(content, at + 8 + MESSAGE_HEADER, size) if int(sizes.min()) >= size else None

    def packed(self, block: int) -> int:
        """Return how many bytes a block has once it is decompressed; 0 where nothing is to be decompressed."""
        return 0 if self._compression[block] == "none" else self._data[block][2]

    def unpack(self, block: int) -> None:
        """Decompress a block, for whoever asks for it next."""
        self._cache.get(block)

    def _in_file(self, position: int, size: int, head: memoryview) -> FilePayload:
        if position + size > self.size:
            raise_short(size, self.size - position)
        check_size("a message", size, self._trust.max_chunk)
        return FilePayload(self._file.fd, position, size, head)

    def _decompress(self, block: int) -> Buffer:
        start, length, size = self._data[block]
        check_size(f"chunk {block} at byte {start}, decompressed,", size, self._trust.max_chunk)
        try:
            return decompress(self._compression[block], self._file.read, start, length, size)
        except CORRUPT as error:
            msg = f"chunk {block} at byte {start} does not decompress: {error}"
            raise DamagedError(msg, path=self.path) from error

    def _record(self, position: int, op: int) -> tuple[dict[str, bytes], tuple[int, int]]:
        fields, place = record_head(self._file.read, position, self.size)
        expect(fields, op)
        return fields, place
