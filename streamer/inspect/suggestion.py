"""A recording's contents → a configuration that runs as it is: its streams, a timeline for them, what is left out."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from streamer.decode import IMAGE_TYPES, make_decoder
from streamer.decode.text import text_path
from streamer.decode.vector import VectorDecoder
from streamer.errors import ConfigError, DecodeError, RecordingError, StreamerError
from streamer.inspect.fields import choose_fields, is_log, unit_of
from streamer.records import Decoding
from streamer.resets import make_arrivals, passes
from streamer.runtime.names import name_sets
from streamer.runtime.poses import TF_TYPES
from streamer.runtime.video import ORDER, find_video

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from streamer.decode import Decoder
    from streamer.inspect.contents import Contents, TopicFacts
    from streamer.inspect.fields import Choice
    from streamer.runtime.names import NameSet
    from streamer.runtime.video import Video

_FIRST = 12  # pictures of a video that are decoded to see in which order they come
_EARLY = 1.0  # seconds before the camera's end: such a stream would cut the timeline short
_LOOKS = 8  # pictures or clouds of a topic that are looked at
_SPARSE = 1 / 3  # of the timeline's rate: below it, a value holds until the next
_MOST_SETS = 8  # of names on one topic
_LOG = "it is a log: name a field to read it"
_TRANSFORMS = "it holds transforms: name two frames, as in 'tf: {from: base_link, to: tool0}'"
_LISTS = "its numbers lie in lists of messages: name one, as in 'field: list[0].value'"
_LONGEST_TEXT = 1000  # bytes
_LONGEST = 1 << 16  # numbers in a vector whose length varies
_SPECIAL = (*IMAGE_TYPES, "sensor_msgs/msg/PointCloud2", "point_cloud_interfaces/msg/CompressedPointCloud2")
_NOISE = re.compile(
    r"/(?:color|image|image_raw|image_rect|image_rect_raw|image_color|compressed|ffmpeg|compressedDepth|rgb)(?=/|$)"
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A configuration that runs as it is: ``values`` of the file; a remark on each stream; topics left out."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)  # of each stream: image, depth, vector, points or text
    left_out: dict[str, str] = field(default_factory=dict)  # why, by topic

    @property
    def streams(self) -> dict[str, dict[str, Any]]:
        """Return the streams' settings by name."""
        found: dict[str, dict[str, Any]] = self.values.setdefault("streams", {})
        return found

    def as_yaml(self) -> str:
        """Return the values as the text of a configuration; empty where no stream was found."""
        if not self.streams:
            return ""
        return yaml.safe_dump(self.values, sort_keys=False, default_flow_style=None, width=120)

    def drop(self, stream: str, why: str) -> None:
        """Leave out a stream."""
        settings = self.streams.pop(stream)
        self.notes.pop(stream)
        self.kinds.pop(stream)
        self.left_out[settings["topic"]] = why


@dataclass(frozen=True, slots=True)
class Candidate:
    """One stream that a topic offers; ``suffix`` sets it apart from others of the topic."""

    settings: dict[str, Any]
    kind: str
    shape: str
    suffix: str = ""
    remark: str = ""
    fallback: bool = False


def suggestion(contents: Contents) -> Suggestion:
    """Find the streams that can be read without further settings, and a timeline for them."""
    source, topics = contents.source, contents.topics
    images = [t for t in topics if t.type in IMAGE_TYPES and t.count]
    busiest = max(images, key=lambda t: t.count, default=None)
    offers: dict[str, list[Candidate]] = {}
    found = Suggestion()
    for topic in topics:
        try:
            offers[topic.name] = list(_candidates(contents, topic))
        except StreamerError as error:  # text, or a message that cannot be read
            found.left_out[topic.name] = _why(error, topic)
    only = not any(not c.fallback for candidates in offers.values() for c in candidates)
    found.values["source"] = {"path": str(source.path), **({"on_damage": "salvage"} if source.damage else {})}
    found.values["timeline"] = {}
    for topic in topics:
        chosen = [c for c in offers.get(topic.name, ()) if only or not c.fallback]
        for candidate in chosen:
            _add(found, topic, candidate, busiest, topics)
        if topic.name in offers and not chosen:
            found.left_out[topic.name] = _why_not(topic.type)
    set_timeline(found, busiest.name if busiest else "")
    if resets := _resets(contents, found):
        found.values["source"]["resets"] = resets
    if named := contents.named_from_anywhere:
        found.values["types"] = named
    found.values["consumers"] = {"preview": {"options": {"out": "out"}}, "stats": {"options": {"out": "out"}}}
    return found


def reasons(left_out: Mapping[str, str]) -> list[str]:
    """Say why topics make no stream, a line for each reason."""
    topics: dict[str, list[str]] = {}
    for topic, why in left_out.items():
        topics.setdefault(why, []).append(topic)
    return [f"{', '.join(names)}: {why}" for why, names in topics.items()]


def no_stream(left_out: Mapping[str, str], path: Path) -> RecordingError:
    """Return the error of a recording of which nothing can be suggested."""
    lines = "".join(f"\n  {reason}" for reason in reasons(left_out))
    text = f"no topic can be read as a stream without further settings:{lines}" if lines else "it has no topic"
    return RecordingError(text, path=path)


def _why_not(msgtype: str) -> str:
    """Say why a topic whose messages hold numbers makes no stream by itself."""
    if msgtype in TF_TYPES:
        return _TRANSFORMS
    return _LOG if is_log(msgtype) else _LISTS


def _why(error: StreamerError, topic: TopicFacts) -> str:
    """Say why a topic is not read, to stand behind its name."""
    if "'types:'" in error.where.hint and isinstance(error, ConfigError):
        return f"{topic.type} is not defined in the recording: name a folder with its .msg files (--types, 'types:')"
    return error.text


def set_timeline(found: Suggestion, camera: str) -> None:
    """Follow the stream of a camera's topic where it is there, else take a grid."""
    name = next((n for n, settings in found.streams.items() if settings["topic"] == camera), None)
    grid = {"from": "grid", "rate": "10 Hz", "end": "longest"}
    found.values["timeline"] = {"from": name} if name else grid


def _add(
    found: Suggestion,
    topic: TopicFacts,
    candidate: Candidate,
    busiest: TopicFacts | None,
    topics: tuple[TopicFacts, ...],
) -> None:
    rate = f"{topic.rate_hz:.3g} Hz" if topic.rate_hz else f"{topic.count} message{'s' * (topic.count > 1)}"
    unit = f" ({told})" if candidate.kind == "vector" and (told := unit_of(topic.type)) else ""
    note = f"{rate}, {topic.type.rpartition('/')[2]}, {candidate.shape}{unit}{candidate.remark}"
    settings = {"topic": topic.name, **candidate.settings}
    if topic is not busiest:
        note += _hold(settings, topic, busiest, topics)
    name = _stream_name(f"{topic.name}{candidate.suffix}", found.streams)
    found.streams[name], found.notes[name], found.kinds[name] = settings, note, candidate.kind


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


def _resets(contents: Contents, found: Suggestion) -> str:
    """Say which pass is read of a recording whose clock was set: the longest of the first and the last."""
    topics = {settings["topic"] for settings in found.streams.values()}
    indexes = {name: contents.indexes[name] for name in topics}
    try:
        parts = passes(make_arrivals(indexes, indexes))
    except StreamerError:  # too many of them: check says so
        return ""
    sizes = [sum(len(numbers) for numbers in part.values()) for part in parts]
    if len(parts) == 1:
        return ""
    return "first" if sizes[0] >= sizes[-1] else "last"


# ---- what one topic offers


def _candidates(contents: Contents, facts: TopicFacts) -> Iterator[Candidate]:
    """Yield the streams of a topic.

    Raises:
        StreamerError: it has none that can be read; the error says why.

    """
    if not facts.count:
        msg = "it has no message"
        raise StreamerError(msg)
    topic = contents.source.topics[facts.name]
    fields = contents.types.fields(topic)
    if facts.type in _SPECIAL:
        video = find_video(contents.source, topic, contents.indexes[facts.name], Decoding())
        yield _video(video) if video else _picture(contents, facts, make_decoder(topic, fields, Decoding()))
        return
    if text_path(facts.type, fields, Decoding()) is not None:
        yield _text(contents, facts, make_decoder(topic, fields, Decoding()))
        return
    choices = choose_fields(facts.type, fields)
    if not choices:
        msg = f"{facts.type} has no numbers"
        raise StreamerError(msg)
    problem: StreamerError | None = None
    count = 0
    for choice in choices:
        try:
            for candidate in _vectors(contents, facts, choice, several=len(choices) > 1):
                yield candidate
                count += 1
        except StreamerError as error:
            problem = problem or error
    if not count and problem is not None:
        raise problem


def _picture(contents: Contents, facts: TopicFacts, decoder: Decoder) -> Candidate:
    source, index = contents.source, contents.indexes[facts.name]
    looks = np.unique(np.linspace(0, facts.count - 1, _LOOKS).astype(int)).tolist()
    specs = [decoder.probe(source.payload(index, n)) for n in looks]
    settings = {}
    if len({spec.shape for spec in specs}) > 1 and not specs[0].variable:
        settings["resize"] = [specs[0].shape[1], specs[0].shape[0]]
    shape = "points" if decoder.kind == "points" else "×".join(map(str, specs[0].shape))
    return Candidate(settings, decoder.kind, shape)


def _text(contents: Contents, facts: TopicFacts, decoder: Decoder) -> Candidate:
    source, index = contents.source, contents.indexes[facts.name]
    looks = np.unique(np.linspace(0, facts.count - 1, _LOOKS).astype(int)).tolist()
    longest = max(decoder.probe(source.payload(index, n)).shape[0] for n in looks)
    if longest > _LONGEST_TEXT:
        msg = f"its texts have up to {longest} bytes, which each frame would carry"
        raise StreamerError(msg)
    return Candidate({"align": "previous", "missing": "hold"}, decoder.kind, "text")


def _video(video: Video) -> Candidate:
    """Look at key pictures of a video, and at the order in which its first pictures come."""
    pictures = video.pictures(video.packets)
    keys = np.flatnonzero(video.start == np.arange(len(video.start))).tolist()
    if not keys:
        msg = "its video has no key picture: none of it can be decoded"
        raise StreamerError(msg)
    looks = np.unique(np.linspace(0, len(keys) - 1, _LOOKS).astype(int)).tolist()
    specs = [video.decoder.probe(pictures.payload(video.packets, keys[n])) for n in looks]
    settings: dict[str, Any] = {}
    if len({spec.shape for spec in specs}) > 1:
        settings["resize"] = [specs[0].shape[1], specs[0].shape[0]]
    shown = video.pictures(video.index)
    for number in range(min(_FIRST, len(video.start) - keys[0])):
        with suppress(DecodeError):
            shown.payload(video.index, keys[0] + number)
    if ORDER in shown.refused.values():
        settings["clock"] = "header"
    remark = f", {video.codec}, {len(keys)} key pictures"
    if keys[0] or video.lost:
        settings["undecodable"] = "skip"
        remark += f", {keys[0]} packets before the first and {len(video.lost)} gaps"
    return Candidate(settings, video.decoder.kind, "×".join(map(str, specs[0].shape)), remark=remark)


def _vectors(contents: Contents, facts: TopicFacts, choice: Choice, *, several: bool) -> Iterator[Candidate]:
    """Yield a stream for the fields, or one for each set of names that the messages have."""
    topic, index = contents.source.topics[facts.name], contents.indexes[facts.name]
    paths = choice.fields
    how = Decoding(field=(paths[0] if len(paths) == 1 else paths) if paths else None)
    decoder = make_decoder(topic, contents.types.fields(topic), how)
    assert isinstance(decoder, VectorDecoder)  # noqa: S101 - for the type checker: no picture comes here
    settings: dict[str, Any] = {}
    if paths:
        settings["field"] = paths[0] if len(paths) == 1 else list(paths)
    suffix = "_" + re.split(r"\W", paths[0])[-1] if several and len(paths) == 1 else ""
    if not decoder.elements.varies:
        spec = decoder.probe(contents.source.payload(index, 0))
        yield Candidate(settings, "vector", str(spec.shape[0]), suffix, _named(spec.names), choice.fallback)
        return
    sets = name_sets(contents.source, index, decoder.elements)
    for number, found in enumerate(_by_names(sets, by_list=decoder.elements.by_list)):
        end = f"{suffix}_{number + 1}" if number else suffix
        yield Candidate(settings | found.settings, "vector", found.shape, end, found.remark, choice.fallback)


def _by_names(sets: list[NameSet], *, by_list: bool) -> Iterator[Candidate]:
    """Turn what the messages of a topic say of their numbers into streams."""
    broken = sum(one.count for one in sets if one.problem)
    whole = [one for one in sets if not one.problem]
    settings: dict[str, Any] = {"undecodable": "skip"} if broken else {}
    remark = f", {broken} messages cannot be read" if broken else ""
    if not whole:
        raise StreamerError(sets[0].problem)
    largest = max(one.size for one in whole)
    if not largest:
        msg = "its vectors are all empty"
        raise StreamerError(msg)
    if largest > _LONGEST:
        msg = f"its vectors have up to {largest} numbers: set 'field' and 'capacity' to read them"
        raise StreamerError(msg)
    groups = list(dict.fromkeys(frozenset(one.names) for one in whole if one.names))
    twice = any(len(set(one.names)) < len(one.names) for one in whole)
    if by_list and groups and not twice and len(groups) <= _MOST_SETS:
        for group in groups:
            first = next(one for one in whole if frozenset(one.names) == group)
            yield Candidate({"elements": list(first.names), **settings}, "vector", str(first.size), "", remark)
        return
    if by_list:
        settings["names_field"] = ""
    if len({one.size for one in whole}) > 1:
        settings["capacity"] = largest
        remark += f", {min(one.size for one in whole)} to {largest} numbers"
    names = whole[0].names if len(whole) == 1 and not by_list else ()
    yield Candidate(settings, "vector", str(largest), "", remark + _named(names))


def _named(names: tuple[str, ...]) -> str:
    return f": {', '.join(names)}" if names else ""


def _stream_name(topic: str, taken: dict[str, Any]) -> str:
    name = re.sub(r"\W+", "_", _NOISE.sub("", topic)).strip("_") or re.sub(r"\W+", "_", topic).strip("_")
    while not name or name in taken or name in ("busiest", "grid"):
        name += "_"
    return name
