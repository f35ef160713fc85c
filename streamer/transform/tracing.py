"""The steps of a chain → which numbers of the arrays before them are rotations: between two lies no straight line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.transform.rotation import Rotation
from streamer.transform.vectors import Elements, Offset, Scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.transform.base import Step

_MADE, _UNKNOWN = -1, -2  # in place of a number's column: written by a rotation; by a step that may have done anything


class Traced(NamedTuple):
    """A rotation that a chain reads in the form ``source`` from these ``columns`` of the arrays it is given, in order.

    Where they are not known there are none, and ``step`` is the number of the step that reads it.
    """

    source: str
    columns: tuple[int, ...]
    step: int


def rotations_read(steps: Sequence[Step], length: int) -> list[Traced]:
    """Trace every rotation that is read back to the numbers that it comes from; the first step gets ``length``."""
    columns = list(range(length))
    found = []
    for n, step in enumerate(steps):
        if isinstance(step, Rotation):
            at = step.at or 0
            own = columns[at : at + step.reads]
            if set(own) != {_MADE}:
                whole = all(column >= 0 for column in own)
                found.append(Traced(step.source, tuple(own) if whole else (), n))
            made = step.angles
            columns[at : at + step.reads] = [_MADE] * (made.stop - made.start)
        elif isinstance(step, Elements) and isinstance(step.chosen, tuple):
            columns = [columns[int(place)] for place in step.chosen]
        elif isinstance(step, Scale | Offset):
            columns = [column if same else _UNKNOWN for column, same in zip(columns, _same(step, columns), strict=True)]
        else:  # of a step that is not known, nothing is known behind it
            found += [Traced(r.source, (), n + k) for k, r in enumerate(steps[n:]) if isinstance(r, Rotation)]
            break
    return found


def _same(step: Scale | Offset, columns: Sequence[int]) -> list[bool]:
    """Tell which numbers a step leaves as they are."""
    changes = step.factor if isinstance(step, Scale) else step.amount
    if isinstance(changes, str):
        return [False] * len(columns)
    nothing = 1 if isinstance(step, Scale) else 0
    same: list[bool] = (np.broadcast_to(np.asarray(changes), len(columns)) == nothing).tolist()
    return same
