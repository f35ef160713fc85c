"""Commits → an SQLite file that survives everything: recordings, cursors, states, attempts, skips.

One process writes at a time (the reader of a run). WAL with ``synchronous=NORMAL``: a killed process
loses nothing; a power cut may lose the last commits, which are then replayed.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from streamer.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_MOVE_ASIDE = "; move it aside to begin with an empty one: what was done is then done again"
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter for a message that quotes a damaged schema
MOST_ATTEMPTS = 3  # at a chunk: the last shows its frames one at a time
_SCHEMA = """
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, path TEXT NOT NULL, fingerprint TEXT NOT NULL DEFAULT '',
    plan TEXT NOT NULL DEFAULT '', frames INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL, error TEXT NOT NULL DEFAULT '', updated REAL NOT NULL, UNIQUE (pipeline, path)
);
CREATE TABLE cursors (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, consumer TEXT NOT NULL,
    chunk INTEGER NOT NULL, state BLOB, closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (recording, consumer)
) WITHOUT ROWID;
CREATE TABLE attempts (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, consumer TEXT NOT NULL,
    chunk INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (recording, consumer)
) WITHOUT ROWID;
CREATE TABLE skips (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, frame INTEGER NOT NULL,
    reason TEXT NOT NULL, PRIMARY KEY (recording, frame)
) WITHOUT ROWID;
"""
_MIGRATIONS = [  # from version n, counted from 1, to the next
    """
CREATE TABLE quarantine (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, consumer TEXT NOT NULL,
    frame INTEGER NOT NULL, reason TEXT NOT NULL, trace TEXT NOT NULL, PRIMARY KEY (recording, consumer, frame)
) WITHOUT ROWID;
""",
    """
CREATE TABLE settings (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, consumer TEXT NOT NULL,
    settings TEXT NOT NULL, PRIMARY KEY (recording, consumer)
) WITHOUT ROWID;
""",
    """
CREATE TABLE elements (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, stream TEXT NOT NULL, names TEXT NOT NULL,
    PRIMARY KEY (recording, stream)
) WITHOUT ROWID;
""",
    """
CREATE TABLE episodes (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE, consumer TEXT NOT NULL,
    number INTEGER NOT NULL, state BLOB, closed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (recording, consumer, number)
) WITHOUT ROWID;
""",
]
# A run goes on from what these hold. SQLite has no checksum of its own: a wrong bit makes another number.
_SEALED = {
    "cursors": ("recording, consumer", "chunk, state, closed"),
    "episodes": ("recording, consumer, number", "state, closed"),
    "skips": ("recording, frame", "reason"),
    "quarantine": ("recording, consumer, frame", "reason, trace"),
}
_SEALS = """
ALTER TABLE {table} ADD COLUMN seal INTEGER;
UPDATE {table} SET seal = seal_of('{table}', {key}, {values});
CREATE TRIGGER {table}_made AFTER INSERT ON {table} BEGIN
    UPDATE {table} SET seal = seal_of('{table}', {key}, {values}) WHERE ({key}) = ({new});
END;
CREATE TRIGGER {table}_changed AFTER UPDATE OF {key}, {values} ON {table} BEGIN
    UPDATE {table} SET seal = seal_of('{table}', {key}, {values}) WHERE ({key}) = ({new});
END;
"""
_MIGRATIONS.append(
    "".join(
        _SEALS.format(table=table, key=key, values=values, new=", ".join(f"NEW.{name}" for name in key.split(", ")))
        for table, (key, values) in _SEALED.items()
    )
)


class Known(NamedTuple):
    """What the ledger knows of a recording; ``state`` is running, interrupted, failed or done."""

    number: int
    path: str
    fingerprint: str
    plan: str
    state: str
    committed: int


class Cursor(NamedTuple):
    """How far a consumer has committed: ``chunk`` chunks; its state; whether it closed its outputs."""

    chunk: int
    state: bytes | None
    closed: bool


class Quarantined(NamedTuple):
    """A frame that a consumer goes on without."""

    consumer: str
    frame: int
    reason: str
    trace: str


class Database:
    """An SQLite file and the steps by which its schema came to be; use it as a ``with`` block."""

    steps: Sequence[str]  # from version n, counted from 0, to the next
    path: Path

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        """Open the file, or make it; with ``durable``, what was committed is on the disk and outlasts a power cut.

        Raises:
            StorageError: it cannot be written, or comes from a newer version of this program.

        """
        self.path = path
        self._durable = durable
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        newest = len(self.steps)
        try:
            self._db.create_function("seal_of", -1, _seal, deterministic=True)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
            self._db.execute("PRAGMA foreign_keys = ON")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if steps := self.steps[version:]:
                self._db.executescript(f"BEGIN; {' '.join(steps)} PRAGMA user_version = {newest}; COMMIT")
        except _UNREADABLE as error:
            raise self._trouble(error) from error
        if version > newest:
            msg = f"{self.path}: written by a newer version of this program (schema {version}, known is {newest})"
            raise StorageError(msg)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def _do(self, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(statement, values).fetchall()
        except _UNREADABLE as error:
            raise self._trouble(error) from error

    def _trouble(self, error: Exception) -> StorageError:
        broken = type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)  # no subclasses: the file is no database
        return StorageError(f"{self.path}: the ledger cannot be used: {error}{_MOVE_ASIDE if broken else ''}")


def _seal(*values: object) -> int:
    """Return a checksum of a row, in which its table counts: a page may be written to the place of another."""
    return zlib.crc32(b"\0".join(value if isinstance(value, bytes) else repr(value).encode() for value in values))


def _unsealed(table: str) -> str:
    """Return the question for rows that are not what was written."""
    return f"SELECT 1 FROM {table} WHERE seal IS NOT seal_of('{table}', {', '.join(_SEALED[table])})"  # noqa: S608 - names from above


def why_unusable(path: Path) -> str:
    """Say why a run cannot go on from a ledger: it is damaged, or of a newer version; empty where it can."""
    if not path.exists():
        return ""
    try:
        with closing(sqlite3.connect(path, timeout=1)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found == "ok" and version == len(Ledger.steps):
                database.create_function("seal_of", -1, _seal, deterministic=True)
                wrong = [table for table in _SEALED if database.execute(_unsealed(table)).fetchone()]
                found = f"{wrong[0]} without their checksum" if wrong else found
    except sqlite3.OperationalError:  # it is in use, the disk fails: whoever opens it says so
        return ""
    except _UNREADABLE as error:
        return f"it is damaged: {error}"
    if version > len(Ledger.steps):
        return f"a newer version of this program wrote it (schema {version}, known is {len(Ledger.steps)})"
    return "" if found == "ok" else f"it is damaged: {found}"


class Ledger(Database):
    """The ledger of one work folder."""

    steps = (_SCHEMA, *_MIGRATIONS)

    def recordings(self, pipeline: str) -> dict[str, Known]:
        """Return all recordings of a pipeline, by path."""
        rows = self._do(
            "SELECT id, path, fingerprint, plan, state,"
            " (SELECT coalesce(sum(chunk), 0) FROM cursors WHERE recording = id)"
            " FROM recordings WHERE pipeline = ? ORDER BY id",
            pipeline,
        )
        return {row[1]: Known(*row) for row in rows}

    def forget(self, pipeline: str) -> None:
        """Remove all that is known of a pipeline's recordings: the next run begins anew."""
        self._do("DELETE FROM recordings WHERE pipeline = ?", pipeline)

    def begin(self, pipeline: str, path: str, fingerprint: str, plan: str, frames: int, chunks: int) -> int:
        """Note that a recording is running; return its number. Cursors that exist stay."""
        self._do(
            "INSERT INTO recordings (pipeline, path, fingerprint, plan, frames, chunks, state, updated)"
            " VALUES (?, ?, ?, ?, ?, ?, 'running', ?) ON CONFLICT (pipeline, path) DO UPDATE SET"
            " fingerprint = excluded.fingerprint, plan = excluded.plan, frames = excluded.frames,"
            " chunks = excluded.chunks, state = 'running', error = '', updated = excluded.updated",
            *(pipeline, path, fingerprint, plan, frames, chunks, time.time()),
        )
        rows = self._do("SELECT id FROM recordings WHERE pipeline = ? AND path = ?", pipeline, path)
        return int(rows[0][0])

    def agree(self, recording: int, elements: Mapping[str, Sequence[str]]) -> tuple[str, str, list[str]] | None:
        """Note what a recording's vectors are made of; return where another recording of its pipeline has other names.

        That is a stream, the other's path and its names. Recordings that failed before anything was committed do not
        count.
        """
        self._do("BEGIN IMMEDIATE")
        try:
            for stream, names in elements.items():
                text = json.dumps(list(names))
                others = self._do(
                    "SELECT other.path, names FROM recordings AS own, recordings AS other, elements"
                    " WHERE own.id = ? AND other.pipeline = own.pipeline AND other.id != own.id"
                    " AND elements.recording = other.id AND stream = ? AND names != ? AND (other.state != 'failed'"
                    " OR EXISTS (SELECT 1 FROM cursors WHERE recording = other.id AND chunk > 0))"
                    " ORDER BY other.id LIMIT 1",
                    *(recording, stream, text),
                )
                if others:
                    return stream, others[0][0], json.loads(others[0][1])
            self._do("DELETE FROM elements WHERE recording = ?", recording)
            for stream, names in elements.items():
                self._do("INSERT INTO elements VALUES (?, ?, ?)", recording, stream, json.dumps(list(names)))
        finally:
            self._do("COMMIT")
        return None

    def reset(self, recording: int) -> None:
        """Drop what a run noted that committed nothing: its plan may have been another."""
        for table in ("cursors", "attempts", "skips", "quarantine", "episodes"):
            self._do(f"DELETE FROM {table} WHERE recording = ?", recording)  # noqa: S608 - names from the line above

    def finish(self, recording: int, state: str, error: str = "") -> None:
        """Note how a run over a recording ended: interrupted, failed or done."""
        self._do(
            "UPDATE recordings SET state = ?, error = ?, updated = ? WHERE id = ?", state, error, time.time(), recording
        )

    def _hold_to_seals(self, table: str, recording: int) -> None:
        """Refuse rows that are not what was written: the disk, or somebody, has changed them."""
        if self._do(f"{_unsealed(table)} AND recording = ?", recording):
            msg = f"{self.path}: the ledger is damaged: its {table} do not have their checksum{_MOVE_ASIDE}"
            raise StorageError(msg)

    def mark(self, pipeline: str, path: str, fingerprint: str, plan: str) -> None:
        """Replace by what a recording that is done, and what was asked of it, are recognised."""
        update = "UPDATE recordings SET fingerprint = ?, plan = ? WHERE pipeline = ? AND path = ?"
        self._do(update, fingerprint, plan, pipeline, path)

    def cursor(self, recording: int, consumer: str) -> Cursor:
        """Return a consumer's cursor; chunk 0 and no state at the beginning."""
        self._hold_to_seals("cursors", recording)
        rows = self._do(
            "SELECT chunk, state, closed FROM cursors WHERE recording = ? AND consumer = ?", recording, consumer
        )
        return Cursor(rows[0][0], rows[0][1], bool(rows[0][2])) if rows else Cursor(0, None, closed=False)

    def commit(
        self, recording: int, consumer: str, chunk: int, state: bytes | None, episode: int | None = None
    ) -> None:
        """Move a cursor behind ``chunk`` and store the consumer's state, both or neither.

        The next chunk thereby begins its first attempt. ``episode`` is the one of which this was the last chunk.
        """
        self._do("BEGIN")
        self._do("DELETE FROM attempts WHERE recording = ? AND consumer = ?", recording, consumer)
        self.attempt(recording, consumer, chunk + 1)
        self._do(
            "INSERT INTO cursors (recording, consumer, chunk, state) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (recording, consumer) DO UPDATE SET chunk = excluded.chunk, state = excluded.state",
            *(recording, consumer, chunk + 1, state),
        )
        if episode is not None:
            self._do(
                "INSERT OR REPLACE INTO episodes (recording, consumer, number, state) VALUES (?, ?, ?, ?)",
                *(recording, consumer, episode, state),
            )
        self._do("COMMIT")

    def note_settings(self, recording: int, consumer: str, settings: str) -> None:
        """Store the settings under which a consumer writes."""
        self._do("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", recording, consumer, settings)

    def settings(self, recording: int, consumer: str) -> str | None:
        """Return the settings under which a consumer has written; None where they are not known."""
        rows = self._do("SELECT settings FROM settings WHERE recording = ? AND consumer = ?", recording, consumer)
        return str(rows[0][0]) if rows else None

    def close_episode(self, recording: int, consumer: str, episode: int) -> None:
        """Note that a consumer has finished its outputs of an episode that is committed."""
        self._do(
            "UPDATE episodes SET closed = 1 WHERE recording = ? AND consumer = ? AND number = ?",
            *(recording, consumer, episode),
        )

    def episodes(self, recording: int, consumer: str) -> dict[int, tuple[bytes | None, bool]]:
        """Return of each episode that a consumer has committed its last state and whether its outputs are finished."""
        self._hold_to_seals("episodes", recording)
        rows = self._do(
            "SELECT number, state, closed FROM episodes WHERE recording = ? AND consumer = ? ORDER BY number",
            *(recording, consumer),
        )
        return {number: (state, bool(closed)) for number, state, closed in rows}

    def close_consumer(self, recording: int, consumer: str, state: bytes | None = None) -> None:
        """Note that a consumer has finished its outputs of a recording; ``state`` takes the place of its last one."""
        self._do(  # at once: a state that is of no process would be given to the next
            "INSERT INTO cursors (recording, consumer, chunk, state, closed) VALUES (?, ?, 0, ?, 1)"
            " ON CONFLICT (recording, consumer) DO UPDATE SET closed = 1, state = coalesce(excluded.state, state)",
            *(recording, consumer, state),
        )

    def attempt(self, recording: int, consumer: str, chunk: int) -> int:
        """Count that a process is about to be shown a chunk as its first; return how often that has been so."""
        rows = self._do(
            "INSERT INTO attempts (recording, consumer, chunk, count) VALUES (?, ?, ?, 1)"
            " ON CONFLICT (recording, consumer) DO UPDATE SET"
            " count = CASE WHEN chunk = excluded.chunk THEN count + 1 ELSE 1 END, chunk = excluded.chunk"
            " RETURNING count",
            *(recording, consumer, chunk),
        )
        return int(rows[0][0])

    def forgive(self, recording: int, consumer: str) -> None:
        """Forget attempts: a planned end of a process in mid-chunk is not the chunk's fault."""
        self._do("DELETE FROM attempts WHERE recording = ? AND consumer = ?", recording, consumer)

    def skip(self, recording: int, frame: int, reason: str) -> None:
        """Note that a frame is left out, and why."""
        self._do("INSERT OR REPLACE INTO skips (recording, frame, reason) VALUES (?, ?, ?)", recording, frame, reason)

    def skips(self, recording: int) -> dict[int, str]:
        """Return the frames left out, with their reasons."""
        self._hold_to_seals("skips", recording)
        return dict(self._do("SELECT frame, reason FROM skips WHERE recording = ?", recording))

    def quarantine(self, recording: int, consumer: str, frame: int, reason: str, trace: str) -> None:
        """Note that a frame ended a consumer's process each time, and how."""
        self._do(
            "INSERT OR REPLACE INTO quarantine (recording, consumer, frame, reason, trace) VALUES (?, ?, ?, ?, ?)",
            *(recording, consumer, frame, reason, trace),
        )

    def quarantined(self, recording: int) -> list[Quarantined]:
        """Return the frames that consumers go on without."""
        self._hold_to_seals("quarantine", recording)
        rows = self._do(
            "SELECT consumer, frame, reason, trace FROM quarantine WHERE recording = ? ORDER BY consumer, frame",
            recording,
        )
        return [Quarantined(*row) for row in rows]
