"""The interpreters of this machine × the newest and the lowest libraries → whether the built wheel works with them.

    python -m tests.matrix                   every interpreter, both sets of libraries
    python -m tests.matrix 3.12 3.13:lowest  some of them
    python -m tests.matrix --without-tests   only what the main job needs: half a minute each

Each pair gets an environment of its own with the wheel and its extras, runs the quickstart, writes a LeRobot dataset
and reads it back (`tests.readback`), and runs the tests of the consumers. An interpreter that is not there is named.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LIBRARIES = ("newest", "lowest")
EXTRAS = "all,ray"
SHOWN = ("numpy", "av", "pyarrow", "zarr", "opencv-python-headless", "ray")
_NOT_TO_RUN = {"mypy", "ruff", "import-linter", "uv"}  # of the extra `dev`: what looks at the code
_TESTS = ("tests/consumers",)
_HOURS = 3600.0


@dataclass
class Trial:
    """One interpreter with one set of libraries: each step's outcome, ``ok`` or what was said last."""

    python: str
    libraries: str
    steps: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing went wrong."""
        return bool(self.steps) and all(step == "ok" for step in self.steps.values())


class StepError(Exception):
    """A command of a trial failed."""


def find(python: str) -> Path | None:
    """Return an interpreter of this version: on the PATH, of pyenv, of uv, or None."""
    for candidate in _candidates(python):
        told = subprocess.run(
            [candidate, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if told.returncode == 0 and told.stdout.startswith(f"{python}."):
            return candidate
    return None


def _candidates(python: str) -> Iterator[Path]:
    if sys.version.startswith(f"{python}."):
        yield Path(sys.executable)
    if on_path := shutil.which(f"python{python}"):
        yield Path(on_path)
    for root in (os.environ.get("PYENV_ROOT", "~/.pyenv"), "~/.local/share/uv/python"):
        for pattern in (f"versions/{python}.*", f"cpython-{python}.*"):
            yield from (home / "bin" / "python3" for home in sorted(Path(root).expanduser().glob(pattern)))


@cache
def uv() -> str:
    """Return the command uv, which is part of the extra ``dev``."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        message = "uv is needed: pip install -e '.[dev]'"
        raise FileNotFoundError(message)
    return found


def build(folder: Path) -> Path:
    """Build the wheel from a copy of the sources, without what an earlier build left beside them."""
    sources = folder / "sources"
    for name in ("streamer", "consumers"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    _do(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(sources)], folder
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment(folder: Path, python: Path, what: Sequence[str], *options: str) -> Path:
    """Make an environment with what is wanted in it; return its folder of commands."""
    _do([uv(), "venv", "--quiet", "--python", str(python), str(folder)], folder.parent)
    install(folder / "bin", what, *options)
    return folder / "bin"


def install(commands: Path, what: Sequence[str], *options: str) -> None:
    """Add libraries to an environment."""
    to = ["--python", str(commands / "python")]
    _do([uv(), "pip", "install", "--quiet", "--compile-bytecode", *to, *options, *what], commands)


def declared(*extras: str) -> list[Requirement]:
    """Return the libraries that the project names, and those of some of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    found = [Requirement(line) for line in lines]
    inner = [extra for one in found if one.name == project["name"] for extra in sorted(one.extras)]
    own = [one for one in found if one.name != project["name"]]
    return own + (declared(*inner) if inner else [])


def tools() -> list[str]:
    """Return what the tests need beside the package itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["optional-dependencies"]["dev"]]
    return [
        str(one)
        for one in wanted
        if one.name not in {*_NOT_TO_RUN, project["name"]} and not one.name.startswith("types-")
    ]


def lowest_declared(python: str) -> dict[str, str]:
    """Return the lowest version of each direct dependency that is declared for an interpreter."""
    found: dict[str, str] = {}
    for one in declared(*EXTRAS.split(",")):
        if one.marker is None or one.marker.evaluate({"python_version": python}):
            (least,) = [spec.version for spec in one.specifier if spec.operator == ">="]
            name = canonicalize_name(one.name)
            found[name] = max(found.get(name, "0"), least, key=_numbers)
    return found


def _numbers(version: str) -> list[int]:
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def run(python: str, libraries: str, folder: Path, wheel: Path, *, tests: bool = True) -> Trial:
    """Try one interpreter with one set of libraries."""
    trial = Trial(python, libraries)
    began = time.monotonic()
    interpreter = find(python)
    if interpreter is None:
        trial.steps["interpreter"] = "there is none on this machine (PATH, pyenv, uv)"
        return trial
    place = folder / f"{python}-{libraries}"
    place.mkdir()
    try:
        commands = _install(trial, place, interpreter, wheel)
        copy_tests(place)
        _use(trial, place, commands)
        if tests:
            trial.steps["tests"] = "began"
            command = [str(commands / "python"), "-m", "pytest", "-n", "2", *_TESTS]
            _do(command, place)
            trial.steps["tests"] = "ok"
    except StepError as error:
        trial.steps[list(trial.steps)[-1]] = str(error)
    trial.seconds = time.monotonic() - began
    return trial


def _install(trial: Trial, place: Path, interpreter: Path, wheel: Path) -> Path:
    trial.steps["install"] = "began"
    lowest = trial.libraries == "lowest"
    options = ("--resolution", "lowest-direct", "--only-binary", ":all:") if lowest else ()
    wanted = [f"rosbag-streamer[{EXTRAS}] @ {wheel.as_uri()}"]
    wanted += map(str, declared(*EXTRAS.split(","))) if lowest else []  # of a wheel's own nothing counts as direct
    commands = environment(place / "env", interpreter, wanted, *options)
    listed = json.loads(_do([uv(), "pip", "list", "--format", "json", "--python", str(commands / "python")], place))
    there: dict[str, str] = {canonicalize_name(one["name"]): one["version"] for one in listed}
    trial.versions = {name: there[name] for name in SHOWN if name in there}
    if lowest:
        other = [
            f"{name} {there[name]} and not {least}"
            for name, least in lowest_declared(trial.python).items()
            if name in there and _numbers(there[name])[: len(_numbers(least))] != _numbers(least)
        ]
        if other:
            message = f"the lowest version that is declared cannot be installed: {', '.join(other)}"
            raise StepError(message)
    install(commands, tools())
    trial.steps["install"] = "ok"
    return commands


def copy_tests(place: Path) -> None:
    """Give the tests to the wheel, and not the sources beside which they lie."""
    for name in ("tests", "configs"):
        ignored = shutil.ignore_patterns("__pycache__", "out", ".streamer")
        shutil.copytree(ROOT / name, place / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", place)


def _use(trial: Trial, place: Path, commands: Path) -> None:
    streamer = str(commands / "streamer")
    for name, command in {
        "version": [streamer, "--version", "-v"],
        "quickstart": [streamer, "run", "configs/quickstart.yaml", "--restart"],
        "lerobot": [str(commands / "python"), "-m", "tests.readback", "readback"],
    }.items():
        trial.steps[name] = "began"
        _do(command, place)
        trial.steps[name] = "ok"


def _do(command: Sequence[str], folder: Path) -> str:
    """Run a command; return what it printed.

    Raises:
        StepError: it failed; the message ends as its output does.

    """
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    clean["STREAMER_RECORDINGS"] = os.environ.get("STREAMER_RECORDINGS", str(ROOT.parent / "shared" / "bags"))
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=_HOURS)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        message = f"{' '.join(command[:4])} … ended with {done.returncode}:\n{last}"
        raise StepError(message)
    return done.stdout


def table(trials: Sequence[Trial]) -> str:
    """Write the outcomes as a table, and below it what was said where something failed."""
    steps = ("install", "version", "quickstart", "lerobot", "tests")
    head = ["Python", "libraries", *steps, *SHOWN, "s"]
    rows = []
    for trial in trials:
        words = [
            "–" if (step := trial.steps.get(name)) is None else "ok" if step == "ok" else "FAILED" for name in steps
        ]
        seconds = f"{trial.seconds:.0f}"
        rows.append([trial.python, trial.libraries, *words, *(trial.versions.get(n, "–") for n in SHOWN), seconds])
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    for trial in trials:
        lines += [
            f"\n{trial.python} {trial.libraries}: {name}: {step}" for name, step in trial.steps.items() if step != "ok"
        ]
    return "\n".join(lines)


def main(wanted: Sequence[str]) -> int:
    """Run the matrix, or the ``wanted`` part of it; return 1 where something that is there fails."""
    tests = "--without-tests" not in wanted
    wanted = [word for word in wanted if not word.startswith("-")]
    pairs = [(python, libraries) for python in PYTHONS for libraries in LIBRARIES]
    chosen = [pair for pair in pairs if not wanted or pair[0] in wanted or ":".join(pair) in wanted]
    trials = []
    with tempfile.TemporaryDirectory(prefix="streamer-matrix-") as folder:
        wheel = build(Path(folder))
        for python, libraries in chosen:
            trials.append(run(python, libraries, Path(folder), wheel, tests=tests))
            print(table(trials[-1:]), flush=True)  # noqa: T201 - a command's output
    print(f"\n{table(trials)}")  # noqa: T201
    return int(any("interpreter" not in trial.steps and not trial.passed for trial in trials))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
