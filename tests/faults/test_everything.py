"""Every built-in consumer at once, over everything that a recording can hold, with kills: the outputs are the same.

python -m tests.faults.test_everything 100        so many kills, of another seed each time
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.faults.everything import configured, contents, differences, write
from tests.faults.harness import cursors, processes, what_is_left
from tests.pipeline.driver import Run, run, start, wait_until

if TYPE_CHECKING:
    from tests.pipeline.driver import Finished

LONGEST = 1.5  # seconds from a commit to a kill: longer than the work on a chunk
IN_ONE_RUN = 25


class Attack:
    """What is expected, and the hand that kills."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.killed: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - chance that can be repeated, not a secret
        self._config = configured(write(folder / "take"), chunks=1)
        calm = run(folder / "calm", configured(folder / "take", chunks=20))
        assert calm.code == 0, calm
        self.expected = contents(folder / "calm" / "out")

    def run(self, folder: Path, kills: int) -> list[str]:
        """Kill so many times in one run, which is continued until it is whole; say what differs then."""
        done = self._run(folder, kills)
        assert done.code == 0, done
        wait_until(lambda: not what_is_left(folder), "an end without traces")
        return differences(self.expected, contents(folder / "out"))

    def _run(self, folder: Path, kills: int) -> Finished:
        running, left = start(folder, self._config), kills
        while True:
            with running:
                while left and running.process.poll() is None:
                    self._wait_a_while(running)
                    left -= self._kill(running)
                done = running.end()
            wait_until(lambda: not processes(folder), "the end of everyone")
            if done.code != -9:
                return done
            running = Run(folder, "run", "config.yaml", "--resume")

    def _wait_a_while(self, running: Run) -> None:
        """Let at least one chunk be committed since the last kill, so that a run comes to its end."""
        before = sum(cursors(running.folder).values())
        wait_until(lambda: running.process.poll() is not None or sum(cursors(running.folder).values()) != before)
        time.sleep(self._random.uniform(0, LONGEST))  # the time of the kill is what is random here

    def _kill(self, running: Run) -> bool:
        """Kill one of the processes that there are; tell whether it was there."""
        try:
            supervisor = psutil.Process(running.process.pid)
            kinds: dict[str, list[psutil.Process]] = {"supervisor": [supervisor]}
            for process in supervisor.children(recursive=True):
                kinds.setdefault(_kind(process), []).append(process)
            kind = self._random.choices(list(kinds), [_WEIGHTS.get(kind, 1) for kind in kinds])[0]
            self._random.choice(kinds[kind]).kill()
        except psutil.NoSuchProcess:
            return False  # it has ended meanwhile
        self.killed[kind] += 1
        return True


_WEIGHTS = {"consumer": 5, "template": 1, "reader": 2, "supervisor": 2, "merge": 3}


def _kind(process: psutil.Process) -> str:
    line = process.cmdline()
    title = line[line.index("-m") + 2] if "-m" in line else "other"
    if title.endswith(".template"):
        return "template"
    return title if title == "reader" else "merge" if title.startswith("merge") else "consumer"


@pytest.mark.slow
@pytest.mark.timeout(450)
def test_two_kills_among_all_consumers_change_no_output(tmp_path: Path) -> None:
    attack = Attack(tmp_path, seed=3)
    assert len(attack.expected) > 300
    while (killed := attack.killed.total()) < 2:  # a run may be whole before the second
        assert attack.run(tmp_path / f"{killed} killed", kills=2 - killed) == []


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_kills_among_all_consumers_change_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        assert attacked(tmp_path, 100).total() >= 100


def attacked(folder: Path, kills: int) -> Counter[str]:
    """Kill so many times, in as many runs as that takes; each is compared."""
    seed = time.time_ns() % 10**6
    say = print
    say(f"\nseed {seed}", flush=True)  # so that it can be repeated
    began = time.monotonic()
    attack = Attack(folder, seed)
    for number in range(10 * kills):
        if (left := kills - attack.killed.total()) <= 0:
            break
        differ = attack.run(folder / f"run-{number}", min(left, IN_ONE_RUN))
        assert not differ, f"{folder}/run-{number}: {differ}"
        say(f"{number + 1} runs, {dict(attack.killed)}, {time.monotonic() - began:.0f} s", flush=True)
    return attack.killed


if __name__ == "__main__":
    attacked(Path(tempfile.mkdtemp(prefix="everything-")), int(sys.argv[1]))
