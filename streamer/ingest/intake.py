"""What the watcher sees → entries in the queue: new recordings, copies, moves, replacements, what nobody finishes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.ingest.configuration import SECOND
from streamer.ingest.scan import scan
from streamer.ingest.sights import Sights
from streamer.ingest.watcher import Watcher
from streamer.source.find import is_text, printable, recording_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from structlog.typing import FilteringBoundLogger

    from streamer.ingest.configuration import InForce
    from streamer.ingest.queue import Entry, Queue
    from streamer.ingest.scan import Candidate
    from streamer.ingest.sights import Sight


class Intake:
    """Fills the queue; ``begin`` starts a watcher for a configuration, in place of the one before."""

    def __init__(self, queue: Queue, log: FilteringBoundLogger, tell: Callable[[], None]) -> None:
        self._queue, self._log, self._tell = queue, log, tell
        self._settled: dict[Path, Sight] = {}  # sights that the queue has taken in
        self._stale: dict[Path, int] = {}  # sights that proved wrong: the number of scans by then
        self._unread: tuple[str, ...] = ()  # what the last scan had to leave out
        self._told: set[str] = set()  # what of that is in the log
        self._watcher: Watcher | None = None

    def begin(self, settings: InForce) -> None:
        """Watch the folders of a configuration."""
        self.stop()
        self._settled.clear()
        self._stale.clear()
        self._settings = settings
        source = settings.config.source
        sights = Sights(source.settle / SECOND, self._queue.places())
        left_out = settings.left_out

        def look(stuck: Collection[Path], at: Callable[[Path], object]) -> list[Candidate]:
            problems = [f"{printable(path)} is left out: it does not answer; does its mount hang?" for path in stuck]
            found = scan(
                settings.folders,
                source.pattern,
                {*left_out, *stuck},
                lambda error: problems.append(_left_out(error)),
                at,
            )
            nameless = {candidate.path for candidate in found if not is_text(candidate.path)}
            problems += [f"{printable(path)} is left out: its name is not UTF-8; rename it" for path in nameless]
            self._unread = tuple(problems)
            return [candidate for candidate in found if candidate.path not in nameless]

        self._watcher = Watcher(settings.folders, look, sights, source.scan / SECOND, self._tell, left_out)
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.stop()

    @property
    def problem(self) -> str:
        """Why the folders are not scanned; empty where they are."""
        return self._watcher.problem if self._watcher is not None else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is left out, and why nothing is scanned."""
        return tuple(filter(None, (self.problem, *self._unread)))

    @property
    def sights(self) -> tuple[Sight, ...]:
        """What the last scan saw."""
        return self._watcher.sights if self._watcher is not None else ()

    @property
    def last_scan(self) -> float:
        """When the last scan succeeded, in Unix seconds."""
        return self._watcher.last if self._watcher is not None else 0.0

    def take_in(self, running: Collection[int]) -> None:
        """Bring the queue up to date with the last scan; ``running`` are the ids of recordings under way.

        Raises:
            Exception: an error of this program ended the watcher.

        """
        watcher = self._watcher
        if watcher is None:
            return
        if watcher.fault:
            raise watcher.fault
        watcher.look_after()
        for text in self._unread:
            if text not in self._told:
                self._log.warning(text)
        self._told = set(self._unread)
        sights, scans = watcher.sights, watcher.looks
        for path in self._settled.keys() - {sight.candidate.path for sight in sights}:
            del self._settled[path]
        self._stale = {path: number for path, number in self._stale.items() if number == scans}
        for sight in sights:
            path = sight.candidate.path
            is_new = self._settled.get(path) != sight and path not in self._stale
            if is_new and self._is_decided(sight) and self._admit(sight, running):
                self._settled[path] = sight

    def look_again_at(self, path: Path) -> None:
        """Take in what lies at a path once a scan that is still to come has seen it."""
        self._settled.pop(path, None)
        self._stale[path] = self._watcher.looks if self._watcher is not None else 0

    def _is_decided(self, sight: Sight) -> bool:
        """Tell whether a recording has settled, or is given up unfinished."""
        source = self._settings.config.source
        if sight.state != "unfinished":
            return sight.state == "settled"
        waited = time.monotonic() - sight.since >= source.give_up_after / SECOND
        return waited and source.unfinished != "wait" and bool(sight.identity)

    def _admit(self, sight: Sight, running: Collection[int]) -> bool:
        """Take in a recording that no longer changes; False where that has to wait for the end of a pipeline."""
        candidate, queue = sight.candidate, self._queue
        entry = queue.by_identity(sight.identity)
        if entry is not None:
            return self._admit_known(entry, candidate)
        entry = queue.at(candidate.path)
        if entry is None:
            entry = queue.add(recording_name(candidate.path), candidate.path, sight.identity, candidate.mark)
            self._log.info("found", recording=entry.name, path=str(entry.path), size=candidate.mark.size)
        elif entry.id in running:
            return False
        else:
            self._log.info("replaced", recording=entry.name, path=str(entry.path))
            entry = queue.replaced(entry, sight.identity, candidate.mark)
        entry = queue.found_at(entry, candidate.path, candidate.mark)
        if sight.state == "unfinished":
            self._judge_unfinished(entry, sight)
        return True

    def _admit_known(self, entry: Entry, candidate: Candidate) -> bool:
        """Take in a recording that was here before, perhaps elsewhere."""
        queue = self._queue
        known = queue.knows(candidate.path, candidate.mark)
        if entry.state in ("failed", "quarantined") and candidate.mark != entry.mark and not known:
            # equal in size and at both ends: the middle may be damaged in the copy that failed, and whole in this one
            self._log.info("another copy", recording=entry.name, path=str(candidate.path), of=str(entry.path))
            entry = queue.found_at(entry, candidate.path, candidate.mark)
            queue.replaced(entry, entry.identity, candidate.mark)
            return True
        if entry.path != candidate.path:
            if entry.path.exists():
                self._log.info("a copy", recording=entry.name, path=str(candidate.path), of=str(entry.path))
                queue.place(candidate.path, candidate.mark, entry)
                return True
            self._log.info("moved", recording=entry.name, path=str(candidate.path), before=str(entry.path))
        entry = queue.found_at(entry, candidate.path, candidate.mark)
        if entry.state == "failed" and entry.next_try is None:
            queue.settled_again(entry)
        return True

    def _judge_unfinished(self, entry: Entry, sight: Sight) -> None:
        """Decide what becomes of a recording that nobody finishes."""
        if self._settings.config.source.unfinished == "salvage":
            self._queue.to_salvage(entry, sight.problem)
            return
        why = f"it was not finished: {sight.problem}"
        self._queue.quarantine(entry, why)
        self._log.error("quarantined", recording=entry.name, path=str(entry.path), error=why)


def _left_out(error: OSError) -> str:
    return f"{printable(Path(error.filename or ''))} is left out: {error.strerror}"
