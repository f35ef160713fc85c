"""Spans that were found → the episodes, numbered, and what was left out or looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from streamer.records import Episode
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording that is to be an episode: from ``start`` to before ``end``, in nanoseconds."""

    start: int
    end: int
    task: str = ""
    label: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something at an instant that a person should know of: a stretch that is no episode, a marker that makes none.

    ``severe`` is what ``unfinished: error`` does not take; ``until`` is where a stretch that is left out ends.
    """

    stamp: int
    text: str
    severe: bool = False
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """How a recording is cut; problems are in the order of their instants.

    ``idle`` are the ends, from where to where, that were cut off because nothing moves in them.
    """

    episodes: tuple[Episode, ...] = ()
    problems: tuple[Problem, ...] = ()
    idle: tuple[tuple[int, int], ...] = ()


def number_spans(spans: Sequence[Span], problems: Sequence[Problem], shortest: int) -> Cut:
    """Leave out what is empty or shorter than ``shortest`` nanoseconds; number the rest, and tell what overlaps."""
    told, kept = list(problems), []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        length = span.end - span.start
        if length <= 0:
            told.append(Problem(span.start, "is empty: it ends where it begins"))
        elif length < shortest:
            text = f"is {show_duration(length)} long, less than {show_duration(shortest)}"
            told.append(Problem(span.start, text, until=span.end))
        else:
            kept.append(span)
    for before, span in pairwise(kept):
        if span.start < before.end:
            text = f"begins {show_duration(before.end - span.start)} before the one in front of it ends"
            told.append(Problem(span.start, text, severe=True))
    episodes = [Episode(n, s.start, s.end, s.task, s.label, s.why) for n, s in enumerate(kept)]
    return Cut(tuple(episodes), tuple(sorted(told, key=lambda p: p.stamp)))
