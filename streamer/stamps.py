"""Sorted stamps → their pace, and the nearest of them: arithmetic that several stages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Stamps = NDArray[np.int64]


def own_period(stamps: Stamps) -> int:
    """Return the median distance of neighbouring stamps in nanoseconds; 0 for fewer than two."""
    if len(stamps) < 2:
        return 0
    return int(np.median(np.diff(stamps), overwrite_input=True))


def nearest(stamps: Stamps, instants: Stamps) -> NDArray[np.int64]:
    """Return for each instant the number of the nearest stamp; a tie goes to the earlier."""
    after = np.searchsorted(stamps, instants)
    before = np.clip(after - 1, 0, None)
    after = np.clip(after, None, len(stamps) - 1)
    chosen = np.where(instants - stamps[before] <= stamps[after] - instants, before, after)
    return np.searchsorted(stamps, stamps[chosen])
