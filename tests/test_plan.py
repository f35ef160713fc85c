"""The plan, against a reference that asks every message about every tick, and its promises one by one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.delivery import Delivery, End, EndChunk, Load, Send
from streamer.errors import RecordingError
from streamer.plan import digest, make_plan
from streamer.records import Alignment, Flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamer.records import Plan, StreamPlan

    Stamps = NDArray[np.int64]

BASE = 1_700_000_000 * 10**9


def stamps_of(*values: int) -> Stamps:
    return np.array(values, np.int64)


# ---- the reference: plain Python, one tick at a time


@dataclass(frozen=True)
class Cell:
    """What a stream shows at one tick."""

    first: int
    second: int
    weight: Fraction
    stamp: int
    offset: int
    flags: Flag
    missing: bool


def choose(tick: int, stamps: Sequence[int], align: str) -> tuple[int, int, Fraction]:
    """Return both messages and the share of the second; -1 where there is none."""
    numbers = range(len(stamps))
    before = [n for n in numbers if stamps[n] <= tick]
    after = [n for n in numbers if stamps[n] > tick]
    if not stamps or (align == "previous" and not before):
        return -1, -1, Fraction(0)
    if align == "nearest":
        best = min(numbers, key=lambda n: (abs(stamps[n] - tick), stamps[n]))
        return best, best, Fraction(0)
    if align == "previous" or not after or (before and stamps[before[-1]] == tick):
        return before[-1], before[-1], Fraction(0)
    if not before:
        return after[0], after[0], Fraction(0)
    first, second = before[-1], after[0]
    return first, second, Fraction(tick - stamps[first], stamps[second] - stamps[first])


def in_gap(tick: int, stamps: Sequence[int], gap: int) -> bool:
    if tick in stamps:
        return False
    before = [stamp for stamp in stamps if stamp < tick]
    after = [stamp for stamp in stamps if stamp > tick]
    if before and after:
        return min(after) - max(before) > gap
    return not stamps or min(abs(stamp - tick) for stamp in stamps) > gap


def average(n: int, instants: Sequence[int], stamps: Sequence[int]) -> tuple[int, int]:
    """Return the first and the last message that is nearer to this instant than half the way to its neighbours."""
    here = instants[n]
    before = here - instants[n - 1] if n else None
    after = instants[n + 1] - here if n + 1 < len(instants) else None
    periods = sorted(b - a for a, b in itertools.pairwise(instants))
    reach = int(np.median(periods)) * 3 // 4 if periods else 0
    back = before or after or 0
    ahead = after or before or 0
    low, high = here - min(back - back // 2, reach), here + min(ahead // 2, reach)
    inside = [m for m, stamp in enumerate(stamps) if low <= stamp < high]
    return (inside[0], inside[-1]) if inside else (-1, -1)


def align_one(n: int, instants: Sequence[int], stamps: Sequence[int], how: Alignment) -> Cell:
    tick = instants[n]
    if how.align == "mean":
        (first, second), weight = average(n, instants, stamps), Fraction(0)
        used = {min(range(first, second + 1), key=lambda m: abs(stamps[m] - tick))} if first >= 0 else set()
    else:
        first, second, weight = choose(tick, stamps, how.align)
        used = {first, second} - {-1}
    flags = Flag.NONE
    far = how.tolerance is not None and any(abs(stamps[n] - tick) > how.tolerance for n in used)
    missing = not used or far
    if missing and how.missing == "hold" and stamps:
        first = second = max(choose(tick, stamps, "previous")[0], 0)
        weight = Fraction(0)
        flags |= Flag.HELD
    elif missing:
        first = second = -1
        weight = Fraction(0)
    if how.gap is not None and in_gap(tick, stamps, how.gap):
        flags |= Flag.GAP
    if first == -1:
        return Cell(-1, -1, weight, tick, 0, flags, missing)
    near = second if weight > Fraction(1, 2) else first
    if how.align == "mean":
        near = min(range(first, second + 1), key=lambda m: abs(stamps[m] - tick))
    offset = stamps[near] - tick
    if weight or second != first:
        return Cell(first, second, weight, tick, offset, flags | Flag.INTERPOLATED, missing)
    return Cell(first, second, weight, tick + offset, offset, flags, missing)


def reference(ticks: Sequence[int], stamps: Sequence[int], how: Alignment) -> tuple[list[int], list[Cell]]:
    """Return the numbers of the ticks that become frames, and what they show."""
    numbers: list[int] = []
    cells: list[Cell] = []
    count = len(ticks)
    instants = [ticks[min(max(n + how.at_ticks, 0), count - 1)] + how.at for n in range(count)]
    for number in range(count):
        if not 0 <= number + how.at_ticks < count:
            continue
        if how.at and stamps and not how.endless and not stamps[0] <= instants[number] <= stamps[-1]:
            continue
        cell = align_one(number, instants, stamps, how)
        if cell.missing and how.missing == "skip":
            continue
        if cells and cell.first >= 0 and cell.first == cell.second == cells[-1].first == cells[-1].second:
            cell = replace(cell, flags=cell.flags | Flag.HELD)
        numbers.append(number)
        cells.append(cell)
    return numbers, cells


def cells_of(stream: StreamPlan, missing: Sequence[bool]) -> list[Cell]:
    columns = (stream.first, stream.second, stream.weight, stream.stamp, stream.offset, stream.flags)
    rows = zip(*(column.tolist() for column in columns), missing, strict=True)
    return [Cell(a, b, Fraction(w).limit_denominator(10**6), s, o, Flag(f), m) for a, b, w, s, o, f, m in rows]


STAMPS = (st.lists(st.integers(0, 60), max_size=14) | st.sets(st.integers(0, 60), max_size=14)).map(sorted)
TICKS = st.sets(st.integers(-5, 65), max_size=20).map(sorted)
HOW = st.builds(
    Alignment,
    st.sampled_from(["nearest", "previous", "linear", "mean"]),
    st.none() | st.integers(0, 12),
    st.sampled_from(["error", "skip", "none", "hold"]),
    st.none() | st.integers(0, 15),
    st.just(0) | st.integers(-9, 9),
    st.just(0) | st.integers(-2, 2),
)


@settings(deadline=None, max_examples=400)
@example(ticks=[10, 11], stamps=[19, 19], how=Alignment(at=9, at_ticks=-1))  # the first has no tick before it
@given(ticks=TICKS, stamps=STAMPS, how=HOW)
def test_a_plan_is_what_asking_every_message_gives(ticks: list[int], stamps: list[int], how: Alignment) -> None:
    ticks = [BASE + tick for tick in ticks]
    stamps = [BASE + stamp for stamp in stamps]
    numbers, cells = reference(ticks, stamps, how)
    missing = [cell.missing for cell in cells]
    if how.missing == "error" and any(missing):
        with pytest.raises(RecordingError, match=f"no sample for {sum(missing)} of {len(ticks)} ticks"):
            make_plan(stamps_of(*ticks), {"head": (stamps_of(*stamps), how)})
        return
    plan = make_plan(stamps_of(*ticks), {"head": (stamps_of(*stamps), how)})
    assert plan.numbers.tolist() == numbers
    assert plan.ticks.tolist() == [ticks[number] for number in numbers]
    assert cells_of(plan.streams[0], missing) == cells
    assert plan.planned == len(ticks) == plan.frames + sum(plan.skipped.values())


@settings(deadline=None, max_examples=100)
@given(
    ticks=TICKS, streams=st.lists(st.tuples(STAMPS, st.integers(0, 8), st.sampled_from(["skip", "none"])), max_size=4)
)
def test_every_tick_is_a_frame_or_counted_once_under_one_reason(
    ticks: list[int], streams: list[tuple[list[int], int, str]]
) -> None:
    plan = make_plan(
        stamps_of(*ticks),
        {f"s{n}": (stamps_of(*s), Alignment(tolerance=t, missing=m)) for n, (s, t, m) in enumerate(streams)},
    )
    assert plan.planned == len(ticks) == plan.frames + sum(plan.skipped.values())
    assert all(plan.skipped.values())
    skipping = [(stamps, tolerance) for stamps, tolerance, missing in streams if missing == "skip"]
    kept = [t for t in ticks if all(any(abs(s - t) <= tolerance for s in stamps) for stamps, tolerance in skipping)]
    assert plan.ticks.tolist() == kept


# ---- nearest, previous, linear


def test_a_tie_goes_to_the_earlier_message() -> None:
    plan = make_plan(stamps_of(15), {"head": (stamps_of(10, 20), Alignment())})
    assert plan.streams[0].first.tolist() == [0]
    assert plan.streams[0].offset.tolist() == [-5]


# ---- at: a sample that is taken later than its tick


def test_the_next_state_as_the_action_leaves_out_the_last_tick_and_counts_it() -> None:
    ticks = stamps_of(0, 10, 20, 30)
    plan = make_plan(ticks, {"state": (ticks, Alignment()), "action": (ticks, Alignment(at_ticks=1))})
    state, action = plan.streams
    assert state.first.tolist() == [0, 1, 2]
    assert action.first.tolist() == [1, 2, 3]
    assert action.offset.tolist() == [0, 0, 0]
    assert dict(plan.skipped) == {"at action": 1}


def test_a_sample_later_than_the_last_message_is_no_sample_unless_the_value_holds() -> None:
    ticks = stamps_of(0, 10, 20, 30)
    plan = make_plan(ticks, {"action": (ticks, Alignment(at=15))})
    assert plan.streams[0].first.tolist() == [1, 2]
    assert dict(plan.skipped) == {"at action": 2}
    held = make_plan(ticks, {"action": (ticks, Alignment("previous", at=15))})
    assert held.streams[0].first.tolist() == [1, 2, 3, 3]


def test_the_mean_takes_every_message_into_one_tick_and_none_from_a_gap() -> None:
    stamps = stamps_of(*range(0, 100, 2))
    plan = make_plan(stamps_of(0, 10, 20, 30, 80), {"force": (stamps, Alignment("mean"))})
    stream = plan.streams[0]
    assert stream.first.tolist() == [0, 3, 8, 13, 37]
    assert stream.second.tolist() == [2, 7, 12, 18, 43]
    assert set(stream.flags.tolist()) == {Flag.INTERPOLATED}


# ---- ties


@pytest.mark.parametrize("tick", [9, 10, 11, 14])
def test_of_messages_with_one_stamp_the_nearest_is_the_earlier(tick: int) -> None:
    plan = make_plan(stamps_of(tick), {"head": (stamps_of(0, 10, 10, 10, 20), Alignment())})
    assert plan.streams[0].first.tolist() == [1]


def test_of_messages_with_one_stamp_the_previous_is_the_last() -> None:
    plan = make_plan(stamps_of(10, 12), {"head": (stamps_of(10, 10), Alignment("previous"))})
    assert plan.streams[0].first.tolist() == [1, 1]


def test_previous_shows_no_message_of_the_future() -> None:
    plan = make_plan(stamps_of(9, 10, 19), {"head": (stamps_of(10, 20), Alignment("previous", missing="none"))})
    assert plan.streams[0].first.tolist() == [-1, 0, 0]


def test_linear_says_both_messages_the_share_of_the_second_and_the_nearer_offset() -> None:
    plan = make_plan(stamps_of(10, 12, 15, 18, 20), {"q": (stamps_of(10, 20), Alignment("linear"))})
    stream = plan.streams[0]
    assert stream.first.tolist() == [0, 0, 0, 0, 1]
    assert stream.second.tolist() == [0, 1, 1, 1, 1]
    assert stream.weight.tolist() == [0.0, 0.2, 0.5, 0.8, 0.0]
    assert stream.offset.tolist() == [0, -2, -5, 2, 0]
    assert stream.stamp.tolist() == [10, 12, 15, 18, 20]
    assert stream.flags.tolist() == [0, 2, 2, 2, 0]


def test_linear_needs_both_messages_within_tolerance() -> None:
    how = Alignment("linear", tolerance=6, missing="none")
    plan = make_plan(stamps_of(12, 15, 30), {"q": (stamps_of(10, 20, 30), how)})
    assert plan.streams[0].first.tolist() == [-1, 0, 2]
    assert plan.streams[0].weight.tolist() == [0.0, 0.5, 0.0]


@pytest.mark.parametrize("align", ["nearest", "previous", "linear"])
def test_a_message_exactly_at_the_tolerance_is_good(align: str) -> None:
    how = Alignment(align, tolerance=5, missing="none")
    plan = make_plan(stamps_of(15, 26), {"head": (stamps_of(10, 20), how)})
    assert plan.streams[0].first.tolist() == [0, -1]


def test_large_stamps_are_exact_to_the_nanosecond() -> None:
    stamps = stamps_of(BASE, BASE + 3)
    plan = make_plan(stamps_of(BASE + 1, BASE + 2), {"head": (stamps, Alignment())})
    assert plan.streams[0].first.tolist() == [0, 1]
    assert plan.streams[0].offset.tolist() == [-1, 1]
    assert plan.streams[0].stamp.tolist() == [BASE, BASE + 3]


# ---- flags and `missing`


def test_a_repeated_message_is_flagged_held_from_its_second_frame_on() -> None:
    plan = make_plan(stamps_of(10, 11, 12, 20), {"head": (stamps_of(10, 20), Alignment("previous"))})
    assert plan.streams[0].flags.tolist() == [0, Flag.HELD, Flag.HELD, 0]


def test_hold_shows_the_older_message_and_flags_it() -> None:
    how = Alignment(tolerance=2, missing="hold")
    stream = make_plan(stamps_of(10, 18, 21), {"head": (stamps_of(10, 21), how)}).streams[0]
    assert stream.first.tolist() == [0, 0, 1]
    assert stream.flags.tolist() == [0, Flag.HELD, 0]
    assert stream.offset.tolist() == [0, -8, 0]
    assert stream.stamp.tolist() == [10, 10, 21]


def test_ticks_between_distant_neighbours_are_flagged_and_the_neighbours_are_not() -> None:
    stamps, how = stamps_of(10, 20, 50, 60), Alignment(gap=10)
    plan = make_plan(stamps_of(15, 20, 21, 49, 50, 55, 70, 71), {"head": (stamps, how)})
    assert [bool(flag & Flag.GAP) for flag in plan.streams[0].flags] == [
        False,
        False,
        True,
        True,
        False,
        False,
        False,
        True,
    ]


def test_a_missing_sample_names_the_stream_the_count_the_reason_and_the_ways_out() -> None:
    ticks = stamps_of(*(10**9 + n * 10**8 for n in range(10)))
    with pytest.raises(RecordingError) as caught:
        make_plan(ticks, {"head": (ticks, Alignment()), "state": (ticks[:7], Alignment(tolerance=50 * 10**6))})
    told = str(caught.value)
    assert "streams.state: no sample for 3 of 10 ticks, first 700 ms after the first tick" in told
    assert "the nearest message is 100 ms off, tolerance is 50 ms" in told
    for way in ("missing: skip", "'none'", "'hold'"):
        assert way in told


def test_a_late_first_message_is_said_to_be_the_reason() -> None:
    ticks = stamps_of(0, 10**9)
    with pytest.raises(RecordingError, match=r"no sample for 1 of 2 ticks.* its first message comes 1 s later"):
        make_plan(ticks, {"state": (ticks[1:], Alignment("previous"))})


@pytest.mark.parametrize("align", ["nearest", "previous", "linear"])
def test_an_empty_stream_is_missing_everywhere(align: str) -> None:
    ticks, nothing = stamps_of(0, 10), stamps_of()
    with pytest.raises(RecordingError, match=r"streams.head: no sample for 2 of 2 ticks.*its topic has no message"):
        make_plan(ticks, {"head": (nothing, Alignment(align))})
    skipped = make_plan(ticks, {"head": (nothing, Alignment(align, missing="skip"))})
    assert (skipped.frames, dict(skipped.skipped)) == (0, {"missing head": 2})
    for missing in ("none", "hold"):
        stream = make_plan(ticks, {"head": (nothing, Alignment(align, missing=missing, gap=5))}).streams[0]
        assert stream.first.tolist() == [-1, -1]
        assert stream.flags.tolist() == [Flag.GAP, Flag.GAP]


def test_a_timeline_without_ticks_is_a_plan_without_frames() -> None:
    plan = make_plan(stamps_of(), {"head": (stamps_of(1, 2), Alignment(gap=5, tolerance=1))})
    assert (plan.frames, plan.planned, dict(plan.skipped)) == (0, 0, {})


# ---- chunks


def a_plan(count: int) -> Plan:
    ticks = np.arange(count, dtype=np.int64) * 100
    return make_plan(ticks, {"head": (ticks[::2] + 30, Alignment()), "state": (ticks + 7, Alignment("linear"))})


def sent(frames: int, chunk_size: int) -> list[int]:
    """Stream to one consumer that releases and commits at once; return the frames in the order seen."""
    table = Delivery(frames, chunk_size, 3, window=2, readahead=4)
    table.add("out", cursor=0)
    table.activate("out", None)
    seen: list[int] = []
    for _ in range(3 * frames + 10):
        for action in list(table.step()):
            if isinstance(action, Load):
                table.loaded(action.frame)
            elif isinstance(action, Send):
                seen.append(action.frame)
                assert table.release("out", action.frame)
            elif isinstance(action, EndChunk):
                assert table.committed("out", action.chunk)
            elif isinstance(action, End):
                assert table.closed("out")
    assert table.finished
    return seen


@settings(deadline=None, max_examples=40)
@given(frames=st.integers(0, 40), chunk_size=st.integers(1, 50))
def test_the_frames_that_are_sent_do_not_depend_on_the_chunk_size(frames: int, chunk_size: int) -> None:
    assert sent(frames, chunk_size) == list(range(frames))


def test_a_digest_tells_plans_settings_and_chunk_sizes_apart() -> None:
    plan = a_plan(20)
    known = digest(plan, "{}", 10)
    assert known == digest(a_plan(20), "{}", 10)
    assert known != digest(plan, "{}", 11)
    assert known != digest(plan, "{'scale': 2}", 10)
    assert known != digest(a_plan(19), "{}", 10)
    head, state = plan.streams
    for other in (
        replace(state, name="action"),
        replace(state, first=state.first + 1),
        replace(state, second=state.second + 1),
        replace(state, weight=state.weight / 2),
    ):
        assert known != digest(replace(plan, streams=(head, other)), "{}", 10)
    assert known != digest(replace(plan, ticks=plan.ticks + 1), "{}", 10)
