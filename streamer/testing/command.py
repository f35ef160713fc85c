"""A configuration in a folder of its own → the real command run over it, to its end or to its deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run came to: its exit code and everything that it said."""

    folder: Path
    code: int
    said: str

    @property
    def report(self) -> dict[str, Any]:
        """The report that the run wrote."""
        values: dict[str, Any] = json.loads((self.folder / ".streamer" / "report.json").read_text(encoding="utf-8"))
        return values

    def __str__(self) -> str:
        logs = sorted((self.folder / ".streamer" / "logs").glob("*.log"))
        texts = [f"--- {log.name}\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}" for log in logs]
        return "\n".join([f"exit code {self.code}", self.said, *texts])


def run(folder: Path, config: dict[str, Any], deadline: float) -> Finished:
    """Run ``streamer run`` in ``folder``; it is ended, with all that it started, at the deadline (seconds).

    Raises:
        subprocess.TimeoutExpired: it did not end in time.

    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps(config, indent=2), encoding="utf-8")  # JSON is YAML
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from streamer.cli import main; main()", "run", "config.yaml"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=deadline)
    finally:
        _end(process)
    return Finished(folder, process.returncode, said)


def _end(process: subprocess.Popen[str]) -> None:
    """End what is left of a process's group; its children die with it by themselves."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.communicate()
