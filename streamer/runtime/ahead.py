"""What was prepared → its frames in this process, in order, some of them loaded ahead of whoever asks."""

from __future__ import annotations

import mmap
import select
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.delivery import Load
from streamer.layout import at_once
from streamer.runtime.frames import Told, make_frame
from streamer.runtime.loader import Loader
from streamer.transport import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from numpy.typing import NDArray

    from streamer.contract import Frame
    from streamer.layout import Layout, Place
    from streamer.runtime.loader import Rows
    from streamer.runtime.prepare import Prepared
    from streamer.transport import Extent


class _Pending(NamedTuple):
    """A frame that was ordered: ``before`` keeps the frame alive of which repeated samples are copied."""

    slot: int
    root: NDArray[np.uint8]
    before: NDArray[np.uint8] | None


class Ahead:
    """Loads a bounded number of frames ahead of the caller and gives them out in order."""

    def __init__(self, prepared: Prepared, places: Sequence[Place], threads: int) -> None:
        self._prepared = prepared
        self._places = places
        self._window = at_once(prepared.layout, 2 * threads)
        self._told = [Told.of(stream) for stream in prepared.streams]
        self._slots = _Slots(prepared.layout, spare=self._window + 2)
        self._loader = Loader(prepared, self._slots, threads)
        self._poll = select.poll()
        self._poll.register(self._loader.descriptor, select.POLLIN)
        self._ordered = 0  # frames
        self._last: tuple[int, NDArray[np.uint8] | None] = (0, None)
        self._pending: dict[int, _Pending] = {}
        self._rows: dict[int, Rows | None] = {}  # of frames that are loaded: None where it is left out
        self._failed: dict[int, Exception] = {}  # of frames that cannot be, told when their turn comes
        heavy = [s.repeats for s in prepared.streams if s.decoder.kind not in ("vector", "text")]
        self._repeats = np.any(heavy, axis=0) if heavy else np.zeros(prepared.plan.frames, bool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.close()

    def frames(self, first: int, last: int, origin: int = 0) -> Iterator[Frame]:
        """Yield the frames from ``first`` to ``last``, counted from ``origin``, the first of their episode.

        Frames before them are dropped. Whoever goes on behind an error gets what is behind it.
        """
        for number in [number for number in self._pending if number < origin + first]:
            del self._pending[number]  # and the memory that it holds
        for number in range(origin + first, origin + last + 1):
            if self._ordered < min(number + 1 + self._window // 2, self._prepared.plan.frames):
                self._order(number + self._window)
            while number not in self._rows:
                self._poll.poll()
                self._take()
            pending, rows = self._pending.pop(number), self._rows[number]
            self._rows.pop(number - 1, None)
            if (error := self._failed.pop(number, None)) is not None:
                raise error
            if rows is not None:
                yield self._frame(number, origin, pending.root, rows)

    def _order(self, stop: int) -> None:
        orders = []
        for number in range(self._ordered, min(stop, self._prepared.plan.frames)):
            slot, root = self._slots.take()
            before_slot, before = self._last if self._repeats[number] else (0, None)
            orders.append((Load(number, slot, before_slot if before is not None else None), self._rows.get(number - 1)))
            self._pending[number] = _Pending(slot, root, before)
            self._last = slot, root
            self._ordered = number + 1
        self._loader.submit(orders)

    def _take(self) -> None:
        for loaded in self._loader.finished():  # all of them: nobody is told of them again
            if loaded.error is not None and loaded.reason is None:
                self._failed[loaded.frame] = loaded.error
            self._rows[loaded.frame] = None if loaded.error is not None else loaded.rows

    def _frame(self, number: int, origin: int, root: NDArray[np.uint8], rows: Rows) -> Frame:
        plan = self._prepared.plan
        samples = [
            None if count is None else told.describe(number, count)
            for told, count in zip(self._told, rows, strict=True)
        ]

        def array(slot: int, place: Place, count: Extent) -> NDArray[Any]:
            del slot
            spec = place.spec
            assert isinstance(count, int)  # noqa: S101 - for the type checker: nothing is mapped here
            shape = (count, *spec.shape[1:]) if spec.variable else spec.shape
            return np.ndarray(shape, spec.dtype, root, place.offset)

        descriptor = Descriptor(number - origin, plan.numbers.item(number), plan.ticks.item(number), 0, samples)
        return make_frame(descriptor, self._places, array)


class _Slots:
    """Private memory for frames: a slot is free again when nobody holds an array of it."""

    def __init__(self, layout: Layout, spare: int) -> None:
        """Make slots when they are asked for; keep at most ``spare`` of those that are free again."""
        self._layout = layout
        self._spare = spare
        self._memory: dict[int, mmap.mmap] = {}
        self._held: dict[int, weakref.ref[Any]] = {}
        self._free: deque[int] = deque()  # pop and append are atomic: arrays may die in any thread
        self._made = 0

    def take(self) -> tuple[int, NDArray[np.uint8]]:
        """Return a slot and its read-only bytes, on which every array of the frame depends."""
        slot = self._free.pop() if self._free else self._make()
        root = np.frombuffer(memoryview(self._memory[slot]).toreadonly(), np.uint8)
        self._held[slot] = weakref.ref(root, partial(self._give_back, slot))
        return slot, root

    def array(self, slot: int, place: Place) -> NDArray[Any]:
        """Return the writable array of one stream in one slot."""
        return np.ndarray(place.spec.shape, place.spec.dtype, self._memory[slot], place.offset)

    def _make(self) -> int:
        self._made += 1
        self._memory[self._made] = mmap.mmap(-1, self._layout.slot_size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return self._made

    def _give_back(self, slot: int, _: object) -> None:
        del self._held[slot]
        if len(self._free) < self._spare:
            self._free.append(slot)
        else:
            del self._memory[slot]
