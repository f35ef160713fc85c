"""What a contact sheet says of a curve beside drawing it."""

from __future__ import annotations

import numpy as np

from consumers.sheet import never_moves


def test_a_vector_whose_elements_all_keep_their_value_never_moves() -> None:
    still = np.tile([0.5, np.nan, -2.0], (4, 1))
    assert never_moves(still)
    assert not never_moves(still[:1])
    still[3, 2] += 1e-9
    assert not never_moves(still)
