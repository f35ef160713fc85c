"""rosbag2 SQLite files, whole and damaged → the messages that rosbags reads, or an error that helps."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.errors import RecordingError
from streamer.source.source import Source
from streamer.source.types import Types
from tests.bags import (
    FLOAT,
    START,
    data_file,
    encoded,
    joints,
    little_memory,
    numbers,
    read,
    read_all,
    record,
    reference,
    snapshot,
)

FOUND = Path(__file__).parents[1] / "faults" / "found"
SCRAMBLED = [START + (n * 7919) % 200 for n in range(200)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    messages = numbers("/a", SCRAMBLED, "cdr") + joints("/b", range(START, START + 60), "cdr", size=20)
    return data_file(record(tmp_path_factory.mktemp("small") / "small", "db3", messages))


def test_every_message_of_a_real_file_without_definitions_is_read(recordings: Path, tmp_path: Path) -> None:
    path = recordings / "gpsnav.db3"
    assert read(path, tmp_path) == reference(path)
    with Source(path, tmp_path) as source:
        assert {topic.definition_format for topic in source.topics.values()} == {""}


def test_scrambled_messages_are_sorted_and_complete(tmp_path: Path, small: Path) -> None:
    found = read(small, tmp_path)
    assert found == reference(small)
    assert len(found) == 260


def test_equal_stamps_keep_the_order_of_the_rows(tmp_path: Path) -> None:
    path = data_file(record(tmp_path / "bag", "db3", numbers("/a", [START] * 30, "cdr")))
    with Source(path, tmp_path) as source:
        index = source.index(["/a"])["/a"]
        found = [bytes(source.payload(index, n).all()) for n in range(30)]
    assert found == [encoded("cdr", FLOAT, data=float(n)) for n in range(30)]


def test_two_rows_of_topics_with_one_name_are_one_topic(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "two.db3"
    shutil.copy(small, path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE topics SET name = '/a', type = ?", (FLOAT,))
    with Source(path, tmp_path) as source:
        assert source.topics["/a"].count == 260
        assert len(source.index(["/a"])["/a"].stamps) == 260


def test_a_path_with_signs_that_mean_something_in_a_uri_is_opened(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "a b?c#d%20&e.db3"
    shutil.copy(small, path)
    assert read(path, tmp_path) == reference(small)


def test_nothing_appears_beside_a_file_in_wal_mode(tmp_path: Path, small: Path) -> None:
    folder = tmp_path / "wal"
    folder.mkdir()
    shutil.copy(small, folder / "wal.db3")
    with closing(sqlite3.connect(folder / "wal.db3")) as database:
        assert database.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    before = snapshot(folder)
    assert list(before) == ["wal.db3"]
    assert read(folder / "wal.db3", tmp_path) == reference(small)
    assert snapshot(folder) == before


def test_a_file_whose_log_was_not_merged_is_not_read_as_if_it_were_whole(tmp_path: Path, small: Path) -> None:
    working, found = tmp_path / "working.db3", tmp_path / "found.db3"
    shutil.copy(small, working)
    with closing(sqlite3.connect(working)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA wal_autocheckpoint=0")
        with database:
            database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, x'00')", (START + 999,))
        for end in ("", "-wal"):  # as a killed recorder leaves them
            shutil.copy(f"{working}{end}", f"{found}{end}")
    with pytest.raises(RecordingError, match=r"found\.db3: .*not closed"):
        read(found, tmp_path)


def test_many_threads_read_at_once(tmp_path: Path, small: Path) -> None:
    with Source(small, tmp_path) as source, ThreadPoolExecutor(4) as threads:
        index = source.index(["/a"])["/a"]
        found = list(threads.map(lambda n: bytes(source.payload(index, n).all()), range(200)))
    assert found == [m.data for m in reference(small) if m.topic == "/a"]


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db3"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE songs (id INTEGER)")
    with pytest.raises(RecordingError, match=r"other\.db3: .*not a rosbag2 recording"):
        read(path, tmp_path)


def test_a_topic_says_how_its_messages_are_serialized(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "odd.db3"
    shutil.copy(small, path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE topics SET serialization_format = 'json'")
    with Source(path, tmp_path) as source:
        topic = source.topics["/a"]
        assert topic.encoding == "json"
        with pytest.raises(RecordingError, match=r"topic /a: its messages are encoded as 'json'; only ROS messages"):
            Types([], "", tmp_path).fields(topic)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET data = NULL WHERE id = 5",
        "UPDATE messages SET data = 'text' WHERE id = 5",
        "UPDATE messages SET data = 7 WHERE id = 5",
        "UPDATE messages SET timestamp = 'soon' WHERE id = 5",
        "UPDATE messages SET timestamp = NULL WHERE id = 5",
        "UPDATE topics SET name = CAST(x'ff' AS TEXT)",
        "ALTER TABLE topics DROP COLUMN type",
        "ALTER TABLE messages DROP COLUMN data",
        "DROP TABLE topics",
    ],
)
def test_rows_that_a_recorder_does_not_write_are_refused(tmp_path: Path, small: Path, change: str) -> None:
    path = tmp_path / "odd.db3"
    shutil.copy(small, path)
    with closing(sqlite3.connect(path)) as database, database:
        for table in ("messages", "topics"):  # without constraints
            database.execute(f"CREATE TABLE loose AS SELECT * FROM {table}")  # noqa: S608 - our own names
            database.execute(f"DROP TABLE {table}")
            database.execute(f"ALTER TABLE loose RENAME TO {table}")
        database.execute(change)
    with pytest.raises(RecordingError, match=r"odd\.db3: "):
        read(path, tmp_path)


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(0, 1 << 20))
@example(cut=0)
@example(cut=10)
@example(cut=4096)
@example(cut=-1)
@example(cut=-4096)
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, small: Path, cut: int) -> None:
    content = small.read_bytes()
    path = tmp_path_factory.getbasetemp() / "cut.db3"
    path.write_bytes(content[: cut % len(content)])
    with pytest.raises(RecordingError, match=r"cut\.db3: "):
        read(path, path.parent)


@settings(deadline=None, max_examples=80)
@given(at=st.integers(0, 1 << 20), value=st.binary(min_size=16, max_size=400))
def test_a_file_with_wrong_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, small: Path, at: int, value: bytes
) -> None:
    content = bytearray(small.read_bytes())
    start = 16 + at % (len(content) - 16 - len(value))
    content[start : start + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "wrong.db3"
    path.write_bytes(content)
    with suppress(RecordingError), Source(path, path.parent) as source:
        read_all(source)


def test_a_large_row_is_read_in_the_parts_that_are_asked_for(tmp_path: Path) -> None:
    messages = joints("/a", range(START, START + 3), "cdr", size=20_000) + numbers("/b", [START], "cdr")
    path = data_file(record(tmp_path / "bag", "db3", messages))
    assert read(path, tmp_path) == sorted(messages)
    with Source(path, tmp_path) as source:
        payload = source.payload(source.index(["/a"])["/a"], 2)
        assert len(payload) == len(messages[2].data) > 160_000
        assert len(payload.head()) == 512
        out = bytearray(1000)
        payload.into(50_000, memoryview(out))
        assert out == messages[2].data[50_000:51_000]
        with pytest.raises(RecordingError, match=r"a message of \d+ bytes should hold"):
            payload.into(len(payload) - 999, memoryview(out))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("topic_number", "topic 0 has no name, type or serialization"),
        ("row_without_end", "a row claims more than|database disk image is malformed"),  # by which SQLite it is
    ],
)
def test_a_database_that_a_fuzzer_broke_is_refused(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / f"{name}.db3"
    path.write_bytes(gzip.decompress((FOUND / f"{name}.db3.gz").read_bytes()))
    with little_memory(1 << 29), pytest.raises(RecordingError, match=words):
        Source(path, tmp_path)
