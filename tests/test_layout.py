"""Places in a slot, and how many slots a budget gives."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import ConfigError
from streamer.layout import ALIGNMENT, PAGE, count_slots, make_layout, put_last
from streamer.records import Spec

POINT = {"names": ["x", "intensity"], "formats": ["<f4", "u1"], "offsets": [0, 4], "itemsize": 5}
DTYPES = ["u1", "<u2", "<f4", "<f8", POINT]
SPECS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=4),
    st.builds(Spec, st.lists(st.integers(0, 40), max_size=3).map(tuple), st.sampled_from(DTYPES)),
    max_size=6,
)


@settings(deadline=None, max_examples=100)
@given(specs=SPECS)
def test_places_are_aligned_disjoint_and_within_whole_pages(specs: dict[str, Spec]) -> None:
    layout = make_layout(specs)
    assert [(place.name, place.spec) for place in layout.places] == list(specs.items())
    end = 0
    for place in layout.places:
        assert place.offset % ALIGNMENT == 0
        assert place.offset >= end
        assert place.nbytes == np.zeros(place.spec.shape, place.spec.dtype).nbytes
        end = place.offset + place.nbytes
    assert layout.slot_size % PAGE == 0
    assert max(end, 1) <= layout.slot_size < max(end, 1) + PAGE + ALIGNMENT


def test_a_frame_of_one_page_takes_one_page() -> None:
    assert make_layout({"a": Spec((PAGE,), "u1")}).slot_size == PAGE
    assert make_layout({"a": Spec((PAGE + 1,), "u1")}).slot_size == 2 * PAGE


def test_no_two_small_arrays_share_a_cache_line() -> None:
    layout = make_layout({"a": Spec((3,), "u1"), "b": Spec((), "<f8"), "c": Spec((65,), "u1"), "d": Spec((1,), "u1")})
    assert [place.offset for place in layout.places] == [0, 64, 128, 256]


def test_a_budget_gives_as_many_slots_as_fit_whole() -> None:
    layout = make_layout({"a": Spec((PAGE,), "u1")})
    assert count_slots(layout, 10 * PAGE, frames=1000, least=1) == 10
    assert count_slots(layout, 11 * PAGE - 1, frames=1000, least=1) == 10


def test_there_are_no_more_slots_than_frames_but_always_the_least() -> None:
    layout = make_layout({"a": Spec((PAGE,), "u1")})
    assert count_slots(layout, 10 * PAGE, frames=4, least=1) == 4
    assert count_slots(layout, 10 * PAGE, frames=1, least=3) == 3


def test_a_pool_that_is_too_small_is_an_error_with_the_arithmetic() -> None:
    layout = make_layout({"head": Spec((480, 640, 3), "u1"), "state": Spec((14,), "<f8"), "scan": Spec((9,), POINT)})
    with pytest.raises(ConfigError) as caught:
        count_slots(layout, 900_000, frames=10, least=1)
    told = str(caught.value)
    assert "900 kB cannot hold one frame" in told
    assert "head 480x640x3 uint8 = 922 kB" in told
    assert "state 14 float64 = 112 B" in told
    assert "scan 9 5-byte records = 45 B" in told
    assert "a frame needs 926 kB" in told


def test_the_pool_that_the_error_asks_for_is_enough() -> None:
    layout = make_layout({"head": Spec((480, 640, 3), "u1")})
    with pytest.raises(ConfigError, match="cannot hold 6 frames") as caught:
        count_slots(layout, 5 * layout.slot_size, frames=10, least=6)
    asked = int(str(caught.value).partition("'pool: ")[2].partition(" MB'")[0]) * 10**6
    assert count_slots(layout, asked, frames=10, least=6) >= 6
    assert asked == math.ceil(6 * layout.slot_size / 10**6) * 10**6


@settings(deadline=None, max_examples=100)
@given(specs=SPECS, chosen=st.sets(st.integers(0, 5), min_size=1))
def test_what_is_put_last_begins_at_a_page_behind_all_else(specs: dict[str, Spec], chosen: set[int]) -> None:
    before = make_layout(specs)
    layout = put_last(before, chosen)
    assert [(p.name, p.nbytes, p.spec) for p in layout.places] == [(p.name, p.nbytes, p.spec) for p in before.places]
    spans = sorted((p.offset, p.offset + p.nbytes) for p in layout.places)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert all(place.offset % ALIGNMENT == 0 for place in layout.places)
    first = layout.slot_size - layout.later
    assert first >= PAGE
    assert first % PAGE == layout.slot_size % PAGE == 0
    for number, place in enumerate(layout.places):
        if place.nbytes:
            assert layout.is_later(place) == (number in chosen) == (place.offset >= first)
            assert place.offset + place.nbytes <= (layout.slot_size if number in chosen else first)


def test_a_slot_of_which_nothing_is_put_last_stays_as_it_is() -> None:
    layout = make_layout({"a": Spec((PAGE,), "u1"), "b": Spec((3,), "<f8")})
    assert put_last(layout, ()) == layout
    assert not any(map(layout.is_later, layout.places))
