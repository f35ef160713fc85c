"""Consumers that hold or gain too much: recycled within bounds, named in the report, and all of it is given back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from streamer.config.load import load
from streamer.memory import anonymous
from streamer.pipelines.run import run as run_here
from tests.faults.harness import Config, processes
from tests.pipeline.driver import ROOT, digests, run

if TYPE_CHECKING:
    import pytest

    from streamer.runtime.messages import Planned

LEAK_LINE = next(
    n for n, text in enumerate((ROOT / "configs" / "leaking.py").read_text().splitlines(), 1) if "append" in text
)


def test_the_example_leaks_over_500_chunks_in_bounded_memory_and_its_report_says_so(
    tmp_path: Path, config: Config
) -> None:
    shutil.copy(ROOT / "configs" / "leaking.py", tmp_path)
    leaking = yaml.safe_load((ROOT / "configs" / "leak.yaml").read_text())["consumers"]["leaking"]
    numbers = {"from": "grid", "rate": "10000 Hz"}
    streams = {"n": {"topic": "/n", "field": "data", "align": "previous"}}
    small = config | {"timeline": numbers, "streams": streams, "chunk_size": 1}
    small["consumers"] = {"leaking": leaking, "digest": config["consumers"]["digest"]}
    finished = run(tmp_path, small)
    assert finished.code == 0, finished
    told = finished.report["consumers"]["leaking"]
    assert told["chunks"] == told["frames"] == finished.report["frames"]["delivered"] >= 500
    assert told["restarts"]["crash"] == 0
    assert told["restarts"]["planned"] >= told["chunks"] * 10 // 400
    memory = told["memory"]
    assert memory["verdict"] == "leaking"
    assert 10 < memory["mb_per_chunk"] < 12
    planned = [life for life in memory["generations"] if life["ended"] == "planned"]  # the last one ends with the run
    assert len(planned) == told["restarts"]["planned"] >= len(memory["generations"]) - 2
    peaks = sorted(life["peak_mb"] for life in planned)
    assert 300 < peaks[len(peaks) // 2] < 450  # a pool of ten chunks may be on its way to it when it is told to end
    assert memory["peak_mb"] < 550  # another where a busy machine lets the supervisor wait
    assert memory["returned_mb"] > 300 * told["restarts"]["planned"]
    assert memory["handover_ms"]["median"] > 0
    for life in planned:
        worst = life["growing_lines"][0]
        assert (Path(worst["file"]).name, worst["line"]) == ("leaking.py", LEAK_LINE)
        assert worst["mb"] > 200
    healthy = finished.report["consumers"]["digest"]["memory"]
    assert healthy["verdict"] == finished.report["reader"]["memory"]["verdict"] == "stable"


def test_one_that_grows_is_recycled_by_its_trend_and_changes_no_output(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    shutil.copy(ROOT / "configs" / "leaking.py", tmp_path)
    grown = {"use": "leaking:Leaking", "recycle": {"growth": "8 MB"}}
    steady = {"use": "checksum", "options": {"out": "steady.json"}, "recycle": {"growth": "8 MB", "memory": "900 MB"}}
    config["consumers"] |= {"grown": grown, "steady": steady}
    finished = run(tmp_path, config, "chunk_size=3")
    assert finished.code == 0, finished
    told = finished.report["consumers"]["grown"]
    assert told["restarts"]["planned"] in (1, 2)  # of 20 chunks: a trend is sure after 8, and some are under way then
    assert told["restarts"]["crash"] == 0
    assert (told["memory"]["verdict"], told["frames"]) == ("leaking", 60)
    assert finished.report["consumers"]["steady"]["restarts"] == {"planned": 0, "crash": 0}
    assert digests(tmp_path / "steady.json") == expected


def test_a_limit_that_a_fresh_process_exceeds_is_the_configurations_fault(tmp_path: Path, config: Config) -> None:
    config["consumers"]["tight"] = {"use": "null", "recycle": {"memory": "5 MB"}}
    finished = run(tmp_path, config)
    assert finished.code == 78, finished
    last = finished.err.strip().splitlines()[-1]
    for words in ("consumers.tight.recycle.memory: 5 MB is too low", "a fresh process holds", "MB or more"):
        assert words in last
    assert finished.report["consumers"]["tight"]["generations"] <= 4  # no storm


def test_a_run_gives_all_memory_back(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervised from here: what this process holds more, and whoever is left, is what the run has kept."""
    shutil.copy(ROOT / "configs" / "leaking.py", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config["pool"] = "100 MB"
    config["consumers"]["leaking"] = {"use": "leaking:Leaking", "recycle": {"chunks": 4}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    loaded = load(tmp_path / "config.yaml", ())
    run_here(loaded, "restart", _Silent())  # what is imported and cached once is no leak
    before, open_before = anonymous(), _open_files()
    found = run_here(loaded, "restart", _Silent())
    after, open_after = anonymous(), _open_files()
    assert found.exit_code == 0
    assert found.as_json()["consumers"]["leaking"]["memory"]["returned_mb"] > 50
    assert after - before < 10 * 10**6
    assert open_after == open_before
    assert processes(tmp_path) == []


class _Silent:
    """An observer that shows nothing."""

    def planned(self, plan: Planned, recording: str = "") -> None:
        """Show nothing."""

    def progress(self, values: dict[str, Any]) -> None:
        """Show nothing."""

    def note(self, text: str, **about: Any) -> None:
        """Show nothing."""


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_memray_records_each_process_where_it_is_installed_and_is_asked_for_where_it_is_not(
    tmp_path: Path, config: Config
) -> None:
    config["consumers"]["digest"] |= {"memray": "records", "recycle": {"chunks": 7}}
    finished = run(tmp_path, config)
    try:
        import memray
    except ImportError:
        assert finished.code == 78, finished
        assert "rosbag-streamer[memray]" in finished.err
        return
    assert finished.code == 0, finished
    names = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert names == ["digest.1.memray", "digest.2.memray"]
    with memray.FileReader(tmp_path / "records" / "digest.1.memray") as reader:
        assert reader.metadata.total_allocations > 0
