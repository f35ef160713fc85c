"""``streamer memory``: the report of a run, read for its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from streamer.cli.memory import _draw
from tests.pipeline.driver import Run, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pipeline.driver import Finished


def memory(folder: Path, *arguments: str) -> Finished:
    with Run(folder, "memory", *arguments) as running:
        return running.end()


def test_every_process_is_sampled_at_each_commit_and_what_recycling_gave_back_is_told(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    config["consumers"]["digest"]["recycle"] = {"chunks": 3}
    finished = run(tmp_path, config, "-v")
    assert finished.code == 0, finished
    assert "freed" in finished.out
    (values,) = finished.report["recordings"]
    found = values["consumers"]["digest"]["memory"]
    assert [life["chunks"] for life in found["generations"]] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [life["ended"] for life in found["generations"][:2]] == ["planned", "planned"]
    assert found["returned_mb"] == pytest.approx(sum(life["end_mb"] for life in found["generations"][:2]), abs=0.002)
    assert found["handover_ms"]["median"] > 0
    for process in (values["reader"], values["supervisor"]):
        assert process["memory"]["generations"][0]["chunks"] == list(range(8))
        assert process["memory"]["verdict"] == "stable"
    shown = memory(tmp_path, ".streamer", "--plot", "memory.png")
    assert shown.code == 0, shown
    assert all(name in shown.out for name in ("digest", "reader", "supervisor", "stable"))
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("chunks", "said"), [(0, True), (2, True), (3, False)])
def test_a_picture_of_few_chunks_says_that_they_show_no_trend(*, chunks: int, said: bool) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots()
    life = {"chunks": list(range(chunks)), "anon_mb": [30.0] * chunks, "ended": "done"}
    _draw(axes, "a.bag", {"digest": {"verdict": "unknown", "generations": [life]}})
    assert any("too short to show a trend" in text.get_text() for text in axes.texts) is said


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("{}", "not the report of a run")])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    finished = memory(tmp_path, "report.json")
    assert finished.code == 64
    assert said in finished.err
