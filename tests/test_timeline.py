"""Ticks: thinning that is exact for every ratio, grids that do not drift, and where a timeline ends."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamer.errors import ConfigError
from streamer.timeline import finish_at, follow, grid, grid_instants, trim

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stamps = NDArray[np.int64]

SECOND = 10**9
START = 1_700_000_000 * SECOND


def recorded(count: int, hertz: Fraction | int, *, jitter: float = 0.0, seed: int = 0, start: int = START) -> Stamps:
    """Return stamps of a stream at ``hertz``, each late by up to ``jitter`` periods."""
    period = Fraction(SECOND) / hertz
    exact = np.array([int(n * period) for n in range(count)], np.int64)
    late = np.random.default_rng(seed).uniform(0, jitter * float(period), count).astype(np.int64)
    return start + exact + late


def stretches(stamps: Stamps, rate: Fraction) -> list[Stamps]:
    """Cut stamps where neighbours are further apart than 1.5 periods of the stream and of the rate."""
    longest = 1.5 * max(float(np.median(np.diff(stamps))), float(SECOND / rate))
    return np.split(stamps, np.flatnonzero(np.diff(stamps) > longest) + 1)


def test_thirty_hertz_thinned_to_twenty_is_twenty_whatever_jitter_and_gap() -> None:
    whole = recorded(900, 30, jitter=0.3)
    stamps = np.concatenate([whole[:300], whole[360:]])  # two seconds are missing
    ticks = follow(stamps, Fraction(20), "head")
    assert np.isin(ticks, stamps).all()
    assert (np.diff(ticks) > 0).all()
    assert abs(len(ticks) - 28 * 20) <= 2
    before, after = ticks[ticks < whole[300]], ticks[ticks >= whole[360]]
    for part in (before, after):
        assert abs(len(part) / ((part[-1] - part[0]) / SECOND + 1 / 20) - 20) < 0.1
        assert np.diff(part).max() < 1.5 * SECOND / 20 + 0.34 * SECOND / 30


@settings(deadline=None, max_examples=60)
@given(
    own=st.fractions(1, 200, max_denominator=100),
    ratio=st.fractions(Fraction(11, 10), 12, max_denominator=50),
    jitter=st.floats(0, 0.33),
    seed=st.integers(0, 2**32 - 1),
    cut=st.none() | st.tuples(st.integers(100, 500), st.integers(30, 60)),
)
def test_thinning_keeps_the_rate_in_every_unbroken_stretch(
    own: Fraction, ratio: Fraction, jitter: float, seed: int, cut: tuple[int, int] | None
) -> None:
    stamps = recorded(600, own, jitter=jitter, seed=seed)
    if cut is not None:
        stamps = np.concatenate([stamps[: cut[0]], stamps[sum(cut) :]])
    rate = own / ratio
    ticks = follow(stamps, rate, "head")
    assert np.isin(ticks, stamps).all()
    assert (np.diff(ticks) > 0).all()
    for part in stretches(stamps, rate):
        seconds = Fraction(int(part[-1] - part[0]), SECOND) + 1 / own
        count = np.count_nonzero((ticks >= part[0]) & (ticks <= part[-1]))
        rounding = len(stamps) * rate / SECOND  # of stamps to whole nanoseconds
        assert abs(int(count) - seconds * rate) <= 1 + rounding


@settings(deadline=None, max_examples=40)
@given(
    gaps=st.lists(st.integers(0, 300_000_000), max_size=80), rate=st.fractions(Fraction(1, 10), 100, max_denominator=30)
)
def test_ticks_are_messages_in_order_however_wild_the_stream_is(gaps: list[int], rate: Fraction) -> None:
    stamps = START + np.cumsum(np.array([0, *gaps], np.int64))
    try:
        ticks = follow(stamps, rate, "head")
    except ConfigError:
        assume(False)
    assert np.isin(ticks, stamps).all()
    assert (np.diff(ticks) >= 0).all()
    assert len(np.unique(ticks)) == len(ticks) or len(ticks) == len(stamps)  # twice one instant: two messages there


def test_each_wanted_instant_takes_the_nearest_message() -> None:
    stamps = np.array([0, 30, 60, 100, 130, 160, 200], np.int64) * 10**6
    ticks = follow(stamps, Fraction(15), "head")  # wants 0, 66.7, 133.3, 200 ms
    assert (ticks // 10**6).tolist() == [0, 60, 130, 200]


def test_no_tick_stands_inside_a_gap() -> None:
    stamps = np.concatenate([recorded(60, 30), recorded(60, 30, start=START + 10 * SECOND)])
    ticks = follow(stamps, Fraction(10), "head")
    assert np.count_nonzero(np.diff(ticks) > SECOND) == 1
    assert len(ticks) == 40


def test_a_rate_above_the_streams_own_is_an_error_that_names_grid() -> None:
    with pytest.raises(ConfigError, match="from: grid") as caught:
        follow(recorded(100, 30), Fraction(60), "head")
    assert "timeline.rate" in str(caught.value)
    assert "60 Hz" in str(caught.value)
    assert "30.00 Hz" in str(caught.value)
    assert "'head'" in str(caught.value)


@pytest.mark.parametrize("hertz", [Fraction(2942, 100), Fraction(30), Fraction(3059, 100)])
def test_a_rate_within_two_percent_of_the_streams_own_takes_every_message(hertz: Fraction) -> None:
    stamps = recorded(900, 30, jitter=0.2)
    exact = recorded(900, 30)
    assert (follow(exact, hertz, "head") == exact).all()
    assert len(follow(stamps, Fraction(30), "head")) == 900


def test_a_rate_more_than_two_percent_lower_thins() -> None:
    assert len(follow(recorded(901, 30), Fraction(29), "head")) == 871


def test_without_thinning_every_message_is_a_tick_those_with_one_stamp_too() -> None:
    stamps = np.array([5, 5, 7, 7, 9], np.int64)
    assert follow(stamps, None, "head").tolist() == stamps.tolist()
    assert follow(stamps * 10**7, Fraction(50), "head").tolist() == (stamps * 10**7).tolist()
    assert follow(stamps * 10**7, Fraction(25), "head").tolist() == [5 * 10**7, 9 * 10**7]


@pytest.mark.parametrize("stamps", [[], [5], [5, 5]])
def test_a_stream_without_a_pace_gives_what_it_has(stamps: list[int]) -> None:
    assert follow(np.array(stamps, np.int64), Fraction(10), "head").tolist() == stamps


# ---- grids


def test_a_grid_of_29_97_hertz_does_not_drift_over_hours() -> None:
    rate = Fraction(2997, 100)
    end = START + 3 * 3600 * SECOND
    ticks = grid(START, end, rate)
    assert len(ticks) == 3 * 3600 * rate // 1 + 1
    for number in (0, 1, 2, 997, 99_999, len(ticks) // 2, len(ticks) - 1):
        assert int(ticks[number]) == START + number * SECOND / rate // 1
    assert ticks[-1] <= end < ticks[-1] + SECOND / rate


@settings(deadline=None, max_examples=80)
@given(
    numerator=st.integers(1, 10**6),
    denominator=st.integers(1, 1000),
    first=st.integers(-(10**6), 10**6),
    count=st.integers(0, 5),
)
def test_every_instant_of_a_grid_is_the_exact_fraction_rounded_down(
    numerator: int, denominator: int, first: int, count: int
) -> None:
    rate = Fraction(numerator, denominator)
    wanted = [number * SECOND / rate // 1 for number in range(first, first + count)]
    assert grid_instants(first, first + count, rate).tolist() == wanted


@pytest.mark.parametrize("text", ["16.666666667", "29.9700299701", "59.94005994005994"])
def test_a_rate_of_many_decimals_is_as_exact_as_any(text: str) -> None:
    rate = Fraction(text)
    ticks = grid(START, START + 3600 * SECOND, rate)
    for number in (1, 2, 1000, len(ticks) - 1):
        assert int(ticks[number]) == START + number * SECOND / rate // 1


@settings(deadline=None, max_examples=60)
@given(
    start=st.integers(0, 2**60),
    length=st.integers(0, 10**10),
    rate=st.fractions(Fraction(1, 5), 50, max_denominator=100),
)
def test_a_grid_begins_at_its_start_and_goes_as_far_as_its_end(start: int, length: int, rate: Fraction) -> None:
    ticks = grid(start, start + length, rate)
    assert ticks[0] == start
    assert ticks[-1] <= start + length
    assert start + len(ticks) * SECOND / rate > start + length


def test_a_grid_that_ends_before_it_begins_is_empty() -> None:
    assert len(grid(10, 9, Fraction(1))) == 0
    assert grid(10, 10, Fraction(1)).tolist() == [10]


# ---- the end


def test_the_common_end_is_where_the_first_stream_ends() -> None:
    ticks = np.arange(0, 100, 10, dtype=np.int64)
    assert finish_at(ticks, "common", [70, 50, 200], None).tolist() == [0, 10, 20, 30, 40, 50]


def test_the_longest_end_goes_on_at_the_timelines_pace() -> None:
    ticks = np.arange(0, 50, 10, dtype=np.int64)
    assert finish_at(ticks, "longest", [20, 75], None).tolist() == [0, 10, 20, 30, 40, 50, 60, 70]
    assert finish_at(ticks, "longest", [20, 75], Fraction(SECOND, 15)).tolist() == [0, 10, 20, 30, 40, 55, 70]


def test_the_longest_end_takes_nothing_from_a_timeline_that_is_longer() -> None:
    ticks = np.arange(0, 50, 10, dtype=np.int64)
    assert finish_at(ticks, "longest", [20], None).tolist() == ticks.tolist()


def test_a_timeline_of_one_tick_has_no_pace_to_go_on_at() -> None:
    assert finish_at(np.array([7], np.int64), "longest", [1007], None).tolist() == [7]


def test_the_end_timeline_leaves_the_ticks_alone() -> None:
    ticks = np.arange(0, 50, 10, dtype=np.int64)
    assert finish_at(ticks, "timeline", [20, 900], None).tolist() == ticks.tolist()


@pytest.mark.parametrize("end", ["common", "longest", "timeline"])
def test_where_no_stream_has_an_end_the_ticks_stay(end: str) -> None:
    ticks = np.arange(0, 50, 10, dtype=np.int64)
    assert finish_at(ticks, end, [], None).tolist() == ticks.tolist()
    assert len(finish_at(ticks[:0], end, [20], None)) == 0


# ---- crop and skip


def test_crop_comes_before_skip() -> None:
    ticks = np.arange(100, dtype=np.int64)
    assert trim(ticks, (0.1, 0.5), 10).tolist() == list(range(20, 40))


def test_a_skip_of_zero_keeps_all() -> None:
    ticks = np.arange(10, dtype=np.int64)
    assert trim(ticks, (0.0, 1.0), 0).tolist() == list(range(10))
    assert trim(ticks, (0.5, 1.0), 0).tolist() == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(("skip", "left"), [(4, [4, 5]), (5, []), (6, []), (9, []), (50, [])])
def test_a_skip_of_half_or_more_leaves_nothing(skip: int, left: list[int]) -> None:
    assert trim(np.arange(10, dtype=np.int64), (0.0, 1.0), skip).tolist() == left


def test_crops_that_meet_share_no_tick_and_lose_none() -> None:
    ticks = np.arange(101, dtype=np.int64)
    parts = [trim(ticks, crop, 0) for crop in ((0.0, 0.3), (0.3, 0.77), (0.77, 1.0))]
    assert np.concatenate(parts).tolist() == ticks.tolist()
