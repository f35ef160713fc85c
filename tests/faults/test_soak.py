"""One long run in which a process is killed again and again, at random: the outputs are those of an undisturbed run."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.conftest import on_numbers
from tests.faults.harness import MISFITS, Config, cursors, processes
from tests.pipeline.driver import Run, digests, run, start, wait_until
from tests.pipeline.probes import Recorder

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 5
EACH = 3  # chunks that everyone is let go on for each kill
LONGEST = 0.25  # seconds until the kill: longer than the work on these chunks and the handovers in them


class Soak:
    """A run on a leash, and the hand that kills in it."""

    def __init__(self, folder: Path, kills: int, seed: int) -> None:
        self.folder = folder
        self.kills = kills
        self.killed: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - chance that can be repeated, not a secret
        self.frames = CHUNK * (EACH * kills + 5)
        self.config = self._configure()

    def _configure(self) -> Config:
        config = on_numbers(self.folder / "numbers", self.frames)
        config["chunk_size"] = CHUNK
        config["consumers"] |= {
            "leash": {"use": f"{MISFITS}Paced", "options": {"out": "leash.json", "leash": "far"}},
            "often": {"use": f"{MISFITS}Numbers", "options": {"out": "often", "at": []}, "recycle": {"chunks": 1}},
            "third": {"use": "checksum", "options": {"out": "third.json"}, "every": 3, "recycle": {"chunks": 4}},
        }
        return config

    def run(self) -> dict[str, Any]:
        """Kill so many times; return the last report."""
        self._let_go(CHUNK)
        with ExitStack() as stack:
            running = stack.enter_context(start(self.folder, self.config))
            for number in range(self.kills):
                chunks = 1 + EACH * (number + 1)
                self._let_go(chunks * CHUNK)
                self._wait_a_while()
                if self._kill(running) == "supervisor":
                    running.process.wait()
                    wait_until(lambda: not processes(self.folder), "the end of everyone")
                    running = stack.enter_context(Run(self.folder, "run", "config.yaml", "--resume"))
                wait_until(partial(self._all_have, chunks - 1), f"everyone after kill {number + 1}: {self.killed}")
            self._let_go(self.frames)
            finished = running.end()
        assert finished.code == 0, finished
        return finished.report

    def _let_go(self, frames: int) -> None:
        draft = self.folder / "far.draft"
        draft.write_text(str(frames))
        draft.rename(self.folder / "far")

    def _wait_a_while(self) -> None:
        time.sleep(self._random.uniform(0, LONGEST))  # the time of the kill is what is random here

    def _kill(self, running: Run) -> str:
        """Kill one of the processes that there are, and say which kind."""
        victims = [*sorted(running.children().items()), ("supervisor", psutil.Process(running.process.pid))]
        title, process = self._random.choice(victims)
        kind = title.split(".")[0]
        try:
            process.kill()
        except psutil.NoSuchProcess:
            kind = "nobody"  # it has ended meanwhile
        self.killed[kind] += 1
        return kind

    def _all_have(self, chunks: int) -> bool:
        found = cursors(self.folder)
        return all(found.get(name, 0) >= chunks for name in self.config["consumers"])


def hold_against_undisturbed(soak: Soak, report: dict[str, Any]) -> None:
    """Compare everything that was written with what a run writes to which nothing happens."""
    quiet = soak.folder / "quiet"
    calm = {"consumers": {name: soak.config["consumers"][name] | {"recycle": {}} for name in ("digest", "third")}}
    assert run(quiet, soak.config | calm).code == 0
    whole = digests(quiet / "digest.json")
    assert whole["frames"] == soak.frames
    assert digests(soak.folder / "digest.json") == whole
    assert digests(soak.folder / "leash.json") == whole
    assert digests(soak.folder / "third.json") == digests(quiet / "third.json")
    assert Recorder.read(soak.folder / "often") == list(range(soak.frames))
    assert report["frames"] == {"planned": soak.frames, "delivered": soak.frames, "skipped": {}, "remaining": 0}


@pytest.mark.slow
def test_eight_kills_at_random_change_no_output(tmp_path: Path) -> None:
    soak = Soak(tmp_path, kills=8, seed=20)
    report = soak.run()
    assert sum(soak.killed.values()) == 8
    hold_against_undisturbed(soak, report)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_kills_at_random_change_no_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = time.time_ns() % 10**6
    with capsys.disabled():
        print(f"\nsoak: seed {seed}")  # noqa: T201 - so that it can be repeated
    soak = Soak(tmp_path, kills=200, seed=seed)
    began = time.monotonic()
    report = soak.run()
    with capsys.disabled():
        print(f"soak: {dict(soak.killed)} in {time.monotonic() - began:.0f} s")  # noqa: T201 - the result
    assert sum(soak.killed.values()) == 200
    hold_against_undisturbed(soak, report)
