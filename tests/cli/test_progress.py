"""What a run tells of itself never stops it, whoever reads it how slowly."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from streamer.cli.progress import make_observer

if TYPE_CHECKING:
    import pytest

SNAPSHOT = {"frames": {"done": 7}, "memory": "x" * 3000}


def test_progress_is_left_out_of_a_pipe_that_nobody_reads_and_told_again_once_somebody_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb", 0), os.fdopen(writable, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with make_observer(json_lines=True) as display:
            for _ in range(100):  # 300 kB, of which a pipe holds 64
                display.progress(SNAPSHOT)
            display.note("who is there?")
            before = [json.loads(line) for line in os.read(readable, 1 << 16).splitlines()]
            display.progress(SNAPSHOT)
            after = json.loads(os.read(readable, 1 << 16))
    assert [told["event"] for told in before] == ["progress"] * (len(before) - 1) + ["note"]
    assert before[0].items() >= SNAPSHOT.items()
    assert after["event"] == "progress"
