"""Which libraries an error is about, and which versions are told."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement

from streamer.errors import UsageError
from streamer.libraries import LIBRARIES, blamed, versions
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent


def _told(act: Callable[[], object]) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever the library raises
        act()
    return blamed(raised.value)


def test_every_library_that_the_project_names_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [line for name, found in extras.items() if name != "dev" for line in found]
    assert {Requirement(line).name for line in lines} - {"rosbag-streamer"} == set(LIBRARIES)
    assert versions()["numpy"] == np.__version__


ABOUT: dict[str, tuple[Callable[[], object], str]] = {
    "an attribute that a module does not have": (lambda: np.no_such_thing, "numpy"),  # type: ignore[attr-defined]
    "an attribute that a value does not have": (lambda: np.zeros(2).no_such_thing, "numpy"),  # type: ignore[attr-defined]
    "a type that cannot be taken": (lambda: int(np.random.default_rng(1)), "numpy"),  # type: ignore[call-overload]
    "a call that is raised inside of it": (lambda: np.stack(3), "numpy"),  # type: ignore[call-overload]
    "a module that is not there": (lambda: importlib.import_module("rosbags.nothing"), "rosbags"),
}


@pytest.mark.parametrize("how", ABOUT)
def test_an_answer_that_was_not_expected_is_blamed_on_the_library_and_its_version(how: str) -> None:
    act, name = ABOUT[how]
    assert f"{name} {version(name)}" in _told(act)


def test_what_has_nothing_to_do_with_a_library_blames_none() -> None:
    unrelated: list[Callable[[], Any]] = [
        lambda: len(3),  # type: ignore[arg-type]
        lambda: dict[str, int]()["key"],
        lambda: cv2.imdecode(np.zeros(0, np.uint8), 1),
    ]
    assert [_told(act) for act in unrelated] == ["", "", ""]


def test_a_consumer_that_a_library_let_down_says_which(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "mine.py").write_text("import numpy as np\ndef look(frame):\n    np.no_such_thing(frame)\n")
    config["consumers"] = {"mine": {"use": "mine:look"}}
    finished = run(tmp_path, config)
    assert finished.code == 70
    assert f"(with numpy {np.__version__})" in finished.err
    assert finished.report["versions"]["numpy"] == np.__version__


def test_the_command_tells_the_versions_when_asked() -> None:
    def told(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streamer", *arguments], capture_output=True, text=True, check=False
        )

    assert told("--version").stdout == f"rosbag-streamer {version('rosbag-streamer')}\n"
    lines = dict(line.split(" ", 1) for line in told("--version", "-v").stdout.splitlines())
    assert lines == versions()
    assert told("-v", "schema").returncode == UsageError.exit_code
