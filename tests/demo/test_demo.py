"""The demo recordings: what is in them, that they match the picture, and what is left when writing fails."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import pytest
import simplejpeg
from rosbags.highlevel import AnyReader
from rosbags.rosbag1 import Reader
from rosbags.typesys import Stores, get_typestore

from streamer import demo
from streamer.demo import motion, record, scene
from streamer.demo.files import COMPRESSIONS, fresh
from streamer.demo.record import START, Workload, make, tabletop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SECONDS = 4.0
MS = 10**6
COLOUR = ("/cam_front/color/image_raw/compressed", "/cam_wrist/color/image_raw/compressed")
DEPTH = "/cam_front/depth/image_rect_raw/compressedDepth"
TINY = Workload(cameras=1, width=64, height=48, joint_topics=1, seconds=0.5)


class Heard(NamedTuple):
    """A message as a reader gives it."""

    topic: str
    received: int
    message: Any

    @property
    def stamp(self) -> int:
        """The stamp in the header, ns."""
        return int(self.message.header.stamp.sec) * 10**9 + int(self.message.header.stamp.nanosec)

    @property
    def t(self) -> float:
        """Seconds since the recording began, by the header."""
        return (self.stamp - START) / 1e9


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tabletop") / "demo.bag"
    tabletop(path, seconds=SECONDS)
    return path


@pytest.fixture(scope="module")
def heard(bag: Path) -> list[Heard]:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Reader(bag) as reader:
        return [
            Heard(connection.topic, received, store.deserialize_ros1(data, connection.msgtype))
            for connection, received, data in reader.messages()
        ]


def listen(path: Path) -> list[Heard]:
    with AnyReader([path]) as reader:
        return [
            Heard(connection.topic, received, reader.deserialize(data, connection.msgtype))
            for connection, received, data in reader.messages()
        ]


def on(heard: list[Heard], topic: str) -> list[Heard]:
    return [one for one in heard if one.topic == topic]


def test_a_place_in_a_folder_is_found_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with fresh(Path("folder") / "arm.bag") as draft:
        draft.touch()
    assert (tmp_path / "folder" / "arm.bag").exists()


def test_the_hand_reaches_a_block_where_it_lies_and_keeps_hold_of_it() -> None:
    for move in motion.MOVES:
        lying = motion.blocks(move.pick)[move.block]
        np.testing.assert_allclose(motion.arm(move.pick).tip, lying.centre, atol=1e-9)
        halfway = (move.pick + move.put) / 2
        np.testing.assert_allclose(motion.blocks(halfway)[move.block].centre, motion.arm(halfway).tip, atol=1e-9)
        put = motion.blocks(move.put + 1.0)[move.block]
        np.testing.assert_allclose(put.centre, motion.arm(move.put).tip, atol=1e-9)


def test_a_held_block_does_not_jump_when_it_is_taken_or_let_go() -> None:
    times = np.arange(0.0, motion.PERIOD, 0.01)
    places = np.array([[block.centre for block in motion.blocks(t)] for t in times.tolist()])
    assert np.abs(np.diff(places, axis=0)).max() < 0.02  # metres in 10 ms


def test_the_script_ends_as_it_began() -> None:
    np.testing.assert_allclose(scene.joint_angles(motion.PERIOD - 1e-6), scene.joint_angles(0.0), atol=1e-6)
    for first, last in zip(motion.blocks(0.0), motion.blocks(motion.PERIOD - 1e-6), strict=True):
        np.testing.assert_allclose(first.centre, last.centre, atol=1e-9)


def test_velocities_are_the_slope_of_the_angles() -> None:
    _, velocity, effort = motion.joint_motion(2.0)
    slope = (scene.joint_angles(2.01) - scene.joint_angles(1.99)) / 0.02
    np.testing.assert_allclose(velocity, slope, atol=0.02)
    assert np.isfinite(effort).all()


def test_the_gripper_is_told_to_close_at_every_pick_and_to_open_at_every_put() -> None:
    for move in motion.MOVES:
        assert scene.gripper_command(move.pick) == motion.CLOSED
        assert scene.gripper_command(move.put) == motion.OPEN
    times = motion.command_times(20.0)
    assert times[0] == 0.0
    assert len(times) == 11
    assert np.diff(times).std() > 0.3


@pytest.mark.parametrize("camera", range(5))
@pytest.mark.parametrize("size", [(640, 480), (64, 48), (97, 33)])
def test_a_picture_has_the_size_asked_for_and_is_the_same_each_time(camera: int, size: tuple[int, int]) -> None:
    picture, ranges = scene.frame(3.0, camera, size), scene.depth(3.0, camera, size)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert ranges.shape == (size[1], size[0])
    assert ranges.dtype == np.uint16
    np.testing.assert_array_equal(picture, scene.frame(3.0, camera, size))
    np.testing.assert_array_equal(ranges, scene.depth(3.0, camera, size))


def test_every_camera_sees_motion() -> None:
    for camera in range(3):
        before, after = (scene.frame(t, camera, (320, 240)).astype(int) for t in (2.0, 3.0))
        assert (np.abs(after - before).max(axis=2) > 40).mean() > 0.02


def test_the_time_is_burnt_into_the_picture() -> None:
    still = [scene.frame(t, 0, (640, 480))[440:, :200] for t in (1.501, 1.559)]  # the arm rests
    changed = (np.abs(still[0].astype(int) - still[1]).max(axis=2) > 100).sum()
    assert changed > 20


def test_depth_tells_the_distance_of_what_it_sees() -> None:
    ranges = scene.depth(7.4, 2, (320, 240))  # from above, 1.15 m over the table
    seen = ranges[ranges > 0]
    assert 1000 < np.median(ranges[120:200, 60:260]) < 1200
    assert seen.min() > 500
    assert (ranges[:, :9] == 0).all()


def test_the_tabletop_bag_has_its_topics_and_types(bag: Path) -> None:
    with Reader(bag) as reader:
        kinds = {name: info.msgtype for name, info in reader.topics.items()}
    image = "sensor_msgs/msg/CompressedImage"
    assert kinds == {
        "/gripper/command": "std_msgs/msg/Float64",
        "/joint_states": "sensor_msgs/msg/JointState",
        **dict.fromkeys((*COLOUR, DEPTH), image),
    }


@pytest.mark.parametrize(("topic", "hz"), [(COLOUR[0], 30), (COLOUR[1], 30), (DEPTH, 15), ("/joint_states", 200)])
def test_a_topic_keeps_its_rate_with_jitter(heard: list[Heard], topic: str, hz: int) -> None:
    stamps = np.array([one.stamp for one in on(heard, topic)])
    missing = 0.4 * hz if topic == "/joint_states" else 0
    assert len(stamps) == round(SECONDS * hz - missing)
    steps = np.diff(stamps)
    assert steps.min() > 0
    assert abs(np.median(steps) - 1e9 / hz) < 2 * MS
    assert steps.std() > 0.1 * MS


def test_messages_are_received_in_order_and_2_to_8_ms_after_their_stamp(heard: list[Heard]) -> None:
    received = np.array([one.received for one in heard])
    assert (np.diff(received) >= 0).all()
    late = np.array([one.received - one.stamp for one in heard if one.topic != "/gripper/command"])
    assert late.min() >= 2 * MS
    assert late.max() <= 8 * MS
    assert heard[0].topic == "/gripper/command"
    assert heard[0].received - START <= 8 * MS


def test_the_joints_fall_silent_once_for_400_ms(heard: list[Heard]) -> None:
    stamps = np.array([one.stamp for one in on(heard, "/joint_states")])
    steps = np.diff(stamps)
    assert (steps > 20 * MS).sum() == 1
    assert 390 * MS < steps.max() < 415 * MS
    assert abs((stamps[steps.argmax()] - START) / 1e9 - 0.6 * SECONDS) < 0.02


def test_joint_values_follow_the_script(heard: list[Heard]) -> None:
    for one in on(heard, "/joint_states")[::37]:
        assert tuple(one.message.name) == motion.JOINTS
        np.testing.assert_array_equal(one.message.position, scene.joint_angles(one.t))
        assert one.message.velocity.shape == one.message.effort.shape == (6,)


def test_gripper_commands_are_what_the_gripper_does_next(heard: list[Heard]) -> None:
    values = [one.message.data for one in on(heard, "/gripper/command")]
    assert values == [motion.OPEN, motion.CLOSED, motion.OPEN]


def test_colour_decodes_to_the_picture_of_its_stamp(heard: list[Heard]) -> None:
    for camera, topic in enumerate(COLOUR):
        one = on(heard, topic)[50]
        assert "jpeg" in one.message.format
        decoded = simplejpeg.decode_jpeg(one.message.data.tobytes())
        assert decoded.shape == (480, 640, 3)
        drawn = scene.frame(one.t, camera, (640, 480))
        assert np.abs(decoded.astype(int) - drawn).mean() < 4


def test_depth_decodes_to_millimetres(heard: list[Heard]) -> None:
    one = on(heard, DEPTH)[20]
    assert one.message.format == "16UC1; compressedDepth png"
    payload: NDArray[np.uint8] = one.message.data
    assert not payload[:12].any()
    decoded = cv2.imdecode(payload[12:], cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, scene.depth(one.t, 0, (320, 240)))
    assert 500 < decoded[decoded > 0].min() < decoded.max() < 2600


def test_a_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tabletop(tmp_path / name, seconds=0.7, seed=seed)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


@pytest.mark.parametrize("image", record.IMAGES)
@pytest.mark.parametrize(("form", "compression"), [(f, c) for f, offered in COMPRESSIONS.items() for c in offered])
def test_every_kind_of_workload_can_be_read_back(tmp_path: Path, form: str, compression: str, image: str) -> None:
    work = replace(TINY, format=form, compression=compression, image=image)
    out = tmp_path / ("out.bag" if form == "ros1" else "out")
    make(out, work)
    heard = listen(out)
    camera = "/camera_0/image_raw" if image == "raw" else "/camera_0/image_raw/compressed"
    assert len(on(heard, camera)) == 15
    assert len(on(heard, "/joints_0")) == 250
    assert len(heard) == 265
    assert [one.received for one in heard] == sorted(one.received for one in heard)
    assert all(one.received == one.stamp for one in heard)
    first = on(heard, camera)[0].message
    shape = (
        first.data.reshape(48, 64, 3).shape if image == "raw" else simplejpeg.decode_jpeg(first.data.tobytes()).shape
    )
    assert shape == (48, 64, 3)
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("form", "compression", "trace"),
    [
        ("ros1", "lz4", b"compression=lz4"),
        ("ros1", "bz2", b"compression=bz2"),
        ("mcap", "lz4", b"\x03\x00\x00\x00lz4"),
        ("mcap", "zstd", b"\x04\x00\x00\x00zstd"),
        ("db3", "zstd", b"compression_format: zstd"),
    ],
)
def test_a_compression_is_really_used(tmp_path: Path, form: str, compression: str, trace: bytes) -> None:
    make(tmp_path / "plain", replace(TINY, format=form))
    make(tmp_path / "packed", replace(TINY, format=form, compression=compression))
    files = {"ros1": "", "mcap": "packed.mcap", "db3": "metadata.yaml"}
    assert trace in (tmp_path / "packed" / files[form]).read_bytes()
    assert weigh(tmp_path / "packed") < weigh(tmp_path / "plain")


def weigh(path: Path) -> int:
    files = [path] if path.is_file() else list(path.iterdir())
    return sum(file.stat().st_size for file in files)


def test_raw_pictures_count_themselves(tmp_path: Path) -> None:
    make(tmp_path / "out.bag", replace(TINY, cameras=2, seconds=1.2))
    heard = listen(tmp_path / "out.bag")
    for camera in range(2):
        pictures = on(heard, f"/camera_{camera}/image_raw")
        counters = [int(one.message.data[:8].view("<u8")[0]) for one in pictures]
        assert counters == list(range(36))
        assert [one.message.header.seq for one in pictures] == counters
        assert len({one.message.data[8:].tobytes() for one in pictures}) == 30


def test_stamps_jitter_but_never_run_backwards(tmp_path: Path) -> None:
    make(tmp_path / "out.bag", replace(TINY, joint_topics=2))
    heard = listen(tmp_path / "out.bag")
    frames = np.array([one.stamp for one in on(heard, "/camera_0/image_raw")])
    off = frames - START - np.rint(np.arange(15) * (1e9 / 30)).astype(np.int64)
    assert off.min() >= 0
    assert off.max() <= 4 * MS
    assert off.std() > 0.2 * MS
    joints = [np.array([one.stamp for one in on(heard, f"/joints_{n}")]) for n in range(2)]
    assert all((np.diff(stamps) > 0).all() for stamps in joints)
    assert not np.array_equal(joints[0], joints[1])


def test_joints_of_a_workload_swing(tmp_path: Path) -> None:
    make(tmp_path / "out", replace(TINY, format="mcap"))
    for one in on(listen(tmp_path / "out"), "/joints_0")[::50]:
        assert tuple(one.message.name) == record.JOINT_NAMES
        np.testing.assert_allclose(one.message.position, np.sin(np.arange(1.0, 8.0) * one.t), atol=1e-12)
        assert not one.message.velocity.any()


def test_a_workload_is_the_same_each_time(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make(tmp_path / name, replace(TINY, seed=seed))
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_the_pictures_of_a_large_workload_share_a_fixed_memory(tmp_path: Path) -> None:
    make(tmp_path / "out.bag", replace(TINY, cameras=4, width=1920, height=1080, joint_topics=0))
    with Reader(tmp_path / "out.bag") as reader:
        connection = next(one for one in reader.connections if one.topic == "/camera_3/image_raw")
        pictures = {hash(data[-1000000:]) for _, _, data in reader.messages([connection])}
    assert len(pictures) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"compression": "zstd"}, "compression 'zstd' does not exist for ros1: it offers none, lz4, bz2"),
        ({"format": "mcap", "compression": "bz2"}, "does not exist for mcap: it offers none, lz4, zstd"),
        ({"format": "db3", "compression": "lz4"}, "does not exist for db3: it offers none, zstd"),
        ({"format": "bag"}, "format 'bag' is unknown: there are ros1, mcap, db3"),
        ({"image": "png"}, "image 'png' is unknown: there are raw, jpeg"),
        ({"seconds": 0.0}, "seconds is 0.0: it has to be more than 0"),
        ({"cameras": 0, "joint_topics": 0}, "topics is 0"),
        ({"width": 2, "height": 1}, "too small for its 8-byte counter"),
    ],
)
def test_a_workload_that_does_not_exist_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(tmp_path / "out", replace(TINY, **changes))
    assert not list(tmp_path.iterdir())


def test_a_tabletop_recording_of_no_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seconds is 0"):
        tabletop(tmp_path / "out.bag", seconds=0)


def test_an_existing_output_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="out exists already: remove it"):
        make(out, TINY)
    with pytest.raises(FileExistsError, match="out exists already: remove it"):
        tabletop(out)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


@contextmanager
def files_may_grow_to(size: int) -> Iterator[None]:
    """Let the kernel refuse every write beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("form", COMPRESSIONS)
def test_nothing_is_left_of_a_workload_that_cannot_be_written(tmp_path: Path, form: str) -> None:
    work = replace(TINY, format=form, width=320, height=240, seconds=2.0)
    with files_may_grow_to(3 * 2**20), pytest.raises(Exception, match=r"too large|disk I/O error|disk is full"):
        make(tmp_path / "out", work)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_tabletop_recording_that_cannot_be_written(tmp_path: Path) -> None:
    with files_may_grow_to(2**20), pytest.raises(OSError, match="too large"):
        tabletop(tmp_path / "out.bag", seconds=3.0)
    assert not list(tmp_path.iterdir())


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, streamer.demo; print(sorted({'cv2', 'numpy', 'rosbags'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_offers_its_public_names() -> None:
    assert demo.tabletop is tabletop
    assert demo.joint_angles is scene.joint_angles
    assert all(callable(getattr(demo, name)) for name in demo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        demo.nonsense  # noqa: B018 - asking is the test
