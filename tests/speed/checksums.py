"""Raw pictures in MCAP, one a chunk and nine → what ``source.verify`` costs: ``python -m tests.speed.checksums``.

300 frames of three cameras, 640×480 in colours (0.8 GB), from the page cache, decoded in one process without consumers:
the most that checksums can weigh, as nothing else is done with the pixels.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from mcap.writer import CompressionType, Writer

import streamer
from tests.bags import IMAGE, encoded, store

_ROUNDS = 7
_CAMERAS = 3
_FRAMES = 300
_CONFIG = """
source: {{path: {path}, verify: {verify}}}
timeline: {{rate: 30 Hz}}
streams: {{c0: {{topic: /c0}}, c1: {{topic: /c1}}, c2: {{topic: /c2}}}}
"""


def write(path: Path, chunk: int) -> None:
    """Write a recording of noise, uncompressed, with checksums."""
    pixels = np.random.default_rng(0).integers(0, 255, 480 * 640 * 3, dtype=np.uint8)
    data = encoded("cdr", IMAGE, height=480, width=640, step=1920, encoding="rgb8", data=pixels)
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk, compression=CompressionType.NONE)
        writer.start()
        text, _ = store("cdr").generate_msgdef(IMAGE, ros_version=2)
        schema = writer.register_schema(IMAGE, "ros2msg", text.encode())
        channels = [writer.register_channel(f"/c{n}", "cdr", schema) for n in range(_CAMERAS)]
        for frame in range(_FRAMES):
            for channel in channels:
                writer.add_message(channel, frame * 33_000_000, data, frame * 33_000_000)
        writer.finish()  # type: ignore[no-untyped-call]


def seconds(path: Path, *, verify: bool) -> float:
    """Read all frames once."""
    config = path.with_suffix(".yaml")
    config.write_text(_CONFIG.format(path=path, verify=str(verify).lower()))
    start = time.perf_counter()
    for _ in streamer.open(config).frames():
        pass
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        for name, chunk in (("one picture a chunk", 500_000), ("nine pictures a chunk", 8_000_000)):
            path = Path(folder) / "raw.mcap"
            write(path, chunk)
            seconds(path, verify=True)
            found: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(_ROUNDS):
                for verify, times in found.items():
                    times.append(seconds(path, verify=verify))
            with_, without = median(found[True]), median(found[False])
            sys.stdout.write(f"{name}: {with_:.3f} s, without {without:.3f} s, +{100 * (with_ / without - 1):.0f} %\n")


if __name__ == "__main__":
    main()
