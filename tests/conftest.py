"""What all tests share: recordings, a configuration to begin from, and a guard against processes left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import settings

from streamer.demo import Workload, make
from tests import tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

settings.register_profile("same", derandomize=True)  # a change is judged by what it changes, and not by chance
settings.register_profile("search", max_examples=2000, print_blob=True)  # other examples each time
settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)  # before those that are not wanted are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that are listed as slow."""
    tiers.mark(items, whole=config.args == config.getini("testpaths"))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Return the folder of real recordings, which lies beside the project and not in it."""
    folder = Path(os.environ.get("STREAMER_RECORDINGS", ROOT.parent / "shared" / "bags"))
    if not folder.is_dir():
        pytest.skip(f"needs the folder of real recordings {folder} (or STREAMER_RECORDINGS)")
    return folder


@pytest.fixture(autouse=True)
def nobody_left_behind() -> Iterator[None]:
    """Fail a test that leaves a child process, and end what it left."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    lines = [f"{child.pid} {' '.join(child.cmdline())}" for child in left if child.is_running()]
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=60)
    assert not lines, f"processes left behind: {lines}"


def _small(folder: Path, seed: int) -> Path:
    path = folder / "small.bag"
    work = Workload(
        cameras=1, width=160, height=120, hz=30, image="jpeg", joint_topics=1, joint_hz=100, seconds=4, seed=seed
    )
    make(path, work)
    return path


@pytest.fixture(scope="session")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three recordings of a second or less."""
    from tests.pipeline.takes import make_takes

    return make_takes(tmp_path_factory.mktemp("takes"))


@pytest.fixture(scope="session")
def small_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of 4 s: one JPEG camera at 30 Hz (120 frames) and joints at 100 Hz."""
    return _small(tmp_path_factory.mktemp("recordings"), 1)


@pytest.fixture(scope="session")
def other_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag like `small_bag` with other content."""
    return _small(tmp_path_factory.mktemp("recordings"), 2)


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
