"""Recordings of every kind, one file or many, compressed or not → the same messages, nothing written."""

from __future__ import annotations

import bz2
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING

import lz4.frame
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import RecordingError
from streamer.source.blocks import CORRUPT, BlockCache, decompress
from streamer.source.find import find_recordings, recording_name
from streamer.source.source import Source
from tests.bags import (
    COMPRESSED,
    MCAP,
    ROS1,
    ROS2,
    START,
    Message,
    data_file,
    encoded,
    encoding_of,
    everything,
    header,
    joints,
    numbers,
    read,
    record,
    record_split,
    reference,
    snapshot,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

SCRAMBLED = [START + (n * 7919) % 100 for n in range(100)]


def mixed(form: str) -> list[Message]:
    """Give scrambled small messages and a few large ones."""
    encoding = encoding_of(form)
    large = [
        Message(
            "/image",
            START + n,
            encoded(encoding, COMPRESSED, header=header(START), format="jpeg", data=np.arange(3000 * n) % 251),
            COMPRESSED,
        )
        for n in range(3)
    ]
    return numbers("/a", SCRAMBLED, encoding) + large + joints("/b", SCRAMBLED[:20], encoding)


# Every kind of recording


@pytest.mark.parametrize("form", [*ROS1, *ROS2])
def test_a_recording_of_any_kind_gives_what_was_recorded(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, mixed(form), chunk=2000)
    assert read(path, tmp_path / "scratch") == reference(path) == sorted(mixed(form))


@pytest.mark.parametrize("form", [*MCAP, "db3"])
def test_a_file_of_a_folder_is_a_recording_by_itself(tmp_path: Path, form: str) -> None:
    path = data_file(record(tmp_path / "bag", form, mixed(form)))
    assert read(path, tmp_path) == reference(path) == sorted(mixed(form))


@pytest.mark.parametrize("form", ["db3", "mcap-zstd", "db3-file", "mcap-message"])
def test_the_files_of_a_split_recording_are_one_recording(tmp_path: Path, form: str) -> None:
    parts = [numbers("/a", SCRAMBLED[:50], "cdr"), mixed(form)[50:], joints("/b", SCRAMBLED[:5], "cdr")]
    path = record_split(tmp_path / "split", form, parts)
    assert read(path, tmp_path / "scratch") == reference(path) == sorted(chain.from_iterable(parts))
    with Source(path, tmp_path / "scratch") as source:
        assert len(source.files) == 3
        assert source.size == sum(file.stat().st_size for file in source.files)


@settings(deadline=None, max_examples=12)
@given(
    form=st.sampled_from([*ROS1, *MCAP, "db3"]),
    stamps=st.lists(st.integers(START, START + 50), max_size=40),
    chunk=st.integers(50, 2000),
)
def test_any_order_of_stamps_and_any_chunks_give_the_same_messages(
    tmp_path_factory: pytest.TempPathFactory, form: str, stamps: list[int], chunk: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    messages = numbers("/a", stamps, encoding_of(form)) + joints("/b", stamps[::3], encoding_of(form))
    assert read(record(folder / "bag", form, messages, chunk), folder) == sorted(messages)


def test_a_folder_tells_its_distribution_and_compression(tmp_path: Path) -> None:
    for form, words in (
        ("db3", "none"),
        ("mcap-zstd", "zstd"),
        ("db3-file", "zstd files"),
        ("db3-message", "zstd messages"),
    ):
        with Source(record(tmp_path / form, form, numbers("/a", [START], "cdr")), tmp_path) as source:
            assert source.compression == words
            assert source.distro == "rosbags"
            assert source.topics["/a"].encoding == "cdr"
            assert source.name == form


def test_an_unpacked_file_is_removed_when_the_recording_is_closed(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "db3-file", mixed("db3"))
    scratch = tmp_path / "scratch"
    with Source(path, scratch) as source:
        assert [file.name for file in scratch.iterdir()] == ["bag.db3"]
        assert everything(source) == sorted(mixed("db3"))
    assert list(scratch.iterdir()) == []


# Payloads


@pytest.mark.parametrize("form", [*ROS1, *ROS2])
def test_head_all_and_into_agree_and_into_beyond_the_end_is_an_error(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, mixed(form), chunk=2000)
    with Source(path, tmp_path / "scratch") as source:
        for index in source.index(list(source.topics)).values():
            for number in range(0, len(index.stamps), 7):
                payload = source.payload(index, number)
                whole = bytes(payload.all())
                assert whole.startswith(bytes(payload.head()))
                for start in {0, 1, len(whole) // 2, len(whole)}:
                    out = bytearray(len(whole) - start)
                    payload.into(start, memoryview(out))
                    assert out == whole[start:]
                    with pytest.raises(RecordingError, match="damaged"):
                        payload.into(start, memoryview(bytearray(len(whole) - start + 1)))
                assert bytes(payload.all()) == whole


def test_a_large_message_of_an_uncompressed_recording_is_not_read_before_it_is_asked_for(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", mixed("ros1"))
    with Source(path, tmp_path) as source:
        payload = source.payload(source.index(["/image"])["/image"], 2)
        assert len(payload.head()) <= 512 < len(payload)


def test_many_threads_read_one_recording_at_once(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "mcap-zstd", mixed("mcap"), chunk=500)
    with Source(path, tmp_path) as source, ThreadPoolExecutor(4) as threads:
        index = source.index(["/a"])["/a"]
        found = list(threads.map(lambda n: bytes(source.payload(index, n % 100).all()), range(300)))
    assert found == [m.data for m in reference(path) if m.topic == "/a"] * 3


def test_a_fingerprint_tells_content_and_not_names(tmp_path: Path) -> None:
    one = record(tmp_path / "one", "ros1", numbers("/a", SCRAMBLED))
    other = record(tmp_path / "other", "ros1", numbers("/a", SCRAMBLED[1:]))
    copy = tmp_path / "copy.bag"
    shutil.copy(one, copy)
    prints = []
    for path in (one, copy, other):
        with Source(path, tmp_path) as source:
            prints.append(source.fingerprint)
    assert prints[0] == prints[1] != prints[2]


# Nothing is written


@pytest.mark.parametrize("form", [*ROS1, *ROS2])
def test_reading_changes_nothing_in_or_beside_the_recording(tmp_path: Path, form: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = record(home / "bag", form, mixed(form))
    before = snapshot(home)
    assert read(path, tmp_path / "scratch")
    assert snapshot(home) == before


def test_a_recording_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "db3", numbers("/a", [START], "cdr"))
    for place in (*path.iterdir(), path):
        place.chmod(0o555)
    try:
        assert len(read(path, tmp_path / "scratch")) == 1
    finally:
        path.chmod(0o755)


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.bag", None, r"missing\.bag: no such file or folder"),
        ("empty.bag", b"", r"empty\.bag: the file is empty"),
        ("empty.mcap", b"", r"empty\.mcap: the file is empty"),
        ("empty.db3", b"", r"empty\.db3: the file is empty"),
        ("notes.bag", b"a few words, no bag", r"notes\.bag: not a recording: it begins with b'a few words,'"),
        ("short.bag", b"#ROSBAG", r"short\.bag: not a ROS 1 bag"),
        ("short.mcap", b"\x89MCAP0\r\n", r"short\.mcap: .*cut off"),
        ("short.db3", b"SQLite format 3\x00", r"short\.db3: .*cut off"),
        ("short.mcap.zstd", b"\x28\xb5\x2f\xfd", r"short\.mcap\.zstd: does not decompress"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=words):
        Source(tmp_path / name, tmp_path / "scratch")


def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", numbers("/a", [START]))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(RecordingError, match=r"bag\.bag: cannot be opened: Permission denied"):
        Source(path, tmp_path)


def test_a_folder_without_metadata_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "mcap", numbers("/a", [START], "cdr"))
    (path / "metadata.yaml").unlink()
    with pytest.raises(RecordingError, match=r"bag: the folder has no metadata\.yaml.*'ros2 bag reindex'"):
        Source(path, tmp_path)


def test_a_folder_that_lacks_a_listed_file_is_refused(tmp_path: Path) -> None:
    path = record_split(tmp_path / "bag", "db3", [numbers("/a", [START], "cdr")] * 2)
    (path / "bag_1.db3").unlink()
    with pytest.raises(RecordingError, match=r"bag: metadata\.yaml lists 'bag_1\.db3', which is not in the folder"):
        Source(path, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "just words",
        "rosbag2_bagfile_information: 3",
        "rosbag2_bagfile_information: {relative_file_paths: []}",
        "rosbag2_bagfile_information: {relative_file_paths: 7}",
        "rosbag2_bagfile_information: {relative_file_paths: [a.db3], compression_mode: file, compression_format: zip}",
        "other: {}",
        "\x00\x01",
    ],
)
def test_metadata_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = record(tmp_path / "bag", "db3", numbers("/a", [START], "cdr"))
    (path / "metadata.yaml").write_text(text)
    with pytest.raises(RecordingError, match="bag"):
        Source(path, tmp_path)


@pytest.mark.parametrize("form", ["db3-file", "mcap-file"])
def test_a_damaged_compressed_file_is_refused_and_leaves_nothing(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, mixed(form))
    file = data_file(path)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(RecordingError, match=r"zstd: does not decompress"):
        Source(path, tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_damaged_compressed_message_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "mcap-message", numbers("/a", SCRAMBLED, "cdr"))
    file = data_file(path)
    content = file.read_bytes()
    at = content.index(b"\x28\xb5\x2f\xfd")
    file.write_bytes(content[:at] + b"\0\0\0\0" + content[at + 4 :])
    with pytest.raises(RecordingError, match=r"compressed message of .* does not decompress"):
        read(path, tmp_path)


def test_a_split_recording_closes_its_files_when_one_cannot_be_opened(tmp_path: Path) -> None:
    path = record_split(tmp_path / "bag", "mcap", [numbers("/a", [START], "cdr")] * 2)
    (path / "bag_1.mcap").write_bytes(b"nothing of the kind")
    before = psutil.Process().num_fds()
    for _ in range(5):
        with pytest.raises(RecordingError, match=r"bag_1\.mcap: not a recording"):
            Source(path, tmp_path)
    assert psutil.Process().num_fds() == before


# Finding


def test_patterns_become_recordings_in_order_and_each_once(tmp_path: Path) -> None:
    bags = [record(tmp_path / name, "ros1", []) for name in ("b", "a")]
    folder = record(tmp_path / "deep" / "ros2", "db3", numbers("/a", [START], "cdr"))
    a, b = bags[1], bags[0]
    assert find_recordings(["*.bag", "b.bag"], tmp_path) == [a, b]
    assert find_recordings([str(b), "*.bag"], tmp_path) == [b, a]
    assert find_recordings(["deep"], tmp_path) == [folder]
    assert find_recordings(["deep/ros2", "deep"], tmp_path) == [folder]
    assert find_recordings(["."], tmp_path) == [tmp_path / "a.bag", tmp_path / "b.bag"]
    assert find_recordings(["**/*.bag"], tmp_path) == [a, b]


def test_a_pattern_without_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no recording matches 'x\*\.bag' \(looked for "):
        find_recordings(["x*.bag"], tmp_path)


def test_a_folder_without_recording_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="holds no recording"):
        find_recordings(["."], tmp_path)


def test_a_folder_of_an_unfinished_recording_is_an_error(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "mcap", numbers("/a", [START], "cdr"))
    (path / "metadata.yaml").unlink()
    with pytest.raises(RecordingError, match=r"holds 'bag\.mcap' but no metadata\.yaml.*'ros2 bag reindex'"):
        find_recordings(["bag"], tmp_path)


def test_a_name_is_the_file_name_without_its_ending(tmp_path: Path) -> None:
    names = {"run.bag": "run", "run.v2.mcap": "run.v2", "run.db3.zstd": "run", "folder": "folder", ".bag": ".bag"}
    assert {name: recording_name(tmp_path / name) for name in names} == names


# Blocks

COMPRESS = {"bz2": bz2.compress, "lz4": lz4.frame.compress, "zstd": zstd.compress}


def test_two_threads_share_one_load() -> None:
    loading, finish = threading.Event(), threading.Event()

    def load(block: int) -> bytes:
        loading.set()
        assert finish.wait(10)
        return bytes([block])

    cache = BlockCache(load, lambda _: 1)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, 7)
        assert loading.wait(10)
        second = threads.submit(cache.get, 7)
        finish.set()
        assert first.result(10) == second.result(10) == b"\x07"
    assert cache.loads == 1


def test_a_failed_load_is_told_to_all_and_tried_again() -> None:
    attempts: list[int] = []

    def load(block: int) -> bytes:
        attempts.append(block)
        if len(attempts) == 1:
            msg = "damaged"
            raise RecordingError(msg)
        return b"good"

    cache = BlockCache(load, lambda _: 1)
    with pytest.raises(RecordingError, match="damaged"):
        cache.get(1)
    assert cache.get(1) == b"good"
    assert attempts == [1, 1]
    assert cache.loads == 1


@settings(deadline=None, max_examples=50)
@given(
    asked=st.lists(st.integers(0, 9), max_size=60),
    size=st.integers(1, 50),
    budget=st.integers(0, 200),
)
def test_the_cache_keeps_its_budget_and_the_newest_blocks(asked: list[int], size: int, budget: int) -> None:
    loaded: list[int] = []

    def load(block: int) -> bytes:
        loaded.append(block)
        return bytes(size)

    cache = BlockCache(load, lambda _: size, budget, most=budget)
    room = max(budget // size, 1)
    recent: list[int] = []
    for block in asked:
        before = len(loaded)
        assert cache.get(block) == bytes(size)
        assert (len(loaded) > before) == (block not in recent)
        recent = [*(b for b in recent if b != block), block][-room:]
    assert cache.loads == len(loaded)


def test_blocks_are_decompressed_again_only_when_the_budget_is_too_small() -> None:
    cache = BlockCache(lambda _: bytes(100), lambda _: 100, budget=250)
    for block in (0, 1, 0, 1, 2, 2, 1):
        cache.get(block)
    assert cache.loads == 3
    cache.get(0)
    assert cache.loads == 4


def test_the_cache_grows_where_blocks_overlap_that_it_would_decompress_for_every_frame() -> None:
    cache = BlockCache(lambda _: bytes(100), lambda _: 100, budget=250, most=1000)
    for _ in range(50):
        for block in range(8):
            cache.get(block)
    assert cache.loads <= 3 * 8
    for _ in range(3):
        for block in range(20):  # more than it may ever hold
            cache.get(block)
    assert cache.loads <= 3 * 8 + 3 * 20


@pytest.mark.parametrize("codec", ["bz2", "lz4", "zstd"])
@pytest.mark.parametrize("frames", [1, 2])
def test_a_large_block_is_decompressed_in_pieces_to_the_same_bytes(codec: str, frames: int) -> None:
    content = np.random.default_rng(5).integers(0, 9, 9 * 2**20, np.uint8).tobytes()
    parts = [content[: len(content) // 2], content[len(content) // 2 :]] if frames == 2 else [content]
    packed = b"..." + b"".join(COMPRESS[codec](part) for part in parts)
    asked: list[int] = []

    def read(position: int, size: int) -> memoryview:
        asked.append(size)
        return memoryview(packed)[position : position + size]

    assert decompress(codec, read, 3, len(packed) - 3, len(content)) == content
    assert max(asked) <= 2**20
    for length, size in ((len(packed) - 4, len(content)), (len(packed) - 3, len(content) - 1), (3, len(content))):
        with pytest.raises(CORRUPT):
            decompress(codec, read, 3, length, size)


# The first bytes of all messages


@pytest.mark.parametrize("form", [*ROS1, *ROS2])
def test_the_first_bytes_of_all_messages_are_those_of_each(tmp_path: Path, form: str) -> None:
    """Small messages close together, large ones far apart, both in chunks with others, and out of order."""
    encoding = encoding_of(form)
    small = numbers("/small", [START + 7919 * n % 3000 * 10**6 for n in range(3000)], encoding)
    large = joints("/large", [START + n * 10**8 for n in range(30)], encoding, size=900)
    mixed = [message for group in zip(*[iter(small)] * 100, strict=True) for message in (*group, large.pop())]
    path = record(tmp_path / "bag", form, mixed, chunk=1 << 14)
    with Source(path, tmp_path / "scratch") as source:
        for topic, index in source.index(["/small", "/large"]).items():
            for size in (1, 4, 8):
                found = source.heads(index, size)
                one_by_one = [bytes(source.payload(index, n).head()[:size]) for n in range(len(index.stamps))]
                assert [row.tobytes() for row in found] == one_by_one, topic


@pytest.mark.parametrize("form", [ROS1[0], MCAP[0]])
def test_a_message_that_is_too_short_for_its_first_bytes_is_named(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, numbers("/a", range(START, START + 50 * 10**6, 10**6), encoding_of(form)))
    with Source(path, tmp_path / "scratch") as source:
        index = source.index(["/a"])["/a"]
        with pytest.raises(RecordingError, match="bytes is too short for a header"):
            source.heads(index, 64)
