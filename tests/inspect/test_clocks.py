"""What `info` says of clocks: one that was set is told with its instants, and never recommended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.inspect import open_contents
from streamer.inspect.survey import survey
from tests.bags import START, joints, record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

S, MS = 10**9, 10**6
BURSTS = [START + (n // 20 + 1) * 400 * MS + n % 20 * 1000 for n in range(400)]  # twenty messages arrive at a time
STEADY = [START + n * 20 * MS for n in range(400)]


def clocks(folder: Path, receive: Sequence[int], header: Sequence[int] | None = None) -> list[str]:
    """Write joint states with such stamps; return the warnings about them."""
    stamps = receive if header is None else dict(zip(receive, header, strict=True))
    with open_contents(record(folder / "take", "mcap", joints("/joints", stamps, "cdr"))) as inside:
        return [warning for warning in survey(inside).warnings if "stamps" in warning]


def test_header_stamps_are_recommended_where_they_are_the_steadier_ones(tmp_path: Path) -> None:
    (warning,) = clocks(tmp_path, BURSTS, STEADY)
    assert "'clock: header' is the steadier one" in warning


def test_header_stamps_that_jump_are_told_and_not_recommended(tmp_path: Path) -> None:
    (warning,) = clocks(tmp_path, BURSTS, [stamp - 3 * S * (n >= 390) for n, stamp in enumerate(STEADY)])
    assert "steadier" not in warning
    assert "but its header stamps jump from " in warning
    assert "at message 390" in warning


def test_receive_stamps_that_jump_are_told_with_the_setting_that_chooses(tmp_path: Path) -> None:
    (warning,) = clocks(tmp_path, STEADY[:200] + STEADY[50:250])
    assert warning.startswith("/joints: its receive stamps jump from ")
    assert "at message 200: 'source.resets' says which part is read" in warning
