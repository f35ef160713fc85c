"""Recordings that were not closed, are cut or damaged → every message that is intact, and how much that is."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import RecordingError
from streamer.source.find import find_recordings, recording_name
from streamer.source.source import Source
from tests.bags import (
    MCAP,
    MCAP_MAGIC,
    ROS1,
    ROS2,
    START,
    Message,
    data_file,
    encoding_of,
    everything,
    joints,
    little_memory,
    mcap_by_hand,
    mcap_chunk,
    mcap_record,
    numbers,
    read_all,
    record,
    record_split,
    reference,
    snapshot,
)

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.records import Damage

CUT = ("ros1", "ros1-lz4", "ros1-bz2", "mcap", "mcap-zstd", "mcap-lz4", "loose")
PLAIN = ("ros1", "mcap", "loose")
SCRAMBLED = [START + (n * 7919) % 200 for n in range(120)]


def some(encoding: str) -> list[Message]:
    return numbers("/a", SCRAMBLED, encoding) + joints("/b", range(START, START + 60), encoding)


def make(folder: Path, form: str) -> Path:
    """Write a file of many small chunks, or of none; return its path."""
    if form == "loose":
        return mcap_by_hand(folder / "loose.mcap", some("cdr"))
    path = record(folder / "bag", form, some(encoding_of(form)), chunk=900)
    return data_file(path) if path.is_dir() else path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {form: make(tmp_path_factory.mktemp(form), form) for form in CUT}


def salvage(path: Path, scratch: Path) -> tuple[list[Message], tuple[Damage, ...]]:
    """Read everything that can be saved; check that nothing at or beside the recording changes."""
    before = snapshot(path.parent)
    with Source(path, scratch, salvage=True) as source:
        found = everything(source)
        damage = source.damage
    assert snapshot(path.parent) == before
    return found, damage


def refused(path: Path, scratch: Path) -> str:
    """Return what is said where nothing is to be salvaged."""
    with pytest.raises(RecordingError) as caught, Source(path, scratch) as source:
        read_all(source)
    return str(caught.value)


# Cut anywhere


@pytest.mark.parametrize("form", CUT)
def test_a_file_cut_anywhere_gives_the_more_the_later_it_is_cut(
    tmp_path: Path, files: dict[str, Path], form: str
) -> None:
    content = files[form].read_bytes()
    original = everything_in(files[form], tmp_path)
    ends = {message: content.find(message.data) + len(message.data) for message in original}
    (tmp_path / "cut").mkdir()
    path = tmp_path / "cut" / files[form].name
    found: list[Message] = []
    intact = 0
    for cut in sorted(random.Random(f"cut {form}").sample(range(len(content)), 200)):  # noqa: S311 - no secret
        path.write_bytes(content[:cut])
        more: list[Message] = []
        now = 0
        with suppress(RecordingError):  # where not one message is saved
            more, (damage,) = salvage(path, tmp_path / "scratch")
            now = damage.intact
            assert damage.size == cut
            assert damage.stopped == damage.intact <= cut
            assert damage.chunks == 0
        assert not Counter(more) - Counter(original)
        assert not Counter(found) - Counter(more), f"cut at {cut}: less than before"
        assert now >= intact
        if form in PLAIN:
            assert more == [message for message in original if ends[message] <= cut], f"cut at {cut}"
        found, intact = more, now
    path.write_bytes(content)
    assert salvage(path, tmp_path / "scratch") == (original, ())
    assert found


def everything_in(path: Path, scratch: Path) -> list[Message]:
    with Source(path, scratch) as source:
        return everything(source)


@pytest.mark.parametrize("form", CUT)
def test_a_file_cut_behind_its_last_chunk_loses_nothing(tmp_path: Path, files: dict[str, Path], form: str) -> None:
    path = tmp_path / files[form].name
    path.write_bytes(files[form].read_bytes()[:-10])
    words = refused(path, tmp_path / "scratch")
    assert words.startswith(str(path))
    assert "'source.on_damage: salvage' reads what is intact" in words
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert found == everything_in(files[form], tmp_path)
    assert damage.size - damage.intact < 150
    assert damage.chunks == 0


@pytest.mark.parametrize("form", CUT)
def test_zeros_at_the_end_as_a_power_cut_leaves_them_are_not_taken_for_records(
    tmp_path: Path, files: dict[str, Path], form: str
) -> None:
    content = files[form].read_bytes()
    path = tmp_path / files[form].name
    path.write_bytes(content[: len(content) // 2])
    found, (damage,) = salvage(path, tmp_path / "scratch")
    path.write_bytes(content[: damage.stopped] + bytes(5000))
    again, (zeros,) = salvage(path, tmp_path / "scratch")
    assert again == found
    assert zeros.intact == damage.intact  # of a cut chunk the end is known, and the walk goes on there


@pytest.mark.parametrize("form", CUT)
@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, 1 << 20), value=st.binary(min_size=1, max_size=8), cut=st.integers(0, 3000))
def test_whatever_is_damaged_is_left_out_or_refused(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path], form: str, at: int, value: bytes, cut: int
) -> None:
    content = bytearray(files[form].read_bytes())
    at %= len(content)
    content[at : at + len(value)] = value
    path = tmp_path_factory.getbasetemp() / files[form].name
    path.write_bytes(content[: len(content) - cut])
    with little_memory(), suppress(RecordingError), Source(path, path.parent / "scratch", salvage=True) as source:
        read_all(source)


# Not closed


@pytest.mark.parametrize("form", ROS1)
def test_a_bag_without_index_is_read_whole(tmp_path: Path, files: dict[str, Path], form: str) -> None:
    path = tmp_path / "run.bag.active"
    content = bytearray(files[form].read_bytes())
    at = content.index(b"index_pos=") + 10
    content[at : at + 8] = b"\0" * 8
    path.write_bytes(content)
    assert "'rosbag reindex' on a copy" in refused(path, tmp_path / "scratch")
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert found == reference(files[form])
    assert damage.intact == damage.stopped == damage.size == len(content)
    assert damage.why == "the bag has no index, as its recorder was not closed properly"
    assert recording_name(path) == "run"


def test_the_open_chunk_of_a_bag_that_is_being_written_is_read(tmp_path: Path, files: dict[str, Path]) -> None:
    content = bytearray(files["ros1"].read_bytes())
    at = content.index(b"index_pos=") + 10
    content[at : at + 8] = b"\0" * 8
    last = content.rindex(b"size=")
    start = last + 9 + 4
    length = struct.unpack_from("<I", content, start - 4)[0]
    content[last + 5 : last + 9] = content[start - 4 : start] = b"\0" * 4  # filled in when it is closed
    path = tmp_path / "run.bag.active"
    path.write_bytes(content[: start + length - 5])  # in the middle of the chunk's last message
    found, (damage,) = salvage(path, tmp_path / "scratch")
    original = reference(files["ros1"])
    assert [message for message in original if message not in found] == [
        max(original, key=lambda message: content.find(message.data))
    ]
    assert start <= damage.stopped < start + length


def test_an_mcap_file_whose_index_lists_too_little_is_read_whole(tmp_path: Path) -> None:
    chunks = [some("cdr")[:7], some("cdr")[7:]]
    path = mcap_by_hand(tmp_path / "a.mcap", [m for chunk in chunks for m in chunk], 7, summary=True)
    path.write_bytes(path.read_bytes()[:-50])
    assert salvage(path, tmp_path / "scratch")[0] == sorted(some("cdr"))


def test_more_messages_are_found_than_an_index_in_the_file_could_list(tmp_path: Path) -> None:
    (message,) = numbers("/a", [START], "cdr")
    content = mcap_by_hand(tmp_path / "a.mcap", [message]).read_bytes()
    start, end = content.index(message.data) - 31, content.index(message.data) + len(message.data)
    path = tmp_path / "dense.mcap"
    path.write_bytes(content[:start] + mcap_chunk(content[start:end] * 5000))
    assert path.stat().st_size < 5000 * 16
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert len(found) == 5000
    assert damage.intact == damage.size


@pytest.mark.parametrize("form", [*ROS1, *ROS2])
def test_nothing_is_said_of_a_recording_that_is_whole(tmp_path: Path, form: str) -> None:
    (tmp_path / "home").mkdir()
    path = record(tmp_path / "home" / "bag", form, some(encoding_of(form)), chunk=900)
    assert salvage(path, tmp_path / "scratch") == (reference(path), ())


# Damaged in the middle


def chunks_of(content: bytes | bytearray, form: str) -> list[tuple[int, int]]:
    """Return where the data of each chunk begins and ends."""
    found, position = [], 8
    if form.startswith("ros1"):
        position = 13 + 4096
        while position < len(content):
            (length,) = struct.unpack_from("<I", content, position)
            header = content[position + 4 : position + 4 + length]
            (size,) = struct.unpack_from("<I", content, position + 4 + length)
            position += 8 + length + size
            if b"op=\x05" in header:
                found.append((position - size, position))
        return found
    while position < len(content) - 8:
        op, length = struct.unpack_from("<BQ", content, position)
        position += 9 + length
        if op == 6:
            (size,) = struct.unpack_from("<I", content, position - length + 28)
            found.append((position - length + 28 + 4 + size + 8, position))
    return found


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("form", [form for form in CUT if form not in PLAIN])
def test_a_damaged_chunk_is_left_out_and_the_next_is_read(
    tmp_path: Path, files: dict[str, Path], form: str, *, indexed: bool
) -> None:
    content = bytearray(files[form].read_bytes())
    chunks = chunks_of(content, form)
    assert len(chunks) > 5
    start, end = chunks[2]
    content[start : start + 12] = b"\x07" * 12
    path = tmp_path / files[form].name
    path.write_bytes(content if indexed else content[:-10])
    words = refused(path, tmp_path / "scratch")
    assert "'source.on_damage: salvage' reads what is intact" in words
    found, (damage,) = salvage(path, tmp_path / "scratch")
    with Source(files[form], tmp_path) as source:
        lost = 2 + form.startswith("mcap")  # there, block 0 is the file itself
        indexes = source.index(list(source.topics)).values()
        expected = sum(int((index.block != lost).sum()) for index in indexes)
        assert expected < sum(len(index.stamps) for index in indexes)
    assert not Counter(found) - Counter(reference(files[form]))
    assert len(found) == expected
    assert damage.chunks == 1
    assert end - start <= damage.size - damage.intact < end - start + 200
    assert damage.stopped >= damage.size - 150
    assert f"without 1 damaged chunk: {damage.why}" in str(damage)


@pytest.mark.parametrize("form", ["ros1", "mcap"])
def test_a_damaged_record_loses_the_rest_of_its_chunk_and_no_more(
    tmp_path: Path, files: dict[str, Path], form: str
) -> None:
    content = bytearray(files[form].read_bytes())
    start, end = chunks_of(content, form)[2]
    original = reference(files[form])
    ends = {message: content.find(message.data) + len(message.data) for message in original}
    at = min(place for place in ends.values() if place > (start + end) // 2)
    content[at : at + 9] = b"\xff" * 9  # the head of a message
    path = tmp_path / files[form].name
    path.write_bytes(content[:-10])
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert found == [message for message in original if not at < ends[message] <= end]
    assert damage.chunks == 1


@pytest.mark.parametrize("form", ["ros1", "ros1-lz4", "mcap-zstd"])
def test_behind_a_damaged_chunk_header_the_walk_goes_on_where_the_index_says(
    tmp_path: Path, files: dict[str, Path], form: str
) -> None:
    content = bytearray(files[form].read_bytes())
    start, end = chunks_of(content, form)[2]
    content[start - 40 : start + 20] = b"\xff" * 60
    path = tmp_path / files[form].name
    path.write_bytes(content)
    found, (damage,) = salvage(path, tmp_path / "scratch")
    original = reference(files[form])
    assert not Counter(found) - Counter(original)
    assert len(original) * 3 // 4 < len(found) < len(original)
    assert damage.chunks == 1
    assert damage.stopped == damage.size
    assert end - start < damage.size - damage.intact < end - start + 500  # with the index behind the chunk


def test_a_first_chunk_that_is_lost_takes_no_topics_with_it(tmp_path: Path, files: dict[str, Path]) -> None:
    for form in ("ros1-lz4", "mcap-zstd"):
        content = bytearray(files[form].read_bytes())
        start, _ = chunks_of(content, form)[0]
        content[start : start + 12] = b"\x07" * 12
        path = tmp_path / files[form].name
        path.write_bytes(content)
        found, _ = salvage(path, tmp_path / "scratch")
        assert {message.topic for message in found} == {"/a", "/b"}


def test_a_recording_of_which_no_message_is_left_is_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    for form in CUT:
        path = tmp_path / files[form].name
        path.write_bytes(files[form].read_bytes()[:100])
        with pytest.raises(RecordingError, match=r"no message in it can be read: |cut off or damaged"):
            Source(path, tmp_path / "scratch", salvage=True)
    path = tmp_path / "other.mcap"
    path.write_bytes(MCAP_MAGIC + mcap_record(1, "ros2", ""))
    with pytest.raises(RecordingError, match="no message in it can be read"):
        Source(path, tmp_path / "scratch", salvage=True)


def test_what_is_no_recording_stays_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.bag"
    path.write_bytes(b"a few words, no bag")
    with pytest.raises(RecordingError, match="not a recording"):
        Source(path, tmp_path, salvage=True)


# Folders


@pytest.mark.parametrize("form", ["db3", "mcap-zstd", "db3-file", "db3-message", "mcap-file", "mcap-message"])
def test_a_folder_without_metadata_is_read(tmp_path: Path, form: str) -> None:
    parts = [numbers("/a", SCRAMBLED[:50], "cdr"), some("cdr"), joints("/c", SCRAMBLED[:5], "cdr")]
    (tmp_path / "home").mkdir()
    path = record_split(tmp_path / "home" / "split", form, parts)
    original = reference(path)
    (path / "metadata.yaml").unlink()
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert found == original
    assert damage.intact == damage.size
    assert "no metadata.yaml" in damage.why
    assert find_recordings(["home/split"], tmp_path, salvage=True) == [path]
    assert find_recordings(["home"], tmp_path, salvage=True) == [path]


def test_the_files_of_a_folder_without_metadata_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = record_split(tmp_path / "split", "mcap", [numbers("/a", [START], "cdr")] * 11)
    (path / "metadata.yaml").unlink()
    with Source(path, tmp_path / "scratch", salvage=True) as source:
        assert [file.name for file in source.files] == [f"split_{n}.mcap" for n in range(11)]


def test_of_a_split_recording_each_file_is_read_as_far_as_it_is_intact(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    path = record_split(tmp_path / "home" / "split", "mcap", [numbers(f"/t{n}", SCRAMBLED, "cdr") for n in range(4)])
    (path / "metadata.yaml").write_text("rosbag2_bagfile_information: {relative_file_paths: [")
    (path / "split_1.mcap").write_bytes(b"")
    last = path / "split_3.mcap"
    last.write_bytes(last.read_bytes()[:4000])
    found, (folder, empty, cut) = salvage(path, tmp_path / "scratch")
    counts = Counter(message.topic for message in found)
    assert counts["/t0"] == counts["/t2"] == 120 > counts["/t3"] > 20
    assert "/t1" not in counts
    assert (folder.name, empty.name, cut.name) == ("split", "split_1.mcap", "split_3.mcap")
    assert (empty.intact, empty.why) == (0, "the file is empty")
    assert 3900 < cut.stopped <= cut.size == 4000


def test_a_listed_file_that_is_missing_is_told(tmp_path: Path) -> None:
    path = record_split(tmp_path / "split", "db3", [numbers("/a", SCRAMBLED, "cdr")] * 2)
    (path / "split_1.db3").unlink()
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert len(found) == 120
    assert "'split_1.db3', which is not in the folder" in damage.why


def test_a_folder_of_bags_that_were_not_closed_is_searched(tmp_path: Path, files: dict[str, Path]) -> None:
    shutil.copy(files["ros1"], tmp_path / "a.bag")
    shutil.copy(files["ros1"], tmp_path / "b.bag.active")
    assert find_recordings(["."], tmp_path) == [tmp_path / "a.bag"]
    assert find_recordings(["."], tmp_path, salvage=True) == [tmp_path / "a.bag", tmp_path / "b.bag.active"]


# Databases


def left(folder: Path, journal: str, change: str, *, spill: bool = False) -> Path:
    """Write a database as a killed recorder leaves it: in the middle of a change that is in its log."""
    folder.mkdir(parents=True)
    working = data_file(record(folder.parent.parent / "working", "db3", some("cdr")))
    with closing(sqlite3.connect(working, isolation_level=None)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        if spill:
            database.execute("PRAGMA cache_size = 2")  # so that pages go into the file before the change is complete
            database.execute("BEGIN")
        database.execute(change)
        for file in working.parent.glob("working.db3*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder / file.name.replace("working", "left"))
        if spill:
            database.execute("ROLLBACK")
    return folder / "left.db3"


def test_the_log_of_a_database_that_was_not_closed_is_brought_in(tmp_path: Path) -> None:
    insert = "INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, timestamp + 1000, data FROM messages"
    path = left(tmp_path / "home" / "run", "WAL", insert)
    assert [file.name for file in sorted(path.parent.iterdir())] == ["left.db3", "left.db3-wal"]
    words = refused(path, tmp_path / "scratch")
    assert "not closed properly: left.db3-wal" in words
    assert "'source.on_damage: salvage'" in words
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert found == sorted(some("cdr") + [m._replace(stamp=m.stamp + 1000) for m in some("cdr")])
    assert damage.intact == damage.size > path.stat().st_size
    assert "left.db3-wal was brought in" in damage.why
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_log_that_is_cut_is_brought_in_as_far_as_it_was_committed(tmp_path: Path) -> None:
    path = left(tmp_path / "home" / "run", "WAL", "DELETE FROM messages")
    log = path.with_name("left.db3-wal")
    log.write_bytes(log.read_bytes()[:-100])
    assert salvage(path, tmp_path / "scratch")[0] == sorted(some("cdr"))


def test_a_change_that_was_not_completed_is_undone(tmp_path: Path) -> None:
    path = left(tmp_path / "home" / "run", "DELETE", "UPDATE messages SET timestamp = timestamp + 5", spill=True)
    assert path.with_name("left.db3-journal").stat().st_size
    assert "not closed properly: left.db3-journal" in refused(path, tmp_path / "scratch")
    found, (damage,) = salvage(path, tmp_path / "scratch")
    assert found == sorted(some("cdr"))
    assert "left.db3-journal was brought in" in damage.why


def test_a_log_beside_a_file_of_a_folder_without_metadata_is_brought_in(tmp_path: Path) -> None:
    path = left(tmp_path / "home" / "run", "WAL", "DELETE FROM messages WHERE id > 30")
    found, damages = salvage(path.parent, tmp_path / "scratch")
    assert len(found) == 30
    assert [damage.name for damage in damages] == ["run", "left.db3"]


def test_a_database_that_is_cut_stays_refused(tmp_path: Path) -> None:
    path = data_file(record(tmp_path / "bag", "db3", some("cdr")))
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(RecordingError, match="the database is cut off"):
        Source(path, tmp_path, salvage=True)


@pytest.mark.parametrize("form", ["ros1-lz4", *MCAP])
def test_the_same_is_saved_each_time(tmp_path: Path, files: dict[str, Path], form: str) -> None:
    path = tmp_path / files[form].name
    path.write_bytes(files[form].read_bytes()[:-3000])
    prints = []
    for _ in range(2):
        with Source(path, tmp_path / "scratch", salvage=True) as source:
            prints.append((source.fingerprint, everything(source), source.damage))
    assert prints[0] == prints[1]
