"""ROS 1 bags, whole and damaged → the messages that rosbags reads, or an error that helps."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rosbags import rosbag1

from streamer.errors import RecordingError
from streamer.source.ros1 import Ros1Source
from streamer.source.source import Source
from tests.bags import (
    FLOAT,
    ROS1,
    START,
    encoded,
    everything,
    joints,
    little_memory,
    numbers,
    read,
    read_all,
    record,
    reference,
    store,
)

if TYPE_CHECKING:
    from pathlib import Path

REAL = ("example.bag", "example-lz4.bag", "example-bz2.bag", "kuka.bag", "ros_numpy.bag", "so101_wrist.bag")
SCRAMBLED = [START + (n * 7919) % 200 for n in range(200)]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    messages = numbers("/a", range(START, START + 20)) + joints("/b", range(START, START + 8))
    return record(tmp_path_factory.mktemp("small") / "small", "ros1", messages, chunk=700)


@pytest.mark.parametrize("name", REAL)
def test_every_message_of_a_real_bag_is_what_rosbags_reads(recordings: Path, tmp_path: Path, name: str) -> None:
    assert read(recordings / name, tmp_path) == reference(recordings / name)


@pytest.mark.parametrize("form", ROS1)
def test_messages_out_of_order_in_many_chunks_are_all_found(tmp_path: Path, form: str) -> None:
    messages = numbers("/a", SCRAMBLED) + joints("/b", SCRAMBLED[:50])
    path = record(tmp_path / "bag", form, messages, chunk=600)
    assert read(path, tmp_path) == reference(path) == sorted(messages)


def test_equal_stamps_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", numbers("/a", [START] * 30), chunk=200)
    with Source(path, tmp_path) as source:
        index = source.index(["/a"])["/a"]
        found = [bytes(source.payload(index, n).all()) for n in range(30)]
    assert found == [encoded("ros1", FLOAT, data=float(n)) for n in range(30)]


def test_several_connections_on_one_topic_are_one_topic(tmp_path: Path) -> None:
    path = tmp_path / "two.bag"
    with rosbag1.Writer(path) as bag:
        two = [bag.add_connection("/a", FLOAT, typestore=store("ros1"), callerid=f"/node{n}") for n in range(2)]
        for n in range(10):
            bag.write(two[n % 2], START + n // 2, encoded("ros1", FLOAT, data=float(n)))
    assert read(path, tmp_path) == reference(path)
    with Source(path, tmp_path) as source:
        assert source.topics["/a"].count == 10
        assert source.topics["/a"].msgtype == FLOAT


def test_two_types_on_one_topic_are_both_named(tmp_path: Path) -> None:
    path = tmp_path / "two.bag"
    with rosbag1.Writer(path) as bag:
        bag.add_connection("/a", FLOAT, typestore=store("ros1"))
        bag.add_connection("/a", "std_msgs/msg/Float32", typestore=store("ros1"))
    with Source(path, tmp_path) as source:
        assert source.topics["/a"].msgtype == "std_msgs/msg/Float64 and std_msgs/msg/Float32"


def test_a_connection_record_in_front_of_a_message_is_stepped_over(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", numbers("/a", [START]))
    content = bytearray(path.read_bytes())
    entry = content.index(b"\n\0\0\0count=\1\0\0\0") + 14 + 4  # of the index record: field, length of the data
    assert struct.unpack_from("<II", content, entry) == divmod(START, 10**9)
    assert struct.unpack_from("<I", content, entry + 8) > (0,)
    struct.pack_into("<I", content, entry + 8, 0)
    path.write_bytes(content)
    assert [m.data for m in read(path, tmp_path)] == [encoded("ros1", FLOAT, data=0.0)]


@pytest.mark.parametrize("form", ["ros1-lz4", "ros1-bz2"])
def test_each_block_is_decompressed_once_in_file_order(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, numbers("/a", SCRAMBLED), chunk=1000)
    source = Ros1Source(path)
    index = source.index(["/a"])["/a"]
    assert source.blocks > 5
    assert source.blocks_loaded == 0
    for block, offset in sorted(zip(index.block.tolist(), index.offset.tolist(), strict=True)):
        source.payload(block, offset).all()
    assert source.blocks_loaded == source.blocks
    source.close()


def test_the_compressions_are_told(tmp_path: Path) -> None:
    for form, words in (("ros1", "none"), ("ros1-lz4", "lz4"), ("ros1-bz2", "bz2")):
        with Source(record(tmp_path / form, form, numbers("/a", [START])), tmp_path) as source:
            assert source.compression == words


def test_an_empty_bag_has_no_topics(tmp_path: Path) -> None:
    assert read(record(tmp_path / "bag", "ros1", []), tmp_path) == []


def test_a_bag_without_index_is_refused_with_the_way_out(tmp_path: Path, small: Path) -> None:
    content = bytearray(small.read_bytes())
    at = content.index(b"index_pos=") + 10
    content[at : at + 8] = b"\0" * 8
    path = tmp_path / "open.bag"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"open\.bag: .*not closed properly; 'rosbag reindex'"):
        read(path, tmp_path)


def test_an_older_bag_format_is_refused(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "old.bag"
    path.write_bytes(small.read_bytes().replace(b"#ROSBAG V2.0", b"#ROSBAG V1.2"))
    with pytest.raises(RecordingError, match=r"old\.bag: .*#ROSBAG V1\.2"):
        read(path, tmp_path)


def test_an_unknown_compression_is_refused(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "odd.bag"
    path.write_bytes(small.read_bytes().replace(b"compression=none", b"compression=zip9"))
    with pytest.raises(RecordingError, match=r"odd\.bag: chunk compression 'zip9' is not one of none, lz4, bz2"):
        read(path, tmp_path)


@pytest.mark.parametrize("form", ["ros1-lz4", "ros1-bz2"])
def test_a_damaged_chunk_is_named(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, numbers("/a", SCRAMBLED))
    content = bytearray(path.read_bytes())
    start = content.index(b"size=") + 9 + 4
    content[start : start + 8] = b"\0" * 8
    path.write_bytes(content)
    with Source(path, tmp_path) as source:
        index = source.index(["/a"])["/a"]
        with pytest.raises(RecordingError, match=r"bag\.bag: chunk 0 at byte \d+ does not decompress"):
            source.payload(index, 0)


def test_a_bag_that_is_cut_while_it_is_read_is_refused(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "cut.bag"
    path.write_bytes(small.read_bytes())
    with Source(path, tmp_path) as source:
        index = source.index(["/b"])["/b"]
        os.truncate(path, 4200)
        with pytest.raises(RecordingError, match="cut off"):
            source.payload(index, 0).all()


@settings(deadline=None, max_examples=80)
@given(cut=st.integers(0, 1 << 20))
@example(cut=0)
@example(cut=13)
@example(cut=4096)
def test_a_bag_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, small: Path, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.bag"
    content = small.read_bytes()
    path.write_bytes(content[: cut % len(content)])
    with pytest.raises(RecordingError, match=r"cut\.bag: "):
        read(path, path.parent)


def test_a_bag_that_lacks_its_last_bytes_is_refused(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "cut.bag"
    content = small.read_bytes()
    for missing in range(1, 120):
        path.write_bytes(content[:-missing])
        with pytest.raises(RecordingError):
            read(path, tmp_path)


@settings(deadline=None, max_examples=150)
@given(at=st.integers(0, 1 << 20), value=st.binary(min_size=1, max_size=8))
def test_a_bag_with_wrong_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, small: Path, at: int, value: bytes
) -> None:
    content = bytearray(small.read_bytes())
    start = 13 + at % (len(content) - 13 - len(value))
    if 100 < start < 4000:  # the padding of the bag's header
        start = 4100 + start % (len(content) - 4200)
    content[start : start + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "wrong.bag"
    path.write_bytes(content)
    with little_memory(), suppress(RecordingError), Source(path, path.parent) as source:
        read_all(source)


def test_a_closed_source_may_be_closed_again(tmp_path: Path) -> None:
    source = Ros1Source(record(tmp_path / "bag", "ros1", numbers("/a", [START])))
    source.close()
    source.close()


def test_a_bag_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", numbers("/a", [START, START + 1]))
    with Source(path.rename(tmp_path / "data.bin"), tmp_path) as source:
        assert source.kind == "ros1"
        assert len(everything(source)) == 2
