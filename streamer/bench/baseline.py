"""A recording → its frames by plain rosbags, as users of it write their scripts: nothing of our reader is in here.

Two of our functions are used, on stamps that were read without us: those that make the ticks and the plan, so that all
methods call back with the same frames. Images are decoded by the codecs that our reader uses.
"""

from __future__ import annotations

import gc
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from rosbags.highlevel import AnyReader

from streamer.decode.packets import codec_of
from streamer.decode.video import VIDEO_TYPES
from streamer.errors import ConfigError, UsageError
from streamer.plan import make_plan
from streamer.runtime.schedule import make_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rosbags.interfaces import Connection

    from streamer.records import Decoding, StreamSettings, TimelineSettings

    Array = NDArray[Any]
    Told = Callable[[int, dict[str, Array | None]], None]

_MARGIN = 500_000_000  # nanoseconds around a chunk
_ENCODINGS = {"rgb8": "RGB", "bgr8": "BGR", "rgba8": "RGBA", "bgra8": "BGRA", "mono8": "GRAY"}
_MEASURED = {"mono16": "u2", "16UC1": "u2", "32FC1": "f4"}
_PART = re.compile(r"(\w+)(?:\[(-?\d*)(:?)(-?\d*)\])?")
_POINT = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


class _Bag(NamedTuple):
    """An open recording and the streams that are wanted of it."""

    reader: AnyReader
    connections: list[Connection]
    streams: dict[str, list[StreamSettings]]  # by topic


def full(path: Path, timeline: TimelineSettings, streams: Sequence[StreamSettings], callback: Told) -> None:
    """Load and decode every message, align, call back, let go."""
    with AnyReader([path]) as reader:
        bag = _select(reader, streams)
        data: dict[str, list[Array]] = {s.name: [] for s in streams}
        stamps: dict[str, list[int]] = {s.name: [] for s in streams}
        for name, stamp, array in _read(bag):
            data[name].append(array)
            stamps[name].append(stamp)
        columns = {name: np.array(found) for name, found in stamps.items()}
        for number, tick in enumerate(_frames(bag, timeline, streams, stamps)):
            callback(number, {s.name: _sample(s, tick, columns[s.name], data[s.name]) for s in streams})
        data.clear()
    gc.collect()


def chunked(
    path: Path, timeline: TimelineSettings, streams: Sequence[StreamSettings], callback: Told, *, chunk_size: int
) -> None:
    """Scan for the stamps by reading every message; then read, decode, copy and free a window at a time."""
    with AnyReader([path]) as reader:
        bag = _select(reader, streams)
        ticks = _frames(bag, timeline, streams, _scan(bag))
        keeping = [s.name for s in streams if s.alignment.align == "previous"]  # their last message, however old
        held: dict[str, list[tuple[int, Array]]] = {}
        for first in range(0, len(ticks), chunk_size):
            chunk = ticks[first : first + chunk_size]
            data: dict[str, list[Array]] = {s.name: [found for _, found in held.get(s.name, ())] for s in streams}
            stamps: dict[str, list[int]] = {s.name: [stamp for stamp, _ in held.get(s.name, ())] for s in streams}
            start = _begin(ticks, first) if first or not keeping else None
            for name, stamp, array in _read(bag, start, int(chunk[-1]) + _MARGIN):
                data[name].append(array)
                stamps[name].append(stamp)
            columns = {name: np.array(found) for name, found in stamps.items()}
            for number, tick in enumerate(chunk, first):
                frame = {s.name: _sample(s, tick, columns[s.name], data[s.name]) for s in streams}
                callback(number, {name: None if array is None else array.copy() for name, array in frame.items()})
                del frame
            if (after := first + chunk_size) < len(ticks):
                held = {n: _last_before(_begin(ticks, after), stamps[n], data[n]) for n in keeping}
            del data
            gc.collect()


def _select(reader: AnyReader, streams: Sequence[StreamSettings]) -> _Bag:
    by_topic: dict[str, list[StreamSettings]] = {}
    present = {connection.topic for connection in reader.connections}
    for stream in streams:
        by_topic.setdefault(next(topic for topic in stream.topics if topic in present), []).append(stream)
    return _Bag(reader, [c for c in reader.connections if c.topic in by_topic], by_topic)


def _scan(bag: _Bag) -> dict[str, list[int]]:
    stamps: dict[str, list[int]] = {s.name: [] for streams in bag.streams.values() for s in streams}
    for connection, received, raw in bag.reader.messages(connections=bag.connections):
        for stream in bag.streams[connection.topic]:
            stamps[stream.name].append(_stamp(bag, stream, connection, received, raw))
    return stamps


def _stamp(bag: _Bag, stream: StreamSettings, connection: Connection, received: int, raw: bytes) -> int:
    if stream.clock == "receive":
        return received
    stamp = bag.reader.deserialize(raw, connection.msgtype).header.stamp  # type: ignore[attr-defined]
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _frames(
    bag: _Bag, timeline: TimelineSettings, streams: Sequence[StreamSettings], found: dict[str, list[int]]
) -> Array:
    stamps = {name: np.sort(np.array(values, np.int64)) for name, values in found.items()}
    types = {s.name: c.msgtype for c in bag.connections for s in bag.streams[c.topic] if s.decoding.field is None}
    images = [name for name, msgtype in types.items() if msgtype in _IMAGES]
    ticks = make_ticks(timeline, streams, stamps, images, bag.reader.start_time)
    return make_plan(ticks, {s.name: (stamps[s.name], s.alignment.settled()) for s in streams}).ticks


def _read(bag: _Bag, start: int | None = None, stop: int | None = None) -> Iterator[tuple[str, int, Array]]:
    for connection, received, raw in bag.reader.messages(bag.connections, start=start, stop=stop):
        message: Any = bag.reader.deserialize(raw, connection.msgtype)
        for stream in bag.streams[connection.topic]:
            stamp = received
            if stream.clock == "header":
                stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            yield stream.name, stamp, _decode(message, connection.msgtype, stream)


def _begin(ticks: Array, first: int) -> int:
    """Return where the window of a chunk begins: not behind the end of the one before."""
    begin = int(ticks[first]) - _MARGIN
    return min(begin, int(ticks[first - 1]) + _MARGIN) if first else begin


def _last_before(begin: int, stamps: list[int], arrays: list[Array]) -> list[tuple[int, Array]]:
    """Return the last message that a window which begins there does not read again."""
    older = [n for n, stamp in enumerate(stamps) if stamp < begin]
    return [(stamps[older[-1]], arrays[older[-1]])] if older else []


def _sample(stream: StreamSettings, tick: int, stamps: Array, arrays: list[Array]) -> Array | None:
    """Align as a stream asks for it: the last message at or before the tick, else the nearest."""
    if stream.alignment.align != "previous" or not arrays:
        return _nearest(tick, stamps, arrays)
    before = int(np.searchsorted(stamps, tick, side="right")) - 1
    if before < 0 and stream.alignment.missing != "hold":
        return None
    return arrays[max(before, 0)]


def _nearest(tick: int, stamps: Array, arrays: list[Array]) -> Array | None:
    if not arrays:
        return None
    after = min(int(np.searchsorted(stamps, tick)), len(stamps) - 1)
    before = max(after - 1, 0)
    return arrays[before if tick - stamps[before] <= stamps[after] - tick else after]


# ---- message → array


def _decode(message: Any, msgtype: str, stream: StreamSettings) -> Array:
    how = stream.decoding
    if how.map or stream.parts or stream.tf:
        what = "map" if how.map else "concat" if stream.parts else "tf"
        msg = f"'full' and 'chunked' know no {what}: choose '--methods process,stream'"
        raise UsageError(msg, stream=stream.name)
    if how.field is not None:
        return _vector(message, stream)
    if msgtype in VIDEO_TYPES or codec_of(getattr(message, "format", "") or getattr(message, "encoding", "")):
        msg = "'full' and 'chunked' decode no video: choose '--methods process,stream,limit'"
        raise UsageError(msg, stream=stream.name)
    if msgtype == "sensor_msgs/msg/Image":
        return _fit(*_raw(message), how)
    if msgtype == "sensor_msgs/msg/CompressedImage":
        return _fit(*_compressed(message), how)
    if msgtype == "sensor_msgs/msg/PointCloud2":
        return np.frombuffer(message.data, _points(message))
    return _vector(message, stream)


def _raw(message: Any) -> tuple[Array, str]:
    if message.encoding in _ENCODINGS:
        order = _ENCODINGS[message.encoding]
        rows = message.data.reshape(message.height, message.step)
        channels = 1 if order == "GRAY" else len(order)
        image = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
        return (image[..., 0] if order == "GRAY" else image), order
    if message.encoding in _MEASURED:
        return message.data.view(_MEASURED[message.encoding]).reshape(message.height, message.width), ""
    msg = f"the baselines do not know the image encoding {message.encoding!r}"
    raise ConfigError(msg)


def _compressed(message: Any) -> tuple[Array, str]:
    if bytes(message.data[:2]) == b"\xff\xd8":
        return simplejpeg.decode_jpeg(message.data, "RGB"), "RGB"
    depth = "compressedDepth" in message.format
    image: Array = np.asarray(cv2.imdecode(message.data[12:] if depth else message.data, cv2.IMREAD_UNCHANGED))
    return image, "BGR" if image.ndim == 3 else "" if depth else "GRAY"


def _fit(image: Array, order: str, how: Decoding) -> Array:
    target = (how.color or "rgb").upper()
    if order and order != target and not (order == "GRAY" and how.color is None):
        image = cv2.cvtColor(image, getattr(cv2, f"COLOR_{order}2{target}"))
    if how.resize is not None:
        image = cv2.resize(image, how.resize, interpolation=cv2.INTER_LINEAR if order else cv2.INTER_NEAREST)
    return image


def _points(message: Any) -> np.dtype[Any]:
    order = ">" if message.is_bigendian else "<"
    formats = [
        f"({f.count},){order}{_POINT[f.datatype]}" if f.count > 1 else order + _POINT[f.datatype]
        for f in message.fields
    ]
    names, offsets = [f.name for f in message.fields], [f.offset for f in message.fields]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": message.point_step})


def _vector(message: Any, stream: StreamSettings) -> Array:
    value, how = message, stream.decoding
    for name, first, colon, last in _PART.findall(str(how.field or "")):
        value = getattr(value, name)
        if colon:
            value = value[int(first) if first else None : int(last) if last else None]
        elif first:
            value = value[int(first)]
    if isinstance(value if how.field else getattr(value, "data", None), str):
        msg = "'full' and 'chunked' know no text: choose '--methods process,stream'"
        raise UsageError(msg, stream=stream.name)
    numbers = np.concatenate([np.atleast_1d(part) for part in _numbers(value)])
    if how.scale is not None:
        numbers = numbers * how.scale
    return numbers.astype(how.dtype) if how.dtype else numbers


def _numbers(value: Any) -> Iterator[Any]:
    """Yield the numbers of a field, those of a message within it in the order of its fields."""
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            if not name.startswith("__"):
                yield from _numbers(getattr(value, name))
    elif not isinstance(value, str):
        yield value
