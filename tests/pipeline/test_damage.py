"""Recordings that change under the reader or hold what makes no sense, end to end → never wrong data, a clear end."""

from __future__ import annotations

import os
import random
import re
import shutil
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags import rosbag1

from tests.bags import (
    FLOAT,
    IMAGE,
    JOINTS,
    Message,
    data_file,
    encoded,
    encoding_of,
    header,
    joints,
    numbers,
    record,
    record_split,
    store,
)
from tests.forms import SOME_FORMS
from tests.pipeline.driver import run, start, wait_until
from tests.pipeline.probes import Hasher
from tests.pipeline.takes import committed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.pipeline.driver import Finished

Config = dict[str, Any]
SECOND = 10**9
START = 1_700_000_000 * SECOND
STEP = SECOND // 10
TENTHS = range(START, START + 40 * STEP, STEP)
HASHER = {"use": "tests.pipeline.probes:Hasher", "options": {"out": "hashes"}}


def images(form: str, stamps: Sequence[int], width: int = 160, height: int = 120) -> list[Message]:
    """Give grey pictures of noise, each another."""
    noise = np.random.default_rng(4)
    return [
        Message(
            "/camera",
            stamp,
            encoded(
                encoding_of(form), IMAGE, header=header(stamp), height=height, width=width, encoding="mono8",
                step=width, data=noise.integers(0, 256, width * height, np.uint8),
            ),
            IMAGE,
        )
        for stamp in stamps
    ]  # fmt: skip


def configure(path: Path, streams: Config, **timeline: object) -> Config:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": next(iter(streams)), **timeline},
        "chunk_size": 5,
        "streams": streams,
        "consumers": {"hasher": HASHER},
    }


CAMERA = {"camera": {"topic": "/camera"}}
FIELD = {"j": {"topic": "/j", "field": "position"}}


def failed(finished: Finished, *words: str, codes: tuple[int, ...] = (65,)) -> None:
    """Check that a run ended with one clear message."""
    assert finished.code in codes, finished
    assert all(word in finished.err for word in words), finished
    assert "Traceback" not in finished.err + finished.out, finished
    assert finished.err.count("streamer: ") == 1, finished


# Truncated while it is read


@pytest.mark.parametrize("form", SOME_FORMS)
def test_a_recording_that_is_cut_while_it_is_read_ends_the_run_and_gives_no_wrong_data(
    tmp_path: Path, form: str
) -> None:
    messages = images(form, range(START, START + 200 * STEP, STEP))
    recorded = record(tmp_path / "whole", form, messages)
    path = tmp_path / "home" / recorded.name
    path.parent.mkdir()
    (shutil.copytree if recorded.is_dir() else shutil.copy)(recorded, path)
    config = configure(path, CAMERA)
    config["pool"] = "400 kB"  # 20 of 200 pictures
    config["consumers"]["gate"] = {"use": "tests.pipeline.probes:Gate", "options": {"folder": str(tmp_path), "at": 7}}
    file = data_file(path) if path.is_dir() else path
    with start(tmp_path / "cut", config) as running:
        wait_until((tmp_path / "here").exists, "frame 7")
        wait_until(lambda: committed(tmp_path / "cut", "hasher") >= 1, "the first commit to be written down")
        os.truncate(file, file.stat().st_size // 2)
        (tmp_path / "go").touch()
        finished = running.end()
    failed(finished)
    assert re.search("was cut (off or is still being copied|while it was read)|database is cut off", finished.err), (
        finished
    )
    found = Hasher.read(tmp_path / "cut" / "hashes")
    assert len(found) >= 5
    undisturbed = run(tmp_path / "undisturbed", config | {"source": {"path": str(recorded)}})
    assert undisturbed.code == 0, undisturbed
    expected = Hasher.read(tmp_path / "undisturbed" / "hashes")
    assert len(expected) == 200
    assert found == expected[: len(found)]


# Messages that make no sense


@pytest.mark.parametrize("form", [pytest.param("ros1-lz4", marks=pytest.mark.slow), "db3"])
def test_a_message_of_garbage_ends_the_run_or_costs_its_frame(tmp_path: Path, form: str) -> None:
    messages = joints("/j", TENTHS, encoding_of(form))
    garbage = bytearray(random.Random(5).randbytes(len(messages[17].data)))  # noqa: S311 - no secret
    garbage[:4] = messages[17].data[:4]
    messages[17] = messages[17]._replace(data=bytes(garbage))
    config = configure(record(tmp_path / "bag", form, messages), FIELD)
    failed(run(tmp_path / "error", config), "streams.j", "the message is damaged", "'undecodable: skip'")
    skipped = run(tmp_path / "skip", config, "streams.j.undecodable=skip")
    assert skipped.code == 0, skipped
    assert skipped.report["frames"] == {
        "planned": 40, "delivered": 39, "skipped": {"undecodable j": 1}, "remaining": 0,
    }  # fmt: skip
    shown = [int(line.split()[0]) for line in Hasher.read(tmp_path / "skip" / "hashes")]
    assert shown == [n for n in range(40) if n != 17]


@pytest.mark.parametrize("form", ["ros1", pytest.param("db3", marks=pytest.mark.slow)])
def test_an_image_that_shrinks_in_the_middle_ends_the_run_or_is_brought_to_one_size(tmp_path: Path, form: str) -> None:
    messages = images(form, TENTHS[:20]) + images(form, TENTHS[20:], 80, 60)
    config = configure(record(tmp_path / "bag", form, messages), CAMERA)
    failed(run(tmp_path / "error", config), "streams.camera: message 20, needed for frame 20", "'resize: [160, 120]'")
    skipped = run(tmp_path / "skip", config, "streams.camera.undecodable=skip")
    assert skipped.code == 0, skipped
    assert skipped.report["frames"]["skipped"] == {"undecodable camera": 20}
    resized = run(tmp_path / "resize", config, "streams.camera.resize=[80, 60]")
    assert resized.code == 0, resized
    assert resized.report["frames"]["delivered"] == 40
    as_it_was = run(tmp_path / "small", configure(record(tmp_path / "tail", form, messages[20:]), CAMERA))
    assert as_it_was.code == 0, as_it_was
    hashes = [line.split()[2] for line in Hasher.read(tmp_path / "resize" / "hashes")[20:]]
    assert hashes == [line.split()[2] for line in Hasher.read(tmp_path / "small" / "hashes")]


@pytest.mark.parametrize("form", ["ros1", "mcap", "db3"])
def test_a_topic_whose_type_changes_is_refused_with_both_types(tmp_path: Path, form: str) -> None:
    early, late = joints("/j", TENTHS[:20], encoding_of(form)), numbers("/j", TENTHS[20:], encoding_of(form))
    if form == "ros1":
        path = tmp_path / "bag.bag"
        with rosbag1.Writer(path) as bag:
            for kind, messages in ((JOINTS, early), (FLOAT, late)):
                connection = bag.add_connection("/j", kind, typestore=store("ros1"))
                for message in messages:
                    bag.write(connection, message.stamp, message.data)
    else:
        path = record_split(tmp_path / "bag", form, [early, late])
    failed(run(tmp_path / "run", configure(path, FIELD)), "topic /j holds messages of two types", FLOAT, JOINTS)


# Stamps


def shown(folder: Path) -> list[int]:
    """Return the ticks of the frames in the order in which they came; check that time goes forward."""
    ticks = [int(line.split()[1]) for line in Hasher.read(folder / "hashes")]
    assert all(before < after for before, after in pairwise(ticks))
    return ticks


@pytest.mark.parametrize(("form", "clock"), [("ros1-lz4", "header"), ("mcap", "receive"), ("db3", "receive")])
def test_stamps_that_go_backwards_come_in_order(tmp_path: Path, form: str, clock: str) -> None:
    """The recorder got neighbours in another order than that of their stamps; each is shown with its own values."""
    in_order = joints("/j", TENTHS, encoding_of(form))
    order = [n + 1 if n % 4 == 1 else n - 1 if n % 4 == 2 else n for n in range(40)]
    shuffled = [in_order[n] for n in order]
    if clock == "header":
        shuffled = [message._replace(stamp=stamp) for message, stamp in zip(shuffled, TENTHS, strict=True)]
    streams = {"j": FIELD["j"] | {"clock": clock}}
    for name, messages in (("sorted", in_order), ("shuffled", shuffled)):
        finished = run(tmp_path / name, configure(record(tmp_path / f"{name}-bag", form, messages), streams))
        assert finished.code == 0, finished
        assert finished.report["frames"]["delivered"] == 40
    assert shown(tmp_path / "shuffled") == list(TENTHS)
    assert Hasher.read(tmp_path / "shuffled" / "hashes") == Hasher.read(tmp_path / "sorted" / "hashes")


@pytest.mark.parametrize("form", ["ros1", "db3"])
def test_messages_with_one_stamp_are_a_frame_each_and_a_second_pass_is_refused(tmp_path: Path, form: str) -> None:
    twice = joints("/j", sorted([*TENTHS, *TENTHS[5:20]]), encoding_of(form))
    finished = run(tmp_path / "run-twice", configure(record(tmp_path / "twice", form, twice), FIELD))
    assert finished.code == 0, finished
    assert finished.report["frames"]["delivered"] == 55
    again = joints("/j", [*TENTHS, *TENTHS[5:20]], encoding_of(form))
    failed(run(tmp_path / "run-again", configure(record(tmp_path / "again", form, again), FIELD)), "'source.resets'")


@pytest.mark.parametrize("form", ["ros1", "mcap"])
def test_header_stamps_that_are_all_zero_are_refused(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, joints("/j", dict.fromkeys(TENTHS, 0), encoding_of(form)))
    config = configure(path, {"j": FIELD["j"] | {"clock": "header"}})
    failed(run(tmp_path / "run", config), "all header stamps of /j are 0; use 'receive'", codes=(78,))


@pytest.mark.parametrize(("form", "clock"), [("ros1", "receive"), ("mcap", "header")])
def test_stamps_that_are_zero_among_others_are_refused_before_they_make_half_a_century_of_ticks(
    tmp_path: Path, form: str, clock: str
) -> None:
    zero = {3, 4, 30}
    messages = joints("/j", {stamp: 0 if n in zero else stamp for n, stamp in enumerate(TENTHS)}, encoding_of(form))
    if clock == "receive":
        messages = [m._replace(stamp=0 if n in zero else m.stamp) for n, m in enumerate(messages)]
    path = record(tmp_path / "bag", form, messages)
    streams = {"j": FIELD["j"] | {"clock": clock}}
    failed(run(tmp_path / "follow", configure(path, streams, rate="10 Hz")), "40 are 0", "'source.resets'")
