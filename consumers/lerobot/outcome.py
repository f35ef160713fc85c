"""How an episode went → the columns ``next.done`` and ``next.success``, as LeRobot's simulated datasets have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.lerobot.features import Feature

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

DONE, SUCCESS = "next.done", "next.success"
FEATURES = tuple(Feature(key, (), "bool", (1,), ()) for key in (DONE, SUCCESS))


def take_outcome(outcome: str | Sequence[str] | None, features: Iterable[str]) -> frozenset[str] | None:
    """Return the labels that mean success; None where these columns are not wanted.

    Raises:
        ValueError: there is none, or ``features`` have such a key.

    """
    if outcome is None:
        return None
    labels = frozenset([outcome] if isinstance(outcome, str) else outcome)
    taken = {DONE, SUCCESS} & {*features}
    if not labels or taken:
        what = f"writes {min(taken)}, which is one of the features" if taken else "is empty: name the label of success"
        msg = f"outcome {what}"
        raise ValueError(msg)
    return labels


def outcome_of(length: int, *, success: bool) -> dict[str, NDArray[np.bool_]]:
    """Return both columns of an episode: its last frame is done and, where it went well, a success."""
    last = np.zeros(length, bool)
    last[-1:] = True
    return {DONE: last, SUCCESS: last & success}


def with_outcome(tables: Iterable[Any], length: int, *, success: bool) -> Iterator[Any]:
    """Give the rows of an episode, Arrow tables of ``length`` rows together, with both columns."""
    columns, at = outcome_of(length, success=success), 0
    for table in tables:
        whole = table
        for key, column in columns.items():
            whole = whole.append_column(key, [column[at : at + table.num_rows]])
        at += table.num_rows
        yield whole
