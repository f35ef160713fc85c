"""MCAP files, read with the `mcap` package and decoded by its decoder of ROS 2's messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.rosbag2 import Reader

from consumers.mcap import Mcap
from streamer.contract import Chunk, Frame, Outlook, Sample, StreamInfo
from streamer.errors import ConfigError
from tests.consumers.test_arrays import ARM, HEAD, START, STREAMS, TICKS, WITHOUT, feed, points, recording
from tests.consumers.test_folders import METRES, MILLIMETRES, POSE, RGBD

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = {
    **{name: STREAMS[name] for name in ("arm", "head", "cloud", "count")},
    **{name: RGBD[name] for name in ("depth", "far", "gray", "base")},
    "on": StreamInfo("on", "/on", "x", "vector", (2,), np.dtype("?")),
    "ranges": StreamInfo("ranges", "/ranges", "x", "vector", (5,), np.dtype("f4"), variable=True),
    "say": StreamInfo("say", "/say", "std_msgs/msg/String", "text", (99,), np.dtype("S1"), variable=True),
    "never": StreamInfo("never", "/never", "x", "vector", (0,), np.dtype("f8")),
}


def values(n: int) -> dict[str, Any]:
    pictures = {"head": HEAD[n], "depth": MILLIMETRES[n], "far": METRES[n], "gray": HEAD[n, ..., 0]}
    numbers = {"arm": ARM[n], "base": POSE[n], "count": np.array([n], "i4"), "on": np.array([n % 2, 1], "?")}
    return {**pictures, **numbers, "cloud": points(n), "ranges": np.arange(n % 6, dtype="f4"), "say": f"{n} – ü"}


def show(consumer: Mcap, frames: int = 10) -> None:
    about = recording("take", frames, SHOWN)
    consumer.open(about, None)
    for n in range(frames):
        samples: dict[str, Sample | None] = {k: Sample(v, int(TICKS[n]) + 7, 7, 0) for k, v in values(n).items()}
        samples |= {"never": None} | ({"count": None} if n == WITHOUT else {})
        consumer.on_frame(Frame(n, n, int(TICKS[n]), samples))
        if n % 4 == 3 or n == frames - 1:
            consumer.on_chunk(Chunk(n // 4, n - n % 4, n, n % 4 + 1))
    consumer.close(about)


def messages(path: Path) -> dict[str, list[tuple[Any, Any]]]:
    found: dict[str, list[tuple[Any, Any]]] = {}
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()], validate_crcs=True)
        for _, channel, message, decoded in reader.iter_decoded_messages():
            found.setdefault(channel.topic, []).append((message, decoded))
    return found


def test_every_value_is_what_was_shown_in_a_message_that_ros_2_knows(tmp_path: Path) -> None:
    show(Mcap(str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["take.mcap"]
    found = messages(tmp_path / "take.mcap")
    assert set(found) == {f"/{name}" for name in SHOWN if name != "never"}
    for topic, lines in found.items():
        numbers = [n for n in range(10) if not (topic == "/count" and n == WITHOUT)]
        assert [message.sequence for message, _ in lines] == numbers
        assert [message.log_time for message, _ in lines] == TICKS[numbers].tolist()
        assert {message.publish_time - message.log_time for message, _ in lines} == {7}
    for n in range(10):
        one = {topic[1:]: lines[n][1] for topic, lines in found.items() if topic != "/count"}
        assert (one["head"].encoding, one["depth"].encoding, one["far"].encoding) == ("rgb8", "16UC1", "32FC1")
        assert (one["head"].height, one["head"].width, one["head"].step) == (4, 6, 18)
        for name in ("head", "depth", "far", "gray"):
            assert one[name].data == values(n)[name].tobytes()
            stamp = one[name].header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == TICKS[n] + 7
        assert list(one["arm"].data) == ARM[n].tolist()
        assert one["arm"].layout.dim[0].label == "waist,wrist"
        pose = one["base"].pose
        where = [getattr(pose.position, a) for a in "xyz"] + [getattr(pose.orientation, a) for a in "xyzw"]
        assert where == POSE[n].tolist()
        assert list(one["on"].data) == [n % 2, 1]
        assert list(one["ranges"].data) == list(range(n % 6))
        assert one["say"].data == f"{n} – ü"
        cloud = one["cloud"]
        assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [("x", 0, 7, 1), ("ring", 4, 4, 1)]
        assert (cloud.width, cloud.point_step, cloud.data) == (n % 6, 6, points(n).tobytes())
    assert [decoded.data for _, decoded in found["/count"]] == [n for n in range(10) if n != WITHOUT]


def test_rosbags_opens_it_and_it_says_where_it_comes_from(tmp_path: Path) -> None:
    show(Mcap(str(tmp_path), compression="lz4", pictures="png"), 5)
    with (tmp_path / "take.mcap").open("rb") as file:
        reader = make_reader(file)
        assert reader.get_header().profile == "ros2"
        (about,) = reader.iter_metadata()
        assert json.loads(about.metadata["provenance"])["fingerprint"] == "take"
        summary = reader.get_summary()
        assert summary is not None
        channels = {channel.topic: channel.metadata for channel in summary.channels.values()}
        assert channels["/arm"]["unit"] == "rad"
        assert json.loads(channels["/arm"]["names"]) == ["waist", "wrist"]
    found = messages(tmp_path / "take.mcap")
    for n in range(5):
        content = found["/head"][n][1]
        picture: Any = cv2.imdecode(np.frombuffer(content.data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert content.format == "png"
        assert np.array_equal(picture[..., ::-1], HEAD[n])
    feed(Mcap(str(tmp_path / "jpeg"), pictures="jpeg"))
    assert found["/depth"][0][1].encoding == "16UC1"  # no picture for eyes
    with Reader(tmp_path / "take.mcap") as bag:
        assert bag.start_time == START
        assert {one.topic: one.msgtype for one in bag.connections}["/count"] == "std_msgs/msg/Int32"


def test_what_no_message_holds_is_refused(tmp_path: Path) -> None:
    for kind, dtype, shape, words in (
        ("vector", np.dtype("f2"), (3,), "no message for vectors of float16"),
        ("points", np.dtype([("t", "<u8")]), (3,), "PointCloud2 has no uint64, which 't' is"),
        ("image", np.dtype("f4"), (3, 3, 3), "ROS has no picture of 3 × float32"),
    ):
        stream = StreamInfo("s", "/s", "x", kind, shape, dtype)
        outlook = Outlook(recording("take", 6, {"s": stream}), TICKS[:6], np.arange(6), {})
        with pytest.raises(ConfigError, match=words):
            Mcap(str(tmp_path)).check(outlook)
