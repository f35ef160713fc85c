"""A recording → which of its topics seem to mark episodes, and what was looked at: a suggestion, never a setting."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.episodes import Condition, fired
from streamer.errors import RecordingError
from streamer.records import Markers
from streamer.runtime.cutting import read_messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.inspect.contents import Contents, TopicFacts

_STARTS = ("start", "begin", "record")
_STOPS = ("stop", "end", "finish", "done")
_DISCARDS = ("abort", "discard", "cancel", "redo")
_TRIALS = re.compile(r"trial|episode|record|demo", re.IGNORECASE)
_LABELS = re.compile(r"verdict|label|outcome|success|result", re.IGNORECASE)
_TASKS = re.compile(r"task|instruction|prompt|language", re.IGNORECASE)
_TEXT, _JOY = "std_msgs/msg/String", "sensor_msgs/msg/Joy"
_NUMBER = re.compile(r"std_msgs/msg/(Bool|U?Int(8|16|32|64))$")
_MOST = 200_000  # messages of a topic that are read
_LONG_HOLD = 10**9  # nanoseconds: a button that is held so long lasts as long as the episode
_BEST, _GOOD, _FAIR, _WEAK = range(4)


@dataclass(frozen=True, slots=True)
class Guess:
    """What would cut a recording, if anything would; ``looked`` has a line on each topic that was looked at."""

    markers: Markers | None
    looked: tuple[str, ...]

    def as_settings(self) -> dict[str, Any]:
        """Return it as the setting ``episodes``."""
        assert self.markers is not None  # noqa: S101 - asked only where there is one
        values = {key: value for key, value in asdict(self.markers).items() if value}
        if values["field"] == "data":
            del values["field"]
        return {"from": values}


class _Offer(NamedTuple):
    """What one topic offers: lower ``rank`` first, then more episodes."""

    rank: int
    episodes: int
    markers: Markers


def guess(contents: Contents) -> Guess:
    """Look at the texts, truth values, numbers and joysticks of a recording."""
    offers: list[_Offer] = []
    looked = []
    for topic in contents.topics:
        kind = topic.type
        if not topic.count or topic.count > _MOST or not (kind in {_TEXT, _JOY} or _NUMBER.match(kind)):
            continue
        try:
            stamps, messages = read_messages(contents.source, contents.types, contents.source.topics[topic.name])
        except RecordingError as error:
            looked.append(f"{topic.name}: {error.text}")
            continue
        if kind == _TEXT:
            found, line = _by_text(topic.name, [message.data.strip() for message in messages])
        elif kind == _JOY:
            found, line = _by_button(topic.name, stamps, messages)
        else:
            found, line = _by_value(topic.name, [float(message.data) for message in messages])
        offers += found
        looked.append(f"{topic.name} ({kind.rpartition('/')[2]}): {line}")
    best = min(offers, key=lambda offer: (offer.rank, -offer.episodes), default=None)
    return Guess(None if best is None else _told(best.markers, contents.topics), tuple(looked))


def _by_text(name: str, texts: Sequence[str]) -> tuple[list[_Offer], str]:
    start, stop, discard = (_glob(texts, words) for words in (_STARTS, _STOPS, _DISCARDS))
    if start is None:
        return [], f"no text begins with {', '.join(_STARTS[:-1])} or {_STARTS[-1]}"
    begun = [text for text in texts if Condition(start).holds(text)]
    ended = [text for text in texts if stop is not None and Condition(stop).holds(text)]
    task = "data" if any(Condition(start).rest(text) for text in begun) and "*" in start else ""
    label = "data" if stop is not None and "*" in stop else ""
    line = f"{len(begun)} × {start!r}" + (f", {len(ended)} × {stop!r}" if stop else ", no stop")
    markers = Markers(name, "data", start, stop, discard, task, label)
    return [_Offer(_BEST if stop else _WEAK, len(begun), markers)], line


def _glob(texts: Sequence[str], words: Sequence[str]) -> str | None:
    """Return the glob of the texts that begin with the first of some words that any text begins with."""
    for word in words:
        found = [text for text in texts if text.lower().startswith(word)]
        if found:
            (prefix, _), *_ = Counter(text[: len(word)] for text in found).most_common(1)
            return prefix if all(text == prefix for text in found if text.startswith(prefix)) else f"{prefix}*"
    return None


def _by_value(name: str, values: Sequence[float]) -> tuple[list[_Offer], str]:
    if set(values) != {0.0, 1.0}:
        shown = ", ".join(f"{value:g}" for value in sorted(set(values))[:3])
        return [], f"its values are not just 0 and 1 ({shown}…)" if len(set(values)) > 2 else f"is always {shown}"
    count = sum(fired(values, Condition("1")))
    markers = Markers(name, "data", "1", "0")
    return [_Offer(_GOOD if _TRIALS.search(name) else _WEAK, count, markers)], f"becomes 1 {_times(count)}"


def _by_button(name: str, stamps: NDArray[np.int64], messages: Sequence[Any]) -> tuple[list[_Offer], str]:
    """Take a button that is held, or pressed to begin and to end."""
    offers, told = [], []
    for button in range(max(len(message.buttons) for message in messages)):
        values = [float(message.buttons[button]) if button < len(message.buttons) else 0.0 for message in messages]
        on, off = (np.flatnonzero(fired(values, Condition(text))) for text in ("1", "0"))
        if not len(on):
            continue
        holds = [int(stamps[off[off > at][0]] - stamps[at]) for at in on if (off > at).any()]
        held = bool(holds) and float(np.median(holds)) >= _LONG_HOLD
        markers = Markers(name, f"buttons[{button}]", "1", "0" if held else "1")
        offers.append(_Offer(_FAIR, len(on) if held else len(on) // 2, markers))
        told.append(f"buttons[{button}] is {'held' if held else 'pressed'} {_times(len(on))}")
    return offers, ", ".join(told) or "no button is pressed"


def _times(count: int) -> str:
    return f"{count} time{'s' * (count != 1)}"


def _told(markers: Markers, topics: Sequence[TopicFacts]) -> Markers:
    """Let topics of their own tell task and label where the markers do not."""
    others = [t for t in topics if t.count and t.name != markers.topic]
    task = markers.task or next(_named(others, _TASKS, texts_only=True), "")
    label = markers.label or next(_named(others, _LABELS, texts_only=False), "")
    return Markers(markers.topic, markers.field, markers.start, markers.stop, markers.discard, task, label)


def _named(topics: Sequence[TopicFacts], pattern: re.Pattern[str], *, texts_only: bool) -> Iterator[str]:
    for topic in topics:
        if pattern.search(topic.name) and (topic.type == _TEXT or (not texts_only and _NUMBER.match(topic.type))):
            yield topic.name
