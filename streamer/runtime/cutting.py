"""A recording and how it is to be cut → its episodes: reads the few messages that say where they begin and end.

This joins the stages source → decode → episodes. An episode holds what was received in it, as a recording of its own
would; so all instants are receive stamps, whatever clock a stream is on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode.vector import VectorDecoder
from streamer.episodes import (
    Condition,
    Cut,
    Event,
    Problem,
    Span,
    Tasks,
    between_gaps,
    between_markers,
    between_rests,
    every,
    fired,
    number_spans,
    read_tasks,
    read_windows,
    speeds,
    trimmed,
)
from streamer.errors import ConfigError, DecodeError, RecordingError, nearest_name
from streamer.source.find import recording_name
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.decode import Decoder
    from streamer.plan import Compute
    from streamer.records import EpisodeSettings, Index, Markers, Rest, Topic
    from streamer.source.source import Source
    from streamer.source.types import Types

_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")
_MOST_TOLD = 5  # problems before a run
_OF_TRUTH = {True: "success", False: "failure"}  # what a label that is a truth value says


@dataclass(frozen=True, slots=True)
class Material:
    """What is cut: the recording's ``name``; of each stream its decoder and messages by receipt, or what computes it.

    ``timeline`` is the stream that the timeline is from, ``busiest`` of the ``images``, or ``grid``.
    """

    source: Source
    types: Types
    name: str
    decoders: Mapping[str, Decoder]
    received: Mapping[str, Index]
    computed: Mapping[str, Compute]
    timeline: str
    images: Sequence[str]

    @property
    def names(self) -> tuple[str, ...]:
        """What tables may call the recording: its name, its path, or the end of that from some folder on.

        The file's name alone is that of the first recording of a run that is called so; the others are numbered.
        """
        path = self.source.path.absolute()
        own = (path.name,) if self.name == recording_name(path) else ()
        folders = path.parts[1:-1]
        tails = ["/".join(folders[n:]) for n in range(len(folders))]
        paths = [f"{tail}/{end}" for tail in tails for end in (path.name, recording_name(path))]
        return (self.name, *own, *paths, str(path))

    @property
    def followed(self) -> str | None:
        """The stream of the timeline; None where that is a grid."""
        if self.timeline == "busiest" and self.images:
            return max(self.images, key=lambda image: len(self.received[image].stamps))
        return self.timeline if self.timeline in self.received else None

    def bounds(self) -> tuple[int, int]:
        """Return the recording's first receive stamp, and the one behind its last."""
        stamps = [index.stamps for index in self.source.index(self.source.topics).values() if len(index.stamps)]
        return min((int(s[0]) for s in stamps), default=0), max((int(s[-1]) + 1 for s in stamps), default=0)


def cut(material: Material, settings: EpisodeSettings) -> Cut:
    """Find the episodes of a recording, in the order in which they begin.

    Raises:
        ConfigError: a topic, field, stream or table is not what the settings take it for.
        RecordingError: ``unfinished: error``, and a start or stop is missing; a marker cannot be read.

    """
    begin, end = material.bounds()
    spans, problems = _find(material, settings, begin, end)
    idle: list[tuple[int, int]] = []
    if settings.trim is not None:
        stamps, values = _movement(material, settings.trim, "episodes.trim.still")
        spans, resting, idle = trimmed(spans, stamps, speeds(stamps, values), settings.trim.below)
        problems = [*problems, *resting]
    found = number_spans(spans, problems, settings.shortest, settings.unfinished)
    severe = next((problem for problem in found.problems if problem.severe), None)
    if settings.unfinished == "error" and severe is not None:
        msg = f"{show_duration(severe.stamp - begin)} from the beginning, {severe.text.partition('; it is ')[0]}"
        hint = "'streamer episodes' lists all; 'unfinished: drop' leaves such out, 'keep' ends them there"
        raise RecordingError(msg, key="episodes", hint=hint)
    tasks = Tasks() if settings.task_file is None else _tasks(material, settings.task_file)
    told = ((e, tasks.of(e.number)) for e in found.episodes)
    texts = [replace(e, task=e.task or said.task or settings.task, label=e.label or said.label) for e, said in told]
    if not tasks.others:
        return Cut(tuple(texts), found.problems, tuple(idle))
    missing = f"the file of tasks has none for {material.name}; it has some for: {_listed(tasks.others)}"
    return Cut(tuple(texts), (Problem(begin, missing), *found.problems), tuple(idle))


def warnings(found: Cut, begin: int) -> tuple[str, ...]:
    """Return what is told of episodes before a run, with the seconds from the recording's first stamp ``begin`` on."""
    lines = [f"at {(p.stamp - begin) / 1e9:.3f} s: {p.text}" for p in found.problems[:_MOST_TOLD]]
    more = len(found.problems) - _MOST_TOLD
    lines += [f"of episodes, {more} more problems: 'streamer episodes' lists all"] if more > 0 else []
    return (*lines, *([] if found.episodes else ["it has no episode: nothing is streamed"]))


def _tasks(material: Material, task_file: str) -> Tasks:
    """Read the tasks of a recording; ``{recording}`` is its name, and such a file lies beside it."""
    path = Path(task_file)
    if "{recording}" in task_file:
        path = material.source.path.parent / task_file.replace("{recording}", recording_name(material.source.path))
    return read_tasks(path, material.names)


def _listed(names: Collection[str]) -> str:
    shown = sorted(names)[:_MOST_TOLD]
    return ", ".join(shown) + (", …" if len(names) > len(shown) else "")


def _find(material: Material, settings: EpisodeSettings, begin: int, end: int) -> tuple[list[Span], list[Problem]]:
    if settings.markers is not None:
        return _marked(material, settings.markers, end, settings.unfinished)
    if settings.windows is not None:
        spans, others = read_windows(Path(settings.windows), material.names, begin)
        if spans or not others:
            return spans, []
        return [], [Problem(begin, f"no row of the table is of {material.name}; there are some of: {_listed(others)}")]
    if settings.still is not None:
        stamps, values = _movement(material, settings.still, "episodes.still.stream")
        speed = speeds(stamps, values)
        return between_rests(stamps, speed, settings.still.below, settings.still.lasting), []
    if settings.gap is not None:
        if material.followed is None:
            msg = (
                "a pause of the timeline's stream ends an episode, and a grid has no stream: name one in timeline.from"
            )
            raise ConfigError(msg, key="episodes.gap")
        return between_gaps(material.received[material.followed].stamps, settings.gap), []
    return every(begin, end, settings.every or end - begin), []


# ---- movement


def _movement(material: Material, rest: Rest, key: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the receive stamps (n,) and the values (n, k) of a vector stream; damaged messages are left out."""
    name = rest.stream
    if name in material.computed:
        stamps = material.received[name].stamps
        return stamps, material.computed[name](stamps).values
    if name not in material.decoders:
        msg = f"{name!r} is made of several topics: name a stream of one of them"
        raise ConfigError(msg, key=key)
    decoder, index = material.decoders[name], material.received[name]
    if not isinstance(decoder, VectorDecoder):
        msg = f"{name!r} is no vector: how fast a stream moves can be told of numbers only"
        raise ConfigError(msg, key=key)
    read = partial(_vector, material.source, index, decoder)
    found = [(number, value) for number in range(len(index.stamps)) if (value := read(number)) is not None]
    width = min((len(value) for _, value in found), default=0)
    values = np.array([value[:width] for _, value in found]).reshape(len(found), width)
    return index.stamps[[number for number, _ in found]] if found else index.stamps[:0], values


def _vector(source: Source, index: Index, decoder: VectorDecoder, number: int) -> NDArray[Any] | None:
    try:
        spec = decoder.probe(source.payload(index, number))
        out = np.empty(spec.shape, spec.dtype)
        return out[: decoder.decode(source.payload(index, number), out)]
    except DecodeError:
        return None


# ---- markers


def _marked(material: Material, markers: Markers, end: int, unfinished: str) -> tuple[list[Span], list[Problem]]:
    topic = _topic(material, markers.topic, "topic")
    stamps, messages = read_messages(material.source, material.types, topic)
    values = [_value(message, markers.field, topic, "field") for message in messages]
    conditions = [None if text is None else Condition(text) for text in (markers.start, markers.stop, markers.discard)]
    _check_conditions(markers, values)
    starts, stops, discards = (fired(values, condition) for condition in conditions)
    start, stop = conditions[:2]
    events = [
        Event(
            stamp,
            *(begins, ends, breaks),
            task=_text(message, markers, markers.task, value, start, topic, "task") if begins else "",
            label=_text(message, markers, markers.label, value, stop, topic, "label") if ends else "",
            shown=_shown(value),
        )
        for stamp, message, value, begins, ends, breaks in zip(
            stamps.tolist(), messages, values, starts, stops, discards, strict=True
        )
        if begins or ends or breaks
    ]
    spans, problems = between_markers(events, end, stopped=stop is not None, unfinished=unfinished)
    if not any(starts):
        problems.append(
            Problem(int(stamps[0]) if len(stamps) else end, f"no message of {topic.name} starts an episode")
        )
    return _told_elsewhere(material, markers, spans, end), problems


def _check_conditions(markers: Markers, values: Sequence[str | float]) -> None:
    """Make sure that conditions on numbers are of numbers."""
    numbers = [value for value in values if not isinstance(value, str)]
    for key, text in (("start", markers.start), ("stop", markers.stop), ("discard", markers.discard)):
        if text is not None and numbers and not Condition(text).of_numbers:
            msg = (
                f"{markers.field} holds numbers, of which {text!r} says nothing: write 1, true or a comparison (> 0.5)"
            )
            raise ConfigError(msg, key=f"episodes.from.{key}")


def _topic(material: Material, name: str, key: str) -> Topic:
    topics = material.source.topics
    if name not in topics:
        known = ", ".join(sorted(topics))
        msg = f"{material.source.path.name} has no {name!r}{nearest_name(name, topics) or '.'} It has: {known}"
        raise ConfigError(msg, key=f"episodes.from.{key}")
    return topics[name]


def read_messages(source: Source, types: Types, topic: Topic) -> tuple[NDArray[np.int64], list[Any]]:
    """Return the receive stamps (n,) and the messages of a topic, deserialized as rosbags does.

    Raises:
        RecordingError: one cannot be read.

    """
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.EMPTY)
    store.register(dict(types.fields(topic)))
    read = store.deserialize_ros1 if topic.encoding == "ros1" else store.deserialize_cdr
    index = source.index({topic.name})[topic.name]
    messages = []
    for number in range(len(index.stamps)):
        payload = bytes(source.payload(index, number).all())
        try:
            messages.append(read(payload, topic.msgtype))
        except Exception as error:
            msg = f"message {number} of {topic.name} cannot be read: {error}"
            raise RecordingError(msg, key="episodes.from") from error
    return index.stamps, messages


def _value(message: Any, path: str, topic: Topic, key: str) -> str | float:
    """Return what stands in a field of a message: a text or a number."""
    found, at = message, 0
    try:
        while at < len(path):
            step = _STEP.match(path, at)
            if step is None:
                break
            found = getattr(found, step[1]) if step[1] else found[int(step[2])]
            at = step.end()
    except IndexError:
        return 0.0  # a button that this message does not have is not pressed
    except (AttributeError, TypeError):
        found, at = None, -1
    if at < len(path):
        known = [name for name in getattr(message, "__dataclass_fields__", {}) if not name.startswith("_")]
        msg = f"{topic.msgtype} has no field {path!r}; it has: {', '.join(known)}"
        raise ConfigError(msg, key=f"episodes.from.{key}")
    if isinstance(found, str):
        return found
    if isinstance(found, bool | int | float | np.number | np.bool_):
        return bool(found) if isinstance(found, bool | np.bool_) else float(found)
    msg = f"{path!r} of {topic.msgtype} is neither a text nor a number: name a field in it, such as {path}[0]"
    raise ConfigError(msg, key=f"episodes.from.{key}")


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _text(
    message: Any, markers: Markers, path: str, value: str | float, condition: Condition | None, topic: Topic, key: str
) -> str:
    """Return the text that a field of a marker tells: of the field that marks, what the ``*`` stands for."""
    if not path or path.startswith("/"):
        return ""
    if path == markers.field and isinstance(value, str) and condition is not None:
        return condition.rest(value)
    return _as_text(_value(message, path, topic, key))


def _as_text(value: str | float) -> str:
    if isinstance(value, str):
        return value.strip()
    return _OF_TRUTH[value] if isinstance(value, bool) else f"{value:g}"


def _told_elsewhere(material: Material, markers: Markers, spans: list[Span], end: int) -> list[Span]:
    """Give the spans the task and the label that topics of their own tell.

    A task is the first text that comes in the episode, else the last one before; a label the last one from the
    beginning of the episode to that of the next.
    """
    if markers.task.startswith("/"):
        stamps, texts = _texts(material, markers.task, "task")
        for n, span in enumerate(spans):
            first = int(np.searchsorted(stamps, span.start))
            inside = first < len(stamps) and stamps[first] < span.end
            chosen = first if inside else first - 1
            spans[n] = replace(span, task=texts[chosen] if chosen >= 0 else "")
    if markers.label.startswith("/"):
        stamps, texts = _texts(material, markers.label, "label")
        nexts = [span.start for span in spans[1:]] + [end]
        for n, (span, following) in enumerate(zip(spans, nexts, strict=True)):
            last = int(np.searchsorted(stamps, following)) - 1
            spans[n] = replace(span, label=texts[last] if last >= 0 and stamps[last] >= span.start else "")
    return spans


def _texts(material: Material, name: str, key: str) -> tuple[NDArray[np.int64], list[str]]:
    topic = _topic(material, name, key)
    stamps, messages = read_messages(material.source, material.types, topic)
    return stamps, [_as_text(_value(message, "data", topic, key)) for message in messages]
