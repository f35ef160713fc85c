"""What a process holds, and what its samples say of it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.memory import Held, anonymous, held, thinned, trend

MB = 10**6


def line(slope: float, count: int, start: int = 50 * MB) -> list[tuple[int, int]]:
    return [(n, int(start + slope * n)) for n in range(count)]


def test_anonymous_memory_counts_what_is_written_and_shared_memory_does_not() -> None:
    before = held()
    private = mmap.mmap(-1, 32 * MB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    private.write(bytes(32 * MB))
    assert 30 * MB < held().anon - before.anon < 70 * MB
    private.close()
    shared = mmap.mmap(-1, 32 * MB)
    shared.write(bytes(32 * MB))
    assert held().shared - before.shared > 30 * MB
    assert held().anon - before.anon < 40 * MB


def test_another_process_can_be_looked_at_and_one_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert anonymous(process.pid) > 0
    assert held(process.pid) == Held(0, 0)
    assert abs(anonymous() - anonymous(os.getpid())) < MB


@pytest.mark.parametrize(
    ("slope", "verdict"), [(0, "stable"), (4.9 * MB, "stable"), (7 * MB, "growing"), (10.2 * MB, "leaking")]
)
def test_the_bounds_are_the_origins(slope: float, verdict: str) -> None:
    assert trend([line(slope, 12)]).verdict == verdict


def test_warm_up_a_jump_and_a_dip_change_nothing() -> None:
    samples = [(0, 10 * MB), (1, 90 * MB), *((n, 100 * MB) for n in range(2, 30))]
    samples[9] = (9, 300 * MB)
    samples[20] = (20, 1 * MB)
    assert trend([samples]) == (0, "stable")


def test_what_fills_up_and_stays_is_no_leak() -> None:
    # MB after each chunk of a process that encodes AV1: the 20 of a real run
    filling = [92, 134, 143, 185, 187, 201, 208, 216, 234, 238, 243, 249, 245, 251, 255, 255, 256, 262, 257, 262]
    assert trend([[(n, mb * MB) for n, mb in enumerate(filling)]]).verdict == "stable"
    assert trend([[(n, (mb + 6 * n) * MB) for n, mb in enumerate(filling)]]).verdict == "growing"


def test_processes_that_are_replaced_while_they_fill_up_are_called_no_leak() -> None:
    # MB after each chunk of two processes that encode AV1, replaced after five: so101_wrist.bag, 40 frames a chunk
    lives = [[119.583, 162.828, 184.898, 206.881, 218.223], [119.697, 142.778, 153.068, 194.507, 215.888]]
    found = trend([[(n, round(mb * MB)) for n, mb in enumerate(life)] for life in lives])
    assert found.verdict == "unknown"
    assert found.slope == pytest.approx(24 * MB, abs=MB)
    # the same recording in one process, 20 frames a chunk: what it holds in the end was there after ten chunks
    filling = [118, 160, 202, 223, 230, 250, 270, 279, 285, 288, 294, 298, 301, 303, 304, 304, 306, 306, 306, 308]
    samples = [(n, mb * MB) for n, mb in enumerate(filling)]
    assert trend([samples]).verdict == "stable"
    assert all(trend([samples[:count]]).verdict != "leaking" for count in range(len(samples) + 1))


def test_a_leak_that_comes_in_large_steps_is_found() -> None:
    assert trend([[(n, n // 8 * 96 * MB) for n in range(40)]]).verdict == "leaking"


def test_processes_are_judged_apart_so_that_recycling_does_not_hide_a_leak() -> None:
    assert trend([line(12 * MB, 10) for _ in range(5)]).verdict == "leaking"
    assert trend([line(0, 10, start * MB) for start in (10, 900, 20, 800)]).verdict == "stable"


def test_too_few_chunks_are_no_verdict() -> None:
    assert trend([]) == (None, "unknown")
    assert trend([line(20 * MB, 4), line(20 * MB, 3)]) == (None, "unknown")


@given(st.floats(-20 * MB, 20 * MB), st.integers(5, 400), st.integers(1, 7))
def test_a_straight_line_has_its_own_slope(slope: float, count: int, step: int) -> None:
    found = trend([[(n * step, int(1e9 + slope * n * step)) for n in range(count)]]).slope
    assert found == pytest.approx(slope, abs=2)


@given(st.lists(st.tuples(st.integers(), st.integers()), max_size=50), st.integers(2, 20))
def test_thinning_keeps_the_ends(samples: list[tuple[int, int]], most: int) -> None:
    kept = thinned(samples, most)
    assert len(kept) <= most + 1
    assert kept[:1] == samples[:1]
    assert kept[-1:] == samples[-1:]
