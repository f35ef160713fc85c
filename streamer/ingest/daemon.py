"""A configuration that watches folders → pipelines, one for each recording, for as long as nobody stops it.

One loop in one thread decides everything. What it decides stands in the queue before it is carried out, so it may be
killed between any two lines: the next daemon takes up what was running, from what the consumers had committed.
"""

from __future__ import annotations

import faulthandler
import os
import selectors
import shutil
import socket
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.config.settings import fingerprint
from streamer.errors import BusyError, ConfigError, OutputError, StorageError, UsageError
from streamer.ingest.control import Control
from streamer.ingest.filing import Filing
from streamer.ingest.notify import Systemd
from streamer.ingest.queue import AGAIN, Queue, retry
from streamer.ingest.snapshot import Live, Running, as_json, snapshot
from streamer.ingest.watch import Lookout, Sights, files_of, mark_of, scan
from streamer.memory import anonymous
from streamer.pipelines.need import needed
from streamer.pipelines.process import Pipeline
from streamer.pipelines.unit import Ended
from streamer.source.find import is_text, printable, recording_name
from streamer.supervisor.recording import fill_in
from streamer.supervisor.signals import listen
from streamer.supervisor.workdir import open_workdir
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

    from streamer.config.load import Loaded
    from streamer.ingest.queue import Entry
    from streamer.ingest.watch import Candidate, Mark, Sight
    from streamer.supervisor.signals import Signals
    from streamer.supervisor.workdir import Workdir

_S = 10**9  # nanoseconds
_LONGEST_BACKOFF = 3600.0  # seconds
_SPACE_SECONDS = 5.0  # between two looks at the free space while something waits for it
_LONGEST_WAIT = 10.0  # seconds for which the loop may stand
_MOST_REPORTS = 1000  # of recordings that are done
_NO_FAULT_OF_ITS = {OutputError.exit_code, StorageError.exit_code, BusyError.exit_code}  # tried until it works
_NO_USE = {ConfigError.exit_code, UsageError.exit_code}  # would end the same way again


@dataclass(slots=True)
class _Job:
    """A pipeline at work."""

    entry: Entry
    pipeline: Pipeline
    loaded: Loaded
    doubtful: bool = False  # whether another file may have lain at the path when the reader opened it


class Daemon:
    """The loop."""

    def __init__(
        self,
        loaded: Loaded,
        reload: Callable[[], Loaded],
        workdir: Workdir,
        queue: Queue,
        signals: Signals,
        log: FilteringBoundLogger,
    ) -> None:
        """Take what it needs; ``reload`` reads and checks the configuration again, when asked to."""
        self._loaded, self._reload = loaded, reload
        self._workdir, self._queue, self._signals, self._log = workdir, queue, signals, log
        self._fingerprint = fingerprint(self._loaded)
        self._jobs: dict[int, _Job] = {}
        self._settled: dict[Path, Sight] = {}  # that the queue has taken in
        self._stale: dict[Path, int] = {}  # sights that proved wrong: how many looks there had been by then
        self._filing = Filing(queue, log, self.tell)
        self._draining = 0
        self._paused: str | None = None
        self._unread: tuple[str, ...] = ()  # what the last scan had to leave out
        self._told: set[str] = set()  # … and has been logged
        self._systemd = Systemd()
        self._began = time.time()
        self._beat: Callable[[], None] = lambda: None
        self._wake, self._woken = socket.socketpair()
        self._live = Live(str(self._loaded.path))

    # ---- for other threads

    def trouble(self) -> str | None:
        """Say why no new recording is begun; None where all is well; may be called from any thread."""
        return self._live.paused or (self._lookout.problem or None)

    def snapshot(self) -> dict[str, Any]:
        """Return what there is to see; may be called from any thread."""
        with Queue(self._workdir.path / "queue.sqlite") as queue:
            return snapshot(queue, self._live)

    def image(self, number: int) -> bytes | None:
        """Return the newest picture of a running recording (JPEG or PNG); may be called from any thread."""
        for one in self._live.running:
            if one.entry.id == number and (path := one.image()):
                with suppress(OSError):  # it was replaced or removed a moment ago
                    return path.read_bytes()
        return None

    def tell(self) -> None:
        """Make the loop look; may be called from any thread."""
        with suppress(OSError):  # it has been told often enough, or it has ended
            self._woken.send(b"x")

    # ---- the loop

    def run(self) -> None:
        """Watch until drained or stopped."""
        with ExitStack() as stack:
            for end in (self._wake, self._woken):
                end.setblocking(False)
                stack.callback(end.close)
            stack.callback(self._filing.close)
            self._control = Control(self._workdir)
            stack.callback(self._control.close)
            self._sweep()
            self._look_at_configuration()
            self._lookout = self._new_lookout()
            stack.callback(self._stop_looking)
            stack.callback(self._close_jobs)
            self._lookout.start()
            self._publish()
            self._serve(stack)
            self._systemd.tell("READY=1", "STATUS=watching")
            self._log.info("watching", folders=self._live.watch, pid=os.getpid())
            while not self._over():
                self._wait()
                self._look()
            self._systemd.tell("STOPPING=1")
            self._log.info("ended")

    def _stop_looking(self) -> None:
        self._lookout.stop()

    def _serve(self, stack: ExitStack) -> None:
        config = self._loaded.config
        if config.http is None:
            return
        from streamer.ingest.http import Face

        host, _, port = config.http.rpartition(":")
        face = Face(host.strip("[]"), int(port), config.http_token, self.snapshot, self.trouble, self.image)
        stack.enter_context(face)
        self._beat = face.beat
        self._log.info("serving", url=face.url)

    def _over(self) -> bool:
        return (self._draining > 0 and not self._jobs) or self._draining > 1

    def _wait(self) -> None:
        first = self._queue.all("state = 'failed' AND next_try IS NOT NULL", most=1, order="next_try")
        retries = [(entry.next_try or 0.0) - time.time() for entry in first]
        waits = [_LONGEST_WAIT, self._systemd.period, *(min(max(0.0, wait), _LONGEST_BACKOFF) for wait in retries)]
        if self._filing.problem:
            waits.append(max(0.0, self._filing.again - time.monotonic()))
        if self._paused or self._control.watched()[1:] or self._lookout.problem:
            waits.append(_SPACE_SECONDS)
        with selectors.DefaultSelector() as selector:
            for end in (self._wake, *self._control.watched()):
                selector.register(end, selectors.EVENT_READ)
            selector.register(self._signals, selectors.EVENT_READ)
            for job in self._jobs.values():
                for what in job.pipeline.watched():
                    selector.register(what, selectors.EVENT_READ)
            selector.select(min(waits))

    def _look(self) -> None:
        """Take in everything that has happened since the last look, and do what follows from it."""
        self._beat()
        self._systemd.tell("WATCHDOG=1")
        with suppress(BlockingIOError):
            self._wake.recv(4096)
        self._hear_signals()
        self._control.take(self._answer)
        for job in list(self._jobs.values()):
            self._hear(job)
        self._take_in()
        self._filing.take_in(self._loaded.config.source.backoff / _S)
        if self._loaded.config.source.after != "keep" and not self._draining:
            self._filing.begin(self._archive)
        self._try_again()
        self._begin_what_can_be()
        self._publish()

    def _hear_signals(self) -> None:
        self._signals.clear()
        if self._signals.hung_up:
            self._signals.hung_up = 0
            try:
                self._read_again()
            except (ConfigError, UsageError) as error:
                self._log.error("the new configuration has mistakes, the old one stays", error=str(error))
        if self._signals.asked > self._draining:
            self._drain(self._signals.asked)

    def _drain(self, how: int) -> None:
        self._draining = how
        self._log.info("draining" if how == 1 else "stopping", running=[job.entry.name for job in self._jobs.values()])
        self._systemd.tell("STOPPING=1", "STATUS=draining")
        for job in self._jobs.values():
            job.pipeline.drain()

    def _close_jobs(self) -> None:
        """End what still runs: the daemon was stopped at once, or has failed; the next takes it up."""
        for number, job in self._jobs.items():
            job.pipeline.close()
            with suppress(StorageError):  # perhaps why we end; then the next daemon finds it running, and takes it up
                entry = self._queue.get(number)
                self._queue.change(entry, state="queued", attempts=max(0, entry.attempts - 1))

    # ---- what lies in the folders

    def _new_lookout(self) -> Lookout:
        source = self._loaded.config.source
        base = self._loaded.base
        folders = [_absolute(base, folder) for folder in source.watch or ()]
        left_out = [_absolute(base, str(self._workdir.path)), *([self._archive] if self._archive else [])]
        sights = Sights(source.settle / _S, self._queue.places())

        def look() -> list[Candidate]:
            problems: list[str] = []
            found = scan(folders, source.pattern, left_out, lambda error: problems.append(_left_out(error)))
            nameless = {candidate.path for candidate in found if not is_text(candidate.path)}
            problems += [f"{printable(path)} is left out: its name is no text in UTF-8; rename it" for path in nameless]
            self._unread = tuple(problems)
            return [candidate for candidate in found if candidate.path not in nameless]

        return Lookout(folders, look, sights, source.scan / _S, self.tell, left_out)

    @property
    def _archive(self) -> Path | None:
        """The folder into which recordings are moved that are done."""
        to = self._loaded.config.source.move_to
        return _absolute(self._loaded.base, to) if to else None

    def _take_in(self) -> None:
        """Bring the queue up to what was seen last."""
        if self._lookout.fault:
            raise self._lookout.fault
        for text in self._unread:
            if text not in self._told:
                self._log.warning(text)
        self._told = set(self._unread)
        for path in self._settled.keys() - {sight.candidate.path for sight in self._lookout.sights}:
            del self._settled[path]
        source, looks = self._loaded.config.source, self._lookout.looks
        self._stale = {path: number for path, number in self._stale.items() if number == looks}
        for sight in self._lookout.sights:
            path = sight.candidate.path
            if self._settled.get(path) == sight or path in self._stale:
                continue
            stale = sight.state == "unfinished" and time.monotonic() - sight.since >= source.give_up_after / _S
            decided = sight.state == "settled" or (stale and source.unfinished != "wait" and sight.identity)
            if decided and self._admit(sight):
                self._settled[path] = sight

    def _look_again_at(self, path: Path) -> None:
        """Take in what lies at a path when a look that is still to come has seen it."""
        self._settled.pop(path, None)
        self._stale[path] = self._lookout.looks

    def _admit(self, sight: Sight) -> bool:
        """Take in a recording that no longer changes; False where that has to wait for a pipeline's end."""
        candidate, queue = sight.candidate, self._queue
        entry = queue.by_identity(sight.identity)
        if entry is None:
            entry = queue.at(candidate.path)
            if entry is None:
                entry = queue.add(recording_name(candidate.path), candidate.path, sight.identity, candidate.mark)
                self._log.info("found", recording=entry.name, path=str(entry.path), size=candidate.mark.size)
            elif entry.id in self._jobs:
                return False
            else:  # nothing that counts was made of what lay there before
                self._log.info("replaced", recording=entry.name, path=str(entry.path))
                entry = queue.change(entry, identity=sight.identity, **AGAIN, anew=1, attempts=0, salvage=0)
            return self._judge(entry, sight)
        known = self._queue.knows(candidate.path, candidate.mark)
        if entry.state in ("failed", "quarantined") and candidate.mark != entry.mark and not known:
            # size and ends alike: what lies between may have been damaged in the copy that failed, and be whole in this
            self._log.info("another copy", recording=entry.name, path=str(candidate.path), of=str(entry.path))
            queue.place(candidate.path, candidate.mark, entry)
            queue.change(entry, path=candidate.path, mark=candidate.mark, **AGAIN, anew=1, attempts=0, salvage=0)
            return True
        if entry.path != candidate.path:
            if entry.path.exists():
                self._log.info("a copy", recording=entry.name, path=str(candidate.path), of=str(entry.path))
                queue.place(candidate.path, candidate.mark, entry)
                return True
            self._log.info("moved", recording=entry.name, path=str(candidate.path), before=str(entry.path))
        entry = queue.change(entry, path=candidate.path, mark=candidate.mark)
        queue.place(candidate.path, candidate.mark, entry)
        if entry.state == "failed" and entry.next_try is None:
            queue.change(entry, **AGAIN)
        return True

    def _judge(self, entry: Entry, sight: Sight) -> bool:
        """Decide what becomes of a new entry that was given up unfinished."""
        self._queue.change(entry, mark=sight.candidate.mark)
        self._queue.place(sight.candidate.path, sight.candidate.mark, entry)
        if sight.state != "unfinished":
            return True
        if self._loaded.config.source.unfinished == "salvage":
            self._queue.change(entry, salvage=1, note=f"salvaged: {sight.problem}")
        else:
            self._put_aside(entry, f"it was not finished: {sight.problem}")
        return True

    # ---- pipelines

    def _begin_what_can_be(self) -> None:
        config = self._loaded.config
        self._paused = None
        if self._draining or len(self._jobs) >= self._most:
            return
        newest = config.source.order == "newest"
        waiting = self._queue.all("state = 'queued'")
        waiting.sort(key=lambda entry: entry.mark.changed, reverse=newest)
        if waiting:
            self._paused = self._too_full()
        for entry in waiting[: self._most - len(self._jobs)]:
            if self._paused is None:
                self._begin(entry)

    def _too_full(self) -> str | None:
        """Say which disk has too little space to begin anything."""
        floor = self._loaded.config.free_space
        try:
            for path in self._disks():
                free = shutil.disk_usage(path).free
                if free < floor:
                    return f"{show_size(free)} are free on {path}, below free_space {show_size(floor)}"
        except OSError as error:  # it was unmounted a moment ago, or fails
            return f"the free space of {error.filename} cannot be told: {error.strerror}"
        return None

    def _disks(self) -> tuple[Path, ...]:
        """Return a folder that exists on each file system that is written to."""
        outs = [consumer.options.get("out") for consumer in self._loaded.config.consumers.values()]
        folders = [self._workdir.path, *(self._loaded.base / out for out in outs if isinstance(out, str))]
        found: dict[int, Path] = {}
        for folder in folders:
            there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110 - never raises
            found.setdefault(there.stat().st_dev, there)
        return tuple(found.values())

    def _seen_disks(self) -> tuple[Path, ...]:
        with suppress(OSError):  # it was unmounted a moment ago
            return self._disks()
        return ()

    def _begin(self, entry: Entry) -> None:
        try:
            same = _mark(entry) == entry.mark
        except OSError:
            self._queue.change(entry, state="failed", error="it is no longer there", next_try=None, ended=time.time())
            self._look_again_at(entry.path)
            return
        if not same:  # it is taken in again when it has settled
            self._queue.change(entry, state="failed", error="it has changed since it was found", next_try=None)
            self._look_again_at(entry.path)
            return
        folder = self._folder(entry)
        if entry.anew or entry.configuration != self._fingerprint:
            shutil.rmtree(folder, ignore_errors=True)
        entry = self._queue.change(
            entry,
            state="running",
            attempts=entry.attempts + 1,
            began=time.time(),
            anew=0,
            error="",
            configuration=self._fingerprint,
        )
        settings: dict[str, Any] = dict(self._share)
        if entry.salvage:
            settings["source"] = self._loaded.values["source"] | {"on_damage": "salvage"}
        flush = self._loaded.config.source.after != "keep"
        try:
            pipeline = Pipeline(self._loaded, entry.path, entry.name, folder, settings=settings, flush=flush)
        except OSError as error:
            self._fail(entry, Ended("failed", StorageError.exit_code, f"the system refused a process: {error}"))
            return
        self._jobs[entry.id] = _Job(entry, pipeline, self._loaded)
        self._log.info("begun", recording=entry.name, path=str(entry.path), attempt=entry.attempts, pid=pipeline.pid)

    def _hear(self, job: _Job) -> None:
        ended = job.pipeline.ended()
        for message in job.pipeline.heard():
            if message["event"] == "planned":
                self._log.info("planned", recording=job.entry.name, frames=message["frames"], chunks=message["chunks"])
                with suppress(OSError):  # it has gone: so what the reader opened was the right one
                    job.doubtful |= _mark(job.entry) != job.entry.mark
                for warning in message["warnings"]:
                    self._log.warning(warning, recording=job.entry.name)
            elif message["event"] == "note":
                self._log.warning(message["text"], recording=job.entry.name, **message["about"])
        if ended is None:
            return
        job.pipeline.close()
        del self._jobs[job.entry.id]
        entry = self._queue.get(job.entry.id)
        self._keep_report(entry)
        if ended.state == "done":
            self._done(entry, ended, job)
        elif ended.state == "interrupted":
            self._queue.change(entry, state="queued", attempts=entry.attempts - 1)
            self._log.info("interrupted", recording=entry.name)
        else:
            self._fail(entry, ended)

    def _done(self, entry: Entry, ended: Ended, job: _Job) -> None:
        loaded = job.loaded
        with suppress(OSError):  # it has gone: what was open was read to its end
            mark = _mark(entry)
            if mark != entry.mark and (job.doubtful or mark.inode == entry.mark.inode):
                why = "it was changed while it was read: it is done again when it has settled"
                self._log.warning(why, recording=entry.name)
                self._queue.change(entry, state="failed", error=why, next_try=None, anew=1)
                self._look_again_at(entry.path)
                return
        frames = ended.frames["delivered"] if ended.frames else None
        outputs = {
            name: str(loaded.base / out)
            for name, consumer in loaded.config.consumers.items()
            if isinstance(out := fill_in(consumer.options.get("out", None) or 0, entry.name), str)
        }
        values = {"state": "done", "ended": time.time(), "frames": frames, "outputs": outputs, "error": "", "deaths": 0}
        self._queue.change(entry, **values)
        shutil.rmtree(self._folder(entry), ignore_errors=True)
        self._log.info("done", recording=entry.name, frames=frames, seconds=round(time.time() - (entry.began or 0), 3))

    def _fail(self, entry: Entry, ended: Ended) -> None:
        """Have it tried again, later each time; or put it aside."""
        source = self._loaded.config.source
        counts = ended.exit_code not in _NO_FAULT_OF_ITS
        if counts and (entry.attempts >= source.attempts or ended.exit_code in _NO_USE):
            self._put_aside(entry, ended.error)
            return
        wait = min(source.backoff / _S * 2 ** min(entry.attempts - 1, 20), _LONGEST_BACKOFF)
        attempts = entry.attempts if counts else entry.attempts - 1
        self._queue.change(
            entry, state="failed", error=ended.error, attempts=attempts, next_try=time.time() + wait, ended=time.time()
        )
        self._log.warning("failed", recording=entry.name, error=ended.error, attempt=entry.attempts, again_in=wait)

    def _put_aside(self, entry: Entry, why: str) -> None:
        self._queue.change(entry, state="quarantined", error=why, ended=time.time(), next_try=None)
        self._log.error("quarantined", recording=entry.name, path=str(entry.path), error=why)

    def _try_again(self) -> None:
        now = time.time()  # a clock that was set back would have them wait for ever
        for entry in self._queue.all(
            "state = 'failed' AND (next_try <= ? OR next_try > ?)", now, now + _LONGEST_BACKOFF
        ):
            self._queue.change(entry, state="queued", next_try=None)

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
                asked_for = {other.id for other in self._queue.all("state <> 'done'")}
                for number in [n for n in numbers if n not in asked_for][: len(numbers) - _MOST_REPORTS]:
                    (reports / f"{number}.json").unlink()

    def _sweep(self) -> None:
        """Take up what a daemon left that was killed."""
        for entry in self._queue.take_up():
            self._log.error("quarantined", recording=entry.name, error=entry.error)
        known = {str(entry.id) for entry in self._queue.all("state <> 'done'")}
        jobs = self._workdir.path / "jobs"
        jobs.mkdir(exist_ok=True)
        for folder in jobs.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    # ---- configuration

    def _read_again(self) -> str:
        """Read the configuration again; where it has a mistake, or one that needs a restart, the old one stays."""
        self._systemd.reloading()
        try:
            loaded = self._reload()
            for key in ("workdir", "http", "http_token"):
                if getattr(loaded.config, key) != getattr(self._loaded.config, key):
                    msg = f"{key} cannot change while the daemon runs: restart it"
                    raise ConfigError(msg)
            before, self._loaded = self._loaded, loaded
            try:
                self._look_at_configuration()
            except ConfigError:
                self._loaded = before
                self._look_at_configuration()
                raise
        finally:
            self._systemd.tell("READY=1")
        self._lookout.stop()
        self._settled.clear()
        self._stale.clear()
        self._lookout = self._new_lookout()
        self._lookout.start()
        self._log.info("reloaded", configuration=self._fingerprint)
        return "; ".join(
            ["the configuration is read again: it holds for recordings begun from now on", *self._warnings]
        )

    def _look_at_configuration(self) -> None:
        """Work out what follows from the configuration."""
        config = self._loaded.config
        self._fingerprint = fingerprint(self._loaded)
        room = config.jobs if config.memory is None else config.memory // needed(self._loaded)
        self._most = max(1, min(config.jobs, room))  # recordings at once
        self._share: dict[str, Any] = {}
        if "threads" not in config.model_fields_set:
            self._share["threads"] = max(1, config.threads // self._most)
        self._warnings: list[str] = []
        other = len(self._queue.all("state = 'done' AND configuration <> ?", self._fingerprint))
        if other:
            self._warnings.append(
                f"{other} recordings were done with another configuration and stay as they are; "
                "'streamer watch --reprocess' does them again"
            )
            self._log.warning(self._warnings[-1])

    def reprocess(self) -> None:
        """Queue again what was done with another configuration."""
        for entry in self._queue.all("state = 'done' AND configuration <> ?", self._fingerprint):
            if entry.path.exists():
                self._queue.change(entry, **AGAIN, anew=1, attempts=0, filed="")
                self._log.info("reprocess", recording=entry.name)
            else:
                self._log.warning("its file is no longer there", recording=entry.name, path=str(entry.path))

    # ---- what is asked and told

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        verb = request.get("verb")
        if verb == "status":
            return {"ok": True, "status": snapshot(self._queue, self._live)}
        if verb == "retry":
            what = str(request.get("what", ""))
            return {"ok": True, "recordings": [as_json(entry) for entry in retry(self._queue, what)]}
        if verb == "drain":
            self._drain(max(1, self._draining))
            return {"ok": True, "text": "draining: every running recording finishes its chunks at hand"}
        if verb == "reload":
            return {"ok": True, "text": self._read_again()}
        msg = f"there is no request {verb!r}"
        raise UsageError(msg)

    def _publish(self) -> None:
        config = self._loaded.config
        self._live = Live(
            config=str(self._loaded.path),
            pid=os.getpid(),
            began=self._began,
            state="draining" if self._draining else "paused" if self._paused else "watching",
            paused=self._paused,
            warnings=tuple(filter(None, (*self._warnings, self._lookout.problem, *self._unread, self._filing.problem))),
            watch=tuple(str(_absolute(self._loaded.base, folder)) for folder in config.source.watch or ()),
            last_scan=self._lookout.last,
            jobs=self._most,
            budget=config.memory,
            disks=self._seen_disks(),
            sights=self._lookout.sights,
            running=tuple(Running(j.entry, j.pipeline.status, partial(_newest_image, j)) for j in self._jobs.values()),
            own_memory=anonymous,
        )


def watch(reload: Callable[[], Loaded], log: FilteringBoundLogger, *, reprocess: bool = False) -> None:
    """Run the daemon of a configuration until it is drained or stopped; ``reload`` reads one that watches folders.

    Raises:
        StreamerError: it cannot begin: the configuration, the work folder, the address.

    """
    if sys.stderr is not None:
        faulthandler.enable()  # a watchdog's SIGABRT then says where every thread stands
    loaded = reload()
    with (
        open_workdir(loaded.workdir) as workdir,
        listen(hang_up=True) as signals,
        Queue(workdir.path / "queue.sqlite") as queue,
    ):
        daemon = Daemon(loaded, reload, workdir, queue, signals, log)
        if reprocess:
            daemon.reprocess()
        daemon.run()


def _mark(entry: Entry) -> Mark:
    return mark_of(files_of(entry.path))


def _absolute(base: Path, folder: str) -> Path:
    """Return a folder of the configuration as the kernel and a scan name it, without any '..'."""
    return Path(os.path.abspath(base / Path(folder).expanduser()))  # noqa: PTH100 - links stay as they are written


def _left_out(error: OSError) -> str:
    return f"{printable(Path(error.filename or ''))} is left out: {error.strerror}"


def _newest_image(job: _Job) -> Path | None:
    """Find the picture that a consumer keeps of the newest frame: ``<out>/.<recording>.*/latest.jpg``."""
    found = []
    for consumer in job.loaded.config.consumers.values():
        out = consumer.options.get("out")
        if isinstance(out, str):
            found += (job.loaded.base / fill_in(out, job.entry.name)).glob(f".{job.entry.name}.*/latest.jpg")
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
