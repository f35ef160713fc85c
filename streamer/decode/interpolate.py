"""Several vectors → the one between two of them, or their mean; unit quaternions stay on the sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_NEARLY_PARALLEL = 1.0 - 1e-12  # above this cosine the sine of the angle says nothing more, and a line is as good


class Turn(NamedTuple):
    """Numbers of a vector that are a rotation in another form: which, and how they become a quaternion and back."""

    columns: list[int]
    to_quaternion: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    from_quaternion: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def between(
    a: NDArray[Any], b: NDArray[Any], weight: float, quaternions: Sequence[int], turns: Sequence[Turn] = ()
) -> NDArray[np.float64]:
    """Return the vector at ``weight`` (0: a, 1: b); columns q … q+3 are unit quaternions (x, y, z, w).

    Raises:
        DecodeError: the vectors differ in length.

    """
    if len(a) != len(b):
        msg = f"two neighbouring messages have {len(a)} and {len(b)} values: nothing lies between them"
        raise DecodeError(msg)
    value = a.astype(np.float64) * (1.0 - weight) + b.astype(np.float64) * weight
    for q in quaternions:
        value[q : q + 4] = slerp(a[q : q + 4].astype(np.float64), b[q : q + 4].astype(np.float64), weight)
    for turn in turns:
        begin, end = (turn.to_quaternion(vector[turn.columns].astype(np.float64)) for vector in (a, b))
        value[turn.columns] = turn.from_quaternion(slerp(begin, end, weight))
    return value


def mean(
    vectors: Sequence[NDArray[Any]], quaternions: Sequence[int], turns: Sequence[Turn] = ()
) -> NDArray[np.float64]:
    """Return the mean of vectors; columns q … q+3 are unit quaternions, whose mean is that of neighbours on the sphere.

    The sum of quaternions of one sign, brought to length 1, is the chordal L2 mean for small spreads (Markley et al.,
    "Averaging Quaternions", JGCD 2007, section II).

    Raises:
        DecodeError: the vectors differ in length.

    """
    if len({len(vector) for vector in vectors}) > 1:
        lengths = sorted({len(vector) for vector in vectors})
        msg = f"the messages of one tick have {' and '.join(map(str, lengths))} values: they have no mean"
        raise DecodeError(msg)
    values = np.array(vectors, np.float64)
    total: NDArray[np.float64] = values.mean(axis=0)
    for q in quaternions:
        total[q : q + 4] = _middle(values[:, q : q + 4])
    for turn in turns:
        whole = np.array([turn.to_quaternion(one) for one in values[:, turn.columns]])
        total[turn.columns] = turn.from_quaternion(_middle(whole))
    return total


def _middle(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of quaternions (n, 4)."""
    signs = np.where(quaternions @ quaternions[0] < 0, -1.0, 1.0)
    whole = signs @ quaternions
    length = np.linalg.norm(whole)
    return np.asarray(whole / length if length > 0 else whole)


def slerp(a: NDArray[np.float64], b: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Interpolate two unit quaternions on the shorter great arc (Shoemake, SIGGRAPH 1985)."""
    cosine = float(np.dot(a, b))
    if cosine < 0.0:
        b, cosine = -b, -cosine
    if cosine > _NEARLY_PARALLEL:
        value = a + weight * (b - a)
    else:
        angle = np.arccos(cosine)
        value = (np.sin((1.0 - weight) * angle) * a + np.sin(weight * angle) * b) / np.sin(angle)
    length = np.linalg.norm(value)
    return value / length if length > 0 else value
