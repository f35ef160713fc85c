"""Rows → a table that can be read at any width."""

from __future__ import annotations

import pytest

from streamer.cli.screen import table

HEADINGS = ("name", "kind", "count", "largest gap")
ROWS = [("a_long_name_of_a_stream", "image", "7", "1.5 ms at 3 s"), ("b", "text", "1234", "")]


def test_a_table_that_fits_is_one_line_a_row_with_numbers_to_the_right() -> None:
    assert table(HEADINGS, ROWS, 60).plain.splitlines() == [
        "name                     kind   count    largest gap",
        "a_long_name_of_a_stream  image      7  1.5 ms at 3 s",
        "b                        text    1234",
    ]


def test_of_a_wide_table_first_cells_stand_above_the_others() -> None:
    assert table(HEADINGS, ROWS, 45).plain.splitlines() == [
        "  kind   count    largest gap",
        "a_long_name_of_a_stream",
        "  image      7  1.5 ms at 3 s",
        "b",
        "  text    1234",
    ]


def test_of_what_is_wider_still_columns_are_left_out_the_less_needed_first() -> None:
    assert table(HEADINGS, ROWS, 24, ["kind"]).plain.splitlines() == [
        "  count    largest gap",
        "a_long_name_of_a_stream",
        "      7  1.5 ms at 3 s",
        "b",
        "   1234",
        "  not shown, as the",
        "  terminal is narrow:",
        "  kind",
    ]
    assert table(HEADINGS, ROWS, 16).plain.splitlines()[:3] == [
        "  kind   count",
        "a_long_name_of_a_stream",
        "  image      7",
    ]


@pytest.mark.parametrize("width", [10, 60])
def test_a_table_without_rows_is_its_headings(width: int) -> None:
    assert "name" in table(HEADINGS, [], 60).plain
    assert table(HEADINGS, [], width) is not None
