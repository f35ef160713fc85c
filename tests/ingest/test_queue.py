"""What became of each recording is remembered, whatever dies in between."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from streamer.errors import StorageError
from streamer.ingest.queue import Queue
from streamer.ingest.scan import Mark

MARK = Mark(1000, 1, 5, 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


def test_a_name_is_nobody_elses(path: Path) -> None:
    with Queue(path) as queue:
        names = [queue.add("run", Path(f"/{n}/run.bag"), f"who {n}", MARK).name for n in range(3)]
        other = queue.add("run-2", Path("/x/run-2.bag"), "who x", MARK)
    assert names == ["run", "run-2", "run-3"]
    assert other.name == "run-2-2"


def test_what_is_changed_is_there_for_the_next(path: Path) -> None:
    with Queue(path) as queue:
        entry = queue.add("run", Path("/in/run.bag"), "who", MARK)
        queue.done(queue.found_at(entry, Path("/moved"), Mark(1, 2, 3, 4)), 7, {"a": "b"})
    with Queue(path) as queue:
        entry = queue.get(entry.id)
        assert (entry.state, entry.frames, entry.outputs) == ("done", 7, {"a": "b"})
        assert (entry.mark, entry.path) == (Mark(1, 2, 3, 4), Path("/moved"))
        assert queue.by_identity("who") == entry
        assert queue.counts()["done"] == 1
        assert queue.frames() == 7
        assert queue.places() == {(Path("/in/run.bag"), MARK): "who", (Path("/moved"), Mark(1, 2, 3, 4)): "who"}


def test_a_person_means_a_recording_by_number_name_or_path(path: Path) -> None:
    with Queue(path) as queue:
        entry = queue.add("run", Path("/in/run.bag"), "who", MARK)
        for text in ("run", "/in/run.bag", str(entry.id), f"#{entry.id}"):
            assert queue.find(text) == [entry]
        assert queue.find("other") == []


def test_what_was_running_when_the_daemon_died_costs_no_attempt_but_not_for_ever(path: Path) -> None:
    with Queue(path) as queue:
        entry = queue.add("run", Path("/in/run.bag"), "who", MARK)
        for death in range(1, 10):
            queue.begun(queue.get(entry.id), "configuration")
            assert queue.take_up() == []
            entry = queue.get(entry.id)
            assert (entry.state, entry.attempts, entry.deaths) == ("queued", 0, death)
        queue.begun(entry, "configuration")
        (given_up,) = queue.take_up()
        assert given_up.state == "quarantined"
        assert "10 times" in given_up.error


def test_a_queue_of_a_newer_version_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StorageError, match="newer version"):
        Queue(path)


def test_a_clock_that_jumps_puts_no_attempt_off_for_longer_than_any_back_off(path: Path) -> None:
    year, longest = 365 * 86400.0, 3600.0
    with Queue(path) as queue:
        entry = queue.add("run", Path("/in/run.bag"), "who", MARK)
        queue.failed(queue.begun(entry, "configuration"), "why", 1_000_030.0)
        assert queue.next_try() == 1_000_030.0
        assert queue.due(1_000_029.0, longest) == []
        for now in (1_000_030.0, 1_000_000.0 + year, 1_000_000.0 - year):
            assert [one.id for one in queue.due(now, longest)] == [entry.id]


def test_a_queue_of_the_version_before_is_gone_on_with(path: Path) -> None:
    with Queue(path) as queue:
        queue.add("run", Path("/in/run.bag"), "who", MARK)
    with sqlite3.connect(path) as older:
        older.executescript("DROP TRIGGER entries_added; DROP TRIGGER entries_changed; DROP INDEX entries_by_version;")
        older.executescript("DROP TABLE wishes;")
        for column in ("read", "advice", "version"):
            older.execute(f"ALTER TABLE entries DROP COLUMN {column}")
        older.execute("PRAGMA user_version = 1")
    older.close()
    with Queue(path) as queue:
        (entry,) = queue.find("run")
        assert entry.read == {}  # so nothing is deleted of what was done before
        before = queue.version()
        queue.quarantine(entry, "why", "mend it")
        assert [(one.name, one.advice) for one in queue.changed_since(before)] == [("run", "mend it")]
        assert not queue.held
