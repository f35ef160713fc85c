"""Videos copied against videos encoded, by the same consumers, in turn: ``python -m tests.speed.passthrough``.

A camera of 640×480 at 30 Hz, recorded as H.264 (x264, a key picture every 30). ``stream`` is the time from the plan to
the last output, without the start of the processes::

    python -m tests.speed.passthrough [--seconds 60] [--rounds 3] [--chunk-size 100]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bags import record
from tests.pipeline.driver import run
from tests.videos import FOXGLOVE, encode, pictures, video

SIZE, HZ = (640, 480), 30
LEROBOT = {"task": "x", "features": {"observation.images.front": "front"}}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "video, codec: copy": ("video", {"codec": "copy"}),
    "video, as it is without (h264)": ("video", {}),
    "lerobot, codec: copy": ("lerobot", LEROBOT | {"codec": "copy"}),
    "lerobot, as it is without (libsvtav1)": ("lerobot", LEROBOT),
}


def main() -> None:
    """Measure and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk-size", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        still = pictures(300, SIZE)
        images = (still[n % len(still)] for n in range(HZ * given.seconds))
        packets = encode("libx264", images, {"preset": "veryfast", "bf": "0"}, gop=30)
        record(folder / "take", "mcap", video("/front", "cdr", FOXGLOVE, "h264", packets))
        best = dict.fromkeys(WAYS, float("inf"))
        for number in range(given.rounds):
            for place, (way, (use, options)) in enumerate(WAYS.items()):
                own = folder / f"{number}-{place}"
                best[way] = min(best[way], _stream(own, folder / "take", use, options, given.chunk_size))
    sys.stdout.write(
        f"| {len(packets)} pictures of {SIZE[0]}×{SIZE[1]} | s | pictures/s | |\n| --- | ---: | ---: | ---: |\n"
    )
    for way, seconds in best.items():
        ratio = best[next(w for w in WAYS if w.split(",")[0] == way.split(",")[0])]
        sys.stdout.write(f"| {way} | {seconds:.2f} | {len(packets) / seconds:.0f} | {seconds / ratio:.1f} × |\n")


def _stream(folder: Path, recording: Path, use: str, options: dict[str, Any], chunk_size: int) -> float:
    config = {
        "source": {"path": str(recording)},
        "timeline": {"from": "front"},
        "chunk_size": chunk_size,
        "streams": {"front": {"topic": "/front"}},
        "consumers": {use: {"options": options | {"out": "out"}}},
    }
    done = run(folder, config)
    if done.code:
        sys.exit(str(done))
    return float(done.report["seconds"]["stream"])


if __name__ == "__main__":
    main()
