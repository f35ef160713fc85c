"""Each format of a recording against bare loops over its bytes, in turn: ``python -m tests.speed.formats``.

Three cameras of 640×480 at 30 Hz through the methods ``stream`` and ``limit`` of ``streamer bench``. ``of limit`` is
the steady state of the first in parts of the second's, the best round of each; with compressed chunks, ``threads`` is
that of two threads in parts of one thread's. ``processor`` is what the whole command took of the cores for a frame, its
start included. Bare loops are one process and the command is three: a machine that is busy with other work gives the
command more of its cores, so only rounds on an idle one (``load`` at the start below 1) tell what is lost::

    python -m tests.speed.formats [--seconds 10] [--rounds 3] [--only "MCAP, raw"]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from streamer.bench.compare import compare
from streamer.config.load import load as load_config
from streamer.demo import Workload, make
from tests.speed.encoding import processor

CAMERAS = 3
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "ROS 1, raw": ("take.bag", {}),
    "MCAP, raw": ("take.mcap", {"format": "mcap"}),
    "db3, raw": ("take", {"format": "db3"}),
    "ROS 1, JPEG": ("take.bag", {"image": "jpeg"}),
    "MCAP, JPEG": ("take.mcap", {"format": "mcap", "image": "jpeg"}),
    "ROS 1, lz4 chunks": ("take.bag", {"compression": "lz4"}),
    "MCAP, lz4 chunks": ("take.mcap", {"format": "mcap", "compression": "lz4"}),
    "MCAP, zstd chunks": ("take.mcap", {"format": "mcap", "compression": "zstd"}),
}


class Round(NamedTuple):
    """What one round found: frames a second of the stream, of the bare loops and of the stream with one thread."""

    stream: float
    limit: float
    one: float
    processor: float  # seconds for a frame


def main() -> None:
    """Measure and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[""], help="the formats that begin so, each")
    given = parser.parse_args()
    sys.stdout.write("| format | frames/s | processor, ms | of limit | threads | load |\n")
    sys.stdout.write("| --- | ---: | ---: | ---: | ---: | ---: |\n")
    for form, (name, shape) in FORMATS.items():
        if form.startswith(tuple(given.only)):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                work = Workload(cameras=CAMERAS, width=640, height=480, joint_topics=0, seconds=given.seconds, **shape)
                make(path, work)
                load = os.getloadavg()[0]
                rounds = [_round(path, work) for _ in range(given.rounds)]
            sys.stdout.write(f"| {form} | {_row(rounds, load)} |\n")
            sys.stdout.flush()


def _row(rounds: list[Round], load: float) -> str:
    stream, limit, one = (max(values) for values in list(zip(*rounds, strict=True))[:3])
    spent = min(r.processor for r in rounds) * 1e3
    threads = f"{stream / one:.2f}" if one else ""
    return f"{stream:.0f} | {spent:.2f} | {stream / limit:.2f} | {threads} | {load:.1f}"


def _round(recording: Path, work: Workload) -> Round:
    before = processor()
    stream, frames = _steady(recording, work, "stream")
    spent = (processor() - before) / frames
    one = _steady(recording, work, "stream", 1)[0] if work.compression != "none" else 0.0
    return Round(stream, _steady(recording, work, "limit")[0], one, spent)


def _steady(recording: Path, work: Workload, method: str, threads: int = 2) -> tuple[float, int]:
    """Return frames a second, without what comes before the first of them, and how many there were."""
    what = "image_raw/compressed" if work.image == "jpeg" else "image_raw"
    config = recording.with_name("config.yaml")
    values = {
        "source": {"path": str(recording)},
        "threads": threads,
        "timeline": {"from": "camera_0"},
        "streams": {f"camera_{n}": {"topic": f"/camera_{n}/{what}"} for n in range(CAMERAS)},
        "consumers": {"null": {}},
    }
    config.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    (found,) = compare(load_config(config), recording, [method], [100], 1)
    if found.failed or not found.steady_frames_per_s:
        sys.exit(found.failed or "too few frames: more --seconds")
    return found.steady_frames_per_s, found.frames


if __name__ == "__main__":
    main()
