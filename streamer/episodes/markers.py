"""Messages that mark episodes, in the order of their stamps → the spans between them, and what does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamer.episodes.cut import Problem, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.episodes.conditions import Condition


@dataclass(frozen=True, slots=True)
class Event:
    """A message that starts, stops or discards (several of them where one condition serves for both)."""

    stamp: int
    starts: bool = False
    stops: bool = False
    discards: bool = False
    task: str = ""
    label: str = ""
    shown: str = ""  # its value, for people


def fired(values: Sequence[str | float], condition: Condition | None) -> list[bool]:
    """Tell which messages fulfil a condition: each text that does, and of numbers the first of a row that does."""
    if condition is None:
        return [False] * len(values)
    holds = [condition.holds(value) for value in values]
    return [
        now and (isinstance(value, str) or not before)
        for value, now, before in zip(values, holds, [False, *holds[:-1]], strict=True)
    ]


def between_markers(
    events: Iterable[Event], end: int, *, stopped: bool, unfinished: str
) -> tuple[list[Span], list[Problem]]:
    """Walk through the events of a recording that ends before ``end``.

    A message that starts and stops does what is due (one button for both). Where ``stopped`` is False nothing stops an
    episode but the next start, or the end. ``unfinished`` says what becomes of an episode that is started again or
    never stopped: it is kept up to there, or not.
    """
    spans: list[Span] = []
    problems: list[Problem] = []
    opened: Event | None = None

    def leave(begun: Event, until: int, what: str) -> None:
        kept = unfinished == "keep"
        text = f"an episode {what}; it is {'kept up to there' if kept else 'left out'}"
        problems.append(Problem(begun.stamp, text, severe=True, until=None if kept else until))
        if kept:
            spans.append(_span(begun, until, "", what))

    for event in events:
        if opened is not None and event.discards:
            problems.append(Problem(opened.stamp, f"an episode is discarded by {event.shown}", until=event.stamp))
            opened = None
        elif opened is not None and event.stops:
            spans.append(_span(opened, event.stamp, event.label, f"{opened.shown} … {event.shown}"))
            opened = None
        elif event.starts:
            if opened is not None and stopped:
                leave(opened, event.stamp, f"is started again by {event.shown} before it was stopped")
            elif opened is not None:
                spans.append(_span(opened, event.stamp, "", f"{opened.shown} … {event.shown}"))
            opened = event
        elif event.stops or event.discards:
            what = "stop" if event.stops else "discard"
            problems.append(Problem(event.stamp, f"a {what} ({event.shown}) without a start", severe=event.stops))
    if opened is not None and stopped:
        leave(opened, end, "is never stopped before the recording ends")
    elif opened is not None:
        spans.append(_span(opened, end, "", f"{opened.shown} … the end"))
    return spans, problems


def _span(begun: Event, until: int, label: str, why: str) -> Span:
    return Span(begun.stamp, until, begun.task, label or begun.label, why)
