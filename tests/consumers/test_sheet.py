"""What a contact sheet says of a curve beside drawing it."""

from __future__ import annotations

import numpy as np

from consumers.sheet import never_changes, never_moves


def test_a_vector_whose_elements_all_keep_their_value_never_moves() -> None:
    still = np.tile([0.5, np.nan, -2.0], (4, 1))
    assert never_moves(still)
    assert not never_moves(still[:1])
    still[3, 2] += 1e-9
    assert not never_moves(still)


def test_a_camera_whose_pictures_are_all_the_first_hangs() -> None:
    first = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert never_changes([first, first.copy(), first.copy()])
    assert not never_changes([first])
    assert not never_changes([first, first, first + 1])
