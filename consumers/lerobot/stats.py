"""Columns and histograms → the statistics that LeRobot keeps of an episode; episodes → those of a dataset.

The formulas are those of ``lerobot/datasets/compute_stats.py`` (0.4.4): population standard deviation, quantiles from
a histogram of 5000 bins over the episode's own range, and for a dataset the mean of the episodes' quantiles, weighted
by their counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

Stats: TypeAlias = dict[str, "NDArray[Any]"]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
ORDER = ("min", "max", "mean", "std", "count", *QUANTILES)  # as LeRobot has them
_BINS = 5000
_SMALL, _LARGE = 150, 300  # pixels: pictures larger than this are thinned to about that


def column_stats(batches: Callable[[], Iterable[NDArray[Any]]]) -> Stats:
    """Return the statistics of arrays (n, width) that come in batches, each of shape (width,) but ``count`` (1,).

    ``batches`` is called twice: for the range and the moments, then for the histograms; so one batch is in memory.
    """
    count = 0
    low = high = mean = squares = np.zeros(0)
    for batch in batches():
        values = batch.astype(np.float64)
        n, own_mean = len(values), values.mean(axis=0)
        own_squares = ((values - own_mean) ** 2).sum(axis=0)
        if count == 0:
            low, high, mean, squares = batch.min(axis=0), batch.max(axis=0), own_mean, own_squares
        else:  # Chan, Golub, LeVeque 1979
            low, high = np.minimum(low, batch.min(axis=0)), np.maximum(high, batch.max(axis=0))
            delta = own_mean - mean
            mean = mean + delta * n / (count + n)
            squares = squares + own_squares + delta**2 * count * n / (count + n)
        count += n
    stats = {"min": low, "max": high, "mean": mean, "std": np.sqrt(squares / count), "count": np.array([count])}
    if count == 1:
        return stats | dict.fromkeys(QUANTILES, mean)
    edges = [np.linspace(a - 1e-10, b + 1e-10, _BINS + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    found = [np.zeros(_BINS, np.int64) for _ in edges]
    for batch in batches():
        for column, edge in enumerate(edges):
            found[column] += np.histogram(batch[:, column].astype(np.float64), edge)[0]
    return stats | {
        name: np.array([_quantile(h, e, share) for h, e in zip(found, edges, strict=True)])
        for name, share in QUANTILES.items()
    }


def _quantile(histogram: NDArray[np.int64], edges: NDArray[np.float64], share: float) -> float:
    """Find a quantile by linear interpolation in its bin."""
    below = np.cumsum(histogram)
    target = share * below[-1]
    bin_ = int(np.searchsorted(below, target))
    if bin_ == 0:
        return float(edges[0])
    part = (target - below[bin_ - 1]) / max(histogram[bin_], 1)
    return float(edges[bin_] + part * (edges[bin_ + 1] - edges[bin_]))


def histogram_of(picture: NDArray[Any]) -> NDArray[np.int64]:
    """Count the values of each channel of a uint8 or uint16 picture, thinned as LeRobot thins large ones.

    Returns (channels, 256) or (channels, 65536).
    """
    height, width = picture.shape[:2]
    step = 1 if max(height, width) < _LARGE else int(max(height, width) / _SMALL)
    thin = picture[::step, ::step].reshape(-1, 1 if picture.ndim == 2 else picture.shape[2])
    levels = np.iinfo(picture.dtype).max + 1
    channels = np.ascontiguousarray(thin.T)  # counted in half the time
    return np.stack([np.bincount(channel, minlength=levels) for channel in channels])


def picture_stats(histogram: NDArray[np.int64], frames: int, *, channels: int) -> Stats:
    """Return the statistics of a picture feature, each (channels, 1, 1) but ``count`` (1,), the number of frames.

    8-bit values are in [0, 1], as LeRobot shows them to a policy; 16-bit ones are as they are.
    """
    levels = np.arange(histogram.shape[1]) / (255.0 if histogram.shape[1] == 256 else 1.0)
    counts = np.broadcast_to(histogram, (channels, histogram.shape[1]))
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    below = np.cumsum(counts, axis=1)
    found = {
        "min": levels[np.argmax(counts > 0, axis=1)],
        "max": levels[counts.shape[1] - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0)),
    }
    found |= {
        name: levels[[int(np.searchsorted(row, share * row[-1])) for row in below]] for name, share in QUANTILES.items()
    }
    return {name: value.reshape(-1, 1, 1) for name, value in found.items()} | {"count": np.array([frames])}


def aggregate(parts: Sequence[Stats]) -> Stats:
    """Put the statistics of one feature in several episodes together."""
    counts = np.stack([part["count"] for part in parts])  # (n, 1)
    total = counts.sum(axis=0)
    weights = counts.reshape(-1, *[1] * parts[0]["mean"].ndim)
    each = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    mean = (each["mean"] * weights).sum(axis=0) / total
    variance = ((each["std"] ** 2 + (each["mean"] - mean) ** 2) * weights).sum(axis=0) / total
    merged = {"min": each["min"].min(axis=0), "max": each["max"].max(axis=0), "mean": mean, "std": np.sqrt(variance)}
    merged["count"] = total
    return merged | {name: (each[name] * weights).sum(axis=0) / total for name in QUANTILES if name in each}
