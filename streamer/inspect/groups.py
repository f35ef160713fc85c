"""Many recordings → groups of those that one configuration fits, from indexes and a few messages a topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import StreamerError, names_differ
from streamer.inspect import open_contents
from streamer.inspect.proof import plan_of
from streamer.inspect.survey import survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from streamer.inspect.survey import Survey

_RATE = 0.2  # of the group's median, from which a recording's rate is told
_SKEW = 500.0  # milliseconds


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a configuration depends on in one stream: ``shape`` is a sample's, ``names`` are its elements'."""

    topic: str
    type: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...]
    unit: str

    @property
    def array(self) -> str:
        """Its shape and type in words."""
        return f"{'x'.join(map(str, self.shape)) or '1'} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Member:
    """One recording: its streams as `init` chooses them, topics that are no stream, and what may vary in a group."""

    path: str
    seconds: float
    messages: int
    streams: dict[str, StreamFacts]
    others: frozenset[tuple[str, str]]  # topic and type
    rates: dict[str, float]  # messages a second, by topic
    clocks: dict[str, str]  # what headers say, by topic
    config: str

    @property
    def form(self) -> tuple[Any, ...]:
        """What all recordings of a group share."""
        return tuple(sorted(self.streams.items(), key=lambda item: item[0])), tuple(sorted(self.clocks.items()))


@dataclass(frozen=True, slots=True)
class Group:
    """Recordings that one configuration fits, in the order in which they were named."""

    members: tuple[Member, ...]

    @property
    def first(self) -> Member:
        """The member that stands for all."""
        return self.members[0]

    def rates(self, topic: str) -> tuple[float, float]:
        """Return the smallest and the largest rate of a topic."""
        found = [member.rates[topic] for member in self.members if topic in member.rates]
        return (min(found), max(found)) if found else (0.0, 0.0)

    def unusual(self) -> Iterator[str]:
        """Say which recordings have a rate that is far from that of the others."""
        for topic in self.first.rates:
            usual = float(np.median([member.rates[topic] for member in self.members if topic in member.rates]))
            for member in self.members:
                rate = member.rates.get(topic)
                if rate is not None and abs(rate - usual) > _RATE * usual:
                    yield f"{member.path}: {topic} has {rate:.3g} Hz, and {usual:.3g} Hz in the others"


@dataclass(frozen=True, slots=True)
class Grouped:
    """All groups, the largest first, and why some recordings cannot be read, by path."""

    groups: tuple[Group, ...]
    unreadable: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {"groups": [self._group(group) for group in self.groups], "unreadable": self.unreadable}

    def _group(self, group: Group) -> dict[str, Any]:
        first = group.first
        return {
            "recordings": [
                {"path": m.path, "seconds": m.seconds, "messages": m.messages, "rates_hz": m.rates}
                for m in group.members
            ],
            "streams": {
                name: {
                    **{key: getattr(facts, key) for key in ("topic", "type", "kind", "dtype", "unit")},
                    "shape": list(facts.shape),
                    "names": list(facts.names),
                    "rate_hz": list(group.rates(facts.topic)),
                    "clock": first.clocks.get(facts.topic, ""),
                }
                for name, facts in first.streams.items()
            },
            "differs": [] if group is self.groups[0] else list(differences(self.groups[0].first, first)),
            "unusual": list(group.unusual()),
            "suggested_config": first.config,
        }


def grouped(
    paths: Sequence[Path],
    *,
    salvage: bool = False,
    types: Sequence[str] = (),
    told: Callable[[int, int], None] | None = None,
) -> Grouped:
    """Look at recordings one after another; ``told`` hears how many of them are done."""
    groups: dict[tuple[Any, ...], list[Member]] = {}
    unreadable: dict[str, str] = {}
    for number, path in enumerate(paths, 1):
        try:
            member = _look(path, salvage=salvage, types=types)
            groups.setdefault(member.form, []).append(member)
        except (StreamerError, OSError) as error:
            unreadable[str(path)] = error.text if isinstance(error, StreamerError) else str(error)
        if told is not None:
            told(number, len(paths))
    ordered = sorted(groups.values(), key=len, reverse=True)
    return Grouped(tuple(Group(tuple(members)) for members in ordered), unreadable)


def _look(path: Path, *, salvage: bool, types: Sequence[str]) -> Member:
    with open_contents(path, salvage=salvage, types=types) as inside:
        found = survey(inside)
        streams = {}
        if found.suggestion.streams:
            for stream in plan_of(inside, found.suggestion).streams:
                spec, name = stream.spec, stream.settings.name
                facts = (stream.topic.name, stream.topic.msgtype, stream.decoder.kind, tuple(spec.shape))
                streams[name] = StreamFacts(*facts, str(np.dtype(spec.dtype)), tuple(spec.names), spec.unit)
    read = {facts.topic for facts in streams.values()}
    return Member(
        str(path),
        found.duration_s,
        found.messages,
        streams,
        frozenset((t.name, t.type) for t in found.topics if t.count and t.name not in read),
        {t.name: t.rate_hz for t in found.topics if t.rate_hz is not None and t.name in read},
        {topic: _clock(found, topic) for topic in sorted(read)},
        found.suggestion.as_yaml(),
    )


def _clock(found: Survey, topic: str) -> str:
    """Say in words what a topic's headers tell of the time."""
    look = found.looks[topic]
    if look.stamped is None:
        return "no header"
    if not look.stamped or look.skew_ms is None:
        return "headers without time"
    return "another clock in headers" if abs(look.skew_ms) > _SKEW else "header"


def differences(one: Member, other: Member) -> Iterator[str]:
    """Say in which streams ``other`` is not as ``one``."""
    if missing := [facts.topic for name, facts in one.streams.items() if name not in other.streams]:
        yield f"without {', '.join(dict.fromkeys(missing))}"
    if more := [facts.topic for name, facts in other.streams.items() if name not in one.streams]:
        yield f"with {', '.join(dict.fromkeys(more))}"
    for name in (name for name in one.streams if name in other.streams):
        before, now = one.streams[name], other.streams[name]
        for what in ("topic", "type", "kind", "array", "unit"):
            if getattr(before, what) != getattr(now, what):
                yield f"{name}: {what} {getattr(now, what) or 'none'}, not {getattr(before, what) or 'none'}"
        if before.names != now.names:
            yield f"{name}: {names_differ(now.names, before.names)}"
    for topic in (topic for topic in one.clocks if topic in other.clocks):
        if one.clocks[topic] != other.clocks[topic]:
            yield f"{topic}: {other.clocks[topic]}, not {one.clocks[topic]}"
