"""`streamer.ChunkedRosbagProcessor` runs functions written for messages of rospy, and is called as the origin is."""
# ruff: noqa: SLF001 - names with an underscore are public in messages of rospy

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from streamer import ChunkedRosbagProcessor
from streamer.chunked import ArgumentError, TimelineError
from streamer.chunked.rospy import Duration, Parser, Time
from streamer.demo import tabletop
from streamer.errors import ConfigError, RecordingError
from tests.bags import IMAGE, JOINTS, SECOND, START, Message, encoded, header, joints, numbers, record
from tests.robots import humanoid

if TYPE_CHECKING:
    from collections.abc import Callable

Frames = list[dict[str, Any]]


# Functions in the origin's manner. They are written for messages of rospy and know nothing of this project.


class Processor:
    """As robots' conversion scripts have it."""

    @staticmethod
    def color(msg: Any) -> Any:
        if hasattr(msg, "encoding"):  # a raw image
            return {"data": np.frombuffer(msg.data, dtype=np.uint8).reshape(msg.height, msg.width, 3)}
        start = msg.data.find(b"\xff\xd8")
        if start == -1:
            return None
        bgr: Any = cv2.imdecode(np.frombuffer(msg.data[start:], dtype=np.uint8), cv2.IMREAD_COLOR)
        pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return {"data": pixels, "timestamp": msg.header.stamp.to_sec(), "seq": msg.header.seq}

    @staticmethod
    def depth(msg: Any) -> Any:
        magic = bytes([137, 80, 78, 71, 13, 10, 26, 10])
        at = msg.data.find(magic)
        if at == -1 or len(msg.data) - at < 8:
            return None
        image = cv2.imdecode(np.frombuffer(msg.data[at:], np.uint8), cv2.IMREAD_UNCHANGED)
        return {"data": image, "timestamp": msg.header.stamp.to_sec()}

    @staticmethod
    def state(msg: Any) -> Any:
        return {"data": msg.joint_data.joint_q, "timestamp": msg.header.stamp.to_sec()}

    @staticmethod
    def arm_of_state(msg: Any) -> Any:
        found = Processor.state(msg)
        found["data"] = found["data"][12:26]
        return found

    @staticmethod
    def trajectory(msg: Any) -> Any:
        return {"data": np.deg2rad(msg.position), "timestamp": msg.header.stamp.to_sec()}

    @staticmethod
    def hands(msg: Any) -> Any:
        position = list(msg.position)
        position.extend(list(msg.velocity))
        return {"data": [*position, 1.0] if not msg.effort else position, "names": msg.name}

    @staticmethod
    def grip(msg: Any) -> Any:
        return {"data": msg.data.position, "timestamp": msg.header.stamp.secs + msg.header.stamp.nsecs * 1e-9}


HUMANOID: dict[str, dict[str, Any]] = {
    "head_cam_h": {"topic": "/cam_h/color/image_raw/compressed", "msg_process_fn": Processor.color},
    "depth_h": {"topic": "/cam_h/depth/image_raw/compressedDepth", "msg_process_fn": Processor.depth},
    "observation.state": {"topic": "/sensors_data_raw", "msg_process_fn": Processor.state},
    "arm": {"topic": "/sensors_data_raw", "msg_process_fn": Processor.arm_of_state},
    "action.kuavo_arm_traj": {"topic": "/arm_traj", "msg_process_fn": Processor.trajectory},
    "action.claw": {"topic": "/gripper/command", "msg_process_fn": Processor.grip},
}


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return humanoid(tmp_path_factory.mktemp("origin") / "humanoid", 6.0)


def process(bag: Path, made: ChunkedRosbagProcessor) -> Frames:
    frames: Frames = []
    _, ticks, stamps = made.scan_timestamps_only(str(bag))
    assert made.process_in_chunks(str(bag), ticks, stamps, lambda frame, _: frames.append(frame), 25) == len(frames)
    return frames


def nearest_messages(bag: Path, topic: str, ticks: list[float]) -> list[Any]:
    """Read a topic with rosbags; give the message nearest to each tick, a tie to the earlier."""
    with AnyReader([bag]) as reader:
        chosen = [c for c in reader.connections if c.topic == topic]
        found = [(stamp, reader.deserialize(raw, c.msgtype)) for c, stamp, raw in reader.messages(chosen)]
        every = {stamp / 10**9: stamp for _, stamp, _ in reader.messages()}
    stamps = np.array([stamp for stamp, _ in found])
    return [found[int(np.argmin(np.abs(stamps - every[tick])))][1] for tick in ticks]


def rgb(jpeg: Any) -> Any:
    pixels: Any = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return pixels[..., ::-1]


def test_functions_of_a_humanoid_give_what_rosbags_opencv_and_numpy_give(robot: Path) -> None:
    frames = process(robot, ChunkedRosbagProcessor(Processor(), HUMANOID, ["head_cam_h"], 10, 30, 10, True))
    ticks = [frame["timestamp"] for frame in frames]
    assert len(frames) > 40
    right: dict[str, Callable[[Any], Any]] = {
        "head_cam_h": lambda m: rgb(m.data),
        "depth_h": lambda m: cv2.imdecode(m.data[12:], cv2.IMREAD_UNCHANGED),
        "observation.state": lambda m: m.joint_data.joint_q,
        "arm": lambda m: m.joint_data.joint_q[12:26],
        "action.kuavo_arm_traj": lambda m: m.position * np.pi / 180,
        "action.claw": lambda m: m.data.position,
    }
    for key, make in right.items():
        for frame, message in zip(frames, nearest_messages(robot, HUMANOID[key]["topic"], ticks), strict=True):
            value = frame[key]["data"]
            assert isinstance(value, np.ndarray)
            assert not value.dtype.hasobject
            np.testing.assert_allclose(value, make(message), rtol=1e-12)
    assert frames[0]["arm"]["data"].shape == (14,)


def test_functions_over_a_real_arm_give_its_pictures_and_joints(recordings: Path) -> None:
    bag = recordings / "so101_wrist.bag"
    seen: list[tuple[int, float]] = []

    def state(msg: Any) -> Any:
        assert msg._type == "sensor_msgs/JointState"
        assert isinstance(msg.name, list)
        seen.append((msg.header.stamp.to_nsec(), msg.header.stamp.to_sec()))
        return {"data": np.array(msg.position) if len(msg.position) == 6 else None}

    entries = {
        "wrist": {"topic": "/wrist_camera/image_raw/compressed", "msg_process_fn": Processor.color},
        "state": {"topic": "/joint_states", "msg_process_fn": state},
        "both": {"topic": "/joint_commands", "msg_process_fn": Processor.hands},
    }
    frames = process(bag, ChunkedRosbagProcessor(None, entries, ["wrist"], 10, None, 30, 10, True))
    ticks = [frame["timestamp"] for frame in frames]
    assert len(frames) > 100
    commands = nearest_messages(bag, "/joint_commands", ticks)
    states = nearest_messages(bag, "/joint_states", ticks)
    pictures = nearest_messages(bag, "/wrist_camera/image_raw/compressed", ticks)
    for frame, command, pose, picture in zip(frames, commands, states, pictures, strict=True):
        assert np.array_equal(frame["state"]["data"], pose.position)
        assert frame["both"]["data"].tolist()[:6] == command.position.tolist()
        assert frame["both"]["names"] == command.name
        assert np.array_equal(frame["wrist"]["data"], rgb(picture.data))
        assert frame["wrist"]["seq"] == picture.header.seq
    for (nanoseconds, seconds), pose in zip(seen, states, strict=True):
        assert nanoseconds == pose.header.stamp.sec * 10**9 + pose.header.stamp.nanosec
        assert seconds == pose.header.stamp.sec + pose.header.stamp.nanosec / 1e9


def test_functions_over_the_demo_recording_give_what_the_built_in_decoders_give(tmp_path: Path) -> None:
    tabletop(bag := tmp_path / "demo.bag", seconds=3)
    topics = {
        "front": ("/cam_front/color/image_raw/compressed", Processor.color, {}),
        "depth": ("/cam_front/depth/image_rect_raw/compressedDepth", Processor.depth, {}),
        "state": ("/joint_states", lambda msg: {"data": list(msg.position)}, {"field": "position"}),
    }
    origin = {key: {"topic": topic, "msg_process_fn": function} for key, (topic, function, _) in topics.items()}
    ours = {key: {"topic": topic, **settings} for key, (topic, _, settings) in topics.items()}
    made = [process(bag, ChunkedRosbagProcessor(None, entries, ["front"], 10, 30)) for entries in (origin, ours)]
    assert len(made[0]) == len(made[1]) > 20
    for one, other in zip(*made, strict=True):
        for key in topics:
            assert (
                np.array_equal(one[key]["data"], other[key]["data"])
                or np.abs(one[key]["data"].astype(int) - other[key]["data"]).max() <= 1
            ), key  # two builds of a JPEG decoder


# How it is called


def test_both_orders_of_the_origin_and_names_mean_the_same(robot: Path) -> None:
    entries = {key: HUMANOID[key] for key in ("head_cam_h", "arm")}
    calls = [
        ChunkedRosbagProcessor(None, entries, ["head_cam_h"], 10, 30, 10, False, (0.2, 0.9)),
        ChunkedRosbagProcessor({}, entries, ["head_cam_h"], 10, None, 30, 10, False, (0.2, 0.9)),
        ChunkedRosbagProcessor(None, entries, ["head_cam_h"], 10, "head_cam_h", 30, 10, False, (0.2, 0.9)),
        ChunkedRosbagProcessor(None, entries, ["head_cam_h"], 10, 30, crop_range=(0.2, 0.9), sample_drop=10),
        ChunkedRosbagProcessor(entries, ["head_cam_h"], 10, 30, 10, None, (0.2, 0.9), only_half_up_body=False),
        ChunkedRosbagProcessor(
            msg_processer=Processor(),
            topic_process_map=entries,
            camera_names=["head_cam_h"],
            train_hz=10,
            main_timeline=None,
            main_timeline_fps=30,
            sample_drop=10,
            only_half_up_body=False,
            crop_range=(0.2, 0.9),
        ),
    ]
    scans = [made.scan_timestamps_only(robot) for made in calls]
    assert all(scan == scans[0] for scan in scans)
    assert [made.only_half_up_body for made in calls] == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((None, HUMANOID, ["head_cam_h"], 10, 30, 10, True, None, 4), {}, "at most 8 arguments"),
        ((None, HUMANOID, ["head_cam_h"], 10), {"train_hz": 10}, "two values for train_hz"),
        ((None, HUMANOID, ["head_cam_h"], 10), {}, "main_timeline_fps"),
        ((None, HUMANOID, ["head_cam_h"], 10, 30), {"trian_hz": 10}, "trian_hz"),
    ],
)
def test_arguments_that_do_not_bind_are_type_errors(arguments: Any, named: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ChunkedRosbagProcessor(*arguments, **named)


def test_attributes_can_be_read_and_changed_between_calls(robot: Path) -> None:
    made = ChunkedRosbagProcessor(None, HUMANOID, ["head_cam_h"], 10, 30, 10, True)
    assert (made.camera_names, made.train_hz, made.main_timeline_fps) == (["head_cam_h"], 10, 30)
    assert (made.sample_drop, made.only_half_up_body, made.main_timeline, made.crop_range) == (10, True, None, None)
    before = made.scan_timestamps_only(robot)[1]
    made.sample_drop, made.train_hz = 0, 30
    assert len(made.scan_timestamps_only(robot)[1]) > 3 * len(before)
    made.train_hz = 0
    with pytest.raises(ValueError, match="train_hz is 0"):
        made.scan_timestamps_only(robot)


def test_ticks_end_strictly_before_the_earliest_last_message(tmp_path: Path) -> None:
    camera = numbers("/camera", range(START, START + 4 * SECOND, SECOND // 10))
    arm = joints("/arm", range(START, START + 2 * SECOND + 1, SECOND // 10))
    path = record(tmp_path / "trim", "ros1", [*camera, *arm])
    entries = {"camera": {"topic": "/camera", "field": "data"}, "arm": {"topic": "/arm", "field": "position"}}
    _, ticks, stamps = ChunkedRosbagProcessor(None, entries, ["camera"], 10, 10, 0).scan_timestamps_only(path)
    assert len(stamps["camera"]) == 40
    assert ticks == stamps["camera"][:20]  # the camera has a message at the very instant of the arm's last
    whole = ChunkedRosbagProcessor(None, entries, ["camera"], 10, 10, 0, end_trim=False)
    assert whole.scan_timestamps_only(path)[1] == stamps["camera"]


def test_what_the_origin_raises_as_a_value_error_is_one_and_has_an_exit_code(robot: Path) -> None:
    gone = {"head_cam_h": {"topic": "/gone", "msg_process_fn": Processor.color}, "arm": HUMANOID["arm"]}
    few = {"sample_drop": 1000}
    for entries, changes in ((gone, {}), (HUMANOID, few)):
        made = ChunkedRosbagProcessor(None, entries, ["head_cam_h"], 10, 30, **changes)
        with pytest.raises(ValueError, match=r"no message of a camera|leave none") as caught:
            made.scan_timestamps_only(robot)
        assert isinstance(caught.value, TimelineError)
        assert isinstance(caught.value, RecordingError)
        assert caught.value.exit_code == 65
    with pytest.raises(ValueError, match="train_hz is 40") as wrong:
        ChunkedRosbagProcessor(None, HUMANOID, ["head_cam_h"], 40, 30)
    assert isinstance(wrong.value, ArgumentError)
    assert isinstance(wrong.value, ConfigError)


# What a function returns


def counted(path: Path, function: Callable[[Any], Any], **more: Any) -> Frames:
    bag = record(path / "bag", "ros1", joints("/arm", range(START, START + SECOND, SECOND // 10)))
    entries = {"arm": {"topic": "/arm", "msg_process_fn": function}}
    return process(bag, ChunkedRosbagProcessor(None, entries, ["arm"], 10, 10, 0, end_trim=False, **more))


def test_a_function_that_returns_none_gives_a_missing_sample(tmp_path: Path) -> None:
    def even(msg: Any) -> Any:
        return {"data": msg.position} if msg.position[0] % 2 == 0 else None

    frames = counted(tmp_path, even)
    assert [frame["arm"] is None for frame in frames] == [n % 2 == 1 for n in range(10)]
    assert [f["arm"]["data"].tolist() for f in frames if f["arm"]] == [[n, n + 1, n + 2] for n in range(0, 10, 2)]


@pytest.mark.parametrize(
    ("made", "right"),
    [
        ({"data": None, "more": 1}, None),
        ([1, 2], np.array([1, 2])),
        ((0.5, 1.5), np.array([0.5, 1.5])),
        (3, np.array(3)),
        ({"data": np.float32(2)}, np.array(2, np.float32)),
        ({"data": [[True]]}, np.array([[True]])),
    ],
)
def test_numbers_of_any_kind_become_an_array(tmp_path: Path, made: Any, right: Any) -> None:
    for frame in counted(tmp_path, lambda _: made):
        if right is None:
            assert frame["arm"] is None
        else:
            value = frame["arm"]["data"]
            assert (value.dtype, value.shape, value.tolist()) == (right.dtype, right.shape, right.tolist())


@pytest.mark.parametrize("made", [np.array(None), {"data": [None, 1.0]}, {"data": [[1], [1, 2]]}, [object()]])
def test_an_array_of_objects_is_refused_with_the_message_that_it_is_made_of(tmp_path: Path, made: Any) -> None:
    with pytest.raises(ArgumentError, match=r"the function for /arm made .* of message 0: it should return numbers"):
        counted(tmp_path, lambda _: made)


@pytest.mark.parametrize(("filler", "value"), [(None, None), (999.0, 999.0), (0, 0.0)])
def test_gap_value_fills_gaps_of_fields_and_functions_alike(tmp_path: Path, filler: Any, value: float | None) -> None:
    camera = numbers("/camera", range(START, START + 4 * SECOND, SECOND // 10))
    arm = [n for n in range(START, START + 4 * SECOND, SECOND // 10) if not SECOND < n - START < 2 * SECOND]
    path = record(tmp_path / "gaps", "ros1", [*camera, *joints("/arm", arm)])
    entries = {
        "camera": {"topic": "/camera", "field": "data"},
        "action.kuavo_arm_traj": {"topic": "/arm", "msg_process_fn": Processor.trajectory},
        "field": {"topic": "/arm", "field": "position", "gap": "150 ms"},
    }
    frames = process(path, ChunkedRosbagProcessor(None, entries, ["camera"], 10, 10, 0, False, gap_value=filler))
    for number, frame in enumerate(frames):
        for key in ("action.kuavo_arm_traj", "field"):
            if not 10 < number < 20:
                assert frame[key]["timestamp"] == frame["timestamp"]
                assert frame[key]["data"].dtype == np.float64
            elif value is None:
                assert frame[key] is None
            else:
                assert frame[key]["timestamp"] == frame["timestamp"]
                assert frame[key]["data"].dtype == np.float32
                assert frame[key]["data"].tolist() == [value] * 3


@pytest.mark.parametrize("align", ["linear", "mean"])
def test_what_only_numbers_can_do_is_refused_for_functions(align: str) -> None:
    entries = {"arm": {"topic": "/arm", "msg_process_fn": Processor.trajectory, "align": align}}
    with pytest.raises(ArgumentError, match=f"align: '{align}' is for entries without"):
        ChunkedRosbagProcessor(None, entries, ["arm"], 10, 10)


def test_salvage_reads_what_is_intact_of_a_bag_that_was_cut_off(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole", "ros1", joints("/arm", range(START, START + 20 * SECOND, SECOND // 10)), 2000)
    cut = tmp_path / "cut.bag"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    entries = {"arm": {"topic": "/arm", "msg_process_fn": lambda msg: {"data": msg.position}}}
    with pytest.raises(RecordingError):
        process(cut, ChunkedRosbagProcessor(None, entries, ["arm"], 10, 10))
    frames = process(cut, ChunkedRosbagProcessor(None, entries, ["arm"], 10, 10, salvage=True))
    assert 50 < len(frames) < 150
    assert [frame["arm"]["data"][0] for frame in frames] == list(range(len(frames)))


def test_a_message_that_does_not_parse_is_named(tmp_path: Path) -> None:
    good = joints("/arm", range(START, START + SECOND, SECOND // 10))
    path = record(tmp_path / "short", "ros1", [*good[:5], good[5]._replace(data=good[5].data[:-3]), *good[6:]])
    entries = {"arm": {"topic": "/arm", "msg_process_fn": lambda msg: msg.position}}
    with pytest.raises(RecordingError, match="message 5 of /arm does not parse"):
        process(path, ChunkedRosbagProcessor(None, entries, ["arm"], 10, 10))


# Messages

_TYPES = {
    "demo_msgs/msg/Part": "int32 IDLE=3\nstring MODE=on=off\nstring[] words\ntime at\nduration took\n",
    "demo_msgs/msg/Whole": (
        "std_msgs/Header header\ndemo_msgs/Part[] parts\ndemo_msgs/Part[2] pair\nuint8[] data\nuint8[3] rgb\n"
        "char[] chars\nint8[] signed\nbool[] flags\nfloat32[2] two\nfloat64[] many\ntime[] times\n"
        "bool ok\nstring text\n"
    ),
}


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def _part(*words: str) -> bytes:
    return struct.pack("<I", len(words)) + b"".join(map(_text, words)) + struct.pack("<IIii", 5, 7, -1, 500_000_000)


def test_a_message_has_the_types_that_rospy_gives_each_kind_of_field() -> None:
    types = dict(get_typestore(Stores.ROS1_NOETIC).fielddefs)
    for name, definition in _TYPES.items():
        types |= get_types_from_msg(definition, name)
    raw = struct.pack("<III", 42, 1_700_000_000, 250_000_001) + _text("base")
    raw += struct.pack("<I", 1) + _part("a", "b") + _part() + _part("c")
    raw += struct.pack("<I", 4) + b"\xff\xd8\x00\x01" + b"rgb" + struct.pack("<I", 2) + b"hi"
    raw += struct.pack("<I2b", 2, -1, 5) + struct.pack("<I2B", 2, 1, 0) + struct.pack("<2f", 0.5, 0.25)
    raw += struct.pack("<I3d", 3, 1, 2, 3) + struct.pack("<I2I", 1, 9, 1) + b"\1" + _text("end")
    msg: Any = Parser(types, "demo_msgs/msg/Whole", "ros1")(raw)
    assert (msg._type, msg.header._type) == ("demo_msgs/Whole", "std_msgs/Header")
    assert msg.__slots__[:3] == ("header", "parts", "pair")
    assert msg._slot_types[:5] == ("std_msgs/Header", "demo_msgs/Part[]", "demo_msgs/Part[2]", "uint8[]", "uint8[3]")
    assert msg._slot_types[10] == "time[]"
    assert msg._has_header
    assert (msg.header.seq, msg.header.frame_id) == (42, "base")
    assert msg.header.stamp == Time(1_700_000_000, 250_000_001)
    assert (type(msg.data), msg.data, msg.rgb, msg.chars) == (bytes, b"\xff\xd8\x00\x01", b"rgb", b"hi")
    assert (msg.signed, msg.flags, msg.two, msg.many) == ((-1, 5), [True, False], (0.5, 0.25), (1.0, 2.0, 3.0))
    assert (msg.times, msg.ok, msg.text) == ([Time(9, 1)], True, "end")
    assert [part.words for part in (*msg.parts, *msg.pair)] == [["a", "b"], [], ["c"]]
    assert (msg.parts[0].at.to_sec(), msg.parts[0].took.to_sec()) == (5 + 7e-9, -0.5)
    assert (msg.parts[0].IDLE, msg.parts[0].MODE) == (3, "on=off")
    assert msg.pair[0] != msg.pair[1]
    assert "words=['c']" in repr(msg)
    msg.text = "changed"
    assert msg.text == "changed"


def test_messages_of_ros_2_are_given_in_the_same_way() -> None:
    raw = encoded("cdr", JOINTS, header=header(START + 5), name=["a", "b"], position=np.array([1.0, 2.0]))
    msg: Any = Parser(get_typestore(Stores.LATEST).fielddefs, JOINTS, "cdr")(raw)
    assert (msg._type, msg.name, msg.position, msg.velocity) == ("sensor_msgs/JointState", ["a", "b"], (1.0, 2.0), ())
    assert (msg.header.stamp.to_nsec(), msg.header.stamp.sec, msg.header.stamp.nanosec) == (
        START + 5,
        START // SECOND,
        5,
    )


def test_times_and_durations_count_as_genpy_counts() -> None:
    early, late = Time(10, 900_000_000), Time(12, 100_000_000)
    assert (late - early, early - late) == (Duration(1, 200_000_000), Duration(-2, 800_000_000))
    assert (early - late).to_sec() == pytest.approx(-1.2)
    assert early + Duration(0, 200_000_000) == Time(11, 100_000_000)
    assert late - Duration(12, 100_000_000) == Time(0, 0)
    assert (late - Duration(12, 100_000_000)).is_zero()
    assert -Duration(1, 500_000_000) + Duration(2, 0) == Duration(0, 500_000_000)
    assert early < late
    assert max(early, late) is late
    assert {early: 1}[Time(10, 900_000_000)] == 1
    assert (str(early), early.to_time()) == ("10900000000", 10.9)
    with pytest.raises(TypeError):
        early + late  # type: ignore[operator]


def test_functions_for_raw_images_read_their_bytes(tmp_path: Path) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    about = {"height": 4, "width": 5, "encoding": "rgb8", "step": 15, "data": pixels.reshape(-1)}
    stamps = range(START, START + SECOND, SECOND // 10)
    pictures = [Message("/c", s, encoded("ros1", IMAGE, header=header(s), **about), IMAGE) for s in stamps]
    path = record(tmp_path / "raw", "ros1", pictures)
    entries = {"c": {"topic": "/c", "msg_process_fn": Processor.color}}
    frames = process(path, ChunkedRosbagProcessor(None, entries, ["c"], 10, 10))
    assert len(frames) == 9
    assert all(np.array_equal(frame["c"]["data"], pixels) for frame in frames)


def test_one_topic_may_be_read_by_functions_and_fields_at_once(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", joints("/arm", range(START, START + SECOND, SECOND // 10)))
    entries = {
        "whole": {"topic": "/arm", "msg_process_fn": lambda msg: list(msg.position)},
        "first": {"topic": "/arm", "field": "position[0:1]"},
    }
    for frame in process(path, ChunkedRosbagProcessor(None, entries, ["whole"], 10, 10)):
        assert frame["whole"]["data"][:1].tolist() == frame["first"]["data"].tolist()


def test_a_shift_moves_the_samples_of_functions_and_fields_alike(tmp_path: Path) -> None:
    stamps = range(START, START + SECOND, SECOND // 10)
    path = record(tmp_path / "bag", "ros1", [*numbers("/camera", stamps), *joints("/arm", stamps)])
    entries = {
        "camera": {"topic": "/camera", "field": "data"},
        "function": {"topic": "/arm", "msg_process_fn": lambda msg: msg.position, "shift": "-200 ms"},
        "field": {"topic": "/arm", "field": "position", "shift": "-200 ms"},
    }
    frames = process(path, ChunkedRosbagProcessor(None, entries, ["camera"], 10, 10))
    assert len(frames) == 7
    for number, frame in enumerate(frames):
        for key in ("function", "field"):
            assert (frame[key]["data"][0], frame[key]["timestamp"]) == (number + 2, frame["timestamp"])


def test_message_is_what_the_recording_says_not_what_a_topic_is_called(tmp_path: Path) -> None:
    values = [
        Message("/n", START + n * 10**6, encoded("ros1", "std_msgs/msg/Int32", data=n), "std_msgs/msg/Int32")
        for n in range(4)
    ]
    path = record(tmp_path / "ints", "ros1", values)
    entries = {"n": {"topic": "/n", "msg_process_fn": lambda msg: {"data": msg.data, "type": msg._type}}}
    frames = process(path, ChunkedRosbagProcessor(None, entries, ["n"], 10, 10, end_trim=False))
    assert [(int(f["n"]["data"]), f["n"]["type"]) for f in frames] == [(n, "std_msgs/Int32") for n in range(4)]
