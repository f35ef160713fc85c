"""The package as a whole: what importing it costs, which way its imports run, what its README says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import streamer; print(sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "rosbags", "psutil", "zmq", "msgpack", "pydantic", "typer", "rich", "yaml", "cv2", "simplejpeg"}
    assert not heavy & set(eval(found.stdout))  # noqa: S307 - a list that we printed


def test_the_imports_run_one_way() -> None:
    found = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_every_built_in_consumer_is_an_entry_point_that_loads() -> None:
    found = {entry.name: entry for entry in entry_points(group="streamer.consumers")}
    assert {"null", "checksum", "stats", "preview"} <= set(found)
    for entry in found.values():
        assert callable(entry.load())


@pytest.mark.parametrize("language", ["yaml", "python"])
def test_the_readmes_examples_are_whole(tmp_path: Path, language: str) -> None:
    (text,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    if language == "yaml":
        from streamer.config.load import load

        (tmp_path / "config.yaml").write_text(text)
        assert set(load(tmp_path / "config.yaml").config.consumers) == {"preview", "digest", "mine"}
    else:
        compile(text, "joints.py", "exec")


def test_the_readmes_consumer_runs(tmp_path: Path) -> None:
    """The example is put beside a configuration, streamed to, recycled, and its files are looked at."""
    import numpy as np

    from tests.pipeline.driver import run

    (text,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "joints.py").write_text(text)
    config = {
        "source": {"path": "demo://tabletop?seconds=2"},
        "timeline": {"from": "grid", "rate": "50 Hz"},
        "chunk_size": 30,
        "streams": {"joints": {"topic": "/joint_states", "field": "position"}},
        "consumers": {"joints": {"use": "joints:Joints", "options": {"out": "joints"}, "recycle": {"chunks": 1}}},
    }
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    parts = [np.load(path) for path in sorted((tmp_path / "joints").glob("part-*.npy"))]
    assert sum(map(len, parts)) == finished.report["frames"]["delivered"]
    assert all(part.shape[1] == 6 for part in parts)


def test_the_readme_names_tests_that_exist() -> None:
    for path in re.findall(r"`(tests/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path


def test_the_two_commands_of_the_readme_are_the_ones_that_ci_runs() -> None:
    commands = re.findall(r"```\n(python3 -m venv .*?)\n```", README)
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text()
    for command in commands:
        *_, last = command.split(" && ")
        assert last in script


def test_the_quickstart_needs_no_file_and_no_setting_of_ones_own() -> None:
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    assert config["source"] == {"path": "demo://tabletop"}
    assert len(config["consumers"]) >= 3
