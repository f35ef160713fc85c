"""`streamer info`: sizes and skew from a few messages, and warnings in plain words."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

import pytest
from rosbags.highlevel import AnyReader

from tests.bags import SECOND, START, Message, joints, mcap_by_hand, numbers, record
from tests.pipeline.driver import ROOT, Run

if TYPE_CHECKING:
    from pathlib import Path


def info(folder: Path, path: Path) -> dict[str, Any]:
    with Run(folder, "info", str(path), "--json") as running:
        finished = running.end()
    assert finished.code == 0, finished
    found: dict[str, Any] = json.loads(finished.out)
    return found


@pytest.mark.parametrize("form", ["ros1", "ros1-lz4", "mcap-zstd", "db3"])
def test_skew_size_and_what_surprises_later_are_told(tmp_path: Path, form: str) -> None:
    encoding = "ros1" if form.startswith("ros1") else "cdr"
    tens = range(START, START + 10 * SECOND, SECOND // 10)
    messages: list[Message] = [
        *numbers("/n", tens, encoding),
        *joints("/good", {stamp: stamp - 8_000_000 for stamp in tens}, encoding),
        *joints("/behind", {stamp: stamp - 3 * SECOND for stamp in tens}, encoding),
        *joints("/ahead", {stamp: stamp + 2 * SECOND for stamp in tens}, encoding),
        *joints("/jumpy", {stamp: stamp - n * 5_000_000 for n, stamp in enumerate(tens)}, encoding),
        *joints("/zero", dict.fromkeys(tens, 0), encoding),
        *joints("/late", tens[40:], encoding),
        *joints("/early", tens[:60], encoding),
        *numbers("/once", [START], encoding),
    ]
    found = info(tmp_path, record(tmp_path / "bag", form, sorted(messages, key=lambda message: message.stamp)))
    topics = {topic["name"]: topic for topic in found["topics"]}
    assert topics["/good"]["skew_ms"] == 8.0
    assert topics["/behind"]["skew_ms"] == 3000.0
    assert topics["/n"]["skew_ms"] is None
    for name in topics:
        assert topics[name]["size_bytes"] == sum(len(m.data) for m in messages if m.topic == name)
    warnings = "\n".join(found["warnings"])
    for words in (
        "/behind: clock skew, its header stamps are 3 s behind",
        "/ahead: clock skew, its header stamps are 2 s ahead",
        "/jumpy: the delay between header and receive stamps varies from 0 to 495 ms",
        "/zero: its headers carry no time",
        "/late starts late: its first message comes 4.0 s",
        "/early ends early: its last message comes 4.0 s",
    ):
        assert words in warnings
    assert len(found["warnings"]) == 6


def test_a_recording_without_definitions_says_so(tmp_path: Path, recordings: Path) -> None:
    (warning,) = [w for w in info(tmp_path, recordings / "gpsnav.db3")["warnings"] if "definitions" in w]
    assert "/vehicle_command_ackermann" in warning
    assert "'types:'" in warning


def test_the_skew_of_a_real_recording_is_that_of_its_messages(tmp_path: Path, recordings: Path) -> None:
    found = info(tmp_path, recordings / "so101_wrist.bag")
    (topic,) = [t for t in found["topics"] if t["name"] == "/joint_states"]
    with AnyReader([recordings / "so101_wrist.bag"]) as reader:
        skews = []
        for c, stamp, raw in reader.messages([c for c in reader.connections if c.topic == "/joint_states"]):
            said = reader.deserialize(raw, c.msgtype).header.stamp  # type: ignore[attr-defined]
            skews.append((stamp - said.sec * SECOND - said.nanosec) / 1e6)
    assert min(skews) <= topic["skew_from_ms"] <= topic["skew_ms"] <= topic["skew_to_ms"] <= max(skews)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_file_whose_index_had_to_be_made_is_said_to_be_unindexed(tmp_path: Path, *, indexed: bool) -> None:
    messages = joints("/arm", range(START, START + SECOND, SECOND // 10), "cdr")
    path = tmp_path / "bare.mcap"
    if indexed:
        (path,) = record(tmp_path / "bag", "mcap", messages).glob("*.mcap")
    else:
        mcap_by_hand(path, messages, None, summary=True)
    found = info(tmp_path, path)
    assert found["indexed"] is indexed
    assert any(warning.startswith("unindexed: ") for warning in found["warnings"]) is not indexed


def test_tables_are_readable_at_80_columns(tmp_path: Path) -> None:
    """On a terminal of that width no number is folded, and a topic stands whole in a line of its own."""
    topic = "/robot/arm_left/joint_states_as_they_were_measured"
    path = record(tmp_path / "bag", "ros1", joints(topic, range(START, START + 70 * SECOND, SECOND // 10)))
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    program = [sys.executable, "-c", "from streamer.cli import main; main()", "info", str(path)]
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, stdout=slave, env=environment, cwd=tmp_path, check=False)
    os.close(slave)
    with os.fdopen(master, "rb") as terminal:
        said = terminal.read1(1 << 16).decode().replace("\r", "").splitlines()
    assert done.returncode == 0
    at = said.index(f"{topic}  sensor_msgs/msg/JointState")
    assert said[at - 1].split() == ["messages", "size", "rate", "jitter", "begins", "gaps", "largest", "gap", "skew"]
    assert said[at + 1].split()[0] == "700"
    assert "10 Hz" in said[at + 1]
    assert max(map(len, said[1 : at + 2])) <= 80
