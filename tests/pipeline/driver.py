"""Run the real command in a folder of its own, watch its processes, signal them, read what it wrote."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

DEADLINE = 240.0  # seconds, many times what anything takes here: other work may have the cores meanwhile
ROOT = Path(__file__).parent.parent.parent
MARK = "STREAMER_TEST_RUN"  # in the environment of every process of a run: its folder


def wait_until(condition: Callable[[], object], what: str = "the condition", deadline: float = DEADLINE) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true within the deadline.

    """
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            message = f"waited {deadline:.0f} s for {what}"
            raise TimeoutError(message)
        time.sleep(0.005)  # between two looks


class Run:
    """One run of the command."""

    def __init__(self, folder: Path, *arguments: str, under: Sequence[str] = ()) -> None:
        """Start it in ``folder``, in a process group of its own; ``under`` is a command that starts it in turn."""
        self.folder = folder
        self._said = ""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", MARK: str(folder)}
        self.process = subprocess.Popen(
            [*under, sys.executable, "-c", "from streamer.cli import main; main()", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self.process.communicate()

    def end(self, deadline: float = DEADLINE) -> Finished:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=deadline)
        return Finished(self.folder, self.process.returncode, out, err)

    def said(self) -> str:
        """Return what the command has written to its error output up to now; does not wait."""
        assert self.process.stderr is not None
        fd = self.process.stderr.fileno()
        os.set_blocking(fd, False)
        try:
            self._said += os.read(fd, 65536).decode()
        except BlockingIOError:
            pass  # nothing new
        finally:
            os.set_blocking(fd, True)
        return self._said

    def children(self) -> dict[str, psutil.Process]:
        """Return the child processes by title."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                line = child.cmdline()
            except psutil.NoSuchProcess:
                continue
            if "-m" in line:
                found[line[line.index("-m") + 2]] = child
        return found

    def signal(self, number: int) -> None:
        """Signal the supervisor alone."""
        self.process.send_signal(number)


class Finished:
    """What a run came to."""

    def __init__(self, folder: Path, code: int, out: str, err: str) -> None:
        self.folder = folder
        self.code = code
        self.out = out
        self.err = err

    @property
    def report(self) -> dict[str, Any]:
        """The report that the run wrote."""
        values: dict[str, Any] = json.loads((self.folder / ".streamer" / "report.json").read_text())
        return values

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- out\n{self.out}\n--- err\n{self.err}\n"


def start(folder: Path, config: dict[str, Any], *arguments: str, under: Sequence[str] = ()) -> Run:
    """Write a configuration and run it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return Run(folder, "run", "config.yaml", *arguments, under=under)


def run(folder: Path, config: dict[str, Any], *arguments: str, under: Sequence[str] = ()) -> Finished:
    """Run a configuration to its end."""
    with start(folder, config, *arguments, under=under) as running:
        return running.end()


def digests(path: Path) -> dict[str, Any]:
    """Return what a checksum consumer found, without where it came from."""
    values: dict[str, Any] = json.loads(path.read_text())
    del values["provenance"]
    return values
