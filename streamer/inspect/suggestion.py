"""A recording's contents → a configuration that runs as it is: its streams, a timeline for them, what is left out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from streamer.decode import IMAGE_TYPES, make_decoder
from streamer.errors import StreamerError
from streamer.records import Decoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rosbags.interfaces.typing import Typesdict

    from streamer.inspect.contents import Contents, TopicFacts
    from streamer.records import Index, Topic
    from streamer.source.source import Source

_EARLY = 1.0  # seconds before the camera's end: such a stream would cut the timeline short
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
_NOISE = re.compile(
    r"/(?:color|image|image_raw|image_rect|image_rect_raw|image_color|compressed|compressedDepth|rgb)(?=/|$)"
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A configuration that runs as it is: ``values`` of the file; a remark on each stream; topics left out."""

    values: dict[str, Any]
    notes: dict[str, str]
    kinds: dict[str, str]  # of each stream: image, depth, vector or points
    left_out: dict[str, str]  # why, by topic

    def as_yaml(self) -> str:
        """Return the values as the text of a configuration."""
        return yaml.safe_dump(self.values, sort_keys=False, default_flow_style=None, width=120)


def suggestion(contents: Contents) -> Suggestion:
    """Find the streams that can be read without being asked more, and a timeline for them."""
    source, topics = contents.source, contents.topics
    images = [t for t in topics if t.type in IMAGE_TYPES and t.count]
    busiest = max(images, key=lambda t: t.count, default=None)
    found = Suggestion({}, {}, {}, {})
    streams: dict[str, Any] = {}
    for topic in topics:
        looked = _look_into(contents, topic)
        if isinstance(looked, str):
            found.left_out[topic.name] = looked
            continue
        settings, kind, note = looked
        if topic is not busiest:
            note += _hold(settings, topic, busiest, topics)
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
        **({"types": named} if (named := contents.named_from_anywhere) else {}),
        consumers={"preview": {"options": {"out": "out"}}, "stats": {"options": {"out": "out"}}},
    )
    return found


def _hold(
    settings: dict[str, Any], topic: TopicFacts, busiest: TopicFacts | None, topics: tuple[TopicFacts, ...]
) -> str:
    """Let the last value of a sparse topic hold, and of one that ends early; return a remark on the latter."""
    rate = (busiest.rate_hz if busiest else None) or 10.0
    if topic.rate_hz is None or topic.rate_hz < rate * _SPARSE:
        settings |= {"align": "previous", "missing": "hold"}
        return ""
    end = max((t.last_s or 0.0 for t in ([busiest] if busiest else topics)), default=0.0)
    if (topic.last_s or 0.0) >= end - _EARLY:
        return ""
    settings |= {"missing": "hold"}
    return f", ends {end - (topic.last_s or 0.0):.1f} s before the others: its last value holds"


def _look_into(contents: Contents, facts: TopicFacts) -> tuple[dict[str, Any], str, str] | str:
    """Return a stream's settings, its kind and a remark; or why the topic has to be asked about."""
    if not facts.count:
        return "it has no message"
    source = contents.source
    topic, index = source.topics[facts.name], contents.indexes[facts.name]
    try:
        fields = contents.types.fields(topic)
        field = _FIELDS.get(facts.type) or next(iter(vectors_of(facts.type, fields)), None)
        settings: dict[str, Any] = {"topic": facts.name, **({"field": field} if field else {})}
        decoder = make_decoder(topic, fields, Decoding(field=field))
        looks = [int(n) for n in np.unique(np.linspace(0, facts.count - 1, _LOOKS))]
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
    rate = f"{facts.rate_hz:.3g} Hz" if facts.rate_hz else f"{facts.count} message{'s' * (facts.count > 1)}"
    note = f"{rate}, {facts.type.rpartition('/')[2]}, {shape}"
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
