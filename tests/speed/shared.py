"""Streams of one JPEG camera → what a frame costs with one of them and with more: ``python -m tests.speed.shared``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

import streamer
from streamer.demo import Workload, make

_ROUNDS = 5
_WORK = Workload(cameras=1, width=1280, height=720, hz=30, image="jpeg", joint_topics=0, seconds=10, seed=1)
_TOPIC = "/camera_0/image_raw/compressed"
_LEFT, _RIGHT = ({"topic": _TOPIC, "map": [{"crop": [left, 0, 640, 720]}]} for left in (0, 640))
STREAMS: dict[str, dict[str, Any]] = {
    "half of it": {"a": _LEFT},
    "both halves": {"a": _LEFT, "b": _RIGHT},
    "the picture": {"a": {"topic": _TOPIC}},
    "the picture and both halves": {"a": {"topic": _TOPIC}, "b": _LEFT, "c": _RIGHT},
}


def cost(recording: Path, streams: dict[str, Any]) -> float:
    """Return the least processor time of a frame, in milliseconds, in one thread."""
    config = recording.with_name("config.yaml")
    values = {"source": {"path": str(recording)}, "timeline": {"from": "a"}, "threads": 1, "streams": streams}
    config.write_text(yaml.safe_dump(values, sort_keys=False))
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        frames = sum(1 for _ in streamer.open(config).frames())
        rounds.append((time.process_time() - began) / frames * 1e3)
    return min(rounds)


def main() -> None:
    """Print the table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "take.bag"
        make(recording, _WORK)
        sys.stdout.write("| streams of one JPEG of 1280×720 | ms |\n| --- | ---: |\n")
        for what, streams in STREAMS.items():
            sys.stdout.write(f"| {what} | {cost(recording, streams):.3f} |\n")


if __name__ == "__main__":
    main()
