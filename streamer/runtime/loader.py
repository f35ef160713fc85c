"""Orders to load frames → frames in their slots, by a few threads that decode side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from streamer.decode.compressed import CompressedDecoder
from streamer.decode.interpolate import between, mean
from streamer.decode.vector import VectorDecoder
from streamer.errors import DecodeError, RecordingError, StreamerError
from streamer.layout import loaded_together
from streamer.libraries import blamed
from streamer.runtime.names import UNDECODABLE
from streamer.runtime.sharing import Made, find_ways, place_of
from streamer.runtime.staying import Staying
from streamer.runtime.video import Pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.delivery import Load
    from streamer.layout import Place
    from streamer.records import Payload, Spec
    from streamer.runtime.prepare import Prepared, Stream
    from streamer.runtime.staying import Spot

Rows = list["int | Spot | None"]  # of each stream's sample, or where it stays in the recording; None for no sample
Order = tuple["Load", Rows | None]  # with the rows of the frame before, where that is loaded already
Fetch = Callable[["Stream", int], "Payload"]  # a message of a stream's index
_Done = dict[int, Rows | Exception]
_LIGHT = 64 * 1024  # bytes; a frame that is smaller takes less time to load than to hand to a thread


class Loaded(NamedTuple):
    """A finished order: ``rows`` has for each stream the rows of its sample or the spot where it stays, None for none.

    ``error`` says why the frame cannot be had; ``reason`` is then set where it is to be left out,
    and None where the run is to fail.
    """

    frame: int
    rows: Rows
    error: Exception | None = None
    reason: str | None = None


class Slots(Protocol):
    """The memory that frames are loaded into."""

    def array(self, slot: int, place: Place) -> NDArray[Any]:
        """Return the writable array of one stream in one slot."""


class Loader:
    """A bounded number of threads; `descriptor` becomes readable when an order is finished."""

    def __init__(self, prepared: Prepared, pool: Slots, threads: int, staying: Staying | None = None) -> None:
        """Start the threads; pictures that are ``staying`` in the recording are only found."""
        self._prepared = prepared
        self.staying = Staying(prepared.source.path, ()) if staying is None else staying
        self._pool = pool
        self._work = list(zip(prepared.streams, prepared.layout.places, strict=True))
        self._ways = find_ways(prepared.streams)
        self._videos = [(s.source, s.plan.first) for s in prepared.streams if isinstance(s.source, Pictures)]
        self._own = threading.local()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self._light = prepared.layout.slot_size <= _LIGHT
        self._together = loaded_together(prepared.layout)
        self._running: dict[int, Future[_Done]] = {}
        self._finished: SimpleQueue[Future[_Done]] = SimpleQueue()
        self.descriptor, self._wake = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._wake, False)

    def submit(self, orders: list[Order]) -> None:
        """Order frames: small ones go to one thread together, others a few at a time.

        Handing over each by itself would cost more.
        """
        for load, _ in orders if self._videos else ():
            for pictures, first in self._videos:
                if first[load.frame] >= 0:
                    pictures.expect(int(first[load.frame]))
        many = max(1, len(orders)) if self._light else self._together
        for group in (orders[first : first + many] for first in range(0, len(orders), many)):
            before = {load.frame - 1: self._running.get(load.frame - 1) for load, _ in group if load.source is not None}
            future = self._threads.submit(self._load, group, before)
            self._running |= {load.frame: future for load, _ in group}
            future.add_done_callback(self._announce)

    def _announce(self, future: Future[_Done]) -> None:
        self._finished.put(future)
        with suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._wake, b"x")

    def finished(self) -> list[Loaded]:
        """Return the orders that are finished; does not wait."""
        with suppress(BlockingIOError):  # no new wake-up; the queue is looked at all the same
            os.read(self.descriptor, 4096)
        found: list[Loaded] = []
        while True:
            try:
                done = self._finished.get_nowait().result()
            except Empty:
                return found
            for frame, result in done.items():
                del self._running[frame]
                found.append(_loaded(frame, result))

    def close(self) -> None:
        """Finish what runs and end the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        os.close(self.descriptor)
        os.close(self._wake)

    # ---- in the threads

    def _load(self, group: list[Order], before: dict[int, Future[_Done] | None]) -> _Done:
        done: _Done = {}
        for load, known in group:
            rows: Rows | Exception | None = known
            if load.source is not None and rows is None:
                running = before[load.frame - 1]
                rows = (running.result() if running is not None else done).get(load.frame - 1)
            shared = rows if isinstance(rows, list) else None
            made = Made()
            try:
                done[load.frame] = [
                    self._fill(load, stream, place, n, shared, made) for n, (stream, place) in enumerate(self._work)
                ]
            except Exception as error:  # noqa: BLE001 - codecs are foreign code; the reader's thread decides
                done[load.frame] = error
            for pictures, first in self._videos:
                if first[load.frame] >= 0:
                    pictures.release(int(first[load.frame]))
        return done

    def _scratch(self, number: int, spec: Spec) -> NDArray[Any]:
        """Return this thread's array for what a stream's decoder makes, of which a map makes the sample."""
        arrays: dict[tuple[int, ...], NDArray[Any]] = self._own.__dict__.setdefault("arrays", {})
        key = number, *spec.shape
        if key not in arrays:
            arrays[key] = np.empty(spec.shape, np.dtype(spec.dtype))
        return arrays[key]

    def _make(self, stream: Stream, number: int, frame: int, out: NDArray[Any], made: Made) -> int:
        """Write a stream's sample; what streams before it have made of the same message is not made again."""
        ways, first = self._ways[number], int(stream.plan.first[frame])
        if not ways.read and stream.chain is None:
            return decode_sample(stream, frame, out)
        fetch = made.fetch if ways.read else _fetch
        place = place_of(stream, first) if ways.read and first == int(stream.plan.second[frame]) else None
        if ways.small is not None:
            small = made.once(ways.small.decoding, place, lambda: self._reduced(stream, number, frame, fetch))
            if small is not None:
                return made.mapped(ways.small, place, small, out)
        into = out if stream.chain is None else self._scratch(number, stream.raw)

        def decode() -> NDArray[Any]:
            rows = decode_sample(stream, frame, into, fetch)
            return into[:rows] if stream.raw.variable else into

        array = made.once(ways.whole.decoding, place, decode)
        assert array is not None  # noqa: S101 - for the type checker: what is decoded in full is there
        if stream.turns and (chain := stream.chain_of(frame)) is not None:
            return chain.into(array, out)
        if stream.chain is not None:
            return made.mapped(ways.whole, place, array, out)
        if not np.may_share_memory(array, out):  # another stream's
            _copy(array, out, len(array), variable=True)
        return len(array)

    def _reduced(self, stream: Stream, number: int, frame: int, fetch: Fetch) -> NDArray[Any] | None:
        """Return a JPEG decoded at a part of its size; None where this message cannot be."""
        if stream.reduced is None or not isinstance(stream.decoder, CompressedDecoder):
            return None
        factor, fewer = stream.reduced
        small = self._scratch(number, fewer.shapes[0])
        payload = fetch(stream, int(stream.plan.first[frame]))
        return small if stream.decoder.decode_reduced(payload, small, factor) else None

    def _fill(
        self, load: Load, stream: Stream, place: Place, number: int, source_rows: Rows | None, made: Made
    ) -> int | Spot | None:
        """Put one stream's sample into its place; return its rows, None where there is no sample.

        Where it lies in the recording and stays there, return that.
        """
        first = int(stream.plan.first[load.frame])
        if first < 0:
            return None
        if load.source is not None and source_rows is not None and stream.repeats[load.frame]:
            if not isinstance(rows := source_rows[number], int):
                return rows
            before, out = self._pool.array(load.source, place), self._pool.array(load.slot, place)
            return _copy(before, out, rows, variable=place.spec.variable)
        try:
            check_fit(stream, load.frame)
            if number in self.staying.numbers:
                spot = self.staying.find(stream, made.fetch(stream, first))
                if spot is not None:
                    return spot
            return self._make(stream, number, load.frame, self._pool.array(load.slot, place), made)
        except RecordingError as error:
            if stream.settings.undecodable == "none":
                return None
            raise _Unreadable(stream, first, error) from error


def _fetch(stream: Stream, number: int) -> Payload:
    return stream.source.payload(stream.index, number)


def decode_sample(stream: Stream, frame: int, out: NDArray[Any], fetch: Fetch = _fetch) -> int:
    """Write what a stream's decoder makes for a frame, before any map; return how many rows of it are meant.

    Raises:
        RecordingError: a message cannot be read.

    """
    first, second = int(stream.plan.first[frame]), int(stream.plan.second[frame])
    if first == second or not isinstance(stream.decoder, VectorDecoder):
        return stream.decoder.decode(fetch(stream, first), out)
    averaged = stream.settings.alignment.align == "mean"
    numbers = range(first, second + 1) if averaged else (first, second)
    values = [np.array(stream.decoder.values(fetch(stream, n))) for n in numbers]
    turns = stream.quaternions, stream.rotations
    a, b, weight = values[0], values[-1], float(stream.plan.weight[frame])
    return stream.decoder.write(mean(values, *turns) if averaged else between(a, b, weight, *turns), out)


def check_fit(stream: Stream, frame: int) -> None:
    """Refuse a frame's messages that planning has found not to fit the stream.

    Raises:
        DecodeError: one does not fit.

    """
    if not stream.unfit:
        return
    first, second = int(stream.plan.first[frame]), int(stream.plan.second[frame])
    averaged = stream.settings.alignment.align == "mean"
    for number in range(first, second + 1) if averaged else (first, second):
        if (why := stream.unfit.get(number)) is not None:
            raise DecodeError(why)


def _copy(array: NDArray[Any], out: NDArray[Any], rows: int, *, variable: bool) -> int:
    """Copy what the frame before shows, as bytes: records would be copied field by field."""
    part = slice(rows) if variable else slice(None)
    out[part].view(np.uint8)[...] = array[part].view(np.uint8)
    return rows


def _loaded(frame: int, result: Rows | Exception) -> Loaded:
    """Say what became of an order, and of its frame where it cannot be had."""
    if isinstance(result, list):
        return Loaded(frame, result)
    if isinstance(result, _Unreadable):
        settings = result.stream.settings
        error = result.cause.within(stream=settings.name, message=result.message, frame=frame, hint=UNDECODABLE)
        return Loaded(frame, [], error, f"undecodable {settings.name}" if settings.undecodable == "skip" else None)
    return Loaded(frame, [], result)


def as_streamer_error(error: Exception) -> StreamerError:
    """Say in an error of this package why a frame could not be loaded, whatever the error was."""
    if isinstance(error, StreamerError):
        return error
    wrapped = StreamerError(f"a frame could not be loaded: {type(error).__name__}: {error}{blamed(error)}")
    wrapped.__cause__ = error
    return wrapped


class _Unreadable(Exception):  # noqa: N818 - carries an error to the reader's thread, is none of its own
    """A sample that cannot be read, on its way to the thread that decides."""

    def __init__(self, stream: Stream, message: int, cause: RecordingError) -> None:
        super().__init__(str(cause))
        self.stream = stream
        self.message = message
        self.cause = cause
