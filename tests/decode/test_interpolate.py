"""Two vectors and a weight → the one between them; quaternions against their closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.decode.interpolate import between, mean, slerp

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHT = st.floats(0, 1)
AXIS = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: math.hypot(*axis) > 0.1)
ANGLE = st.floats(-3.1, 3.1)


def turn(axis: tuple[float, ...], angle: float) -> NDArray[np.float64]:
    """Give the quaternion (x, y, z, w) of a rotation about an axis."""
    unit = np.array(axis) / math.hypot(*axis)
    return np.array([*unit * math.sin(angle / 2), math.cos(angle / 2)])


@settings(deadline=None, max_examples=100)
@given(axis=AXIS, start=ANGLE, step=ANGLE | st.floats(-0.06, 0.06), weight=WEIGHT)
def test_slerp_about_one_axis_is_the_rotation_by_that_part_of_the_angle(
    axis: tuple[float, ...], start: float, step: float, weight: float
) -> None:
    found = slerp(turn(axis, start), turn(axis, start + step), weight)
    wanted = turn(axis, start + weight * step)
    assert min(np.abs(found - wanted).max(), np.abs(found + wanted).max()) < 1e-12


@settings(deadline=None, max_examples=100)
@given(one=AXIS, other=AXIS, a=ANGLE, b=ANGLE, weight=WEIGHT)
def test_slerp_stays_on_the_sphere_and_takes_the_shorter_arc(
    one: tuple[float, ...], other: tuple[float, ...], a: float, b: float, weight: float
) -> None:
    p, q = turn(one, a), turn(other, b)
    found = slerp(p, q, weight)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-9)
    whole = math.acos(min(abs(float(p @ q)), 1.0))
    assert math.acos(min(abs(float(p @ found)), 1.0)) == pytest.approx(weight * whole, abs=1e-3)
    assert whole <= math.pi / 2 + 1e-9
    mirrored = slerp(p, -q, weight)
    assert np.allclose(found, mirrored, atol=1e-9) or abs(p @ q) < 1e-9


def test_slerp_ends_where_it_should() -> None:
    p, q = turn((1, 0, 0), 0.3), turn((0, 1, 1), 1.7)
    assert np.allclose(slerp(p, q, 0.0), p, atol=1e-12)
    assert np.allclose(slerp(p, q, 1.0), q, atol=1e-12)
    assert np.allclose(slerp(p, p, 0.37), p, atol=1e-12)


def test_slerp_of_nothing_is_nothing() -> None:
    zero = np.zeros(4)
    assert np.array_equal(slerp(zero, zero, 0.5), zero)


def test_slerp_of_opposite_turns_is_a_number() -> None:
    found = slerp(np.array([0.0, 0, 0, 1]), np.array([1.0, 0, 0, 0]), 0.5)
    assert np.allclose(found, [math.sqrt(0.5), 0, 0, math.sqrt(0.5)])


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=8), weight=WEIGHT)
def test_numbers_lie_on_the_straight_line(values: list[tuple[float, float]], weight: float) -> None:
    a, b = np.array(values, np.float64).reshape(-1, 2).T
    assert np.allclose(between(a, b, weight, ()), a + weight * (b - a), atol=1e-6)
    assert np.array_equal(between(a, b, 0.0, ()), a)
    assert np.array_equal(between(a, b, 1.0, ()), b)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_any_numbers_become_float64_without_overflow(dtype: str) -> None:
    a, b = np.array([0, 250], dtype), np.array([200, 50], dtype)
    found = between(a, b, 0.25, ())
    assert found.dtype == np.float64
    assert found.tolist() == [50, 200]


def test_quaternions_among_other_numbers_turn_and_the_others_do_not() -> None:
    p, q = turn((0, 0, 1), 0.0), turn((0, 0, 1), 2.0)
    a: NDArray[Any] = np.concatenate([[0.0, 10.0, 20.0], p, [5.0], p])
    b: NDArray[Any] = np.concatenate([[4.0, 10.0, 40.0], q, [9.0], -q])
    found = between(a, b, 0.25, (3, 8))
    assert np.allclose(found, [1, 10, 25, *turn((0, 0, 1), 0.5), 6, *turn((0, 0, 1), 0.5)])
    assert not np.allclose(found[3:7], p + 0.25 * (q - p), atol=1e-3)
    assert np.array_equal(a[3:7], p)


@settings(deadline=None, max_examples=50)
@given(axis=AXIS, middle=ANGLE, spread=st.floats(0, 0.5), flips=st.lists(st.booleans(), min_size=5, max_size=5))
def test_the_mean_of_turns_about_one_axis_is_the_middle_one_whatever_their_signs(
    axis: tuple[float, ...], middle: float, spread: float, flips: list[bool]
) -> None:
    turns = [
        turn(axis, middle + n * spread / 2) * (-1 if flip else 1) for n, flip in zip(range(-2, 3), flips, strict=True)
    ]
    found = mean([np.concatenate([[n], q]) for n, q in enumerate(turns)], (1,))
    wanted = turn(axis, middle)
    assert found[0] == 2
    assert min(np.abs(found[1:] - wanted).max(), np.abs(found[1:] + wanted).max()) < 1e-9
