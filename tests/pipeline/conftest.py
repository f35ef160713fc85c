"""A small recording and the configuration that the pipeline tests begin from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.demo import Workload, make

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def small_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of 4 s: one JPEG camera at 30 Hz (120 frames) and joints at 100 Hz."""
    path = tmp_path_factory.mktemp("recordings") / "small.bag"
    work = Workload(
        cameras=1, width=160, height=120, hz=30, image="jpeg", joint_topics=1, joint_hz=100, seconds=4, seed=1
    )
    make(path, work)
    return path


@pytest.fixture
def config(small_bag: Path) -> dict[str, Any]:
    """Return a configuration with one checksum: 40 frames in 8 chunks, in a pool of 10 slots."""
    return {
        "source": {"path": str(small_bag)},
        "timeline": {"from": "camera", "rate": "10 Hz"},
        "chunk_size": 5,
        "pool": "620 kB",
        "streams": {
            "camera": {"topic": "/camera_0/image_raw/compressed"},
            "joints": {"topic": "/joints_0", "field": "position", "align": "linear"},
        },
        "consumers": {"digest": {"use": "checksum", "options": {"out": "digest.json"}}},
    }
