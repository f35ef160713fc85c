"""Every frame reaches every consumer once and in order, whatever the chunks, the pool and the recycling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.driver import digests, run
from tests.pipeline.probes import Recorder

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]


def test_every_frame_arrives_once_and_in_order_at_every_consumer(tmp_path: Path, config: Config) -> None:
    config["consumers"] |= {
        "all": {"use": "tests.pipeline.probes:Recorder", "options": {"out": "all"}},
        "third": {"use": "tests.pipeline.probes:Recorder", "options": {"out": "third"}, "every": 3},
        "function": {"use": "tests.pipeline.probes:count", "options": {"out": "function.txt"}},
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert Recorder.read(tmp_path / "all") == list(range(40))
    assert Recorder.read(tmp_path / "third") == list(range(0, 40, 3))
    assert [int(n) for n in (tmp_path / "function.txt").read_text().split()] == list(range(40))
    report = finished.report
    assert report["frames"] == {"planned": 40, "delivered": 40, "skipped": {}, "remaining": 0}
    assert {name: c["frames"] for name, c in report["consumers"].items()} == {
        "digest": 40,
        "all": 40,
        "third": 14,
        "function": 40,
    }
    assert report["consumers"]["all"]["chunks"] == 8
    assert report["streams"]["joints"]["interpolated"] > 0
    assert set(report["seconds"]) == {"open", "plan", "stream"}
    assert 0 < report["pool"]["peak_mb"] <= report["pool"]["allocated_mb"] <= report["pool"]["budget_mb"] == 0.62
    assert all(0 < c["anon_mb"]["start"] <= c["anon_mb"]["peak"] for c in report["consumers"].values())
    assert finished.report["reader"]["loads"] == 40  # decoded once for all


def test_a_consumer_is_opened_committed_and_closed_as_the_contract_says(tmp_path: Path, config: Config) -> None:
    config["consumers"] = {
        "all": {"use": "tests.pipeline.probes:Recorder", "options": {"out": "all"}, "recycle": {"chunks": 3}}
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    calls = [line.split(" ", 1) for line in (tmp_path / "all" / "calls.txt").read_text().splitlines()]
    assert [text for _, text in calls] == [
        "open None",
        *(f"chunk {n} {5 * n} {5 * n + 4} 5" for n in range(3)),
        "open {'last': 2}",
        *(f"chunk {n} {5 * n} {5 * n + 4} 5" for n in range(3, 6)),
        "open {'last': 5}",
        *(f"chunk {n} {5 * n} {5 * n + 4} 5" for n in range(6, 8)),
        "close",
    ]
    assert len(dict.fromkeys(pid for pid, _ in calls)) == 3
    assert finished.report["consumers"]["all"]["restarts"] == {"planned": 2, "crash": 0}
    assert finished.report["consumers"]["all"]["generations"] == 3


def test_recycling_at_every_chunk_changes_no_digest(tmp_path: Path, config: Config) -> None:
    config["consumers"]["fresh"] = {
        "use": "checksum",
        "options": {"out": "fresh.json"},
        "recycle": {"chunks": 1},
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert digests(tmp_path / "fresh.json") == digests(tmp_path / "digest.json")
    assert digests(tmp_path / "fresh.json")["frames"] == 40
    assert finished.report["consumers"]["fresh"]["restarts"] == {"planned": 7, "crash": 0}


@pytest.mark.parametrize(
    "changes",
    [
        ["chunk_size=7"],
        pytest.param(["chunk_size=1000"], marks=pytest.mark.slow),
        ["pool=70 kB"],
        ["threads=1", "pool=5 MB"],
    ],
)
def test_neither_chunk_size_nor_pool_nor_threads_change_a_digest(
    tmp_path: Path, config: Config, changes: list[str]
) -> None:
    assert run(tmp_path / "a", config).code == 0
    finished = run(tmp_path / "b", config, *changes)
    assert finished.code == 0, finished
    assert digests(tmp_path / "a" / "digest.json") == digests(tmp_path / "b" / "digest.json")


def test_a_latest_consumer_never_holds_the_others_up(tmp_path: Path, config: Config) -> None:
    """The gate of the latest one opens only when the lossless one has seen everything."""
    config["consumers"] = {
        "all": {"use": "tests.pipeline.probes:Recorder", "options": {"out": "all"}},
        "glance": {
            "use": "tests.pipeline.probes:Gate",
            "options": {"folder": ".", "at": 0},
            "mode": "latest",
            "streams": ["joints"],
        },
    }
    config["pool"] = "130 kB"
    from tests.pipeline.driver import start, wait_until

    with start(tmp_path, config) as running:
        wait_until(lambda: len(Recorder.read(tmp_path / "all")) == 40, "the lossless consumer")
        (tmp_path / "go").touch()
        finished = running.end()
    assert finished.code == 0, finished
    assert finished.report["consumers"]["glance"]["frames"] <= 40
    assert finished.report["frames"]["delivered"] == 40


def test_a_consumer_is_shown_only_the_streams_it_asks_for(tmp_path: Path, config: Config) -> None:
    config["consumers"]["digest"]["streams"] = ["joints"]
    assert run(tmp_path, config).code == 0
    assert list(digests(tmp_path / "digest.json")["streams"]) == ["joints"]


def test_a_recording_without_a_frame_is_done_at_once(tmp_path: Path, config: Config) -> None:
    config["timeline"]["skip"] = 30
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json")["frames"] == 0
    assert "no frame" in finished.err
