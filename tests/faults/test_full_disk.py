"""The disk is full at a write, whichever it is: one message that names the disk, 74, and --resume makes it whole."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.everything import configured, contents, differences, write
from tests.faults.full_disk import FullDisk
from tests.ingest.driver import Watch
from tests.ingest.numbered import expected, make, settings
from tests.pipeline.driver import digests, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDERS = ("out", ".streamer")
LIGHT = ("checksum", "csv", "images")  # which need no library that takes long to load
ALL = 10**9


class Disk:
    """A run, and what it writes to a disk that has space."""

    def __init__(self, folder: Path, consumers: Iterable[str]) -> None:
        self.folder = folder
        self._full = FullDisk(folder)
        self._config = configured(write(folder / "take", (5, 4)), chunks=2)
        self._config["consumers"] = {name: self._config["consumers"][name] for name in consumers}
        self.writes = {name: self._count(name) for name in FOLDERS}
        self.expected = contents(folder / "calm-out" / "out")

    def _count(self, name: str) -> int:
        calm = self.folder / f"calm-{name}"
        done = run(calm, self._config, under=_with(self._full.below(calm / name, ALL)))
        assert done.code == 0, done
        return self._full.writes

    def is_full(self, name: str, after: int) -> str:
        """Run with a full disk after so many writes, then with space again; say what was wrong, if anything."""
        place = self.folder / f"{name}-{after}"
        done = run(place, self._config, under=_with(self._full.below(place / name, after)))
        if self._full.writes > after and done.code == 0 and name == "out":
            return f"it says that all is well: {done}"
        if done.code != 0:
            if wrong := _wrong_with(done.code, done.err + done.out, place):
                return f"{wrong}: {done}"
            done = run(place, self._config, "--resume")
        if done.code != 0:
            return f"with space again: {done}"
        found = differences(self.expected, contents(place / "out"))
        return f"it differs: {found}" if found else ""


def _with(environment: dict[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in environment.items())]


def _wrong_with(code: int, said: str, place: Path) -> str:
    if code != 74:
        return "another exit code than 74"
    if "Traceback" in said:
        return "a traceback"
    told = [line for line in said.splitlines() if "No space left" in line or "disk is full" in line]
    return "" if any(str(place) in line or "out" in line for line in told) else "it does not name the disk"


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    return Disk(tmp_path_factory.mktemp("disk"), LIGHT)


@pytest.mark.parametrize("share", [0.6, pytest.param(0.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_disk_that_is_full_at_a_write_is_named_and_the_run_can_be_continued(
    light: Disk, name: str, share: float
) -> None:
    assert light.writes[name] > 20
    assert light.is_full(name, round(share * light.writes[name])) == ""


@pytest.mark.slow
def test_a_daemon_waits_for_space_and_puts_nothing_aside(tmp_path: Path) -> None:
    """The disk of the outputs is full: the check of free space looks at another, or is a moment late."""
    disk, incoming = FullDisk(tmp_path), tmp_path / "incoming"
    incoming.mkdir()
    made = make(tmp_path / "made", 1)
    right = expected(tmp_path / "right", made)
    with Watch(tmp_path, settings(incoming, attempts=1), **disk.below(tmp_path / "out", 1)) as daemon:
        made.rename(incoming / "a.bag")
        wait_until(lambda: daemon.one("a").get("error"), "the first try's end")
        assert "No space left" in daemon.one("a")["error"]
        disk.has_space()
        daemon.wait(a="done")
        assert not daemon.events("quarantined")
        assert daemon.end() == 0
    assert digests(tmp_path / "out" / "a.json") == right


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FOLDERS)
def test_it_may_be_full_at_every_single_write(light: Disk, name: str) -> None:
    found = {after: light.is_full(name, after) for after in range(light.writes[name])}
    assert {after: wrong for after, wrong in found.items() if wrong} == {}


def attacked(folder: Path, consumers: tuple[str, ...], count: int) -> None:
    """Try so many writes of each folder, and print what was wrong."""
    disk = Disk(folder, consumers)
    say = print
    say(disk.writes, flush=True)
    for name, writes in disk.writes.items():
        for after in sorted({round(n * writes / count) for n in range(count)}):
            say(name, after, disk.is_full(name, after) or "well", flush=True)


if __name__ == "__main__":
    chosen = tuple(sys.argv[2:]) or LIGHT
    attacked(Path(tempfile.mkdtemp(prefix="full-disk-")), chosen, int(sys.argv[1]))
