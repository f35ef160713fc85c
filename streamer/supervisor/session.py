"""One recording and its processes → an outcome: the loop that carries out what the policy decides."""

from __future__ import annotations

import logging
import os
import secrets
import selectors
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from streamer import memfd
from streamer.memory import anonymous
from streamer.runtime import messages
from streamer.runtime.job import WorkerJob
from streamer.supervisor.child import Child
from streamer.supervisor.endings import MemoryKills, how_it_ended
from streamer.supervisor.outcome import Outcome, final_error, so_far
from streamer.supervisor.policy import Policy
from streamer.supervisor.seats import Activate, Fail, Gone, Kill, Phase, Start, Tell, seat_of
from streamer.supervisor.template import Starter, Templates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from streamer.config.model import ConsumerConfig
    from streamer.errors import StreamerError
    from streamer.runtime.job import ReaderJob
    from streamer.supervisor.child import Process
    from streamer.supervisor.observer import Observer
    from streamer.supervisor.seats import Order, Seat
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
        self._asked = 0
        self._last_progress: messages.Progress | None = None
        self._began = time.monotonic()
        self._memory_kills = MemoryKills()
        self._outcome = Outcome("died")
        self._policy = Policy({name: seat_of(name, config) for name, config in consumers.items()})

    def run(self) -> Outcome:
        """Run to the end; every process is gone when this returns."""
        with ExitStack() as stack:
            writable, readable = memfd.create()
            for fd in (writable, readable):
                stack.callback(os.close, fd)
            self._pool_fd = readable
            how = Starter(self._folder, self._logs, readable)
            self._templates = stack.enter_context(Templates(how, self._observer.note))
            self._reader = Child(
                "streamer.runtime.reader",
                "reader",
                folder=self._folder,
                log=self._logs / "reader.log",
                descriptors=[writable],
                environment=_READERS_OWN,
            )
            stack.callback(self._end_all)
            self._reader.channel.send(replace(self._job, pool_fd=writable))
            self._policy.now = time.monotonic()
            self._carry_out(self._policy.start())
            while not self._finished():
                self._wait()
                self._look()
            self._settle()
        return self._outcome

    # ---- the loop

    def _finished(self) -> bool:
        if self._reader.ended() is not None:
            return True
        return self._stop_now or (not self._policy.begun and self._policy.failure is not None)

    @property
    def _stop_now(self) -> bool:
        return self._stops.asked > 1

    def _wait(self) -> None:
        now = time.monotonic()
        wake = self._policy.next_wake()
        seconds = _LONGEST_SLEEP if wake is None else max(0.0, min(wake - now, _LONGEST_SLEEP))
        with selectors.DefaultSelector() as selector:
            for child in (self._reader, *self._children.values()):
                for what in child.watched():
                    selector.register(what, selectors.EVENT_READ)
            selector.register(self._stops, selectors.EVENT_READ)
            selector.select(seconds)
        self._stops.clear()

    def _look(self) -> None:
        """Take in everything that has happened since the last look."""
        self._policy.now = time.monotonic()
        ended = {key: code for key, child in self._children.items() if (code := child.ended()) is not None}
        for message in self._reader.heard():  # after the look at who has ended: it says before why they will
            self._from_reader[type(message)](self, message)
        for (name, generation), child in list(self._children.items()):
            for message in child.heard():
                self._from_worker[type(message)](self, name, generation, message)
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
        planned = self._policy.seats[name].retiring and code == 0
        self._tallies.consumers[name].ended(generation, "planned" if planned else how_it_ended(code))
        starved = self._memory_kills.just_now()
        orders = self._policy.exited(name, generation, code, time.monotonic(), out_of_memory=starved)
        self._children.pop(key).close()
        self._carry_out(orders)

    def _final(self, seat: Seat) -> StreamerError:
        return final_error(seat, self._logs, begun=self._policy.begun)

    # ---- what the reader says

    def _planned(self, message: messages.Planned) -> None:
        self._outcome.planned = message
        self._observer.planned(message)
        self._carry_out(self._policy.reader_ready(message.chunks, message.cursors, list(message.done)))

    def _progressed(self, message: messages.Progress) -> None:
        self._last_progress = message
        self._observer.progress(message, self._lives(), self._tallies.brief(time.monotonic()))
        for name, position in message.consumers.items():
            self._carry_out(self._policy.silent(name, position.silent))

    def _committed(self, message: messages.Committed) -> None:
        self._outcome.committed = True
        self._tallies.reader.sample(1, message.chunk, message.anon, message.shared)
        self._tallies.supervisor.sample(1, message.chunk, anonymous(), 0)
        self._carry_out(self._policy.committed(message.name, message.chunk))

    def _attempted(self, message: messages.Attempted) -> None:
        self._carry_out(self._policy.attempted(message.name, message.count))

    def _retiring(self, message: messages.Retiring) -> None:
        self._carry_out(self._policy.retiring(message.name))

    def _ending_outputs(self, message: messages.Ending) -> None:
        self._carry_out(self._policy.ending(message.name))

    def _closed(self, message: messages.Closed) -> None:
        self._carry_out(self._policy.closed(message.name))

    def _handed_over(self, message: messages.HandedOver) -> None:
        self._tallies.consumers[message.name].handovers.append(message.seconds)

    def _judged(self, message: messages.Judged) -> None:
        self._carry_out(self._policy.judged(message.name, message.frame, proven=message.proven))

    def _reader_failed(self, message: messages.Failed) -> None:
        self._error = self._error or message.cause
        self._ending = True

    def _streamed(self, message: messages.Streamed) -> None:
        self._outcome.streamed = message

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

    # ---- what the workers say

    def _warmed_up(self, name: str, generation: int, message: messages.WarmedUp) -> None:
        self._tallies.consumers[name].began(generation, message.anon)
        self._carry_out(self._policy.warmed_up(name, generation, message.anon))
        self._carry_out(self._policy.consumer_ready(name, generation))

    def _measured(self, name: str, generation: int, message: messages.Measured) -> None:
        self._tallies.consumers[name].sample(generation, message.chunk, message.anon, message.shared)
        if message.chunk is not None:
            self._carry_out(self._policy.measured(name, generation, message.chunk, message.anon))

    def _grown(self, name: str, generation: int, message: messages.Grown) -> None:
        self._tallies.consumers[name].grown(generation, message.lines)

    def _escaped(self, name: str, generation: int, message: messages.Escaped) -> None:
        del generation, message
        self._tallies.consumers[name].escaped += 1

    def _worker_failed(self, name: str, generation: int, message: messages.Failed) -> None:
        self._traces[name] = message.trace
        self._carry_out(self._policy.failed(name, generation, message.cause))

    _from_reader: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        messages.Planned: _planned,
        messages.Progress: _progressed,
        messages.Committed: _committed,
        messages.Attempted: _attempted,
        messages.Retiring: _retiring,
        messages.Ending: _ending_outputs,
        messages.Closed: _closed,
        messages.HandedOver: _handed_over,
        messages.Judged: _judged,
        messages.Failed: _reader_failed,
        messages.Streamed: _streamed,
    }
    _from_worker: ClassVar[dict[type, Callable[[Any, str, int, Any], None]]] = {
        messages.WarmedUp: _warmed_up,
        messages.Measured: _measured,
        messages.Grown: _grown,
        messages.Escaped: _escaped,
        messages.Failed: _worker_failed,
    }

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
        self._reader.channel.send(messages.Expect(identity))
        child, template = self._templates.start(order.name, order.generation)
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
            template=template,
            cut=self._job.episodes is not None,
            durable=self._job.durable,
        )
        child.channel.send(job)
        self._children[key] = child
        self._tallies.consumers[order.name].generations += 1

    def _activate(self, order: Activate) -> None:
        identity = self._identities[order.name, order.generation]
        self._reader.channel.send(messages.Begin(order.name, identity, order.chunks))

    def _gone(self, order: Gone) -> None:
        identity = self._identities.pop((order.name, order.generation), None)
        if identity is None:  # it has been told already
            return
        why, trace = str(self._policy.seats[order.name].error or ""), self._traces.pop(order.name, "")
        self._reader.channel.send(messages.GenerationEnded(order.name, identity, why, trace, order.killed))

    def _pass_on(self, order: messages.Retire | messages.Drop | messages.Drain) -> None:
        self._reader.channel.send(order)

    def _kill(self, order: Kill) -> None:
        if child := self._children.get((order.name, order.generation)):
            child.kill()

    def _tell(self, order: Tell) -> None:
        about = {"consumer": order.name, "generation": order.generation, "chunk": order.chunk}
        about |= {} if order.frame is None else {"frame": order.frame}
        _log.warning("%s.%d: %s; %s", order.name, order.generation, order.error, order.what)
        self._observer.note(f"{order.error.within(consumer=order.name)}; {order.what}", **about)

    def _fail(self, order: Fail) -> None:
        self._error = self._error or self._final(self._policy.seats[order.name])

    _do: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        Start: _start,
        Activate: _activate,
        Gone: _gone,
        Kill: _kill,
        Tell: _tell,
        Fail: _fail,
        **dict.fromkeys((messages.Retire, messages.Drop, messages.Drain), _pass_on),
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
            self._from_reader[type(message)](self, message)
        for name, seat in self._policy.seats.items():
            self._tallies.consumers[name].planned += seat.planned
            self._tallies.consumers[name].crash += seat.crashed
            self._tallies.consumers[name].killed += seat.killed
            self._tallies.consumers[name].failed = str(self._final(seat)) if seat.phase is Phase.FAILED else None
        if self._outcome.streamed is None and self._outcome.planned is not None:
            cursors = {name: seat.cursor for name, seat in self._policy.seats.items()}
            seconds = time.monotonic() - self._began
            self._outcome.streamed = so_far(self._job, self._outcome.planned, cursors, self._last_progress, seconds)
        self._say_how_it_ended(code)

    def _say_how_it_ended(self, code: int | None) -> None:
        self._outcome.error = self._error
        if self._error is None and self._policy.isolated:
            self._outcome.error = self._final(self._policy.seats[self._policy.isolated[0]])
        if self._error is not None:
            self._outcome.state = "failed"
        elif code == 0 and self._outcome.streamed is not None and self._outcome.streamed.finished:
            self._outcome.state = "done"
        elif self._stops.asked or self._policy.draining:
            self._outcome.state = "interrupted"
        elif code is not None and code != 0:
            self._outcome.code, self._outcome.starved = code, self._memory_kills.just_now()
            by = ", by the kernel, which was out of memory" if code == -signal.SIGKILL and self._outcome.starved else ""
            self._observer.note(f"the reader ended ({how_it_ended(code)}{by})")

    def _leaving(self) -> list[Process]:
        """Return the processes that end by themselves: not those that stand by, or were never told to begin."""
        seats = self._policy.seats
        return [
            child
            for (name, generation), child in self._children.items()
            if generation == seats[name].generation and seats[name].phase not in (Phase.STARTING, Phase.READY)
        ]

    def _end_all(self) -> None:
        for child in (self._reader, *self._children.values()):
            child.close()
