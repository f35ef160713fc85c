"""A recording and a topic map → aligned frames given to a callback, by the origin's class and its signatures."""

from __future__ import annotations

import inspect
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from rosbags.typesys import Stores, get_typestore

from streamer.config.model import StreamConfig
from streamer.config.settings import stream_setting
from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.inprocess import Ahead
from streamer.plan import make_plan
from streamer.records import Flag, TimelineSettings
from streamer.runtime.prepare import prepare
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.stamps import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.contract import Frame
    from streamer.records import Index, StreamPlan, StreamSettings, Topic

    AlignedFrame = dict[str, Any]

_GIVEN = TimelineSettings(end="timeline")
_SAME = 500  # nanoseconds: float seconds of this century are whole multiples of 238 ns
_FUNCTION = "msg_process_fn"
_LEFT_TO_US = ("clock", "missing")  # settings of a stream that mean nothing here
_ARM = "action.kuavo_arm_traj"


@dataclass(frozen=True, slots=True)
class _Key:
    """One entry of the topic map."""

    settings: StreamSettings
    function: Callable[[Any], Any] | None


class ChunkedRosbagProcessor:
    """Timestamps first, then chunk after chunk of aligned frames: the origin's class on this project's reader.

    Change the import and go on: ``from streamer import ChunkedRosbagProcessor``. ROS need not be installed. ::

        processor = ChunkedRosbagProcessor(
            topic_process_map={
                "head": {"topic": "/cam_h/color/image_raw/compressed", "resize": [640, 480]},
                "state": {"topic": "/sensors_data_raw", "field": "joint_data.joint_q[12:26]"},
                "action": {"topic": "/arm_traj", "msg_process_fn": my_function},
            },
            camera_names=["head"], train_hz=10, main_timeline_fps=30, sample_drop=10,
        )
        main, ticks, stamps = processor.scan_timestamps_only("a.bag")
        processor.process_in_chunks("a.bag", ticks, stamps, on_frame, chunk_size=100, save_callback=on_chunk)

    A frame is ``{"timestamp": t, key: {"data": ndarray, "timestamp": t} | None, …}``; times are float seconds, here and
    nowhere else in this project. Its arrays are the caller's own: writable, and kept for as long as he likes. Memory is
    that of a few frames which are decoded ahead, whatever ``chunk_size`` is.

    What is different from the origin, on purpose:

    - Frames do not depend on ``chunk_size``. The origin looks for a sample in the chunk's window only, so that a sparse
      topic got another message, or none, near the edges of chunks.
    - Timestamps come from the recording's index; no message is read for them, and later none that no frame shows.
    - ROS 1 bags, MCAP and rosbag2 folders are read alike; an entry without function is decoded by its type (images to
      RGB, depth in its own unit) or by its ``field``, with any setting of a stream's decoding (``resize`` …).
    - Several keys may use one topic. A topic that the recording lacks, or that is empty, gives None in each frame.
    - A rate that does not divide the camera's is met: 30 → 20 takes two of three frames; the origin's ``30 // 20``
      took all. Rates that divide it give the origin's frames. ``train_hz`` above ``main_timeline_fps`` is an error.
    - In a gap (``"gap": "150 ms"`` in the map; for 'action.kuavo_arm_traj' with ``only_half_up_body=False`` the
      origin's 1.5 / train_hz seconds) a sample is None; the origin wrote 999.0. ``"tolerance"`` does the same for
      samples that are too far off.
    - A function gets the message as ``rosbags`` reads it: arrays are numpy arrays, stamps have ``sec`` and ``nanosec``.
      It may return an array instead of ``{"data": array}``. It is called in the caller's thread, in the order of the
      frames, once for each message that is shown; if it fails, its exception comes through (nothing is read again).
    - ``all_timestamps`` says which keys are wanted (absent or empty: None); samples are chosen by the exact stamps.
    - A callback's frame stays as it is afterwards: nothing is deleted from it, no garbage collection is forced.
    """

    def __init__(  # noqa: PLR0913 - the origin's signature
        self,
        topic_process_map: Mapping[str, Mapping[str, Any]],
        camera_names: Sequence[str],
        train_hz: float,
        main_timeline_fps: float,
        sample_drop: int = 0,
        main_timeline: str | None = None,
        crop_range: tuple[float, float] | None = None,
        *,
        only_half_up_body: bool = True,
        types: Sequence[str] = (),
        msg_processer: object = None,
    ) -> None:
        """Check what is asked for; nothing is opened yet.

        Args:
            topic_process_map: for each key of a frame a mapping: ``topic`` (or a list: the first that exists), and
                ``msg_process_fn`` (message → array or ``{"data": array}``) or settings of a stream, such as ``field``.
            camera_names: the keys of which the one with most messages makes the timeline.
            train_hz: frames a second that are wanted, in hertz.
            main_timeline_fps: messages a second of the camera, in hertz.
            sample_drop: messages of the camera left out at both ends, after ``crop_range``, before thinning.
            main_timeline: the key that makes the timeline, where it is not to be chosen.
            crop_range: the part of the camera's messages that is kept, as two fractions.
            only_half_up_body: see the gaps above.
            types: folders of .msg or .idl files, or a ROS distribution, for recordings without definitions.
            msg_processer: the origin's argument; its methods are in the map, so it is not used.

        Raises:
            ConfigError: a value does not fit.

        """
        del msg_processer
        self._keys = {key: _key(key, entry) for key, entry in _mapping(topic_process_map).items()}
        self._cameras = list(camera_names)
        self._main = main_timeline
        self._crop = crop_range or (0.0, 1.0)
        self._drop = sample_drop
        self._types = tuple(types)
        for key in [*self._cameras, *([main_timeline] if main_timeline else [])]:
            if key not in self._keys:
                msg = f"{key!r} is a camera or the timeline, but no key of topic_process_map: {', '.join(self._keys)}"
                raise ConfigError(msg)
        if not 0 < train_hz <= main_timeline_fps:
            msg = f"train_hz is {train_hz}: it should be above 0 and at most main_timeline_fps, {main_timeline_fps}"
            raise ConfigError(msg)
        self._arm_gap = None if only_half_up_body else round(1.5e9 / train_hz)
        self._jump = Fraction(main_timeline_fps / train_hz).limit_denominator(1000)  # messages a frame
        if sample_drop < 0 or not 0 <= self._crop[0] < self._crop[1] <= 1:
            msg = f"sample_drop is {sample_drop}, crop_range {self._crop}: at least 0, and two fractions in order"
            raise ConfigError(msg)

    def scan_timestamps_only(self, bag_file: str | Path) -> tuple[str, list[float], dict[str, list[float]]]:
        """Return the key that makes the timeline, the ticks, and each key's stamps, all in seconds, from the index.

        Raises:
            RecordingError: it cannot be read, has no camera message, or too few for ``sample_drop``.

        """
        with self._open(bag_file) as source:
            stamps = {key: index.stamps for key, index in self._indexes(source).items()}
        main = self._choose(stamps)
        total = len(stamps[main])
        low, high = (int(edge * total) for edge in self._crop)
        kept = stamps[main][low:high][self._drop : max(high - low - self._drop, 0)]
        if len(kept) == 0:
            msg = (
                f"{bag_file}: {main!r} has {total} messages, of which crop_range {self._crop} and sample_drop "
                f"{self._drop} (at both ends) leave none"
            )
            raise RecordingError(msg)
        rows = np.arange(math.ceil(len(kept) / self._jump)) * self._jump.numerator // self._jump.denominator
        return main, _seconds(kept[rows]), {key: _seconds(found) for key, found in stamps.items()}

    def process_in_chunks(
        self,
        bag_file: str | Path,
        main_timestamps: Sequence[float],
        all_timestamps: Mapping[str, Sequence[float]],
        frame_callback: Callable[[AlignedFrame, int], object],
        chunk_size: int = 100,
        save_callback: Callable[..., object] | None = None,
    ) -> int:
        """Call ``frame_callback(frame, number)`` for each tick, ``save_callback()`` after each chunk; return the count.

        A ``save_callback`` that needs an argument gets 0, as some versions of the origin gave it. Exceptions of the
        callbacks come through and end the work.

        Raises:
            ConfigError: a topic's settings do not fit its type. RecordingError: the recording is damaged.

        """
        if chunk_size < 1:
            msg = f"chunk_size is {chunk_size}: it should be 1 or more"
            raise ConfigError(msg)
        count = 0
        with self._open(bag_file) as source:
            for frame in self._frames(source, main_timestamps, all_timestamps):
                frame_callback(frame, count)
                count += 1
                if save_callback is not None and (count % chunk_size == 0 or count == len(main_timestamps)):
                    save_callback(*([0] if _needs_argument(save_callback) else []))
        return count

    # ---- the recording

    @contextmanager
    def _open(self, path: str | Path) -> Iterator[Source]:
        with ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-"))
            yield stack.enter_context(Source(Path(path).absolute(), Path(scratch)))

    def _indexes(self, source: Source) -> dict[str, Index]:
        """Return the index of each key whose topic has messages."""
        topics = {
            key: topic
            for key, entry in self._keys.items()
            if (topic := next((t for t in entry.settings.topics if t in source.topics), None)) is not None
        }
        found = source.index(set(topics.values()))
        return {key: found[topic] for key, topic in topics.items() if len(found[topic].stamps)}

    def _choose(self, stamps: Mapping[str, NDArray[np.int64]]) -> str:
        cameras = [self._main] if self._main else self._cameras
        present = [key for key in cameras if key in stamps]
        if not present:
            wanted = ", ".join(f"{key} ({' or '.join(self._keys[key].settings.topics)})" for key in cameras)
            msg = f"the recording has no message of a camera: {wanted}"
            raise RecordingError(msg)
        return max(present, key=lambda key: len(stamps[key]))

    # ---- the frames

    def _frames(
        self, source: Source, seconds: Sequence[float], wanted: Mapping[str, Sequence[float]]
    ) -> Iterator[AlignedFrame]:
        found = self._indexes(source)
        main = self._choose({key: index.stamps for key, index in found.items()})
        ticks = _exact(seconds, found[main].stamps)
        indexes = {key: index for key, index in found.items() if len(wanted.get(key, ()))}
        types = Types(self._types, source.distro, Path.cwd(), source.topics.values())
        native = [entry.settings for key, entry in self._keys.items() if key in indexes and entry.function is None]
        prepared = prepare(source, types, _GIVEN, native, ticks)
        plans = {stream.name: stream for stream in prepared.plan.streams}
        functions: dict[str, _Function] = {}
        for key, entry in self._keys.items():
            if key in indexes and entry.function is not None:
                alignment = {key: (indexes[key].stamps, entry.settings.alignment)}
                (plans[key],) = make_plan(ticks, alignment).streams
                topic = source.topics[next(t for t in entry.settings.topics if t in source.topics)]
                functions[key] = _Function(entry.function, source, indexes[key], topic, types)
        gaps = {key: self._gap(key, indexes[key], ticks, plan) for key, plan in plans.items()}
        with Ahead(prepared, prepared.layout.places, os.cpu_count() or 1) as ahead:
            for number, loaded in enumerate(ahead.frames(0, len(ticks) - 1)):
                frame: AlignedFrame = {"timestamp": seconds[number]}
                for key in self._keys:
                    shown = key in plans and plans[key].first[number] >= 0 and not gaps[key][number]
                    frame[key] = _sample(key, number, loaded, plans[key], functions.get(key)) if shown else None
                yield frame

    def _gap(self, key: str, index: Index, ticks: NDArray[np.int64], plan: StreamPlan) -> NDArray[np.bool_]:
        """Tell for each tick whether it lies in a gap of the topic."""
        if key != _ARM or self._arm_gap is None or self._keys[key].settings.alignment.gap is not None:
            return np.asarray(plan.flags & np.uint8(Flag.GAP) != 0)
        after = np.searchsorted(index.stamps, ticks)
        inside = (after > 0) & (after < len(index.stamps))
        after = after.clip(1, len(index.stamps) - 1)
        wide = index.stamps[after] - index.stamps[after - 1] > self._arm_gap
        return np.asarray(inside & wide & (index.stamps[after] != ticks))


class _Function:
    """A caller's function over the messages of a topic; its last result is kept, as frames repeat messages."""

    def __init__(
        self, function: Callable[[Any], Any], source: Source, index: Index, topic: Topic, types: Types
    ) -> None:
        self._function = function
        self._source = source
        self._index = index
        self._topic = topic
        self._store = get_typestore(Stores.EMPTY)
        self._store.register(types.fields(topic))
        self._last: tuple[int, dict[str, Any]] = (-1, {})

    def __call__(self, number: int) -> dict[str, Any]:
        """Return what the function makes of message ``number``; arrays are the caller's own."""
        if self._last[0] != number:
            raw = bytes(self._source.payload(self._index, number).all())
            parse = self._store.deserialize_ros1 if self._topic.encoding == "ros1" else self._store.deserialize_cdr
            try:
                message = parse(raw, self._topic.msgtype)
            except (ValueError, IndexError, AssertionError, UnicodeDecodeError) as error:
                msg = f"{self._source.path}: message {number} of {self._topic.msgtype} does not parse: {error}"
                raise DecodeError(msg) from error
            made = self._function(message)
            self._last = number, dict(made) if isinstance(made, Mapping) else {"data": np.asarray(made)}
        return {
            key: np.array(value) if isinstance(value, np.ndarray) else value for key, value in self._last[1].items()
        }


def _sample(
    key: str, number: int, loaded: Frame, plan: StreamPlan, function: _Function | None
) -> dict[str, Any] | None:
    stamp = int(plan.stamp[number]) / 10**9
    if function is not None:
        return {**function(int(plan.first[number])), "timestamp": stamp}
    value = loaded[key]
    return None if value is None else {"data": np.array(value), "timestamp": stamp}


def _exact(seconds: Sequence[float], stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ticks in nanoseconds: the stamp that a float stands for, or the float's own value."""
    rounded = np.array([round(value * 10**9) for value in seconds], np.int64)
    if not len(rounded):
        return rounded
    near = stamps[nearest(stamps, rounded)]
    return np.where(np.abs(near - rounded) <= _SAME, near, rounded)


def _seconds(stamps: NDArray[np.int64]) -> list[float]:
    return [stamp / 10**9 for stamp in stamps.tolist()]  # of integers: rounded once, unlike stamps / 1e9


def _mapping(found: object) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(found, Mapping) or not found:
        msg = f"topic_process_map should be a mapping of keys to topics, it is {found!r}"
        raise ConfigError(msg)
    return found


def _key(key: str, entry: Mapping[str, Any]) -> _Key:
    """Check one entry of the map, with the checks of a configuration's stream."""
    if key == "timestamp" or any(name in entry for name in _LEFT_TO_US):
        msg = f"topic_process_map[{key!r}]: 'timestamp' is a frame's own key; {_LEFT_TO_US} are not settings here"
        raise ConfigError(msg)
    function = entry.get(_FUNCTION)
    if function is not None and not callable(function):
        msg = f"topic_process_map[{key!r}].{_FUNCTION} should be a function of a message, it is {function!r}"
        raise ConfigError(msg)
    settings = {name: value for name, value in entry.items() if name != _FUNCTION}
    try:
        stream = StreamConfig.model_validate({**settings, "missing": "none"})
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        msg = f"topic_process_map[{key!r}]: {found}"
        raise ConfigError(msg) from error
    if stream.undecodable == "skip" or (function is not None and stream.align == "linear"):
        msg = (
            f"topic_process_map[{key!r}]: 'undecodable: skip', and 'align: linear' with a function, cannot be had here"
        )
        raise ConfigError(msg)
    return _Key(stream_setting(key, stream), function)


def _needs_argument(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # a built-in function that does not tell
        return False
    return False
