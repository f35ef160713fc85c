"""A file that looks as still as a finished one: its format tells whether its writer has finished it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from streamer.ingest.proof import identity, unfinished
from streamer.ingest.scan import files_of
from tests.bags import MCAP, ROS1, SECOND, START, Message, encoded, record

FORMATS = ["ros1", "ros1-lz4", "mcap", "mcap-zstd", "db3"]


def recording(path: Path, kind: str) -> Path:
    encoding = "ros1" if kind in ROS1 else "cdr"
    name = "std_msgs/msg/Float64"
    messages = [Message("/x", START + n * SECOND, encoded(encoding, name, data=float(n))) for n in range(300)]
    return record(path, kind, messages)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_finished_recording_is_proven(tmp_path: Path, kind: str) -> None:
    path = recording(tmp_path / "a", kind)
    assert unfinished(path) is None
    for file in files_of(path):
        if file.suffix != ".yaml":
            assert unfinished(file) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_a_recording_that_breaks_off_anywhere_is_not_finished(tmp_path: Path, kind: str) -> None:
    whole = recording(tmp_path / "a", kind)
    (file,) = [path for path in files_of(whole) if path.suffix != ".yaml"]
    content = file.read_bytes()
    for size in {0, 1, 5, 13, 20, 99, 100, 4096, *range(1, len(content), len(content) // 40), len(content) - 1}:
        for rest in (b"", bytes(len(content) - size)):  # a copy that breaks off, and one into a file of the full size
            file.write_bytes(content[:size] + rest)
            if file.read_bytes() == content:
                continue
            if kind == "db3" and rest:
                continue  # SQLite has nothing at its end: that such a file is wrong only its reading shows
            assert unfinished(whole), (size, len(rest))


@pytest.mark.parametrize("kind", [*MCAP, "db3"])
def test_a_folder_is_finished_when_its_metadata_and_all_that_it_lists_are_there(tmp_path: Path, kind: str) -> None:
    path = recording(tmp_path / "a", kind)
    (file,) = [path for path in files_of(path) if path.suffix != ".yaml"]
    away = tmp_path / "away"
    file.rename(away)
    assert file.name in str(unfinished(path))
    away.rename(file)
    metadata = path / "metadata.yaml"
    text = metadata.read_text()
    metadata.unlink()
    assert "metadata.yaml" in str(unfinished(path))
    metadata.write_text(text[: len(text) // 3])
    assert "metadata.yaml" in str(unfinished(path))


def test_a_database_with_a_journal_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "a.db3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x)")
        db.commit()
        assert "a.db3-wal" in str(unfinished(path))
    db.close()
    assert unfinished(path) is None


def test_what_is_no_recording_is_never_finished(tmp_path: Path) -> None:
    path = tmp_path / "picture.bag"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    assert "does not begin as a bag" in str(unfinished(path))


def test_identity_is_content_and_neither_name_nor_time(tmp_path: Path, small_bag: Path) -> None:
    other = tmp_path / "other.bag"
    shutil.copyfile(small_bag, other)
    assert identity([other]) == identity([small_bag])
    content = bytearray(other.read_bytes())
    for at in (100, len(content) - 100):
        content[at] ^= 1
        other.write_bytes(content)
        assert identity([other]) != identity([small_bag])
        content[at] ^= 1
    other.write_bytes(content + b"x")
    assert identity([other]) != identity([small_bag])
