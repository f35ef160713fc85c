"""What cutting costs: fifty episodes of four seconds beside one run over the same seconds, measured in turns."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import pytest

from streamer.demo import Workload, make
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

EPISODES, SECONDS = 50, 4
ROUNDS = 3
MOST = 1.15


def _config(path: Path, **more: Any) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "head", "rate": "10 Hz"},
        "chunk_size": 10 * SECONDS,
        "streams": {
            "head": {"topic": "/camera_0/image_raw/compressed"},
            "arm": {"topic": "/joints_0", "field": "position"},
        },
        **more,
    }


def _seconds(folder: Path, config: dict[str, Any]) -> float:
    """Return the processor time of a whole run, of all its processes: what other work there is does not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(folder, config, "--restart")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code == 0, done
    assert done.report["frames"]["delivered"] >= EPISODES * SECONDS * 10 * 0.97
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_fifty_episodes_cost_little_more_than_one_run_over_the_same_seconds(tmp_path: Path) -> None:
    work = Workload(
        cameras=1,
        width=640,
        height=480,
        hz=10.0,
        image="jpeg",
        joint_topics=1,
        joint_hz=50.0,
        seconds=EPISODES * SECONDS,
    )
    make(tmp_path / "long.bag", work)
    one = _config(tmp_path / "long.bag", consumers={"checksum": {"options": {"out": "one.json"}}})
    cut = {"episodes": {"every": f"{SECONDS} s"}, "consumers": {"checksum": {"options": {"out": "cut/{episode}.json"}}}}
    many = _config(tmp_path / "long.bag", **cut)
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    found = [(_seconds(tmp_path / "one", one), _seconds(tmp_path / "many", many)) for _ in range(ROUNDS)]
    whole, parts = (min(times) for times in zip(*found, strict=True))
    assert len(list((tmp_path / "many" / "cut").iterdir())) == EPISODES
    assert parts <= MOST * whole, found
