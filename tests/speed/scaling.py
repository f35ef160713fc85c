"""How cost grows: ``python -m tests.speed.scaling recordings|consumers`` → tables of docs/scaling.md.

What merging costs, `tests.speed.merging` measures.

Processor time counts all processes of the command; it says more than the clock where others use the machine, too.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from streamer.demo import Workload, make

_LARGE = Workload(
    cameras=1, width=640, height=480, hz=30, image="jpeg", joint_topics=1, joint_hz=100, seconds=20, seed=1
)
_STREAMS = {
    "camera": {"topic": "/camera_0/image_raw/compressed"},
    "joints": {"topic": "/joints_0", "field": "position"},
}


def say(line: str) -> None:
    """Write a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def command(folder: Path, *arguments: str) -> tuple[float, float]:
    """Run the command; return its seconds by the clock and by the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    line = [sys.executable, "-c", "from streamer.cli import main; main()", *arguments]
    subprocess.run(line, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, used


def recordings(folder: Path, work: Workload, count: int) -> Path:
    """Give one recording many names."""
    one = folder / f"{work.width}.bag"
    if not one.exists():
        make(one, work)
    bags = folder / f"{work.width}-{count}"
    bags.mkdir()
    for number in range(count):
        os.link(one, bags / f"rec-{number:04d}.bag")
    return bags


def configure(folder: Path, bags: Path, consumers: dict[str, Any]) -> None:
    """Write config.yaml."""
    config = {
        "source": {"path": str(bags)},
        "timeline": {"from": "camera", "rate": "30 Hz"},
        "pool": "64 MB",
        "streams": _STREAMS,
        "consumers": consumers,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def by_recordings(folder: Path) -> None:
    """Measure 1 to 64 recordings of 20 s, one or two at a time."""
    say("| recordings | jobs | seconds | processor | a recording |\n| ---: | ---: | ---: | ---: | ---: |")
    for count in (1, 4, 16, 64):
        bags = recordings(folder, _LARGE, count)
        configure(folder, bags, {"digest": {"use": "checksum", "options": {"out": "out/{recording}.json"}}})
        for jobs in (1, 2) if count > 1 else (1,):
            clock, used = command(folder, "run", "config.yaml", "--restart", f"jobs={jobs}")
            say(f"| {count} | {jobs} | {clock:.1f} | {used:.1f} | {used / count:.2f} |")


def by_consumers(folder: Path) -> None:
    """Measure 1 to 40 consumers of one recording of 20 s."""
    say("| consumers | seconds | processor | frames/s | MB of consumers |\n| ---: | ---: | ---: | ---: | ---: |")
    bags = recordings(folder, _LARGE, 1)
    for count in (1, 2, 4, 10, 20, 40):
        configure(folder, bags, {f"null-{number}": {"use": "null"} for number in range(count)})
        clock, used = command(folder, "run", "config.yaml", "--restart")
        report = json.loads((folder / ".streamer" / "report.json").read_text())
        rate = report["frames"]["delivered"] / report["seconds"]["stream"]
        held = sum(consumer["anon_mb"]["peak"] for consumer in report["consumers"].values())
        say(f"| {count} | {clock:.1f} | {used:.1f} | {rate:.0f} | {held:.0f} |")


if __name__ == "__main__":
    measured = {"recordings": by_recordings, "consumers": by_consumers}
    with tempfile.TemporaryDirectory() as own:
        for name in sys.argv[1:] or measured:
            measured[name](Path(own))
