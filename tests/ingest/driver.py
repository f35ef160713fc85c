"""Run the real daemon in a folder of its own, ask it, kill it, start it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from streamer.errors import BusyError
from streamer.ingest.control import ask
from tests.pipeline.driver import DEADLINE, MARK, ROOT, wait_until

if TYPE_CHECKING:
    from typing import Self

COMMAND = [sys.executable, "-c", "from streamer.cli import main; main()"]


def settings(watched: Path) -> dict[str, Any]:
    """Return a configuration of a daemon for recordings like ``small_bag``: 40 frames, one digest each."""
    return {
        "source": {"watch": str(watched), "settle": "300 ms", "scan": "1 s", "backoff": "100 ms"},
        "timeline": {"from": "camera", "rate": "10 Hz"},
        "chunk_size": 5,
        "pool": "620 kB",
        "free_space": "1 MB",
        "streams": {
            "camera": {"topic": "/camera_0/image_raw/compressed"},
            "joints": {"topic": "/joints_0", "field": "position", "align": "linear"},
        },
        "consumers": {"digest": {"use": "checksum", "options": {"out": "out/{recording}.json"}}},
    }


class Watch:
    """One life of a daemon."""

    def __init__(self, folder: Path, config: dict[str, Any], *arguments: str, **environment: str) -> None:
        """Start it in ``folder``; its log is ``daemon.log`` there."""
        self.folder = folder
        self.write(config)
        with (folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "watch", "watch.yaml", *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), MARK: str(folder)} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def write(self, config: dict[str, Any]) -> None:
        """Replace the configuration file."""
        (self.folder / "watch.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def __enter__(self) -> Self:
        wait_until(lambda: self.process.poll() is not None or self._answers(), "the daemon")
        assert self.process.poll() is None, (self.folder / "daemon.log").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            return bool(self.status())
        except BusyError:
            return False

    def kill(self) -> None:
        """Kill it; what it has started dies with it."""
        self.process.kill()
        self.process.wait()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def status(self) -> dict[str, Any]:
        """Ask it what it is doing."""
        found: dict[str, Any] = ask(self.folder / ".streamer", "status")["status"]
        return found

    def states(self) -> dict[str, str]:
        """Return the state of each recording by name."""
        return {values["name"]: values["state"] for values in self.status()["recordings"]}

    def one(self, name: str) -> dict[str, Any]:
        """Return what is known of one recording; empty where nothing is."""
        return next((values for values in self.status()["recordings"] if values["name"] == name), {})

    def wait(self, **states: str) -> None:
        """Wait until each of the recordings has its state."""
        try:
            wait_until(lambda: states.items() <= self.states().items(), f"{states}")
        except TimeoutError as error:
            tail = (self.folder / "daemon.log").read_text()[-4000:]
            msg = f"{error}; there are {self.status()['recordings']}; last logged:\n{tail}"
            raise AssertionError(msg) from error

    def log(self) -> list[dict[str, Any]]:
        """Return what it has logged: JSON objects, one a line."""
        text = (self.folder / "daemon.log").read_text()
        return [json.loads(line) for line in text.split("\n")[:-1]]  # the last is empty, or being written

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one kind."""
        return [line for line in self.log() if line["event"] == event]


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run another command beside it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
