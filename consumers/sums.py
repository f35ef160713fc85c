"""Arrays, many at a time → per column: how many values, least, most, mean and deviation; mergeable, fit for a state.

Moments are put together as Chan, Golub and LeVeque do (Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances, 1979), so the result does not depend on where one process ended and the next began.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_MOST_WAITING = 4 * 2**20  # bytes of vectors and points that wait to be summed up together
_EXACT = 2**23  # pixels that OpenCV counts at once: it counts in float32
_MOST_TEXTS, _MOST_LETTERS = 1000, 2**18  # that are counted one by one
_KEYS = ("values", "mean", "squares", "min", "max")


class Sums:
    """The sums of one stream, a column for each element of a vector, channel of a picture or field of points."""

    def __init__(self, state: dict[str, bytes] | None) -> None:
        """Begin, or go on from what `state` returned."""
        self._waiting: list[NDArray[Any]] = []
        self._bytes = 0
        found = {key: np.frombuffer(state[key], np.float64).copy() for key in _KEYS} if state else {}
        self._sums: dict[str, NDArray[np.float64]] = found or {key: np.empty(0) for key in _KEYS}

    def add(self, value: NDArray[Any]) -> None:
        """Take in one sample: a vector (n,), points (n,) of records, a picture (height, width[, channels])."""
        if value.ndim > 1:
            self._merge(_picture(value))
            return
        self._waiting.append(value.copy())
        self._bytes += value.nbytes
        if self._bytes > _MOST_WAITING:
            self._fold()

    def _fold(self) -> None:
        for batch in _batches(self._waiting):
            self._merge(batch)
        self._waiting, self._bytes = [], 0

    def _merge(self, batch: _Batch) -> None:
        sums = self._sums
        width = max(len(sums["values"]), len(batch.values))
        for key, nothing in zip(_KEYS, (0.0, 0.0, 0.0, np.inf, -np.inf), strict=True):
            sums[key] = np.concatenate([sums[key], np.full(width - len(sums[key]), nothing)])
        part = slice(len(batch.values))
        before, mean = sums["values"][part], sums["mean"][part]
        total = np.maximum(before + batch.values, 1)
        delta = batch.mean - mean
        sums["squares"][part] += batch.squares + delta**2 * before * batch.values / total
        sums["mean"][part] = mean + delta * batch.values / total
        sums["values"][part] += batch.values
        np.minimum(sums["min"][part], batch.low, out=sums["min"][part])
        np.maximum(sums["max"][part], batch.high, out=sums["max"][part])

    def state(self) -> dict[str, bytes]:
        """Sum up what waits, and return all as plain values."""
        self._fold()
        return {key: column.tobytes() for key, column in self._sums.items()}

    def summary(self) -> dict[str, list[Any]]:
        """Return ``values``, ``min``, ``max``, ``mean`` and ``std`` per column; None where there is no value."""
        self._fold()
        sums = self._sums
        deviation = np.sqrt(sums["squares"] / np.maximum(sums["values"], 1))
        counted = [int(count) for count in sums["values"]]
        columns = {"min": sums["min"], "max": sums["max"], "mean": sums["mean"], "std": deviation}
        return {"values": counted} | {
            key: [value if count else None for value, count in zip(column.tolist(), counted, strict=True)]
            for key, column in columns.items()
        }


class Texts:
    """How often each text of one stream was seen; of very many, those that came first."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        """Begin, or go on from what `state` returned."""
        self._counts: dict[str, int] = dict(state["counts"]) if state else {}
        self._others: int = state["others"] if state else 0
        self._letters = sum(map(len, self._counts))

    def add(self, value: str) -> None:
        """Take in one sample."""
        if value not in self._counts:
            self._letters += len(value)
            if len(self._counts) == _MOST_TEXTS or self._letters > _MOST_LETTERS:
                self._others += 1
                return
        self._counts[value] = self._counts.get(value, 0) + 1

    def state(self) -> dict[str, Any]:
        """Return all as plain values."""
        return {"counts": dict(self._counts), "others": self._others}

    def summary(self) -> dict[str, Any]:
        """Return ``distinct`` texts, ``texts`` with how often each was seen, and samples with none of those."""
        often = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return {"distinct": len(self._counts), "texts": dict(often), "other_texts": self._others}


class _Batch(NamedTuple):
    """Count, mean, squared deviation, least and most of each column of some values; all (columns,) float64."""

    values: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _table(values: NDArray[Any], there: NDArray[np.bool_] | None = None) -> _Batch:
    """Sum up the columns of values (n, columns), of which those count that are ``there`` and finite."""
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        there = finite if there is None else finite & there
    if there is None or there.all():
        if not len(values):
            return _nothing(values.shape[1])
        count = np.full(values.shape[1], float(len(values)))
        mean = values.mean(axis=0, dtype=np.float64)
        squares = values.var(axis=0, dtype=np.float64) * len(values)
        return _Batch(count, mean, squares, *(f(axis=0).astype(np.float64) for f in (values.min, values.max)))
    exact = values.astype(np.float64)
    count = there.sum(axis=0).astype(np.float64)
    mean = np.where(there, exact, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(there, exact - mean, 0.0)
    low, high = np.where(there, exact, np.inf).min(axis=0), np.where(there, exact, -np.inf).max(axis=0)
    return _Batch(count, mean, (squares**2).sum(axis=0), low, high)


def _nothing(columns: int) -> _Batch:
    zeros = np.zeros(columns)
    return _Batch(zeros, zeros, zeros, np.full(columns, np.inf), np.full(columns, -np.inf))


def _picture(value: NDArray[Any]) -> _Batch:
    """Sum up the channels of a picture; whole numbers of 8 or 16 bits by how often each occurs, which is exact."""
    channels = [value] if value.ndim == 2 else [value[..., n] for n in range(value.shape[2])]
    if value.dtype not in (np.uint8, np.uint16):
        return _side_by_side([_table(channel.reshape(-1, 1)) for channel in channels])
    if value.size == 0:
        return _nothing(len(channels))
    import cv2  # takes its time to load, and only pictures need it

    rows = max(1, _EXACT // value.shape[1])
    bands = [np.ascontiguousarray(value[start : start + rows]) for start in range(0, len(value), rows)]
    total = float(value.shape[0] * value.shape[1])
    found = []
    for channel in range(len(channels)):
        counts = np.sum([_occurrences(cv2, band, channel) for band in bands], axis=0)
        present = np.flatnonzero(counts)
        mean = float(counts[present] @ present) / total
        squares = float(counts[present] @ (present - mean) ** 2)
        found.append(_Batch(*(np.array([float(n)]) for n in (total, mean, squares, present[0], present[-1]))))
    return _side_by_side(found)


def _occurrences(cv2: Any, band: NDArray[Any], channel: int) -> NDArray[np.int64]:
    levels = int(np.iinfo(band.dtype).max) + 1
    counts: NDArray[np.float32] = cv2.calcHist([band], [channel], None, [levels], [0, levels])
    return counts.reshape(-1).astype(np.int64)  # a column in OpenCV 4, a row in 5


def _batches(arrays: list[NDArray[Any]]) -> Iterator[_Batch]:
    """Put vectors or points of several samples together."""
    if not arrays:
        return
    if arrays[0].dtype.names:
        points = np.concatenate(arrays)
        yield _side_by_side([_table(points[name].reshape(-1, 1)) for name in arrays[0].dtype.names])
        return
    lengths = np.array([len(array) for array in arrays])
    widest = int(lengths.max())
    if (lengths == widest).all():
        yield _table(np.stack(arrays))
        return
    values = np.zeros((len(arrays), widest), arrays[0].dtype)
    there = np.arange(widest) < lengths[:, None]
    values[there] = np.concatenate(arrays)
    yield _table(values, there)


def _side_by_side(batches: list[_Batch]) -> _Batch:
    return _Batch(*(np.concatenate(columns) for columns in zip(*batches, strict=True)))
