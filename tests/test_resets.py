"""Clocks that were set: found in the order in which messages came, told apart from what writers leave in disorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.records import Index
from streamer.resets import boundaries, in_file_order, make_arrivals, passes, restarts, tell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.resets import Arrival

    Stamps = NDArray[np.int64]

SECOND = 10**9
MS = 10**6
START = 1_700_000_000 * SECOND


def steady(seconds: float, hz: float = 50, start: int = START) -> Stamps:
    return start + (np.arange(round(seconds * hz)) * (SECOND / hz)).astype(np.int64)


def index(*, stamps: Stamps, order: NDArray[np.intp] | None = None, block: int = 1) -> Index:
    """Lay messages into a file in the order in which they are given, and list them as a source does: by stamps."""
    places = np.arange(len(stamps), dtype=np.int64) * 100
    by_stamp = np.argsort(stamps, kind="stable") if order is None else order
    return Index(stamps[by_stamp], np.full(len(stamps), block, np.int32), places[by_stamp])


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([steady(10)], []),
        ([steady(10), steady(10, start=START + 60 * SECOND)], []),  # a pause
        ([steady(10), steady(10)], [500]),  # a playback that loops
        ([steady(10), steady(10), steady(10)], [500, 1000]),
        ([steady(10), steady(10, start=START + 8 * SECOND)], [500]),  # a clock that is set back by two seconds
        ([steady(1), steady(1, start=START + SECOND // 5)], [50]),  # … by less than one, which comes twice
        ([steady(10), steady(10, start=0)], [500]),  # a simulation that begins anew
        ([steady(10, start=0), steady(10)], [500]),  # years ahead
        ([steady(10), np.array([4_070_908_800 * SECOND]), steady(10, start=START + 10 * SECOND)], [500, 501]),
        ([steady(10), np.zeros(1, np.int64), steady(10, start=START + 10 * SECOND)], [500, 501]),
        ([steady(10, start=-5 * SECOND)], []),  # a simulation that counts down to 0
        ([np.full(100, START)], []),  # one stamp for all
        ([np.zeros(100, np.int64)], []),
        ([steady(3)[::-1]], [51, 102]),  # played backwards: a second behind the latest, each time
        ([np.empty(0, np.int64)], []),
        ([np.array([START])], []),
        ([np.array([START, START - 2 * SECOND])], [1]),
    ],
)
def test_a_clock_that_was_set_is_found_where_it_was_set(parts: list[Stamps], found: list[int]) -> None:
    assert restarts(np.concatenate(parts)).tolist() == found


def test_small_disorder_of_a_writer_is_no_reset() -> None:
    """Chunks that overlap by up to a second hold each message once, in whatever chunk it lies."""
    random = np.random.default_rng(5)
    stamps = steady(60, 200)
    late = np.argsort(stamps + random.integers(0, 900 * MS, len(stamps)), kind="stable")  # each waits on its own
    assert len(restarts(stamps[late])) == 0
    for overlap in (50, 400, 990):  # milliseconds, in which messages go to either of two chunks
        second = (stamps > stamps[len(stamps) // 2]) | (
            (stamps > stamps[len(stamps) // 2] - overlap * MS) & (random.random(len(stamps)) < 0.5)
        )
        written = np.concatenate([stamps[~second], stamps[second]])
        assert (np.diff(written) < 0).any()
        assert len(restarts(written)) == 0, overlap


@settings(deadline=None, max_examples=60)
@given(
    hz=st.integers(10, 1000),
    back=st.integers(1_100, 9_000),
    jitter=st.floats(0, 0.9),
    dropped=st.floats(0, 0.3),
    seed=st.integers(0, 99),
)
def test_a_jump_back_of_more_than_a_second_is_found_whatever_the_pace(
    hz: int, back: int, jitter: float, dropped: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    first = np.sort(steady(10, hz) + random.integers(0, int(jitter * SECOND / hz) + 1, 10 * hz))
    second = np.sort(steady(10, hz, int(first[-1]) - back * MS)) + SECOND // hz
    first, second = (part[random.random(len(part)) >= dropped] for part in (first, second))
    if first.max() - second.min() > SECOND:
        assert restarts(np.concatenate([first, second])).tolist() == [len(first)]


def test_the_order_of_the_file_is_told_from_places_alone() -> None:
    ordered = index(stamps=steady(1))
    assert in_file_order(ordered) is None
    looped = index(stamps=np.concatenate([steady(1), steady(1)]))
    order = in_file_order(looped)
    assert order is not None
    assert looped.stamps[order].tolist() == [*steady(1), *steady(1)]


def test_each_pass_holds_the_messages_that_came_in_it_whatever_the_stream() -> None:
    """A camera and joints loop three times; a rare topic has a message in the second pass alone."""
    camera = np.concatenate([steady(4, 30)] * 3)
    arm = np.concatenate([steady(4, 100)] * 3)
    rare = np.array([START + 2 * SECOND])
    when = [
        np.repeat([0, 1, 2], len(camera) // 3) * 10 * SECOND + camera,
        np.repeat([0, 1, 2], len(arm) // 3) * 10 * SECOND + arm,
        rare + 10 * SECOND,
    ]
    rank = np.argsort(np.argsort(np.concatenate(when), kind="stable"), kind="stable")
    places = np.split(rank, np.cumsum([len(w) for w in when])[:-1])
    indexes = {}
    for name, stamps, place in zip(("camera", "arm", "rare"), (camera, arm, rare), places, strict=True):
        by_stamp = np.argsort(stamps, kind="stable")
        blocks = (place // 64).astype(np.int32)  # chunks of 64 messages
        indexes[name] = Index(stamps[by_stamp], blocks[by_stamp], place[by_stamp] % 64 * 100)
    arrivals = make_arrivals(indexes, indexes)
    assert len(boundaries(arrivals.values())) == 2
    found = passes(arrivals)
    for number, part in enumerate(found):
        assert indexes["camera"].stamps[part["camera"]].tolist() == steady(4, 30).tolist()
        assert indexes["arm"].stamps[part["arm"]].tolist() == steady(4, 100).tolist()
        assert len(part["rare"]) == (number == 1)
        came = (
            indexes["camera"].block[part["camera"]].astype(np.int64) * 64
            + indexes["camera"].offset[part["camera"]] // 100
        )
        assert came.tolist() == places[0][number * 120 : (number + 1) * 120].tolist()


def arrivals_of(received: Stamps, header: Stamps) -> Arrival:
    """Return how messages that lie in the file in this order came, on the clock of their headers."""
    by_receipt, by_header = index(stamps=received), index(stamps=header)
    (found,) = make_arrivals({"a": by_header}, {"a": by_receipt}).values()
    assert np.array_equal(found.stamps, by_header.stamps[found.numbers])
    return found


def test_header_stamps_are_looked_at_in_the_order_of_receipt() -> None:
    """That is the order of the file where the clock of the receipt was set itself."""
    looped = np.concatenate([steady(4), steady(4)])
    assert arrivals_of(steady(8), looped).restarts.tolist() == [200]
    assert arrivals_of(looped, steady(8)).restarts.tolist() == []
    assert arrivals_of(looped, looped).restarts.tolist() == [200]
    swapped = np.arange(400) ^ 1  # each two messages lie the other way round
    found = arrivals_of(steady(8)[swapped], steady(8)[swapped])
    assert found.stamps.tolist() == steady(8).tolist()


def test_a_clock_that_was_set_is_told_with_its_instants() -> None:
    stamps = np.concatenate([steady(10), steady(10, start=START + 5 * SECOND)])
    found = index(stamps=stamps)
    (arrival,) = make_arrivals({"a": found}, {"a": found}).values()
    assert tell(arrival) == "jump from 1700000009.980 s to 1700000005.000 s at message 500"
