"""A recording may be called anything: outputs stay in their folder, and no terminal or log obeys its name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.driver import command
from tests.pipeline.driver import run

HOSTILE = "a\x1b]0;owned\x07b\nstreamer: done\u202e.bag"


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


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["info", "check", "run", "plan"])
def test_no_verb_lets_a_terminal_obey_a_name(
    tmp_path: Path, config: dict[str, Any], small_bag: Path, verb: str
) -> None:
    import yaml

    shutil.copyfile(small_bag, tmp_path / HOSTILE)
    config["source"] = {"path": "*.bag"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    done = command(tmp_path, verb, HOSTILE if verb == "info" else "config.yaml")
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert "streamer: done" not in said.splitlines()
    for log in tmp_path.rglob("*.log"):
        assert not {"\x1b", "\x07", "\u202e"} & set(log.read_text())
