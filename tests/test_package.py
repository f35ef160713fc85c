"""The package as a whole: what importing it costs, which way its imports run, what its README says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from tests.test_docs import blocks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")


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
    training = {"lerobot", "parquet", "csv", "zarr", "hdf5"}
    tools = {"images", "points", "mcap", "rerun", "video", "preview"}
    assert set(found) == training | tools | {"null", "checksum", "stats"}
    for entry in found.values():
        assert callable(entry.load())


@pytest.mark.parametrize("which", ["every_chunk", pytest.param("", marks=pytest.mark.slow, id="all")])
def test_the_pages_consumer_keeps_the_contract_as_the_page_tests_it(tmp_path: Path, which: str) -> None:
    named = {block.name: block.text for block in blocks("docs/consumers.md")}
    for name in ("joints.py", "test_joints.py"):
        (tmp_path / name).write_text(named[name])
    assert len([line for line in named["joints.py"].splitlines() if line.strip() and line[0] != "#"]) <= 18
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", which, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_promises_name_tests_that_exist() -> None:
    for path in re.findall(r"`(tests/[\w/.]+)`", PROMISES):
        assert (ROOT / path).exists(), path


def test_the_two_commands_of_the_readme_are_the_ones_that_ci_runs() -> None:
    commands = re.findall(r"```bash\n(python3 -m venv .*?)\n```", README)
    assert len(commands) == 2
    script = (ROOT / ".ci" / "run").read_text()
    for command in commands:
        *_, last = command.split(" && ")
        assert last in script


def test_the_quickstart_needs_no_file_and_no_setting_of_ones_own() -> None:
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    assert config["source"] == {"path": "demo://tabletop"}
    assert len(config["consumers"]) >= 3
