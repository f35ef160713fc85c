"""Two vectors and a weight → the vector between them; unit quaternions along the sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NEARLY_PARALLEL = 0.9995  # above this cosine a straight line is exact to float precision


def between(a: NDArray[Any], b: NDArray[Any], weight: float, quaternions: Sequence[int]) -> NDArray[np.float64]:
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
    return value


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
