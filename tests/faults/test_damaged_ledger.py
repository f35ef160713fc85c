"""A run is continued from a ledger that was damaged meanwhile: it is refused in words, or the output is right."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import MISFITS, Config, let_go, processes, reached
from tests.pipeline.driver import digests, run, start, wait_until
from tests.test_ledger import mutated

if TYPE_CHECKING:
    from pathlib import Path


def interrupted(folder: Path, config: Config) -> Path:
    """Kill a run at its eighth chunk; return its ledger."""
    waiting = {"use": f"{MISFITS}Waiting", "options": {"out": "a.json", "places": ["on_chunk 7"]}}
    config["consumers"]["a"] = waiting
    with start(folder, config) as running:
        reached(folder, "a")
        running.process.kill()
        running.process.wait()
        wait_until(lambda: not processes(folder), "the end of everyone")
        let_go(folder, "a")
    path = folder / ".streamer" / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def test_a_cursor_that_is_not_what_was_committed_is_not_gone_on_from(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    path = interrupted(tmp_path, config)
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.create_function("seal_of", -1, lambda *_: 0)
        ledger.execute("UPDATE cursors SET chunk = chunk + 2")
    refused = run(tmp_path, config, "--resume")
    assert refused.code == 74, refused
    assert "the ledger is damaged: its cursors do not have their checksum" in refused.err
    assert "Traceback" not in refused.err + refused.out
    again = run(tmp_path, config, "--restart")
    assert again.code == 0, again
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected


@pytest.mark.slow
def test_whatever_is_damaged_in_a_ledger_the_run_that_goes_on_is_right_or_refused(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    whole = interrupted(tmp_path / "first", config).read_bytes()
    for socket in (tmp_path / "first" / ".streamer").glob("*.sock"):  # what was killed has left it
        socket.unlink()
    codes = []
    for seed in range(5):
        folder = tmp_path / str(seed)
        shutil.copytree(tmp_path / "first", folder)
        chance = random.Random(1000 + seed)  # noqa: S311 - chance that can be repeated
        (folder / ".streamer" / "ledger.sqlite").write_bytes(mutated(whole, chance))
        finished = run(folder, config, "--resume")
        codes.append(finished.code)
        if finished.code == 0:
            assert digests(folder / "a.json") == digests(folder / "digest.json") == expected, seed
        else:
            assert finished.code in (65, 74), finished
            assert "Traceback" not in finished.err + finished.out
    assert 0 in codes
