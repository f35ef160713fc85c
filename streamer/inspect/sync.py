"""Motion in a camera's pictures × speed of the joints → how late the camera's stamps are, or "cannot tell".

A picture changes as fast as the robot moves, so the change from picture to picture follows the joints' speed. The
camera's stamps are late by the lag at which the two agree best (Pearson's correlation); how sure that is, is told by
resampling blocks of the recording (moving block bootstrap; Künsch, Annals of Statistics 17, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from streamer.runtime.prepare import Prepared, Stream

_STEP = 2 * 10**6  # nanoseconds between two lags that are tried
_REACH = 500 * 10**6  # the largest lag that is tried, either way
_BLOCK = 10**9  # a piece of the recording that is drawn as one
_DRAWS = 400
_FEWEST = 30  # pictures
_WEAK = 0.3  # a correlation below this says nothing
_SIZE = (64, 48)  # pixels to which pictures are shrunk before they are compared


@dataclass(frozen=True, slots=True)
class Latency:
    """How late a camera is: ``lag`` nanoseconds, in 95 of 100 cases between ``low`` and ``high``.

    ``why`` says why that cannot be told, and is empty where it can.
    ``lags`` (m,) int64 ns and ``agreement`` (m,) float64, the correlation at each, are for a plot.
    """

    lag: int
    low: int
    high: int
    correlation: float
    why: str
    lags: NDArray[np.int64]
    agreement: NDArray[np.float64]

    @property
    def known(self) -> bool:
        """Whether the recording tells the latency."""
        return not self.why


def latency(prepared: Prepared, camera: str, reference: str) -> Latency:
    """Estimate the latency of an image stream against a vector stream from all their messages.

    Raises:
        ConfigError: one of the streams does not exist or is of another kind.
        RecordingError: a message is damaged.

    """
    images, vectors = _find(prepared, camera, ("image", "depth")), _find(prepared, reference, ("vector",))
    pictures = np.array([_small(array) for array in _arrays(images)])
    change = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2)) if len(pictures) > 1 else np.empty(0)
    return estimate(images.index.stamps, change, vectors.index.stamps, np.array(list(_arrays(vectors))))


def estimate(
    pictures: NDArray[np.int64], change: NDArray[np.float64], stamps: NDArray[np.int64], joints: NDArray[np.float64]
) -> Latency:
    """Estimate how much later the pictures are stamped than the joints.

    ``pictures`` (n,) int64 ns are the stamps of the pictures, ``change`` (n - 1,) float64 how much each differs from
    the one before; ``joints`` (m, k) float64 are positions at ``stamps`` (m,) int64 ns.
    """
    lags = np.arange(-_REACH, _REACH + 1, _STEP)
    nothing = np.zeros(len(lags))
    inside = (pictures >= stamps[0] + _REACH) & (pictures <= stamps[-1] - _REACH) if len(stamps) else pictures < 0
    chosen = inside[1:] & inside[:-1]
    if np.count_nonzero(chosen) < _FEWEST:
        why = f"only {np.count_nonzero(chosen)} pictures lie within the joints' messages, {_FEWEST} are needed"
        return Latency(0, 0, 0, 0.0, why, lags, nothing)
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(joints, axis=0), axis=1))])
    before, after, change = pictures[:-1][chosen], pictures[1:][chosen], change[chosen]
    if not np.ptp(change) or not np.ptp(way):
        why = "the joints never move" if np.ptp(change) else "the pictures never change"
        return Latency(0, 0, 0, 0.0, why, lags, nothing)
    origin = int(stamps[0])
    seconds = (stamps - origin) / 1e9
    speeds = np.array([_speed(seconds, way, before - origin - lag, after - origin - lag) for lag in lags.tolist()])
    agreement = _correlate(speeds, change, np.ones((1, len(change))))[:, 0]
    best = _peak(agreement)
    weights = _draws(before)
    peaks = np.array([_peak(column) for column in _correlate(speeds, change, weights).T])
    low, high = np.quantile(peaks, [0.025, 0.975])
    lag, low, high = (round(-_REACH + at * _STEP) for at in (best, low, high))
    period = int(np.median(after - before))
    return Latency(
        lag, low, high, float(agreement.max()), _doubt(best, agreement, high - low, period, len(lags)), lags, agreement
    )


def _speed(
    seconds: NDArray[np.float64], way: NDArray[np.float64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the mean speed between instants: what was travelled, by the time."""
    a, b = start / 1e9, stop / 1e9
    speed: NDArray[np.float64] = (np.interp(b, seconds, way) - np.interp(a, seconds, way)) / np.maximum(b - a, 1e-9)
    return speed


def _draws(before: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each picture counts in each of many draws of blocks with replacement: (draws, pictures)."""
    blocks = (before - before[0]) // _BLOCK
    count = int(blocks[-1]) + 1
    rng = np.random.default_rng(0)  # the same recording gives the same answer
    weights = rng.multinomial(count, np.full(count, 1 / count), _DRAWS)[:, blocks].astype(np.float64)
    some: NDArray[np.float64] = weights[weights.sum(axis=1) > 1]
    return some


def _correlate(
    speeds: NDArray[np.float64], change: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Pearson's weighted correlation of each lag's speeds (m, n) with the change (n,): (m, draws)."""
    total = weights.sum(axis=1)
    mean_x, mean_y = speeds @ weights.T / total, (weights @ change) / total
    covariance = speeds @ (weights * change).T / total - mean_x * mean_y
    spread_x = np.maximum((speeds**2) @ weights.T / total - mean_x**2, 0)
    spread_y = np.maximum((weights @ change**2) / total - mean_y**2, 0)
    spread = np.sqrt(spread_x * spread_y)
    correlation: NDArray[np.float64] = np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
    return correlation


def _peak(agreement: NDArray[np.float64]) -> float:
    """Return the place of the maximum, between the lags by a parabola through its neighbours."""
    top = int(np.argmax(agreement))
    if not 0 < top < len(agreement) - 1:
        return float(top)
    a, b, c = agreement[top - 1 : top + 2]
    bend = a - 2 * b + c
    return top + 0.5 * float(a - c) / float(bend) if bend < 0 else float(top)


def _doubt(best: float, agreement: NDArray[np.float64], width: int, period: int, count: int) -> str:
    if agreement.max() < _WEAK:
        return f"the pictures do not change with the joints (correlation {agreement.max():.2f})"
    if not 1 < best < count - 2:
        return f"the best agreement lies at {_REACH / 1e6:.0f} ms or beyond"
    if width > 2 * period:
        return f"several shifts fit equally well, over {width / 1e6:.0f} ms: the motion is too regular or too short"
    return ""


def _find(prepared: Prepared, name: str, kinds: tuple[str, ...]) -> Stream:
    for stream in prepared.streams:
        if stream.settings.name == name:
            if stream.compute is not None or stream.parts:
                msg = f"{name!r} is made of several topics' messages: name a stream of one topic"
                raise ConfigError(msg)
            if stream.decoder.kind in kinds:
                return stream
            msg = f"{name!r} is a stream of kind {stream.decoder.kind}, {' or '.join(kinds)} is needed here"
            raise ConfigError(msg)
    msg = f"there is no stream {name!r}; streams: {', '.join(s.settings.name for s in prepared.streams)}"
    raise ConfigError(msg)


def _arrays(stream: Stream) -> Iterator[NDArray[Any]]:
    """Yield the arrays of all messages of a stream, whatever the plan takes of them."""
    if stream.raw.variable:
        msg = "its messages vary in length"
        raise RecordingError(msg, stream=stream.settings.name)
    out = np.empty(stream.raw.shape, np.dtype(stream.raw.dtype))
    for number in range(len(stream.index.stamps)):
        stream.decoder.decode(stream.source.payload(stream.index, number), out)
        yield out.copy() if stream.decoder.kind == "vector" else out


def _small(picture: NDArray[Any]) -> NDArray[np.float32]:
    import cv2

    gray = picture if picture.ndim == 2 else picture.mean(axis=2)  # whatever the order of colours
    return np.asarray(cv2.resize(gray.astype(np.float32), _SIZE, interpolation=cv2.INTER_AREA), np.float32)
