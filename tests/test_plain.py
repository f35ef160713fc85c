"""Records become plain values and come back as they were; what has another shape is an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack
import pytest

from streamer.plain import from_plain, to_plain
from streamer.records import Alignment, Decoding, Moment, StreamSettings, TimelineSettings


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: float | None


@dataclass(frozen=True)
class Inner:
    """A record of which every field may be left out."""

    names: tuple[str, ...] = ()
    pair: tuple[int, bytes | None] = (0, None)


@dataclass(frozen=True)
class Whole:
    """A record of every kind of field."""

    number: float
    text: str | tuple[str, ...] | None
    inner: Inner
    points: tuple[Point, ...]
    by_name: dict[str, Inner]
    anything: dict[str, Any] = field(default_factory=dict)
    yes: bool = False


WHOLE = Whole(
    1,
    ("a", "b"),
    Inner(("x",), (3, b"z")),
    (Point(1, 0.5), Point(2, None)),
    {"one": Inner()},
    {"k": [1, {"l": None}]},
    yes=True,
)


@pytest.mark.parametrize("text", [("a", "b"), "a", None])
def test_a_record_comes_back_from_msgpack_as_it_was(text: Any) -> None:
    record = Whole(2.5, text, WHOLE.inner, WHOLE.points, WHOLE.by_name)
    assert from_plain(Whole, msgpack.unpackb(msgpack.packb(to_plain(record)))) == record
    assert from_plain(Whole, msgpack.unpackb(msgpack.packb(to_plain(WHOLE)))) == WHOLE


def test_the_settings_of_a_stream_and_of_the_timeline_come_back_as_they_were() -> None:
    decoding = Decoding(field="a.b[3]", resize=(640, 480), scale=2.0)
    stream = StreamSettings("arm", ("/a", "/b"), "header", "skip", decoding, Alignment("linear", 5, "none", 7))
    timeline = TimelineSettings("grid", (30000, 1001), 3, (0.1, 0.9), start=Moment(5, absolute=False))
    assert from_plain(StreamSettings, msgpack.unpackb(msgpack.packb(to_plain(stream)))) == stream
    assert from_plain(TimelineSettings, msgpack.unpackb(msgpack.packb(to_plain(timeline)))) == timeline


@pytest.mark.parametrize(
    "change",
    [
        {"number": "1"},
        {"number": True},
        {"text": 5},
        {"text": [1]},
        {"inner": []},
        {"inner": {"unknown": 1}},
        {"inner": {"pair": [1]}},
        {"points": {}},
        {"points": [[1]]},
        {"points": [[1.5, 1]]},
        {"by_name": {1: {}}},
        {"by_name": []},
        {"yes": 1},
        {"more": 1},
    ],
    ids=repr,
)
def test_what_has_another_shape_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        from_plain(Whole, to_plain(WHOLE) | change)
