"""A wish → a real recording on disk: the tabletop demo, or a workload of a given shape to measure with.

What is promised: the same arguments give the same messages; the output appears under its name
complete or not at all; an existing output is never touched; memory does not grow with the payload.
"""

from __future__ import annotations

import heapq
import os
import struct
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
import simplejpeg

from streamer.demo import files, messages, motion, scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]

START: Final = 1_717_407_000_000_000_000  # ns: 2024-06-03 09:30:00 UTC
GAP_AT: Final = 0.6  # of the tabletop recording
GAP_SECONDS: Final = 0.4

_CORES: Final = os.cpu_count() or 1
_MS: Final = 10**6  # ns
_SECOND: Final = 10**9  # ns
_JPEG_QUALITY: Final = 85
JPEG_FORMAT: Final = "rgb8; jpeg compressed bgr8"
_DEPTH_FORMAT: Final = "16UC1; compressedDepth png"
_AHEAD: Final = 64  # messages


class Topic(NamedTuple):
    """A topic of the tabletop demo: when it speaks, and what it says at a stamp.

    Asked, it draws the picture at once and gives back what is left to do. Drawing is many short calls of
    OpenCV, for which two threads would only take the interpreter from each other; encoding is one long call,
    and runs beside the next drawing.
    """

    name: str
    kind: str
    stamps: Ints
    say: Callable[[int], Callable[[], memoryview]]
    encodes: bool = False  # whether what is left is worth a thread


class _Event(NamedTuple):
    """One message to come; ordered by when the bag receives it."""

    received: int
    topic: int
    stamp: int


def tabletop(path: Path, *, seconds: float = 20.0, seed: int = 7) -> None:
    """Record the demo robot at its table into one ROS 1 bag.

    Two JPEG cameras (640x480, 30 Hz), compressed depth (320x240, 15 Hz), six joints (200 Hz, silent for
    0.4 s from 60 % of the recording on) and the irregular commands to the gripper. Header stamps jitter by up to
    3 ms; the bag receives a message 2 to 8 ms after its header stamp, and each topic in order.

    Args:
        path: The bag to write.
        seconds: Length of the recording.
        seed: Changes jitter and latency, never the pictures at a given instant.

    Raises:
        ValueError: `seconds` is not positive.
        FileExistsError: There is something at `path`.
        OSError: It cannot be written; nothing is left of it.

    """
    _positive(seconds=seconds)
    topics = _tabletop_topics(seconds, np.random.default_rng([seed, 0]))
    write(path, topics, np.random.default_rng([seed, 1]))


def write(path: Path, topics: list[Topic], rng: np.random.Generator) -> None:
    """Record what topics say, each message received 2 to 8 ms after its stamp, into a ROS 1 bag."""
    events = _received(topics, rng)
    with (
        files.fresh(path) as draft,
        files.writer(draft, "ros1") as writer,
        ThreadPoolExecutor(max(1, _CORES - 1)) as pool,
    ):
        store = messages.ros1().store
        connections = [writer.add_connection(topic.name, topic.kind, typestore=store) for topic in topics]
        for event, message in _said(topics, events, pool):
            writer.write(connections[event.topic], event.received, message)


def _said(
    topics: list[Topic],
    events: list[_Event],
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[_Event, memoryview]]:
    """Give each event with its message, in order; at most 64 are begun ahead of the caller."""
    begun: deque[tuple[_Event, Callable[[], memoryview]]] = deque()
    for event in events:
        topic = topics[event.topic]
        rest = topic.say(event.stamp)
        begun.append((event, pool.submit(rest).result if topic.encodes else rest))
        if len(begun) == _AHEAD:
            first, finish = begun.popleft()
            yield first, finish()
    for event, finish in begun:
        yield event, finish()


def _tabletop_topics(seconds: float, rng: np.random.Generator) -> list[Topic]:
    """Decide the header stamps of every topic; the gripper speaks first, at the very start."""
    colour, joints = messages.COMPRESSED_IMAGE, jittered(200.0, seconds, rng, after=9 * _MS)
    gap = START + round(GAP_AT * seconds * _SECOND)
    silent = (joints >= gap) & (joints < gap + round(GAP_SECONDS * _SECOND))
    commands = np.array([round(t * _SECOND) for t in motion.command_times(seconds)], np.int64)
    commands[1:] += rng.integers(0, 3 * _MS, len(commands) - 1)
    depth = "/cam_front/depth/image_rect_raw/compressedDepth"
    return [
        Topic("/gripper/command", messages.FLOAT64, START + commands, _say_command),
        Topic("/joint_states", messages.JOINT_STATE, joints[~silent], _say_joints),
        *(
            Topic(f"/cam_{name}/color/image_raw/compressed", colour, stamps, partial(_say_colour, camera), encodes=True)
            for camera, name, stamps in (
                (0, "front", jittered(30.0, seconds, rng, after=12 * _MS)),
                (1, "wrist", jittered(30.0, seconds, rng, after=23 * _MS)),
            )
        ),
        Topic(depth, colour, jittered(15.0, seconds, rng, after=15 * _MS), _say_depth, encodes=True),
    ]


def jittered(hz: float, seconds: float, rng: np.random.Generator, *, after: int) -> Ints:
    """Draw a topic's stamps, up to 3 ms beside the regular ones, of which the first is ``after`` ns from the start."""
    stamps = _regular(np.arange(round(seconds * hz)), hz) + START + after
    return stamps + _jitter(rng, hz, len(stamps), limit=3 * _MS)


def _received(topics: list[Topic], rng: np.random.Generator) -> list[_Event]:
    """Add the latency; a topic is a queue, so a late message holds up the next one."""
    events: list[_Event] = []
    for number, topic in enumerate(topics):
        order = np.arange(len(topic.stamps)) * 1000  # ns: two messages of a topic are at least this far apart
        late = topic.stamps + rng.integers(2 * _MS, 7_900_000, len(topic.stamps))
        received = np.maximum.accumulate(late - order) + order
        events += map(_Event, received.tolist(), repeat(number), topic.stamps.tolist())
    return sorted(events)


def _since_start(stamp: int) -> float:
    return (stamp - START) / _SECOND


def _say_command(stamp: int) -> Callable[[], memoryview]:
    return partial(messages.ros1().float64, motion.gripper_command(_since_start(stamp)))


def _say_joints(stamp: int) -> Callable[[], memoryview]:
    joints = messages.Joints(motion.JOINTS, *motion.joint_motion(_since_start(stamp)))
    return partial(messages.ros1().joint_state, stamp, joints)


def _say_colour(camera: int, stamp: int) -> Callable[[], memoryview]:
    pixels = scene.frame(_since_start(stamp), camera, (640, 480))
    frame_id = f"cam_{scene.CAMERAS[camera]}"
    return lambda: messages.ros1().compressed(stamp, frame_id, JPEG_FORMAT, jpeg(pixels))


def _say_depth(stamp: int) -> Callable[[], memoryview]:
    pixels = scene.depth(_since_start(stamp), 0, (320, 240))
    return lambda: messages.ros1().compressed(stamp, "cam_front", _DEPTH_FORMAT, messages.depth_png(pixels))


def jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode a picture (height, width, 3) in RGB."""
    data = simplejpeg.encode_jpeg(pixels, _JPEG_QUALITY, "RGB", "420")
    return np.frombuffer(data, np.uint8)


IMAGES: Final = ("raw", "jpeg")
JOINT_NAMES: Final = tuple(f"joint_{n}" for n in range(1, 8))

_PICTURES: Final = 30  # different pictures of a camera, shown in turn
_PICTURE_MEMORY: Final = 96 * 2**20  # bytes for the pictures of all cameras
_COUNTER: Final = struct.Struct("<Q")
_BLOCK: Final = 4096  # stamps made at a time


@dataclass(frozen=True, slots=True)
class Workload:
    """The shape of a recording to measure with."""

    cameras: int = 3
    width: int = 848  # pixels
    height: int = 480  # pixels
    hz: float = 30.0
    format: str = "ros1"  # ros1, mcap or db3
    image: str = "raw"  # raw or jpeg
    compression: str = "none"  # see files.COMPRESSIONS
    joint_topics: int = 2
    joint_hz: float = 500.0
    seconds: float = 60.0
    seed: int = 7


class _Track(NamedTuple):
    """A topic of a workload: what it says for its n-th message; valid until it is asked again."""

    name: str
    kind: str
    hz: float
    say: Callable[[int, int], memoryview]


def make(out: Path, work: Workload) -> None:
    """Write a recording of a given shape at about the speed of the disk.

    Cameras speak on ``/camera_K/image_raw`` (rgb8) or ``/camera_K/image_raw/compressed``, joints on ``/joints_K``,
    K from 0. Stamps jitter by up to 2 ms, but less than half a period, so that a topic never runs backwards;
    bag and header stamps are the same. A camera shows its first 30 pictures in turn (fewer where they would need
    more than 96 MiB); a raw one counts its messages in the first 8 bytes of the pixels, as little-endian uint64.

    Args:
        out: A ROS 1 bag file, or for mcap and db3 a rosbag2 folder.
        work: What to write.

    Raises:
        ValueError: The workload asks for what its format does not offer, or for nothing.
        FileExistsError: There is something at `out`.
        OSError, sqlite3.Error: It cannot be written; nothing is left of it.

    """
    _check(work)
    dialect = messages.ros1() if work.format == "ros1" else messages.ros2()
    with files.fresh(out) as draft, files.writer(draft, work.format, work.compression) as writer:
        tracks = [*_camera_tracks(dialect, work), *_joint_tracks(dialect, work)]
        connections = [writer.add_connection(track.name, track.kind, typestore=dialect.store) for track in tracks]
        stamps = (_track_stamps(work, number, track.hz) for number, track in enumerate(tracks))
        for stamp, number, index in heapq.merge(*stamps):
            writer.write(connections[number], stamp, tracks[number].say(stamp, index))


def _check(work: Workload) -> None:
    if work.format not in files.COMPRESSIONS:
        message = f"format {work.format!r} is unknown: there are {', '.join(files.COMPRESSIONS)}"
        raise ValueError(message)
    if work.image not in IMAGES:
        message = f"image {work.image!r} is unknown: there are {', '.join(IMAGES)}"
        raise ValueError(message)
    offered = files.COMPRESSIONS[work.format]
    if work.compression not in offered:
        message = f"compression {work.compression!r} does not exist for {work.format}: it offers {', '.join(offered)}"
        raise ValueError(message)
    _positive(seconds=work.seconds, hz=work.hz, joint_hz=work.joint_hz, width=work.width, height=work.height)
    _positive(topics=work.cameras + work.joint_topics)
    if work.image == "raw" and work.width * work.height * 3 < _COUNTER.size:
        message = f"a raw picture of {work.width}x{work.height} is too small for its {_COUNTER.size}-byte counter"
        raise ValueError(message)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if value <= 0:
            message = f"{name} is {value}: it has to be more than 0"
            raise ValueError(message)


def _camera_tracks(dialect: messages.Dialect, work: Workload) -> list[_Track]:
    """Render every picture that will be shown, once, and serialize it."""
    size = (work.width, work.height)
    share = _PICTURE_MEMORY // max(1, work.cameras * work.width * work.height * 3)
    pictures = min(_PICTURES, max(1, share), round(work.seconds * work.hz))
    raw = work.image == "raw"

    def render(camera: int, picture: int) -> memoryview:
        pixels = scene.frame(1.0 + picture / work.hz, camera, size)
        if raw:
            return _writable(dialect.image(START, f"camera_{camera}", pixels))
        return _writable(dialect.compressed(START, f"camera_{camera}", JPEG_FORMAT, jpeg(pixels)))

    name, kind = ("image_raw", messages.IMAGE) if raw else ("image_raw/compressed", messages.COMPRESSED_IMAGE)
    counter_at = -3 * work.width * work.height if raw else None
    tracks = []
    with ThreadPoolExecutor(_CORES) as pool:
        for camera in range(work.cameras):
            shown = list(pool.map(partial(render, camera), range(pictures)))
            say = partial(_say_picture, dialect, shown, counter_at)
            tracks.append(_Track(f"/camera_{camera}/{name}", kind, work.hz, say))
    return tracks


def _writable(message: memoryview) -> memoryview:
    return memoryview(bytearray(message))


def _say_picture(
    dialect: messages.Dialect,
    shown: list[memoryview],
    counter_at: int | None,
    stamp: int,
    index: int,
) -> memoryview:
    """Stamp the next picture where it lies, rather than copy a megabyte for each message."""
    message = shown[index % len(shown)]
    dialect.restamp(message, stamp, index)
    if counter_at is not None:
        _COUNTER.pack_into(message, len(message) + counter_at, index)
    return message


def _joint_tracks(dialect: messages.Dialect, work: Workload) -> list[_Track]:
    tracks = []
    for number in range(work.joint_topics):
        marks = np.arange(1.0, 8.0) / 7.0  # found again in the bytes, whatever the format puts around them
        rest = np.zeros(len(JOINT_NAMES))
        message = _writable(dialect.joint_state(START, messages.Joints(JOINT_NAMES, marks, rest, rest)))
        at = message.tobytes().index(marks.tobytes())
        say = partial(_say_waves, dialect, message, at, number)
        tracks.append(_Track(f"/joints_{number}", messages.JOINT_STATE, work.joint_hz, say))
    return tracks


def _say_waves(
    dialect: messages.Dialect,
    message: memoryview,
    at: int,
    number: int,
    stamp: int,
    index: int,
) -> memoryview:
    """Overwrite the positions: joint j swings as sin((j + 1) t + number)."""
    waves = np.sin(np.arange(1.0, 8.0) * _since_start(stamp) + number)
    dialect.restamp(message, stamp, index)
    message[at : at + waves.nbytes] = waves.tobytes()
    return message


def _track_stamps(work: Workload, number: int, hz: float) -> Iterator[tuple[int, int, int]]:
    """Give (stamp, track number, index) of each message of a track, a block at a time."""
    rng = np.random.default_rng([work.seed, number])
    total = round(work.seconds * hz)
    for first in range(0, total, _BLOCK):
        indices = np.arange(first, min(first + _BLOCK, total))
        stamps = _regular(indices, hz) + START + 2 * _MS + _jitter(rng, hz, len(indices), limit=2 * _MS)
        yield from zip(stamps.tolist(), repeat(number), count(first))


def _regular(indices: Ints, hz: float) -> Ints:
    stamps: Ints = np.rint(indices * (_SECOND / hz)).astype(np.int64)
    return stamps


def _jitter(rng: np.random.Generator, hz: float, size: int, *, limit: int) -> Ints:
    """Draw offsets in ns: at most `limit` and less than half a period, so that order is kept."""
    most = min(limit, int(0.45 * _SECOND / hz))
    return rng.integers(-most, most, size, dtype=np.int64, endpoint=True)
