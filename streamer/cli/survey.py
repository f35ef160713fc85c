"""A recording's index → what a person wants to know of it, and a configuration to begin with."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from streamer.decode import IMAGE_TYPES, make_decoder
from streamer.errors import StreamerError
from streamer.records import Decoding
from streamer.source.types import Types

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Topic
    from streamer.source.source import Source

_GAP = 3.0  # times the median distance
_SPARSE = 1 / 3  # of the timeline's rate: below it, a value holds until the next
_FIELDS = {
    "sensor_msgs/msg/JointState": "position",
    "nav_msgs/msg/Odometry": "pose.pose",
    "geometry_msgs/msg/PoseStamped": "pose",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose.pose",
    "geometry_msgs/msg/TwistStamped": "twist",
    "geometry_msgs/msg/TransformStamped": "transform",
    "geometry_msgs/msg/WrenchStamped": "wrench",
    "sensor_msgs/msg/Imu": "linear_acceleration",
    "sensor_msgs/msg/LaserScan": "ranges",
    "sensor_msgs/msg/NavSatFix": "latitude",
}
_POINTS = "sensor_msgs/msg/PointCloud2"
_NOISE = re.compile(
    r"/(?:color|image|image_raw|image_rect|image_rect_raw|image_color|compressed|compressedDepth|rgb)(?=/|$)"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One topic: times in seconds from the start of the recording, distances in milliseconds."""

    name: str
    type: str
    count: int
    rate_hz: float | None
    jitter_ms: float | None  # standard deviation of the distances of neighbouring messages
    first_s: float | None
    last_s: float | None
    gaps: int  # distances of more than three times the median
    largest_gap_ms: float | None
    largest_gap_at_s: float | None


def survey(source: Source) -> dict[str, Any]:
    """Return what the index tells, fit for JSON."""
    indexes = source.index(list(source.topics))
    stamps = {name: index.stamps for name, index in indexes.items() if len(index.stamps)}
    start = min((int(s[0]) for s in stamps.values()), default=0)
    end = max((int(s[-1]) for s in stamps.values()), default=0)
    empty = np.empty(0, np.int64)
    topics = [_look_at(topic, stamps.get(name, empty), start) for name, topic in sorted(source.topics.items())]
    return {
        "path": str(source.path),
        "name": source.name,
        "kind": source.kind,
        "files": len(source.files),
        "size_bytes": source.size,
        "compression": source.compression,
        "indexed": not source.damage,
        "damage": [asdict(damage) for damage in source.damage],
        "start_ns": start,
        "duration_s": (end - start) / 1e9,
        "messages": sum(topic.count for topic in topics),
        "topics": [asdict(topic) for topic in topics],
        "suggested_config": suggest(source, topics),
    }


def _look_at(topic: Topic, stamps: NDArray[np.int64], start: int) -> Found:
    none = (None, None, None, None)
    if len(stamps) == 0:
        return Found(topic.name, topic.msgtype, 0, *none, 0, None, None)
    first, last = ((int(stamp) - start) / 1e9 for stamp in (stamps[0], stamps[-1]))
    if len(stamps) < 3 or stamps[0] == stamps[-1]:
        return Found(topic.name, topic.msgtype, len(stamps), None, None, first, last, 0, None, None)
    distances = np.diff(stamps)
    widest = int(np.argmax(distances))
    return Found(
        topic.name,
        topic.msgtype,
        len(stamps),
        (len(stamps) - 1) / (last - first),
        float(np.std(distances)) / 1e6,
        first,
        last,
        int(np.count_nonzero(distances > _GAP * np.median(distances))),
        float(distances[widest]) / 1e6,
        (int(stamps[widest]) - start) / 1e9,
    )


def suggest(source: Source, topics: list[Found]) -> str:
    """Write a configuration that runs as it is: every stream that can be read without being asked more."""
    types = Types([], source.distro, source.path.parent)
    images = [t for t in topics if t.type in IMAGE_TYPES and t.count]
    busiest = max(images, key=lambda t: t.count, default=None)
    rate = (busiest.rate_hz if busiest else None) or 10.0
    streams: dict[str, Any] = {}
    for topic in topics:
        settings = _stream(source, types, topic)
        if settings is None:
            continue
        sparse = topic.rate_hz is None or topic.rate_hz < rate * _SPARSE
        if sparse and topic is not busiest:
            settings |= {"align": "previous", "missing": "hold"}
        streams[_stream_name(topic.name, streams)] = settings
    names = {settings["topic"]: name for name, settings in streams.items()}
    if busiest is not None and busiest.name in names:
        timeline: dict[str, Any] = {"from": names[busiest.name]}
    else:
        timeline = {"from": "grid", "rate": "10 Hz", "end": "longest"}
    values = {
        "source": {"path": str(source.path), **({"on_damage": "salvage"} if source.damage else {})},
        "timeline": timeline,
        "streams": streams,
        "consumers": {"preview": {"options": {"out": "out"}}, "stats": {"options": {"out": "out"}}},
    }
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120)


def _stream(source: Source, types: Types, found: Found) -> dict[str, Any] | None:
    """Return the settings of a stream for a topic, None where it has to be asked what is wanted."""
    if not found.count:
        return None
    field = _FIELDS.get(found.type)
    topic = source.topics[found.name]
    try:
        how = Decoding(field=field)
        decoder = make_decoder(topic, types.fields(topic), source.encoding, how)
        decoder.probe(source.payload(source.index([found.name])[found.name], 0))
    except StreamerError:  # text, or a type that wants a field: left to the person
        return None
    return {"topic": found.name, **({"field": field} if field else {})}


def _stream_name(topic: str, taken: dict[str, Any]) -> str:
    name = re.sub(r"\W+", "_", _NOISE.sub("", topic)).strip("_") or re.sub(r"\W+", "_", topic).strip("_")
    while name in taken or name in ("busiest", "grid"):
        name += "_"
    return name
