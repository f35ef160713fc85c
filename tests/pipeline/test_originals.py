"""Recorded messages that are written again: held, byte for byte, against the recording as rosbags reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags import rosbag2
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from tests.bags import START, Message, joints, numbers, record, store
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

MS = 10**6
TICKS = [START + n * 100 * MS for n in range(20)]
NEVER = QosTime(0, 0)
LATCHED = Qos(
    history=QosHistory.KEEP_LAST,
    depth=3,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.TRANSIENT_LOCAL,
    deadline=NEVER,
    lifespan=NEVER,
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=NEVER,
    avoid_ros_namespace_conventions=False,
)

Lines = dict[str, list[tuple[int, bytes]]]


def messages(encoding: str) -> list[Message]:
    """Return 2 s: ticks at 10 Hz, joints at 100 Hz of which headers are 3 ms earlier, and a rare number."""
    fast = {START + n * 10 * MS + 3 * MS: START + n * 10 * MS for n in range(200)}
    found = [
        *numbers("/tick", TICKS, encoding),
        *joints("/joints", fast, encoding),
        *numbers("/rare", [START + 50 * MS, START + 1_250 * MS], encoding),
    ]
    return sorted(found, key=lambda message: message.stamp)


def with_qos(path: Path, plugin: rosbag2.StoragePlugin) -> Path:
    with rosbag2.Writer(path, version=9, storage_plugin=plugin) as writer:
        topics: dict[str, Any] = {}
        for message in messages("cdr"):
            if message.topic not in topics:
                types = store("cdr")
                topics[message.topic] = writer.add_connection(
                    message.topic, message.kind, typestore=types, offered_qos_profiles=[LATCHED]
                )
            writer.write(topics[message.topic], message.stamp, message.data)
    return path


def configured(path: Path, which: str, **more: Any) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "tick", "start": "0.5 s", "end_at": "1.5 s"},
        "chunk_size": 4,
        "pool": "8 MB",
        "streams": {
            "tick": {"topic": "/tick", "field": "data"},
            "joints": {"topic": "/joints", "field": "position"},
            "between": {"topic": "/joints", "field": "position", "align": "linear", "clock": "header"},
            "rare": {"topic": "/rare", "field": "data", "align": "previous", "missing": "hold"},
        },
        "consumers": {"mcap": {"options": {"out": "out", "messages": which}}},
    } | more


def written(path: Path) -> Lines:
    found: Lines = {}
    with path.open("rb") as file:
        for _, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            found.setdefault(channel.topic, []).append((message.log_time, message.data))
    return found


def recorded(path: Path, first: int, last: int) -> Lines:
    found: Lines = {}
    with AnyReader([path]) as reader:
        for connection, stamp, data in reader.messages():
            if first <= stamp <= last:
                found.setdefault(connection.topic, []).append((stamp, bytes(data)))
    return found


@pytest.mark.parametrize("plugin", rosbag2.StoragePlugin)
def test_all_messages_of_a_part_are_those_of_the_recording_with_its_definitions_and_qos(
    tmp_path: Path, plugin: rosbag2.StoragePlugin
) -> None:
    bag = with_qos(tmp_path / "take", plugin)
    config = configured(bag, "all")
    config["consumers"]["mcap"]["recycle"] = {"chunks": 1}
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    result = tmp_path / "out/take.mcap"
    assert written(result) == recorded(bag, TICKS[5], TICKS[15])
    assert {topic: len(lines) for topic, lines in written(result).items()} == {"/tick": 11, "/joints": 100, "/rare": 1}
    with result.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None
        (profiles,) = {channel.metadata["offered_qos_profiles"] for channel in summary.channels.values()}
        offered = yaml.safe_load(profiles)[0]
        assert (offered["depth"], offered["reliability"], offered["durability"]) == (3, "reliable", "transient_local")
        found = [decoded for *_, decoded in reader.iter_decoded_messages(topics=["/joints"])]
        assert (found[0].header.stamp.sec, len(found[0].position)) == (START // 10**9, 3)
    with rosbag2.Reader(result) as played:  # as ros2 bag play opens it
        assert {one.topic for one in played.connections} == {"/tick", "/joints", "/rare"}
        assert [bytes(data) for _, _, data in played.messages()]


def test_chosen_messages_are_those_that_the_frames_show_each_once(tmp_path: Path) -> None:
    bag = record(tmp_path / "take", "ros1", messages("ros1"))
    config = configured(bag, "chosen")
    config["consumers"]["seen"] = {"use": "null"}  # of the same streams, decoded
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    found, every = written(tmp_path / "out/take.mcap"), recorded(bag, 0, 2**63)
    ticks = np.array(TICKS[5:16])
    stamps = np.array([stamp for stamp, _ in every["/joints"]])
    nearest = {int(stamps[np.argmin(np.abs(stamps - tick))]) for tick in ticks}
    # in header time, which is 3 ms earlier, each tick falls on a message, which is received 3 ms after it
    between = {int(tick) + 3 * MS for tick in ticks}
    assert [stamp for stamp, _ in found["/joints"]] == sorted(nearest | between)
    assert set(found["/joints"]) <= set(every["/joints"])
    assert found["/tick"] == every["/tick"][5:16]
    assert found["/rare"] == every["/rare"]  # the first is held from before the part, and written once
    with (tmp_path / "out/take.mcap").open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros1"
        summary = reader.get_summary()
        assert summary is not None
        assert {schema.encoding for schema in summary.schemas.values()} == {"ros1msg"}
        assert all(channel.metadata["md5sum"] for channel in summary.channels.values())


def test_each_episode_has_the_messages_of_its_own_part(tmp_path: Path) -> None:
    bag = record(tmp_path / "take", "mcap", messages("cdr"))
    config = configured(bag, "all", episodes={"every": "0.8 s"}, timeline={"from": "tick"})
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    results = sorted((tmp_path / "out").glob("take-*.mcap"))
    assert len(results) == 3
    for path, (first, last) in zip(results, ((0, 7), (8, 15), (16, 19)), strict=True):
        found = written(path)
        stamps = [stamp for stamp, _ in found["/tick"]]
        assert stamps[0] >= TICKS[first]
        assert stamps[-1] <= TICKS[last]
        assert found == recorded(bag, stamps[0], stamps[-1])


def test_what_cannot_be_written_again_is_refused_before_the_start(tmp_path: Path) -> None:
    bag = record(tmp_path / "take", "mcap", messages("cdr"))
    config = configured(bag, "all")
    config["consumers"]["mcap"]["every"] = 2
    finished = run(tmp_path, config)
    assert finished.code == 78
    assert "'messages: all' needs every frame" in finished.err
    config["consumers"]["mcap"]["options"]["messages"] = "most"
    finished = run(tmp_path, config)
    assert finished.code == 78
    assert "messages is one of aligned, chosen, all, not 'most'" in finished.err
