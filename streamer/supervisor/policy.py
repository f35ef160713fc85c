"""What happened to the processes of a run → what to do about it: the one judge of life and death.

Pure: time comes in as an argument, orders go out as values. A generation is one process in the life
of a consumer. Recycling is a generation that is given a number of chunks and exits when they are
committed; the next one stands ready by then, and is activated once the old one has ended. One that
holds too much memory retires at once; its successor is started when it comes near that.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.errors import ConfigError, ConsumerError
from streamer.ledger import MOST_ATTEMPTS
from streamer.memory import trend
from streamer.runtime.messages import Drain, Drop, Retire
from streamer.supervisor.endings import given_up, how_it_ended, how_it_was_killed
from streamer.supervisor.seats import Activate, Fail, Gone, Kill, Phase, Start, Tell
from streamer.units import show_size

if TYPE_CHECKING:
    from streamer.errors import StreamerError
    from streamer.supervisor.seats import Order, Seat

MOST_CRASHES = 5  # without a commit in between
MOST_KILLS = 20  # from outside, without a commit in between
MOST_QUARANTINED = 20  # frames; beyond that, it is not the frames
_NEARLY = 0.8  # of the memory that a generation may hold: time to start its successor
_LEAST_LIFE = 2  # chunks that a generation lives at least, whatever it holds
_SURE = 8  # samples that a trend takes on which a generation is ended
_FULL_AT_ONCE = 3  # generations in a row that hold too much from the start: the limit is at fault
_FIRST_WAIT, _LONGEST_WAIT, _CLOSING_WAIT = 0.5, 30.0, 5.0
_WARM_UP = 120.0  # seconds that every process has for it, whatever its deadline: imports are slow on a busy machine
_AHEAD = 1.5  # times the last warm-up, by which a successor is started before it is needed


@dataclass(slots=True)
class Policy:
    """All consumers of one session."""

    seats: dict[str, Seat]
    chunks: int = 0
    now: float = 0.0  # the time of what is told next, set by whoever tells it
    begun: bool = False  # all were ready once
    draining: bool = False
    failure: str | None = None  # the consumer because of which the run stops
    isolated: list[str] = field(default_factory=list)  # those that were given up while the rest went on
    _reader_ready: bool = field(default=False)

    def start(self) -> list[Order]:
        """Begin: a first generation of everyone."""
        return [self._start_next(seat) for seat in self.seats.values()]

    def reader_ready(self, chunks: int, cursors: dict[str, int], done: list[str]) -> list[Order]:
        """Take in what the plan says; those that had closed their outputs in an earlier run are done."""
        self._reader_ready = True
        self.chunks = chunks
        orders: list[Order] = []
        for name, seat in self.seats.items():
            seat.cursor = cursors[name]
            if name in done and seat.phase is not Phase.FAILED:
                seat.phase = Phase.DONE
                orders.append(Kill(name, seat.generation))
        return orders + self._begin()

    def consumer_ready(self, name: str, generation: int) -> list[Order]:
        """Take in that a process has warmed up."""
        seat = self.seats[name]
        if generation == seat.generations:
            seat.warm_up = self.now - seat.started_at
        if generation == seat.standby:
            seat.standby_ready = True
            return []
        if generation != seat.generation or seat.phase is not Phase.STARTING or seat.too_late:
            return []
        seat.phase = Phase.READY
        return self._activate(seat) if self.begun else self._begin()

    def committed(self, name: str, chunk: int) -> list[Order]:
        """Take in a commit; start the successor in time to be ready when the last chunk of a share is."""
        seat = self.seats[name]
        seat.cursor = chunk + 1
        seat.pace = (self.now - seat.active_since) / max(1, seat.cursor - seat.began_at)
        seat.crashes = seat.kills = seat.starved = seat.attempts = 0
        seat.committed_at = self.now
        return self._prepare_successor(seat)

    def warmed_up(self, name: str, generation: int, anonymous: int) -> list[Order]:
        """Take in what a process holds before it has seen anything, in bytes."""
        seat = self.seats[name]
        if generation != seat.generation or seat.recycle_memory is None or anonymous <= seat.recycle_memory:
            return []
        return self._refuse_limit(seat, anonymous, "before its first chunk")

    def measured(self, name: str, generation: int, chunk: int, anonymous: int) -> list[Order]:
        """Take in what a generation holds at a commit, in bytes; one that holds or gains too much makes way."""
        seat = self.seats[name]
        if generation != seat.generation or seat.phase is not Phase.ACTIVE or self.draining:
            return []
        seat.samples.append((chunk, anonymous))
        full = seat.recycle_memory is not None and anonymous > seat.recycle_memory
        if len(seat.samples) == 1:
            seat.full_at_once = seat.full_at_once + 1 if full else 0
            if seat.full_at_once >= _FULL_AT_ONCE:
                return self._refuse_limit(seat, anonymous, "after its first chunk")
        if len(seat.samples) < _LEAST_LIFE or seat.told:
            return []
        if full or self._grows(seat):
            seat.told = True
            return [*self._start_successor(seat), Retire(name)]
        near = seat.recycle_memory is not None and anonymous > _NEARLY * seat.recycle_memory
        return self._start_successor(seat) if near else []

    def _grows(self, seat: Seat) -> bool:
        if seat.recycle_growth is None or len(seat.samples) < _SURE:
            return False
        slope = trend([seat.samples]).slope
        return slope is not None and slope > seat.recycle_growth

    def _refuse_limit(self, seat: Seat, anonymous: int, when: str) -> list[Order]:
        """Give up a consumer whose fresh processes hold more than they may: recycling them would never end."""
        enough = -(-anonymous * 3 // 2 // 10**7) * 10
        seat.fatal = True
        seat.error = ConfigError(
            f"{show_size(seat.recycle_memory or 0)} is too low: a fresh process holds {show_size(anonymous)} {when}",
            key=f"consumers.{seat.name}.recycle.memory",
            hint=f"set it to {enough} MB or more",
        )
        seat.crashed += 1
        return [Kill(seat.name, seat.generation), *self._give_up(seat)]

    def judged(self, name: str, frame: int | None, *, proven: bool = True) -> list[Order]:
        """Take in at which frame a process ended that was shown them one at a time; None: at no frame.

        It is not ``proven`` that the frame is to blame where the process was killed from outside.
        """
        seat = self.seats[name]
        if seat.phase is not Phase.JUDGING:
            return []
        if not proven:
            seat.phase = Phase.WAITING
            return []
        if frame is None or not seat.quarantine:
            seat.frame = frame
            return self._give_up(seat)
        seat.quarantined += 1
        if seat.quarantined > MOST_QUARANTINED:
            error = seat.error or ConsumerError("it failed again", consumer=name)
            seat.error = error.within(hint=f"{MOST_QUARANTINED} frames are quarantined already: it is not the frames")
            return self._give_up(seat)
        seat.crashes = seat.kills = seat.starved = 0
        seat.phase, seat.wait_until = Phase.WAITING, 0.0
        return [self._tell(seat, f"frame {frame} is quarantined; it goes on without it", frame=frame)]

    def attempted(self, name: str, count: int) -> list[Order]:
        """Take in how often the present chunk has been begun."""
        self.seats[name].attempts = count
        return []

    def retiring(self, name: str) -> list[Order]:
        """Take in that a generation was told to exit with its share committed."""
        self.seats[name].retiring = True
        return []

    def ending(self, name: str) -> list[Order]:
        """Take in that a consumer was told to finish its outputs."""
        self.seats[name].ending = True
        return []

    def closed(self, name: str) -> list[Order]:
        """Take in that a consumer has finished its outputs."""
        seat = self.seats[name]
        seat.closed = True
        if seat.phase is not Phase.CLOSING:
            return []
        seat.phase = Phase.DONE
        return [Gone(name, seat.generation), *self._dismiss_standby(seat)]

    def failed(self, name: str, generation: int, error: StreamerError) -> list[Order]:
        """Take in why a process is about to end; whatever is no plain `ConsumerError` would happen again."""
        seat = self.seats[name]
        if generation == seat.generation:
            seat.error, seat.fatal = error, type(error) is not ConsumerError
        return []

    def exited(self, name: str, generation: int, code: int, now: float, *, out_of_memory: bool = False) -> list[Order]:
        """Take in the proven end of a process; ``out_of_memory`` says that the kernel has killed one for that."""
        seat = self.seats[name]
        if generation == seat.standby:
            seat.standby, seat.standby_ready = None, False
            return [Gone(name, generation)]
        if generation != seat.generation or seat.phase in (Phase.DONE, Phase.FAILED, Phase.STOPPED):
            return [Gone(name, generation)]
        if seat.ending and code == 0 and not seat.closed:  # it has said so; the reader has yet to take it in
            seat.phase, seat.wait_until = Phase.CLOSING, now + _CLOSING_WAIT
            return []
        killed = self._blame(seat, code, now, out_of_memory=out_of_memory)
        return [Gone(name, generation, killed), *self._after(seat, code, now, killed=killed)]

    def _blame(self, seat: Seat, code: int, now: float, *, out_of_memory: bool) -> bool:
        """Say why a process ended that has not said so itself; tell whether it was killed from outside."""
        if seat.error is not None or (code == 0 and (seat.retiring or seat.closed)):
            return False
        killed = code == -signal.SIGKILL and not self.draining
        seat.starved += killed and out_of_memory
        since = None if seat.committed_at is None else now - seat.committed_at
        how = how_it_was_killed(out_of_memory=out_of_memory, since_commit=since) if killed else how_it_ended(code)
        seat.error = ConsumerError(how, consumer=seat.name)
        return killed

    def _after(self, seat: Seat, code: int, now: float, *, killed: bool) -> list[Order]:
        """Decide what follows the end of a consumer's present generation."""
        if seat.closed:
            seat.phase = Phase.DONE
            return self._dismiss_standby(seat)
        if self.draining:
            seat.phase = Phase.STOPPED
            return self._dismiss_standby(seat)
        if seat.retiring and code == 0:
            seat.retiring = False
            seat.planned += 1
            return self._next(seat)
        return self._kill(seat, now) if killed else self._crash(seat, now, raised=code > 0)

    def silent(self, name: str, seconds: float) -> list[Order]:
        """Take in how long a consumer with work has said nothing; end it beyond its deadline."""
        seat = self.seats[name]
        if seat.phase is not Phase.ACTIVE or seat.deadline is None or seconds <= seat.deadline:
            return []
        why = f"it was silent for {seconds:.1f} s with work at hand (deadline: {seat.deadline:.1f} s)"
        seat.error = ConsumerError(why, consumer=name)
        return [Kill(name, seat.generation)]

    def tick(self, now: float) -> list[Order]:
        """Start those whose time of waiting is over; end those that do not come out of their warm-up."""
        orders: list[Order] = []
        for seat in self.seats.values():
            if seat.phase is Phase.STARTING:
                orders += self._watch_warm_up(seat, now)
            elif now < seat.wait_until:
                continue
            elif seat.phase is Phase.CLOSING:
                why = "it ended without having finished its outputs"
                seat.error = seat.error or ConsumerError(why, consumer=seat.name)
                orders += [Gone(seat.name, seat.generation), *self._crash(seat, now, raised=False)]
            elif seat.phase is Phase.WAITING:
                orders += self._next(seat)
        return orders

    def drain(self) -> list[Order]:
        """Let everyone finish the chunk it is in and stop; whoever has not begun is stopped now."""
        self.draining = True
        orders: list[Order] = [Drain()]
        for seat in self.seats.values():
            if seat.phase in (Phase.STARTING, Phase.READY, Phase.WAITING, Phase.JUDGING):
                if seat.phase in (Phase.STARTING, Phase.READY):
                    orders.append(Kill(seat.name, seat.generation))
                seat.phase = Phase.STOPPED
            orders += self._dismiss_standby(seat)
        return orders

    def next_wake(self) -> float | None:
        """Return the time at which `tick` has something to do; None where it has not."""
        seats = self.seats.values()
        waits = [s.wait_until for s in seats if s.phase in (Phase.WAITING, Phase.CLOSING)]
        waits += [
            (s.warming_since or 0.0) + max(s.deadline or 0.0, _WARM_UP)
            for s in seats
            if s.phase is Phase.STARTING and not s.too_late
        ]
        return min(waits, default=None)

    # ---- decisions

    def _watch_warm_up(self, seat: Seat, now: float) -> list[Order]:
        if seat.warming_since is None:
            seat.warming_since = now
        longest = max(seat.deadline or 0.0, _WARM_UP)
        if seat.too_late or now - seat.warming_since <= longest:
            return []
        seat.too_late = True
        why = f"it was not ready after {longest:.0f} s of import and construction"
        seat.error = ConsumerError(why, consumer=seat.name)
        return [Kill(seat.name, seat.generation)]

    def _begin(self) -> list[Order]:
        waiting = (Phase.STARTING, Phase.WAITING, Phase.JUDGING)
        if self.begun or not self._reader_ready or any(s.phase in waiting for s in self.seats.values()):
            return []
        self.begun = True
        return [o for seat in self.seats.values() if seat.phase is Phase.READY for o in self._activate(seat)]

    def _start_next(self, seat: Seat) -> Order:
        seat.generation = seat.generations = seat.generations + 1
        seat.phase, seat.warming_since, seat.started_at = Phase.STARTING, None, self.now
        seat.too_late = False
        seat.fatal, seat.error = False, None
        return Start(seat.name, seat.generation)

    def _activate(self, seat: Seat) -> list[Order]:
        if self.draining:
            return []
        seat.phase = Phase.ACTIVE
        seat.retiring = seat.ending = seat.told = False
        seat.samples = []
        seat.began_at, seat.active_since = seat.cursor, self.now
        seat.fatal, seat.error = False, None
        return [Activate(seat.name, seat.generation, seat.recycle_chunks), *self._prepare_successor(seat)]

    def _prepare_successor(self, seat: Seat) -> list[Order]:
        share = seat.recycle_chunks
        if share is None or seat.standby is not None or self.draining or seat.phase is not Phase.ACTIVE:
            return []
        left = seat.began_at + share - seat.cursor
        if seat.began_at + share >= self.chunks or (left > 1 and _in_time(seat, left)):
            return []
        return self._start_successor(seat)

    def _start_successor(self, seat: Seat) -> list[Order]:
        if seat.standby is not None:
            return []
        seat.generations += 1
        seat.standby, seat.started_at = seat.generations, self.now
        return [Start(seat.name, seat.standby)]

    def _next(self, seat: Seat) -> list[Order]:
        """Hand over to the successor: the one that stands ready, the one that warms up, or a new one."""
        if seat.standby is None:
            return [self._start_next(seat)]
        seat.generation, ready = seat.standby, seat.standby_ready
        seat.standby, seat.standby_ready, seat.warming_since = None, False, None
        seat.too_late = False
        seat.fatal, seat.error = False, None
        seat.phase = Phase.READY if ready else Phase.STARTING
        return self._activate(seat) if ready else []

    def _crash(self, seat: Seat, now: float, *, raised: bool) -> list[Order]:
        seat.retiring = False
        seat.crashed += 1
        seat.crashes += 1
        hopeless = seat.fatal or (raised and not self.begun)  # a constructor that raises will raise again
        if hopeless or seat.crashes >= MOST_CRASHES:
            return self._give_up(seat)
        return self._try_again(seat, now, seat.crashes)

    def _kill(self, seat: Seat, now: float) -> list[Order]:
        """Go on after a kill from outside: it is not the consumer's fault, but it may not go on for ever."""
        seat.retiring = False
        seat.crashed += 1
        seat.killed += 1
        seat.kills += 1
        if seat.kills < MOST_KILLS:
            return self._try_again(seat, now, seat.kills)
        seat.error, seat.fatal = given_up(seat.kills, seat.starved, consumer=seat.name), True
        return self._give_up(seat)

    def _try_again(self, seat: Seat, now: float, times: int) -> list[Order]:
        """Start another process in a while: the wait doubles each time."""
        seat.wait_until = now + min(_FIRST_WAIT * 2 ** (times - 1), _LONGEST_WAIT)
        seat.phase = Phase.JUDGING if seat.attempts >= MOST_ATTEMPTS else Phase.WAITING
        return [self._tell(seat, "starting again")]

    def _tell(self, seat: Seat, what: str, *, frame: int | None = None) -> Tell:
        error = seat.error or ConsumerError("it failed", consumer=seat.name)
        return Tell(seat.name, seat.generation, seat.cursor, error, what, frame)

    def _give_up(self, seat: Seat) -> list[Order]:
        seat.phase = Phase.FAILED
        orders: list[Order] = [*self._dismiss_standby(seat), Drop(seat.name)]
        if seat.isolate and self.begun:
            self.isolated.append(seat.name)
            return [*orders, self._tell(seat, "it is given up, the others go on")]
        self.failure = self.failure or seat.name
        orders.append(Fail(seat.name))
        return orders if self.draining else orders + self.drain()

    def _dismiss_standby(self, seat: Seat) -> list[Order]:
        if seat.standby is None:
            return []
        dismissed, seat.standby, seat.standby_ready = seat.standby, None, False
        return [Kill(seat.name, dismissed)]


def _in_time(seat: Seat, chunks: int) -> bool:
    """Tell whether a successor that is started after the next chunk is still ready in time."""
    return seat.pace is None or chunks * seat.pace >= _AHEAD * seat.warm_up
