"""Small recordings of which frame n is a number, each with its own, and a daemon's configuration for them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bags import START, Message, encoded, record
from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAMES, CHUNK = 60, 5
_PAYLOAD = 2048  # bytes a message, as noise: both ends of a file tell it from the others
_IMAGE = "sensor_msgs/msg/Image"


def make(path: Path, seed: int, frames: int = FRAMES, form: str = "ros1") -> Path:
    """Write a recording of so many frames; ``seed`` decides what is in it."""
    return record(path, form, messages(seed, frames, "ros1" if form.startswith("ros1") else "cdr"), chunk=1 << 14)


def messages(seed: int, frames: int, encoding: str) -> Iterator[Message]:
    """Give its messages."""
    noise = np.random.default_rng(seed)
    for n in range(frames):
        pixels = noise.integers(0, 256, _PAYLOAD, np.uint8)
        values = {"height": 1, "width": _PAYLOAD, "step": _PAYLOAD, "encoding": "mono8", "data": pixels}
        yield Message("/n", START + n * 10**6, encoded(encoding, _IMAGE, **values), _IMAGE)


def settings(watched: Path, **source: object) -> dict[str, Any]:
    """Return a configuration: one digest for each recording, quick to settle."""
    quick = {"watch": str(watched), "settle": "300 ms", "scan": "1 s", "backoff": "100 ms"}
    return {
        "source": quick | source,
        "timeline": {"from": "n"},
        "chunk_size": CHUNK,
        "pool": "64 kB",
        "free_space": "1 MB",
        "streams": {"n": {"topic": "/n"}},
        "consumers": {"digest": {"use": "checksum", "options": {"out": "out/{recording}.json"}}},
    }


def expected(folder: Path, recording: Path) -> dict[str, Any]:
    """Return the digest that an undisturbed run finds."""
    config = settings(folder) | {"source": {"path": str(recording)}}
    del config["free_space"]
    finished = run(folder, config, "--restart")
    assert finished.code == 0, finished
    found = digests(folder / "out" / f"{recording.stem}.json")
    shutil.rmtree(folder)
    return found
