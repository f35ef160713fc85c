"""Recordings arrive in every way there is while the daemon is killed at random: each comes out once, as it should.

``python -m tests.ingest.test_soak 1000 60`` lets so many arrive with ``after: move``, but none after so many minutes.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import pytest

from streamer.memory import anonymous, trend
from tests.bags import record_split
from tests.faults.harness import processes, what_is_left
from tests.ingest.driver import Watch
from tests.ingest.numbered import make, messages, settings
from tests.pipeline.driver import digests, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_GROWTH = 200_000  # bytes of the daemon's anonymous memory a recording
FORMS = ("ros1", "ros1-lz4", "mcap-zstd", "db3")


@dataclass
class Truth:
    """What must come out: ``once`` of each of these, ``perhaps`` of each of those, and ``bad`` put aside."""

    once: list[Path] = field(default_factory=list)
    perhaps: list[Path] = field(default_factory=list)
    bad: list[Path] = field(default_factory=list)

    def add(self, other: Truth) -> None:
        self.once += other.once
        self.perhaps += other.perhaps
        self.bad += other.bad


class Arrivals:
    """Recordings, prepared beside the watched folder, that arrive there in the ways of real ones."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._ready, self._incoming = folder / "ready", folder / "incoming"
        self._random = random.Random(seed)  # noqa: S311 - chance that can be repeated, not a secret
        self._seed = seed * 10_000
        self._collisions = 0
        self.lengths = (25, 60, 90)  # in frames
        self.truth = Truth()
        for path in (self._ready, self._incoming):
            path.mkdir(parents=True)

    def prepare(self, ways: list[str]) -> list[tuple[Callable[[], None], Truth]]:
        """Make recordings for so many arrivals; return these, in a random order, with what each adds to the truth."""
        arrivals = []
        for number, way in enumerate(ways):
            self.truth = Truth()
            arrivals.append((self.ways[way](self, f"{way.replace(' ', '_')}_{number}"), self.truth))
        self.truth = Truth()
        self._random.shuffle(arrivals)
        return arrivals

    def _make(self, name: str, form: str | None = None) -> Path:
        self._seed += 1
        frames = self._random.choice(self.lengths)
        return make(self._ready / name, self._seed, frames, form or self._random.choice(FORMS))

    def _file(self, name: str, form: str = "ros1-lz4") -> Path:
        """Make one that is a file."""
        made = self._make(name, form)
        return made if made.is_file() else next(made.glob("*.mcap"))

    def _pause(self, most: float = 0.2) -> None:
        time.sleep(self._random.uniform(0, most))  # the time of what happens is what is random here

    def _slowly(self, path: Path, target: Path, mode: str = "wb") -> None:
        content = path.read_bytes()
        at = 0
        with target.open(mode if target.exists() else "wb", buffering=0) as file:
            while at < len(content):
                end = at + self._random.randrange(1, len(content) // 2)
                file.write(content[at:end])
                at = end
                self._pause()
            file.truncate()

    def _renamed(self, path: Path, target: Path) -> None:
        draft = target.with_name(f"{target.name}.partial")
        target.parent.mkdir(exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, draft)
        else:
            shutil.copyfile(path, draft)
        draft.rename(target)

    # ---- the ways

    def slow(self, name: str) -> Callable[[], None]:
        path = self._file(name)
        self.truth.once.append(path)
        return lambda: self._slowly(path, self._incoming / path.name)

    def renamed(self, name: str) -> Callable[[], None]:
        path = self._make(name)
        self.truth.once.append(path)
        return lambda: self._renamed(path, self._incoming / path.name)

    def colliding(self, name: str) -> Callable[[], None]:
        """Arrive under a name that all of these have, each in a folder of its own."""
        path = self._file(name)
        self.truth.once.append(path)
        self._collisions += 1
        target = self._incoming / f"day{self._collisions}" / "take.bag"
        return lambda: self._renamed(path, target)

    def duplicated(self, name: str) -> Callable[[], None]:
        path = self._file(name)
        self.truth.once.append(path)

        def arrive() -> None:
            self._renamed(path, self._incoming / path.name)
            self._pause(1.0)
            self._slowly(path, self._incoming / f"again_{path.name}")

        return arrive

    def in_parts(self, name: str) -> Callable[[], None]:
        """Arrive as a rosbag2 folder, file by file, metadata.yaml last."""
        self._seed += 1
        whole = list(messages(self._seed, 60, "cdr"))
        path = record_split(self._ready / name, self._random.choice(("mcap", "db3")), [whole[:20], whole[20:]])
        self.truth.once.append(path)

        def arrive() -> None:
            target = self._incoming / name
            target.mkdir()
            for file in sorted(path.iterdir(), key=lambda file: (file.suffix == ".yaml", file.name)):
                self._slowly(file, target / file.name)
                self._pause(0.5)

        return arrive

    def renamed_over(self, name: str) -> Callable[[], None]:
        return self._replaced(name, self._renamed)

    def written_over(self, name: str) -> Callable[[], None]:
        return self._replaced(name, lambda path, target: self._slowly(path, target, "r+b"))

    def _replaced(self, name: str, replace: Callable[[Path, Path], None]) -> Callable[[], None]:
        first, second = self._file(f"{name}_first"), self._file(f"{name}_second")
        self.truth.perhaps.append(first)
        self.truth.once.append(second)

        def arrive() -> None:
            target = self._incoming / f"{name}.bag"
            self._renamed(first, target)
            self._pause(3.0)
            replace(second, target)

        return arrive

    def gone_again(self, name: str) -> Callable[[], None]:
        path = self._file(name)
        self.truth.perhaps.append(path)

        def arrive() -> None:
            self._renamed(path, self._incoming / path.name)
            self._pause(2.0)
            (self._incoming / path.name).unlink(missing_ok=True)

        return arrive

    def truncated(self, name: str) -> Callable[[], None]:
        path = self._file(name)
        content = path.read_bytes()
        path.write_bytes(content[: self._random.randrange(10, len(content) - 10)])
        self.truth.bad.append(path)
        return lambda: self._renamed(path, self._incoming / path.name)

    def corrupt(self, name: str) -> Callable[[], None]:
        """Arrive with an index that is fine and a chunk that is not."""
        path = self._file(name, "mcap-zstd")
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 8000] = bytes(8000)
        path.write_bytes(content)
        self.truth.bad.append(path)
        return lambda: self._renamed(path, self._incoming / path.name)

    ways: ClassVar[dict[str, Callable[[Any, str], Callable[[], None]]]] = {
        way.__name__.replace("_", " "): way
        for way in (
            slow,
            renamed,
            colliding,
            duplicated,
            in_parts,
            renamed_over,
            written_over,
            gone_again,
            truncated,
            corrupt,
        )
    }


class Soak:
    """A daemon, what arrives meanwhile, and the hand that kills."""

    def __init__(
        self, folder: Path, seed: int, ways: list[str], longest: float, after: str = "keep", minutes: float = 60
    ) -> None:
        self.folder = folder
        self.arrivals = Arrivals(folder, seed)
        self._to_come = self.arrivals.prepare(ways)
        self._latest = time.monotonic() + 60 * minutes  # monotonic seconds after which nothing arrives any more
        self._longest = longest  # seconds of undisturbed life
        self._random = random.Random(seed + 1)  # noqa: S311 - as above
        self.killed: Counter[str] = Counter()
        self.recordings: list[dict[str, Any]] = []  # as the last daemon knew them at its end
        self._all_here = threading.Event()
        source = {"scan": "500 ms", "settle": "500 ms", "give_up_after": "2 s", "attempts": 5}
        self.archive = folder / "archive"
        if after == "move":
            source |= {"after": "move", "move_to": str(self.archive)}
        self.config = settings(folder / "incoming", **source) | {"jobs": 2, "pool": "128 kB"}
        self.config["consumers"]["digest"]["recycle"] = {"chunks": 4}

    def run(self, kills: int) -> list[tuple[int, int]]:
        """Kill so many times while everything arrives; return the last daemon's memory by recordings done."""
        arriving = threading.Thread(target=self._arrive)
        arriving.start()
        try:
            while sum(self.killed.values()) < kills:
                with Watch(self.folder, self.config) as daemon:
                    while self._disturb(daemon) and sum(self.killed.values()) < kills:
                        pass
            with Watch(self.folder, self.config) as daemon:
                samples = self._watch_to_the_end(daemon)
                self.recordings = daemon.status()["recordings"]
                assert daemon.end() == 0
                return samples
        finally:
            arriving.join()

    def _arrive(self) -> None:
        for arrive, truth in self._to_come:
            if time.monotonic() < self._latest:
                self.arrivals.truth.add(truth)
                arrive()
        self._all_here.set()

    def _disturb(self, daemon: Watch) -> bool:
        """Kill one of the processes that there are; tell whether the daemon still lives."""
        time.sleep(self._random.uniform(0, self._longest))  # the time of the kill is what is random here
        victims = {"daemon": psutil.Process(daemon.process.pid)}
        with suppress(psutil.NoSuchProcess):
            for child in sorted(victims["daemon"].children(recursive=True), key=lambda child: child.pid):
                with suppress(psutil.NoSuchProcess, IndexError):
                    victims[child.cmdline()[3].split(".")[0]] = child
        kind = self._random.choice(["daemon", *sorted(victims.keys() - {"pipeline"})])
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            victims[kind].kill()
            self.killed[kind] += 1
        return kind != "daemon"

    def _watch_to_the_end(self, daemon: Watch) -> list[tuple[int, int]]:
        truth = self.arrivals.truth
        before, changed = -1, time.monotonic()

        def over() -> bool:
            nonlocal before, changed
            counts = daemon.status()["counts"]
            if counts["done"] != before:
                before, changed = counts["done"], time.monotonic()
                samples.append((before, anonymous(daemon.process.pid)))
            busy = sum(counts[state] for state in ("seen", "settling", "queued", "running"))
            return (
                self._all_here.is_set()
                and not busy
                and counts["done"] >= len(truth.once)
                and counts["quarantined"] >= len(truth.bad)
            )

        samples: list[tuple[int, int]] = []
        pause = 0.02 if len(self._to_come) < 200 else 1.0  # between two looks: an answer tells of many recordings
        while not over():
            assert time.monotonic() < changed + 1200, daemon.status()
            time.sleep(pause)
        return samples


def undisturbed(folder: Path, paths: list[Path]) -> dict[str, str]:
    """Return the digest of each recording by path, as plain runs find it, of some of them each."""
    for first in range(0, len(paths), 15):
        some = [str(path) for path in paths[first : first + 15]]
        config = settings(folder) | {"source": {"path": some}, "pool": "128 kB"}
        del config["free_space"]
        finished = run(folder, config, "--restart")
        assert finished.code == 0, finished
    return {str(path): json.dumps(digests(folder / "out" / f"{_stem(path)}.json")) for path in paths}


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def hold_against_undisturbed(soak: Soak) -> None:
    """Compare what came out with what a run makes of the same recordings to which nothing happens."""
    truth = soak.arrivals.truth
    right = undisturbed(soak.folder / "quiet", truth.once + truth.perhaps)
    came = Counter(json.dumps(digests(path)) for path in (soak.folder / "out").iterdir())
    assert [path.name for path in truth.once if came[right[str(path)]] != 1] == []
    assert [path.name for path in truth.perhaps if came[right[str(path)]] > 1] == []
    assert sum(came.values()) == sum(came[text] for text in right.values()), "something else came out"


def hold_the_bad_against_the_queue(soak: Soak) -> None:
    """Look whether each bad recording, and no other, was put aside, with a reason."""
    aside = {values["name"]: values["error"] for values in soak.recordings if values["state"] == "quarantined"}
    assert aside.keys() == {_stem(path) for path in soak.arrivals.truth.bad}
    assert all(aside.values())
    unfinished = {str(values["id"]) for values in soak.recordings if values["state"] != "done"}
    assert {path.name for path in (soak.folder / ".streamer" / "jobs").iterdir()} <= unfinished


def hold_the_archive_against_what_arrived(soak: Soak) -> None:
    """Look whether every recording's bytes are still there, once in the archive or where they arrived."""
    moved = Counter(digest for file in soak.archive.rglob("*") if (digest := content(file)))
    stayed = Counter(digest for file in (soak.folder / "incoming").rglob("*") if (digest := content(file)))
    for path in soak.arrivals.truth.once:
        files = [file for file in (path.iterdir() if path.is_dir() else [path]) if file.suffix != ".yaml"]
        assert all((moved + stayed)[content(file)] for file in files), path
    assert len(moved) >= len(soak.arrivals.truth.once)
    assert not [path for path in soak.archive.rglob("*") if path.name.startswith(".")]


def content(file: Path) -> str:
    """Return a digest of what is in a file of messages; empty for anything else."""
    if not file.is_file() or file.suffix == ".yaml":
        return ""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def soak(folder: Path, seed: int, ways: list[str], kills: int, longest: float, **how: Any) -> tuple[Soak, float | None]:
    """Run a soak and look at everything that it leaves; return it and the growth of the daemon in bytes a recording."""
    found = Soak(folder, seed, ways, longest, **how)
    samples = found.run(kills)
    if how.get("after") == "move":
        hold_the_archive_against_what_arrived(found)
    hold_against_undisturbed(found)
    hold_the_bad_against_the_queue(found)
    wait_until(lambda: not what_is_left(folder), f"an end without traces: {what_is_left(folder)}")
    return found, trend([samples]).slope


@pytest.fixture(autouse=True)
def nobody_left(tmp_path: Path) -> Iterator[None]:
    yield
    for process in processes(tmp_path):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.soak
def test_recordings_of_every_kind_come_out_once_whatever_is_killed(tmp_path: Path) -> None:
    found, _ = soak(tmp_path, seed=6, ways=list(Arrivals.ways), kills=3, longest=1.5)
    assert sum(found.killed.values()) == 3


@pytest.mark.soak
def test_recordings_of_every_kind_come_out_and_are_moved_once_whatever_is_killed(tmp_path: Path) -> None:
    found, _ = soak(tmp_path, seed=7, ways=list(Arrivals.ways) * 2, kills=5, longest=2.5, after="move")
    assert sum(found.killed.values()) == 5


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_minutes_of_recordings_and_kills_change_no_output_and_memory_is_flat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = time.time_ns() % 10**6
    with capsys.disabled():
        print(f"\nsoak: seed {seed}")  # noqa: T201 - so that it can be repeated
    began = time.monotonic()
    found, slope = soak(tmp_path, seed, list(Arrivals.ways) * 12, kills=30, longest=6.0)
    assert slope is not None
    with capsys.disabled():
        print(  # noqa: T201 - the result
            f"soak: {len(found.arrivals.truth.once)} recordings, killed {dict(found.killed)}, "
            f"{slope / 1e6:+.3f} MB a recording, {time.monotonic() - began:.0f} s"
        )
    assert slope <= MOST_GROWTH


SHARES = {"slow": 15, "renamed": 40, "colliding": 10, "duplicated": 10, "in parts": 15, "renamed over": 5}
SHARES |= {"written over": 5, "gone again": 4, "truncated": 3, "corrupt": 3}  # of 110 arrivals, 100 come out for sure


def main(count: int, minutes: float) -> None:
    """Let so many recordings arrive, most of them in the simplest way, and print how it went."""
    began, seed = time.monotonic(), time.time_ns() % 10**6
    print(f"soak: seed {seed}", flush=True)  # noqa: T201 - so that it can be repeated
    ways = [way for way, share in SHARES.items() for _ in range(share * count // 100)]
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        found, slope = soak(Path(folder), seed, ways, count // 20, longest=16.0, after="move", minutes=minutes)
    print(  # noqa: T201 - the result
        f"soak: {len(found.arrivals.truth.once)} recordings, killed {dict(found.killed)}, "
        f"{(slope or 0) / 1e3:+.1f} kB a recording, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
