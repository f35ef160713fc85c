"""The queue → pipelines at work, as many as fit, and what becomes of each recording when its pipeline ends."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from streamer.errors import StorageError, from_shortage
from streamer.files import FileIdentity
from streamer.ingest.configuration import LONGEST_BACKOFF, SECOND
from streamer.ingest.scan import files_of, mark_of
from streamer.ingest.snapshot import Running, newest_image
from streamer.ledger import why_unusable
from streamer.pipelines.process import Pipeline
from streamer.pipelines.retry import AgainAt, Rule, decide
from streamer.pipelines.unit import Ended
from streamer.runtime.messages import Planned
from streamer.supervisor.recording import fill_in
from streamer.supervisor.workdir import Workdir
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from streamer.config.load import Loaded
    from streamer.ingest.configuration import InForce
    from streamer.ingest.queue import Entry, Queue
    from streamer.ingest.scan import Mark
    from streamer.runtime.channel import Channel

_HELD = "somebody asked for it; what runs goes on (streamer resume, or the page's button, lets new ones begin)"
_MOST_REPORTS = 1000  # of recordings that are done


@dataclass(slots=True)
class _Job:
    """A pipeline at work."""

    entry: Entry
    pipeline: Pipeline
    loaded: Loaded
    doubtful: bool = False  # whether its reader may have opened other files than an earlier one, or than were found


class Scheduler:
    """Begins pipelines and notes how they end; every decision is in the queue before it is carried out."""

    def __init__(
        self, workdir: Workdir, queue: Queue, log: FilteringBoundLogger, look_again_at: Callable[[Path], None]
    ) -> None:
        """Call ``look_again_at`` with the path of a recording that has changed."""
        self._workdir, self._queue, self._log = workdir, queue, log
        self._look_again_at = look_again_at
        self._jobs: dict[int, _Job] = {}
        self._put_off: dict[int, int] = {}  # attempts in a row that did not count, by id
        self.paused: str | None = None  # why nothing new is begun

    @property
    def running(self) -> dict[int, str]:
        """The ids and names of the recordings under way."""
        return {number: job.entry.name for number, job in self._jobs.items()}

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when a pipeline says something or ends."""
        return [what for job in self._jobs.values() for what in job.pipeline.watched()]

    def shown(self) -> tuple[Running, ...]:
        """Return the recordings under way, for display."""
        return tuple(
            Running(job.entry, job.pipeline.status, partial(newest_image, job.loaded, job.entry.name))
            for job in self._jobs.values()
        )

    def take_up(self) -> None:
        """Queue what a daemon left that was killed, and remove what nobody needs any more."""
        for entry in self._queue.take_up():
            self._log.error("quarantined", recording=entry.name, error=entry.error)
        known = {str(entry.id) for entry in self._queue.not_done()}
        jobs = self._workdir.path / "jobs"
        jobs.mkdir(exist_ok=True)
        for folder in jobs.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def drain(self) -> None:
        """Have every pipeline finish the chunks at hand; asked twice, it stops at once."""
        for job in self._jobs.values():
            job.pipeline.drain()

    def close(self) -> None:
        """End what still runs: the daemon was stopped at once, or has failed; the next one takes it up."""
        for number, job in self._jobs.items():
            job.pipeline.close()
            with suppress(StorageError):  # perhaps why we end; then the next daemon finds it running, and takes it up
                self._queue.interrupted(self._queue.get(number))

    # ---- beginning

    def begin(self, settings: InForce) -> None:
        """Begin as many recordings as fit."""
        self.paused = _HELD if self._queue.held else None
        if self.paused is not None:
            return
        free = settings.most - len(self._jobs)
        if free <= 0:
            return
        waiting = self._queue.waiting(newest_first=settings.config.source.order == "newest")
        if waiting:
            self.paused = _too_full(settings)
        for entry in waiting[:free] if self.paused is None else ():
            self._begin(entry, settings)

    def try_again(self) -> None:
        """Queue what failed and whose time has come."""
        for entry in self._queue.due(time.time(), LONGEST_BACKOFF):
            self._queue.next_attempt(entry)

    def seconds_to_next_try(self) -> float:
        """Return how long it is until something is to be tried again; at most as long as any back-off."""
        when = self._queue.next_try()
        if when is None:
            return LONGEST_BACKOFF
        return min(max(0.0, when - time.time()), LONGEST_BACKOFF)

    def _begin(self, entry: Entry, settings: InForce) -> None:
        try:
            why = "" if _mark(entry) == entry.mark else "it has changed since it was found"
        except OSError:
            why = "it is no longer there"
        if why:
            self._queue.failed(entry, why, None)
            self._look_again_at(entry.path)
            return
        folder = self._folder(entry)
        if why := why_unusable(Workdir(folder).ledger):
            self._log.warning("begun anew, as its ledger cannot be used", recording=entry.name, error=why)
            entry = self._queue.from_nothing(entry)
        if entry.anew or entry.configuration != settings.fingerprint:
            shutil.rmtree(folder, ignore_errors=True)
        entry = self._queue.begun(entry, settings.fingerprint)
        own: dict[str, Any] = dict(settings.own)
        if entry.salvage:
            own["source"] = settings.loaded.values["source"] | {"on_damage": "salvage"}
        flush = settings.config.source.after != "keep"
        try:
            pipeline = Pipeline(settings.loaded, entry.path, entry.name, folder, settings=own, flush=flush)
        except (OSError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and from_shortage(error) is None:
                raise
            why = getattr(error, "strerror", None) or str(from_shortage(error))
            self._fail(entry, Ended("failed", StorageError(f"the system refused a process: {why}")), settings)
            return
        self._jobs[entry.id] = _Job(entry, pipeline, settings.loaded)
        self._log.info("begun", recording=entry.name, path=str(entry.path), attempt=entry.attempts, pid=pipeline.pid)

    # ---- hearing

    def hear(self, settings: InForce) -> None:
        """Take in what the pipelines say, and which have ended."""
        for number, job in list(self._jobs.items()):
            ended = job.pipeline.ended()
            for message in job.pipeline.heard():
                if isinstance(message, Planned):
                    self._take_in_plan(job, message)
                else:
                    self._log.warning(message.text, recording=job.entry.name, **message.about)
            if ended is not None:
                job.pipeline.close()
                del self._jobs[number]
                self._take_in_end(job, ended, settings)

    def _take_in_plan(self, job: _Job, message: Planned) -> None:
        entry = job.entry
        self._log.info("planned", recording=entry.name, frames=message.frames, chunks=message.chunks)
        for warning in message.warnings:
            self._log.warning(warning, recording=entry.name)
        opened = {name: FileIdentity.from_wire(values) for name, values in message.files.items()}
        with suppress(OSError):  # it has gone: so what the reader opened was the right one
            job.doubtful |= _mark(entry) != entry.mark
        job.doubtful |= not opened or (bool(entry.read) and not _same_content(entry.read, opened))
        if not entry.read:  # what the first of several readers opened tells of every later change
            job.entry = self._queue.read_from(entry, opened)

    def _take_in_end(self, job: _Job, ended: Ended, settings: InForce) -> None:
        entry = self._queue.get(job.entry.id)
        self._keep_report(entry)
        if ended.state == "done":
            self._done(entry, ended, job)
        elif ended.state == "interrupted":
            self._queue.interrupted(entry)
            self._log.info("interrupted", recording=entry.name)
        else:
            self._fail(entry, ended, settings)

    def _done(self, entry: Entry, ended: Ended, job: _Job) -> None:
        with suppress(OSError):  # it has gone: what was open was read to its end
            mark = _mark(entry)
            if mark != entry.mark and (job.doubtful or mark.inode == entry.mark.inode):
                why = "it was changed while it was read: it is done again when it has settled"
                self._log.warning(why, recording=entry.name)
                self._queue.changed(entry, why)
                self._look_again_at(entry.path)
                return
        frames = ended.delivered if ended.values else None
        outputs = {
            name: str(job.loaded.base / out)
            for name, consumer in job.loaded.config.consumers.items()
            if isinstance(out := fill_in(consumer.options.get("out", None) or 0, entry.name), str)
        }
        self._queue.done(entry, frames, outputs)
        self._put_off.pop(entry.id, None)
        shutil.rmtree(self._folder(entry), ignore_errors=True)
        self._log.info("done", recording=entry.name, frames=frames, seconds=round(time.time() - (entry.began or 0), 3))

    def _fail(self, entry: Entry, ended: Ended, settings: InForce) -> None:
        """Have it tried again, later each time; or put it aside."""
        source, now = settings.config.source, time.time()
        backoff = source.backoff / SECOND
        rule = Rule(source.attempts, backoff, LONGEST_BACKOFF, repeats_failures=True, outlasts_machine=True)
        put_off = self._put_off.pop(entry.id, 0)
        decision = decide(ended, entry.attempts, now, rule, put_off)
        advice = ended.error.where.hint if ended.error is not None else ""
        if not isinstance(decision, AgainAt):
            self._queue.quarantine(entry, str(ended.error), advice)
            self._log.error("quarantined", recording=entry.name, path=str(entry.path), error=str(ended.error))
            return
        if not decision.counted:
            self._put_off[entry.id] = put_off + 1
        self._queue.failed(entry, str(ended.error), decision.time, counts=decision.counted, advice=advice)
        wait = round(decision.time - now, 3)
        self._log.warning("failed", recording=entry.name, error=str(ended.error), attempt=entry.attempts, again_in=wait)

    # ---- what is left behind

    def _folder(self, entry: Entry) -> Path:
        return self._workdir.path / "jobs" / str(entry.id)

    def _keep_report(self, entry: Entry) -> None:
        """Keep what its pipeline wrote last, and of those that are done not too many."""
        reports = self._workdir.path / "reports"
        with suppress(OSError):  # it died before it wrote one; and a disk that is full has worse to stop for
            reports.mkdir(exist_ok=True)
            os.replace(self._folder(entry) / "report.json", reports / f"{entry.id}.json")
            numbers = sorted(int(path.stem) for path in reports.iterdir() if path.stem.isdecimal())
            if len(numbers) > _MOST_REPORTS:
                needed = {other.id for other in self._queue.not_done()}
                for number in [n for n in numbers if n not in needed][: len(numbers) - _MOST_REPORTS]:
                    (reports / f"{number}.json").unlink()


def _too_full(settings: InForce) -> str | None:
    """Say which disk has too little space to begin anything."""
    floor = settings.config.free_space
    try:
        for path in settings.disks():
            free = shutil.disk_usage(path).free
            if free < floor:
                return f"{show_size(free)} are free on {path}, below free_space {show_size(floor)}"
    except OSError as error:  # it was unmounted a moment ago, or fails
        return f"the free space of {error.filename} cannot be told: {error.strerror}"
    return None


def _mark(entry: Entry) -> Mark:
    return mark_of(files_of(entry.path))


def _same_content(one: dict[str, FileIdentity], other: dict[str, FileIdentity]) -> bool:
    """Tell whether files are the same and unwritten; their names and rights may have changed."""

    def content(files: dict[str, FileIdentity]) -> list[tuple[int, ...]]:
        return sorted((one.device, one.inode, one.size, one.modified_ns) for one in files.values())

    return content(one) == content(other)
