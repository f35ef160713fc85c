"""Events → what to load and whom to send it to next: the table itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.delivery.actions import Action, End, EndChunk, Grow, HandOver, Load, Send
from streamer.delivery.seats import Entry, Seat
from streamer.delivery.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LOOK_BACK = 64  # frames; what is older is not the newest


class Delivery(View):
    """The table for one recording of ``frames`` frames in ``slots`` slots."""

    def __init__(  # noqa: PLR0913 - what a table is made of
        self,
        frames: int,
        chunks: int | Sequence[int],
        slots: int,
        *,
        window: int,
        readahead: int,
        repeats: Sequence[bool] = (),
        most: int = 0,
        step: int = 1,
        firsts: Sequence[int] = (0,),
    ) -> None:
        """Begin with an empty table.

        Args:
            frames: number of frames to stream.
            chunks: frames a chunk, or the first frame of each chunk.
            slots: slots in the pool now.
            window: how many frames may be loading at once.
            readahead: how many frames beyond a consumer's position are loaded for it.
            repeats: for each frame, whether it shows a message of the frame before; may be empty.
            most: how many slots the pool may grow to, before any frame is dropped for another.
            step: how many slots it grows by.
            firsts: the first frame of each episode; of each, consumers are shown every n-th from its first on.

        """
        self.frames = frames
        self._starts = range(0, frames, chunks) if isinstance(chunks, int) else chunks
        self._firsts = firsts
        self.chunks = len(self._starts)
        self._window = window
        self._readahead = readahead
        self._repeats = repeats
        self._slots = slots
        self._most = max(most, slots)
        self._step = step
        self._free = list(range(slots - 1, -1, -1))
        self._table: dict[int, Entry] = {}
        self._seats: dict[str, Seat] = {}
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
        self._seats[name] = Seat(latest, every, credit, cursor=cursor, position=self._start_of(cursor), done=done)

    def activate(self, name: str, chunks: int | None, *, alone: bool = False) -> None:
        """Let a new generation take a seat, for at most ``chunks`` chunks (None: to the end).

        ``alone`` sends it the frames of its first chunk one at a time, so that it is known which one ends it.
        """
        seat = self._seats[name]
        seat.alone = self._start_of(seat.cursor + 1) if alone else 0
        seat.position = seat.ahead = self._start_of(seat.cursor)
        seat.chunk = seat.cursor
        last = self.chunks if chunks is None else min(self.chunks, seat.cursor + chunks)
        seat.stop = min(self.frames, self._start_of(last))
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

    def _serve(self, name: str, seat: Seat) -> Iterator[Action]:
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
            if seat.position == self._start_of(seat.chunk + 1):
                yield self._end_chunk(name, seat)
        yield from self._finish(name, seat)

    def _shows(self, seat: Seat, frame: int) -> bool:
        return self.due(seat.every, frame) and frame not in seat.without

    def _serve_latest(self, name: str, seat: Seat) -> Iterator[Action]:
        over = not any(self._reaches(other, seat.stop) for other in self._seats.values() if not other.latest)
        if seat.leases == seat.lent and len(seat.leases) < seat.credit and not over:
            newest = self._newest_for(seat)
            if seat.position <= newest < seat.stop:
                while self._start_of(seat.chunk + 1) <= newest:
                    yield self._end_chunk(name, seat)
                slot = self._table[newest].slot
                if slot is not None:
                    yield self._lease(name, seat, newest, slot)
                seat.position = newest + 1
        if over and seat.position < seat.stop:
            seat.position = seat.stop
        while seat.position >= min(self._start_of(seat.chunk + 1), seat.stop) and seat.chunk < self._last(seat):
            yield self._end_chunk(name, seat)
        yield from self._finish(name, seat)

    def _newest_for(self, seat: Seat) -> int:
        """Return the newest frame that a ``latest`` consumer could be shown now, -1 for none."""
        for frame in range(self._newest, max(self._newest - _LOOK_BACK, seat.position - 1), -1):
            entry = self._table.get(frame)
            if entry is not None and entry.ready and entry.slot is not None and self._shows(seat, frame):
                return frame
        return -1

    def _reaches(self, other: Seat, stop: int) -> bool:
        """Tell whether a lossless consumer will still bring frames before ``stop`` into the table."""
        if other.done or other.position >= stop:
            return False
        return not self._draining or (other.active and other.position < other.stop)

    def _finish(self, name: str, seat: Seat) -> Iterator[Action]:
        """End a generation once everything that it may get is committed."""
        if seat.position < seat.stop or seat.cursor < self._last(seat):
            return
        seat.told = True
        yield End(name) if seat.cursor == self.chunks else HandOver(name)

    def _last(self, seat: Seat) -> int:
        """Return the number of chunks that are committed when the present generation ends."""
        return self.chunks_until(seat.stop)

    def _end_chunk(self, name: str, seat: Seat) -> EndChunk:
        seat.chunk += 1
        return EndChunk(name, seat.chunk - 1)

    def _lease(self, name: str, seat: Seat, frame: int, slot: int) -> Send:
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
            self._table[frame] = Entry(slot, source=source)
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
            while seat.ahead < limit and (seat.ahead in self._table or not self.due(seat.every, seat.ahead)):
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

    def _comes_for_more(self, seat: Seat) -> bool:
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

    def _stop_soon(self, seat: Seat) -> None:
        start = self._start_of(seat.chunk)
        seat.stop = min(seat.stop, start if seat.position <= start else self._start_of(seat.chunk + 1))

    def _needed(self, frame: int, *, active: bool = False) -> bool:
        return any(
            seat.position <= frame and self.due(seat.every, frame) and not seat.latest and not seat.done
            for seat in self._seats.values()
            if seat.active or (seat.expected and not self._draining) or not active
        )

    def _give_back(self, seat: Seat, name: str, frame: int) -> None:
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
