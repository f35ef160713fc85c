"""What a recycle costs of the time of a stream → a table: ``python -m tests.speed.recycle``.

The workload is made and removed again (2.2 GB). Rounds take turns, so that what else the machine does meets all alike.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

_CASES: tuple[tuple[str, int, Any], ...] = (
    ("60 chunks of 10 frames, never", 10, "never"),
    ("every 20 chunks", 10, {"chunks": 20}),
    ("every 5 chunks", 10, {"chunks": 5}),
    ("6 chunks of 100 frames, never", 100, "never"),
    ("every 2 chunks", 100, {"chunks": 2}),
)


def streamer(folder: Path, *arguments: str) -> None:
    """Run the command in a folder."""
    command = [sys.executable, "-m", "streamer", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def workload(folder: Path, seconds: int = 20) -> None:
    """Make three raw cameras at 30 Hz and two joint topics."""
    streamer(folder, "demo", "make", "--seconds", str(seconds), "work.bag")


def measured(folder: Path, chunk_size: int, recycle: Any) -> tuple[float, int]:
    """Stream to `null`; return the seconds of the stream and how often its process was recycled."""
    cameras = {f"camera_{n}": {"topic": f"/camera_{n}/image_raw"} for n in range(3)}
    config = {
        "source": {"path": "work.bag"},
        "timeline": {"from": "camera_0"},
        "chunk_size": chunk_size,
        "streams": cameras | {"joints": {"topic": "/joints_0", "field": "position", "align": "linear"}},
        "consumers": {"null": {"recycle": recycle}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    streamer(folder, "run", "config.yaml", "--restart")
    report = json.loads((folder / ".streamer" / "report.json").read_text())
    return report["seconds"]["stream"], report["consumers"]["null"]["restarts"]["planned"]


def main(rounds: int = 7) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload(folder)
        found = [[measured(folder, size, recycle) for _, size, recycle in _CASES] for _ in range(rounds)]
    sys.stdout.write("| recycled | times | stream, s | ms a recycle |\n| --- | ---: | ---: | ---: |\n")
    never = 0.0
    for (title, _, _), runs in zip(_CASES, zip(*found, strict=True), strict=True):
        seconds, times = statistics.median(seconds for seconds, _ in runs), runs[0][1]
        never = never if times else seconds
        each = f"{(seconds - never) / times * 1e3:.1f}" if times else ""
        sys.stdout.write(f"| {title} | {times} | {seconds:.3f} | {each} |\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
