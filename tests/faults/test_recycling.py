"""A recycle costs little of a stream: against the same stream without, and in the same minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamer.supervisor.template import CAN_FORK
from tests.speed.recycle import measured, workload

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.skipif(not CAN_FORK, reason="successors are new interpreters here")
def test_eleven_recycles_do_not_treble_a_short_stream(tmp_path: Path) -> None:
    """New interpreters made six times the time of it."""
    workload(tmp_path, 20)
    never, often = zip(
        *[(measured(tmp_path, 60, 10, "never"), measured(tmp_path, 60, 10, {"chunks": 5})) for _ in range(3)],
        strict=True,
    )
    assert [times for _, times in never + often] == [0] * 3 + [11] * 3
    assert min(often)[0] < 3 * min(never)[0]
    (tmp_path / "work.bag").unlink()
