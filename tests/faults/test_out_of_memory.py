"""The kernel's own out-of-memory killer, in a control group that is too small: whom it kills costs no frame.

The group is made for the test (cgroup v1 or v2; skipped where that is not permitted). A process in it takes memory
until the kernel has to kill somebody; the victim is the one whose badness the test has raised.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.faults.harness import MISFITS, Config, let_go, processes, reached
from tests.ingest.driver import Watch
from tests.ingest.numbered import expected as expected_of
from tests.ingest.numbered import make, settings
from tests.pipeline.driver import digests, run, start, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUPS = Path("/sys/fs/cgroup")
LIMIT = 900_000_000  # bytes, of which the processes of a run take a part
PIECE = 4_000_000
HOG = f"""
import sys
from pathlib import Path
held = []
while "oom_kill 0" in Path(sys.argv[1]).read_text():
    held.append(b"x" * {PIECE})
"""


class Group:
    """A control group with little memory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entered(self) -> list[str]:
        """Return a command that runs another in it."""
        return ["sh", "-c", f'echo $$ > {self._path}/cgroup.procs && exec "$@"', "sh"]

    def kills(self) -> int:
        """Return how many processes the kernel has killed in it."""
        for name in ("memory.events", "memory.oom_control"):
            if (file := self._path / name).exists():
                return int(dict(line.split() for line in file.read_text().splitlines())["oom_kill"])
        raise FileNotFoundError(self._path)

    def take(self, pid: int) -> None:
        """Put a process into it."""
        (self._path / "cgroup.procs").write_text(str(pid))

    def run_out(self, victim: int) -> None:
        """Let memory give out, and the kernel kill this process."""
        Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
        watched = self._path / ("memory.events" if (self._path / "memory.events").exists() else "memory.oom_control")
        command = [*self.entered(), sys.executable, "-c", HOG, str(watched)]
        subprocess.run(command, check=False, timeout=240)  # which may be killed as well
        assert self.kills() >= 1


@contextmanager
def made() -> Iterator[Group]:
    version2 = (GROUPS / "cgroup.subtree_control").exists()
    path = (GROUPS if version2 else GROUPS / "memory") / f"streamer-test-{os.getpid()}"
    limit = "memory.max" if version2 else "memory.limit_in_bytes"
    try:
        path.mkdir()
    except OSError:
        pytest.skip("takes the right to make a control group")
    try:
        if not (path / limit).exists():
            pytest.skip("takes a memory controller")
        (path / limit).write_text(str(LIMIT))
        yield Group(path)
    finally:
        wait_until(lambda: not (path / "cgroup.procs").read_text(), "an empty group")
        path.rmdir()


@pytest.fixture
def group() -> Iterator[Group]:
    with made() as group:
        yield group


@pytest.mark.parametrize("victim", ["consumer", pytest.param("reader", marks=pytest.mark.slow)])
def test_a_process_that_the_kernel_kills_for_memory_is_replaced_and_told(
    tmp_path: Path, config: Config, expected: dict[str, Any], group: Group, victim: str
) -> None:
    config["consumers"]["a"] = waiting("a", "on_frame 28")
    with start(tmp_path, config, under=group.entered()) as running:
        pid = reached(tmp_path, "a")
        group.run_out(pid if victim == "consumer" else running.children()["reader"].pid)
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert "out of memory" in finished.err
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected
    assert finished.report["frames"]["delivered"] == expected["frames"]


@pytest.mark.slow
def test_a_supervisor_that_the_kernel_kills_for_memory_takes_everyone_along(
    tmp_path: Path, config: Config, expected: dict[str, Any], group: Group
) -> None:
    config["consumers"]["a"] = waiting("a", "on_frame 28")
    with start(tmp_path, config, under=group.entered()) as running:
        reached(tmp_path, "a")
        group.run_out(running.process.pid)
        assert running.end().code == -9
        wait_until(lambda: not processes(tmp_path), "the end of everyone")
        let_go(tmp_path, "a")
    assert run(tmp_path, config, "--resume").code == 0
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["pipeline", "daemon"])
def test_a_recording_comes_out_whomever_of_a_daemon_the_kernel_kills_for_memory(
    tmp_path: Path, group: Group, victim: str
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    config = settings(incoming)
    config["consumers"]["a"] = waiting("{recording}", "on_frame 28") | {"recycle": "never"}
    recording = make(tmp_path / "one", 1)
    whole = expected_of(tmp_path / "quiet", recording)
    with Watch(tmp_path, config) as daemon:
        (incoming / "one.bag").write_bytes(recording.read_bytes())
        reached(tmp_path, "one")
        ours = [psutil.Process(daemon.process.pid), *psutil.Process(daemon.process.pid).children(recursive=True)]
        for process in ours:
            group.take(process.pid)
        group.run_out(ours[0].pid if victim == "daemon" else next(p.pid for p in ours if "pipeline" in p.cmdline()))
        let_go(tmp_path, "one")
        if victim == "pipeline":
            daemon.wait(one="done")
        else:
            assert daemon.process.wait(60) == -9
        daemon.end()  # or it is found ended
    with Watch(tmp_path, config) as daemon:
        daemon.wait(one="done")
        assert daemon.end() == 0
    assert digests(tmp_path / "one.json") == digests(tmp_path / "out" / "one.json") == whole


def waiting(name: str, place: str) -> Config:
    return {"use": f"{MISFITS}Waiting", "options": {"out": f"{name}.json", "places": [place]}}
