"""MCAP files and bags with a wrong bit anywhere → the right messages, or a refusal; and not more than that is read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer

from streamer.errors import RecordingError
from streamer.records import Trust
from streamer.source.file import RecordingFile
from streamer.source.source import Source
from streamer.source.types import Types
from tests.bags import FLOAT, IMAGE, START, Message, encoded, everything, joints, numbers, read, record, store

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = sorted(numbers("/a", range(START, START + 12), "cdr") + numbers("/b", range(START, START + 6), "cdr"))
TEXT = "float64 data\n"


def write(
    path: Path, messages: list[Message], compression: CompressionType, *, chunk: int = 200, data: bool = True
) -> Path:
    """Write with the writer of the format's authors, all checksums set; that of the data where it is asked for."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk, compression=compression, enable_crcs=True, enable_data_crcs=data)
        writer.start("ros2", "test")
        channels = {}
        for message in messages:
            if message.topic not in channels:
                text = store("cdr").generate_msgdef(message.kind, ros_version=2)[0]
                schema = writer.register_schema(message.kind, "ros2msg", text.encode())
                channels[message.topic] = writer.register_channel(message.topic, "cdr", schema)
            writer.add_message(channels[message.topic], message.stamp, message.data, message.stamp)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("compression", [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD])
def test_no_wrong_bit_anywhere_in_a_file_with_checksums_goes_unnoticed(
    tmp_path: Path, compression: CompressionType, part: int
) -> None:
    path = write(tmp_path / "whole.mcap", MESSAGES, compression)
    content = path.read_bytes()
    assert read(path, tmp_path) == MESSAGES
    changed, refused = tmp_path / "changed.mcap", 0
    for at in range(part, len(content), 4):
        other = bytearray(content)
        other[at] ^= 1 << (at % 8)
        changed.write_bytes(other)
        try:
            assert read(changed, tmp_path) == MESSAGES, f"byte {at}"
        except RecordingError:
            refused += 1
    assert refused > len(content) // 8


def pictures(count: int) -> list[Message]:
    rng = np.random.default_rng(3)
    pixels = [rng.integers(0, 255, 300 * 400, dtype=np.uint8) for _ in range(count)]
    raw = [encoded("cdr", IMAGE, height=300, width=400, step=400, encoding="mono8", data=data) for data in pixels]
    return [Message("/image", START + n, data, IMAGE) for n, data in enumerate(raw)]


@pytest.mark.parametrize("chunk", [1, 10**6], ids=["a-picture-a-chunk", "all-in-one"])
def test_a_wrong_pixel_of_a_raw_picture_is_found_before_it_is_given_out(tmp_path: Path, chunk: int) -> None:
    messages = pictures(4)
    path = write(tmp_path / "raw.mcap", messages, CompressionType.NONE, chunk=chunk, data=False)
    content = bytearray(path.read_bytes())
    at = content.index(messages[2].data[5000:5100]) + 50
    content[at] ^= 4
    path.write_bytes(content)
    for start in (0, 400):
        with Source(path, tmp_path) as source:
            index = source.index(["/image"])["/image"]
            out = memoryview(bytearray(300 * 400))
            with pytest.raises(RecordingError, match=r"chunk \d at byte \d+ is damaged: its checksum differs"):
                source.payload(index, 2).into(start, out[start:])
            with pytest.raises(RecordingError, match="its checksum differs"):
                source.payload(index, 2).all()
    with Source(path, tmp_path, trust=Trust(verify=False)) as source:
        index = source.index(["/image"])["/image"]
        assert bytes(source.payload(index, 2).all()) != messages[2].data
        assert bytes(source.payload(index, 1).all()) == messages[1].data


def test_a_wrong_small_message_in_the_chunk_of_a_picture_is_found(tmp_path: Path) -> None:
    messages = sorted([*numbers("/a", range(START - 9, START), "cdr"), *pictures(1)], key=lambda m: m.stamp)
    path = write(tmp_path / "mixed.mcap", messages, CompressionType.NONE, chunk=10**6, data=False)
    content = bytearray(path.read_bytes())
    content[content.index(messages[3].data) + 8] ^= 1
    path.write_bytes(content)
    for topic in ("/image", "/a"):
        with Source(path, tmp_path) as source, pytest.raises(RecordingError, match="its checksum differs"):
            source.payload(source.index([topic])[topic], 0).all()


def test_each_chunk_is_held_against_its_checksum_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "many.mcap", MESSAGES, CompressionType.NONE, data=False)
    checked: list[tuple[int, int]] = []
    checksum = RecordingFile.checksum

    def counted(self: RecordingFile, start: int, end: int, found: int = 0) -> int:
        checked.append((start, end))
        return checksum(self, start, end, found)

    monkeypatch.setattr(RecordingFile, "checksum", counted)
    assert read(path, tmp_path) == MESSAGES
    assert len(checked) == len(set(checked)) > 3


def test_a_damaged_chunk_is_left_out_when_a_file_is_salvaged(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.mcap", MESSAGES, CompressionType.NONE, data=False)
    content = bytearray(path.read_bytes())
    content[content.index(MESSAGES[5].data) + 8] ^= 1
    path.write_bytes(content)
    with Source(path, tmp_path, salvage=True) as source:
        assert [damage.chunks for damage in source.damage] == [1]
        found = everything(source)
    assert 0 < len(found) < len(MESSAGES)
    assert set(found) < set(MESSAGES)


# The checksum of a ROS 1 definition


def test_a_definition_of_another_checksum_is_refused_or_replaced_by_the_standard(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", joints("/a", [START]))
    content = path.read_bytes()
    assert content.count(b"float64[] position") == 2  # in the chunk and in the index
    path.write_bytes(content.replace(b"float64[] position", b"float64[] posizion"))
    with Source(path, tmp_path) as source:
        fields = Types([], "", tmp_path).fields(source.topics["/a"])  # a standard type, known by its checksum
        assert [name for name, _ in fields["sensor_msgs/msg/JointState"][1]][2] == "position"
    path.write_bytes(path.read_bytes().replace(b"sensor_msgs/JointState", b"sensor_msgs/JointXtate"))
    with Source(path, tmp_path) as source:
        topic = source.topics["/a"]
        with pytest.raises(RecordingError, match=r"no definition of sensor_msgs/msg/JointXtate has the checksum"):
            Types([], "", tmp_path).fields(topic)
        trusting = Types([], "", tmp_path, verify=False).fields(topic)
        assert [name for name, _ in trusting[topic.msgtype][1]][2] == "posizion"


def test_the_checksums_of_all_standard_types_are_those_of_rosbags() -> None:
    from streamer.source.definition import checksum, parse

    types = store("ros1")
    for msgtype in sorted(types.fielddefs):
        text, wanted = types.generate_msgdef(msgtype, ros_version=1)
        assert checksum(parse(text, "msg", msgtype), lambda _: "") == wanted, msgtype


def test_the_definitions_of_real_bags_have_the_checksums_that_they_say(recordings: Path, tmp_path: Path) -> None:
    for name in ("example.bag", "kuka.bag", "so101_wrist.bag", "ros_numpy.bag"):
        with Source(recordings / name, tmp_path) as source:
            types = Types.of(source, [], tmp_path)
            assert all(topic.msgtype in types.fields(topic) for topic in source.topics.values() if topic.count)
            assert types.warnings == {}


def test_a_file_of_messages_outside_chunks_is_held_against_the_checksum_of_its_data(tmp_path: Path) -> None:
    path = tmp_path / "loose.mcap"
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=False, enable_data_crcs=True)
        writer.start("ros2", "test")
        channel = writer.register_channel("/a", "cdr", writer.register_schema(FLOAT, "ros2msg", TEXT.encode()))
        for message in MESSAGES:
            writer.add_message(channel, message.stamp, message.data, message.stamp)
        writer.finish()  # type: ignore[no-untyped-call]
    assert len(read(path, tmp_path)) == len(MESSAGES)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<d", 7.0))] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"the data before byte \d+ is damaged: its checksum differs"):
        read(path, tmp_path)
