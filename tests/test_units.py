"""Text with units: every unit, exact values, and messages that quote what was found."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.units import duration, later, moment, rate, show_duration, show_size, signed_duration, size

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("7 ns", 7),
        ("7 us", 7_000),
        ("7 µs", 7_000),
        ("50 ms", 50_000_000),
        ("2 s", 2_000_000_000),
        ("3 min", 180_000_000_000),
        ("1 h", 3_600_000_000_000),
        ("0 s", 0),
        ("50ms", 50_000_000),
        ("  50   ms ", 50_000_000),
    ],
)
def test_every_unit_of_time_is_whole_nanoseconds(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-40 ms", (-40_000_000, 0)),
        ("+100 ms", (100_000_000, 0)),
        ("100 ms", (100_000_000, 0)),
        ("+1 tick", (0, 1)),
        ("-2 ticks", (0, -2)),
        ("0 ticks", (0, 0)),
    ],
)
def test_later_is_a_duration_or_ticks_with_a_sign(text: str, found: tuple[int, int]) -> None:
    assert later(text) == found
    if "tick" not in text:
        assert signed_duration(text) == found[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("5 s", (5 * 10**9, False)),
        ("1970-01-01T00:00:05Z", (5 * 10**9, True)),
        ("1970-01-01 00:00:05", (5 * 10**9, True)),
        ("1970-01-01T02:00:05.000000001+02:00", (5 * 10**9 + 1, True)),
        ("2023-11-14T22:13:20.123456789Z", (1_700_000_000_123_456_789, True)),
    ],
)
def test_a_moment_is_exact_to_the_nanosecond(text: str, found: tuple[int, bool]) -> None:
    assert moment(text) == found


@pytest.mark.parametrize("text", ["5", "yesterday", "2023-13-01T00:00:00", "2023-01-01T00:00:00.0000000001Z", "-5 s"])
def test_what_is_no_moment_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=text[:6]):
        moment(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("5 B", 5),
        ("5 kB", 5_000),
        ("5 KB", 5_000),
        ("512 MB", 512_000_000),
        ("5 GB", 5_000_000_000),
        ("5 TB", 5_000_000_000_000),
        ("5 KiB", 5 * 2**10),
        ("5 MiB", 5 * 2**20),
        ("5 GiB", 5 * 2**30),
        ("5 TiB", 5 * 2**40),
        ("1.5 GiB", 3 * 2**29),
    ],
)
def test_every_unit_of_size_is_bytes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize(
    ("text", "hertz"),
    [
        ("500 mHz", Fraction(1, 2)),
        ("10 Hz", Fraction(10)),
        ("1.5 kHz", Fraction(1500)),
        ("29.97 Hz", Fraction(2997, 100)),
    ],
)
def test_every_unit_of_rate_is_an_exact_fraction_of_hertz(text: str, hertz: Fraction) -> None:
    assert rate(text) == hertz


@settings(deadline=None, max_examples=50)
@given(whole=st.integers(0, 10**9), part=st.integers(0, 999_999))
def test_decimals_are_exact_and_not_floats(whole: int, part: int) -> None:
    assert duration(f"{whole}.{part:06d} ms") == whole * 10**6 + part
    assert rate(f"{whole + 1}.{part:06d} Hz") == whole + 1 + Fraction(part, 10**6)


def test_a_fraction_of_a_nanosecond_is_no_duration() -> None:
    assert duration("0.5 us") == 500
    with pytest.raises(ValueError, match=r"'0.5 ns' is not a whole number of nanoseconds"):
        duration("0.5 ns")


@pytest.mark.parametrize(
    "text", ["50", "ms", "", "-50 ms", "50 m s", "1e3 ms", "1,5 ms", "٣ ms", 50, 0.5, None, ["50 ms"]]
)
def test_what_is_no_number_with_a_unit_is_quoted_beside_an_example(text: object) -> None:
    for parse, what, example in (
        (duration, "a duration", "50 ms"),
        (size, "a size", "512 MB"),
        (rate, "a rate", "10 Hz"),
    ):
        with pytest.raises(ValueError, match="write a number and its unit") as caught:
            parse(text)
        assert f"{text!r} is not {what}" in str(caught.value)
        assert f"'{example}'" in str(caught.value)


@pytest.mark.parametrize(
    ("parse", "text", "unit", "known"),
    [
        (duration, "50 sec", "sec", "ms"),
        (duration, "50 MS", "MS", "min"),
        (size, "5 Mb", "Mb", "MiB"),
        (rate, "10 hz", "hz", "kHz"),
    ],
)
def test_an_unknown_unit_is_quoted_beside_the_known_ones(
    parse: Callable[[object], object], text: str, unit: str, known: str
) -> None:
    with pytest.raises(ValueError, match="unknown unit") as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert repr(unit) in str(caught.value)
    assert known in str(caught.value).partition("use one of")[2]


def test_a_rate_of_zero_is_none() -> None:
    with pytest.raises(ValueError, match=r"'0 Hz' is not a rate above 0 Hz"):
        rate("0 Hz")


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (500, "0.5 µs"),
        (12_400_000, "12.4 ms"),
        (3_200_000_000, "3.2 s"),
        (125_000_000_000, "2 min 05 s"),
        (3_600_000_000_000, "60 min 00 s"),
        (3 * 3_600_000_000_000 + 125_000_000_000, "3 h 02 min"),
        (66 * 86_400_000_000_000, "66 days"),
        (1_778_000_000 * 10**9, "56 years"),
    ],
)
def test_a_duration_is_shown_in_the_unit_that_fits(nanoseconds: int, text: str) -> None:
    assert show_duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (3_664_000, "3.66 MB"), (34_000_000_000, "34 GB")]
)
def test_a_size_is_shown_in_the_power_of_ten_that_fits(count: int, text: str) -> None:
    assert show_size(count) == text


@pytest.mark.parametrize("number", [999_700, 999_999, 999_999_999, 1_500_000_000_000])
def test_no_quantity_is_shown_in_the_notation_of_a_calculator(number: int) -> None:
    assert "e+" not in show_size(number)
    assert "e+" not in show_duration(number)
