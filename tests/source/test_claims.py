"""Files that claim more than they hold, or hold more than they claim → one refusal, in little memory."""

from __future__ import annotations

import bz2
import os
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import lz4.frame
import pytest
import yaml
from mcap.writer import CompressionType, IndexType, Writer

from streamer.errors import RecordingError
from streamer.records import Trust
from streamer.source.source import Source
from tests.bags import (
    FLOAT,
    MCAP_MAGIC,
    START,
    Message,
    data_file,
    encoded,
    little_memory,
    mcap_record,
    numbers,
    read,
    read_all,
    record,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ZEROS = bytes(8 * 2**20)
PACK: dict[str, Callable[[bytes], bytes]] = {"bz2": bz2.compress, "lz4": lz4.frame.compress, "zstd": zstd.compress}
FLOAT_TEXT = "float64 data\n"


def refuse(path: Path, words: str, *, most: int = 1 << 27) -> None:
    """Open a recording and read all of it: it must be refused, in little memory."""
    with (
        little_memory(most),
        pytest.raises(RecordingError, match=words),
        Source(path, path.parent / "scratch") as source,
    ):
        read_all(source)


def ros1_chunk(path: Path, codec: str, packed: bytes, says: int) -> None:
    """Write a bag of one chunk by hand, indexed as if it held one message."""

    def head(**fields: bytes) -> bytes:
        parts = [f"{name}=".encode() + value for name, value in fields.items()]
        body = b"".join(struct.pack("<I", len(part)) + part for part in parts)
        return struct.pack("<I", len(body)) + body

    def data(content: bytes) -> bytes:
        return struct.pack("<I", len(content)) + content

    u32, u64 = struct.Struct("<I").pack, struct.Struct("<Q").pack
    magic = b"#ROSBAG V2.0\n"
    chunk = head(op=b"\5", compression=codec.encode(), size=u32(says)) + data(packed)
    index = head(op=b"\4", ver=u32(1), conn=u32(0), count=u32(1)) + data(struct.pack("<III", 1, 0, 0))
    about = head(topic=b"/a", type=b"std_msgs/Float64", md5sum=b"*", message_definition=FLOAT_TEXT.encode())[4:]
    connection = head(op=b"\7", conn=u32(0), topic=b"/a") + data(about)
    start = len(magic) + 4096
    info = head(
        op=b"\6", ver=u32(1), chunk_pos=u64(start), start_time=bytes(8), end_time=bytes(8), count=u32(1)
    ) + data(struct.pack("<II", 0, 1))
    first = head(op=b"\3", index_pos=u64(start + len(chunk) + len(index)), conn_count=u32(1), chunk_count=u32(1))
    first += data(b" " * (4096 - len(first) - 4))
    path.write_bytes(magic + first + chunk + index + connection + info)


def mcap_chunk_file(path: Path, codec: str, packed: bytes, says: int) -> None:
    """Write an MCAP of one chunk by hand, without summary."""
    about = struct.pack("<QQQI", 0, 0, says, 0)
    chunk = mcap_record(6, about, codec, struct.pack("<Q", len(packed)), packed)
    end = mcap_record(15, b"\0" * 4) + mcap_record(2, b"\0" * 20) + MCAP_MAGIC
    path.write_bytes(MCAP_MAGIC + mcap_record(1, "ros2", "") + chunk + end)


# Chunks


@pytest.mark.parametrize("codec", ["bz2", "lz4"])
@pytest.mark.parametrize("says", [1000, 2 * len(ZEROS)])
def test_a_chunk_of_a_bag_is_decompressed_no_further_than_it_says(tmp_path: Path, codec: str, says: int) -> None:
    path = tmp_path / "bomb.bag"
    ros1_chunk(path, codec, PACK[codec](ZEROS) * 200, says)
    refuse(path, rf"chunk 0 at byte \d+ does not decompress: it has more than {says} bytes")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("says", [1000, 2 * len(ZEROS)])
def test_a_chunk_of_an_mcap_is_decompressed_no_further_than_it_says(tmp_path: Path, codec: str, says: int) -> None:
    path = tmp_path / "bomb.mcap"
    mcap_chunk_file(path, codec, PACK[codec](ZEROS) * 200, says)
    refuse(path, rf"chunk 0 at byte \d+ does not decompress: it has more than {says} bytes")


@pytest.mark.parametrize("form", ["ros1-bz2", "ros1-lz4", "mcap-lz4", "mcap-zstd"])
def test_a_chunk_beyond_the_cap_is_refused_with_the_setting_that_raises_it(tmp_path: Path, form: str) -> None:
    encoding = "ros1" if form.startswith("ros1") else "cdr"
    path = record(tmp_path / "bag", form, numbers("/a", range(START, START + 2000), encoding))
    for cap, fits in ((2**14, False), (2**20, True)):
        with Source(path, tmp_path, trust=Trust(max_chunk=cap)) as source:
            if fits:
                read_all(source)
            else:
                with pytest.raises(RecordingError, match=r"chunk 0 .*more than the 16.*raise 'source\.max_chunk'"):
                    read_all(source)


def test_a_message_beyond_the_cap_is_refused(tmp_path: Path) -> None:
    text = "std_msgs/msg/String"
    for form in ("ros1", "mcap", "db3", "db3-message"):
        encoding = "ros1" if form == "ros1" else "cdr"
        message = Message("/a", START, encoded(encoding, text, data="x" * 200_000), text)
        path = record(tmp_path / form, form, [message])
        trust, words = Trust(max_chunk=100_000), r"message .*raise 'source\.max_chunk'"
        with Source(path, tmp_path, trust=trust) as source, pytest.raises(RecordingError, match=words):
            read_all(source)


def test_a_message_that_was_compressed_is_decompressed_no_further_than_the_cap(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "db3-message", numbers("/a", [START], "cdr"))
    with closing(sqlite3.connect(data_file(path))) as database, database:
        database.execute("UPDATE messages SET data = ?", (zstd.compress(b"\0\1\0\0" + ZEROS * 40),))
    refuse(path, r"a compressed message has .*raise 'source\.max_chunk'", most=600 << 20)


WRITE_LARGE = """
import sys, numpy as np
from mcap.writer import CompressionType, IndexType, Writer
from tests.bags import IMAGE, encoded, store
rng = np.random.default_rng(0)
with open(sys.argv[1], "wb") as file:
    writer = Writer(file, chunk_size=48_000_000, compression=CompressionType.ZSTD)
    writer.start()
    text, _ = store("cdr").generate_msgdef(IMAGE, ros_version=2)
    schema = writer.register_schema(IMAGE, "ros2msg", text.encode())
    channel = writer.register_channel("/a", "cdr", schema)
    for n in range(150):
        noise = rng.integers(0, 255, 1_000_000, dtype=np.uint8)
        writer.add_message(channel, n, encoded("cdr", IMAGE, height=1000, width=1000, data=noise), n)
    writer.finish()
"""
READ_LARGE = """
import sys
from pathlib import Path
from streamer.source.source import Source
def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
before = held()
with Source(Path(sys.argv[1]), Path(sys.argv[1]).parent) as source:
    index = source.index(["/a"])["/a"]
    assert sum(len(source.payload(index, n).all()) for n in range(150)) > 150_000_000
print(held() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory from /proc")
def test_chunks_of_fifty_megabytes_take_less_than_two_hundred(tmp_path: Path) -> None:
    path = str(tmp_path / "large.mcap")
    subprocess.run([sys.executable, "-c", WRITE_LARGE, path], check=True)
    assert os.path.getsize(path) > 130_000_000  # noqa: PTH202 - a text goes to the child
    said = subprocess.run([sys.executable, "-c", READ_LARGE, path], check=True, capture_output=True, text=True)
    assert int(said.stdout) < 150


# Files that are mostly holes


def test_a_sparse_mcap_that_says_it_is_all_summary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mcap"
    with path.open("wb") as file:
        file.write(MCAP_MAGIC + mcap_record(1, "ros2", ""))
        file.seek(6 * 10**9)
        file.write(mcap_record(2, struct.pack("<QQI", 30, 0, 0)) + MCAP_MAGIC)
    refuse(path, "the index is damaged")


def test_a_sparse_mcap_with_one_message_of_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mcap"
    described = mcap_record(3, b"\1\0", FLOAT, "ros2msg", FLOAT_TEXT)
    described += mcap_record(4, struct.pack("<HH", 1, 1), "/a", "cdr", b"\0" * 4)
    size = 5 * 10**9
    with path.open("wb") as file:
        file.write(MCAP_MAGIC + mcap_record(1, "ros2", "") + described)
        file.write(struct.pack("<BQHIQQ", 5, size + 22, 1, 0, START, START))
        file.seek(size, 1)
        file.write(mcap_record(15, b"\0" * 4) + mcap_record(2, b"\0" * 20) + MCAP_MAGIC)
    refuse(path, r"a message has .*'source\.max_chunk'|the data before")


def test_a_sparse_bag_whose_index_begins_at_its_start_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", numbers("/a", range(START, START + 9)))
    content = bytearray(path.read_bytes())
    at = content.index(b"index_pos=") + len("index_pos=")
    struct.pack_into("<Q", content, at, len(content))
    path.write_bytes(content)
    os.truncate(path, 6 * 10**9)
    refuse(path, "the index is damaged")


def test_an_index_of_more_messages_than_a_chunk_can_hold_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", numbers("/a", range(START, START + 9)))
    content = bytearray(path.read_bytes())
    at = len(content) - 4  # the last record ends with how many messages the connection has in the chunk
    assert struct.unpack_from("<I", content, at) == (9,)
    struct.pack_into("<I", content, at, 10**6)
    path.write_bytes(content)
    os.truncate(path, 2 * 10**9)
    refuse(path, "the index is damaged")


# Databases


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return data_file(record(tmp_path / "bag", "db3", numbers("/a", range(START, START + 50), "cdr")))


VIEWS = (
    """CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
    SELECT id, 1 AS topic_id, id AS timestamp, x'00' AS data FROM n""",
    "CREATE VIEW messages AS SELECT * FROM kept",
    """CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,
    data BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL)""",
    "CREATE VIRTUAL TABLE messages USING fts5(id, topic_id, timestamp, data)",
)


@pytest.mark.parametrize("instead", VIEWS)
def test_a_database_whose_messages_are_no_plain_table_is_refused(database: Path, instead: str) -> None:
    with closing(sqlite3.connect(database)) as changed, changed:
        changed.execute("ALTER TABLE messages RENAME TO kept")
        changed.execute(instead)
    refuse(database, "not a rosbag2 recording: 'messages' is no plain table")


@pytest.mark.parametrize("instead", ["1.5", "'soon'", "x'00'", "NULL", "9.3e18"])
def test_a_stamp_that_is_no_whole_number_is_refused(tmp_path: Path, instead: str) -> None:
    path = tmp_path / "odd.db3"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format)")
        made.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)")
        made.execute("INSERT INTO topics VALUES (1, '/a', 'std_msgs/msg/Float64', 'cdr')")
        made.execute(f"INSERT INTO messages VALUES (1, 1, {instead}, x'00'), (2, 1, 5, x'00')")  # noqa: S608 - ours
    refuse(path, "the database cannot be read")


# metadata.yaml


def folder_with(tmp_path: Path, change: Callable[[dict[str, object]], object]) -> Path:
    path = record(tmp_path / "bag", "mcap", numbers("/a", [START], "cdr"))
    about = yaml.safe_load((path / "metadata.yaml").read_text())
    text = change(about["rosbag2_bagfile_information"])
    (path / "metadata.yaml").write_text(text if isinstance(text, str) else yaml.safe_dump(about))
    return path


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS + "rosbag2_bagfile_information: {relative_file_paths: *a39}\n", "an alias"),
        ("rosbag2_bagfile_information: " + "[" * 30_000, "more than 32 levels|not the metadata"),
        ("rosbag2_bagfile_information: &a {relative_file_paths: [*a]}", "an alias"),
        (f"rosbag2_bagfile_information: {{version: 0x{'f' * 100_000}}}", "lists no file"),
        ("", r"metadata\.yaml is empty"),
        ("\n\0\0\n", r"metadata\.yaml is empty"),
        ("[1, 2]", "not the metadata"),
    ],
)
def test_metadata_that_no_recorder_writes_is_refused(tmp_path: Path, text: str, words: str) -> None:
    refuse(folder_with(tmp_path, lambda _: text), words)


def test_a_file_that_is_listed_many_times_is_refused(tmp_path: Path) -> None:
    def repeat(about: dict[str, object]) -> None:
        about["relative_file_paths"] = ["bag.mcap"] * 20_000

    refuse(folder_with(tmp_path, repeat), "lists a file twice")


def test_a_pointer_of_git_lfs_is_told_by_its_text(tmp_path: Path) -> None:
    for name in ("drive.bag", "drive.mcap", "drive.db3"):
        path = tmp_path / name
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        refuse(path, r"a pointer of Git LFS, not the recording itself; 'git lfs pull'")


@pytest.mark.parametrize("form", ["mcap-message", "db3-message"])
def test_messages_that_are_compressed_are_known_by_their_bytes(tmp_path: Path, form: str) -> None:
    messages = numbers("/a", range(START, START + 20), "cdr")
    path = data_file(record(tmp_path / "bag", form, messages))
    assert read(path, tmp_path) == sorted(messages)
    with Source(path, tmp_path) as source:
        source.index(["/a"])
        assert source.compression == "zstd messages"


# What the summary of an MCAP leaves out


@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.ZSTD])
@pytest.mark.parametrize(
    "without",
    [
        {"repeat_channels": False},
        {"repeat_schemas": False},
        {"repeat_channels": False, "repeat_schemas": False},
        {"use_statistics": False},
        {"index_types": IndexType.MESSAGE},
        {"index_types": IndexType.NONE},
        {"use_summary_offsets": False},
        {"use_statistics": False, "index_types": IndexType.MESSAGE, "repeat_channels": False, "repeat_schemas": False},
        {"use_chunking": False},
        {"use_chunking": False, "use_statistics": False, "repeat_channels": False},
    ],
    ids="-".join,
)
def test_a_summary_may_leave_out_anything(
    tmp_path: Path, without: dict[str, Any], compression: CompressionType
) -> None:
    messages = numbers("/a", range(START, START + 60), "cdr") + numbers("/b", range(START, START + 30), "cdr")
    path = tmp_path / "sparing.mcap"
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=500, compression=compression, **without)
        writer.start("ros2", "test")
        schema = writer.register_schema(FLOAT, "ros2msg", FLOAT_TEXT.encode())
        channels = {topic: writer.register_channel(topic, "cdr", schema) for topic in ("/a", "/b")}
        for message in sorted(messages, key=lambda m: m.stamp):
            writer.add_message(channels[message.topic], message.stamp, message.data, message.stamp)
        writer.finish()  # type: ignore[no-untyped-call]
    assert read(path, tmp_path) == sorted(messages)


def test_chunks_of_which_only_some_have_an_index_are_read_through(tmp_path: Path) -> None:
    messages = numbers("/a", range(START, START + 40), "cdr")
    path = data_file(record(tmp_path / "bag", "mcap", messages, chunk=300))
    content = bytearray(path.read_bytes())
    position, found = len(MCAP_MAGIC), []
    while position < len(content) - len(MCAP_MAGIC):
        op, length = struct.unpack_from("<BQ", content, position)
        found.append((op, position))
        position += 9 + length
    indexes = [at for op, at in found if op == 8]
    assert len(indexes) > 3
    first = indexes[1] + 9 + 32  # length of the map of message indexes: the second chunk has none
    (length,) = struct.unpack_from("<I", content, first)
    content[first + 4 : first + 4 + length] = b""
    struct.pack_into("<I", content, first, 0)
    (size,) = struct.unpack_from("<Q", content, indexes[1] + 1)
    struct.pack_into("<Q", content, indexes[1] + 1, size - length)
    struct.pack_into("<I", content, len(content) - len(MCAP_MAGIC) - 4, 0)  # the summary's checksum: none
    path.write_bytes(content)
    assert read(path, tmp_path) == sorted(messages)
