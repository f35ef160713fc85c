"""MCAP files, whole, bare and damaged → the messages that rosbags reads, or an error that helps."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.errors import RecordingError
from streamer.source.mcap import McapSource
from streamer.source.source import Source
from tests.bags import (
    FLOAT,
    MCAP,
    MCAP_MAGIC,
    START,
    data_file,
    encoded,
    joints,
    little_memory,
    mcap_by_hand,
    mcap_record,
    numbers,
    read,
    read_all,
    record,
    reference,
)

if TYPE_CHECKING:
    from pathlib import Path

SCRAMBLED = [START + (n * 7919) % 200 for n in range(200)]
_FOOTER = 28  # bytes from the footer's summary_start to the end of the file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    messages = numbers("/a", SCRAMBLED[:40], "cdr") + joints("/b", range(START, START + 8), "cdr")
    folder = tmp_path_factory.mktemp("small")
    return {form: data_file(record(folder / form, form, messages, chunk=900)) for form in MCAP}


@pytest.fixture(scope="module")
def small(files: dict[str, Path]) -> Path:
    return files["mcap-zstd"]


@pytest.mark.parametrize("form", MCAP)
def test_overlapping_chunks_and_scrambled_messages_are_all_found(tmp_path: Path, form: str) -> None:
    messages = numbers("/a", SCRAMBLED, "cdr") + joints("/b", SCRAMBLED[:50], "cdr")
    path = data_file(record(tmp_path / "bag", form, messages, chunk=800))
    assert read(path, tmp_path) == reference(path) == sorted(messages)
    with Source(path, tmp_path) as source:
        assert source.compression == form.removeprefix("mcap").removeprefix("-") or "none"


@pytest.mark.parametrize("summary", [True, False])
def test_a_real_file_is_read_with_its_summary_and_without(recordings: Path, tmp_path: Path, *, summary: bool) -> None:
    content = bytearray((recordings / "nav2_turtlebot.mcap").read_bytes())
    if not summary:
        content[-_FOOTER : -_FOOTER + 16] = b"\0" * 16
    path = tmp_path / "real.mcap"
    path.write_bytes(content)
    assert read(path, tmp_path) == reference(recordings / "nav2_turtlebot.mcap")


@pytest.mark.parametrize("form", MCAP)
def test_a_file_without_summary_is_walked(tmp_path: Path, form: str) -> None:
    messages = numbers("/a", SCRAMBLED, "cdr") + joints("/b", SCRAMBLED[:50], "cdr")
    path = data_file(record(tmp_path / "bag", form, messages, chunk=800))
    content = bytearray(path.read_bytes())
    assert struct.unpack_from("<Q", content, len(content) - _FOOTER) > (0,)
    content[-_FOOTER : -_FOOTER + 16] = b"\0" * 16
    path.write_bytes(content)
    assert read(path, tmp_path) == sorted(messages)


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("summary", [False, True])
def test_a_file_without_message_index_is_walked(tmp_path: Path, chunk: int | None, *, summary: bool) -> None:
    messages = numbers("/a", SCRAMBLED[:40], "cdr") + joints("/b", SCRAMBLED[:9], "cdr")
    path = mcap_by_hand(tmp_path / "bare.mcap", messages, chunk, summary=summary)
    assert read(path, tmp_path) == sorted(messages)


def test_a_file_without_messages_has_topics_without_messages(tmp_path: Path) -> None:
    assert read(mcap_by_hand(tmp_path / "empty.mcap", []), tmp_path) == []
    assert read(data_file(record(tmp_path / "bag", "mcap", [])), tmp_path) == []


def test_two_channels_on_one_topic_are_one_topic(tmp_path: Path) -> None:
    path = tmp_path / "two.mcap"
    pieces = [MCAP_MAGIC, mcap_record(1, "ros2", ""), mcap_record(3, b"\1\0", FLOAT, "ros2msg", "float64 data\n")]
    for channel in (1, 2):
        pieces.append(mcap_record(4, struct.pack("<HH", channel, 1), "/a", "cdr", b"\0" * 4))
        head = struct.pack("<HIQQ", channel, 0, START + channel, 0)
        pieces.append(mcap_record(5, head, encoded("cdr", FLOAT, data=float(channel))))
    path.write_bytes(b"".join([*pieces, mcap_record(15, b"\0" * 4), mcap_record(2, b"\0" * 20), MCAP_MAGIC]))
    assert [(m.topic, m.stamp, m.kind) for m in read(path, tmp_path)] == [
        ("/a", START + 1, FLOAT),
        ("/a", START + 2, FLOAT),
    ]


def test_short_type_names_and_ros1_messages_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "ros1.mcap"
    data = encoded("ros1", FLOAT, data=1.5)
    pieces = [
        MCAP_MAGIC,
        mcap_record(1, "ros1", ""),
        mcap_record(3, b"\1\0", "std_msgs/Float64", "ros1msg", "float64 data\n"),
        mcap_record(4, struct.pack("<HH", 1, 1), "/a", "ros1", b"\0" * 4),
        mcap_record(5, struct.pack("<HIQQ", 1, 0, START, START), data),
        mcap_record(15, b"\0" * 4) + mcap_record(2, b"\0" * 20) + MCAP_MAGIC,
    ]
    path.write_bytes(b"".join(pieces))
    with Source(path, tmp_path) as source:
        assert source.topics["/a"].encoding == "ros1"
        assert source.topics["/a"].msgtype == FLOAT
        assert source.topics["/a"].definition_format == "msg"
    assert [m.data for m in read(path, tmp_path)] == [data]


@pytest.mark.parametrize("form", ["mcap-zstd", "mcap-lz4"])
def test_each_block_is_decompressed_once_in_file_order(tmp_path: Path, form: str) -> None:
    path = data_file(record(tmp_path / "bag", form, numbers("/a", SCRAMBLED, "cdr"), chunk=1500))
    source = McapSource(path)
    index = source.index(["/a"])["/a"]
    assert source.blocks > 5
    assert source.blocks_loaded == 0
    for block, offset in sorted(zip(index.block.tolist(), index.offset.tolist(), strict=True)):
        source.payload(block, offset).all()
    assert source.blocks_loaded == source.blocks - 1  # block 0 is the file itself
    source.close()


def test_messages_of_an_uncompressed_file_are_read_without_loading_a_block(tmp_path: Path) -> None:
    path = data_file(record(tmp_path / "bag", "mcap", numbers("/a", SCRAMBLED, "cdr"), chunk=1500))
    with Source(path, tmp_path) as source:
        assert len(list(source.index(["/a"])["/a"].stamps)) == 200
        assert bytes(source.payload(source.index(["/a"])["/a"], 0).all())
        assert source.blocks_loaded == 0


def _first_chunk(content: bytearray) -> int:
    position = len(MCAP_MAGIC)
    while content[position] != 6:
        position += 9 + struct.unpack_from("<Q", content, position + 1)[0]
    return position


def _refused_when_read(path: Path, words: str) -> None:
    with Source(path, path.parent) as source, pytest.raises(RecordingError, match=words):
        read_all(source)


@pytest.mark.parametrize("form", ["mcap-zstd", "mcap-lz4"])
def test_a_wrong_checksum_is_named(tmp_path: Path, form: str) -> None:
    path = data_file(record(tmp_path / "bag", form, numbers("/a", SCRAMBLED, "cdr")))
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, _first_chunk(content) + 9 + 24, 12345)
    path.write_bytes(content)
    _refused_when_read(path, r"bag\.mcap: chunk 0 at byte \d+ is damaged: its checksum differs")


@pytest.mark.parametrize("form", ["mcap-zstd", "mcap-lz4"])
def test_a_damaged_chunk_is_named(tmp_path: Path, form: str) -> None:
    path = data_file(record(tmp_path / "bag", form, numbers("/a", SCRAMBLED, "cdr")))
    content = bytearray(path.read_bytes())
    data = _first_chunk(content) + 9 + 28 + 8 + 8
    content[data : data + 8] = b"\0" * 8
    path.write_bytes(content)
    _refused_when_read(path, r"bag\.mcap: chunk 0 at byte \d+ does not decompress")


def test_an_unknown_compression_is_refused(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "odd.mcap"
    path.write_bytes(small.read_bytes().replace(b"\4\0\0\0zstd", b"\4\0\0\0zip9"))
    with pytest.raises(RecordingError, match=r"odd\.mcap: chunk compression 'zip9' is not one of none, lz4, zstd"):
        read(path, tmp_path)


@settings(deadline=None, max_examples=80)
@given(cut=st.integers(0, 1 << 20))
@example(cut=0)
@example(cut=8)
@example(cut=-1)
@example(cut=-8)
def test_a_file_cut_anywhere_is_refused_at_once(
    tmp_path_factory: pytest.TempPathFactory, small: Path, cut: int
) -> None:
    content = small.read_bytes()
    path = tmp_path_factory.getbasetemp() / "cut.mcap"
    path.write_bytes(content[: cut % len(content)])
    with pytest.raises(RecordingError, match=r"cut\.mcap: "):
        Source(path, path.parent)


def test_a_file_that_was_not_closed_is_refused_with_the_way_out(tmp_path: Path, small: Path) -> None:
    path = tmp_path / "open.mcap"
    path.write_bytes(small.read_bytes()[:-100])
    with pytest.raises(RecordingError, match=r"open\.mcap: .*not closed properly.*'mcap recover'"):
        Source(path, tmp_path)


@pytest.mark.parametrize("form", ["mcap", "mcap-zstd"])
@pytest.mark.parametrize("summary", [True, False])
@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 1 << 20), value=st.binary(min_size=1, max_size=8))
@example(at=-12, value=b"\xff" * 8)  # where the summary begins
def test_a_file_with_wrong_bytes_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path], form: str, at: int, value: bytes, *, summary: bool
) -> None:
    content = bytearray(files[form].read_bytes())
    start = 8 + at % (len(content) - 16 - len(value))
    if not summary:
        content[-_FOOTER : -_FOOTER + 16] = b"\0" * 16
    content[start : start + len(value)] = value
    path = tmp_path_factory.getbasetemp() / "wrong.mcap"
    path.write_bytes(content)
    with little_memory(), suppress(RecordingError), Source(path, path.parent) as source:
        read_all(source)
