"""Frames → columns: what a table has of them, whatever file it becomes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from streamer.contract import Frame, Sample, StreamInfo

_FRAME = {"frame": "count", "tick_number": "count", "tick": "time"}
_SAMPLE = {"stamp": "time", "offset": "span", "held": "flag", "interpolated": "flag", "gap": "flag"}
_SPAN = np.dtype(np.int64)
LAYOUTS = ("wide", "list")


class Column(NamedTuple):
    """One column of a table.

    ``kind`` is ``count`` (int64), ``time`` (ns since 1970, UTC), ``span`` (ns), ``flag``, ``number`` (of ``dtype``),
    ``list`` (of such numbers) or ``text``; ``stream`` is empty for what a frame has itself; ``place`` is the number's
    place in its vector and ``element`` its name, empty where it has none.
    """

    name: str
    kind: str
    dtype: np.dtype[Any] = _SPAN
    stream: str = ""
    place: int = 0
    element: str = ""


def columns_of(streams: Mapping[str, StreamInfo], layout: str, *, numbered: bool = False) -> list[Column]:
    """Return the columns of a table with these streams.

    In the layout ``wide``, a named element of a vector is a column ``<stream>.<element>``, and a vector of one number
    the column ``<stream>``. Vectors whose elements are only numbered, and whose length varies, are lists; with
    ``numbered``, such of fixed length are columns, too: ``<stream>.0``, …. In the layout ``list`` every vector is one.
    A stream of which no message was seen has no values: nobody knows how many.

    Raises:
        ConfigError: two columns would have one name.

    """
    columns = [Column(name, kind) for name, kind in _FRAME.items()]
    for stream in streams.values():
        columns += [Column(f"{stream.name}.{key}", kind, stream=stream.name) for key, kind in _SAMPLE.items()]
        if stream.averaged:
            columns.append(Column(f"{stream.name}.count", "count", stream=stream.name))
        if stream.kind == "vector" and stream.shape[0]:
            columns += _values(stream, wide=layout == "wide", numbered=numbered)
        elif stream.kind == "text":
            columns.append(Column(stream.name, "text", stream=stream.name))
    counts = Counter(column.name for column in columns)
    for column in columns:
        if counts[column.name] > 1:
            msg = f"two columns would be called {column.name!r}"
            hint = "rename the stream, choose others with 'elements', or write lists with 'layout: list'"
            raise ConfigError(msg, key=f"streams.{column.stream}" if column.stream else "", hint=hint)
    return columns


def _values(stream: StreamInfo, *, wide: bool, numbered: bool) -> Iterator[Column]:
    named = bool(stream.names) and not all(name.endswith("]") for name in stream.names)
    one = stream.shape == (1,)
    if stream.variable or not wide or not (named or numbered or one):
        yield Column(stream.name, "list", stream.dtype, stream.name)
        return
    for place in range(stream.shape[0]):
        element = stream.names[place] if stream.names else ""
        behind = element if named else str(place)
        name = stream.name if one else f"{stream.name}.{behind}"
        yield Column(name, "number", stream.dtype, stream.name, place, element)


class Rows:
    """The frames of a chunk, of which a table's columns are made."""

    def __init__(self, columns: list[Column]) -> None:
        """Take what these columns need of every frame."""
        self.columns = columns
        self._valued = {column.stream for column in columns if column.kind in ("number", "list", "text")}
        self.clear()

    def clear(self) -> None:
        """Begin a chunk."""
        self._frames: list[tuple[int, int, int]] = []
        self._about: dict[str, list[tuple[int, int, int, int]]] = {c.stream: [] for c in self.columns if c.stream}
        self._there: dict[str, list[bool]] = {name: [] for name in self._about}
        self._values: dict[str, list[Any]] = {name: [] for name in self._valued}

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Frame) -> None:
        """Copy what the row is made of."""
        self._frames.append((frame.number, frame.tick_number, frame.tick))
        for name, sample in frame.samples.items():
            self._there[name].append(sample is not None)
            self._about[name].append(_about(sample))
            if name in self._valued:
                self._values[name].append(None if sample is None else _kept(sample.value))

    def numbers(self, column: Column) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return a column's values (n,), and where there are any (n,); elsewhere they are 0.

        Values are int64 (ns for times and spans), bool for flags, or of the column's own type. A flag is never missing:
        what is not there is neither held nor interpolated.
        """
        if not column.stream:
            place = list(_FRAME).index(column.name)
            return np.array([row[place] for row in self._frames], np.int64), np.ones(len(self), np.bool_)
        there = np.array(self._there[column.stream], np.bool_)
        if column.kind == "number":
            values = np.zeros(len(self), column.dtype)
            for row, value in enumerate(self._values[column.stream]):
                if value is not None:
                    values[row] = value[column.place]
            return values, there
        about = np.array(self._about[column.stream], np.int64).reshape(-1, 4)
        if column.kind == "flag":
            bit = list(_SAMPLE).index(column.name.rpartition(".")[2]) - 2
            return (about[:, 2] >> bit & 1).astype(np.bool_), np.ones(len(self), np.bool_)
        return about[:, {"time": 0, "span": 1, "count": 3}[column.kind]], there

    def lists(self, column: Column) -> list[Any]:
        """Return the vectors of a column of lists, or the texts of one of texts; None where there is no sample."""
        return self._values[column.stream]


def _kept(value: Any) -> Any:
    return value if isinstance(value, str) else value.copy()


def _about(sample: Sample | None) -> tuple[int, int, int, int]:
    """Return stamp, offset, the flags as bits (held, interpolated, gap) and the messages that are averaged."""
    if sample is None:
        return 0, 0, 0, 0
    flags = sample.held | sample.interpolated << 1 | sample.gap << 2
    return sample.stamp, sample.offset, flags, sample.count
