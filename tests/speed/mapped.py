"""What raw pictures gain where consumers see the recording's own pages: ``python -m tests.speed.mapped``.

The whole command over three raw cameras, 848×480, 10 s each (1.1 GB a recording) from the page cache, to consumers that
add up every byte. ``copied`` is the same recording while somebody has it open for writing, which has its pictures
copied into the pool. Rounds take turns, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import yaml

from streamer.contract import Consumer
from tests.pipeline.driver import ROOT
from tests.speed.recycle import streamer

if TYPE_CHECKING:
    from streamer.contract import Frame

_ROUNDS = 7


class Adding(Consumer):
    """Looks at every byte."""

    def on_frame(self, frame: Frame) -> None:
        for picture in frame.values():
            cv2.sumElems(picture)


def rate(folder: Path, recording: Path, consumers: int, *, copied: bool) -> float:
    """Return the frames a second of one run."""
    config = {
        "source": {"path": str(recording)},
        "timeline": {"from": "camera_0"},
        "streams": {f"camera_{n}": {"topic": f"/camera_{n}/image_raw"} for n in range(3)},
        "consumers": {f"adding_{n}": {"use": "tests.speed.mapped:Adding"} for n in range(consumers)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with ExitStack() as stack:
        if copied:
            stack.enter_context(recording.open("r+b"))
        command = [sys.executable, "-m", "streamer", "run", str(folder / "config.yaml"), "--restart"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    report = json.loads((folder / ".streamer" / "report.json").read_text())
    assert report["streams"]["camera_0"]["mapped"] != copied
    return float(report["frames"]["delivered"] / report["seconds"]["stream"])


def main(rounds: int = _ROUNDS) -> None:
    """Print the table in Markdown: medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for arguments in (("work.bag",), ("--format", "mcap", "work")):
            streamer(folder, "demo", "make", "--seconds", "10", "--joints", "0x500", *arguments)
        (plain,) = (folder / "work").glob("*.mcap")
        sys.stdout.write(
            "| raw pictures in | consumers | copied | mapped | gain |\n| --- | ---: | ---: | ---: | ---: |\n"
        )
        for what, path in (("ROS 1", folder / "work.bag"), ("MCAP", plain)):
            for consumers in (1, 2):
                found = [
                    [rate(folder, path, consumers, copied=copied) for copied in (True, False)] for _ in range(rounds)
                ]
                copied, mapped = (statistics.median(rates) for rates in zip(*found, strict=True))
                gain = statistics.median(b / a for a, b in found)
                sys.stdout.write(f"| {what} | {consumers} | {copied:.0f}/s | {mapped:.0f}/s | {gain:.2f} × |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
