"""One recording and its processes → an outcome: the loop that carries out what the policy decides."""

from __future__ import annotations

import logging
import os
import secrets
import selectors
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from streamer import memfd
from streamer.errors import ConfigError, ConsumerError, StreamerError
from streamer.memory import anonymous
from streamer.runtime.job import WorkerJob, to_wire
from streamer.supervisor.child import Child, how_it_ended
from streamer.supervisor.policy import Activate, Drain, Drop, Gone, Kill, Phase, Policy, Retire, Seat, Start
from streamer.supervisor.template import Setting, Templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from streamer.config.model import ConsumerConfig
    from streamer.runtime.job import ReaderJob
    from streamer.supervisor.child import Process
    from streamer.supervisor.policy import Order
    from streamer.supervisor.signals import Stops
    from streamer.supervisor.tally import Tallies

_GRACE_SECONDS = 5.0  # for processes that have said that they end
_LONGEST_SLEEP = 1.0
_READERS_OWN = {
    "OPENBLAS_NUM_THREADS": "1",  # it multiplies no matrices: threads for that cost start-up and memory
    "MALLOC_MMAP_THRESHOLD_": str(16 * 2**20),  # blocks of its size come and go: glibc keeps their pages warm …
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),  # … up to so many bytes
}
_log = logging.getLogger("streamer.supervisor")


class Observer(Protocol):
    """Who shows a person what goes on."""

    def planned(self, about: dict[str, Any]) -> None:
        """Take in the plan: the reader's ``ready`` message."""

    def progress(self, values: dict[str, Any]) -> None:
        """Take in how far everyone is, several times a second: the reader's message, with each consumer's process."""

    def note(self, text: str, **about: Any) -> None:
        """Take in something that a person should know now; ``about`` has the consumer, generation, chunk or frame."""


@dataclass(slots=True)
class Outcome:
    """How a session ended: done, interrupted, failed, or ``died`` (the reader did; worth another try)."""

    state: str
    error: StreamerError | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    committed: bool = False  # whether anything was committed


class Session:
    """The processes of one recording, from their start to their end."""

    def __init__(  # noqa: PLR0913 - the values that a session is made of
        self,
        job: ReaderJob,
        consumers: dict[str, ConsumerConfig],
        *,
        folder: Path,
        logs: Path,
        paths: tuple[str, ...],
        sharing: frozenset[str],
        part: bool,
        tallies: Tallies,
        observer: Observer,
        stops: Stops,
    ) -> None:
        """Take what is to be run; nothing starts yet."""
        self._job = job
        self._consumers = consumers
        self._folder = folder
        self._logs = logs
        self._paths = paths
        self._sharing = sharing  # the consumers whose `out` is that of other recordings, too
        self._part = part  # what those write is merged later
        self._tallies = tallies
        tallies.new_session()
        self._observer = observer
        self._stops = stops
        self._children: dict[tuple[str, int], Process] = {}
        self._identities: dict[tuple[str, int], str] = {}
        self._ending = False  # whether the reader has said why it will end
        self._error: StreamerError | None = None
        self._traces: dict[str, str] = {}
        self._given_up: set[str] = set()  # while the others went on
        self._asked = 0
        self._last_progress: dict[str, Any] = {}
        self._began = time.monotonic()
        self._outcome = Outcome("died")
        self._policy = Policy(
            {
                name: Seat(
                    name,
                    *(c.recycle.chunks, c.recycle.memory, c.recycle.growth),
                    isolate=c.on_failed == "isolate",
                    quarantine=c.on_error == "quarantine",
                    deadline=c.deadline / 1e9,
                )
                for name, c in consumers.items()
            }
        )

    def run(self) -> Outcome:
        """Run to the end; every process is gone when this returns."""
        with ExitStack() as stack:
            writable, readable = memfd.create()
            stack.callback(_close, (writable, readable))
            self._pool_fd = readable
            self._templates = stack.enter_context(Templates(Setting(self._folder, self._logs, [readable], {})))
            self._reader = Child(
                "streamer.runtime.reader",
                "reader",
                folder=self._folder,
                log=self._logs / "reader.log",
                descriptors=[writable],
                environment=_READERS_OWN,
            )
            stack.callback(self._end_all)
            self._reader.channel.send("job", job=to_wire(self._job) | {"pool_fd": writable})
            self._policy.now = time.monotonic()
            self._carry_out(self._policy.start())
            while not self._over():
                self._wait()
                self._look()
            self._settle()
        return self._outcome

    # ---- the loop

    def _over(self) -> bool:
        if self._reader.ended() is not None:
            return True
        return self._stop_now or (not self._policy.begun and self._policy.failure is not None)

    @property
    def _stop_now(self) -> bool:
        return self._stops.asked > 1

    def _wait(self) -> None:
        now = time.monotonic()
        seconds = max(0.0, min(self._policy.next_wake() - now, _LONGEST_SLEEP))
        with selectors.DefaultSelector() as selector:
            for child in (self._reader, *self._children.values()):
                for what in child.watched():
                    selector.register(what, selectors.EVENT_READ)
            for what in self._templates.watched():
                selector.register(what, selectors.EVENT_READ)
            selector.register(self._stops, selectors.EVENT_READ)
            selector.select(seconds)
        self._stops.clear()

    def _look(self) -> None:
        """Take in everything that has happened since the last look."""
        self._policy.now = time.monotonic()
        self._templates.hear()
        ended = {key: code for key, child in self._children.items() if (code := child.ended()) is not None}
        for message in self._reader.heard():  # after the look at who has ended: it says before why they will
            self._hear_reader(message)
        for key, child in list(self._children.items()):
            for message in child.heard():
                self._hear_consumer(key, message)
        for key, code in ended.items():
            self._bury(key, code)
        if self._stops.asked > self._asked:
            self._asked = self._stops.asked
            if self._asked == 1:
                self._observer.note("stopping: every consumer finishes its chunk (again to stop at once)")
                self._carry_out(self._policy.drain())
        self._carry_out(self._policy.tick(time.monotonic()))

    def _bury(self, key: tuple[str, int], code: int) -> None:
        name, generation = key
        seat = self._policy.seats[name]
        told = seat.retiring or seat.ending or seat.closed or self._policy.draining
        expected = (code == 0 and told) or seat.phase in (Phase.DONE, Phase.FAILED, Phase.STOPPED)
        if not expected and generation in (seat.generation, seat.standby):
            seat.error = seat.error or ConsumerError(how_it_ended(code), consumer=name)
            _log.warning("%s.%d ended: %s", name, generation, seat.error)
        before = seat.crashed
        about = {"consumer": name, "generation": generation, "chunk": seat.cursor}
        self._tallies.consumers[name].ended(
            generation, "planned" if seat.retiring and code == 0 else how_it_ended(code)
        )
        orders = self._policy.exited(name, generation, code, time.monotonic())
        if seat.crashed > before and seat.phase in (Phase.WAITING, Phase.JUDGING):  # a final failure is told at the end
            self._observer.note(f"{name}: {seat.error or how_it_ended(code)}; starting again", **about)
        self._children.pop(key).close()
        self._carry_out(orders)
        if seat.phase is not Phase.CLOSING and key in self._identities:  # a successor that was not needed
            self._gone(Gone(name, generation))
        self._take_in_failure(seat)

    def _take_in_failure(self, seat: Seat) -> None:
        if seat.phase is Phase.FAILED and seat.name in self._policy.isolated and seat.name not in self._given_up:
            self._given_up.add(seat.name)
            self._observer.note(
                f"{seat.name} is given up, the others go on: {self._error_of(seat)}", consumer=seat.name
            )
        if seat.phase is Phase.FAILED and self._error is None and self._policy.failure == seat.name:
            self._error = self._error_of(seat)

    def _error_of(self, seat: Seat) -> StreamerError:
        error = seat.error or ConsumerError("it failed", consumer=seat.name)
        if isinstance(error, ConfigError):  # it names the setting: no log says more
            return error
        at = "" if seat.frame is None else f", at frame {seat.frame}"
        tries = "" if seat.fatal or not self._policy.begun else f" (after {seat.crashed} failures{at})"
        log = f"its log: {self._logs / (seat.name + '.log')}"
        return error.at(text=f"{error.text}{tries}").within(consumer=seat.name, hint=log)

    # ---- what the children say

    def _hear_reader(self, message: dict[str, Any]) -> None:
        event = message.pop("event")
        policy = self._policy
        if event == "ready":
            self._outcome.ready = message
            self._observer.planned(message)
            self._carry_out(policy.reader_ready(message["chunks"], message["cursors"], message["done"]))
        elif event == "progress":
            more = {"seats": self._lives(), "memory": self._tallies.brief(time.monotonic())}
            self._observer.progress(message | more)
            self._last_progress = message
            for name, values in message["consumers"].items():
                self._carry_out(policy.silent(name, values["silent"]))
        elif event == "committed":
            self._outcome.committed = True
            self._tallies.reader.sample(1, message["chunk"], message["anon"], message["shared"])
            self._tallies.supervisor.sample(1, message["chunk"], anonymous(), 0)
            self._carry_out(policy.committed(message["name"], message["chunk"]))
        elif event == "attempt":
            self._carry_out(policy.attempted(message["name"], message["count"]))
        elif event in ("retiring", "ending", "closed"):
            self._carry_out(getattr(policy, event)(message["name"]))
        elif event == "handover":
            self._tallies.consumers[message["name"]].handovers.append(message["seconds"])
        elif event == "judged":
            self._judged(policy.seats[message["name"]], message["frame"])
        elif event == "error":
            self._error = self._error or StreamerError.from_wire(message["error"])
            self._ending = True
        elif event == "report":
            self._outcome.report = message

    def _lives(self) -> dict[str, dict[str, Any]]:
        """Say of each consumer which process it has, and how many were replaced or failed."""
        return {
            name: {
                "phase": seat.phase.name.lower(),
                "generation": seat.generation,
                "recycled": self._tallies.consumers[name].planned + seat.planned,
                "crashed": self._tallies.consumers[name].crash + seat.crashed,
            }
            for name, seat in self._policy.seats.items()
        }

    def _judged(self, seat: Seat, frame: int | None) -> None:
        """Take in at which frame a process ended at its last attempt."""
        before = seat.quarantined
        self._carry_out(self._policy.judged(seat.name, frame))
        if seat.quarantined > before and seat.phase is Phase.WAITING:
            self._observer.note(f"{seat.name}: frame {frame} is quarantined; it goes on without it", consumer=seat.name)
        self._take_in_failure(seat)

    def _hear_consumer(self, key: tuple[str, int], message: dict[str, Any]) -> None:
        name, generation = key
        event = message["event"]
        tally = self._tallies.consumers[name]
        if event == "ready":
            tally.began(generation, message["anon"])
            self._carry_out(self._policy.warmed_up(name, generation, message["anon"]))
            self._take_in_failure(self._policy.seats[name])
            self._carry_out(self._policy.consumer_ready(name, generation))
        elif event == "memory":
            tally.sample(generation, message["chunk"], message["anon"], message["shared"])
            if message["chunk"] is not None:
                self._carry_out(self._policy.measured(name, generation, message["chunk"], message["anon"]))
                self._take_in_failure(self._policy.seats[name])
        elif event == "grown":
            tally.grown(generation, message["lines"])
        elif event == "escaped":
            tally.escaped += 1
        elif event == "error":
            self._traces[name] = message["trace"]
            error = StreamerError.from_wire(message["error"])
            self._carry_out(self._policy.failed(name, generation, error))

    # ---- what the policy orders

    def _carry_out(self, orders: Iterable[Order]) -> None:
        for order in orders:
            self._do[type(order)](self, order)

    def _start(self, order: Start) -> None:
        if self._ending or self._reader.ended() is not None:  # nobody would tell it what to do, or to end
            return
        key = (order.name, order.generation)
        config = self._consumers[order.name]
        identity = f"{order.name}/{order.generation}/{secrets.token_hex(16)}"
        self._identities[key] = identity
        self._reader.channel.send("expect", identity=identity)
        use, title = config.use or order.name, f"{order.name}.{order.generation}"
        child = self._templates.start(order.name, use, title, forked=self._policy.recycles(order.name))
        job = WorkerJob(
            order.name,
            order.generation,
            config.use or order.name,
            config.options,
            self._job.endpoint,
            identity,
            self._pool_fd,
            self._paths,
            order.name in self._sharing,
            config.escape == "warn",
            config.trace_malloc,
            str(self._folder / config.memray) if config.memray else None,
            part=self._part and order.name in self._sharing,
        )
        child.channel.send("job", job=to_wire(job))
        self._children[key] = child
        self._tallies.consumers[order.name].generations += 1

    def _activate(self, order: Activate) -> None:
        identity = self._identities[order.name, order.generation]
        self._reader.channel.send("activate", name=order.name, identity=identity, chunks=order.chunks)
        if not self._policy.recycles(order.name):
            self._templates.dismiss(order.name)

    def _gone(self, order: Gone) -> None:
        identity = self._identities.pop((order.name, order.generation))
        seat, trace = self._policy.seats[order.name], self._traces.pop(order.name, "")
        self._reader.channel.send("gone", name=order.name, identity=identity, why=str(seat.error or ""), trace=trace)

    def _retire(self, order: Retire) -> None:
        self._reader.channel.send("retire", name=order.name)

    def _kill(self, order: Kill) -> None:
        if child := self._children.get((order.name, order.generation)):
            child.kill()

    def _drop(self, order: Drop) -> None:
        self._reader.channel.send("drop", name=order.name)

    def _drain(self, order: Drain) -> None:
        del order
        self._reader.channel.send("drain")

    _do: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        Start: _start,
        Activate: _activate,
        Gone: _gone,
        Retire: _retire,
        Kill: _kill,
        Drop: _drop,
        Drain: _drain,
    }

    # ---- the end

    def _settle(self) -> None:
        """Say how it ended."""
        code = self._reader.ended()
        deadline = time.monotonic() + (_GRACE_SECONDS if code == 0 else 0.0)
        while code == 0 and self._children and time.monotonic() < deadline:
            self._look()
            if any(child.ended() is None for child in self._leaving()):
                self._wait()
            else:
                break
        for message in self._reader.heard():
            self._hear_reader(message)
        for name, seat in self._policy.seats.items():
            self._tallies.consumers[name].planned += seat.planned
            self._tallies.consumers[name].crash += seat.crashed
            self._tallies.consumers[name].failed = str(self._error_of(seat)) if seat.phase is Phase.FAILED else None
        if not self._outcome.report and self._outcome.ready:
            self._outcome.report = self._report_for_the_reader()
        self._outcome.error = self._error
        if self._error is None and self._policy.isolated:
            self._outcome.error = self._error_of(self._policy.seats[self._policy.isolated[0]])
        if self._error is not None:
            self._outcome.state = "failed"
        elif code == 0 and self._outcome.report.get("finished"):
            self._outcome.state = "done"
        elif self._stops.asked or self._policy.draining:
            self._outcome.state = "interrupted"
        elif code is not None and code != 0:
            self._observer.note(f"the reader ended ({how_it_ended(code)})")

    def _report_for_the_reader(self) -> dict[str, Any]:
        """Say what is known of a session whose reader was ended before it could report."""
        frames, chunks = self._outcome.ready["frames"], self._outcome.ready["chunks"]
        cursors = {name: seat.cursor for name, seat in self._policy.seats.items()}
        done = {name: frames if c >= chunks else c * self._job.chunk_size for name, c in cursors.items()}
        lossless = [name for name, seat in self._job.consumers.items() if not seat.latest]
        used = self._last_progress.get("anon", 0)
        return {
            "reached": min(done[name] for name in lossless),
            "consumers": {
                name: {"frames": -(-done[name] // seat.every), "chunks": cursors[name]}
                for name, seat in self._job.consumers.items()
            },
            "pool_peak": self._last_progress.get("slots", 0) * self._outcome.ready["slot_size"],
            "pool_allocated": self._last_progress.get("allocated", 0) * self._outcome.ready["slot_size"],
            "stream_seconds": time.monotonic() - self._began,
            "anon": {"start": used, "peak": used, "end": used},
        }

    def _leaving(self) -> list[Process]:
        """Return the processes that end by themselves: those that were not only standing by."""
        seats = self._policy.seats
        return [child for (name, generation), child in self._children.items() if generation == seats[name].generation]

    def _end_all(self) -> None:
        self._templates.close()  # before its generations, one of which may just begin
        for child in (self._reader, *self._children.values()):
            child.close()


def _close(descriptors: tuple[int, ...]) -> None:
    for fd in descriptors:
        os.close(fd)
