"""An MCAP file → its topics, the place of every message, and messages on request.

Format: https://mcap.dev/spec. The summary at the end of the file is read first; a file whose summary does not
list every message is walked record by record, and so is one that is salvaged.

Checksums: the summary's is compared at opening; a chunk's once, before its first message is given out whole (where
one message fills it, while that is read); that of the whole data section where the file is small, or where messages
lie outside chunks. First bytes of messages (`heads`, `Payload.head`) may be read without.
"""

from __future__ import annotations

import struct
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import DamagedError, RecordingError
from streamer.records import Topic, Trust
from streamer.source.blocks import CORRUPT, BlockCache, check_size, decompress
from streamer.source.file import RecordingFile, Window, crc32
from streamer.source.heads import close_together, gather, numbers, padded
from streamer.source.mcap_checksums import DATA_END_SIZE, Checksums
from streamer.source.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    COMPRESSIONS,
    DATA_END,
    ENTRY,
    FOOTER,
    INDEX_PLACE,
    INDEX_RECORD_HEAD,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    RECORD,
    SCHEMA,
    STATISTICS,
    Block,
    Contents,
    Schema,
    chunk_at,
    chunk_index,
    message_length,
    records,
)
from streamer.source.payload import HEAD, CheckedPayload, FilePayload, MemoryPayload, raise_short
from streamer.source.salvage import DAMAGE, Loss, assess, check_end, resume, walk, walk_block, words
from streamer.source.table import Found, check_stamps, make_tables
from streamer.source.topics import join_topics

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.records import Damage, Index, Payload
    from streamer.source.blocks import Buffer, Read

_LARGE = 64 * 1024  # bytes; the checksum of a smaller chunk is found before its messages are read
_NOTHING = Schema("", "", "")


class McapSource:
    """One ``.mcap`` file, open for reading; never written to."""

    kind = "mcap"
    damage: Damage | None = None
    walked = False

    def __init__(self, path: Path, *, salvage: bool = False, trust: Trust = Trust()) -> None:  # noqa: B008 - a value
        """Read the summary: channels, schemas, and the place of each chunk's index; ``salvage`` as in `Source`.

        Raises:
            RecordingError: not an MCAP file, not closed properly, cut off, or of an unknown kind.

        """
        self.path = path
        self._trust = trust
        self._file = RecordingFile(path)
        self.size = self._file.size
        self._inside = Contents()
        self._found = Found()
        self._losses: list[Loss] = []
        self._starts: list[int] = []  # where the summary says that chunks begin
        self._blocks = [Block(0, 0, self.size, "", self.size)]
        self._cache = BlockCache(self._decompress, lambda number: self._blocks[number].size)
        self._sums = Checksums(path, self._file, lambda number: self._blocks[number], verify=trust.verify)
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
            f"the index is damaged ({words(error)})", path=self.path, hint="'mcap recover' may repair a copy of it"
        )

    def _check_magic(self) -> None:
        if (magic := bytes(self._file.read(0, min(8, self.size)))) != MAGIC:
            msg = f"not an MCAP file: it begins with {magic!r}, not {MAGIC!r}"
            raise RecordingError(msg, path=self.path)

    def _open(self, *, salvage: bool) -> None:
        try:
            self._read_end()
            if salvage:
                self._check_all()
        except (RecordingError, *DAMAGE) as error:
            if not salvage:
                raise
            self._list_all(self.size, salvage=True)
            why = self._damaged(error) if isinstance(error, DAMAGE) else error
            self.damage = assess(self.path, self.size, self._losses, why)
        self.topics = self._topics()

    def _read_end(self) -> None:
        """Read what stands at the end of a file that was closed, or all of it where that does not list everything."""
        end = self.size - len(MAGIC) - RECORD.size - FOOTER.size
        if end < len(MAGIC) or bytes(self._file.read(self.size - len(MAGIC), len(MAGIC))) != MAGIC:
            msg = "the file is cut off or was not closed properly: it does not end with the MCAP magic"
            raise DamagedError(msg, path=self.path, hint="'mcap recover' on a copy of it makes a whole one")
        start, _, crc = FOOTER.unpack(self._file.read(end + RECORD.size, FOOTER.size))
        if start:
            self._read_summary(start, end, crc)
        self._sums.data_ends((start or end) - DATA_END_SIZE)
        if not self._inside.is_whole() or not self._is_indexed():
            self._list_all(start or end)
            if self._losses:
                raise self._losses[0].error

    def _read_summary(self, start: int, end: int, crc: int) -> None:
        """Read the summary section."""
        if not len(MAGIC) <= start <= end:
            msg = f"the summary should begin at byte {start} and end at {end}"
            raise ValueError(msg)
        if crc and self._trust.verify and self._file.checksum(start, self.size - len(MAGIC) - 4) != crc:
            msg = f"the summary at byte {start} is damaged: its checksum differs"
            raise DamagedError(msg, path=self.path)
        for op, record in records(Window(self._file, start, end), start):
            if op == CHUNK_INDEX:
                block = chunk_index(record)
                self._starts.append(block.record)
                if block.start + block.length > self.size:
                    msg = f"a chunk at byte {block.start} reaches beyond the end of the file: it is damaged"
                    raise DamagedError(msg, path=self.path)
                self._add_block(block)
            elif op == STATISTICS:
                self._inside.count(record)
            else:
                self._inside.describe(op, record)

    def _is_indexed(self) -> bool:
        """Tell whether the message indexes list every message that the statistics count, of each channel."""
        listed: Counter[int] = Counter()
        for block in self._blocks[1:]:
            for channel, position in struct.iter_unpack(INDEX_PLACE, block.indexes):
                (size,) = struct.unpack_from("<I", self._file.read(position, INDEX_RECORD_HEAD), INDEX_RECORD_HEAD - 4)
                listed[channel] += size // ENTRY.itemsize
        return listed == Counter(self._inside.counts)

    def _add_block(self, block: Block) -> None:
        if block.compression not in COMPRESSIONS:
            msg = f"chunk compression {block.compression!r} is not one of none, lz4, zstd"
            raise RecordingError(msg, path=self.path)
        self._blocks.append(block)

    def _check_all(self) -> None:
        """Make sure that the index is whole and that every chunk is what it was."""
        self._index({channel.topic for channel in self._inside.channels.values()})
        for number, block in enumerate(self._blocks):
            if block.compression:
                self._decompress(number)
            elif number:
                self._sums.check(number)

    # ---- walking over all records

    def _list_all(self, end: int, *, salvage: bool = False) -> None:
        """List the messages by walking the records: heads outside chunks and in uncompressed ones, others unpacked."""
        self._blocks, self._found, self._losses = self._blocks[:1], Found(), []
        said, self._inside = self._inside, Contents()
        self._cache = BlockCache(self._decompress, lambda number: self._blocks[number].size)
        self._sums = Checksums(self.path, self._file, lambda number: self._blocks[number], verify=self._trust.verify)
        self.walked = True
        self._starts.sort()
        self._losses += walk(partial(self._take, end, salvage), len(MAGIC), end, self._starts)
        # the summary may know what was lost with a chunk
        self._inside.schemas = said.schemas | self._inside.schemas
        self._inside.channels = said.channels | self._inside.channels
        self._inside.counts = dict(self._found.counts())

    def _take(self, end: int, salvage: bool, position: int) -> int:  # noqa: FBT001 - bound by `partial`
        """Take in the record at ``position`` of the file; return where the next one begins."""
        op, length = RECORD.unpack(self._file.read(position, RECORD.size))
        if op == CHUNK:
            return self._take_chunk(position, length, salvage=salvage)
        if op == DATA_END:
            return end
        return self._take_record(0, self._file.read, end, position)

    def _take_record(self, number: int, read: Read, end: int, position: int) -> int:
        """Take in a record that is no chunk, in the file or in block ``number``; payloads are not read."""
        head = read(position, min(MESSAGE_HEAD.size, end - position))
        op, length = RECORD.unpack_from(head)
        after = check_end(position, position + RECORD.size + length, end)
        if op == MESSAGE:
            _, _, channel, _, stamp, _ = MESSAGE_HEAD.unpack(head)
            self._found.add(channel, stamp, number, position - self._blocks[number].start)
        elif op in (SCHEMA, CHANNEL):
            self._inside.describe(op, read(position + RECORD.size, length))
        elif op == 0:
            msg = f"the record at byte {position} is of no kind"
            raise ValueError(msg)
        return after

    def _take_chunk(self, position: int, length: int, *, salvage: bool) -> int:
        """List the messages of a chunk; where something in it is damaged, the walk goes on behind it."""
        end = min(position + RECORD.size + length, self.size)
        losses: list[Loss] = []
        try:
            number = len(self._blocks)
            block = chunk_at(self._file, position, length)
            self._add_block(block)
            if block.compression:
                walk_block(partial(self._take_record, number), self._cache.get(number), block.start)
            else:
                if salvage:
                    self._sums.check(number)
                losses = walk(partial(self._take_record, number, self._file.read, end), block.start, end)
        except (RecordingError, *DAMAGE) as error:
            losses = [Loss(position, end, error)]
        for loss in losses:  # at most one
            end = resume(self._starts, loss.start, end)
            self._losses.append(loss._replace(end=end))
        return end

    # ---- what was recorded

    def _topics(self) -> dict[str, Topic]:
        found = []
        for number, channel in self._inside.channels.items():
            schema = self._inside.schemas.get(channel.schema, _NOTHING)
            count = self._inside.counts.get(number, 0)
            about = (channel.topic, schema.name, count, schema.text, schema.form, channel.encoding, channel.md5sum)
            found.append(Topic(*about, metadata=channel.metadata))
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
        channels = self._inside.channels
        wanted = {number: channel.topic for number, channel in channels.items() if channel.topic in topics}
        tables = make_tables(topics, wanted, self._inside.counts, self._found, ENTRY, _stamps, self._file.most)
        for number, block in enumerate(self._blocks):
            for channel, position in struct.iter_unpack(INDEX_PLACE, block.indexes):
                if channel in wanted:
                    tables[wanted[channel]].add(number, self._message_index(block, position, channel))
        found = {name: table.finish() for name, table in tables.items()}
        if self._trust.verify and not self.walked:
            check_stamps(found, [(block.first, block.last) for block in self._blocks])
        return found

    def _message_index(self, block: Block, position: int, channel: int) -> bytes:
        head = self._file.read(position, INDEX_RECORD_HEAD)
        _, _, found, size = struct.unpack("<BQHI", head)
        if found != channel or size > ENTRY.itemsize * (block.size // MESSAGE_HEAD.size):
            msg = f"the message index at byte {position} is not that of channel {channel}"
            raise ValueError(msg)
        return bytes(self._file.read(position + INDEX_RECORD_HEAD, size))

    def payload(self, block: int, offset: int) -> Payload:
        """Return the message at a place of the index; reads its record header, not its payload.

        Raises:
            RecordingError: there is no message at that place, or it or its chunk is damaged.

        """
        chunk = self._blocks[block]
        begin = MESSAGE_HEAD.size
        if chunk.compression:
            content = memoryview(self._cache.get(block))
            size = message_length(content[offset : offset + begin])
            if size is None:
                raise self._no_message(offset, block)
            return MemoryPayload.cut(content, offset + begin, size)
        at = chunk.start + offset
        head = self._file.read(at, max(0, min(HEAD, chunk.length - offset)))
        size = message_length(head)
        large = size is not None and _LARGE < chunk.length < 2 * size  # most of its chunk
        if not (large and block):
            self._sums.check_once(block)
        if size is None:
            raise self._no_message(offset, block)
        if offset + begin + size > chunk.length:
            raise_short(size, chunk.length - offset - begin)
        check_size("a message", size, self._trust.max_chunk)
        if not self._sums.is_needless(block):
            return CheckedPayload(partial(self._sums.read, block), self._file.fd, at + begin, size, head[begin:])
        return FilePayload(self._file.fd, at + begin, size, head[begin:])

    def _no_message(self, offset: int, block: int) -> DamagedError:
        place = f"byte {offset} of chunk {block - 1}" if block else f"byte {offset}"
        msg = f"the index points at {place}, where no message is: the file is damaged"
        return DamagedError(msg, path=self.path)

    def heads(
        self, block: int, offsets: NDArray[np.int64], size: int, *, short: bool = False
    ) -> NDArray[np.uint8] | None:
        """Return the first ``size`` bytes of some messages of a block, (n, size); None where that takes one by one."""
        chunk = self._blocks[block]
        span = close_together(offsets, MESSAGE_HEAD.size + size)
        if span is None or (span[1] > chunk.size and not short):
            return None
        first, end = span[0], min(span[1], chunk.size)
        if chunk.compression:
            content, at = np.frombuffer(self._cache.get(block), np.uint8), offsets
        else:
            content, at = np.frombuffer(self._file.read(chunk.start + first, end - first), np.uint8), offsets - first
        lengths = numbers(content, at + 1, "<u8")
        if lengths is None or (content[at] != MESSAGE).any():
            return None
        lengths = lengths - (MESSAGE_HEAD.size - RECORD.size)
        if short and int(lengths.min()) >= 0:
            return padded(content, at + MESSAGE_HEAD.size, lengths, size)
        return gather(content, at + MESSAGE_HEAD.size, size) if int(lengths.min()) >= size else None

    def packed(self, block: int) -> int:
        """Return how many bytes a block has once it is decompressed; 0 where nothing is to be decompressed."""
        return self._blocks[block].size if self._blocks[block].compression else 0

    def unpack(self, block: int) -> None:
        """Decompress a block, for whoever asks for it next."""
        self._cache.get(block)

    def _decompress(self, number: int) -> Buffer:
        block = self._blocks[number]
        check_size(f"chunk {number - 1} at byte {block.start}, decompressed,", block.size, self._trust.max_chunk)
        try:
            content = decompress(block.compression, self._file.read, block.start, block.length, block.size)
        except CORRUPT as error:
            msg = f"chunk {number - 1} at byte {block.start} does not decompress: {error}"
            raise DamagedError(msg, path=self.path) from error
        self._sums.compare(number, crc32(memoryview(content), 0))
        return content


def _stamps(entries: NDArray[np.void]) -> NDArray[np.int64]:
    return entries["stamp"].astype(np.int64)
