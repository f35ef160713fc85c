"""What the command says of itself: a version, and a help with an example for every verb."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING

from tests.pipeline.driver import Run

if TYPE_CHECKING:
    from pathlib import Path


def said(folder: Path, *arguments: str) -> str:
    with Run(folder, *arguments) as running:
        finished = running.end()
    assert finished.code == 0, finished
    return finished.out


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    assert said(tmp_path, "--version") == f"rosbag-streamer {version('rosbag-streamer')}\n"


def test_every_verb_has_an_example_and_the_exit_codes_are_listed(tmp_path: Path) -> None:
    whole = said(tmp_path, "--help")
    assert "Exit codes: 0 done" in whole
    verbs = re.findall(r"^│ (\w+) ", whole.partition("Commands")[2], re.MULTILINE)
    assert {"init", "info", "check", "plan", "run", "top", "report", "memory", "schema", "bench", "demo"} == set(verbs)
    for verb in verbs:
        words = ("demo", "tabletop") if verb == "demo" else (verb,)
        assert f"Example: streamer {' '.join(words)}" in " ".join(said(tmp_path, *words, "--help").split())
