"""The built wheel: on every interpreter of this machine with the newest and the lowest libraries; each extra alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests import matrix
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parent.parent
QUICKSTART = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
_WRITERS = ("parquet", "zarr", "hdf5", "mcap", "rerun", "video")
_MANY = {"checksum": {"options": {"out": "out/{recording}.json"}}}  # for as many recordings as come
_OPTIONS = {"hdf5": {"layout": "aloha", "features": {"action": "gripper", "observations/qpos": "joints"}}}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matrix.build(tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("libraries", matrix.LIBRARIES)
@pytest.mark.parametrize("python", matrix.PYTHONS)
def test_the_wheel_works_on_an_interpreter(tmp_path: Path, wheel: Path, python: str, libraries: str) -> None:
    if matrix.find(python) is None:
        pytest.skip(f"there is no Python {python} on this machine (PATH, pyenv, uv)")
    with_tests = libraries == "newest" or python == matrix.PYTHONS[0]
    trial = matrix.run(python, libraries, tmp_path, wheel, tests=with_tests)
    assert trial.passed, matrix.table([trial])


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _do(commands: Path, place: Path, *command: str) -> None:
    done = subprocess.run(
        [commands / command[0], *command[1:]], cwd=place, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@contextmanager
def _watching(commands: Path, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    (place / "watched").mkdir()
    config = {key: value for key, value in QUICKSTART.items() if key != "source"}
    config |= {"source": {"watch": "watched"}, "consumers": _MANY}
    (place / "watch.yaml").write_text(yaml.safe_dump(config))
    with subprocess.Popen([commands / "streamer", "watch", "watch.yaml"], cwd=place) as process:
        try:
            yield process
        finally:
            process.kill()


def _watch(commands: Path, place: Path) -> None:
    """Let the daemon begin and end."""
    with _watching(commands, place) as process:

        def answers() -> bool:
            assert process.poll() is None
            asked = subprocess.run(
                [commands / "streamer", "status", "watch.yaml"], cwd=place, capture_output=True, check=False
            )
            return asked.returncode == 0

        wait_until(answers, "the daemon to answer")
        process.terminate()
        assert process.wait(timeout=120) in (0, 75)


def _use(extra: str, commands: Path, place: Path) -> None:
    """Do what an extra is for."""
    config = {**QUICKSTART, "workdir": ".streamer"}
    if extra in _WRITERS:
        config["consumers"] = {extra: {"options": {"out": f"out/{extra}"} | _OPTIONS.get(extra, {})}}
    elif extra == "memray":
        config["consumers"] = {"null": {"memray": "memray"}}
    elif extra == "ray":
        config |= {"engine": "ray", "ray": {"address": "local", "cpus": 1, "memory": "300 MB"}, "consumers": _MANY}
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    if extra == "lerobot":
        _do(commands, place, "python", "-m", "tests.readback", "readback")
    elif extra == "plot":
        _do(commands, place, "streamer", "plan", "config.yaml", "--plot", "timeline.png")
        assert (place / "timeline.png").stat().st_size
    elif extra == "watch":
        _watch(commands, place)
    else:
        _do(commands, place, "streamer", "run", "config.yaml")
    if extra in (*_WRITERS, "memray"):
        assert any(path.is_file() for path in (place / ("memray" if extra == "memray" else f"out/{extra}")).rglob("*"))


@pytest.mark.parametrize("extra", ["", *sorted(set(_project()["optional-dependencies"]) - {"dev", "all"})])
def test_the_wheel_with_one_extra_does_what_the_extra_is_for(tmp_path: Path, wheel: Path, extra: str) -> None:
    what = f"rosbag-streamer{f'[{extra}]' if extra else ''} @ {wheel.as_uri()}"
    commands = matrix.environment(tmp_path / "env", Path(sys.executable), [what])
    matrix.copy_tests(tmp_path)
    _do(commands, tmp_path, "streamer", "--version", "-v")
    _use(extra, commands, tmp_path)
