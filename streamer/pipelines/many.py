"""A configuration's recordings → a process for each, some side by side, and in the end their outputs merged.

Recordings are independent: each is a pipeline with a work folder of its own, here or, with ``engine: ray``, somewhere
in a cluster. What this process keeps is the ledger that says which of them are done, and the one display.
"""

from __future__ import annotations

import selectors
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamer.errors import StreamerError
from streamer.ledger import Ledger
from streamer.pipelines import past
from streamer.pipelines.merge import merge
from streamer.pipelines.need import held, needed
from streamer.pipelines.process import Pipeline
from streamer.pipelines.retry import AgainAt, Done, Rule, StopBeginning, Stopped, decide
from streamer.pipelines.together import together
from streamer.pipelines.unit import Ended, Work, asked_of, folder_of
from streamer.runtime.messages import Planned
from streamer.supervisor import report
from streamer.supervisor.outcome import Outcome
from streamer.supervisor.recording import consumer_settings, sharing
from streamer.supervisor.tally import Tallies
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from streamer.pipelines.unit import Unit
    from streamer.supervisor.context import RunContext

_LOOK_SECONDS = 0.5  # from one look at everyone's snapshot to the next
_TRIES = 3  # of a recording whose pipeline died or was told to try again later
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds before another try
_STOPPING = "stopping: every consumer finishes its chunk (again to stop at once)"


@dataclass(frozen=True, slots=True)
class Recordings:
    """The recordings of a run, by their paths, with their names.

    ``whole`` says that these are all of the configuration: the outputs of a part are merged by hand. ``shares`` are the
    parts (index, count) of their episodes that are streamed.
    """

    names: Mapping[Path, str]
    whole: bool = True
    shares: Mapping[Path, tuple[int, int]] = field(default_factory=dict)


def stream_many(context: RunContext, recordings: Recordings, mode: str) -> Iterator[report.Streamed]:
    """Stream the recordings side by side, then merge what they share."""
    loaded, names = context.loaded, recordings.names
    config, ray = loaded.config, loaded.config.engine == "ray"
    at, asked = context.workdir.path, asked_of(config, loaded.base)
    works = [
        Work(p, name, folder_of(at, context.pipeline, p, name), asked, recordings.shares.get(p))
        for p, name in names.items()
    ]
    with Ledger(context.workdir.ledger) as ledger, ExitStack() as stack:
        mode = past.settle(ledger, context.pipeline, works, past.Asked(mode, consumer_settings(config), loaded.base))
        if ray:
            from streamer.pipelines.cluster import cluster

            start: Callable[[Work], Unit] = stack.enter_context(cluster(loaded, mode, needed(loaded)))
        else:
            start = _local(context, mode, max(1, min(config.jobs, len(works))))
        many = _Many(context, ledger, works, start, None if ray else config.jobs)
        stack.callback(many.close)
        many.run()
        yield from map(_streamed, works)
        parts = past.done(ledger, context.pipeline, names, sharing(config))
    if recordings.whole and parts and not context.stops.asked:
        merge(context, parts, len(works))


def _local(context: RunContext, mode: str, jobs: int) -> Callable[[Work], Unit]:
    """Return what starts a pipeline on this machine, with its share of the decoding threads."""
    loaded, ledger = context.loaded, context.workdir.ledger
    threads = max(1, loaded.config.threads // jobs)

    def start(work: Work) -> Unit:
        if mode != "resume" and work.tries == 1:
            shutil.rmtree(work.folder, ignore_errors=True)  # what it knows is of an earlier run
        settings = {"threads": threads}
        how: dict[str, Any] = {"settings": settings, "part": True, "together": ledger, "share": work.share}
        return Pipeline(loaded, work.path, work.name, work.folder, **how)

    return start


class _Many:
    """The recordings that are under way, and the rule by which others begin."""

    def __init__(
        self, context: RunContext, ledger: Ledger, works: list[Work], start: Callable[[Work], Unit], jobs: int | None
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._works = works
        self._start = start
        self._jobs = jobs  # None: whoever starts them sees to it
        self._waiting = [work for work in works if work.state == "waiting"]  # first come, first served
        self._units: dict[str, tuple[Work, Unit]] = {}
        self._needed = needed(context.loaded)
        self._rule = Rule(_TRIES, _FIRST_WAIT, _LONGEST_WAIT, keeps_going=context.loaded.config.keep_going)
        self._beginning = True  # others, until the machine gives out or a failure ends all
        self._asked = 0
        self._began = self._looked = time.monotonic()
        self._sizes = {work.name: work.size for work in self._waiting}

    def run(self) -> None:
        """Run to the end of all that can be begun."""
        self._say_what_is_known()
        self._begin_more()
        while self._units or (self._waiting and self._beginning and not self._context.stops.asked):
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

    def _say_what_is_known(self) -> None:
        memory, status = self._context.loaded.config.memory, self._context.status
        earlier = len(self._works) - len(self._waiting)
        if earlier:
            status.note(f"{earlier} of {len(self._works)} recordings: done in an earlier run")
        if self._jobs is not None and memory is not None and self._needed > memory and self._waiting:
            status.note(
                f"memory: {show_size(memory)} is less than the {show_size(self._needed)} that one recording is "
                "taken to need (its pool and processes): one runs at a time; lower 'pool', or raise 'memory'"
            )

    def _begin_more(self) -> None:
        now = time.monotonic()
        for work in [work for work in self._waiting if work.not_before <= now]:
            if not self._may_begin():
                return
            self._waiting.remove(work)
            past.note_begun(self._ledger, self._context.pipeline, work)
            work.tries += 1
            work.began = time.time()
            self._units[work.name] = work, self._start(work)
            work.state = "running"

    def _may_begin(self) -> bool:
        if self._context.stops.asked or not self._beginning:
            return False
        if self._jobs is None or not self._units:
            return True
        memory = self._context.loaded.config.memory
        return len(self._units) < self._jobs and (memory is None or (len(self._units) + 1) * self._needed <= memory)

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            for _, unit in self._units.values():
                for what in unit.watched():
                    selector.register(what, selectors.EVENT_READ)
            selector.register(self._context.stops, selectors.EVENT_READ)
            selector.select(_LOOK_SECONDS)
        self._context.stops.clear()

    def _hear_stops(self) -> None:
        asked = min(self._context.stops.asked, 2)
        if asked > self._asked:
            self._asked = asked
            if asked == 1:
                self._context.status.note(_STOPPING)
            for _, unit in self._units.values():
                unit.drain() if asked == 1 else unit.stop()

    def _look(self, work: Work, unit: Unit) -> None:
        """Take in what a pipeline says, and whether it has ended."""
        ended = unit.ended()
        for message in unit.heard():
            if isinstance(message, Planned):
                work.frames = (0, message.frames)
                self._context.status.planned_one(work.name, message)
            else:
                self._context.status.note(f"{work.name}: {message.text}", recording=work.name, **message.about)
        if ended is not None:
            self._units.pop(work.name)
            unit.close()
            self._take_in_end(work, ended)

    def _take_in_end(self, work: Work, ended: Ended) -> None:
        work.state, work.ended, work.snapshot = ended.state, ended, {}
        self._needed = max(self._needed, self._context.loaded.config.pool + held(ended.values))
        decision = decide(ended, work.tries, time.monotonic(), self._rule)
        if isinstance(decision, Done):
            work.frames = (ended.delivered, ended.delivered)
            settings = consumer_settings(self._context.loaded.config)
            past.note_done(self._ledger, self._context.pipeline, work, ended, settings)
        elif isinstance(decision, AgainAt) and not self._context.stops.asked:
            self._context.status.note(f"{work.name}: {ended.error}; it is begun again", recording=work.name)
            work.state, work.not_before = "waiting", decision.time
            self._waiting.append(work)
        else:
            self._leave(work, ended, "interrupted" if isinstance(decision, Stopped) else "failed")
            if isinstance(decision, StopBeginning):
                self._stop_beginning(work)

    def _leave(self, work: Work, ended: Ended, state: str) -> None:
        past.note_missing(self._ledger, self._context.pipeline, work, state, str(ended.error or ""))
        if state == "failed":
            self._context.status.note(f"{work.name}: failed: {ended.error}", recording=work.name)

    def _stop_beginning(self, work: Work) -> None:
        """Begin no other recording, and let go of those under way that need not end as well."""
        self._beginning = False
        for _, unit in self._units.values():
            if not self._rule.keeps_going or not unit.status():  # or it waits for its turn in a cluster
                unit.drain()
        if self._waiting or self._units:
            self._context.status.note(f"no further recording is begun, as {work.name} failed")

    def _show(self, *, now: bool = False) -> None:
        """Put everyone's snapshot together."""
        if not now and time.monotonic() < self._looked + _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        for work, unit in self._units.values():
            work.snapshot = unit.status()
            if frames := work.snapshot.get("frames"):
                work.frames = (frames["done"], frames["all"])
        seconds = time.monotonic() - self._began
        self._context.status.many(together(self._works, self._units.keys(), self._sizes, seconds))


def _streamed(work: Work) -> report.Streamed:
    """Return a recording's part of the report."""
    if work.state == "earlier":
        return report.already_done(work.path)
    ended = work.ended or Ended(work.state)
    values: dict[str, Any] = (
        ended.values or report.streamed(work.path, Outcome(work.state), Tallies({}), work.began).values
    )
    failed = ended.state in ("failed", "died") and work.state != "waiting"
    error = (ended.error or StreamerError("it failed")) if failed else None
    state = "failed" if failed else work.state
    return report.Streamed(work.path, state, values, error)
