"""A recording may be called anything: outputs stay in their folder, and no terminal or log obeys its name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from tests.bags import START, Message, encoded, record
from tests.ingest.driver import command
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.slow
def test_a_recording_called_dots_writes_into_its_folder(
    tmp_path: Path, config: dict[str, Any], small_bag: Path
) -> None:
    folder = tmp_path / "a" / "b" / "run"
    folder.mkdir(parents=True)
    shutil.copyfile(small_bag, folder / "...bag")
    config["source"] = {"path": "...bag"}
    config["consumers"] = {"p": {"use": "preview", "options": {"out": "out/{recording}"}}}
    assert run(folder, config).code == 0
    assert [path.relative_to(folder) for path in folder.rglob("*.png")] == [Path("out/%2E./%2E..preview.png")]
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["%2E..preview.png"]


EVIL = "\x1b]0;owned\x07\nstreamer: done\u202e$\\\\foo$[/b]"


def evil_recording(path: Path) -> Path:
    """Write an MCAP file in which whatever a recording may name is called to be obeyed."""
    pose, joints = "geometry_msgs/msg/PoseStamped", "sensor_msgs/msg/JointState"

    def messages() -> Iterator[Message]:
        for n in range(20):
            about = {"stamp": {"sec": 1, "nanosec": n * 10**6}, "frame_id": EVIL}
            content = encoded("cdr", joints, header=about, name=[f"j{EVIL}"], position=np.ones(1))
            yield Message(f"/joints{EVIL}", START + n * 10**6, content, joints)
            yield Message(f"/pose{EVIL}", START + n * 10**6, encoded("cdr", pose, header=about), pose)

    (written,) = record(path.with_suffix(""), "mcap", messages()).glob("*.mcap")
    return written.rename(path)


@pytest.mark.slow
def test_no_verb_lets_a_terminal_obey_a_name(tmp_path: Path) -> None:
    name = f"a{EVIL.replace('/', ' ')}.mcap"
    evil_recording(tmp_path / name)
    config = {
        "source": {"path": "*.mcap"},
        "timeline": {"from": "joints"},
        "streams": {"joints": {"topic": f"/joints{EVIL}", "field": "position"}},
        "consumers": {"stats": {"use": "stats", "options": {"out": "out", "plot": True}}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    again = ("run", "config.yaml", "--restart")
    for arguments, code in (
        (("info", name), 0),
        (("init", name, "-o", "made.yaml"), 0),
        (("check", "config.yaml"), 0),
        (("plan", "config.yaml", "--plot", "plan.png"), 0),
        (("show", "config.yaml"), 0),
        ((*again, "-v"), 0),
        (("report", ".streamer"), 0),
        (("memory", ".streamer", "--plot", "memory.png"), 0),
        (("bench", "config.yaml", "--methods", "stream"), 0),
        ((*again, "streams.joints.topic=/other"), 78),
        ((*again, "streams.joints.elements=[other]"), 78),
        (("info", f"other{EVIL}"), 65),
        (("run", f"other{EVIL}"), 78),
    ):
        done = command(tmp_path, *arguments)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert not {"\x1b", "\x07", "\u202e"} & set(said), arguments
        assert not [line for line in said.splitlines() if line.startswith("streamer: done")], arguments
    for log in tmp_path.rglob("*.log"):
        assert not {"\x1b", "\x07", "\u202e"} & set(log.read_text())
