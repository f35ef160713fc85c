"""The table, as those see it who only look: how far everyone is, which slots are in use."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamer.delivery.seats import Entry, Seat


class View:
    """What may be asked of the table; nothing here changes it."""

    frames: int
    chunks: int
    _starts: Sequence[int]  # of the chunks, in frames
    _firsts: Sequence[int]  # frames of the episodes, from which each consumer's every n-th is counted
    _slots: int
    _loading: int
    _free: list[int]
    _table: dict[int, Entry]
    _seats: dict[str, Seat]

    def _start_of(self, chunk: int) -> int:
        return self._starts[chunk] if chunk < len(self._starts) else self.frames

    def chunks_until(self, frame: int) -> int:
        """Return how many chunks begin before a frame."""
        return bisect_left(self._starts, frame)

    def bounds(self, chunk: int) -> tuple[int, int]:
        """Return the first and the last frame of a chunk."""
        return self._start_of(chunk), self._start_of(chunk + 1) - 1

    def due(self, every: int, frame: int) -> bool:
        """Tell whether a frame is one of those of which a consumer is shown every n-th."""
        if every == 1:
            return True
        return (frame - self._firsts[bisect_right(self._firsts, frame) - 1]) % every == 0

    def due_before(self, every: int, frame: int) -> int:
        """Return how many of the frames before this one are due to a consumer that is shown every n-th."""
        if every == 1:
            return frame
        edges = [first for first in self._firsts if first < frame]
        return sum(-(-(stop - first) // every) for first, stop in pairwise([*edges, frame]))

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

    def _lossless(self) -> Iterable[Seat]:
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
