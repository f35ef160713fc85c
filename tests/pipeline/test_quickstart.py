"""The quickstart, as a new user runs it: from its own file, into a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2

from tests.pipeline.driver import Run, digests

ROOT = Path(__file__).parent.parent.parent


def test_the_quickstart_streams_recycles_and_draws_a_contact_sheet(tmp_path: Path) -> None:
    shutil.copy(ROOT / "configs" / "quickstart.yaml", tmp_path)
    with Run(tmp_path, "run", "quickstart.yaml", "--report", "mine.json") as running:
        finished = running.end()
    assert finished.code == 0, finished
    report = finished.report
    assert report["frames"]["delivered"] == report["frames"]["planned"] == 200
    assert report["consumers"]["checksum"]["restarts"] == {"planned": 3, "crash": 0}
    assert report["streams"]["joints"]["gaps"] == 4  # the gap that was recorded on purpose
    assert report["streams"]["gripper"]["held"] > 150
    assert digests(tmp_path / "out" / "quickstart" / "checksum.json")["frames"] == 200
    sheet = cv2.imread(str(tmp_path / "out" / "quickstart" / "tabletop-20s-7.preview.png"))
    assert sheet is not None
    assert sheet.shape[1] > 1000
    assert finished.out.splitlines()[0].startswith("✓ 200 frames, 5 streams → out/quickstart (")
    assert "  frames in a gap: joints 4" in finished.out.splitlines()
    assert (tmp_path / "mine.json").read_bytes() == (tmp_path / ".streamer" / "report.json").read_bytes()
    megabytes = [c["anon_mb"]["peak"] for c in report["consumers"].values()]
    assert sum(megabytes) + report["reader"]["anon_mb"]["peak"] + report["pool"]["peak_mb"] < 1000
