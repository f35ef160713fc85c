"""Every block of code in README.md and docs/, run in its order in an empty folder, as a person would follow the page.

A YAML or Python block whose first line names a file (``# dataset.yaml``) is saved under that name; a Python block
without a name is run. What cannot run here stands in `EXEMPT` with its reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

import streamer
from tests.pipeline.driver import ROOT

EXEMPT = {  # how a block begins: why it is not run here
    "uvx --from '.[all]' ": "it would change this environment; tests.matrix installs each extra",
    "python3 -m venv .venv && .venv/bin/pip install . ": "the first step of .ci/run, to the letter",
    "python3 -m venv .venv && .venv/bin/pip install -e ": "it runs these tests: the second step of .ci/run",
}
PAGES = ("README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")))
FOR_DEVELOPERS = ("ARCHITECTURE.md", "CONTRIBUTING.md")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"# ([\w.]+\.(?:py|yaml))\b")


class Block(NamedTuple):
    """One fenced block of a page; ``name`` is the file that its first line names, or empty."""

    language: str
    text: str
    line: int
    name: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        named = _NAMED.match(match[2])
        found.append(Block(match[1], match[2], text[: match.start()].count("\n") + 1, named[1] if named else ""))
    return found


def follow(page: str, folder: Path) -> None:
    """Do what a page says."""
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": search, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COLUMNS": "120"}
    for block in blocks(page):
        if any(block.text.startswith(begin) for begin in EXEMPT):
            continue
        if block.name:
            (folder / block.name).write_text(block.text)
            continue
        shell = [shutil.which("bash") or "bash", "-euo", "pipefail", "-c"]
        program = {"bash": shell, "python": [sys.executable, "-c"]}[block.language]
        done = subprocess.run(
            [*program, block.text], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page}:{block.line}\n{block.text}\n{done.stdout}\n{done.stderr}"


def test_every_block_says_what_it_is_and_every_exemption_is_needed() -> None:
    texts = []
    for page in PAGES:
        for block in blocks(page):
            assert block.language in ("bash", "python", "yaml"), f"{page}:{block.line}"
            assert block.name or block.language != "yaml", f"{page}:{block.line}: name its file in the first line"
            texts.append(block.text)
    for begin in EXEMPT:
        assert any(text.startswith(begin) for text in texts), begin


def test_the_readme_can_be_followed_from_the_first_block_to_the_last(tmp_path: Path) -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
    follow("README.md", tmp_path)
    info = json.loads((tmp_path / "blocks" / "meta" / "info.json").read_text())
    assert (info["total_episodes"], info["fps"]) == (1, 10)
    assert {"observation.images.cam_front", "observation.state", "action"} <= set(info["features"])
    for picture in ("timeline.png", "sheets/recording.preview.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "tables" / "recording.parquet").exists()


def check_configuration(folder: Path) -> None:
    info = json.loads((folder / "dataset" / "meta" / "info.json").read_text())
    assert (info["total_episodes"], info["fps"]) == (1, 10)
    assert {"observation.images.front", "observation.depth.front", "observation.state", "action"} <= set(
        info["features"]
    )
    for picture in ("timeline.png", "memory.png", "out/recording.preview.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def check_consumers(folder: Path) -> None:
    parts = [np.load(path) for path in sorted((folder / "joints" / "recording").glob("part-*.npy"))]
    assert len(parts) > 1
    assert all(part.shape[1] == 6 for part in parts)


AFTERWARDS = {"docs/configuration.md": check_configuration, "docs/consumers.md": check_consumers}


def test_the_pages_dataset_shares_recordings_among_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {
        "source": {"path": "demo://tabletop?seconds=1"},
        "timeline": {"from": "grid", "rate": "10 Hz"},
        "streams": {"joints": {"topic": "/joint_states", "field": "position"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    worker = types.SimpleNamespace(id=1, num_workers=2)
    data = types.SimpleNamespace(IterableDataset=object, get_worker_info=lambda: worker)
    stand_in = types.SimpleNamespace(utils=types.SimpleNamespace(data=data), from_numpy=lambda array: array)
    monkeypatch.setitem(sys.modules, "torch", stand_in)
    (text,) = [block.text for block in blocks("docs/python.md") if block.name == "frames.py"]
    space: dict[str, Any] = {}
    exec(compile(text, "frames.py", "exec"), space)  # noqa: S102 - it is our own
    paths = [f"demo://tabletop?seconds=1&seed={seed}" for seed in (1, 2, 3)]
    found = list(space["Frames"](paths))
    assert len(found) == 10
    other = [frame["joints"] for frame in streamer.open("config.yaml", f"source.path={paths[1]}").frames()]
    assert all((a["joints"] == b).all() for a, b in zip(found, other, strict=True))


_LONG = {"docs/performance.md", "docs/scaling.md"}  # they measure, and stream many recordings


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow) if page in _LONG else page for page in PAGES[1:]]
)
def test_other_pages_can_be_followed(tmp_path: Path, page: str) -> None:
    follow(page, tmp_path)
    if page in AFTERWARDS:
        AFTERWARDS[page](tmp_path)


def test_links_lead_somewhere() -> None:
    for page in (*PAGES, *FOR_DEVELOPERS):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_files_that_developers_are_sent_to_exist() -> None:
    for page in FOR_DEVELOPERS:
        text = (ROOT / page).read_text(encoding="utf-8")
        for name in re.findall(r"`((?:streamer|consumers|tests|docs|configs|\.ci|\.github)/[\w./-]*)`", text):
            assert (ROOT / name).exists(), f"{page}: {name}"


def test_every_room_of_the_package_is_drawn_and_every_room_that_is_drawn_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text[text.index("## The rooms") : text.index("## The journey of one frame")]
    drawn = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)/?`", row)
    }
    there = {path.stem for path in (ROOT / "streamer").iterdir() if path.name[0] not in "._"} - {"py"}
    assert drawn - {"consumers"} <= there
    rooms = {path.name for path in (ROOT / "streamer").iterdir() if path.is_dir()} - {"__pycache__"}
    assert rooms - {"demo"} <= drawn


def test_the_tasks_that_ci_runs_exist() -> None:
    tasks = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in (ROOT / ".ci" / "run", ROOT / ".github" / "workflows" / "tests.yml"):
        told = re.findall(r"^(?:\s*- run: )?make ([\w -]+)", path.read_text(), re.MULTILINE)
        assert told, path
        assert {word for line in told for word in line.split() if word[0] != "-"} <= tasks, path
