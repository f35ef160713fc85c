"""A configuration's recordings → a process for each, some side by side, and in the end their outputs merged.

Recordings are independent: each is a pipeline with a work folder of its own, here or, with ``engine: ray``, somewhere
in a cluster. What this process keeps is the ledger that says which of them are done, and the one display.
"""

from __future__ import annotations

import hashlib
import logging
import selectors
import shutil
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from streamer.errors import BusyError, OutputError, StorageError, UsageError, by_name
from streamer.ledger import Ledger
from streamer.supervisor import report
from streamer.supervisor.merge import done, merge
from streamer.supervisor.pipeline import Ended, Pipeline
from streamer.supervisor.run import Workdir, sharing, stream_here
from streamer.supervisor.session import Outcome
from streamer.supervisor.tally import Tallies
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamer.config.load import Loaded
    from streamer.runtime.channel import Channel
    from streamer.supervisor.run import Over

_LOOK_SECONDS = 0.5  # from one look at everyone's snapshot to the next
_TRIES = 3  # of a recording whose pipeline died or was told to try again later
_PROCESS = 100 * 10**6  # bytes: what a process is taken to hold until some pipelines have shown what theirs do
_OF_THE_MACHINE = (OutputError, StorageError)  # of which the next recording would die, too
_log = logging.getLogger("streamer.supervisor")


class Unit(Protocol):
    """A recording under way, wherever its pipeline runs; see `Pipeline`."""

    def watched(self) -> list[Channel | int]:
        """Return what becomes readable when it says something or ends."""

    def heard(self) -> list[dict[str, Any]]:
        """Return what it has said up to now; does not wait."""

    def ended(self) -> Ended | None:
        """Tell how it ended; None while it goes on."""

    def status(self) -> dict[str, Any]:
        """Return its last snapshot."""

    def drain(self) -> None:
        """Ask it to end with the chunk that is under way."""

    def stop(self) -> None:
        """Ask it to end now."""

    def close(self) -> None:
        """Make sure that it is gone."""


@dataclass(slots=True)
class Work:
    """One recording of many: where it lies, what it is called, how far it is."""

    path: Path
    name: str
    folder: Path
    state: str = "waiting"  # then running, and as it ended; 'earlier' where an earlier run has finished it
    tries: int = 0
    began: float = 0.0
    ended: Ended | None = None
    snapshot: dict[str, Any] = field(default_factory=dict)
    frames: tuple[int, int] = (0, 0)  # done, of

    @property
    def size(self) -> int:
        """Its bytes on the disk."""
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.stat().st_size for file in files if file.is_file())


def stream_many(over: Over, mode: str, *, whole: bool = True) -> Iterator[report.Streamed]:
    """Stream the recordings side by side, then merge what they share; a single one is streamed by this process.

    ``whole`` says that these are all recordings of the configuration: the outputs of some are merged by hand.
    """
    names = over.find()
    config, ray = over.loaded.config, over.loaded.config.engine == "ray"
    if whole and len(names) == 1 and not ray:
        yield from stream_here(over, mode)
        return
    works = [Work(path, name, folder_of(over, path, name)) for path, name in names.items()]
    with Ledger(over.workdir.ledger) as ledger, ExitStack() as stack:
        _settle(over, ledger, works, mode)
        if ray:
            from streamer.supervisor.cluster import cluster

            start: Callable[[Work], Unit] = stack.enter_context(cluster(over.loaded, mode, needed(over.loaded)))
        else:
            start = _local(over.loaded, mode, max(1, min(config.jobs, len(works))))
        many = _Many(over, ledger, works, start, None if ray else config.jobs)
        stack.callback(many.close)
        many.run()
        yield from map(_streamed, works)
        parts = done(ledger, over.loaded.path.name, names, sharing(config))
    if whole and parts and not over.stops.asked:
        merge(over, parts, len(works))


def _local(loaded: Loaded, mode: str, jobs: int) -> Callable[[Work], Unit]:
    """Return what starts a pipeline on this machine, with its share of the decoding threads."""
    threads = max(1, loaded.config.threads // jobs)

    def start(work: Work) -> Unit:
        if mode != "resume" and work.tries == 1:
            shutil.rmtree(work.folder, ignore_errors=True)  # what it knows is of an earlier run
        return Pipeline(loaded, work.path, work.name, work.folder, settings={"threads": threads}, part=True)

    return start


def folder_of(over: Over, path: Path, name: str) -> Path:
    """Return the work folder of one recording: readable, its own, and short enough for a socket in it."""
    own = hashlib.sha256(f"{over.loaded.path.name}\0{path}".encode()).hexdigest()[:8]
    return over.workdir.path / "recordings" / f"{name[:24]}-{own}"


# ---- what is done


def _settle(over: Over, ledger: Ledger, works: list[Work], mode: str) -> None:
    """Decide what an earlier run means: mark what is done, or forget all."""
    pipeline = over.loaded.path.name
    known = ledger.recordings(pipeline)
    mine = [work for work in works if str(work.path) in known]
    missing = [work for work in mine if known[str(work.path)].state != "done"]
    if mode == "fresh" and missing and (len(missing) < len(mine) or any(_has_commits(w, pipeline) for w in missing)):
        msg = (
            f"an earlier run of {pipeline} is unfinished, {len(missing)} of its {len(mine)} recordings are missing "
            f"({missing[0].name} first): continue it with --resume, or begin anew with --restart"
        )
        raise UsageError(msg)
    if mode != "resume":
        ledger.forget(pipeline)
        return
    for work in mine:
        if work not in missing:
            work.state = "earlier"


def _has_commits(work: Work, pipeline: str) -> bool:
    path = Workdir(work.folder).ledger
    if not path.exists():
        return False
    with Ledger(path) as ledger:
        return any(known.committed for known in ledger.recordings(pipeline).values())


def _note_done(ledger: Ledger, pipeline: str, work: Work, ended: Ended) -> None:
    number = ledger.begin(pipeline, str(work.path), "", "", work.frames[1], 0)
    ledger.reset(number)
    for consumer, (chunk, state) in (ended.cursors or {}).items():
        ledger.commit(number, consumer, chunk - 1, state)
    ledger.finish(number, "done")


# ---- the loop


class _Many:
    """The recordings that are under way, and the rule by which others begin."""

    def __init__(
        self, over: Over, ledger: Ledger, works: list[Work], start: Callable[[Work], Unit], jobs: int | None
    ) -> None:
        self._over = over
        self._ledger = ledger
        self._works = works
        self._start = start
        self._jobs = jobs  # None: whoever starts them sees to it
        self._queue = deque(work for work in works if work.state == "waiting")
        self._units: dict[str, tuple[Work, Unit]] = {}
        self._needed = needed(over.loaded)
        self._hopeless = False  # to begin another: the machine gave out, or a failure ends all
        self._asked = 0
        self._began = self._looked = time.monotonic()
        self._sizes = {work.name: work.size for work in self._queue}

    def run(self) -> None:
        """Run to the end of all that can be begun."""
        config, status = self._over.loaded.config, self._over.status
        earlier = len(self._works) - len(self._queue)
        if earlier:
            status.note(f"{earlier} of {len(self._works)} recordings: done in an earlier run")
        if self._jobs is not None and config.memory is not None and self._needed > config.memory and self._queue:
            status.note(
                f"memory: {show_size(config.memory)} is less than the {show_size(self._needed)} that one recording is "
                "taken to need (its pool and processes): one runs at a time; lower 'pool', or raise 'memory'"
            )
        self._begin_more()
        while self._units:
            self._wait()
            self._hear_stops()
            for work, unit in list(self._units.values()):
                self._look(work, unit)
            self._begin_more()
            self._show()
        self._show(now=True)

    def close(self) -> None:
        """Make sure that no pipeline is left."""
        for _, unit in self._units.values():
            unit.close()

    def _begin_more(self) -> None:
        while self._queue and self._may_begin():
            work = self._queue.popleft()
            self._ledger.begin(self._over.loaded.path.name, str(work.path), "", "", 0, 0)
            work.tries += 1
            work.began = time.time()
            self._units[work.name] = work, self._start(work)
            work.state = "running"

    def _may_begin(self) -> bool:
        if self._over.stops.asked or self._hopeless:
            return False
        if self._jobs is None or not self._units:
            return True
        memory = self._over.loaded.config.memory
        return len(self._units) < self._jobs and (memory is None or (len(self._units) + 1) * self._needed <= memory)

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for _, unit in self._units.values():
                for what in unit.watched():
                    selector.register(what, selectors.EVENT_READ)
            selector.register(self._over.stops, selectors.EVENT_READ)
            selector.select(_LOOK_SECONDS)
        self._over.stops.clear()

    def _hear_stops(self) -> None:
        asked = min(self._over.stops.asked, 2)
        if asked > self._asked:
            self._asked = asked
            if asked == 1:
                self._over.status.note("stopping: every consumer finishes its chunk (again to stop at once)")
            for _, unit in self._units.values():
                unit.drain() if asked == 1 else unit.stop()

    def _look(self, work: Work, unit: Unit) -> None:
        """Take in what a pipeline says, and whether it has ended."""
        ended = unit.ended()
        for message in unit.heard():
            if message.pop("event") == "planned":
                work.frames = (0, message["frames"])
                self._over.status.planned_one(work.name, message)
            else:
                self._over.status.note(f"{work.name}: {message['text']}", recording=work.name, **message["about"])
        if ended is not None:
            self._units.pop(work.name)
            unit.close()
            self._take_in_end(work, ended)

    def _take_in_end(self, work: Work, ended: Ended) -> None:
        pipeline = self._over.loaded.path.name
        work.state, work.ended, work.snapshot = ended.state, ended, {}
        self._needed = max(self._needed, self._over.loaded.config.pool + _held(ended.values))
        if ended.state == "done":
            frames = (ended.frames or {}).get("delivered", 0)
            work.frames = (frames, frames)
            _note_done(self._ledger, pipeline, work, ended)
            return
        again = ended.state == "died" or (ended.state == "failed" and ended.exit_code == BusyError.exit_code)
        if again and work.tries < _TRIES and not self._over.stops.asked:
            self._over.status.note(f"{work.name}: {ended.error}; it is begun again", recording=work.name)
            work.state = "waiting"
            self._queue.append(work)
            return
        stopped = ended.state in ("interrupted", "waiting")  # it waited for its turn, and lost it
        number = self._ledger.begin(pipeline, str(work.path), "", "", 0, 0)
        self._ledger.finish(number, "interrupted" if stopped else "failed", ended.error)
        if not stopped:
            self._over.status.note(f"{work.name}: failed: {ended.error}", recording=work.name)
            self._judge(work, ended)

    def _judge(self, work: Work, ended: Ended) -> None:
        """Decide what a failure means for the recordings that have not begun, and for those under way."""
        if issubclass(by_name(ended.kind), _OF_THE_MACHINE):
            self._hopeless = True
        if not self._over.loaded.config.keep_going:
            self._hopeless = True
        for _, unit in self._units.values() if self._hopeless else ():
            if not self._over.loaded.config.keep_going or not unit.status():  # or it waits for its turn in a cluster
                unit.drain()
        if self._hopeless and (self._queue or self._units):
            self._over.status.note(f"no further recording is begun, as {work.name} failed")

    # ---- the display

    def _show(self, *, now: bool = False) -> None:
        """Put everyone's snapshot together."""
        if not now and time.monotonic() < self._looked + _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for work, unit in self._units.values():
            work.snapshot = unit.status()
            if frames := work.snapshot.get("frames"):
                work.frames = (frames["done"], frames["all"])
        self._over.status.many(self._together())

    def _together(self) -> dict[str, Any]:
        running = [(work, work.snapshot) for work, _ in self._units.values() if work.snapshot]
        states = [work.state for work in self._works]
        return {
            "frames": {
                "done": sum(work.frames[0] for work in self._works),
                "all": sum(work.frames[1] for work in self._works),
                "per_second": round(sum(found.get("frames", {}).get("per_second", 0.0) for _, found in running), 3),
            },
            "bytes_per_second": sum(found.get("bytes_per_second", 0) for _, found in running),
            "seconds_left": self._seconds_left(),
            "recordings": {
                "all": len(states),
                "done": sum(state in ("done", "earlier") for state in states),
                "failed": sum(state in ("failed", "died") for state in states),
                "running": len(running),
            },
            "running": {work.name: found | {"folder": str(work.folder)} for work, found in running},
        }

    def _seconds_left(self) -> float | None:
        """Estimate by bytes: of recordings that have not begun, nothing else is known."""
        whole = sum(self._sizes.values())
        ended = sum(s for name, s in self._sizes.items() if name not in self._units and not self._waits(name))
        under_way = sum(self._sizes[w.name] * w.frames[0] / w.frames[1] for w, _ in self._units.values() if w.frames[1])
        share = (ended + under_way) / whole if whole else 0.0
        return round((time.monotonic() - self._began) * (1 - share) / share, 1) if share else None

    def _waits(self, name: str) -> bool:
        return any(work.name == name for work in self._queue)


def needed(loaded: Loaded) -> int:
    """Return the bytes that one pipeline is taken to need: its pool, its supervisor, reader and consumers."""
    config = loaded.config
    consumers = [max(_PROCESS, consumer.recycle.memory or 0) for consumer in config.consumers.values()]
    return config.pool + 2 * _PROCESS + sum(consumers)


def _held(values: dict[str, Any] | None) -> int:
    """Return the most that the processes of a pipeline have held together, in bytes."""
    if not values or "earlier" in values:  # it had ended already, and only its word was lost
        return 0
    memory: list[float] = [values["supervisor"]["memory"]["peak_mb"], values["reader"]["anon_mb"]["peak"]]
    memory += [consumer["anon_mb"]["peak"] for consumer in values["consumers"].values()]
    return round(sum(memory) * 10**6)


def _streamed(work: Work) -> report.Streamed:
    """Return a recording's part of the report."""
    if work.state == "earlier":
        return report.already_done(work.path)
    ended = work.ended or Ended(work.state)
    values = ended.values or report.streamed(work.path, Outcome(work.state), Tallies({}), work.began).values
    failed = ended.state in ("failed", "died") and work.state != "waiting"
    error = by_name(ended.kind)(ended.error) if failed else None
    state = "failed" if failed else work.state
    return report.Streamed(work.path, state, values, error)
