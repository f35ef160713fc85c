"""Watched folders → sights, kept up to date by a thread.

The periodic scan is the truth. What the kernel reports of changes only makes the next scan come sooner, since network
mounts report nothing. A mount that hangs never answers. So the scan has a thread of its own; one that gets stuck is
left behind with its path, and another thread scans the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from streamer.ingest.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from streamer.ingest.scan import Candidate
    from streamer.ingest.sights import Sight, Sights

    Scan = Callable[[Collection[Path], Callable[[Path], object]], list[Candidate]]  # paths to leave out, `at`

_SHORTEST_WAIT = 0.2  # seconds between two scans, however many changes are reported …
_LONGEST_SHARE = 0.1  # … and the share of the time that scans may take
_STUCK_SECONDS = 60.0  # at one path, after which its mount counts as hanging
_MOST_STUCK = 8  # threads that are left behind
_REPORT_SECONDS = 5  # between two checks whether a watched folder is still the same
_ASK_SECONDS = 0.25  # for which the kernel is asked for changes, before a look whether to stop
_log = logging.getLogger("streamer.ingest")


class _LeftBehindError(Exception):
    """This thread was stuck and another one scans now."""


class Watcher:
    """Looks through the folders at least ``every`` so many seconds, and soon after a change is reported."""

    def __init__(
        self,
        folders: Sequence[Path],
        scan: Scan,
        sights: Sights,
        every: float,
        tell: Callable[[], None],
        left_out: Sequence[Path] = (),
    ) -> None:
        """Call ``tell`` after every scan; changes below ``left_out`` cause none."""
        self._folders, self._left_out = folders, left_out
        self._scan, self._sights, self._every, self._tell = scan, sights, every, tell
        self._hint = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._life = 0  # of the thread that scans; those left behind have a lower number
        self._at: tuple[Path, float] | None = None  # where it is, since when in monotonic seconds
        self._stuck: dict[int, Path] = {}  # where those are that were left behind
        self._threads: list[threading.Thread] = []
        self._said: set[str] = set()  # why changes are not reported
        self._failed = ""  # why the last scan failed
        self.fault: Exception | None = None  # an error of this program: it ended the thread
        self.last = 0.0  # when the last scan succeeded, in Unix seconds
        self.looks = 0  # scans that succeeded

    @property
    def sights(self) -> tuple[Sight, ...]:
        """What the last scan saw."""
        return self._sights.all

    @property
    def problem(self) -> str:
        """Why the folders cannot be scanned; empty where they can."""
        at = self._at
        if at is not None and (late := time.monotonic() - at[1]) > _STUCK_SECONDS:
            return f"{at[0]} has not answered for {late:.0f} s: does its mount hang?"
        return self._failed

    @property
    def stuck(self) -> tuple[Path, ...]:
        """Paths that are left out because they never answered."""
        return tuple(self._stuck.values())

    def start(self) -> None:
        """Begin to watch."""
        self._begin("scan", self._run, self._life)
        self._begin("changes", self._listen)

    def look_after(self) -> None:
        """Leave a thread that is stuck behind, and go on with another; call it now and then."""
        with self._lock:
            at = self._at
            if at is None or time.monotonic() - at[1] < _STUCK_SECONDS or len(self._stuck) >= _MOST_STUCK:
                return
            self._stuck[self._life] = at[0]
            self._life += 1
            self._at = None
            self._begin("scan", self._run, self._life)

    def stop(self) -> None:
        """End; a thread that is stuck ends with the process."""
        self._stop.set()
        self._hint.set()
        for thread in self._threads:
            thread.join(1.0)

    def _begin(self, name: str, run: Callable[..., None], *arguments: int) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()][-2:]
        self._threads.append(threading.Thread(target=run, args=arguments, name=name, daemon=True))
        self._threads[-1].start()

    # ---- the thread that scans

    def _run(self, life: int) -> None:
        try:
            while not self._stop.is_set():
                self._look(life)
        except _LeftBehindError:
            with self._lock:  # it answers again
                self._stuck.pop(life, None)
            self._hint.set()

    def _look(self, life: int) -> None:
        wait = self._every
        self._hint.clear()
        began = time.monotonic()
        at = self._whereabouts(life)
        try:
            found = self._scan(tuple(self._stuck.values()), at)
            wait = min(wait, self._sights.take(found, began, at))
            self._failed, self.last = "", time.time()
            self.looks += 1
        except _LeftBehindError:
            raise
        except OSError as error:
            at(None)
            self._failed = f"{error.filename} cannot be scanned: {error.strerror}"
        except Exception as error:  # noqa: BLE001 - a thread has nobody to raise it to: the loop does so in its place
            self.fault = error
            self._stop.set()
        self._tell()
        self._stop.wait(max(_SHORTEST_WAIT, (time.monotonic() - began) / _LONGEST_SHARE))
        self._hint.wait(wait)

    def _whereabouts(self, life: int) -> Callable[[Path | None], None]:
        """Return what the scan tells where it is; it ends a scan that was left behind before that can do anything."""

        def at(path: Path | None) -> None:
            with self._lock:
                if life != self._life:
                    raise _LeftBehindError
                self._at = None if path is None else (path, time.monotonic())

        return at

    # ---- the thread that hears of changes

    def _listen(self) -> None:
        """Wait for reports of changes, with no promise of completeness; a folder that is mounted anew is asked anew."""
        while not self._stop.is_set():
            try:
                self._hear_of_changes([_number(folder) for folder in self._folders])
            except (OSError, MemoryError) as error:  # a folder is not there, the system has too little: the scans go on
                self._say_once("changes are not reported", error)
            self._stop.wait(self._every)

    def _hear_of_changes(self, numbers: list[tuple[int, int]]) -> None:
        with Changes(self._left_out) as changes:
            for folder in self._folders:
                changes.watch(folder)
            self._hint.set()  # for what came before the kernel was asked
            look_at = time.monotonic() + _REPORT_SECONDS
            while not (self._stop.is_set() or changes.lost):
                if changes.refused is not None:
                    self._say_once("not all changes are reported", changes.refused)
                if changes.read(_ASK_SECONDS):
                    self._hint.set()
                    self._stop.wait(_SHORTEST_WAIT)  # many changes at once are one hint
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + _REPORT_SECONDS
                    if [_number(folder) for folder in self._folders] != numbers:
                        break
        self._hint.set()

    def _say_once(self, what: str, why: BaseException) -> None:
        if (text := f"{what} (inotify: {why})") not in self._said:
            self._said.add(text)
            _log.warning("%s: a scan every %g s finds them", text, self._every)


def _number(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino
