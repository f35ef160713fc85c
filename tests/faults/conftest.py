"""What the tests of faults share: a recording of numbers, what an undisturbed run makes of it, and a clean end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.bags import START, numbers, record
from tests.faults.harness import Config, processes, what_is_left
from tests.pipeline.driver import digests, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAMES = 60


def on_numbers(path: Path, frames: int) -> Config:
    """Return a configuration on a recording, made here, of which frame n is the number n: chunks of 5, 10 slots."""
    made = record(path, "ros1", numbers("/n", range(START, START + frames * 10**6, 10**6)))
    return {
        "source": {"path": str(made)},
        "timeline": {"from": "n"},
        "chunk_size": 5,
        "pool": "42 kB",
        "streams": {"n": {"topic": "/n", "field": "data"}},
        "consumers": {"digest": {"use": "checksum", "options": {"out": "digest.json"}}},
    }


@pytest.fixture(scope="session")
def _undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    config = on_numbers(folder / "numbers", FRAMES)
    finished = run(folder, config)
    assert finished.code == 0, finished
    return config, digests(folder / "digest.json")


@pytest.fixture
def config(_undisturbed: tuple[Config, dict[str, Any]]) -> Config:
    """Return a configuration with one checksum: 60 frames in 12 chunks, in a pool of 10 slots."""
    config = _undisturbed[0]
    return config | {"consumers": dict(config["consumers"])}


@pytest.fixture
def expected(_undisturbed: tuple[Config, dict[str, Any]]) -> dict[str, Any]:
    """Return the digests of an undisturbed run."""
    return _undisturbed[1]


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Fail a test whose runs leave a process, a socket, a half-written file or a name in /dev/shm."""
    yield
    try:
        wait_until(lambda: not what_is_left(tmp_path), "an end without traces")
    except TimeoutError:
        left = what_is_left(tmp_path)
        for process in processes(tmp_path):
            process.kill()
        pytest.fail(f"left behind: {left}")
