"""Watched folders → what lies in them: recordings that grow, that have settled, that nobody finishes.

A scan is the truth; what the kernel tells of changes only makes the next scan come sooner (network mounts tell
nothing). A scan of a mount that hangs may take for ever, so all of it happens in a thread of its own.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from streamer.ingest.proof import identity, unfinished
from streamer.source.find import data_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_ENDINGS = (".bag", ".mcap", ".db3")
_IGNORED = (".active", ".tmp", ".partial")
_SHORTEST_WAIT = 0.2  # seconds between two scans, however much is told …
_LONGEST_SHARE = 0.1  # … and of the time that scans may take
_log = logging.getLogger("streamer.ingest")


@dataclass(frozen=True, slots=True)
class Mark:
    """What changes when a recording does: bytes and files, the newest time of change, the first file's number."""

    size: int
    files: int
    changed: int  # ns
    inode: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recording as it lies there: a file, or a rosbag2 folder with its files."""

    path: Path
    files: tuple[Path, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a candidate: ``state`` is seen, settling, unfinished or settled.

    ``since`` is when it was last found changed, in monotonic seconds; ``identity`` is that of a settled one,
    ``problem`` says what keeps one from being complete.
    """

    candidate: Candidate
    state: str
    since: float
    identity: str = ""
    problem: str = ""


def scan(folders: Sequence[Path], patterns: Sequence[str], left_out: Sequence[Path] = ()) -> list[Candidate]:
    """Return the recordings in the folders and below, each once, but for what is hidden or still has a working name.

    Raises:
        OSError: a folder cannot be read; those below one that can are left out where they vanish.

    """
    found: dict[Path, Candidate] = {}
    for folder in folders:
        os.listdir(folder)  # noqa: PTH208 - a folder that is not mounted is no empty folder
        for path, files in _walk(folder, set(left_out)):
            if any(_matches(name, pattern) for name in (path, *files) for pattern in patterns):
                try:
                    found.setdefault(path, Candidate(path, files, mark_of(files)))
                except FileNotFoundError:  # it was there a moment ago
                    continue
    return list(found.values())


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a recording, as `Candidate` has them.

    Raises:
        OSError: it is not there.

    """
    if not path.is_dir():
        return (path,)
    return _rosbag2(path, list(path.iterdir())) or ()


def _walk(folder: Path, left_out: set[Path]) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return
    paths = [folder / name for name in names if not name.startswith(".") and not name.endswith(_IGNORED)]
    if (files := _rosbag2(folder, paths)) is not None:
        yield folder, files
        return
    for path in paths:
        if path in left_out:
            continue
        if path.suffix in _ENDINGS and not path.is_dir():
            yield path, (path,)
        elif path.is_dir() and not path.is_symlink():
            yield from _walk(path, left_out)


def _rosbag2(folder: Path, paths: Sequence[Path]) -> tuple[Path, ...] | None:
    """Return the files of a rosbag2 folder, also of one whose recorder is still at work; None where it is none."""
    if not any({".mcap", ".db3"} & set(path.suffixes) for path in paths):
        return None
    files = data_files(folder)
    part = re.compile(re.escape(folder.name) + r"_\d+\.(mcap|db3)(\.zstd)?")
    if folder / "metadata.yaml" in paths:
        return (*files, folder / "metadata.yaml")
    return tuple(files) if files and all(part.fullmatch(path.name) for path in files) else None


def _matches(path: Path, pattern: str) -> bool:
    return fnmatch.fnmatch(str(path) if "/" in pattern else path.name, pattern)


def mark_of(files: Sequence[Path]) -> Mark:
    """Return the mark of a recording's files.

    Raises:
        OSError: one is not there.

    """
    stats = [path.stat() for path in files]
    return Mark(sum(s.st_size for s in stats), len(stats), max(s.st_mtime_ns for s in stats), stats[0].st_ino)


class Sights:
    """Scans, one after the other → sights: how long each recording has not changed, and whether it is complete."""

    def __init__(self, settle: float, known: dict[tuple[Path, Mark], str] | None = None) -> None:
        """Begin with the identities that are ``known`` from before; ``settle`` in seconds."""
        self._settle = settle
        self._known = known or {}
        self.all: tuple[Sight, ...] = ()

    def take(self, found: Sequence[Candidate], now: float) -> float:
        """Take in a scan made at ``now``; return the seconds until something may have settled, inf for never."""
        before = {sight.candidate.path: sight for sight in self.all}
        self.all = tuple(self._look(candidate, before.get(candidate.path), now) for candidate in found)
        waits = [sight.since + self._settle - now for sight in self.all if sight.state in ("seen", "settling")]
        return max(0.0, min(waits)) if waits else float("inf")

    def _look(self, candidate: Candidate, before: Sight | None, now: float) -> Sight:
        if before is None or before.candidate.mark != candidate.mark:
            if who := self._known.get((candidate.path, candidate.mark)):
                return Sight(candidate, "settled", now, who)
            return Sight(candidate, "seen" if before is None else "settling", now)
        if before.state == "settled":
            return before
        if now - before.since < self._settle:
            return replace(before, state="settling")
        try:
            problem = unfinished(candidate.path) or ""
            who = identity([path for path in candidate.files if path.name != "metadata.yaml"])
        except OSError as error:
            return replace(before, state="unfinished", problem=f"it cannot be read: {error.strerror}")
        return replace(before, state="unfinished" if problem else "settled", identity=who, problem=problem)


class Lookout:
    """A thread that looks through the folders, as often as it must and as soon as something is told."""

    def __init__(
        self,
        folders: Sequence[Path],
        look: Callable[[], list[Candidate]],
        sights: Sights,
        every: float,
        tell: Callable[[], None],
    ) -> None:
        """Call ``tell`` behind every look; ``look`` scans, at least ``every`` so many seconds."""
        self._folders = folders
        self._look, self._sights, self._every, self._tell = look, sights, every, tell
        self._hint = threading.Event()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="scan", daemon=True)]
        if all(folder.is_dir() for folder in folders):
            self._threads.append(threading.Thread(target=self._listen, name="hints", daemon=True))
        self.problem = ""  # why the last scan failed
        self.last = 0.0  # when the last one succeeded, Unix seconds

    @property
    def sights(self) -> tuple[Sight, ...]:
        """What the last scan saw."""
        return self._sights.all

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; a thread that hangs in a dead mount is left to the end of the process."""
        self._stop.set()
        self._hint.set()
        for thread in self._threads:
            thread.join(1.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            wait = self._every
            self._hint.clear()
            began = time.monotonic()
            try:
                wait = min(wait, self._sights.take(self._look(), time.monotonic()))
                self.problem, self.last = "", time.time()
            except OSError as error:
                self.problem = f"{error.filename} cannot be looked through: {error.strerror}"
            self._tell()
            self._stop.wait(max(_SHORTEST_WAIT, (time.monotonic() - began) / _LONGEST_SHARE))
            self._hint.wait(wait)

    def _listen(self) -> None:
        """Take hints: watchfiles tells of changes, with no promise of completeness."""
        from watchfiles import watch

        try:
            for _ in watch(*self._folders, stop_event=self._stop, debounce=1000, step=250, rust_timeout=5000):
                self._hint.set()
        except (OSError, RuntimeError) as error:  # no inotify left, or a folder has gone: the scans go on
            _log.warning("changes are not told (%s): folders are looked through every %g s", error, self._every)
