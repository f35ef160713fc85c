"""What the speeds and codecs of `lerobot` cost, in turn: ``python -m tests.speed.encoding``.

Three JPEG cameras of 640×480 at 30 Hz through ``streamer run``, reading and decoding included. ``PSNR`` is of the first
camera's pictures against those that were decoded from the recording; ``stream`` is the time from the plan to the last
output, ``processor`` what all processes took of the cores, which other work on the machine changes less. In
short recordings the start of the processes weighs more::

    python -m tests.speed.encoding [--seconds 10] [--rounds 2] [--only balanced fastest]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

import streamer
from streamer.demo import Workload, make
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAMERAS, HZ, SAMPLES = 3, 30, 20
WAYS: dict[str, dict[str, Any]] = {
    "balanced (AV1, gop 2)": {},
    "balanced, encoder_threads: 2": {"encoder_threads": 2},
    "fast (AV1, gop 30)": {"speed": "fast"},
    "codec: h264 (gop 2, x264 medium)": {"codec": "h264", "quality": 23},
    "fast, codec: h264 (veryfast)": {"codec": "h264", "speed": "fast", "quality": 23},
    "fastest (H.264, ultrafast)": {"speed": "fastest"},
}


def main() -> None:
    """Measure and print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="the ways that begin so, each")
    given = parser.parse_args()
    ways = {way: options for way, options in WAYS.items() if way.startswith(tuple(given.only))}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = Workload(
            cameras=CAMERAS, width=640, height=480, hz=HZ, image="jpeg", joint_topics=0, seconds=given.seconds
        )
        make(folder / "take.bag", work)
        found: dict[str, tuple[float, float, float, float]] = {}
        for number in range(given.rounds):
            for place, (way, options) in enumerate(ways.items()):
                seconds, own, size, quality = _measure(folder, folder / f"{number}-{place}", options)
                best = found.get(way, (seconds, own))
                found[way] = min(seconds, best[0]), min(own, best[1]), size, quality
    usual = next(iter(found.values()))
    sys.stdout.write("| `lerobot` | time | processor | size | PSNR |\n| --- | ---: | ---: | ---: | ---: |\n")
    for way, (seconds, own, size, quality) in found.items():
        ratios = " | ".join(f"{a / b:.2f}" for a, b in zip((seconds, own, size), usual[:3], strict=True))
        sys.stdout.write(f"| {way} | {ratios} | {quality:.1f} dB |\n")
    sys.stdout.write(
        f"\n{next(iter(found))}: {usual[0]:.1f} s, {usual[1]:.1f} s of processor, {usual[2] / 1e6:.1f} MB\n"
    )


def _measure(folder: Path, own: Path, options: dict[str, Any]) -> tuple[float, float, float, float]:
    features = {f"observation.images.camera_{n}": f"camera_{n}" for n in range(CAMERAS)}
    config = {
        "source": {"path": str(folder / "take.bag")},
        "timeline": {"from": "camera_0", "rate": f"{HZ} Hz", "end": "timeline"},
        "chunk_size": 100,
        "pool": "100 MB",
        "streams": {f"camera_{n}": {"topic": f"/camera_{n}/image_raw/compressed"} for n in range(CAMERAS)},
        "consumers": {"lerobot": {"options": {"out": "set", "task": "x", "features": features} | options}},
    }
    before = processor()
    done = run(own, config)
    spent = processor() - before
    if done.code:
        sys.exit(str(done))
    films = sorted((own / "set" / "videos").rglob("*.mp4"))
    quality = _psnr(own / "config.yaml", films[0])
    return float(done.report["seconds"]["stream"]), spent, sum(film.stat().st_size for film in films), quality


def processor() -> float:
    """Return what processes that have ended took of the cores, with the processes that these waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _psnr(config: Path, film: Path) -> float:
    """Compare some of the pictures in a film with those of the recording."""
    errors: list[float] = []
    with av.open(str(film)) as file:
        shown = file.decode(video=0)
        for frame, _ in zip(streamer.open(config).frames(), range(SAMPLES), strict=False):
            picture: NDArray[Any] = next(shown).to_ndarray(format="rgb24")
            errors.append(float(np.mean((picture.astype(float) - frame["camera_0"]) ** 2)))
    return float(10 * np.log10(255**2 / np.mean(errors)))


if __name__ == "__main__":
    main()
