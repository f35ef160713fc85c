"""Chunks of 50 MB that do not compress: the reader's own memory stays below 200 MB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from streamer.memory import anonymous
from tests.bags import START, Message, encoded, record
from tests.pipeline.driver import digests, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = "sensor_msgs/msg/Image"
FRAMES, CAMERAS = 50, 3
CHUNK, MOST = 50_000_000, 200_000_000


def messages(encoding: str) -> Iterator[Message]:
    noise = np.random.default_rng(0)
    for number in range(FRAMES):
        for camera in range(CAMERAS):
            pixels = noise.integers(0, 256, 480 * 640 * 3, np.uint8)
            values = {"height": 480, "width": 640, "step": 1920, "encoding": "rgb8", "data": pixels}
            at = START + number * 33_000_000 + camera
            yield Message(f"/camera_{camera}", at, encoded(encoding, IMAGE, **values), IMAGE)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mcap-zstd", "ros1-lz4"])
def test_a_reader_of_large_compressed_chunks_stays_small(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "large", form, messages("ros1" if form.startswith("ros1") else "cdr"), chunk=CHUNK)
    assert sum(file.stat().st_size for file in [path, *path.rglob("*")]) > 0.9 * FRAMES * CAMERAS * 921_600
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "camera_0", "rate": "10 Hz"},
        "chunk_size": 5,
        "pool": "64 MB",
        "threads": 2,
        "streams": {f"camera_{n}": {"topic": f"/camera_{n}"} for n in range(CAMERAS)},
        "consumers": {"digest": {"use": "checksum", "options": {"out": "digest.json"}}},
    }
    most = 0
    with start(tmp_path, config) as running:
        while running.process.poll() is None:
            try:
                most = max(most, anonymous(running.children()["reader"].pid))
            except (KeyError, OSError, psutil.Error):  # not there yet, or no longer
                time.sleep(0.001)
        assert running.end().code == 0
    assert digests(tmp_path / "digest.json")["frames"] > 10
    assert 0 < most < MOST, f"{most / 1e6:.0f} MB"
    print(f"{form}: {most / 1e6:.0f} MB")  # noqa: T201 - the result
