"""Watched folders → what lies in them: recordings that grow, that have settled, that nobody finishes.

A scan is the truth; what the kernel tells of changes only makes the next scan come sooner (network mounts tell
nothing). A scan of a mount that hangs may take for ever, so all of it happens in a thread of its own.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.ingest.proof import identity_of, unfinished
from streamer.source.find import data_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_ENDINGS = (".bag", ".mcap", ".db3")
_IGNORED = (".active", ".tmp", ".partial")
_LONGEST_UNPROVED = 600.0  # seconds between two looks into a recording that stays unfinished
_SHORTEST_WAIT = 0.2  # seconds between two scans, however much is told …
_LONGEST_SHARE = 0.1  # … and of the time that scans may take
_SECOND_LOOK = 1.0  # seconds behind the first: what came before the kernel was asked to tell is not told
_LONGEST_LOOK = 60.0  # seconds, after which a person is told that it takes long
_HINT_SECONDS = 5  # between two looks whether a watched folder is still the same
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
    proved: float = field(default=0.0, compare=False)  # when it was last found unfinished, in monotonic seconds


def scan(
    folders: Sequence[Path],
    patterns: Sequence[str],
    left_out: Sequence[Path] = (),
    skipped: Callable[[OSError], object] = lambda _: None,
) -> list[Candidate]:
    """Return the recordings in the folders and below, each once, but for what is hidden or still has a working name.

    What below a folder cannot be looked at is given to ``skipped``: it must not keep the rest from being found.

    Raises:
        OSError: one of the folders themselves cannot be read.

    """
    found: dict[Path, Candidate] = {}
    for folder in folders:
        os.listdir(folder)  # noqa: PTH208 - a folder that is not mounted is no empty folder
        for path, files in _walk(folder, set(left_out), skipped):
            if any(_matches(name, pattern) for name in (path, *files) for pattern in patterns):
                with _vanishing(skipped):
                    found.setdefault(path, Candidate(path, files, mark_of(files)))
    return list(found.values())


@contextmanager
def _vanishing(skipped: Callable[[OSError], object]) -> Iterator[None]:
    """Look at something that may be gone by now, or forbidden, a link to itself, on a failing disk."""
    try:
        yield
    except FileNotFoundError:
        return
    except OSError as error:
        skipped(error)


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files of a recording, as `Candidate` has them.

    Raises:
        OSError: it is not there.

    """
    if not path.is_dir():
        return (path,)
    files = _rosbag2(path, list(path.iterdir()))
    if not files:
        raise FileNotFoundError(errno.ENOENT, "the folder holds no recording any more", str(path))
    return files


def _walk(
    folder: Path, left_out: set[Path], skipped: Callable[[OSError], object]
) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    files: tuple[Path, ...] | None = None
    entries: list[os.DirEntry[str]] = []
    with _vanishing(skipped):
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if _counts(entry.name)), key=lambda entry: entry.name)
        files = _rosbag2(folder, [folder / entry.name for entry in entries])
    if files is not None:
        yield folder, files
        return
    for entry in entries:
        path = folder / entry.name
        if path in left_out:
            continue
        is_folder = is_recording = False
        with _vanishing(skipped):
            is_folder = entry.is_dir(follow_symlinks=False)
            is_recording = path.suffix in _ENDINGS and entry.is_file()  # no pipe: who opens one waits for its writer
        if is_folder:
            yield from _walk(path, left_out, skipped)
        elif is_recording:
            yield path, (path,)


def _counts(name: str) -> bool:
    """Tell whether a name is neither hidden nor a working name."""
    return not name.startswith(".") and not name.endswith(_IGNORED)


def _rosbag2(folder: Path, paths: Sequence[Path]) -> tuple[Path, ...] | None:
    """Return the files of a rosbag2 folder, also of one whose recorder is still at work; None where it is none."""
    if not any({".mcap", ".db3"} & set(path.suffixes) for path in paths):
        return None
    files = [path for path in data_files(folder) if _counts(path.name)]
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
        if before.state == "unfinished" and now - before.proved < min(before.proved - before.since, _LONGEST_UNPROVED):
            return before  # the longer it lies there unchanged, the more seldom it is read again
        return _prove(before, now)


def _prove(before: Sight, now: float) -> Sight:
    """Look into a recording that has not changed."""
    candidate = before.candidate
    try:
        problem = unfinished(candidate.path) or ""
        who = identity_of(candidate.files)
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
        return replace(before, state="unfinished", problem=why, proved=now)
    state = "unfinished" if problem else "settled"
    return replace(before, state=state, identity=who, problem=problem, proved=now)


class Lookout:
    """A thread that looks through the folders, as often as it must and as soon as something is told."""

    def __init__(
        self,
        folders: Sequence[Path],
        look: Callable[[], list[Candidate]],
        sights: Sights,
        every: float,
        tell: Callable[[], None],
        left_out: Sequence[Path] = (),
    ) -> None:
        """Call ``tell`` behind every look; ``look`` scans, at least ``every`` so many seconds."""
        self._folders, self._left_out = folders, left_out
        self._look, self._sights, self._every, self._tell = look, sights, every, tell
        self._hint = threading.Event()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="scan", daemon=True),
            threading.Thread(target=self._listen, name="hints", daemon=True),
        ]
        self._began: float | None = None  # the look under way, in monotonic seconds
        self._failed = ""  # why the last scan failed
        self.fault: Exception | None = None  # of ours: it ended the thread
        self.last = 0.0  # when the last one succeeded, Unix seconds
        self.looks = 0  # that succeeded

    @property
    def sights(self) -> tuple[Sight, ...]:
        """What the last scan saw."""
        return self._sights.all

    @property
    def problem(self) -> str:
        """Why the folders are not looked through; empty where they are."""
        began = self._began
        if began is not None and (late := time.monotonic() - began) > self._every + _LONGEST_LOOK:
            return f"a look through the folders has been under way for {late:.0f} s: does a mount hang?"
        return self._failed

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
            wait = self._every if self.looks else min(self._every, _SECOND_LOOK)
            self._hint.clear()
            self._began = began = time.monotonic()
            try:
                wait = min(wait, self._sights.take(self._look(), self._began))
                self._failed, self.last = "", time.time()
                self.looks += 1
            except OSError as error:
                self._failed = f"{error.filename} cannot be looked through: {error.strerror}"
            except Exception as error:  # noqa: BLE001 - a thread has nobody to raise it to: the loop does so in its place
                self.fault = error
                self._stop.set()
            self._began = None
            self._tell()
            self._stop.wait(max(_SHORTEST_WAIT, (time.monotonic() - began) / _LONGEST_SHARE))
            self._hint.wait(wait)

    def _listen(self) -> None:
        """Take hints, with no promise of completeness; a folder that is mounted anew is told of anew."""
        before = ""
        while not self._stop.is_set():
            try:
                self._hear_of_changes([_number(folder) for folder in self._folders])
            except (OSError, RuntimeError) as error:  # a folder is not there, no inotify left: the scans go on
                if str(error) != before:
                    _log.warning("changes are not told (%s): a look every %g s finds them", error, self._every)
                before = str(error)
            self._stop.wait(self._every)

    def _hear_of_changes(self, numbers: list[tuple[int, int]]) -> None:
        from watchfiles import watch

        for changes in watch(
            *self._folders,
            watch_filter=self._matters,
            stop_event=self._stop,
            debounce=500,
            step=100,
            rust_timeout=_HINT_SECONDS * 1000,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        ):
            if changes:
                self._hint.set()
            if [_number(folder) for folder in self._folders] != numbers:
                self._hint.set()
                return

    def _matters(self, change: object, name: str) -> bool:
        """Tell whether something happened to what a scan would find; what we write ourselves must not wake us."""
        del change
        path = Path(name)
        if any(path.is_relative_to(folder) for folder in self._left_out):
            return False
        below = next((path.relative_to(f) for f in self._folders if path.is_relative_to(f)), path)
        return all(_counts(part) for part in below.parts)


def _number(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
