"""An open recording → its topics, the index of each, read once, and what the stamps tell of each topic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamer.source.types import Types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from streamer.records import Index, Topic
    from streamer.source.source import Source

_GAP = 3.0  # times the median distance


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the index tells of one topic: times in seconds from the recording's start, distances in milliseconds."""

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
class Contents:
    """An open recording whose index was read; ``start`` and ``end`` are its first and last stamp in nanoseconds."""

    source: Source
    types: Types
    named: tuple[str, ...]  # what the user named to know types by
    indexes: Mapping[str, Index]
    topics: tuple[TopicFacts, ...]  # by name
    start: int
    end: int

    @property
    def named_from_anywhere(self) -> list[str]:
        """Return what the user named to know types by, folders with their whole path."""
        return [str(Path(name).absolute()) if Path(name).is_dir() else name for name in self.named]

    @property
    def seconds(self) -> float:
        """Return the time from the first stamp to the last."""
        return (self.end - self.start) / 1e9


def read_contents(source: Source, named: Sequence[str] = ()) -> Contents:
    """Read the index of all topics; ``named`` as the setting ``types``, its folders relative to the current one.

    Raises:
        RecordingError: the index is damaged.

    """
    indexes = source.index(list(source.topics))
    stamps = {name: index.stamps for name, index in indexes.items()}
    start = min((int(s[0]) for s in stamps.values() if len(s)), default=0)
    end = max((int(s[-1]) for s in stamps.values() if len(s)), default=0)
    topics = tuple(_facts(topic, stamps[name], start) for name, topic in sorted(source.topics.items()))
    types = Types.of(source, named, Path.cwd())
    return Contents(source, types, tuple(named), indexes, topics, start, end)


def _facts(topic: Topic, stamps: NDArray[np.int64], start: int) -> TopicFacts:
    none = (None, None, None, None)
    if len(stamps) == 0:
        return TopicFacts(topic.name, topic.msgtype, 0, *none, 0, None, None)
    first, last = ((int(stamp) - start) / 1e9 for stamp in (stamps[0], stamps[-1]))
    if len(stamps) < 3 or stamps[0] == stamps[-1]:
        return TopicFacts(topic.name, topic.msgtype, len(stamps), None, None, first, last, 0, None, None)
    distances = np.diff(stamps)
    widest = int(np.argmax(distances))
    return TopicFacts(
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
