"""LeRobot episodes → what merging them costs each: ``python -m tests.speed.merging 64 1000``.

Five frames an episode, one small camera, h264. Processor time of the merging alone: the shares are there before.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from consumers.lerobot import LeRobot
from streamer.contract import Part
from tests.consumers.test_lerobot import options
from tests.consumers.test_outputs import frame, recording

_FRAMES = 5


def merged(folder: Path, count: int) -> float:
    """Return the seconds of processor that merging ``count`` episodes takes."""
    parts = []
    chosen: dict[str, Any] = options(folder / "set", codec="h264")
    for number in range(count):
        about = dataclasses.replace(
            recording(_FRAMES), name=f"r{number}", provenance={"fingerprint": number}, part=True
        )
        consumer = LeRobot(**chosen)
        consumer.open(about, None)
        for n in range(_FRAMES):
            consumer.on_frame(frame(n))
        state = consumer.on_chunk(type("Chunk", (), {"number": 0}))  # type: ignore[arg-type] # a number is all it takes
        consumer.close(about)
        parts.append(Part(about.name, about.path, state))
    began = time.process_time()
    LeRobot(**chosen).merge(parts)
    return time.process_time() - began


if __name__ == "__main__":
    sys.stdout.write("| episodes | merging, processor | an episode |\n| ---: | ---: | ---: |\n")
    for wanted in [int(word) for word in sys.argv[1:]] or [64, 1000]:
        with tempfile.TemporaryDirectory() as name:
            seconds = merged(Path(name), wanted)
            sys.stdout.write(f"| {wanted} | {seconds:.1f} s | {seconds / wanted * 1e3:.0f} ms |\n")
            sys.stdout.flush()
