"""Video topics through the real command: PyAV's pictures, with recycling, several consumers and a resumed run."""

from __future__ import annotations

import hashlib
import signal
from typing import TYPE_CHECKING

from tests.bags import START, record
from tests.pipeline.driver import digests, run, start, wait_until
from tests.videos import FFMPEG, FOXGLOVE, PERIOD, decoded, encode, pictures, video

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

FRAMES = 40


def chain(images: Mapping[int, NDArray[np.uint8]], every: int = 1) -> str:
    """Give the digest that `checksum` describes."""
    digest = bytes(32)
    for number in range(0, FRAMES, every):
        stamp = (START + number * PERIOD).to_bytes(8, "little", signed=True)
        image = images[number]
        about = f"{image.dtype.str} {image.shape}".encode()
        digest = hashlib.sha256(digest + stamp + stamp + about + image.tobytes()).digest()
    return digest.hex()


def test_pictures_of_videos_are_the_same_however_a_run_is_interrupted(tmp_path: Path) -> None:
    images = pictures(FRAMES), pictures(FRAMES, (128, 80), seed=1)
    h264 = encode("libx264", images[0], {"preset": "veryfast"}, gop=15)
    hevc = encode("libx265", images[1], {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0"}, gop=12)
    messages = [*video("/a", "cdr", FFMPEG, "libx264", h264), *video("/b", "cdr", FOXGLOVE, "h265", hevc)]
    path = record(tmp_path / "bag", "mcap", sorted(messages, key=lambda message: message.stamp), chunk=20_000)
    gate = {"use": "tests.pipeline.probes:Gate", "options": {"folder": str(tmp_path), "at": 18}}
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "a"},
        "chunk_size": 4,
        "streams": {"a": {"topic": "/a"}, "b": {"topic": "/b"}},
        "consumers": {
            "gate": gate,
            "all": {"use": "checksum", "options": {"out": "all.json"}, "recycle": {"chunks": 2}},
            "thin": {"use": "checksum", "options": {"out": "thin.json"}, "every": 3},
        },
    }
    with start(tmp_path, config) as running:
        wait_until((tmp_path / "here").exists)
        running.signal(signal.SIGKILL)  # the order to drain might reach the reader behind its last frame
        assert running.end().code != 0
    (tmp_path / "go").touch()
    done = run(tmp_path, config, "--resume")
    assert done.code == 0, done
    right = decoded("h264", h264), decoded("hevc", hevc)
    for name, every in (("all", 1), ("thin", 3)):
        found = digests(tmp_path / f"{name}.json")
        assert found["streams"] == {"a": chain(right[0], every), "b": chain(right[1], every)}, done
