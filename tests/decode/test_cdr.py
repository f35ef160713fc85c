"""How far things reach behind each other, against stepping from one to the next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamer.decode.cdr import repeat


@given(st.tuples(*[st.integers(0, 40)] * 8), st.integers(0, 7), st.integers(0, 60))
def test_things_alike_end_where_stepping_over_each_of_them_ends(one: tuple[int, ...], start: int, count: int) -> None:
    position = start
    for _ in range(count):
        position += one[position % 8]
    assert repeat(one)(start, count) == position - start


def test_the_count_costs_nothing() -> None:
    assert repeat((8,) * 8)(3, 2**62) == 2**65
