"""The origin's class and its signatures, on this project's source, plan and loader."""

from __future__ import annotations

import inspect
import logging
import math
import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.chunked.arguments import ArgumentError, TimelineError, by_name, check_keys
from streamer.chunked.function import Function
from streamer.chunked.rospy import Parser
from streamer.files import scratch_folder
from streamer.plan import make_plan
from streamer.records import Flag, TimelineSettings
from streamer.runtime.ahead import Ahead
from streamer.runtime.prepare import prepare
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.stamps import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.contract import Frame
    from streamer.records import Index, StreamPlan

    AlignedFrame = dict[str, Any]

_GIVEN = TimelineSettings(end="timeline")
_SAME = 500  # nanoseconds: float seconds of this century are whole multiples of 238 ns
_ARM = "action.kuavo_arm_traj"
_log = logging.getLogger(__name__)


class ChunkedRosbagProcessor:
    """Timestamps first, then chunk after chunk of aligned frames: the origin's class on this project's reader.

    Change the import and go on: ``from streamer import ChunkedRosbagProcessor``. ROS need not be installed. ::

        processor = ChunkedRosbagProcessor(
            msg_processer=None,
            topic_process_map={
                "head": {"topic": "/cam_h/color/image_raw/compressed", "msg_process_fn": process_color_image},
                "state": {"topic": "/sensors_data_raw", "field": "joint_data.joint_q[12:26]"},
            },
            camera_names=["head"], train_hz=10, main_timeline_fps=30, sample_drop=10, only_half_up_body=True,
        )
        main_timeline, main_timestamps, all_timestamps = processor.scan_timestamps_only("a.bag")
        processor.process_in_chunks(
            "a.bag", main_timestamps, all_timestamps, frame_callback, chunk_size=100, save_callback=None
        )

    Arguments by position are taken in both orders that the origin has had, each with ``crop_range`` as a last one:

    - ``(msg_processer, topic_process_map, camera_names, train_hz, main_timeline_fps, sample_drop, only_half_up_body)``
    - ``(msg_processer, topic_process_map, camera_names, train_hz, main_timeline, main_timeline_fps, sample_drop,
      only_half_up_body)``: the fifth is a key or None

    and in this class's own: ``(topic_process_map, camera_names, train_hz, main_timeline_fps, sample_drop,
    main_timeline, crop_range)``. They are attributes of the same names, read at each call. What the origin raises as
    ValueError (no camera, too few messages, a rate that cannot be met) is a ValueError here as well.

    A frame is ``{"timestamp": t, key: {"data": ndarray, "timestamp": t} | None, …}``; times are float seconds of the
    receive clock, here and nowhere else in this project. Its arrays are the caller's own: writable, to be kept for as
    long as you like. Memory is that of a few frames which are decoded ahead, whatever ``chunk_size`` is.

    A ``msg_process_fn`` gets messages as rospy gives them (see `streamer.chunked.rospy`):
    ``msg.header.stamp.to_sec()``, ``.data`` of images as bytes, arrays of numbers as tuples, ``msg._type``. It returns
    ``{"data": numbers, …}``, or the numbers alone; numbers become an array. Where it returns None, the sample is None.
    It is called in the caller's thread, in the order of the frames, once for each message that is shown; if it fails,
    its exception comes through.

    As in the origin, ticks end strictly before the earliest last message of a key (``end_trim=False``: they do not).

    What differs from the origin, on purpose:

    - Frames do not depend on ``chunk_size``. The origin looks for a sample in the chunk's window only, so that a sparse
      topic gets another message, or none, near the edges of chunks.
    - Timestamps come from the recording's index; no message is read for them, and later none that no frame shows.
    - ROS 1 bags, MCAP and rosbag2 folders are read alike; an entry without function is decoded by its type (images to
      RGB, depth in its own unit) or by its ``field``, with any setting of a stream's decoding (``resize`` …).
    - Several keys may use one topic. A topic that the recording lacks, or that is empty, gives None in each frame.
    - A rate that does not divide the camera's is met: 30 → 20 takes two of three frames; the origin's ``30 // 20``
      takes all. Rates that divide it give the origin's frames. ``train_hz`` above ``main_timeline_fps`` is an error.
    - In a gap (``"gap": "150 ms"`` in the map; for 'action.kuavo_arm_traj' with ``only_half_up_body=False`` the
      origin's 1.5 / train_hz seconds) a sample is None; ``gap_value=999.0`` fills it as the origin does.
      ``"tolerance"`` gives None for samples that are too far off.
    - A bag without index is refused; ``salvage=True`` reads what is intact of it, as of any damaged recording.
    - ``all_timestamps`` says which keys are wanted (absent or empty: None); samples are chosen by the exact stamps.
    - A callback's frame stays as it is afterwards: nothing is deleted from it, no garbage collection is forced.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Check what is asked for; nothing is opened yet.

        Args:
            *arguments: in one of the orders above.
            **named: the same by name, and

                topic_process_map: for each key of a frame a mapping: ``topic`` (or a list: the first that exists), and
                    ``msg_process_fn`` or settings of a stream, such as ``field``.
                camera_names: the keys of which the one with most messages makes the timeline.
                train_hz: frames a second that are wanted, in hertz.
                main_timeline_fps: messages a second of the camera, in hertz.
                sample_drop: messages of the camera left out at both ends, after ``crop_range``, before thinning.
                only_half_up_body: False marks the gaps of 'action.kuavo_arm_traj'.
                main_timeline: the key that makes the timeline, where it is not to be chosen.
                crop_range: the part of the camera's messages that is kept, as two fractions.
                msg_processer: the origin's argument; its methods are in the map, so it is only kept.
                gap_value: what fills the samples in a gap, as float32; None leaves them out.
                end_trim: see above.
                salvage: read what is intact of a damaged recording.
                types: folders of .msg or .idl files, or a ROS distribution, for recordings without definitions.

        Raises:
            ArgumentError: a value does not fit. TypeError: an argument is missing, unknown or given twice.

        """
        self._set(**by_name(arguments, named))

    def _set(  # noqa: PLR0913 - the origin's arguments
        self,
        *,
        topic_process_map: Mapping[str, Mapping[str, Any]],
        camera_names: Sequence[str],
        train_hz: float,
        main_timeline_fps: float,
        sample_drop: int = 0,
        only_half_up_body: bool = True,
        main_timeline: str | None = None,
        crop_range: tuple[float, float] | None = None,
        msg_processer: object = None,
        gap_value: float | None = None,
        end_trim: bool = True,
        salvage: bool = False,
        types: Sequence[str] = (),
    ) -> None:
        self._keys = check_keys(topic_process_map)
        self._topic_process_map = topic_process_map
        self._msg_processer = msg_processer
        self.camera_names = list(camera_names)
        self.train_hz = train_hz
        self.main_timeline_fps = main_timeline_fps
        self.sample_drop = sample_drop
        self.only_half_up_body = only_half_up_body
        self.main_timeline = main_timeline
        self.crop_range = crop_range
        self.gap_value = gap_value
        self.end_trim = end_trim
        self.salvage = salvage
        self.types = tuple(types)
        self._check()

    def _check(self) -> None:
        """Check the attributes, which the caller may have changed."""
        for key in [*self.camera_names, *([self.main_timeline] if self.main_timeline else [])]:
            if key not in self._keys:
                msg = f"{key!r} is a camera or the timeline, but no key of topic_process_map: {', '.join(self._keys)}"
                raise ArgumentError(msg)
        if not 0 < self.train_hz <= self.main_timeline_fps:
            msg = (
                f"train_hz is {self.train_hz}: "
                f"it should be above 0 and at most main_timeline_fps, {self.main_timeline_fps}"
            )
            raise ArgumentError(msg)
        low, high = self.crop_range or (0.0, 1.0)
        if self.sample_drop < 0 or not 0 <= low < high <= 1:
            msg = f"sample_drop is {self.sample_drop}, crop_range {self.crop_range}: at least 0, two fractions in order"
            raise ArgumentError(msg)

    def scan_timestamps_only(self, bag_file: str | Path) -> tuple[str, list[float], dict[str, list[float]]]:
        """Return the key that makes the timeline, the ticks, and each key's stamps, all in seconds, from the index.

        A key without messages is not among the stamps. There may be no tick, where a key ends before the camera begins.

        Raises:
            TimelineError: no message of a camera, or too few for ``crop_range`` and ``sample_drop``.
            RecordingError: it cannot be read.

        """
        self._check()
        with self._open(bag_file) as source:
            stamps = {key: index.stamps for key, index in self._indexes(source).items()}
        main = self._choose(stamps)
        ticks = self._thin(bag_file, main, stamps[main])
        if self.end_trim:
            first = min(stamps, key=lambda key: int(stamps[key][-1]))
            kept = ticks[ticks < stamps[first][-1]]
            _log.info("%s: %r ends first, which leaves %d of %d ticks", bag_file, first, len(kept), len(ticks))
            ticks = kept
        return main, _seconds(ticks), {key: _seconds(found) for key, found in stamps.items()}

    def _thin(self, bag_file: str | Path, main: str, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the camera's stamps that crop, drop and rate leave."""
        low, high = (int(edge * len(stamps)) for edge in self.crop_range or (0.0, 1.0))
        kept = stamps[low:high][self.sample_drop : max(high - low - self.sample_drop, 0)]
        if len(kept) == 0:
            msg = (
                f"{bag_file}: {main!r} has {len(stamps)} messages, of which crop_range {self.crop_range} and "
                f"sample_drop {self.sample_drop} (at both ends) leave none"
            )
            raise TimelineError(msg)
        jump = Fraction(self.main_timeline_fps / self.train_hz).limit_denominator(1000)  # messages a frame
        return kept[np.arange(math.ceil(len(kept) / jump)) * jump.numerator // jump.denominator]

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
        self._check()
        if chunk_size < 1:
            msg = f"chunk_size is {chunk_size}: it should be 1 or more"
            raise ArgumentError(msg)
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
            scratch = stack.enter_context(scratch_folder())
            yield stack.enter_context(Source(Path(path).absolute(), scratch, salvage=self.salvage))

    def _indexes(self, source: Source) -> dict[str, Index]:
        """Return the index of each key whose topic has messages, shifted where its settings say so."""
        topics = {
            key: topic
            for key, entry in self._keys.items()
            if (topic := next((t for t in entry.settings.topics if t in source.topics), None)) is not None
        }
        found = source.index(set(topics.values()))
        return {
            key: replace(found[topic], stamps=found[topic].stamps + self._keys[key].settings.shift)
            for key, topic in topics.items()
            if len(found[topic].stamps)
        }

    def _choose(self, stamps: Mapping[str, NDArray[np.int64]]) -> str:
        cameras = [self.main_timeline] if self.main_timeline else self.camera_names
        present = [key for key in cameras if key in stamps]
        if not present:
            wanted = ", ".join(f"{key} ({' or '.join(self._keys[key].settings.topics)})" for key in cameras)
            msg = f"the recording has no message of a camera: {wanted}"
            raise TimelineError(msg)
        return max(present, key=lambda key: len(stamps[key]))

    # ---- the frames

    def _frames(
        self, source: Source, seconds: Sequence[float], wanted: Mapping[str, Sequence[float]]
    ) -> Iterator[AlignedFrame]:
        found = self._indexes(source)
        main = self._choose({key: index.stamps for key, index in found.items()})
        ticks = _exact(seconds, found[main].stamps)
        indexes = {key: index for key, index in found.items() if len(wanted.get(key, ()))}
        types = Types.of(source, self.types, Path.cwd())
        native = [entry.settings for key, entry in self._keys.items() if key in indexes and entry.function is None]
        prepared = prepare(source, types, _GIVEN, native, ticks)
        plans = {stream.name: stream for stream in prepared.plan.streams}
        functions: dict[str, Function] = {}
        for key, entry in self._keys.items():
            if key in indexes and entry.function is not None:
                (plans[key],) = make_plan(
                    ticks, {key: (indexes[key].stamps, entry.settings.alignment.settled())}
                ).streams
                topic = source.topics[next(t for t in entry.settings.topics if t in source.topics)]
                parser = Parser(types.fields(topic), topic.msgtype, topic.encoding)
                functions[key] = Function(entry.function, source, indexes[key], parser, topic.name)
        gaps = {key: self._gap(key, indexes[key], ticks, plan) for key, plan in plans.items()}
        with Ahead(prepared, prepared.layout.places, os.cpu_count() or 1) as ahead:
            for number, loaded in enumerate(ahead.frames(0, len(ticks) - 1)):
                frame: AlignedFrame = {"timestamp": seconds[number]}
                for key in self._keys:
                    frame[key] = None
                    if key in plans and plans[key].first[number] >= 0:
                        sample = partial(_sample, key, number, loaded, plans[key], functions.get(key))
                        frame[key] = self._fill(sample, seconds[number]) if gaps[key][number] else sample()
                yield frame

    def _gap(self, key: str, index: Index, ticks: NDArray[np.int64], plan: StreamPlan) -> NDArray[np.bool_]:
        """Tell for each tick whether it lies in a gap of the topic."""
        if key != _ARM or self.only_half_up_body or self._keys[key].settings.alignment.gap is not None:
            return np.asarray(plan.flags & np.uint8(Flag.GAP) != 0)
        after = np.searchsorted(index.stamps, ticks)
        inside = (after > 0) & (after < len(index.stamps))
        after = after.clip(1, len(index.stamps) - 1)
        wide = index.stamps[after] - index.stamps[after - 1] > round(1.5e9 / self.train_hz)
        return np.asarray(inside & wide & (index.stamps[after] != ticks))

    def _fill(self, sample: Callable[[], dict[str, Any] | None], tick: float) -> dict[str, Any] | None:
        """Return what stands for a sample in a gap: None, or ``gap_value`` in its shape."""
        if self.gap_value is None or (found := sample()) is None or "data" not in found:
            return None
        return {"data": np.full(np.shape(found["data"]), self.gap_value, np.float32), "timestamp": tick}


def _sample(key: str, number: int, loaded: Frame, plan: StreamPlan, function: Function | None) -> dict[str, Any] | None:
    stamp = int(plan.stamp[number]) / 10**9
    if function is not None:
        made = function(int(plan.first[number]))
        return None if made is None else {**made, "timestamp": stamp}
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


def _needs_argument(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except TypeError:
        return True
    except ValueError:  # a built-in function that does not tell
        return False
    return False
