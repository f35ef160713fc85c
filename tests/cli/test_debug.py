"""A consumer in the foreground: real frames, breakpoints, tracebacks of its own code, nothing committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from tests.cli.conftest import Command

MINE = """\
class Mine:
    def __init__(self, at=-1, keep=False, stop=False):
        self.at, self.keep, self.stop, self.kept = at, keep, stop, []
    def on_frame(self, frame):
        assert list(frame) == ["joints"], list(frame)
        total = float(frame["joints"].sum())
        if self.keep:
            self.kept.append(frame["joints"][:1])
        if frame.number == self.at:
            if self.stop:
                breakpoint()
            raise KeyError("gone")
"""


def test_it_sees_the_frames_of_a_run_and_leaves_its_outputs_and_commits_alone(
    tmp_path: Path, commands: Command, small_bag: Path
) -> None:
    config = {
        "source": {"path": str(small_bag)},
        "timeline": {"from": "camera", "rate": "10 Hz"},
        "chunk_size": 5,
        "streams": {
            "camera": {"topic": "/camera_0/image_raw/compressed"},
            "joints": {"topic": "/joints_0", "field": "position"},
        },
        "consumers": {
            "digest": {"use": "checksum", "options": {"out": "digest.json"}},
            "mine": {"use": "mine:Mine", "streams": ["joints"]},
        },
    }
    (tmp_path / "mine.py").write_text(MINE)
    assert run(tmp_path, config).code == 0
    before = digests(tmp_path / "digest.json")
    (tmp_path / "digest.json").unlink()
    (name,) = [path.name for path in tmp_path.glob("*.yaml")]
    done = commands(tmp_path, "debug", name, "digest")
    assert done.code == 0, done
    assert digests(tmp_path / ".streamer" / "debug" / "digest" / "digest.json") == before
    assert not (tmp_path / "digest.json").exists()

    raised = commands(tmp_path, "debug", name, "mine", "consumers.mine.options.at=7")
    assert raised.code == 70, raised
    assert "mine.py:12 in on_frame" in raised.err
    assert "total = " in raised.err
    assert "foreground.py" not in raised.err
    assert "streamer: consumer mine: on_frame, frame 7, raised KeyError: 'gone'" in raised.err
    kept = commands(tmp_path, "debug", name, "mine", "consumers.mine.options.keep=true")
    assert kept.code == 70, kept
    assert "kept an array (or a view) of stream 'joints' of frame 0" in kept.err
    assert "There are: digest, mine" in commands(tmp_path, "debug", name, "none").err

    stops = ["consumers.mine.options.at=7", "consumers.mine.options.stop=true"]
    child = subprocess.run(
        [sys.executable, "-m", "streamer", "debug", name, "mine", *stops],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        input="p 'number', frame.number\nq\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "('number', 7)" in child.stdout, child
    assert json.loads((tmp_path / ".streamer" / "report.json").read_text())["recordings"][0]["state"] == "done"
