"""Consumers that are slow, that want only the newest, or that keep arrays: no memory is used again under anyone.

One that keeps an array by mistake is ended and named: tests/pipeline/test_bad_input.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults.harness import MISFITS, Config, cursors, let_go, reached
from tests.pipeline.driver import digests, run, start, wait_until
from tests.pipeline.probes import Recorder

if TYPE_CHECKING:
    from pathlib import Path


def keeping(name: str, most: int, **settings: object) -> Config:
    options = {"out": name, "most": most, "times": settings.pop("times", 0)}
    return {"use": f"{MISFITS}Keeping", "options": options, "escape": "warn", "on_failed": "isolate"} | settings


def test_a_slow_lossless_consumer_holds_back_a_fast_one_by_a_pool_and_never_a_latest_one_by_a_frame(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"]["slow"] = {
        "use": f"{MISFITS}Waiting",
        "options": {"out": "slow.json", "places": ["on_frame 17"]},
    }
    config["consumers"]["fast"] = {"use": f"{MISFITS}Numbers", "options": {"out": "fast", "at": []}}
    config["consumers"]["glance"] = {
        "use": f"{MISFITS}Numbers",
        "options": {"out": "glance", "at": []},
        "mode": "latest",
    }
    with start(tmp_path, config) as running:
        reached(tmp_path, "slow")
        wait_until(lambda: cursors(tmp_path).get("fast", 0) >= 3, "the fast one")
        wait_until(lambda: cursors(tmp_path).get("glance", 0) >= 3, "the latest one")
        assert cursors(tmp_path)["slow"] == 3
        assert cursors(tmp_path)["fast"] <= 5  # frame 26 is the last for which there can be a slot
        let_go(tmp_path, "slow")
        finished = running.end()
    assert finished.code == 0, finished
    assert Recorder.read(tmp_path / "fast") == list(range(60))
    glanced = Recorder.read(tmp_path / "glance")
    assert glanced == sorted(set(glanced))
    assert digests(tmp_path / "slow.json") == digests(tmp_path / "digest.json") == expected


def test_what_is_kept_is_lent_up_to_the_credit_and_stays_as_it_is(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    """Those that let go in time see all frames, even one at a time; one that never lets go is named."""
    config["consumers"] |= {
        "two": keeping("two", 2),
        "seven": keeping("seven", 7, recycle={"chunks": 3}),
        "trial": keeping("trial", 2, times=2, deadline="20 s"),
        "glance": keeping("glance", 1, mode="latest", deadline="20 s"),
        "ever": keeping("ever", 1000),
    }
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    report = finished.report["consumers"]
    for name in ("two", "seven", "trial"):
        assert report[name]["failed"] is None, finished
        assert Recorder.read(tmp_path / name) == list(range(60))
        assert report[name]["escaped"] >= 60
    assert report["trial"]["restarts"]["crash"] == 2
    assert report["two"]["restarts"]["crash"] == report["seven"]["restarts"]["crash"] == 0
    assert report["glance"]["failed"] is None
    assert report["glance"]["restarts"]["crash"] == 0
    assert "on_frame kept an array (or a view) of stream 'n' of frame 8, and so of 9 frames" in report["ever"]["failed"]
    assert "keep copies" in report["ever"]["failed"]
    assert "lent to it until it lets go" in (tmp_path / ".streamer" / "logs" / "two.log").read_text()
    assert digests(tmp_path / "digest.json") == expected
