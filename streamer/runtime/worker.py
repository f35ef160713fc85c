"""The worker process: one generation of a consumer, from its import to its exit.

Foreign code is called in one place (`calling`), where whatever it raises is caught and brought home.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
import weakref
from bisect import bisect_right
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from streamer import contract
from streamer.errors import ConfigError, ConsumerError, ContractError, EscapedViewError, StreamerError, from_os_error
from streamer.layout import Layout
from streamer.libraries import blamed
from streamer.memory import anonymous, held
from streamer.plain import from_plain
from streamer.pool import PoolView
from streamer.runtime import child
from streamer.runtime.about import AboutEpisode, AboutRecording, part_of, recording_of, whole
from streamer.runtime.durable import Disk
from streamer.runtime.frames import make_frame
from streamer.runtime.job import WorkerJob
from streamer.runtime.messages import Escaped, Grown, Measured, WarmedUp
from streamer.runtime.pages import PagesView
from streamer.runtime.plugin import make_consumer, of_consumer, preload
from streamer.runtime.template import leave_behind
from streamer.runtime.trace import recorded, traced
from streamer.text import fill_in
from streamer.transport import (
    ClosedEpisode,
    ClosedOutputs,
    Commit,
    ConsumerSocket,
    EndOfChunk,
    EpisodeCommitted,
    Finish,
    Frames,
    Lent,
    MakeWay,
    Open,
    Release,
    pack_state,
    unpack_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.contract import Consumer
    from streamer.layout import Place
    from streamer.runtime.channel import Channel
    from streamer.runtime.job import MergeJob
    from streamer.runtime.trace import Growth
    from streamer.transport import Descriptor, Extent, ToConsumer

_RELEASE_SECONDS = 0.0005
_WARM_UP = 2  # chunks that fill caches
_LOOK_AGAIN = 100  # milliseconds, at frames that a consumer has kept
_LONGEST_GOODBYE = 10_000  # milliseconds until the supervisor must have seen that the reader is gone
_log = logging.getLogger("streamer.worker")


def main(channel: Channel) -> None:
    """Import and construct the consumer, wait to be activated, work until told to end."""
    job = channel.receive_one(WorkerJob)
    sys.path[:0] = [path for path in job.paths if path not in sys.path]
    if job.template is not None:
        preload(job.use)
        leave_behind(job.name, job.template, main, channel)
    with ExitStack() as stack:
        context = stack.enter_context(zmq.Context())
        socket = ConsumerSocket(context, job.endpoint, job.identity.encode())  # before foreign code can change folder
        stack.callback(socket.socket.close)
        growth = stack.enter_context(traced()) if job.trace_malloc else None
        if job.memray is not None:
            stack.enter_context(recorded(Path(job.memray), f"{job.name}.{job.generation}"))
        with calling(job, "the constructor"):
            consumer = make_consumer(job.name, job.use, job.options)
        if job.shares_out and not consumer.many_recordings:
            many, word = ("several episodes", "{episode}") if job.cut else ("several recordings", "{recording}")
            msg = f"{many} would write {job.options['out']!r}, each over the last"
            raise ConfigError(msg, key=f"consumers.{job.name}.options.out", hint=f"put {word} into it")
        channel.send(WarmedUp(anonymous()))
        worker = _Worker(job, consumer, socket, channel, growth)
        try:
            worker.run()
        finally:
            if growth is not None:
                channel.send(Grown(growth.lines()))


@contextmanager
def calling(job: WorkerJob | MergeJob, what: str) -> Iterator[None]:
    """Call foreign code: whatever it raises comes home named, sys.exit and a cancelled task too."""
    process = os.getpid()
    try:
        yield
    except ConfigError as error:
        raise of_consumer(error, job.name) from error
    except StreamerError:
        raise
    except OSError as error:
        known = from_os_error(error)
        if known is not None:
            raise known.within(consumer=job.name) from error
        raise _wrapped(job, what, error) from error
    except BaseException as error:
        raise _wrapped(job, what, error) from error
    finally:
        if os.getpid() != process:  # a fork that came back from the callback, too: the consumer's work is not its
            os._exit(1)


def _wrapped(job: WorkerJob | MergeJob, what: str, error: BaseException) -> ConsumerError:
    return ConsumerError(f"{what} raised {type(error).__name__}: {error}{blamed(error)}", consumer=job.name)


class _Worker:
    """The loop of a generation."""

    def __init__(
        self, job: WorkerJob, consumer: Consumer, socket: ConsumerSocket, channel: Channel, growth: Growth | None
    ) -> None:
        self._job = job
        self._consumer = consumer
        self._socket = socket
        self._channel = channel
        self._growth = growth
        self._disk = Disk(job.options) if job.durable else None
        if self._disk is not None:
            self._disk.guard()
        self._commits = 0
        self._shown = 0
        self._lent: dict[int, list[weakref.ref[Any]]] = {}  # frames kept beyond their callback → what is kept of them
        self._credit = 0
        self._pool: PoolView
        self._pages: PagesView
        self._places: tuple[Place, ...] = ()
        self._used = False  # whether the consumer was opened
        self._cut = False
        self._episodes: tuple[AboutEpisode, ...] = ()
        self._ended = False  # whether the open episode is complete, and its last commit not known to be written down
        self._later: list[ToConsumer] = []  # what came behind it
        self._at: AboutEpisode | None = None  # that is open; where the recording is not cut, all of it
        self._whole: contract.Recording
        self._recording: contract.Recording

    def run(self) -> None:
        """Take messages until one says to end."""
        poller = zmq.Poller()
        poller.register(self._socket.socket, zmq.POLLIN)
        poller.register(self._channel.fileno(), zmq.POLLIN)
        while True:
            happened = dict(poller.poll(_LOOK_AGAIN if self._lent else None))
            self._take_back()
            if self._channel.fileno() in happened and not self._channel.receive():
                msg = "the supervisor is gone"
                raise EOFError(msg)
            while self._socket.socket.poll(0):
                if not self._take(self._socket.receive()):
                    return

    def _take(self, message: ToConsumer) -> bool:
        """Act on a message; False where it was the last.

        What comes behind an episode waits until the last commit of it is written down: with outputs that are finished,
        no process could go on from the commit before.
        """
        if isinstance(message, EpisodeCommitted):
            if self._ended:
                self._ended = False
                self._leave()
            later, self._later = self._later, []
            return all(map(self._take, later))
        if self._ended:
            self._later.append(message)
            return True
        return self._handle(message)

    def _handle(self, message: ToConsumer) -> bool:
        """Act on one message of the reader; False where it was the last."""
        if isinstance(message, Frames):
            self._show_all(message.frames)
        elif isinstance(message, EndOfChunk):
            self._end_chunk(message)
        elif isinstance(message, Open):
            self._open(message)
        elif isinstance(message, Finish):
            self._close()
            self._channel.send(Measured(None, *held()))
            self._socket.send(ClosedOutputs())
            return False
        return not isinstance(message, MakeWay)

    def _to_disk(self) -> None:
        if self._disk is not None:
            self._disk.sync()

    def _open(self, message: Open) -> None:
        self._credit = message.credit
        about = from_plain(AboutRecording, message.about)
        recording, self._places = recording_of(about)
        self._whole = replace(recording, part=self._job.part)
        self._cut, self._episodes = about.cut, about.episodes
        self._pool = PoolView(self._job.pool_fd, Layout(self._places, about.slot_size), message.slots)
        os.close(self._job.pool_fd)
        self._pages = PagesView(message.reader)
        state = unpack_state(message.state)
        if not self._cut:
            self._enter(whole(about), state)
            return
        place = bisect_right(self._episodes, message.chunk, key=lambda e: e.chunk) - 1
        if place >= 0 and message.chunk > self._episodes[place].chunk:
            self._enter(self._episodes[place], state)
        elif place > 0 and not message.closed:  # the process before was ended between a commit and a close
            self._enter(self._episodes[place - 1], state)
            self._leave()

    def _enter(self, episode: AboutEpisode, state: dict[str, Any] | None) -> None:
        """Open an episode, or the recording that is not cut."""
        self._at, recording, options = episode, part_of(self._whole, episode), self._job.options
        if self._cut:
            options = fill_in(options, "episode", episode.name)
        if self._used or options != self._job.options:
            with calling(self._job, "the constructor"):
                self._consumer = make_consumer(self._job.name, self._job.use, options)
        self._recording, self._used = recording, True
        with calling(self._job, "open"):
            self._consumer.open(recording, state)

    def _reach(self, frame: int) -> AboutEpisode:
        """Return the episode of a frame, which is opened where it is not."""
        at = self._at
        if at is None or frame >= at.first + at.frames:
            at = self._episodes[bisect_right(self._episodes, frame, key=lambda e: e.first) - 1]
            self._enter(at, None)
        return at

    def _close(self) -> None:
        if self._at is not None:
            with calling(self._job, "close"):
                self._consumer.close(self._recording)
                self._to_disk()
        self._at = None

    def _leave(self) -> None:
        """Close an episode that another follows."""
        episode = self._at
        self._close()
        if episode is not None:
            self._socket.send(ClosedEpisode(episode.number))

    def _show_all(self, frames: Sequence[Descriptor]) -> None:
        """Show frames and release them: together where they take no time, else each at once."""
        shown: list[int] = []
        told = time.monotonic()
        for frame in frames:
            if self._show(frame):
                shown.append(frame.frame)
            now = time.monotonic()
            if shown and now - told > _RELEASE_SECONDS:
                self._socket.send(Release(shown))
                shown, told = [], now
        if shown:
            self._socket.send(Release(shown))

    def _array(self, slot: int, place: Place, rows: Extent) -> NDArray[Any]:
        if isinstance(rows, int):
            return self._pool.array(slot, place, rows)
        try:
            return self._pages.array(place, *rows)
        except EOFError:  # whoever ended before the supervisor knows that the reader is gone would be to blame
            poller = zmq.Poller()
            poller.register(self._channel.fileno(), zmq.POLLIN)
            while poller.poll(_LONGEST_GOODBYE) and self._channel.receive():
                pass
            raise

    def _show(self, descriptor: Descriptor) -> bool:
        """Call `on_frame` and make sure that the frame is let go of; return whether it is."""
        number = descriptor.frame
        if self._cut:
            descriptor = descriptor._replace(frame=number - self._reach(number).first)
        frame = make_frame(descriptor, self._places, self._array)
        shown = frame.samples
        arrays = {n: s.value for n, s in shown.items() if s is not None and not isinstance(s.value, str)}
        roots = {name: weakref.ref(value) for name, value in arrays.items()}
        del arrays
        try:
            with calling(self._job, f"on_frame, frame {number},"):
                self._consumer.on_frame(frame)
        finally:
            shown.clear()
            del frame
        self._shown += 1
        return self._check_escaped(number, roots)

    def _check_escaped(self, number: int, roots: dict[str, weakref.ref[Any]]) -> bool:
        """Make sure that no array of the frame is still reachable before its memory is used again."""
        if not any(root() is not None for root in roots.values()):
            return True
        gc.collect()  # garbage in a cycle has not escaped
        kept = [name for name, root in roots.items() if root() is not None]
        if not kept:
            return True
        what = f"on_frame kept an array (or a view) of stream {kept[0]!r} of frame {number}"
        if not self._job.tolerant:
            msg = f"{what}, whose memory is used again after the callback: keep a copy, frame[...].copy()"
            raise EscapedViewError(msg, consumer=self._job.name)
        self._lent[number] = [roots[name] for name in kept]
        if len(self._lent) == 1:
            _log.warning("%s; its memory is lent to it until it lets go: keep a copy, frame[...].copy()", what)
        self._channel.send(Escaped(number, kept[0]))
        self._socket.send(Lent([number]))
        self._take_back()  # what it has let go of since the message came in which this frame was
        if len(self._lent) >= self._credit:
            msg = f"{what}, and so of {len(self._lent)} frames, which is all that it may hold at once: keep copies"
            raise EscapedViewError(msg, consumer=self._job.name)
        return False

    def _take_back(self) -> None:
        """Release the frames that were kept beyond their callbacks and are kept no more."""
        free = [frame for frame, roots in self._lent.items() if all(root() is None for root in roots)]
        if free:
            self._socket.send(Release(free))
            for frame in free:
                del self._lent[frame]

    def _end_chunk(self, message: EndOfChunk) -> None:
        number = message.chunk
        at = self._reach(message.first) if self._cut else self._at
        begins = (at.chunk, at.first) if at is not None else (0, 0)
        shown = (message.first - begins[1], message.last - begins[1], self._shown)
        chunk = contract.Chunk(number - begins[0], *shown)
        self._shown = 0
        with calling(self._job, f"on_chunk, chunk {number},"):
            state = self._consumer.on_chunk(chunk)
            self._to_disk()
        try:
            packed = pack_state(state)
        except ContractError as error:
            raise error.within(consumer=self._job.name) from error
        self._commits += 1
        if self._growth is not None and self._commits == _WARM_UP:
            self._growth.begin_anew()
        self._channel.send(Measured(number, *held()))
        self._socket.send(Commit(number, packed))
        is_last = at is None or message.last + 1 == at.first + at.frames
        self._ended = self._cut and is_last and at is not self._episodes[-1]


if __name__ == "__main__":
    child.run(main, foreign=True)
