"""`streamer.ChunkedRosbagProcessor`, held against what plain rosbags and a search through lists find."""

from __future__ import annotations

import threading
from bisect import bisect_left
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from rosbags.highlevel import AnyReader

from streamer import ChunkedRosbagProcessor
from streamer.demo import tabletop
from streamer.errors import ConfigError, RecordingError
from streamer.memory import anonymous
from tests.bags import SECOND, START, joints, numbers, record

Frames = list[dict[str, Any]]
TOPICS = {
    "front": "/cam_front/color/image_raw/compressed",
    "wrist": "/cam_wrist/color/image_raw/compressed",
    "depth": "/cam_front/depth/image_rect_raw/compressedDepth",
    "state": "/joint_states",
    "gripper": "/gripper/command",
}


def positions(message: Any) -> dict[str, Any]:
    return {"data": message.position, "names": list(message.name)}


def topic_map() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {key: {"topic": topic} for key, topic in TOPICS.items()}
    found["state"]["msg_process_fn"] = positions
    found["gripper"]["field"] = "data"
    return found


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chunked") / "tabletop.bag"
    tabletop(path, seconds=12)
    return path


def processor(**changes: Any) -> ChunkedRosbagProcessor:
    values: dict[str, Any] = {
        "topic_process_map": topic_map(),
        "camera_names": ["front", "wrist"],
        "train_hz": 10,
        "main_timeline_fps": 30,
        "sample_drop": 10,
    }
    return ChunkedRosbagProcessor(**values | changes)


def process(bag: Path, made: ChunkedRosbagProcessor, chunk_size: int = 100) -> Frames:
    frames: Frames = []
    _, ticks, stamps = made.scan_timestamps_only(bag)
    count = made.process_in_chunks(str(bag), ticks, stamps, lambda frame, _: frames.append(frame), chunk_size)
    assert count == len(frames) == len(ticks)
    return frames


def same(a: Frames, b: Frames) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        assert one["timestamp"] == other["timestamp"]
        for key in one.keys() - {"timestamp"}:
            if one[key] is None or other[key] is None:
                assert one[key] is other[key]
            else:
                assert one[key]["timestamp"] == other[key]["timestamp"]
                assert one[key]["data"].dtype == other[key]["data"].dtype
                assert np.array_equal(one[key]["data"], other[key]["data"])


def reference(bag: Path, drop: int, jump: int) -> Frames:
    """Load everything with rosbags, search each list for the nearest."""
    found: dict[str, list[tuple[int, Any]]] = {key: [] for key in TOPICS}
    keys = {topic: key for key, topic in TOPICS.items()}
    with AnyReader([bag]) as reader:
        for connection, stamp, raw in reader.messages([c for c in reader.connections if c.topic in keys]):
            found[keys[connection.topic]].append((stamp, reader.deserialize(raw, connection.msgtype)))
    frames: Frames = []
    main = max(("front", "wrist"), key=lambda key: len(found[key]))
    for tick, _ in found[main][drop:-drop][::jump]:
        frame: dict[str, Any] = {"timestamp": tick / 10**9}
        for key, messages in found.items():
            at = bisect_left([stamp for stamp, _ in messages], tick)
            near = [n for n in (at - 1, at) if 0 <= n < len(messages)]
            stamp, message = messages[min(near, key=lambda n: (abs(messages[n][0] - tick), n))]
            frame[key] = {"data": decoded(key, message), "timestamp": stamp / 10**9}
        frames.append(frame)
    return frames


def decoded(key: str, message: Any) -> Any:
    if key in ("front", "wrist"):
        return simplejpeg.decode_jpeg(message.data, "RGB")
    if key == "depth":
        return cv2.imdecode(message.data[12:], cv2.IMREAD_UNCHANGED)
    return message.position if key == "state" else np.array([message.data])


def test_its_frames_are_those_that_a_search_through_all_messages_finds(bag: Path) -> None:
    same(process(bag, processor()), reference(bag, 10, 3))


def test_chunk_size_changes_nothing_with_a_sparse_topic_included(bag: Path) -> None:
    with AnyReader([bag]) as reader:
        assert 2 <= reader.topics[TOPICS["gripper"]].msgcount <= 20
    first = process(bag, processor(), 25)
    for chunk_size in (50, 100, 1000):
        same(process(bag, processor(), chunk_size), first)


def test_the_scan_gives_every_stamp_and_what_crop_drop_and_rate_leave(bag: Path) -> None:
    main, ticks, stamps = processor(crop_range=(0.25, 0.75)).scan_timestamps_only(bag)
    assert main == "front"
    with AnyReader([bag]) as reader:
        for key, topic in TOPICS.items():
            own = [
                stamp / 10**9 for c, stamp, _ in reader.messages([c for c in reader.connections if c.topic == topic])
            ]
            assert stamps[key] == sorted(own)
    total = len(stamps[main])
    assert ticks == stamps[main][int(0.25 * total) : int(0.75 * total)][10:-10][::3]
    _, ticks, _ = processor(train_hz=20, sample_drop=0).scan_timestamps_only(bag)
    assert ticks == [stamp for n, stamp in enumerate(stamps[main]) if n % 3 != 2]


def test_arrays_are_the_callers_own(bag: Path) -> None:
    frames = process(bag, processor())
    arrays = [sample["data"] for frame in frames for sample in frame.values() if isinstance(sample, dict)]
    assert len({array.__array_interface__["data"][0] for array in arrays}) == len(arrays)
    assert all(array.flags.writeable and array.flags.owndata for array in arrays)
    frames[3]["gripper"]["data"][:] = 7  # the frames around it show the same message
    same(frames[:3] + frames[4:], (again := process(bag, processor()))[:3] + again[4:])


def test_memory_is_that_of_a_few_frames_whatever_the_chunk_size(bag: Path) -> None:
    made = processor(train_hz=30)
    _, ticks, stamps = made.scan_timestamps_only(bag)
    sizes: list[int] = []
    used: list[int] = [anonymous()]

    def look(frame: dict[str, Any], _: int) -> None:
        sizes.append(sum(sample["data"].nbytes for sample in frame.values() if isinstance(sample, dict)))
        used.append(anonymous())

    made.process_in_chunks(bag, ticks, stamps, look, 1000)
    assert sum(sizes) > 300 * 10**6
    assert max(used) - used[0] < sum(sizes) / 4


def test_the_save_callback_comes_after_each_chunk_with_the_argument_that_it_needs(bag: Path) -> None:
    made = processor()
    _, ticks, stamps = made.scan_timestamps_only(bag)
    events: list[object] = []
    made.process_in_chunks(bag, ticks[:7], stamps, lambda _, n: events.append(n), 3, lambda: events.append("saved"))
    assert events == [0, 1, 2, "saved", 3, 4, 5, "saved", 6, "saved"]
    collected: list[int] = []
    made.process_in_chunks(bag, ticks[:7], stamps, lambda _, __: None, 3, collected.append)
    assert collected == [0, 0, 0]


def test_a_topic_that_is_not_there_or_not_wanted_is_none_in_every_frame(bag: Path) -> None:
    entries = topic_map() | {"tactile": {"topic": "/tactile", "field": "data"}}
    made = processor(topic_process_map=entries)
    _, ticks, stamps = made.scan_timestamps_only(bag)
    del stamps["depth"]
    frames: Frames = []
    made.process_in_chunks(bag, ticks, stamps, lambda frame, _: frames.append(frame))
    assert all(frame["tactile"] is None and frame["depth"] is None and frame["front"] for frame in frames)


def test_gaps_and_tolerances_give_none_where_the_origin_wrote_999(tmp_path: Path) -> None:
    camera = numbers("/camera", range(START, START + 4 * SECOND, SECOND // 10))
    arm = [n for n in range(START, START + 4 * SECOND, SECOND // 10) if not SECOND < n - START < 2 * SECOND]
    path = record(tmp_path / "gaps", "ros1", [*camera, *joints("/arm", arm)])
    values: dict[str, Any] = {"camera_names": ["camera"], "train_hz": 10, "main_timeline_fps": 10}
    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("arm", {"gap": "150 ms"}, {}),
        ("arm", {"tolerance": "0 ms"}, {}),
        ("action.kuavo_arm_traj", {}, {"only_half_up_body": False}),
    ]
    for key, settings, more in cases:
        entries = {"camera": {"topic": "/camera", "field": "data"}, key: {"topic": "/arm", "field": "position"}}
        entries[key] |= settings
        frames = process(path, ChunkedRosbagProcessor(entries, **values, **more))
        assert [n for n, frame in enumerate(frames) if frame[key] is None] == list(range(11, 20))


@pytest.mark.parametrize("form", ["mcap-zstd", "db3"])
def test_ros_2_recordings_and_functions_alone_are_read_alike(tmp_path: Path, form: str) -> None:
    messages = joints("/arm", range(START, START + 2 * SECOND, SECOND // 10), "cdr")
    path = record(tmp_path / "bag", form, messages)
    calls: list[float] = []

    def first(message: Any) -> Any:
        calls.append(message.position[0])
        return message.position[:1]

    entries = {"arm": {"topic": "/arm", "msg_process_fn": first}}
    made = ChunkedRosbagProcessor(entries, ["arm"], train_hz=5, main_timeline_fps=10, sample_drop=2)
    frames = process(path, made)
    assert [frame["arm"]["data"].tolist() for frame in frames] == [[float(n)] for n in range(2, 18, 2)]
    assert calls == [float(n) for n in range(2, 18, 2)]


def test_an_error_of_a_callback_comes_through_and_leaves_no_thread(bag: Path) -> None:
    made = processor()
    _, ticks, stamps = made.scan_timestamps_only(bag)

    def fail(_: object, number: int) -> None:
        if number == 3:
            raise KeyError(number)

    with pytest.raises(KeyError):
        made.process_in_chunks(bag, ticks, stamps, fail)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_hz": 60}, "train_hz is 60"),
        ({"camera_names": ["head"]}, "'head' is a camera"),
        ({"topic_process_map": {"front": {"topic": "/c", "resise": [1, 1]}}}, "resise"),
        ({"topic_process_map": {"front": {"topic": "/c", "msg_process_fn": 3}}}, "should be a function"),
        ({"sample_drop": -1}, "sample_drop is -1"),
        ({"topic_process_map": None}, "should be a mapping"),
    ],
)
def test_a_mistake_is_named_when_the_object_is_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        processor(**changes)


def test_a_recording_without_enough_messages_is_refused(bag: Path) -> None:
    with pytest.raises(RecordingError, match=r"sample_drop 500 .at both ends. leave none"):
        processor(sample_drop=500).scan_timestamps_only(bag)
    entries = topic_map() | {"front": {"topic": "/gone"}, "wrist": {"topic": "/away"}}
    with pytest.raises(RecordingError, match=r"no message of a camera: front ./gone., wrist ./away."):
        processor(topic_process_map=entries).scan_timestamps_only(bag)
