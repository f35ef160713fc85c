"""A recording's contents → what a person wants to know of it: topics, sizes, skew, and warnings in plain words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import Nodetype

from streamer.errors import ConfigError, RecordingError, StreamerError
from streamer.inspect.proof import prove
from streamer.inspect.suggestion import suggestion
from streamer.records import Index
from streamer.resets import jumps_in
from streamer.runtime.headers import header_stamps
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from streamer.inspect.contents import Contents, TopicFacts
    from streamer.inspect.suggestion import Suggestion
    from streamer.records import Damage

_EARLY = 1.0  # seconds before the recording's end
_LATE = 0.05  # of the recording
_REGULAR = 20  # messages; a topic of fewer speaks when it has something to say
_SKEW = 500.0  # milliseconds between a header's stamp and its receipt
_YEARS = 1e11  # milliseconds; such stamps count from the start of something, not from 1970
_LOOKS = 8  # messages of a topic that are looked at


@dataclass(frozen=True, slots=True)
class Looked:
    """What a few messages of a topic tell: bytes, and how much later they were received than their header says."""

    mean_bytes: float | None = None
    size_bytes: int | None = None  # of all messages, estimated
    skew_ms: float | None = None  # median of receive stamp minus header stamp
    skew_from_ms: float | None = None
    skew_to_ms: float | None = None
    stamped: bool | None = None  # whether headers say a time at all; None without header


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a recording; ``looks`` are by topic."""

    path: str
    name: str
    kind: str
    files: int
    size_bytes: int
    compression: str
    walked: bool  # no whole message index: opening it read all of the file
    damage: tuple[Damage, ...]
    start_ns: int
    duration_s: float
    topics: tuple[TopicFacts, ...]
    looks: Mapping[str, Looked]
    warnings: tuple[str, ...]
    suggestion: Suggestion

    @property
    def indexed(self) -> bool:
        """Tell whether the recording has a whole index."""
        return not self.damage and not self.walked

    @property
    def messages(self) -> int:
        """Return the number of messages of all topics."""
        return sum(topic.count for topic in self.topics)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        keys = ("path", "name", "kind", "files", "size_bytes", "compression", "indexed", "start_ns", "duration_s")
        return {
            **{key: getattr(self, key) for key in keys},
            "messages": self.messages,
            "damage": [asdict(damage) for damage in self.damage],
            "topics": [asdict(topic) | asdict(self.looks[topic.name]) for topic in self.topics],
            "warnings": list(self.warnings),
            "suggested_config": self.suggestion.as_yaml(),
        }


def survey(found: Contents) -> Survey:
    """Return what the index and a few messages of each topic tell."""
    source = found.source
    looks = {topic.name: _look(found, topic.name) for topic in found.topics}
    return Survey(
        str(source.path),
        source.name,
        source.kind,
        len(source.files),
        source.size,
        source.compression,
        source.walked,
        source.damage,
        found.start,
        found.seconds,
        found.topics,
        looks,
        tuple(_warnings(found, looks)),
        prove(found, suggestion(found), quick=True),
    )


def _look(found: Contents, name: str) -> Looked:
    """Look at a few messages of a topic, spread over the recording."""
    source, index, topic = found.source, found.indexes[name], found.source.topics[name]
    if len(index.stamps) == 0:
        return Looked()
    try:
        first = found.types.fields(topic)[topic.msgtype][1][:1]
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


def _warnings(found: Contents, looks: Mapping[str, Looked]) -> Iterator[str]:
    """Say in plain words what will surprise a person later."""
    source = found.source
    if source.walked and not source.damage:
        yield (
            "unindexed: the file has no message index, so all of it was read to make one; each run does so again "
            "('mcap recover' writes a copy with an index)"
        )
    yield from _of_types(found)
    late = max(_EARLY, _LATE * found.seconds)
    for topic in found.topics:
        regular = topic.rate_hz is not None and topic.count >= _REGULAR
        if topic.count and topic.first_s is not None and topic.first_s > late:
            yield f"{topic.name} starts late: its first message comes {topic.first_s:.1f} s after the recording's first"
        if regular and topic.last_s is not None and found.seconds - topic.last_s > late:
            yield f"{topic.name} ends early: its last message comes {found.seconds - topic.last_s:.1f} s before the end"
        yield from _of_clocks(found, topic.name, looks[topic.name])


def _of_types(found: Contents) -> Iterator[str]:
    """Say which topics cannot be read, and which only by a definition that is not their own."""
    bare = []
    for topic in (found.source.topics[t.name] for t in found.topics if t.count):
        try:
            found.types.fields(topic)
        except ConfigError:
            bare.append(topic.name)
        except RecordingError as error:
            yield str(error)
    if bare := sorted({*bare, *found.types.warnings}):
        yield (
            f"no whole message definitions inside for {', '.join(bare)}: those of ROS are used where it has them; "
            "set 'types:' to a folder with .msg files, or to the distribution that recorded it"
        )


def _of_clocks(found: Contents, name: str, look: Looked) -> Iterator[str]:
    """Say which of a topic's clocks was set meanwhile, and how its header stamps stand to the receive stamps."""
    if jumps := jumps_in(found.indexes[name]):
        yield f"{name}: its receive stamps {jumps}: 'source.resets' says which part is read"
    if look.stamped is False:
        yield f"{name}: its headers carry no time (stamp 0): only 'clock: receive' makes sense"
    if look.skew_ms is None or look.skew_from_ms is None or look.skew_to_ms is None:
        return
    if abs(look.skew_ms) > _SKEW:
        which = "behind" if look.skew_ms > 0 else "ahead of"
        apart = show_duration(round(abs(look.skew_ms) * 1e6))
        simulated = ", as of a simulation or a clock that was not set" if abs(look.skew_ms) > _YEARS else ""
        yield (
            f"{name}: clock skew, its header stamps are {apart} {which} the receive stamps{simulated}: "
            "give all streams the same 'clock:'"
        )
    elif look.skew_to_ms - look.skew_from_ms > _SKEW / 2:
        index, topic = found.indexes[name], found.source.topics[name]
        set_back = jumps_in(index, header_stamps(found.source, index, topic.encoding))
        advice = f"but its header stamps {set_back}" if set_back else "'clock: header' is the steadier one"
        yield (
            f"{name}: the delay between header and receive stamps varies from {look.skew_from_ms:.0f} to "
            f"{look.skew_to_ms:.0f} ms: {advice}"
        )
