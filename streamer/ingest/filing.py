"""Recordings that every consumer has committed → filed one after the other, by a thread: a copy may take long."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from streamer.ingest.configuration import LONGEST_BACKOFF
from streamer.ingest.queue import Queue
from streamer.ingest.removal import CannotFileError, Filed, file_away

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from streamer.files import FileIdentity
    from streamer.ingest.queue import Entry

_AHEAD = 8  # recordings that are handed to the thread at once


class Filing:
    """Moves or deletes what is done; what cannot be is tried again, later each time, and holds up nothing else."""

    def __init__(self, queue: Queue, log: FilteringBoundLogger, tell: Callable[[], None]) -> None:
        """Call ``tell``, from the thread, after each recording; everything else happens in the caller's thread."""
        self._queue, self._log, self._tell = queue, log, tell
        self._thread = ThreadPoolExecutor(1, "filing")
        self._stop = Event()
        self._under_way: dict[int, Future[Filed]] = {}
        self._refused: dict[int, tuple[str, int, float]] = {}  # why, how often, when to try again (monotonic seconds)
        self._closed_until = 0.0  # the archive itself refuses, in monotonic seconds
        self.backoff = 30.0  # seconds, doubled with each refusal

    @property
    def problem(self) -> str:
        """Why the last one could not be filed, and how many others could not; empty where all is well."""
        if not self._refused:
            return ""
        text = next(reversed(self._refused.values()))[0]
        others = len(self._refused) - 1
        return f"{text} (and {others} more)" if others else text

    def seconds_to_next(self) -> float:
        """Return how long it is until something is to be tried again, inf for never."""
        times = [max(again, self._closed_until) for _, _, again in self._refused.values()]
        return max(0.0, min(times) - time.monotonic()) if times else float("inf")

    def take_in(self) -> None:
        """Note what has been filed, and what could not be."""
        for number, future in list(self._under_way.items()):
            if future.done():
                del self._under_way[number]
                self._take_in(self._queue.get(number), future)

    def begin(self, archive: Path | None) -> None:
        """Begin with what is to be filed: moved into ``archive``, or deleted where that is None."""
        now = time.monotonic()
        if now < self._closed_until:
            return
        later = {number for number, (_, _, again) in self._refused.items() if now < again}
        for entry in self._queue.unfiled(later | self._under_way.keys(), _AHEAD - len(self._under_way)):
            future = self._thread.submit(self._file, entry, archive)
            future.add_done_callback(lambda _: self._tell())
            self._under_way[entry.id] = future

    def close(self) -> None:
        """Give up a copy that is under way: it is made again when the daemon is started again."""
        self._stop.set()
        self._thread.shutdown(cancel_futures=True)
        ended = {n: f for n, f in self._under_way.items() if not f.cancelled() and f.exception() is None}
        self._under_way = ended
        self.take_in()

    def _file(self, entry: Entry, archive: Path | None) -> Filed:
        """File one, in the thread, which writes down by itself what has to be known after a kill."""

        def note(proven: dict[str, FileIdentity]) -> None:
            with Queue(self._queue.path) as queue:
                queue.read_from(entry, proven)

        return file_away(entry.path, entry.read, archive, self._stop.is_set, note)

    def _take_in(self, entry: Entry, future: Future[Filed]) -> None:
        try:
            filed = future.result()
        except CannotFileError as error:
            self._refuse(entry, error)
            return
        self._refused.pop(entry.id, None)
        self._closed_until = 0.0
        self._queue.filed(entry, filed.what, filed.path)
        log = self._log.warning if filed.what.startswith("kept") else self._log.info
        log("filed", recording=entry.name, path=str(entry.path), what=filed.what)

    def _refuse(self, entry: Entry, error: CannotFileError) -> None:
        before, times, _ = self._refused.pop(entry.id, ("", 0, 0.0))
        wait = min(self.backoff * 2 ** min(times, 20), LONGEST_BACKOFF)
        self._refused[entry.id] = (str(error), times + 1, time.monotonic() + wait)
        if error.read is not None:
            self._queue.read_from(entry, error.read)
        if error.everywhere:
            self._closed_until = time.monotonic() + self.backoff
        if str(error) != before:
            self._log.error("not filed", recording=entry.name, error=str(error))
