"""A configuration → its frames in this process, without any other: for notebooks, data loaders and scripts.

    for chunk in streamer.open("config.yaml").chunks():
        for frame in chunk:
            ...

The same plan, the same decoders and the same arrays as a run gives to consumers; no commit, no
recycling, no protection against what the caller leaks. A few threads load ahead of the caller.
"""

from __future__ import annotations

import mmap
import select
import weakref
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.config.load import load
from streamer.config.settings import (
    episode_settings,
    provenance,
    quality_settings,
    stream_settings,
    timeline_settings,
    trust,
)
from streamer.delivery import Load
from streamer.files import scratch_folder
from streamer.layout import at_once
from streamer.pipelines.recordings import recordings
from streamer.runtime.about import about_recording, part_of, recording_of, whole
from streamer.runtime.frames import Told, make_frame
from streamer.runtime.joined import prepare_all
from streamer.runtime.judging import judging_by
from streamer.runtime.loader import Loader
from streamer.runtime.plugin import importing
from streamer.runtime.prepare import Episodes
from streamer.source.find import recording_name
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.transport import Descriptor

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Self

    from numpy.typing import NDArray

    from streamer.config.load import Loaded
    from streamer.contract import Frame, Recording
    from streamer.records import Layout, Place
    from streamer.runtime.loader import Rows
    from streamer.runtime.prepare import Prepared


def open(config: str | Path, *overrides: str) -> Opened:  # noqa: A001 - it is called as streamer.open
    """Check a configuration, of which ``consumers`` may be left out; ``overrides`` are ``key.path=value``.

    Raises:
        ConfigError: the file cannot be read or holds a mistake.

    """
    return Opened(load(Path(config), overrides, consumers_needed=False))


@dataclass(frozen=True, slots=True)
class OpenChunk:
    """Consecutive frames of one recording: iterate it once.

    ``number`` counts the recording's chunks from 0; ``first`` … ``last`` are its frames' numbers, of
    which undecodable ones are left out where their stream says ``undecodable: skip``.
    """

    recording: Recording
    number: int
    first: int
    last: int
    _frames: Iterator[Frame]

    def __iter__(self) -> Iterator[Frame]:
        return self._frames


class Opened:
    """The recordings of a configuration. Each iteration begins anew, with files and threads of its own.

    Frames are as in `streamer.Consumer.on_frame`, with one difference: their arrays may be kept. A frame's
    memory is used again when its last array is gone, so a loop that keeps nothing runs in the memory of a few
    frames, and ``list(chunk)`` takes that of a chunk.
    """

    def __init__(self, loaded: Loaded) -> None:
        """Take a checked configuration; nothing is opened yet."""
        self._loaded = loaded

    def frames(self) -> Generator[Frame, None, None]:
        """Yield all frames of all recordings, in order.

        Raises:
            RecordingError: a recording is damaged. ConfigError: the configuration does not fit it.

        """
        for chunk in self.chunks():
            yield from chunk

    def chunks(self) -> Generator[OpenChunk, None, None]:
        """Yield the frames in chunks of ``chunk_size``; what is left of a chunk when the next is asked for is dropped.

        Raises:
            As `frames` does.

        """
        config = self._loaded.config
        for path in self.paths():
            with self.prepared(path) as prepared:
                about = about_recording(prepared, recording_name(path), config.chunk_size, provenance(self._loaded))
                recording, places = recording_of(about)
                with Ahead(prepared, places, config.threads) as ahead:
                    for episode in about.episodes if about.cut else (whole(about),):
                        own = part_of(recording, episode)
                        for number in range(-(-own.frames // config.chunk_size)):
                            first = number * config.chunk_size
                            last = min(first + config.chunk_size, own.frames) - 1
                            part = ahead.frames(first, last, episode.first)
                            yield OpenChunk(own, number, first, last, part)
                            for _ in part:
                                pass

    def paths(self) -> list[Path]:
        """Return the recordings; those of the demo are made where they are missing.

        Raises:
            RecordingError: there is none.

        """
        return recordings(self._loaded)

    @contextmanager
    def prepared(self, path: Path, *, mapped: bool = False, judge: bool = False) -> Iterator[Prepared]:
        """Open one recording and plan, for the time of the block; ``mapped`` as in `Source`.

        Pictures and values that only say what is flagged are looked at where ``judge`` is set, those that decide what
        is left out in any case.
        """
        config = self._loaded.config
        with ExitStack() as stack:
            scratch = stack.enter_context(scratch_folder())
            salvage = config.source.salvage
            source = stack.enter_context(Source(path, scratch, mapped=mapped, salvage=salvage, trust=trust(config)))
            types = Types.of(source, config.types, self._loaded.base)
            with importing(self._loaded.base):
                cut = episode_settings(config, self._loaded.base)
                about = None if cut is None else Episodes(cut, recording_name(path))
                quality = quality_settings(config)
                decisive = quality is not None and quality.on_low == "drop"
                judging = judging_by(quality, config.threads, pixels=judge or decisive)
                streams = stream_settings(config)
                prepared = prepare_all(source, types, timeline_settings(config), streams, None, about, judging)
            yield prepared


class _Pending(NamedTuple):
    """A frame that was ordered: ``before`` keeps the frame alive of which repeated samples are copied."""

    slot: int
    root: NDArray[np.uint8]
    before: NDArray[np.uint8] | None


class Ahead:
    """Loads a bounded number of frames ahead of the caller and gives them out in order."""

    def __init__(self, prepared: Prepared, places: tuple[Place, ...], threads: int) -> None:
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
        heavy = [s.repeats for s in prepared.streams if s.decoder.kind not in ("vector", "text")]
        self._repeats = np.any(heavy, axis=0) if heavy else np.zeros(prepared.plan.frames, bool)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loader.close()

    def frames(self, first: int, last: int, origin: int = 0) -> Iterator[Frame]:
        """Yield the frames from ``first`` to ``last``, counted from ``origin``, the first of their episode."""
        for number in range(origin + first, origin + last + 1):
            if self._ordered < min(number + 1 + self._window // 2, self._prepared.plan.frames):
                self._order(number + self._window)
            while number not in self._rows:
                self._poll.poll()
                self._take()
            pending, rows = self._pending.pop(number), self._rows[number]
            self._rows.pop(number - 1, None)
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
        for loaded in self._loader.finished():
            if loaded.error is not None and loaded.reason is None:
                raise loaded.error
            self._rows[loaded.frame] = None if loaded.error is not None else loaded.rows

    def _frame(self, number: int, origin: int, root: NDArray[np.uint8], rows: Rows) -> Frame:
        plan = self._prepared.plan
        samples = [
            None if count is None else told.describe(number, count)
            for told, count in zip(self._told, rows, strict=True)
        ]

        def array(slot: int, place: Place, count: int) -> NDArray[Any]:
            del slot
            spec = place.spec
            flat: NDArray[Any] = root[place.offset : place.offset + place.nbytes].view(np.dtype(spec.dtype))
            shape = (count, *spec.shape[1:]) if spec.variable else spec.shape
            return flat[: int(np.prod(shape))].reshape(shape)

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
        count = int(np.prod(place.spec.shape))
        flat = np.frombuffer(self._memory[slot], np.dtype(place.spec.dtype), count, place.offset)
        return flat.reshape(place.spec.shape)

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
