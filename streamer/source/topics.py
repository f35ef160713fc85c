"""The channels, connections or files of a recording → its topics, each by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamer.records import Topic


def join_topics(found: Iterable[Topic]) -> dict[str, Topic]:
    """Return the topics by name, in the order in which they are first found.

    What is found of one name in several channels or files becomes one topic. Where they are of several types,
    encodings or definitions, its type and encoding name all of them, and its ``channels`` has one of each kind.
    """
    by_name: dict[str, list[Topic]] = {}
    for topic in found:
        by_name.setdefault(topic.name, []).extend(topic.channels or (topic,))
    return {name: _joined(channels) for name, channels in by_name.items()}


def _joined(channels: list[Topic]) -> Topic:
    kinds: dict[Topic, int] = {}
    for channel in [channel for channel in channels if channel.count] or channels:
        kind = replace(channel, count=0)
        kinds[kind] = kinds.get(kind, 0) + channel.count
    distinct = tuple(replace(kind, count=count) for kind, count in kinds.items())
    if len(distinct) == 1:
        return distinct[0]
    types, encodings = ((kind.msgtype for kind in kinds), (kind.encoding for kind in kinds))
    return replace(
        distinct[0],
        msgtype=" and ".join(dict.fromkeys(types)),
        encoding=" and ".join(dict.fromkeys(encodings)),
        count=sum(kinds.values()),
        channels=distinct,
    )
