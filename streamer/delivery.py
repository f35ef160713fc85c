"""Positions, leases and slots → what to load and whom to send it to next: the table of the reader.

Pure: no clock, no socket, no memory. Events go in by method calls, `step` returns what to do. Its
promises, whatever the order of events:

- a lossless consumer is sent every frame that it wants, from its cursor on, in order, each once in a
  generation; a chunk's end is announced behind the last frame of the chunk;
- a slot is given to another frame only when nobody holds a lease on it and no load reads from it;
- frames that nobody holds are a cache, dropped only for the active consumer that is furthest behind,
  so while any active consumer can make progress, the table does; one that crashed holds nobody up, one
  whose process is replaced as planned is waited for;
- a ``latest`` consumer gets the newest frame when it has none, and never makes others wait;
- a frame that is kept beyond its callback is lent: pinned like any other, and counted against the credit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_LOOK_BACK = 64  # frames; what is older is not the newest


class Load(NamedTuple):
    """Read and decode a frame into a slot; ``source`` is a slot whose frame shares messages with it."""

    frame: int
    slot: int
    source: int | None


class Send(NamedTuple):
    """Show a frame to a consumer; it holds a lease from now on."""

    consumer: str
    frame: int
    slot: int


class EndChunk(NamedTuple):
    """Tell a consumer that all frames of a chunk were sent."""

    consumer: str
    chunk: int


class HandOver(NamedTuple):
    """Tell a consumer's process to exit: its share is committed, another generation goes on."""

    consumer: str


class End(NamedTuple):
    """Tell a consumer that the recording is complete and all of it committed."""

    consumer: str


class Grow(NamedTuple):
    """Give the table so many more slots by `grown`, before anything else; it makes do with what it has otherwise."""

    slots: int


Action = Load | Send | EndChunk | HandOver | End | Grow


@dataclass(slots=True)
class _Entry:
    """One frame that is in the table: being loaded, ready, or void (it cannot be decoded)."""

    slot: int | None
    ready: bool = False
    holders: set[str] = field(default_factory=set)
    pins: int = 0
    source: int | None = None


@dataclass(slots=True)
class _Seat:
    """One consumer: how far it is, and what its present generation may still get."""

    latest: bool
    every: int
    credit: int
    cursor: int = 0  # chunks committed
    position: int = 0  # next frame to send
    ahead: int = 0  # no frame that it wants is missing from the table before this one
    chunk: int = 0  # next chunk whose end is to be announced
    stop: int = 0  # the frame before which this generation ends
    active: bool = False
    told: bool = False  # HandOver or End has been sent
    sent: int = 0  # frames sent, repeated ones counted again
    expected: bool = True  # a process of it is to come soon: the others do not run away meanwhile
    done: bool = False  # has closed its outputs, or was given up
    dropped: bool = False  # was given up
    leases: set[int] = field(default_factory=set)
    lent: set[int] = field(default_factory=set)  # those of the leases that are kept beyond their callbacks
    alone: int = 0  # frames before this one are sent one at a time
    without: set[int] = field(default_factory=set)  # frames that it is not to see


class Delivery:
    """The table for one recording of ``frames`` frames in ``slots`` slots."""

    def __init__(
        self,
        frames: int,
        chunk_size: int,
        slots: int,
        *,
        window: int,
        readahead: int,
        repeats: Sequence[bool] = (),
        most: int = 0,
        step: int = 1,
    ) -> None:
        """Begin with an empty table.

        Args:
            frames: number of frames to stream.
            chunk_size: frames a chunk.
            slots: slots in the pool now.
            window: how many frames may be loading at once.
            readahead: how many frames beyond a consumer's position are loaded for it.
            repeats: for each frame, whether it shows a message of the frame before; may be empty.
            most: how many slots the pool may grow to, before any frame is dropped for another.
            step: how many slots it grows by.

        """
        self.frames = frames
        self.chunks = -(-frames // chunk_size)
        self._chunk_size = chunk_size
        self._window = window
        self._readahead = readahead
        self._repeats = repeats
        self._slots = slots
        self._most = max(most, slots)
        self._step = step
        self._free = list(range(slots - 1, -1, -1))
        self._table: dict[int, _Entry] = {}
        self._seats: dict[str, _Seat] = {}
        self._loading = 0
        self._newest = -1  # the highest frame that was ever ready
        self._draining = False
        self.void: set[int] = set()
        self.loads = 0
        self.peak_slots = 0

    # ---- events

    def add(
        self, name: str, *, cursor: int, done: bool = False, latest: bool = False, every: int = 1, credit: int = 8
    ) -> None:
        """Give a consumer a seat, at the chunk after its cursor; frames are loaded for it, but sent after `activate`.

        One that is ``done`` has closed its outputs in an earlier run.
        """
        self._seats[name] = _Seat(latest, every, credit, cursor=cursor, position=self._start_of(cursor), done=done)

    def activate(self, name: str, chunks: int | None, *, alone: bool = False) -> None:
        """Let a new generation take a seat, for at most ``chunks`` chunks (None: to the end).

        ``alone`` sends it the frames of its first chunk one at a time, so that it is known which one ends it.
        """
        seat = self._seats[name]
        seat.alone = self._start_of(seat.cursor + 1) if alone else 0
        seat.position = seat.ahead = self._start_of(seat.cursor)
        seat.chunk = seat.cursor
        last = self.chunks if chunks is None else min(self.chunks, seat.cursor + chunks)
        seat.stop = min(self.frames, last * self._chunk_size)
        seat.active = seat.expected = True
        seat.told = False
        if self._draining:
            self._stop_soon(seat)

    def leave_out(self, name: str, frame: int) -> None:
        """Send a consumer this frame no more."""
        self._seats[name].without.add(frame)

    def retire(self, name: str) -> None:
        """Let the present generation finish the chunk it is in, and no more."""
        self._stop_soon(self._seats[name])

    def drain(self) -> None:
        """Let every generation finish the chunk it is in, and start no other."""
        self._draining = True
        for seat in self._seats.values():
            self._stop_soon(seat)

    def gone(self, name: str) -> None:
        """Take back all leases of a generation whose process is proven to have ended."""
        seat = self._seats[name]
        seat.expected = seat.told
        seat.active = False
        seat.position = seat.ahead = self._start_of(seat.cursor)
        for frame in list(seat.leases):
            self._give_back(seat, name, frame)
        self._sweep()

    def drop(self, name: str) -> None:
        """Give a consumer up: nothing waits for it any more."""
        seat = self._seats[name]
        seat.done = seat.dropped = True
        self.gone(name)

    def release(self, name: str, frame: int) -> bool:
        """Take back one lease; False where the consumer holds no such lease (then nothing changes)."""
        seat = self._seats.get(name)
        if seat is None or frame not in seat.leases:
            return False
        self._give_back(seat, name, frame)
        self._reap(frame)
        return True

    def lent(self, name: str, frame: int) -> bool:
        """Note that a consumer is through with a frame but keeps it; False where it holds no such lease."""
        seat = self._seats.get(name)
        if seat is None or frame not in seat.leases:
            return False
        seat.lent.add(frame)
        return True

    def committed(self, name: str, chunk: int) -> bool:
        """Move a cursor behind ``chunk``; False unless it is the next chunk and was announced."""
        seat = self._seats.get(name)
        if seat is None or not seat.active or chunk != seat.cursor or chunk >= seat.chunk:
            return False
        seat.cursor += 1
        return True

    def closed(self, name: str) -> bool:
        """Note that a consumer has finished its outputs; False where it was not told to."""
        seat = self._seats.get(name)
        if seat is None or not seat.told or seat.cursor < self.chunks:
            return False
        seat.done = True
        return True

    def loaded(self, frame: int) -> None:
        """Note that a frame is in its slot."""
        self._table[frame].ready = True
        self._newest = max(self._newest, frame)
        self._end_load(frame)

    def grown(self, slots: int) -> None:
        """Take in ``slots`` more slots."""
        self._free += range(self._slots + slots - 1, self._slots - 1, -1)
        self._slots += slots

    def failed(self, frame: int) -> None:
        """Note that a frame cannot be loaded and is left out."""
        entry = self._table[frame]
        self._end_load(frame)
        if entry.slot is not None:
            self._free.append(entry.slot)
        entry.slot, entry.ready = None, True
        self.void.add(frame)

    # ---- decisions

    def step(self) -> Iterator[Action]:
        """Yield all that can be done now; the table already counts it as done."""
        for name, seat in self._seats.items():
            if seat.active and not seat.told:
                yield from self._serve_latest(name, seat) if seat.latest else self._serve(name, seat)
        yield from self._loads()

    def _serve(self, name: str, seat: _Seat) -> Iterator[Action]:
        while seat.position < seat.stop:
            frame = seat.position
            if self._start_of(seat.cursor) < seat.alone <= frame:
                break  # the next frames might end it before its commit has arrived, and the trial would begin anew
            if self._shows(seat, frame):
                entry = self._table.get(frame)
                if entry is None or not entry.ready:
                    break
                if entry.slot is not None:
                    if len(seat.leases) >= seat.credit or (frame < seat.alone and seat.leases > seat.lent):
                        break
                    yield self._lease(name, seat, frame, entry.slot)
            seat.position = frame + 1
            self._reap(frame)
            if seat.position == min((seat.chunk + 1) * self._chunk_size, self.frames):
                yield self._end_chunk(name, seat)
        yield from self._finish(name, seat)

    def _shows(self, seat: _Seat, frame: int) -> bool:
        return frame % seat.every == 0 and frame not in seat.without

    def _serve_latest(self, name: str, seat: _Seat) -> Iterator[Action]:
        over = not any(self._reaches(other, seat.stop) for other in self._seats.values() if not other.latest)
        if seat.leases == seat.lent and len(seat.leases) < seat.credit and not over:
            newest = self._newest_for(seat)
            if seat.position <= newest < seat.stop:
                while (seat.chunk + 1) * self._chunk_size <= newest:
                    yield self._end_chunk(name, seat)
                slot = self._table[newest].slot
                if slot is not None:
                    yield self._lease(name, seat, newest, slot)
                seat.position = newest + 1
        if over and seat.position < seat.stop:
            seat.position = seat.stop
        while seat.position >= min((seat.chunk + 1) * self._chunk_size, seat.stop) and seat.chunk < self._last(seat):
            yield self._end_chunk(name, seat)
        yield from self._finish(name, seat)

    def _newest_for(self, seat: _Seat) -> int:
        """Return the newest frame that a ``latest`` consumer could be shown now, -1 for none."""
        for frame in range(self._newest, max(self._newest - _LOOK_BACK, seat.position - 1), -1):
            entry = self._table.get(frame)
            if entry is not None and entry.ready and entry.slot is not None and self._shows(seat, frame):
                return frame
        return -1

    def _reaches(self, other: _Seat, stop: int) -> bool:
        """Tell whether a lossless consumer will still bring frames before ``stop`` into the table."""
        if other.done or other.position >= stop:
            return False
        return not self._draining or (other.active and other.position < other.stop)

    def _finish(self, name: str, seat: _Seat) -> Iterator[Action]:
        """End a generation once everything that it may get is committed."""
        if seat.position < seat.stop or seat.cursor < self._last(seat):
            return
        seat.told = True
        yield End(name) if seat.cursor == self.chunks else HandOver(name)

    def _last(self, seat: _Seat) -> int:
        """Return the number of chunks that are committed when the present generation ends."""
        return -(-seat.stop // self._chunk_size)

    def _end_chunk(self, name: str, seat: _Seat) -> EndChunk:
        seat.chunk += 1
        return EndChunk(name, seat.chunk - 1)

    def _lease(self, name: str, seat: _Seat, frame: int, slot: int) -> Send:
        self._table[frame].holders.add(name)
        seat.leases.add(frame)
        seat.sent += 1
        return Send(name, frame, slot)

    def _loads(self) -> Iterator[Load | Grow]:
        while self._loading < self._window:
            if not self._free and self._slots < self._most and self._starving():
                yield Grow(min(self._step, self._most - self._slots))
                if not self._free:  # the machine has no more
                    self._most = self._slots
            frame, slot = next(self._placed(), (0, None))
            if slot is None:
                return
            source = None
            before = self._table.get(frame - 1)
            if len(self._repeats) > frame and self._repeats[frame] and before is not None and before.slot is not None:
                before.pins += 1
                source = frame - 1
            self._table[frame] = _Entry(slot, source=source)
            self._loading += 1
            self.loads += 1
            self.peak_slots = max(self.peak_slots, self._slots - len(self._free))
            yield Load(frame, slot, before.slot if source is not None and before is not None else None)

    def _placed(self) -> Iterator[tuple[int, int]]:
        """Yield wanted frames that can have a slot, the earliest first."""
        for frame, may_evict in sorted(self._wanted()):
            slot = self._take_slot(frame, may_evict=may_evict)
            if slot is not None:
                yield frame, slot

    def _wanted(self) -> Iterator[tuple[int, bool]]:
        """Yield the next missing frame of each consumer; the furthest behind may evict for it.

        One whose process is to come soon counts as if it were there: what it will need first is not
        displaced by what the others need later.
        """
        seats = [s for s in self._seats.values() if not s.latest and not s.done and self._comes_for_more(s)]
        reach = self._readahead * min((seat.every for seat in seats), default=1)  # none runs ahead past another's need
        for rank, seat in enumerate(sorted(seats, key=lambda s: s.position)):
            limit = min(seat.stop if self._draining else self.frames, seat.position + reach)
            seat.ahead = max(seat.ahead, seat.position)
            while seat.ahead < limit and (seat.ahead in self._table or seat.ahead % seat.every):
                seat.ahead += 1
            if seat.ahead < limit:
                yield seat.ahead, rank == 0

    def _starving(self) -> bool:
        """Tell whether a consumer has nothing to do, and what it waits for is not on its way."""
        return any(
            seat.active and not seat.latest and seat.leases <= seat.lent and seat.position < seat.stop
            for seat in self._seats.values()
            if seat.position not in self._table
        )

    def _comes_for_more(self, seat: _Seat) -> bool:
        return not seat.told if seat.active else seat.expected and not self._draining

    def _take_slot(self, frame: int, *, may_evict: bool) -> int | None:
        if self._free:
            return self._free.pop()
        if not may_evict:
            return None
        idle = [
            (not self._needed(other, active=True), other)
            for other, entry in self._table.items()
            if entry.ready and entry.slot is not None and not entry.holders and not entry.pins
        ]
        useless, victim = max(idle, default=(False, -1))
        if not useless and victim <= frame:
            return None
        slot = self._table.pop(victim).slot
        for seat in self._seats.values():
            if seat.position <= victim < seat.ahead:
                seat.ahead = victim
        return slot

    # ---- keeping the table

    def _start_of(self, chunk: int) -> int:
        return min(chunk * self._chunk_size, self.frames)

    def _stop_soon(self, seat: _Seat) -> None:
        start = seat.chunk * self._chunk_size
        seat.stop = min(seat.stop, start if seat.position <= start else start + self._chunk_size)

    def _needed(self, frame: int, *, active: bool = False) -> bool:
        return any(
            seat.position <= frame and frame % seat.every == 0 and not seat.latest and not seat.done
            for seat in self._seats.values()
            if seat.active or (seat.expected and not self._draining) or not active
        )

    def _give_back(self, seat: _Seat, name: str, frame: int) -> None:
        seat.leases.discard(frame)
        seat.lent.discard(frame)
        self._table[frame].holders.discard(name)

    def _end_load(self, frame: int) -> None:
        entry = self._table[frame]
        self._loading -= 1
        if entry.source is not None:
            self._table[entry.source].pins -= 1
            self._reap(entry.source)
            entry.source = None

    def _reap(self, frame: int) -> None:
        """Free a frame that nobody holds and nobody will want."""
        entry = self._table.get(frame)
        if entry is None or not entry.ready or entry.holders or entry.pins or self._needed(frame):
            return
        del self._table[frame]
        if entry.slot is not None:
            self._free.append(entry.slot)

    def _sweep(self) -> None:
        for frame in list(self._table):
            self._reap(frame)

    # ---- looking at it

    @property
    def idle(self) -> bool:
        """Whether no process has a seat and nothing is loading."""
        return not self._loading and not any(seat.active for seat in self._seats.values())

    @property
    def finished(self) -> bool:
        """Whether every consumer is done."""
        return all(seat.done for seat in self._seats.values())

    @property
    def complete(self) -> bool:
        """Whether every consumer has closed its outputs."""
        return all(seat.done and not seat.dropped for seat in self._seats.values())

    @property
    def slots_in_use(self) -> int:
        """How many slots hold a frame now."""
        return self._slots - len(self._free)

    @property
    def slots(self) -> int:
        """How many slots there are now."""
        return self._slots

    def reached(self) -> int:
        """Return the number of frames that every lossless consumer that is not given up has been sent."""
        return min((s.position for s in self._lossless() if not s.dropped), default=self.frames)

    def secured(self) -> int:
        """Return the number of frames that every lossless consumer has committed."""
        return min((self._start_of(s.cursor) for s in self._lossless()), default=self.frames)

    def _lossless(self) -> Iterable[_Seat]:
        return (seat for seat in self._seats.values() if not seat.latest)

    def cursor(self, name: str) -> int:
        """Return how many chunks a consumer has committed."""
        return self._seats[name].cursor

    def position(self, name: str) -> int:
        """Return the next frame that a consumer will be sent."""
        return self._seats[name].position

    def slot(self, frame: int) -> int:
        """Return the slot of a frame that is in the table and not void."""
        slot = self._table[frame].slot
        if slot is None:
            msg = f"frame {frame} has no slot"
            raise KeyError(msg)
        return slot

    def is_done(self, name: str) -> bool:
        """Return whether a consumer has closed its outputs or was given up."""
        return self._seats[name].done

    def on_trial(self, name: str) -> int | None:
        """Return the frame that a consumer is at which is sent them one at a time; None where there is none."""
        seat = self._seats[name]
        frame = min(seat.leases - seat.lent, default=seat.alone)
        return frame if frame < seat.alone else None

    def owes(self, name: str) -> bool:
        """Return whether a consumer has something to do: frames to release, a chunk to commit, outputs to close."""
        seat = self._seats[name]
        return seat.active and not seat.done and (bool(seat.leases) or seat.cursor < seat.chunk or seat.told)

    def sent(self, name: str) -> int:
        """Return how many frames a consumer has been sent, repeated ones counted again."""
        return self._seats[name].sent

    def holds(self, name: str) -> int:
        """Return how many leases a consumer holds."""
        return len(self._seats[name].leases)
