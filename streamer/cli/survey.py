"""A recording's index → what a person wants to know of it, and a configuration to begin with."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from streamer.decode import IMAGE_TYPES, make_decoder
from streamer.errors import ConfigError, RecordingError, StreamerError
from streamer.records import Decoding, Index
from streamer.runtime.prepare import header_stamps
from streamer.source.types import Types
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Topic
    from streamer.source.source import Source

_GAP = 3.0  # times the median distance
_EARLY = 1.0  # seconds before the camera's end: such a stream would cut the timeline short
_LATE = 0.05  # of the recording
_REGULAR = 20  # messages; a topic of fewer speaks when it has something to say
_SKEW = 500.0  # milliseconds between a header's stamp and its receipt
_YEARS = 1e11  # milliseconds; such stamps count from the start of something, not from 1970
_LOOKS = 8  # messages of a topic that are looked at
_JOINTS = re.compile(r"position|positions|joint_?(?:q|pos|positions?|angles?)|q|qpos")
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


@dataclass(frozen=True, slots=True)
class Looked:
    """What a few messages of a topic tell: bytes, and how much later they were received than their header says."""

    mean_bytes: float | None = None
    size_bytes: int | None = None  # of all messages, estimated
    skew_ms: float | None = None  # median of receive stamp minus header stamp
    skew_from_ms: float | None = None
    skew_to_ms: float | None = None
    stamped: bool | None = None  # whether headers say a time at all; None without header


def survey(source: Source, named: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the index tells, fit for JSON."""
    topics, start, end = _look_at_all(source)
    types = Types(named, source.distro, Path.cwd(), source.topics.values())
    looks = {topic.name: _sample(source, types, topic.name) for topic in topics}
    return {
        "path": str(source.path),
        "name": source.name,
        "kind": source.kind,
        "files": len(source.files),
        "size_bytes": source.size,
        "compression": source.compression,
        "indexed": not source.damage and not source.walked,
        "damage": [asdict(damage) for damage in source.damage],
        "start_ns": start,
        "duration_s": (end - start) / 1e9,
        "messages": sum(topic.count for topic in topics),
        "topics": [asdict(topic) | asdict(looks[topic.name]) for topic in topics],
        "warnings": list(_warnings(source, topics, types, looks, (end - start) / 1e9)),
        "suggested_config": suggest(source, topics, named),
    }


def _sample(source: Source, types: Types, name: str) -> Looked:
    """Look at a few messages of a topic, spread over the recording."""
    index = source.index([name])[name]
    if len(index.stamps) == 0:
        return Looked()
    topic = source.topics[name]
    try:
        first = types.fields(topic)[topic.msgtype][1][:1]
        has_header = bool(first) and first[0][1] == (Nodetype.NAME, "std_msgs/msg/Header")
    except StreamerError:  # nobody defines the type: its size can be told all the same
        has_header = False
    chosen = np.unique(np.linspace(0, len(index.stamps) - 1, _LOOKS).astype(int))
    some = Index(index.stamps[chosen], index.block[chosen], index.offset[chosen])
    try:
        sizes = [len(source.payload(some, n)) for n in range(len(chosen))]
        said = header_stamps(source, some, topic.encoding) if has_header else np.empty(0, np.int64)
    except StreamerError:
        return Looked()
    skews = ((some.stamps - said) / 1e6).tolist() if has_header else []
    mean = float(np.mean(sizes))
    total = round(mean * len(index.stamps))
    if not said.any():
        return Looked(mean, total, stamped=False if has_header else None)
    return Looked(mean, total, float(np.median(skews)), min(skews), max(skews), stamped=True)


def _warnings(
    source: Source, topics: list[Found], types: Types, looks: dict[str, Looked], duration: float
) -> Iterator[str]:
    """Say in plain words what will surprise a person later."""
    if source.walked and not source.damage:
        yield (
            "unindexed: the file has no message index, so all of it was read to make one; each run does so again "
            "('mcap recover' writes a copy with an index)"
        )
    yield from _lacking(source, topics, types)
    late = max(_EARLY, _LATE * duration)
    for topic in topics:
        look = looks[topic.name]
        regular = topic.rate_hz is not None and topic.count >= _REGULAR
        if topic.count and topic.first_s is not None and topic.first_s > late:
            yield f"{topic.name} starts late: its first message comes {topic.first_s:.1f} s after the recording's first"
        if regular and topic.last_s is not None and duration - topic.last_s > late:
            yield f"{topic.name} ends early: its last message comes {duration - topic.last_s:.1f} s before the end"
        if look.stamped is False:
            yield f"{topic.name}: its headers carry no time (stamp 0): only 'clock: receive' makes sense"
        if look.skew_ms is None or look.skew_from_ms is None or look.skew_to_ms is None:
            continue
        if abs(look.skew_ms) > _SKEW:
            which = "behind" if look.skew_ms > 0 else "ahead of"
            apart = show_duration(round(abs(look.skew_ms) * 1e6))
            simulated = ", as of a simulation or a clock that was not set" if abs(look.skew_ms) > _YEARS else ""
            yield (
                f"{topic.name}: clock skew, its header stamps are {apart} {which} the receive stamps{simulated}: "
                "give all streams the same 'clock:'"
            )
        elif look.skew_to_ms - look.skew_from_ms > _SKEW / 2:
            yield (
                f"{topic.name}: the delay between header and receive stamps varies from {look.skew_from_ms:.0f} to "
                f"{look.skew_to_ms:.0f} ms: 'clock: header' is the steadier one"
            )


def _lacking(source: Source, topics: list[Found], types: Types) -> Iterator[str]:
    """Say which topics cannot be read, and which only by a definition that is not their own."""
    bare = []
    for topic in (source.topics[t.name] for t in topics if t.count):
        try:
            types.fields(topic)
        except RecordingError as error:
            yield str(error)
        except ConfigError:
            bare.append(topic.name)
        else:
            bare += [topic.name] if topic.name in types.warnings else []
    if bare:
        yield (
            f"no message definitions inside for {', '.join(bare)}: those of ROS are used where it has them; "
            "set 'types:' to a folder with .msg files, or to the distribution that recorded it"
        )


def topics_of(source: Source) -> list[Found]:
    """Return what the index tells of each topic, by name."""
    return _look_at_all(source)[0]


def _look_at_all(source: Source) -> tuple[list[Found], int, int]:
    """Return the topics, and the recording's first and last stamp in nanoseconds."""
    indexes = source.index(list(source.topics))
    stamps = {name: index.stamps for name, index in indexes.items() if len(index.stamps)}
    start = min((int(s[0]) for s in stamps.values()), default=0)
    end = max((int(s[-1]) for s in stamps.values()), default=0)
    empty = np.empty(0, np.int64)
    return [_look_at(t, stamps.get(name, empty), start) for name, t in sorted(source.topics.items())], start, end


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


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A configuration that runs as it is: ``values`` of the file; a remark on each stream; topics left out."""

    values: dict[str, Any]
    notes: dict[str, str]
    kinds: dict[str, str]  # of each stream: image, depth, vector or points
    left_out: dict[str, str]  # why, by topic


def suggest(source: Source, topics: list[Found], named: Sequence[str] = ()) -> str:
    """Write a configuration that runs as it is: every stream that can be read without being asked more."""
    return yaml.safe_dump(suggestion(source, topics, named).values, sort_keys=False, default_flow_style=None, width=120)


def suggestion(source: Source, topics: list[Found], named: Sequence[str] = ()) -> Suggestion:
    """Find the streams that can be read without being asked more, and a timeline for them."""
    types = Types(named, source.distro, Path.cwd(), source.topics.values())
    images = [t for t in topics if t.type in IMAGE_TYPES and t.count]
    busiest = max(images, key=lambda t: t.count, default=None)
    rate = (busiest.rate_hz if busiest else None) or 10.0
    end = max((t.last_s or 0.0 for t in ([busiest] if busiest else topics)), default=0.0)
    found = Suggestion({}, {}, {}, {})
    streams: dict[str, Any] = {}
    for topic in topics:
        looked = _look_into(source, types, topic)
        if isinstance(looked, str):
            found.left_out[topic.name] = looked
            continue
        settings, kind, note = looked
        sparse = topic.rate_hz is None or topic.rate_hz < rate * _SPARSE
        if sparse and topic is not busiest:
            settings |= {"align": "previous", "missing": "hold"}
        elif topic is not busiest and (topic.last_s or 0.0) < end - _EARLY:
            settings |= {"missing": "hold"}
            note = f"{note}, ends {end - (topic.last_s or 0.0):.1f} s before the others: its last value holds"
        name = _stream_name(topic.name, streams)
        streams[name], found.notes[name], found.kinds[name] = settings, note, kind
    names = {settings["topic"]: name for name, settings in streams.items()}
    if busiest is not None and busiest.name in names:
        timeline: dict[str, Any] = {"from": names[busiest.name]}
    else:
        timeline = {"from": "grid", "rate": "10 Hz", "end": "longest"}
    found.values.update(
        source={"path": str(source.path), **({"on_damage": "salvage"} if source.damage else {})},
        timeline=timeline,
        streams=streams,
        **({"types": [str(Path(n).absolute()) if Path(n).is_dir() else n for n in named]} if named else {}),
        consumers={"preview": {"options": {"out": "out"}}, "stats": {"options": {"out": "out"}}},
    )
    return found


def _look_into(source: Source, types: Types, found: Found) -> tuple[dict[str, Any], str, str] | str:
    """Return a stream's settings, its kind and a remark; or why the topic has to be asked about."""
    if not found.count:
        return "it has no message"
    topic = source.topics[found.name]
    index = source.index([found.name])[found.name]
    try:
        fields = types.fields(topic)
        field = _FIELDS.get(found.type) or next(iter(vectors_of(found.type, fields)), None)
        settings: dict[str, Any] = {"topic": found.name, **({"field": field} if field else {})}
        decoder = make_decoder(topic, fields, Decoding(field=field))
        looks = [int(n) for n in np.unique(np.linspace(0, found.count - 1, _LOOKS))]
        specs = [decoder.probe(source.payload(index, n)) for n in looks]
    except StreamerError as error:  # text, or a type that wants a field: left to the person
        return str(error)
    shapes = {spec.shape for spec in specs}
    if len(shapes) > 1 and not specs[0].variable:
        if decoder.kind == "vector":
            settings["capacity"] = 2 * max(shape[0] for shape in shapes)
        else:
            settings["resize"] = [specs[0].shape[1], specs[0].shape[0]]
    names = _names(source, topic, fields, index) if decoder.kind == "vector" else []
    shape = "points" if decoder.kind == "points" else "×".join(map(str, specs[0].shape))
    rate = f"{found.rate_hz:.3g} Hz" if found.rate_hz else f"{found.count} message{'s' * (found.count > 1)}"
    note = f"{rate}, {found.type.rpartition('/')[2]}, {shape}"
    return settings, decoder.kind, f"{note}: {', '.join(names)}" if names else note


def vectors_of(msgtype: str, fields: Typesdict, above: str = "", depth: int = 3) -> Iterator[str]:
    """Yield the paths of arrays of numbers in a type whose name says that they are joints."""
    for name, desc in fields[msgtype][1] if msgtype in fields else ():
        path = f"{above}{name}"
        if desc[0] == Nodetype.NAME and depth:
            yield from vectors_of(str(desc[1]), fields, f"{path}.", depth - 1)
        elif desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) and _JOINTS.fullmatch(name):
            element = desc[1][0]
            if element[0] == Nodetype.BASE and element[1][0].startswith("float"):
                yield path


def _names(source: Source, topic: Topic, fields: Typesdict, index: Index) -> list[str]:
    """Return the joints' names, where the message's type has them."""
    wanted = next((name for name, _ in fields[topic.msgtype][1] if name in ("name", "joint_names")), None)
    if wanted is None:
        return []
    store = get_typestore(Stores.EMPTY)
    parse = store.deserialize_ros1 if topic.encoding == "ros1" else store.deserialize_cdr
    try:
        store.register(fields)
        found = getattr(parse(bytes(source.payload(index, 0).all()), topic.msgtype), wanted)
    except Exception:  # noqa: BLE001 - rosbags on foreign bytes; the names are a comment
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _stream_name(topic: str, taken: dict[str, Any]) -> str:
    name = re.sub(r"\W+", "_", _NOISE.sub("", topic)).strip("_") or re.sub(r"\W+", "_", topic).strip("_")
    while name in taken or name in ("busiest", "grid"):
        name += "_"
    return name
