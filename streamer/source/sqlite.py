"""A rosbag2 SQLite file (.db3) → its topics, the place of every message, and messages on request.

Format: the tables of rosbag2_storage_sqlite3 (schema versions 1 to 4). Opened as immutable: nothing
is locked and no file appears beside the recording.
"""

from __future__ import annotations

import sqlite3
import struct
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from streamer.errors import DamagedError, RecordingError
from streamer.files import open_regular
from streamer.records import Index, Topic, Trust
from streamer.source.blocks import check_size
from streamer.source.definition import full_name
from streamer.source.payload import HEAD, MemoryPayload, copy, raise_short, sorted_index
from streamer.source.topics import join_topics

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.records import Damage, Payload


MAGIC = b"SQLite format 3\x00"
_ROWS = 65_536
_TABLES = ("topics", "messages")
_QOS = "offered_qos_profiles"  # a column of topics, and what MCAP calls it
_LARGE = 64 * 1024  # bytes; a smaller message is read as a whole at once
_SELECT = f"SELECT length(data), CASE WHEN length(data) <= {_LARGE} THEN data END FROM messages WHERE id = ?"  # noqa: S608
_SELECT_HEADS = (  # whole numbers of our own are filled in, in numbers that a query cannot take as parameters
    f"SELECT id, CASE WHEN length(data) <= {_LARGE} THEN substr(data, 1, {{size}}) END FROM messages "  # noqa: S608
    "WHERE id IN ({rows})"
)
_IN_ONE = 1024  # rows that are asked for at once
_ENOUGH = 64 * 2**20  # bytes
# What a damaged or foreign database may raise; SQLite wants memory without end for some
_DAMAGE = (sqlite3.Error, TypeError, ValueError, OverflowError, MemoryError)
_DEFINITION_FORMATS = {"ros2msg": "msg", "ros2idl": "idl"}
_JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"  # of a journal that was left: a finished one has zeros there


def find_log(path: Path) -> Path | None:
    """Return the log (write-ahead or rollback) that was left beside a database which was not closed properly."""
    log, journal = (path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-journal"))
    if log.is_file() and log.stat().st_size:
        return log
    if journal.is_file():
        with open_regular(journal) as file:
            return journal if file.read(len(_JOURNAL_MAGIC)) == _JOURNAL_MAGIC else None
    return None


class SqliteSource:
    """One ``.db3`` file, open for reading; never written to."""

    kind = "sqlite3"
    compression = "none"
    blocks = 1
    blocks_loaded = 0
    damage: Damage | None = None
    walked = False

    def __init__(self, path: Path, *, mapped: bool = False, trust: Trust = Trust()) -> None:  # noqa: B008 - a value
        """Read the topics and count their messages; ``mapped`` as in `Source`.

        Raises:
            RecordingError: not an SQLite file, not a rosbag2 one, or damaged.

        """
        self.path = path
        with open_regular(path) as file:
            magic = file.read(len(MAGIC))
        if magic != MAGIC:
            msg = f"not a rosbag2 SQLite file: it begins with {magic!r}, not {MAGIC!r}"
            raise RecordingError(msg, path=path)
        self.size = path.stat().st_size
        self._check_whole()
        self._mapped = mapped
        self._most = trust.max_chunk
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        try:
            self._ids: dict[int, str] = {}
            self.topics = self._read_topics()
        except _DAMAGE as error:
            self.close()
            raise self._damaged(error) from error
        except BaseException:
            self.close()
            raise

    def _check_whole(self) -> None:
        """Make sure that every page is in the file: SQLite would read a missing one as zeros."""
        with open_regular(self.path) as file:
            header = file.read(100)
        if len(header) < 100:
            msg = f"the database is cut off: {len(header)} bytes are no whole header"
            raise RecordingError(msg, path=self.path)
        (page,), (pages,) = struct.unpack_from(">H", header, 16), struct.unpack_from(">I", header, 28)
        needed = pages * (65_536 if page == 1 else page)
        if self.size < needed:
            msg = f"the database is cut off: it should have {needed} bytes and has {self.size}"
            raise RecordingError(msg, path=self.path)
        if log := find_log(self.path):
            msg = f"the database was not closed properly: {log.name} holds changes that belong into it"
            hint = "opening a copy of both with sqlite3 and closing it brings them in"
            raise DamagedError(msg, path=self.path, hint=hint)

    def packed(self, block: int) -> int:
        """Return 0: rows are not compressed together."""
        del block
        return 0

    def unpack(self, block: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            while self._connections:
                self._connections.pop().close()

    def _damaged(self, error: Exception) -> RecordingError:
        if isinstance(error, MemoryError):
            bytearray(_ENOUGH)  # fails as well where there really is none
        why = str(error) or "a row claims more than memory holds"
        msg = f"the database cannot be read ({why}): it is damaged or not a rosbag2 recording"
        return RecordingError(msg, path=self.path)

    def _database(self) -> sqlite3.Connection:
        """Return this thread's own connection: SQLite serialises the calls of one."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            uri = f"file:{quote(str(self.path))}?immutable=1"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)  # before anything can fail: `close` finds it here
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(self._most, 2**30 - 1) + _LARGE)
            if self._mapped:
                connection.execute(f"PRAGMA mmap_size = {self.size}")  # SQLite maps 2 GB of it, and reads the rest
        return connection

    def _check_tables(self) -> None:
        """Make sure that what is read are plain tables: a view, or a computed column, may have no end.

        Raises:
            RecordingError: they are not.

        """
        database = self._database()
        kinds = database.execute("SELECT name, type, rootpage FROM sqlite_master WHERE type IN ('table', 'view')")
        found = {name: (kind, root) for name, kind, root in kinds if isinstance(name, str)}
        for name in (*_TABLES, *({"message_definitions"} & found.keys())):
            kind, root = found.get(name, ("missing", 0))
            columns = database.execute("SELECT hidden FROM pragma_table_xinfo(?)", (name,)) if root else ()
            if kind != "table" or not root or any(hidden for (hidden,) in columns):
                msg = f"not a rosbag2 recording: {name!r} is {'missing' if kind == 'missing' else 'no plain table'}"
                raise RecordingError(msg, path=self.path)

    def _read_topics(self) -> dict[str, Topic]:
        self._check_tables()
        database = self._database()
        counts = dict(database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        hashed, definitions = self._read_definitions(tables)
        by_hash = ", type_description_hash" if hashed else ", ''"
        columns = {name for (name,) in database.execute("SELECT name FROM pragma_table_info('topics')")}
        qos = f", {_QOS}" if _QOS in columns else ", ''"
        found = []
        for number, name, msgtype, serialization, digest, offered in database.execute(
            f"SELECT id, name, type, serialization_format{by_hash}{qos} FROM topics ORDER BY id"  # noqa: S608 - one of four texts
        ):
            if not all(isinstance(value, str) for value in (name, msgtype, serialization)):
                msg = f"topic {number} has no name, type or serialization"
                raise ValueError(msg)
            self._ids[number] = name
            text, form = definitions.get((msgtype, digest)) or definitions.get((msgtype, "")) or ("", "")
            metadata = {_QOS: offered} if isinstance(offered, str) and offered else {}
            about = (name, full_name(msgtype), counts.get(number, 0), text, form, serialization)
            found.append(Topic(*about, metadata=metadata))
        return join_topics(found)

    def _read_definitions(self, tables: Collection[str]) -> tuple[bool, dict[tuple[str, str], tuple[str, str]]]:
        """Return the definitions by type and hash of the type, and whether types have one (since schema 4)."""
        if "message_definitions" not in tables:
            return False, {}
        database = self._database()
        hashed = all(
            "type_description_hash" in {column for _, column, *_ in database.execute(f"PRAGMA table_info({table})")}
            for table in ("topics", "message_definitions")
        )
        digest = "type_description_hash" if hashed else "''"
        text = "CAST(encoded_message_definition AS BLOB)"  # comments may be in another encoding than the database's
        rows = database.execute(
            f"SELECT topic_type, {digest}, encoding, {text} FROM message_definitions"  # noqa: S608 - one of two texts
        )
        found = {
            (msgtype, digest): ((text or b"").decode(errors="replace"), form)
            for msgtype, digest, encoding, text in rows
            if (form := _DEFINITION_FORMATS.get(encoding, ""))
        }
        return hashed, found

    def index(self, topics: Collection[str]) -> dict[str, Index]:
        """Read stamp and row number of the messages of some topics, payloads left alone.

        Raises:
            RecordingError: the database is damaged.

        """
        try:
            return self._index(topics)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _index(self, topics: Collection[str]) -> dict[str, Index]:
        wanted = [number for number, name in self._ids.items() if name in topics]
        tables: list[NDArray[np.int64]] = [np.empty((0, 3), np.int64)]
        marks = ",".join("?" * len(wanted))
        rows = self._database().execute(
            f"SELECT topic_id, timestamp, id FROM messages WHERE topic_id IN ({marks}) ORDER BY id",  # noqa: S608 - marks only
            wanted,
        )
        while part := rows.fetchmany(_ROWS):
            tables.append(_whole_numbers(part))
        table = np.concatenate(tables)
        result = {}
        for topic in topics:
            numbers = [number for number, name in self._ids.items() if name == topic]
            own = table[np.isin(table[:, 0], numbers)]
            result[topic] = sorted_index(own[:, 1].copy(), np.zeros(len(own), np.int32), own[:, 2].copy())
        return result

    def payload(self, block: int, offset: int) -> Payload:
        """Return the message in a row.

        Raises:
            RecordingError: there is none.

        """
        del block  # one file is one block
        try:
            row = self._database().execute(_SELECT, (offset,)).fetchone()
        except _DAMAGE as error:
            self._check_still_whole()
            raise self._damaged(error) from error
        self._check_still_whole()
        if row is not None and row[1] is None and isinstance(row[0], int):
            check_size("a message", row[0], self._most)
            return _LargePayload(self, offset, row[0])
        if row is None or not isinstance(row[1], bytes):
            msg = f"row {offset} holds no message: the file is damaged or was changed while it was read"
            raise RecordingError(msg, path=self.path)
        return MemoryPayload(memoryview(row[1]))

    def heads(
        self, block: int, offsets: NDArray[np.int64], size: int, *, short: bool = False
    ) -> NDArray[np.uint8] | None:
        """Return the first ``size`` bytes of some messages, (n, size); None where that takes one by one."""
        del block  # one file is one block
        found: dict[int, bytes] = {}
        try:
            for start in range(0, len(offsets), _IN_ONE):
                rows = ",".join(map(str, offsets[start : start + _IN_ONE].tolist()))
                query = _SELECT_HEADS.format(size=size, rows=rows)
                found |= dict(self._database().execute(query))
        except _DAMAGE as error:
            self._check_still_whole()
            raise self._damaged(error) from error
        self._check_still_whole()
        parts = [found.get(row) for row in offsets.tolist()]
        if not all(isinstance(part, bytes) and (short or len(part) == size) for part in parts):
            return None
        whole = b"".join(part.ljust(size, b"\0") for part in parts if part is not None)
        return np.frombuffer(whole, np.uint8).reshape(len(parts), size)

    def part(self, row: int, start: int, length: int) -> bytes:
        """Return some bytes of the message in a row; the pages before and behind them are not copied.

        Raises:
            RecordingError: they are not all there.

        """
        try:  # the table's `id` is its rowid in all versions of the schema
            with self._database().blobopen("messages", "data", row, readonly=True) as blob:
                blob.seek(start)
                found = blob.read(length)
        except _DAMAGE as error:
            self._check_still_whole()
            raise self._damaged(error) from error
        self._check_still_whole()
        if len(found) != length:
            raise_short(start + length, start + len(found))
        return found

    def _check_still_whole(self) -> None:
        """Make sure, behind what was read, that the file was not cut: of what is missing, SQLite makes zeros.

        Raises:
            RecordingError: it was.

        """
        if self.path.stat().st_size < self.size:
            msg = f"the file was cut while it was read: {self.size} bytes when it was opened, fewer now"
            raise RecordingError(msg, path=self.path)


def _whole_numbers(rows: list[tuple[int, int, int]]) -> NDArray[np.int64]:
    """Make an array of rows; SQLite stores in a column whatever it is given."""
    table = np.asarray(rows)
    if table.dtype != np.int64:
        msg = "a stamp is no whole number"
        raise ValueError(msg)
    return table


class _LargePayload:
    """A large message: what is asked for is read when it is asked for, as only the head is for its size."""

    __slots__ = ("_length", "_row", "_source")

    def __init__(self, source: SqliteSource, row: int, length: int) -> None:
        self._source = source
        self._row = row
        self._length = length

    def __len__(self) -> int:
        return self._length

    def head(self) -> memoryview:
        """Read the first bytes."""
        return memoryview(self._source.part(self._row, 0, min(HEAD, self._length)))

    def all(self) -> memoryview:
        """Read the whole message."""
        return memoryview(self._source.part(self._row, 0, self._length))

    def into(self, start: int, out: memoryview) -> None:
        """Read from ``start`` on into ``out``."""
        if start + len(out) > self._length:
            raise_short(start + len(out), self._length)
        copy(self._source.part(self._row, start, len(out)), out)
