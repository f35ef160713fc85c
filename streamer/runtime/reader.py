"""The reader process: a job → frames decoded once into the pool and offered to every consumer.

One thread owns the table (`delivery`), the socket and the ledger; the loader's threads fill slots. The loop waits for a
consumer's message, an order of the supervisor, a finished frame or the time to report, and lets the table decide.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import zmq

from streamer.delivery import End, EndChunk, Grow, HandOver, Load, Send
from streamer.errors import RecordingError
from streamer.layout import at_once, count_slots, loading_at_once, put_last
from streamer.ledger import MOST_ATTEMPTS, Ledger
from streamer.memory import held
from streamer.plain import to_plain
from streamer.pool import Pool
from streamer.runtime import child, messages
from streamer.runtime.about import about_recording
from streamer.runtime.account import Account
from streamer.runtime.continuation import begin
from streamer.runtime.course import Course
from streamer.runtime.frames import Told
from streamer.runtime.job import ReaderJob
from streamer.runtime.joined import prepare_all
from streamer.runtime.judging import judging_by
from streamer.runtime.loader import Loader, as_streamer_error
from streamer.runtime.originals import give_messages
from streamer.runtime.passthrough import give_packets, takers
from streamer.runtime.prepare import Episodes
from streamer.runtime.seating import CREDIT, make_table, seat_consumers
from streamer.runtime.staying import Staying
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.transport import (
    ClosedEpisode,
    Commit,
    Descriptor,
    EndOfChunk,
    EpisodeCommitted,
    Finish,
    Frames,
    Hello,
    Lent,
    MakeWay,
    Open,
    ReaderSocket,
    Release,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamer.delivery import Action
    from streamer.errors import StreamerError
    from streamer.runtime.channel import Channel
    from streamer.runtime.loader import Loaded, Order, Rows
    from streamer.runtime.peer import Peer
    from streamer.runtime.prepare import Prepared
    from streamer.transport import Heard, ToConsumer

_PROGRESS_SECONDS = 0.2
_log = logging.getLogger("streamer.reader")


def main(channel: Channel) -> None:
    """Prepare, say so, stream until all is done or the supervisor says to stop, report."""
    job = channel.receive_one(ReaderJob)
    sys.path[:0] = [path for path in job.paths if path not in sys.path]
    opened = time.time()
    with ExitStack() as stack:
        source = stack.enter_context(
            Source(Path(job.path), Path(job.scratch), mapped=True, salvage=job.salvage, trust=job.trust)
        )
        if job.prove:
            source.prove()
        types = Types.of(source, job.types, Path(job.base))
        cut = None if job.episodes is None else Episodes(job.episodes, job.name, job.share)
        judging = judging_by(job.quality, job.threads)
        prepared = prepare_all(source, types, job.timeline, job.streams, None, cut, judging)
        least = 1 + sum(seat.latest for seat in job.consumers.values())
        planned, seated = prepared, takers(job.consumers)
        prepared = give_messages(give_packets(prepared, seated), seated)
        seen = [prepared.place(name, stream) for name, seat in job.consumers.items() for stream in seat.streams]
        staying = Staying(source.path, prepared.streams, seen)
        prepared = replace(prepared, layout=put_last(prepared.layout, staying.numbers))
        slots = count_slots(prepared.layout, job.pool, max(prepared.plan.frames, 1), least)
        ledger = stack.enter_context(Ledger(Path(job.ledger), durable=job.durable))
        recording = begin(ledger, job, planned)
        ready = loading_at_once(prepared.layout, job.threads) + CREDIT
        pool = Pool(job.pool_fd, prepared.layout, slots, ready=ready)
        socket = stack.enter_context(closing(ReaderSocket(stack.enter_context(zmq.Context()), job.endpoint)))
        loader = stack.enter_context(closing(Loader(prepared, pool, job.threads, staying)))
        Reader(job, prepared, pool, ledger, recording, socket, loader, channel).run(opened)


class Reader:
    """The loop and its hands."""

    def __init__(
        self,
        job: ReaderJob,
        prepared: Prepared,
        pool: Pool,
        ledger: Ledger,
        recording: int,
        socket: ReaderSocket,
        loader: Loader,
        channel: Channel,
    ) -> None:
        self._job = job
        self._prepared = prepared
        self._pool = pool
        self._staying = loader.staying
        self._ledger = ledger
        self._recording = recording
        self._socket = socket
        self._loader = loader
        self._channel = channel
        self._rows: dict[int, Rows] = {}  # by slot
        self._present: set[bytes] = set()  # the processes that have said hello
        self._error: StreamerError | None = None
        self._draining = False
        self._samples = [Told.of(stream) for stream in prepared.streams]
        self._credit = max(1, min(at_once(prepared.layout, CREDIT), pool.slots - 1))
        self._table = make_table(job, prepared, pool)
        self._course = Course(prepared, job.name, job.chunk_size)
        self._peers = seat_consumers(job, prepared, self._table, ledger, recording, self._credit)
        self._account = Account(job, prepared, pool, self._table, ledger, recording, self._peers)

    # ---- the loop

    def run(self, opened: float) -> None:
        """Work until every consumer is done, or stopped, and tell the supervisor how it went.

        ``opened`` is when the recording began to be opened, in seconds since the epoch.
        """
        self._channel.send(self._account.planned(opened))
        if together := self._channel.waiting():  # with the job
            self._obey_all(together)
        try:
            self._loop()
        except RecordingError as error:
            self._error = error
            self._finish()
            raise
        self._finish()

    def _loop(self) -> None:
        poller = zmq.Poller()
        for what in (self._socket.socket, self._channel.fileno(), self._loader.descriptor):
            poller.register(what, zmq.POLLIN)
        told = 0.0
        while not self._finished():
            self._act(self._table.step())
            now = time.monotonic()
            if now - told >= _PROGRESS_SECONDS:
                told = now
                self._channel.send(self._account.progress(now))
            happened = dict(poller.poll(int(_PROGRESS_SECONDS * 1000)))
            if self._channel.fileno() in happened:
                self._obey_all(self._channel.receive())
            for heard in self._socket.receive() if self._socket.socket in happened else ():
                self._hear(heard)
            if self._socket.strangers and self._channel.ready():  # whoever says hello was announced before it began
                self._obey_all(self._channel.receive())
            for heard in self._socket.admitted_since():
                self._hear(heard)
            if self._loader.descriptor in happened:
                for loaded in self._loader.finished():
                    self._take(loaded)

    def _finished(self) -> bool:
        return self._table.finished or ((self._draining or self._error is not None) and self._table.idle)

    def _act(self, actions: Iterator[Action]) -> None:
        loads: list[Order] = []
        for action in actions:
            if isinstance(action, Load):
                self._rows.pop(action.slot, None)  # those of the frame that was in the slot before
                loads.append((action, self._rows.get(action.source) if action.source is not None else None))
                continue
            if isinstance(action, Grow):
                self._table.grown(self._pool.grow(action.slots))
                continue
            if isinstance(action, Send):
                self._post(self._peers[action.consumer], action)
                continue
            self._flush(self._peers[action.consumer])
            if not self._table.holds(action.consumer):
                self._peers[action.consumer].heard = time.monotonic()  # it had nothing to do: its time begins here
            if isinstance(action, EndChunk):
                self._end_chunk(self._peers[action.consumer], action.chunk)
            elif isinstance(action, HandOver):
                self._channel.send(messages.Retiring(action.consumer))
                self._peers[action.consumer].handover = True
                self._ledger.forgive(self._recording, action.consumer)  # its successor begins a first attempt
                self._tell(action.consumer, MakeWay())
            elif isinstance(action, End):
                self._channel.send(messages.Ending(action.consumer))
                self._tell(action.consumer, Finish())
        self._loader.submit(loads)
        for peer in self._peers.values():
            self._flush(peer)

    def _tell(self, name: str, message: ToConsumer) -> None:
        self._socket.send(self._peers[name].identity, message)

    def _flush(self, peer: Peer) -> None:
        if peer.outbox:
            self._tell(peer.name, Frames(peer.outbox))
            peer.outbox = []

    def _post(self, peer: Peer, send: Send) -> None:
        """Put a frame's descriptor where the next message to its consumer takes it along."""
        frame = send.frame
        if self._table.holds(peer.name) == 1:
            peer.heard = time.monotonic()  # it held nothing until now: its time begins here
        rows, told = self._rows[send.slot], self._samples
        samples = [None if (count := rows[n]) is None else told[n].describe(frame, count) for n in peer.places]
        numbers, ticks = self._prepared.plan.numbers, self._prepared.plan.ticks
        peer.outbox.append(Descriptor(frame, numbers.item(frame), ticks.item(frame), send.slot, samples))

    def _end_chunk(self, peer: Peer, chunk: int) -> None:
        self._tell(peer.name, EndOfChunk(chunk, *self._table.bounds(chunk)))

    # ---- what consumers say

    def _hear(self, heard: Heard) -> None:
        peer, message = next((p for p in self._peers.values() if p.identity == heard.peer), None), heard.message
        if isinstance(message, Hello):
            self._present.add(heard.peer)
            if peer is not None:
                self._open(peer)
            return
        if peer is None:
            self._socket.rejected += 1
            return
        peer.heard = time.monotonic()
        if isinstance(message, Release):
            for frame in message.frames:
                self._socket.rejected += not self._table.release(peer.name, frame)
        elif isinstance(message, Commit):
            self._commit(peer, message.chunk, message.state)
        elif isinstance(message, Lent):
            for frame in message.frames:
                self._socket.rejected += not self._table.lent(peer.name, frame)
        elif isinstance(message, ClosedEpisode):
            self._staying.require_unchanged()  # a frame that it kept may have been written there
            self._ledger.close_episode(self._recording, peer.name, message.episode)
        else:
            self._close_outputs(peer)

    def _close_outputs(self, peer: Peer) -> None:
        self._staying.require_unchanged()
        if self._table.closed(peer.name):
            state = self._course.states(self._ledger, self._recording, peer.name)
            self._ledger.close_consumer(self._recording, peer.name, state)
            self._channel.send(messages.Closed(peer.name))
        else:
            self._socket.rejected += 1

    def _commit(self, peer: Peer, chunk: int, state: bytes | None) -> None:
        self._staying.require_unchanged()
        if not self._table.committed(peer.name, chunk):
            self._socket.rejected += 1
            return
        ended = self._course.ended_by(chunk)
        self._ledger.commit(self._recording, peer.name, chunk, state, ended)
        if ended is not None:
            self._tell(peer.name, EpisodeCommitted(ended))
        peer.waits_since = time.monotonic()
        peer.suspect = None
        self._channel.send(messages.Committed(peer.name, chunk, *held()))

    def _open(self, peer: Peer) -> None:
        """Let a generation begin, once its process is there and the supervisor wants it."""
        if peer.identity not in self._present or peer.to_begin is None:
            return
        order, peer.to_begin = peer.to_begin, None
        cursor = self._ledger.cursor(self._recording, peer.name)
        count = self._ledger.attempt(self._recording, peer.name, cursor.chunk)
        self._channel.send(messages.Attempted(peer.name, count))
        peer.heard = time.monotonic()
        about = about_recording(self._prepared, self._job.name, self._job.chunk_size, self._job.provenance, peer.places)
        closed = self._course.closed_before(self._ledger, self._recording, peer.name, cursor.chunk)
        opening = to_plain(about), self._pool.slots, self._credit, cursor.state, cursor.chunk, closed, os.getpid()
        self._tell(peer.name, Open(*opening))
        self._table.activate(peer.name, order.chunks, alone=count >= MOST_ATTEMPTS)
        if peer.handover:
            self._channel.send(messages.HandedOver(peer.name, time.monotonic() - peer.waits_since))
            peer.handover = False

    # ---- what the supervisor says

    def _obey_all(self, orders: list[Any]) -> None:
        """Carry out the supervisor's orders.

        Raises:
            EOFError: there are none: it is gone.

        """
        if not orders:
            msg = "the supervisor is gone"
            raise EOFError(msg)
        for order in orders:
            self._orders[type(order)](self, order)

    def _expect(self, order: messages.Expect) -> None:
        self._socket.admit(order.identity.encode())

    def _begin(self, order: messages.Begin) -> None:
        peer = self._peers[order.name]
        peer.identity, peer.to_begin = order.identity.encode(), order
        self._open(peer)

    def _bury(self, order: messages.GenerationEnded) -> None:
        peer, identity = self._peers[order.name], order.identity.encode()
        if identity == peer.identity:
            self._staying.require_unchanged()  # before anybody else is blamed
            for heard in self._socket.receive():  # its last words: a chunk that it committed is not done again
                self._hear(heard)
            self._judge(peer, order)
            self._table.gone(peer.name)
            peer.identity, peer.to_begin, peer.outbox = b"", None, []
        self._socket.expel(identity)
        self._present.discard(identity)

    def _retire(self, order: messages.Retire) -> None:
        self._table.retire(order.name)

    def _drop(self, order: messages.Drop) -> None:
        self._table.drop(order.name)

    def _drain(self, order: messages.Drain) -> None:
        del order
        self._draining = True
        self._table.drain()

    _orders: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        messages.Expect: _expect,
        messages.Begin: _begin,
        messages.GenerationEnded: _bury,
        messages.Retire: _retire,
        messages.Drop: _drop,
        messages.Drain: _drain,
    }

    def _judge(self, peer: Peer, end: messages.GenerationEnded) -> None:
        """Say which frame a process held that was shown them one at a time, and leave it out where that is wanted."""
        frame = self._table.on_trial(peer.name)
        proven = not end.killed or (frame is not None and frame == peer.suspect)
        peer.suspect = frame
        if frame is not None and proven and peer.seat.quarantine:
            self._table.leave_out(peer.name, frame)
            self._ledger.quarantine(self._recording, peer.name, frame, end.why, end.trace)
        self._channel.send(messages.Judged(peer.name, frame, proven))

    # ---- what the loader says

    def _take(self, loaded: Loaded) -> None:
        if loaded.error is None:
            self._rows[self._table.slot(loaded.frame)] = loaded.rows
            self._table.loaded(loaded.frame)
            return
        self._table.failed(loaded.frame)
        if loaded.reason is not None:
            _log.warning("frame %d left out: %s", loaded.frame, loaded.error)
            self._ledger.skip(self._recording, loaded.frame, loaded.reason)
        elif self._error is None:
            self._staying.require_unchanged()
            self._error = as_streamer_error(loaded.error)
            child.report(self._channel, self._error)
            self._table.drain()

    # ---- what it tells the supervisor

    def _finish(self) -> None:
        self._channel.send(self._account.progress(time.monotonic()))
        self._channel.send(self._account.streamed(self._socket.rejected))
        state = "failed" if self._error else "done" if self._table.complete else "interrupted"
        self._ledger.finish(self._recording, state, str(self._error or ""))


if __name__ == "__main__":
    child.run(main, foreign=False)
