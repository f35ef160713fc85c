"""What an earlier run committed is continued under the same settings only, and what differs is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import ConfigError
from streamer.ledger import Ledger
from streamer.runtime.continuation import check_settings, differences, note_settings

BEFORE: dict[str, Any] = {"use": "parquet", "every": 1, "streams": ["arm"], "options": {"out": "table", "rows": 9}}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as found:
        yield found


def begun(ledger: Ledger, *, chunks: int) -> int:
    number = ledger.begin("run.yaml", "/a.bag", "", "", 100, 10)
    note_settings(ledger, number, {"table": BEFORE})
    for chunk in range(chunks):
        ledger.commit(number, "table", chunk, None)
    return number


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"every": 3}, "consumers.table.every: it was 1 in the run to be continued and is 3 now"),
        ({"streams": ["arm", "head"]}, r'consumers.table.streams: it was \["arm"\] .* is \["arm", "head"\] now'),
        ({"use": "zarr"}, 'consumers.table.use: it was "parquet"'),
        ({"options": {"out": "other", "rows": 9}}, 'consumers.table.options.out: it was "table" .* is "other" now'),
        ({"options": {"out": "table"}}, "consumers.table.options.rows: it was 9 .* is unset now"),
        ({"options": BEFORE["options"] | {"new": None}}, "consumers.table.options.new: it was unset .* is null now"),
        ({"every": 2, "use": "zarr"}, r"consumers.table.every: .* \(and use\): one output would mix both"),
    ],
)
def test_a_consumer_that_has_committed_goes_on_under_the_same_settings_only(
    ledger: Ledger, change: dict[str, Any], message: str
) -> None:
    number = begun(ledger, chunks=2)
    check_settings(ledger, number, {"table": BEFORE})

    with pytest.raises(ConfigError, match=message) as caught:
        check_settings(ledger, number, {"table": BEFORE | change})
    assert "--restart" in caught.value.where.hint
    assert caught.value.where.key.startswith("consumers.table.")


def test_a_consumer_that_has_committed_nothing_may_have_other_settings(ledger: Ledger) -> None:
    number = begun(ledger, chunks=0)
    check_settings(ledger, number, {"table": BEFORE | {"every": 3}, "new one": BEFORE})


def test_a_consumer_of_a_version_that_noted_no_settings_goes_on(ledger: Ledger) -> None:
    number = ledger.begin("run.yaml", "/a.bag", "", "", 100, 10)
    ledger.commit(number, "table", 0, None)
    check_settings(ledger, number, {"table": BEFORE})


def test_a_path_or_a_date_among_options_is_compared_as_it_is_written(ledger: Ledger) -> None:
    number = begun(ledger, chunks=0)
    note_settings(ledger, number, {"table": {"options": {"out": Path("here")}}})
    ledger.commit(number, "table", 0, None)
    check_settings(ledger, number, {"table": {"options": {"out": Path("here")}}})


def test_settings_differ_where_a_value_a_key_or_a_length_does() -> None:
    assert list(differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 1}, "c": [1]})) == []
    assert list(differences({"a": {"b": 1}, "c": [1]}, {"a": {"b": 2}, "c": [1, 2]})) == [
        ("a.b", "1", "2"),
        ("c", "[1]", "[1, 2]"),
    ]
    assert list(differences({"a": 1}, {"a": {"b": 1}})) == [("a", "1", '{"b": 1}')]
