"""Spans that were found → the episodes, numbered, and what was left out or looks wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.records import Episode
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEFT_OUT = "it is left out"


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


def number_spans(spans: Sequence[Span], problems: Sequence[Problem], shortest: int, unfinished: str = "keep") -> Cut:
    """Leave out what is empty or shorter than ``shortest`` nanoseconds; number the rest, and tell what overlaps.

    One that begins before another ends is left out, too, unless ``unfinished`` says ``keep``.
    """
    told = list(problems)
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        length = span.end - span.start
        if length <= 0:
            what = "where" if length == 0 else f"{show_duration(-length)} before"
            told.append(Problem(span.start, f"an episode is empty, it ends {what} it begins; {_LEFT_OUT}", severe=True))
        elif length < shortest:
            text = f"an episode is {show_duration(length)} long, less than {show_duration(shortest)}; {_LEFT_OUT}"
            told.append(Problem(span.start, text, severe=True, until=span.end))
        elif kept and span.start < (before := max(one.end for one in kept)):
            stays = unfinished == "keep"
            text = f"an episode begins {show_duration(before - span.start)} before the one in front of it ends"
            text = f"{text}; {'it is kept' if stays else _LEFT_OUT}"
            told.append(Problem(span.start, text, severe=True, until=None if stays else span.end))
            kept += [span] if stays else []
        else:
            kept.append(span)
    episodes = [Episode(n, s.start, s.end, s.task, s.label, s.why) for n, s in enumerate(kept)]
    return Cut(tuple(episodes), tuple(sorted(told, key=lambda p: p.stamp)))
