"""Raw pictures that consumers see in the recording's own pages: values, what is copied, files that change."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer

from streamer.files import tells_changes
from tests.bags import (
    IMAGE,
    SECOND,
    START,
    Message,
    data_file,
    encoded,
    encoding_of,
    header,
    record,
    record_split,
    store,
)
from tests.pipeline.driver import run, start, wait_until
from tests.pipeline.probes import Looker
from tests.pipeline.takes import committed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipeline.driver import Finished

Config = dict[str, Any]
FRAMES, WIDTH, HEIGHT = 40, 200, 120
STEP = SECOND // 10
STAMPS = range(START, START + FRAMES * STEP, STEP)
POOL = "memfd:streamer-pool"
PLAIN = ("ros1", "mcap")
GATE = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 17}}


@pytest.fixture(autouse=True)
def pages_can_be_mapped(tmp_path: Path) -> None:
    """Skip where the folder for temporary files is on a file system whose files are never mapped."""
    with (tmp_path / "probe").open("w") as file:
        if not tells_changes(file.fileno()):
            pytest.skip("needs a temporary folder on ext4, XFS, Btrfs or the like")


def pictures(topic: str, form: str, encoding: str = "rgb8", **how: Any) -> list[tuple[Message, np.ndarray]]:
    """Return messages of noise and the arrays that they hold; ``how`` changes fields of the message."""
    channels, dtype = {"rgb8": (3, "u1"), "bgr8": (3, "u1"), "16UC1": (1, "<u2"), "mono8": (1, "u1")}[encoding]
    noise = np.random.default_rng(len(topic))
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    found = []
    for stamp in STAMPS:
        array = noise.integers(0, 200, shape, np.uint8).astype(dtype)
        values = {
            "header": header(stamp),
            "height": HEIGHT,
            "width": WIDTH,
            "encoding": encoding,
            "step": array.nbytes // HEIGHT,
            "data": array.reshape(-1).view(np.uint8),
        }
        found.append((Message(topic, stamp, encoded(encoding_of(form), IMAGE, **values | how), IMAGE), array))
    return found


def hashes(arrays: list[np.ndarray]) -> list[str]:
    """Return what a `Looker` writes of frames with these arrays."""
    return [
        f"{n} {stamp} {hashlib.sha256(stamp.to_bytes(8, 'little') + array.tobytes()).hexdigest()}"
        for n, (stamp, array) in enumerate(zip(STAMPS, arrays, strict=True))
    ]


def configure(path: Path, consumers: int = 1, **stream: object) -> Config:
    """Return a configuration with chunks of 5 frames, in a pool of 10 slots of colour pictures."""
    looker = {"use": "tests.pipeline.probes:Looker"}
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "camera"},
        "chunk_size": 5,
        "pool": "740 kB",
        "streams": {"camera": {"topic": "/camera", **stream}},
        "consumers": {f"l{n}": looker | {"options": {"out": f"l{n}"}} for n in range(consumers)},
    }


def lies_in(folder: Path) -> set[str]:
    """Return in which files the pictures of a run's first consumer lay."""
    return {where["camera"] for where in Looker.where(folder / "l0").values()}


def done(finished: Finished) -> None:
    assert finished.code == 0, finished


@pytest.mark.parametrize(("form", "chunk"), [("ros1", 1 << 20), ("mcap", 1 << 20), ("mcap", 1)])
def test_raw_pictures_are_seen_where_they_lie_by_two_consumers_of_many_generations(
    tmp_path: Path, form: str, chunk: int
) -> None:
    said = pictures("/camera", form)
    path = record(tmp_path / "bag", form, [message for message, _ in said], chunk)
    config = configure(path, 2)
    config["consumers"]["l1"]["recycle"] = {"chunks": 2}
    finished = run(tmp_path, config, "-v")
    done(finished)
    assert finished.report["streams"]["camera"]["mapped"]
    assert finished.report["pool"]["allocated_mb"] < 0.1
    assert "shown from the recording's own pages, without a copy: camera" in finished.out
    for name in ("l0", "l1"):
        assert Looker.read(tmp_path / name) == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {(data_file(path) if path.is_dir() else path).name}


def test_pictures_in_several_files_of_a_recording_are_seen_where_they_lie(tmp_path: Path) -> None:
    said = pictures("/camera", "mcap")
    messages = [message for message, _ in said]
    path = record_split(tmp_path / "bag", "mcap", [messages[:13], messages[13:30], messages[30:]])
    done(run(tmp_path, configure(path)))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {f.name for f in path.glob("*.mcap")}
    assert len(lies_in(tmp_path)) == 3


@pytest.mark.parametrize("where", ["on_frame", "on_chunk"])
def test_a_killed_generation_is_followed_by_one_that_sees_the_same(tmp_path: Path, where: str) -> None:
    said = pictures("/camera", "ros1")
    config = configure(record(tmp_path / "bag", "ros1", [message for message, _ in said]))
    config["consumers"]["gate"] = GATE | {"options": {"folder": ".", "at": 17, "where": where}}
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists, "the gate")
        running.children()["l0.1"].kill()
        running.children()["gate.1"].kill()
        (tmp_path / "go").touch()
        done(running.end())
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    assert POOL not in lies_in(tmp_path)


def test_a_picture_that_is_shown_again_is_not_copied_either(tmp_path: Path) -> None:
    said = pictures("/camera", "ros1")[::4]
    config = configure(record(tmp_path / "bag", "ros1", [message for message, _ in said]), align="previous")
    done(run(tmp_path, config, "timeline.rate=10 Hz", "timeline.from=grid"))
    found = [line.split()[2] for line in Looker.read(tmp_path / "l0")]
    assert [*dict.fromkeys(found)] == [line.split()[2] for line in _hashes_of(said)]
    assert len(found) == 4 * (len(said) - 1) + 1
    assert POOL not in lies_in(tmp_path)


def _hashes_of(said: list[tuple[Message, np.ndarray]]) -> list[str]:
    return [
        f"{n} 0 {hashlib.sha256(message.stamp.to_bytes(8, 'little') + array.tobytes()).hexdigest()}"
        for n, (message, array) in enumerate(said)
    ]


@pytest.mark.parametrize(("chunk", "memory"), [(1, POOL), (400_000, "bag.mcap")])
def test_a_picture_that_fills_a_chunk_with_a_checksum_is_compared_while_it_is_copied_and_others_before(
    tmp_path: Path, chunk: int, memory: str
) -> None:
    said = pictures("/camera", "mcap")
    path = with_checksums(tmp_path / "bag.mcap", [message for message, _ in said], chunk)
    done(run(tmp_path, configure(path)))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {memory}
    whole = bytearray(path.read_bytes())
    whole[whole.index(said[23][1].tobytes()) + 1000] ^= 1
    path.write_bytes(whole)
    finished = run(tmp_path / "damaged", configure(path))
    assert finished.code == 65, finished
    assert "checksum differs" in finished.err
    found, whole_ones = Looker.read(tmp_path / "damaged" / "l0"), hashes([array for _, array in said])
    assert found[:15] == whole_ones[:15]
    assert set(found) < set(whole_ones)
    assert not any(line.startswith("23 ") for line in found)


def with_checksums(path: Path, messages: list[Message], chunk: int) -> Path:
    """Write an MCAP file of uncompressed chunks with checksums."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk, compression=CompressionType.NONE)
        writer.start()
        text, _ = store("cdr").generate_msgdef(IMAGE, ros_version=2)
        schema = writer.register_schema(IMAGE, "ros2msg", text.encode())
        channel = writer.register_channel("/camera", "cdr", schema)
        for message in messages:
            writer.add_message(channel, message.stamp, message.data, message.stamp)
        writer.finish()  # type: ignore[no-untyped-call]
    return path


# ---- what is copied all the same


def test_what_three_consumers_see_is_copied_once_for_all(tmp_path: Path) -> None:
    said = pictures("/camera", "ros1")
    config = configure(record(tmp_path / "bag", "ros1", [message for message, _ in said]), 3)
    done(run(tmp_path, config))
    for name in ("l0", "l1", "l2"):
        assert Looker.read(tmp_path / name) == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {POOL}
    config["streams"]["other"] = {"topic": "/camera"}
    for name, consumer in config["consumers"].items():
        consumer["streams"] = ["other" if name == "l0" else "camera"]
    done(run(tmp_path / "of-their-own", config))
    (where,) = {tuple(where.items()) for where in Looker.where(tmp_path / "of-their-own" / "l0").values()}
    assert where == (("other", "bag.bag"),)


@pytest.mark.parametrize("form", ["ros1-lz4", "mcap-zstd", "db3"])
def test_what_lies_compressed_or_in_a_table_is_copied(tmp_path: Path, form: str) -> None:
    said = pictures("/camera", form)
    done(run(tmp_path, configure(record(tmp_path / "bag", form, [message for message, _ in said]))))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {POOL}


@pytest.mark.parametrize("stream", [{"resize": [80, 60]}, {"map": [{"crop": [0, 0, 80, 60]}]}, {"color": "rgb"}])
def test_what_becomes_another_picture_is_made_in_the_pool(tmp_path: Path, stream: Config) -> None:
    said = pictures("/camera", "ros1", "bgr8")
    done(run(tmp_path, configure(record(tmp_path / "bag", "ros1", [message for message, _ in said]), **stream)))
    assert lies_in(tmp_path) == {POOL}
    if "color" in stream:
        assert Looker.read(tmp_path / "l0") == hashes([array[..., ::-1] for _, array in said])


def test_numbers_of_16_bits_are_copied_where_they_lie_at_an_odd_byte(tmp_path: Path) -> None:
    said = [
        pictures("/camera", "ros1", "16UC1", header=header(stamp, "abc"[: 1 + n % 2]))[n]
        for n, stamp in enumerate(STAMPS)
    ]
    done(run(tmp_path, configure(record(tmp_path / "bag", "ros1", [message for message, _ in said]))))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {POOL, "bag.bag"}


def test_a_recording_with_some_compressed_files_is_copied_there_only(tmp_path: Path) -> None:
    said = pictures("/camera", "mcap")
    messages = [message for message, _ in said]
    path = record_split(tmp_path / "bag", "mcap", [messages[:20], messages[20:]])
    packed = record(tmp_path / "packed", "mcap-zstd", messages[20:])
    second = sorted(path.glob("*.mcap"))[1]
    shutil.copy(data_file(packed), second)
    done(run(tmp_path, configure(path)))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    where = Looker.where(tmp_path / "l0")
    assert {where[n]["camera"] for n in range(20, 40)} == {POOL}
    assert POOL not in {where[n]["camera"] for n in range(20)}


def test_a_stream_whose_damaged_messages_are_left_out_is_read_by_the_reader(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", [message for message, _ in pictures("/camera", "ros1")])
    done(run(tmp_path, configure(path, undecodable="skip")))
    assert lies_in(tmp_path) == {POOL}


def test_a_recording_that_somebody_writes_to_is_copied(tmp_path: Path) -> None:
    said = pictures("/camera", "ros1")
    path = record(tmp_path / "bag", "ros1", [message for message, _ in said])
    with path.open("r+b"):
        done(run(tmp_path, configure(path)))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])
    assert lies_in(tmp_path) == {POOL}


# ---- a file that changes meanwhile


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 4)


def _write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"other")


@pytest.mark.parametrize("form", PLAIN)
@pytest.mark.parametrize(("change", "word"), [(_cut, "cut"), (_write_over, "written to")])
def test_a_recording_that_is_changed_while_it_is_seen_ends_the_run_and_is_resumed_when_it_is_whole(
    tmp_path: Path, form: str, change: Callable[[Path], None], word: str
) -> None:
    said = pictures("/camera", form)
    path = record(tmp_path / "bag", form, [message for message, _ in said])
    file = data_file(path) if path.is_dir() else path
    shutil.copy(file, tmp_path / "whole")
    config = configure(path)
    config["consumers"]["gate"] = GATE
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists, "the gate")
        wait_until(lambda: committed(tmp_path, "gate") == 3, "its commits to be written down")
        change(file)
        (tmp_path / "go").touch()
        finished = running.end()
    assert finished.code == 65, finished
    assert finished.err.count("streamer: ") == 1, finished
    assert f"the file was {word} while it was read" in finished.err
    assert str(path) in finished.err
    assert "Traceback" not in finished.err
    shutil.copy(tmp_path / "whole", file)
    assert finished.report["consumers"]["gate"]["chunks"] == 3
    done(run(tmp_path, config, "--resume"))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])


def test_a_consumer_that_looks_where_the_file_was_cut_is_not_blamed_for_it(tmp_path: Path) -> None:
    """The system ends it by SIGBUS, in the middle of a callback."""
    path = record(tmp_path / "bag", "ros1", [message for message, _ in pictures("/camera", "ros1")])
    config = configure(path)
    config["consumers"] = {
        "late": {"use": "tests.pipeline.probes:Late", "options": {"folder": ".", "at": 17}, "on_failed": "isolate"}
    }
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists, "the gate")
        wait_until(lambda: committed(tmp_path, "late") == 3, "its commits to be written down")
        _cut(path)
        (tmp_path / "go").touch()
        finished = running.end()
    assert finished.code == 65, finished
    assert "the file was cut while it was read" in finished.err
    assert finished.err.count("streamer: ") == 1, finished
    assert "SIGBUS" in finished.err
    assert finished.report["consumers"]["late"]["chunks"] == 3


def test_a_recording_that_another_takes_the_name_of_is_read_to_its_end(tmp_path: Path) -> None:
    said = pictures("/camera", "ros1")
    path = record(tmp_path / "bag", "ros1", [message for message, _ in said])
    other = record(tmp_path / "other", "ros1", [message for message, _ in pictures("/camera", "ros1", "bgr8")])
    config = configure(path)
    config["consumers"]["l0"]["recycle"] = {"chunks": 2}
    config["consumers"]["gate"] = GATE
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists, "the gate")
        other.replace(path)
        (tmp_path / "go").touch()
        done(running.end())
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])


def test_an_array_that_is_kept_beyond_its_callback_is_an_error_as_in_the_pool(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", [message for message, _ in pictures("/camera", "ros1")])
    config = configure(path)
    config["consumers"] = {"keeper": {"use": "tests.pipeline.probes:Faulty", "options": {"how": "keep"}}}
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    assert "kept an array (or a view) of stream 'camera' of frame 3" in finished.err


def test_nobody_can_write_into_the_recording(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", [message for message, _ in pictures("/camera", "ros1")])
    before = path.read_bytes()
    config = configure(path)
    config["consumers"] = {"writer": {"use": "tests.pipeline.probes:Faulty", "options": {"how": "write"}}}
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    assert "read-only" in finished.err
    assert path.read_bytes() == before
