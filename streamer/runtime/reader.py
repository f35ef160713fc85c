"""The reader process: a job → frames decoded once into the pool and offered to every consumer.

One thread owns the table (`delivery`), the socket and the ledger; the loader's threads fill slots. The
loop below waits for any of four things - a consumer's message, an order of the supervisor, a finished
frame, the time to say how far it is - and then lets the table decide.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from streamer.delivery import Delivery, End, EndChunk, Grow, Load, Retire, Send
from streamer.errors import ConfigError, StreamerError
from streamer.layout import at_once, count_slots
from streamer.ledger import MOST_ATTEMPTS, Ledger
from streamer.libraries import blamed
from streamer.memory import anonymous, held
from streamer.plan import digest
from streamer.pool import Pool
from streamer.runtime import child
from streamer.runtime.about import about_plan, about_recording
from streamer.runtime.job import ReaderJob
from streamer.runtime.loader import Loader
from streamer.runtime.prepare import Prepared, prepare
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.transport import Kind, ReaderSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.delivery import Action
    from streamer.runtime.channel import Channel
    from streamer.runtime.job import ConsumerSeat
    from streamer.runtime.loader import Loaded, Order, Rows
    from streamer.transport import Heard

_PROGRESS_SECONDS = 0.2
_CREDIT = 8  # frames a consumer may hold at once
_STEP = 32 * 2**20  # bytes that the pool grows by
_log = logging.getLogger("streamer.reader")


def main(channel: Channel) -> None:
    """Prepare, say so, stream until all is done or the supervisor says to stop, report."""
    order = channel.receive_one()
    job = ReaderJob.from_wire(order["job"])
    opened = time.time()
    with ExitStack() as stack:
        source = stack.enter_context(Source(Path(job.path), Path(job.scratch), mapped=True, salvage=job.salvage))
        if job.prove:
            source.prove()
        types = Types(job.types, source.distro, Path(job.base), source.topics.values())
        prepared = prepare(source, types, job.timeline, job.streams)
        lossless = [seat for seat in job.consumers.values() if not seat.latest]
        least = 1 + len(job.consumers) - len(lossless)
        slots = count_slots(prepared.layout, job.pool, max(prepared.plan.frames, 1), least)
        ledger = stack.enter_context(Ledger(Path(job.ledger)))
        recording = _begin(ledger, job, prepared, source)
        pool = Pool(job.pool_fd, prepared.layout, slots, ready=at_once(prepared.layout, 2 * job.threads + _CREDIT))
        context = stack.enter_context(zmq.Context())
        socket = ReaderSocket(context, job.endpoint)
        stack.callback(socket.close)
        loader = Loader(prepared, pool, job.threads)
        stack.callback(loader.close)
        _Reader(job, prepared, pool, ledger, recording, socket, loader, channel).run(opened)


def _begin(ledger: Ledger, job: ReaderJob, prepared: Prepared, source: Source) -> int:
    """Enter the recording into the ledger; make sure that what was committed belongs to this plan."""
    settings = json.dumps(
        [
            [s.topic.name, s.settings.clock, asdict(s.settings.decoding), s.spec.names, s.spec.unit]
            for s in prepared.streams
        ]
    )
    plan = digest(prepared.plan, settings, job.chunk_size)
    known = ledger.recordings(job.pipeline).get(job.path)
    fingerprint = source.fingerprint()
    if known and known.committed and (known.plan, known.fingerprint) != (plan, fingerprint):
        msg = (
            f"{job.path}: the unfinished run had another plan (other streams, timeline, chunk_size, or the recording "
            "was changed), so it cannot be continued: undo the change, or begin anew with --restart"
        )
        raise ConfigError(msg)
    chunks = -(-prepared.plan.frames // job.chunk_size)
    number = ledger.begin(job.pipeline, job.path, fingerprint, plan, prepared.plan.frames, chunks)
    if known and not known.committed:
        ledger.reset(number)
    return number


class _Peer:
    """What the reader remembers of one consumer beside its seat in the table."""

    def __init__(self, name: str, seat: ConsumerSeat, places: list[int]) -> None:
        self.name = name
        self.seat = seat
        self.places = places  # which of the plan's streams it is shown
        self.identity = b""
        self.outbox: list[object] = []  # descriptors for the next message
        self.to_open: int | bool | None = False  # chunks it may have, once it is there; False: not yet
        self.heard = time.monotonic()
        self.waits_since = 0.0  # its last commit
        self.handover = False  # its process was told to make way for another


class _Reader:
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
        self._ledger = ledger
        self._recording = recording
        self._socket = socket
        self._loader = loader
        self._channel = channel
        self._rows: dict[int, Rows] = {}  # by slot
        self._present: set[bytes] = set()  # the processes that have said hello
        self._error: StreamerError | None = None
        self._draining = False
        self._began = time.monotonic()
        self._samples = [(s.plan.stamp, s.plan.offset, s.plan.flags) for s in prepared.streams]
        self._credit = max(1, min(at_once(prepared.layout, _CREDIT), pool.slots - 1))
        self._table = self._make_table()
        self._peers = self._seat_consumers()
        self._anonymous = Counter(start=anonymous())

    def _make_table(self) -> Delivery:
        frames = self._prepared.plan.frames
        heavy = [stream.repeats for stream in self._prepared.streams if stream.decoder.kind != "vector"]
        layout = self._prepared.layout
        window = at_once(layout, 2 * self._job.threads)
        return Delivery(
            frames,
            self._job.chunk_size,
            self._pool.ready,
            window=window,
            readahead=window + at_once(layout, _CREDIT),
            repeats=np.any(heavy, axis=0).tolist() if heavy else (),
            most=self._pool.slots,
            step=max(1, _STEP // layout.slot_size),
        )

    def _seat_consumers(self) -> dict[str, _Peer]:
        names = [stream.settings.name for stream in self._prepared.streams]
        peers = {}
        for name, seat in self._job.consumers.items():
            peers[name] = _Peer(name, seat, [names.index(stream) for stream in seat.streams])
            cursor = self._ledger.cursor(self._recording, name)
            self._table.add(
                name, cursor=cursor.chunk, done=cursor.closed, latest=seat.latest, every=seat.every, credit=self._credit
            )
            self._ledger.forgive(self._recording, name)
        for found in self._ledger.quarantined(self._recording):
            self._table.leave_out(found.consumer, found.frame)
        return peers

    # ---- the loop

    def run(self, opened: float) -> None:
        """Work until every consumer is done, or stopped, and tell the supervisor how it went.

        ``opened`` is when the recording began to be opened, in seconds since the epoch.
        """
        self._channel.send("ready", opened=opened, **self._describe())
        for order in self._channel.waiting():  # they came together with the job
            self._obey(order)
        poller = zmq.Poller()
        for what in (self._socket.socket, self._channel.fileno(), self._loader.descriptor):
            poller.register(what, zmq.POLLIN)
        told = 0.0
        while not self._over():
            self._act(self._table.step())
            now = time.monotonic()
            if now - told >= _PROGRESS_SECONDS:
                told = now
                self._channel.send("progress", **self._progress(now))
            happened = dict(poller.poll(int(_PROGRESS_SECONDS * 1000)))
            if self._channel.fileno() in happened:
                for order in self._channel.receive() or [{"event": "stop"}]:
                    self._obey(order)
            if self._socket.socket in happened:
                for heard in self._socket.receive():
                    self._hear(heard)
            if self._loader.descriptor in happened:
                for loaded in self._loader.finished():
                    self._take(loaded)
        self._finish()

    def _over(self) -> bool:
        if self._table.finished:
            return True
        return (self._draining or self._error is not None) and self._table.idle

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
            elif isinstance(action, Retire):
                self._channel.send("retiring", name=action.consumer)
                self._peers[action.consumer].handover = True
                self._ledger.forgive(self._recording, action.consumer)  # its successor begins a first attempt
                self._tell(action.consumer, Kind.RETIRE)
            elif isinstance(action, End):
                self._channel.send("ending", name=action.consumer)
                self._tell(action.consumer, Kind.END)
        self._loader.submit(loads)
        for peer in self._peers.values():
            self._flush(peer)

    def _tell(self, name: str, kind: Kind, *values: object) -> None:
        self._socket.send(self._peers[name].identity, kind, *values)

    def _flush(self, peer: _Peer) -> None:
        if peer.outbox:
            self._tell(peer.name, Kind.FRAMES, peer.outbox)
            peer.outbox = []

    def _post(self, peer: _Peer, send: Send) -> None:
        """Put a frame's descriptor where the next message to its consumer takes it along."""
        frame = send.frame
        if self._table.holds(peer.name) == 1:
            peer.heard = time.monotonic()  # it held nothing until now: its time begins here
        rows = self._rows[send.slot]
        samples = [
            None if rows[n] is None else (*(column.item(frame) for column in self._samples[n]), rows[n])
            for n in peer.places
        ]
        plan = self._prepared.plan
        peer.outbox.append((frame, plan.numbers.item(frame), plan.ticks.item(frame), send.slot, samples))

    def _end_chunk(self, peer: _Peer, chunk: int) -> None:
        first = chunk * self._job.chunk_size
        last = min(first + self._job.chunk_size, self._prepared.plan.frames) - 1
        self._tell(peer.name, Kind.CHUNK, chunk, first, last)

    # ---- what consumers say

    def _hear(self, heard: Heard) -> None:
        peer = next((p for p in self._peers.values() if p.identity == heard.peer), None)
        if heard.kind == Kind.HELLO:
            self._present.add(heard.peer)
            if peer is not None:
                self._open(peer)
            return
        if peer is None:
            self._socket.rejected += 1
            return
        peer.heard = time.monotonic()
        if heard.kind == Kind.RELEASE:
            for frame in heard.values[0]:
                self._socket.rejected += not self._table.release(peer.name, frame)
        elif heard.kind == Kind.LENT:
            for frame in heard.values[0]:
                self._socket.rejected += not self._table.lent(peer.name, frame)
        elif heard.kind == Kind.COMMIT:
            self._commit(peer, *heard.values)
        elif heard.kind == Kind.CLOSED:
            if self._table.closed(peer.name):
                self._ledger.close_consumer(self._recording, peer.name)
                self._channel.send("closed", name=peer.name)
            else:
                self._socket.rejected += 1

    def _commit(self, peer: _Peer, chunk: int, state: bytes | None) -> None:
        if not self._table.committed(peer.name, chunk):
            self._socket.rejected += 1
            return
        self._ledger.commit(self._recording, peer.name, chunk, state)
        peer.waits_since = time.monotonic()
        used = held()
        self._channel.send("committed", name=peer.name, chunk=chunk, anon=used.anon, shared=used.shared)

    def _open(self, peer: _Peer) -> None:
        """Let a generation begin, once its process is there and the supervisor wants it."""
        if peer.identity not in self._present or peer.to_open is False:
            return
        chunks: int | None = peer.to_open
        peer.to_open = False
        cursor = self._ledger.cursor(self._recording, peer.name)
        count = self._ledger.attempt(self._recording, peer.name, cursor.chunk)
        self._channel.send("attempt", name=peer.name, count=count)
        peer.heard = time.monotonic()
        job = self._job
        about = about_recording(self._prepared, job.name, job.chunk_size, job.provenance, peer.places)
        about["slots"] = self._pool.slots
        about["credit"] = self._credit
        self._tell(peer.name, Kind.OPEN, about, cursor.state)
        self._table.activate(peer.name, chunks, alone=count >= MOST_ATTEMPTS)
        if peer.handover:
            self._channel.send("handover", name=peer.name, seconds=time.monotonic() - peer.waits_since)
            peer.handover = False

    # ---- what the supervisor says

    def _obey(self, order: dict[str, Any]) -> None:
        event = order["event"]
        if event == "expect":  # a process with this identity will come
            self._socket.admit(order["identity"].encode())
        elif event == "activate":
            self._activate(order)
        elif event == "gone":
            self._gone(order)
        elif event == "retire":
            self._table.retire(order["name"])
        elif event == "drop":
            self._table.drop(order["name"])
        elif event == "drain":
            self._draining = True
            self._table.drain()
        elif event == "stop":
            msg = "the supervisor is gone"
            raise EOFError(msg)

    def _activate(self, order: dict[str, Any]) -> None:
        peer = self._peers[order["name"]]
        peer.identity = order["identity"].encode()
        peer.to_open = order["chunks"]
        self._open(peer)

    def _gone(self, order: dict[str, Any]) -> None:
        peer = self._peers[order["name"]]
        if order["identity"].encode() == peer.identity:
            self._judge(peer, order["why"], order["trace"])
            self._table.gone(peer.name)
            peer.identity, peer.to_open, peer.outbox = b"", False, []
        self._socket.expel(order["identity"].encode())
        self._present.discard(order["identity"].encode())

    def _judge(self, peer: _Peer, why: str, trace: str) -> None:
        """Say which frame a process held that was shown them one at a time, and leave it out where that is wanted."""
        frame = self._table.on_trial(peer.name)
        if frame is not None and peer.seat.quarantine:
            self._table.leave_out(peer.name, frame)
            self._ledger.quarantine(self._recording, peer.name, frame, why, trace)
        self._channel.send("judged", name=peer.name, frame=frame)

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
            self._error = _as_streamer_error(loaded.error)
            child.report(self._channel, self._error)
            self._table.drain()

    # ---- what it tells the supervisor

    def _describe(self) -> dict[str, Any]:
        return about_plan(self._prepared) | {
            "chunks": self._table.chunks,
            "pool": self._job.pool,
            "slots": self._pool.slots,
            "cursors": {name: self._table.cursor(name) for name in self._peers},
            "done": [name for name in self._peers if self._table.is_done(name)],
        }

    def _progress(self, now: float) -> dict[str, Any]:
        used = anonymous()
        self._anonymous["peak"] = max(self._anonymous["peak"], used)
        consumers = {
            name: {
                "position": self._table.position(name),
                "cursor": self._table.cursor(name),
                "holds": self._table.holds(name),
                "silent": now - peer.heard if self._table.owes(name) else 0.0,
            }
            for name, peer in self._peers.items()
        }
        return {
            "consumers": consumers,
            "slots": self._table.slots_in_use,
            "allocated": self._table.slots,
            "reached": self._table.reached(),
            "bytes": self._table.loads * self._prepared.layout.slot_size,
            "anon": used,
        }

    def _finish(self) -> None:
        skips = self._ledger.skips(self._recording)
        reached = self._table.secured()
        self._channel.send("progress", **self._progress(time.monotonic()))
        self._channel.send(
            "report",
            finished=self._table.finished,
            reached=reached,
            skipped=dict(Counter(skips.values())),
            skipped_reached=dict(Counter(reason for frame, reason in skips.items() if frame < reached)),
            consumers={name: self._shown(name, set(skips)) for name in self._peers},
            quarantined=[found._asdict() for found in self._ledger.quarantined(self._recording)],
            loads=self._table.loads,
            rejected=self._socket.rejected,
            blocks=self._prepared.source.blocks_loaded,
            pool_peak=self._table.peak_slots * self._prepared.layout.slot_size,
            pool_allocated=self._table.slots * self._prepared.layout.slot_size,
            stream_seconds=time.monotonic() - self._began,
            anon={"start": self._anonymous["start"], "peak": self._anonymous["peak"], "end": anonymous()},
        )
        state = "failed" if self._error else "done" if self._table.complete else "interrupted"
        self._ledger.finish(self._recording, state, str(self._error or ""))

    def _shown(self, name: str, skips: set[int]) -> dict[str, int]:
        """Count the frames and chunks that a consumer has had, in this run and those that it continues."""
        seat = self._peers[name].seat
        position = self._table.position(name)
        kept_from = {q.frame for q in self._ledger.quarantined(self._recording) if q.consumer == name}
        skips = skips | {frame for frame in kept_from if frame % seat.every == 0}
        if seat.latest:
            frames = self._table.sent(name)
        else:
            frames = -(-position // seat.every) - sum(f < position and f % seat.every == 0 for f in skips)
        return {"frames": frames, "chunks": self._table.cursor(name)}


def _as_streamer_error(error: Exception) -> StreamerError:
    if isinstance(error, StreamerError):
        return error
    wrapped = StreamerError(f"a frame could not be loaded: {type(error).__name__}: {error}{blamed(error)}")
    wrapped.__cause__ = error
    return wrapped


if __name__ == "__main__":
    child.run(main, foreign=False)
