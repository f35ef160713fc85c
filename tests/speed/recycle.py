"""What a recycle costs of the time of a stream → a table: ``python -m tests.speed.recycle``.

The workload is made and removed again (6.6 GB). Rounds take turns, so that what else the machine does meets all alike.
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

_HZ, _SECONDS = 30, 60
_CASES: tuple[tuple[str, int, int, Any], ...] = (  # chunks, frames a chunk
    ("60 chunks of 10 frames, never", 60, 10, "never"),
    ("every 20 chunks", 60, 10, {"chunks": 20}),
    ("every 5 chunks", 60, 10, {"chunks": 5}),
    ("18 chunks of 100 frames, never", 18, 100, "never"),
    ("every 5 chunks", 18, 100, {"chunks": 5}),
)


def streamer(folder: Path, *arguments: str) -> None:
    """Run the command in a folder."""
    command = [sys.executable, "-m", "streamer", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def workload(folder: Path, seconds: int = _SECONDS) -> None:
    """Make three raw cameras at 30 Hz and two joint topics."""
    streamer(folder, "demo", "make", "--seconds", str(seconds), "work.bag")


def measured(folder: Path, chunks: int, chunk_size: int, recycle: Any) -> tuple[float, int]:
    """Stream so many chunks to `null`; return the seconds of the stream and how often its process was recycled."""
    cameras = {f"camera_{n}": {"topic": f"/camera_{n}/image_raw"} for n in range(3)}
    config = {
        "source": {"path": "work.bag"},
        "timeline": {"from": "camera_0", "end_at": f"{chunks * chunk_size / _HZ:.3f} s"},
        "chunk_size": chunk_size,
        "streams": cameras | {"joints": {"topic": "/joints_0", "field": "position", "align": "linear"}},
        "consumers": {"null": {"recycle": recycle}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    streamer(folder, "run", "config.yaml", "--restart")
    report = json.loads((folder / ".streamer" / "report.json").read_text())
    assert abs(report["frames"]["planned"] - chunks * chunk_size) <= 1, report["frames"]
    return report["seconds"]["stream"], report["consumers"]["null"]["restarts"]["planned"]


def main(rounds: int = 7) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workload(folder)
        found = [[measured(folder, *case[1:]) for case in _CASES] for _ in range(rounds)]
    sys.stdout.write("| recycled | times | stream, s | ms a recycle |\n| --- | ---: | ---: | ---: |\n")
    never = 0.0
    for (title, *_), runs in zip(_CASES, zip(*found, strict=True), strict=True):
        seconds, times = statistics.median(seconds for seconds, _ in runs), runs[0][1]
        never = never if times else seconds
        each = f"{(seconds - never) / times * 1e3:.1f}" if times else ""
        sys.stdout.write(f"| {title} | {times} | {seconds:.3f} | {each} |\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
