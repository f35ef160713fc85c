"""Recordings that were found → an SQLite file that remembers what became of each, whatever dies in between."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.errors import UsageError
from streamer.files import FileIdentity
from streamer.ingest.proof import identity_of
from streamer.ingest.scan import Mark, files_of, mark_of
from streamer.ledger import Database

if TYPE_CHECKING:
    from collections.abc import Collection

STATES = ("queued", "running", "done", "failed", "quarantined")  # of entries; 'seen' and 'settling' go before
HELD = "paused: what runs goes on, nothing new begins until it is resumed, also after a restart"
RESUMED = "resumed: waiting recordings begin again"
_AGAIN: dict[str, Any] = {"state": "queued", "error": "", "next_try": None, "deaths": 0}
_ANEW: dict[str, Any] = {**_AGAIN, "anew": 1, "attempts": 0}
_MOST_DEATHS = 10  # of the daemon, in a row, while the same recording was running
_SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, path TEXT NOT NULL,
    mark TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', salvage INTEGER NOT NULL DEFAULT 0,
    configuration TEXT NOT NULL DEFAULT '', anew INTEGER NOT NULL DEFAULT 0, frames INTEGER,
    outputs TEXT NOT NULL DEFAULT '{}', filed TEXT NOT NULL DEFAULT '',
    seen REAL NOT NULL, began REAL, ended REAL, next_try REAL
);
CREATE INDEX entries_by_state ON entries (state, ended);
CREATE TABLE places (
    path TEXT PRIMARY KEY, mark TEXT NOT NULL, entry INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE
) WITHOUT ROWID;
"""
_VERSIONS = """
ALTER TABLE entries ADD COLUMN advice TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX entries_by_version ON entries (version);
CREATE TRIGGER entries_added AFTER INSERT ON entries BEGIN
    UPDATE entries SET version = (SELECT max(version) + 1 FROM entries) WHERE id = new.id;
END;
CREATE TRIGGER entries_changed AFTER UPDATE ON entries WHEN new.version = old.version BEGIN
    UPDATE entries SET version = (SELECT max(version) + 1 FROM entries) WHERE id = new.id;
END;
CREATE TABLE wishes (name TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_COLUMNS = (
    "id, identity, name, path, mark, state, attempts, deaths, error, note, salvage, configuration, anew, frames,"
    " outputs, filed, seen, began, ended, next_try, read, advice"
)


class Entry(NamedTuple):
    """A recording: ``state`` is one of `STATES`; times in Unix seconds, None for not yet or not known."""

    id: int
    identity: str
    name: str  # what it is called in outputs; nobody else's
    path: Path
    mark: Mark  # of the file or folder when it was queued
    state: str
    attempts: int
    deaths: int
    error: str
    note: str
    salvage: bool
    configuration: str  # fingerprint of that with which it was last begun
    anew: bool  # whether what was committed of it is to be forgotten
    frames: int | None
    outputs: dict[str, str]
    filed: str  # what became of the file of a done one: moved to …, deleted
    seen: float
    began: float | None
    ended: float | None
    next_try: float | None
    read: dict[str, FileIdentity]  # the files that the last attempt read, as they were opened; by name
    advice: str  # what to do about the error, where that is known


class Queue(Database):
    """The recordings of a daemon; use it as a ``with`` block."""

    steps = (_SCHEMA, "ALTER TABLE entries ADD COLUMN read TEXT NOT NULL DEFAULT '{}';", _VERSIONS)

    # ---- what there is

    def get(self, number: int) -> Entry:
        """Return the entry with this id."""
        return self._where("id = ?", number)[0]

    def with_id(self, number: int) -> list[Entry]:
        """Return the entry with this id, if there is one."""
        return self._where("id = ?", number)

    def has_name(self, name: str) -> bool:
        """Tell whether a recording is called so."""
        return bool(self._do("SELECT 1 FROM entries WHERE name = ?", name))

    def by_identity(self, identity: str) -> Entry | None:
        """Return the entry of this content."""
        return next(iter(self._where("identity = ?", identity)), None)

    def at(self, path: Path) -> Entry | None:
        """Return the newest entry that was found at this path and is not done."""
        return next(iter(self._where("path = ? AND state <> 'done'", str(path), order="id DESC")), None)

    def find(self, text: str) -> list[Entry]:
        """Return the entries that a person means: by id, name or path."""
        return self._where(
            "name = ? OR path = ? OR path = ? OR CAST(id AS TEXT) = ?",
            *(text, text, str(Path(text).absolute()), text.removeprefix("#")),
        )

    def waiting(self, *, newest_first: bool = False) -> list[Entry]:
        """Return what is queued, by the time of its last change."""
        return sorted(self._where("state = 'queued'"), key=lambda entry: entry.mark.changed, reverse=newest_first)

    def due(self, now: float, longest: float) -> list[Entry]:
        """Return what failed and is to be tried by ``now``, or later than ``longest`` from it (a clock set back)."""
        return self._where("state = 'failed' AND (next_try <= ? OR next_try > ?)", now, now + longest)

    def next_try(self) -> float | None:
        """Return when the next failed recording is to be tried again."""
        return next((entry.next_try for entry in self._where("next_try IS NOT NULL", order="next_try", most=1)), None)

    def quarantined(self) -> list[Entry]:
        """Return what was put aside."""
        return self._where("state = 'quarantined'")

    def unfiled(self, but: Collection[int], most: int) -> list[Entry]:
        """Return what is done and has not been filed, without the entries that have one of these ids."""
        left_out = ",".join(map(str, but))
        return self._where(f"state = 'done' AND filed = '' AND id NOT IN ({left_out})", most=max(0, most))

    def done_differently(self, configuration: str) -> list[Entry]:
        """Return what was done with another configuration than the one with this fingerprint."""
        return self._where("state = 'done' AND configuration <> ?", configuration)

    def not_done(self) -> list[Entry]:
        """Return everything that is not done, the newest first."""
        return self._where("state <> 'done'", order="id DESC")

    def last_done(self, most: int) -> list[Entry]:
        """Return what was done last."""
        return self._where("state = 'done'", order="ended DESC", most=most)

    def counts(self) -> dict[str, int]:
        """Return how many entries there are of each state."""
        return dict.fromkeys(STATES, 0) | dict(self._do("SELECT state, count(*) FROM entries GROUP BY state"))

    def frames(self) -> int:
        """Return the frames of all that are done."""
        return int(self._do("SELECT coalesce(sum(frames), 0) FROM entries WHERE state = 'done'")[0][0])

    def version(self) -> int:
        """Return a number that every change of an entry makes higher."""
        return int(self._do("SELECT coalesce(max(version), 0) FROM entries")[0][0])

    def changed_since(self, version: int) -> list[Entry]:
        """Return the entries that were changed after a version."""
        return self._where("version > ?", version)

    @property
    def held(self) -> bool:
        """Whether a person wants nothing new to be begun; it outlasts the daemon."""
        return bool(self._do("SELECT 1 FROM wishes WHERE name = 'hold'"))

    def knows(self, path: Path, mark: Mark) -> bool:
        """Tell whether this file was there before, as it is."""
        return bool(self._do("SELECT 1 FROM places WHERE path = ? AND mark = ?", str(path), _text(mark)))

    def places(self) -> dict[tuple[Path, Mark], str]:
        """Return the identity of what lies at each known path."""
        rows = self._do("SELECT p.path, p.mark, identity FROM places p JOIN entries e ON e.id = p.entry")
        return {(Path(path), _mark(mark)): identity for path, mark, identity in rows}

    # ---- what becomes of it

    def hold(self, *, wanted: bool) -> None:
        """Remember whether a person wants nothing new to be begun."""
        self._do("INSERT OR IGNORE INTO wishes VALUES ('hold')" if wanted else "DELETE FROM wishes WHERE name = 'hold'")

    def add(self, name: str, path: Path, identity: str, mark: Mark) -> Entry:
        """Take in a new recording; a name that another has is numbered."""
        taken = {
            row[0] for row in self._do("SELECT name FROM entries WHERE name = ? OR name LIKE ?", name, f"{name}-%")
        }
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}-{number}", number + 1
        self._do(
            "INSERT INTO entries (identity, name, path, mark, state, seen) VALUES (?, ?, ?, ?, 'queued', ?)",
            *(identity, unique, str(path), _text(mark), time.time()),
        )
        entry = self.by_identity(identity)
        assert entry is not None  # noqa: S101 - for the type checker: it was just added
        self.place(path, mark, entry)
        return entry

    def place(self, path: Path, mark: Mark, entry: Entry) -> None:
        """Remember which recording lies at a path, so that it need not be read again to know."""
        self._do("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", str(path), _text(mark), entry.id)

    def found_at(self, entry: Entry, path: Path, mark: Mark) -> Entry:
        """Note where a recording lies now, and how it looks there."""
        self.place(path, mark, entry)
        return self._change(entry, path=path, mark=mark)

    def replaced(self, entry: Entry, identity: str, mark: Mark) -> Entry:
        """Note that another recording took the place of one of which nothing that counts was made; queue that."""
        return self._change(entry, identity=identity, mark=mark, salvage=0, **_ANEW)

    def again(self, entry: Entry, *, anew: bool = False) -> Entry:
        """Queue an entry from its first attempt; ``anew`` forgets what was committed."""
        return self._change(entry, **(_ANEW if anew else {**_AGAIN, "attempts": 0}), filed="")

    def next_attempt(self, entry: Entry) -> Entry:
        """Queue an entry for its next attempt."""
        return self._change(entry, state="queued", next_try=None)

    def settled_again(self, entry: Entry) -> Entry:
        """Queue an entry whose file was gone or had changed."""
        return self._change(entry, **_AGAIN)

    def from_nothing(self, entry: Entry) -> Entry:
        """Note that what was committed of an entry is lost."""
        return self._change(entry, anew=1)

    def to_salvage(self, entry: Entry, problem: str) -> Entry:
        """Note that an unfinished recording is read as far as it is intact."""
        return self._change(entry, salvage=1, note=f"salvaged: {problem}")

    def begun(self, entry: Entry, configuration: str) -> Entry:
        """Note that an attempt begins; what was read before counts only if nothing begins anew."""
        anew = entry.anew or entry.configuration != configuration
        values: dict[str, Any] = {"read": {}} if anew else {}
        return self._change(
            entry,
            state="running",
            attempts=entry.attempts + 1,
            began=time.time(),
            anew=0,
            error="",
            configuration=configuration,
            **values,
        )

    def interrupted(self, entry: Entry) -> Entry:
        """Note that an attempt was ended by no fault of its own: it does not count."""
        return self._change(entry, state="queued", attempts=max(0, entry.attempts - 1))

    def done(self, entry: Entry, frames: int | None, outputs: dict[str, str]) -> Entry:
        """Note that every consumer has committed all of it."""
        values = {"frames": frames, "outputs": outputs, "error": "", "deaths": 0}
        return self._change(entry, state="done", ended=time.time(), **values)

    def failed(
        self, entry: Entry, error: str, next_try: float | None, *, counts: bool = True, advice: str = ""
    ) -> Entry:
        """Note a failure and when the next attempt is; None where its file has to settle first."""
        attempts = entry.attempts if counts else max(0, entry.attempts - 1)
        told = {"error": error, "advice": advice, "ended": time.time()}
        return self._change(entry, state="failed", attempts=attempts, next_try=next_try, **told)

    def changed(self, entry: Entry, error: str) -> Entry:
        """Note that its file was changed while it was read: it begins anew when that has settled."""
        return self._change(entry, state="failed", error=error, advice="", next_try=None, anew=1)

    def quarantine(self, entry: Entry, why: str, advice: str = "") -> Entry:
        """Put an entry aside."""
        told = {"error": why, "advice": advice, "ended": time.time()}
        return self._change(entry, state="quarantined", next_try=None, **told)

    def read_from(self, entry: Entry, files: dict[str, FileIdentity]) -> Entry:
        """Remember which files an attempt reads, as they were opened."""
        return self._change(entry, read={name: identity.wire for name, identity in files.items()})

    def filed(self, entry: Entry, what: str, path: Path) -> Entry:
        """Note what became of the file of a done one, and where it lies now."""
        return self._change(entry, filed=what, path=path)

    def retry(self, what: str) -> list[Entry]:
        """Queue the recordings that a person means, from their first attempt; ``all`` are the quarantined ones.

        Raises:
            UsageError: there is none, or it is running.

        """
        entries = self.quarantined() if what == "all" else self.find(what)
        if not entries and what != "all":
            msg = f"no recording is known as {what!r}: give its name, path or number (streamer status lists them)"
            raise UsageError(msg)
        for entry in entries:
            if entry.state == "running":
                msg = f"{entry.name} is running"
                raise UsageError(msg)
        marks = [_mark_of_the_same(entry) for entry in entries]  # all, before one is changed
        return [
            self.again(self.found_at(entry, entry.path, mark), anew=entry.state == "done")
            for entry, mark in zip(entries, marks, strict=True)
        ]

    def take_up(self) -> list[Entry]:
        """Queue what was running when the daemon ended; return those given up because it always ends then."""
        self._do(
            "UPDATE entries SET state = 'queued', attempts = max(0, attempts - 1), deaths = deaths + 1"
            " WHERE state = 'running'"
        )
        given_up = self._where("state = 'queued' AND deaths >= ?", _MOST_DEATHS)
        why = f"the daemon has ended {_MOST_DEATHS} times while it was running"
        return [self.quarantine(entry, why) for entry in given_up]

    # ---- SQL

    def _where(self, condition: str, *values: object, order: str = "id", most: int = -1) -> list[Entry]:
        statement = f"SELECT {_COLUMNS} FROM entries WHERE {condition} ORDER BY {order} LIMIT {most}"  # noqa: S608 - our own texts
        return [_entry(row) for row in self._do(statement, *values)]

    def _change(self, entry: Entry, **values: Any) -> Entry:
        values = {key: _plain(value) for key, value in values.items()}
        columns = ", ".join(f"{key} = ?" for key in values)
        self._do(f"UPDATE entries SET {columns} WHERE id = ?", *values.values(), entry.id)  # noqa: S608 - keywords of calls
        return self.get(entry.id)


def _mark_of_the_same(entry: Entry) -> Mark:
    """Return the mark of what lies at an entry's path.

    Raises:
        UsageError: it is gone, or another recording has taken its place.

    """
    try:
        files = files_of(entry.path)
        mark = mark_of(files)
        same = mark == entry.mark or identity_of(files) == entry.identity
    except OSError as error:
        msg = f"{entry.name}: {entry.path} is no longer there"
        raise UsageError(msg) from error
    if not same:
        msg = f"{entry.name}: another recording lies at {entry.path} now; it is taken in by itself when it has settled"
        raise UsageError(msg)
    return mark


def _entry(row: tuple[Any, ...]) -> Entry:
    found = Entry(*row)
    return found._replace(
        path=Path(row[3]),
        mark=_mark(row[4]),
        salvage=bool(found.salvage),
        anew=bool(found.anew),
        outputs=json.loads(row[14]),
        read={name: FileIdentity.from_wire(values) for name, values in json.loads(row[20]).items()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mark):
        return _text(value)
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value) if isinstance(value, Path) else value


def _text(mark: Mark) -> str:
    return f"{mark.size} {mark.files} {mark.changed} {mark.inode}"


def _mark(text: str) -> Mark:
    return Mark(*map(int, text.split()))
