"""Recordings that were found → an SQLite file that remembers what became of each, whatever dies in between."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from streamer.errors import UsageError
from streamer.ingest.proof import identity_of
from streamer.ingest.watch import Mark, files_of, mark_of
from streamer.ledger import Database

STATES = ("queued", "running", "done", "failed", "quarantined")  # of entries; 'seen' and 'settling' go before
AGAIN: dict[str, Any] = {"state": "queued", "error": "", "next_try": None, "deaths": 0}
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
_COLUMNS = (
    "id, identity, name, path, mark, state, attempts, deaths, error, note, salvage, configuration, anew, frames,"
    " outputs, filed, seen, began, ended, next_try"
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


class Queue(Database):
    """The recordings of a daemon; use it as a ``with`` block."""

    steps = (_SCHEMA,)

    def all(self, where: str = "1", *values: object, order: str = "id", most: int = -1) -> list[Entry]:
        """Return entries that fulfil an SQL condition."""
        statement = f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY {order} LIMIT {most}"  # noqa: S608 - our own texts
        return [_entry(row) for row in self._do(statement, *values)]

    def get(self, number: int) -> Entry:
        """Return the entry with this id."""
        return self.all("id = ?", number)[0]

    def counts(self) -> dict[str, int]:
        """Return how many entries there are of each state."""
        return dict.fromkeys(STATES, 0) | dict(self._do("SELECT state, count(*) FROM entries GROUP BY state"))

    def frames(self) -> int:
        """Return the frames of all that are done."""
        return int(self._do("SELECT coalesce(sum(frames), 0) FROM entries WHERE state = 'done'")[0][0])

    def by_identity(self, identity: str) -> Entry | None:
        """Return the entry of this content."""
        return next(iter(self.all("identity = ?", identity)), None)

    def at(self, path: Path) -> Entry | None:
        """Return the newest entry that was found at this path and is not done."""
        return next(iter(self.all("path = ? AND state <> 'done'", str(path), order="id DESC")), None)

    def find(self, text: str) -> list[Entry]:
        """Return the entries that a person means: by id, name or path."""
        return self.all(
            "name = ? OR path = ? OR path = ? OR CAST(id AS TEXT) = ?",
            *(text, text, str(Path(text).absolute()), text.removeprefix("#")),
        )

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

    def change(self, entry: Entry, **values: Any) -> Entry:
        """Change columns of an entry; return it as it is now."""
        values = {key: _plain(value) for key, value in values.items()}
        columns = ", ".join(f"{key} = ?" for key in values)
        self._do(f"UPDATE entries SET {columns} WHERE id = ?", *values.values(), entry.id)  # noqa: S608 - keywords of calls
        return self.get(entry.id)

    def place(self, path: Path, mark: Mark, entry: Entry) -> None:
        """Remember which recording lies at a path, so that it need not be read again to know."""
        self._do("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", str(path), _text(mark), entry.id)

    def knows(self, path: Path, mark: Mark) -> bool:
        """Tell whether this file was there before, as it is."""
        return bool(self._do("SELECT 1 FROM places WHERE path = ? AND mark = ?", str(path), _text(mark)))

    def places(self) -> dict[tuple[Path, Mark], str]:
        """Return the identity of what lies at each known path."""
        rows = self._do("SELECT p.path, p.mark, identity FROM places p JOIN entries e ON e.id = p.entry")
        return {(Path(path), _mark(mark)): identity for path, mark, identity in rows}

    def take_up(self) -> list[Entry]:
        """Queue again what was running when the daemon ended; return those given up because it always ends then."""
        self._do(
            "UPDATE entries SET state = 'queued', attempts = max(0, attempts - 1), deaths = deaths + 1"
            " WHERE state = 'running'"
        )
        given_up = self.all("state = 'queued' AND deaths >= ?", _MOST_DEATHS)
        why = f"the daemon has ended {_MOST_DEATHS} times while it was running"
        return [self.change(entry, state="quarantined", error=why, ended=time.time()) for entry in given_up]


def retry(queue: Queue, what: str) -> list[Entry]:
    """Queue again the recordings that a person means, from their first attempt; ``all`` are the quarantined ones.

    Raises:
        UsageError: there is none, or it is running.

    """
    entries = queue.all("state = 'quarantined'") if what == "all" else queue.find(what)
    if not entries and what != "all":
        msg = f"no recording is known as {what!r}: give its name, its path or its number (streamer status lists them)"
        raise UsageError(msg)
    for entry in entries:
        if entry.state == "running":
            msg = f"{entry.name} is running"
            raise UsageError(msg)
    return [
        queue.change(e, **AGAIN, attempts=0, anew=int(e.state == "done"), mark=mark, filed="")
        for e, mark in [(entry, _mark_of_the_same(entry)) for entry in entries]
    ]


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
        msg = (
            f"{entry.name}: another recording lies at {entry.path} by now; it is taken in by itself when it has settled"
        )
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
