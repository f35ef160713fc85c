"""The package as a whole: what importing it costs, which way its imports run, what its README says."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

import streamer

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
    assert set(found) == {"null", "checksum", "stats", "preview", "lerobot", "parquet", "zarr", "video"}
    for entry in found.values():
        assert callable(entry.load())


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("number", "consumers"), [(0, {"preview", "digest", "mine"}), (1, {"lerobot"})])
def test_the_readmes_configurations_are_whole(tmp_path: Path, number: int, consumers: set[str]) -> None:
    from streamer.config.load import load
    from streamer.runtime.plugin import make_consumer

    (tmp_path / "config.yaml").write_text(examples("yaml")[number])
    config = load(tmp_path / "config.yaml").config
    assert set(config.consumers) == consumers
    for name, consumer in config.consumers.items():
        if ":" not in consumer.use:
            make_consumer(name, consumer.use or name, consumer.options)


def test_the_readmes_consumer_runs(tmp_path: Path) -> None:
    """The example is put beside a configuration, streamed to, recycled, and its files are looked at."""
    import numpy as np

    from tests.pipeline.driver import run

    text = examples("python")[0]
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith("#")]) <= 15
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


@pytest.mark.timeout(400)  # the whole suite for one consumer
def test_the_readmes_consumer_keeps_the_contract_as_the_readme_tests_it(tmp_path: Path) -> None:
    for name, text in zip(("joints.py", "test_joints.py"), examples("python")[:2], strict=True):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def config_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "source": {"path": "demo://tabletop?seconds=1"},
        "timeline": {"from": "grid", "rate": "10 Hz"},
        "chunk_size": 4,
        "streams": {"joints": {"topic": "/joint_states", "field": "position"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("config_here")
def test_the_readmes_loop_runs_in_ones_own_process(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(examples("python")[2], "loop.py", "exec"), {})  # noqa: S102 - it is our own
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0 {'joints': (6,)}"
    assert len(lines) == 10


@pytest.mark.usefixtures("config_here")
def test_the_readmes_dataset_shares_recordings_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch itself is too heavy for this: what the recipe uses of it is put in its place."""
    worker = types.SimpleNamespace(id=1, num_workers=2)
    data = types.SimpleNamespace(IterableDataset=object, get_worker_info=lambda: worker)
    stand_in = types.SimpleNamespace(utils=types.SimpleNamespace(data=data), from_numpy=lambda array: array)
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    space: dict[str, Any] = {}
    exec(compile(examples("python")[3], "dataset.py", "exec"), space)  # noqa: S102 - it is our own
    paths = [f"demo://tabletop?seconds=1&seed={seed}" for seed in (1, 2, 3)]
    found = list(space["Frames"](paths))
    assert len(found) == 10
    other = [frame["joints"] for frame in streamer.open("config.yaml", f"source.path={paths[1]}").frames()]
    assert all((a["joints"] == b).all() for a, b in zip(found, other, strict=True))


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
