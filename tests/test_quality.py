"""Limits and what was found → verdicts: against counts that are made by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.quality import held, judge, pauses, pictures, stillness
from streamer.records import Flag, StreamPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

S = 10**9


def _stamps(*seconds: float) -> NDArray[np.int64]:
    return np.array([round(second * S) for second in seconds], np.int64)


@pytest.mark.parametrize(
    ("stamps", "worst", "count"),
    [
        ([0, 1, 2, 3], None, 0),
        ([0, 1, 2.5, 3], 1.5, 1),  # between two messages
        ([1.5, 2, 3], 1.5, 1),  # before the first
        ([0, 1], 2, 1),  # behind the last
        ([], 3, 1),  # there is none
        ([-5, -1, 0, 1, 2, 3, 9], 6, 2),  # messages beyond the ticks count as they come
    ],
)
def test_a_pause_is_found_wherever_it_lies(stamps: list[float], worst: float | None, count: int) -> None:
    reason = pauses("head", [_stamps(*stamps)], [_stamps(0, 1, 2, 3)], round(1.2 * S))
    assert (reason is None) == (worst is None)
    if reason is not None:
        assert (reason.found, reason.allowed, reason.count) == (worst, 1.2, count)
        assert reason.text.startswith("head: a pause of ")


@given(st.lists(st.lists(st.integers(0, 1000), max_size=20), min_size=1, max_size=3), st.integers(1, 300))
def test_pauses_of_passes_are_those_of_a_walk_through_each(parts: list[list[int]], longest: int) -> None:
    ticks = np.array([0, 500, 1000])
    found = []
    for part in parts:
        edges = [0, *sorted(part), 1000]
        found += [b - a for a, b in pairwise(edges)]
    reason = pauses("x", [np.array(sorted(part), np.int64) for part in parts], [ticks] * len(parts), longest)
    beyond = [distance for distance in found if distance > longest]
    assert (None if reason is None else (round(reason.found * S), reason.count)) == (
        (max(beyond), len(beyond)) if beyond else None
    )


def test_frames_that_show_nothing_new_are_counted_within_the_episode() -> None:
    first = np.array([0, 0, 1, -1, 2, 2, 2, 3], np.int32)
    flags = np.array([0, Flag.HELD, 0, 0, 0, Flag.HELD, Flag.HELD | Flag.GAP, Flag.GAP], np.uint8)
    nothing = np.zeros(8, np.int64)
    plan = StreamPlan("arm", first, first, nothing.astype(float), nothing, nothing, flags)
    reason = held(plan, slice(1, 7), 0.5)
    assert reason is not None
    assert (reason.count, reason.total, reason.found) == (4, 6, 4 / 6)
    assert reason.text == "arm: nothing new in 66.7 % (4 of 6) of its frames, more than 50 %"
    assert held(plan, slice(0, 2), 0.5) is None  # as much as is allowed


def test_pictures_and_movement_are_counted_against_what_is_allowed() -> None:
    values = np.array([3.0, 90.0, 4.9, 5.0])
    reason = pictures("head", "black", values, 5, 0.1)
    assert reason is not None
    assert (reason.count, reason.total, reason.found, reason.allowed) == (2, 4, 3.0, 5)
    assert reason.text == "head: 50 % (2 of 4) of its pictures black (brightness down to 3, below 5), more than 10 %"
    assert pictures("head", "blur", values, 5, 0.5) is None
    moves = np.array([False, True, False, False])
    still = stillness(moves, 0.7)
    assert still is not None
    assert (still.found, still.text) == (0.75, "all: still in 75 % (3 of 4) of its frames, more than 70 %")
    assert stillness(moves, 0.75) is None
    verdicts = [judge(4, [reason], what).outcome for what in ("keep", "flag", "drop")]
    assert verdicts == ["kept", "flagged", "left out"]
    assert judge(4, [], "drop").outcome == "kept"
