"""The reader's loop, on a socket and a loader that answer at once: no process, no thread, no ZeroMQ."""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from streamer.ledger import Ledger
from streamer.records import Decoding, StreamSettings, TimelineSettings
from streamer.runtime import messages
from streamer.runtime.channel import Channel
from streamer.runtime.job import ConsumerSeat, ReaderJob
from streamer.runtime.loader import Loaded
from streamer.runtime.prepare import prepare
from streamer.runtime.reader import Reader
from streamer.runtime.staying import Staying
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.transport import (
    ClosedOutputs,
    Commit,
    EndOfChunk,
    Finish,
    Frames,
    Heard,
    Hello,
    MakeWay,
    Open,
    Release,
)
from tests.bags import SECOND, START, joints, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamer.runtime.loader import Order
    from streamer.runtime.prepare import Prepared
    from streamer.transport import FromConsumer, ToConsumer

    Answer = Callable[[bytes, ToConsumer], list[FromConsumer]]

FRAMES, CHUNK = 10, 4
STREAM = StreamSettings("arm", ("/j",), decoding=Decoding(field="position"))
GRID = TimelineSettings("grid", rate=(10, 1))


class FakeSocket:
    """Consumers that answer at once; ``answer`` says what to."""

    def __init__(self, answer: Answer) -> None:
        self._end, self._wake = socket.socketpair()
        self._end.setblocking(False)
        self.socket = self._end.fileno()  # for polling
        self._answer = answer
        self._heard: deque[Heard] = deque()
        self._admitted: set[bytes] = set()
        self.strangers: list[Heard] = []
        self.meanwhile: Callable[[], None] | None = None  # what happens before the reader takes in messages
        self.sent: list[tuple[bytes, ToConsumer]] = []
        self.ended: set[bytes] = set()  # the processes that say nothing any more
        self.rejected = 0

    def say(self, peer: bytes, message: FromConsumer) -> None:
        self._heard.append(Heard(peer, message))
        self._wake.send(b"x")

    def admit(self, peer: bytes) -> None:
        self._admitted.add(peer)
        self.say(peer, Hello())

    def expel(self, peer: bytes) -> None:
        pass

    def receive(self) -> list[Heard]:
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None
        with suppress(BlockingIOError):
            self._end.recv(4096)
        heard, self._heard = list(self._heard), deque()
        self.strangers = [h for h in heard if h.message == Hello() and h.peer not in self._admitted]
        return [h for h in heard if h not in self.strangers]

    def admitted_since(self) -> list[Heard]:
        heard, self.strangers = self.strangers, []
        assert all(h.peer in self._admitted for h in heard), "nobody says hello twice"
        return heard

    def send(self, peer: bytes, message: ToConsumer) -> bool:
        self.sent.append((peer, message))
        for answer in self._answer(peer, message) if peer not in self.ended else []:
            self.say(peer, answer)
        return True

    def shown(self, peer: bytes) -> list[int]:
        """Return the numbers of the frames that a process was shown."""
        return [f.frame for p, m in self.sent if p == peer and isinstance(m, Frames) for f in m.frames]

    def close(self) -> None:
        self._end.close()
        self._wake.close()


class FakeLoader:
    """Frames that are in their slots at once; those of ``broken`` cannot be decoded."""

    staying = Staying(Path("/a.bag"), ())

    def __init__(self, broken: frozenset[int] = frozenset()) -> None:
        self.descriptor, self._wake = os.pipe()
        self._broken = broken
        self._done: list[Loaded] = []

    def submit(self, orders: list[Order]) -> None:
        for load, _ in orders:
            error = ValueError("cut off") if load.frame in self._broken else None
            self._done.append(Loaded(load.frame, [3], error, "undecodable arm" if error else None))
            os.write(self._wake, b"x")

    def finished(self) -> list[Loaded]:
        os.read(self.descriptor, 4096)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._wake)


class FakePool:
    """Slots without memory."""

    slots = ready = 5
    allocated = 0

    def grow(self, slots: int) -> int:
        raise AssertionError(slots)


class Stage:
    """A reader with all that it works on, and the supervisor's end of its channel."""

    def __init__(
        self, prepared: Prepared, ledger: Ledger, answer: Callable[[bytes, ToConsumer], list[FromConsumer]]
    ) -> None:
        self.channel, theirs = Channel.pair()
        self.reader_end = Channel(theirs)
        self.socket = FakeSocket(answer)
        self.prepared, self.ledger = prepared, ledger
        self.recording = ledger.begin("run.yaml", "/a.bag", "", "", FRAMES, 3)

    def run(self, seat: ConsumerSeat | None = None, broken: frozenset[int] = frozenset()) -> list[Any]:
        """Run to the end; return what the supervisor was told."""
        job = ReaderJob(
            *("run.yaml", "/a.bag", "a", "", "", "", "", -1, 10**6, CHUNK, 1, (), GRID, (STREAM,)),
            consumers={"table": seat or ConsumerSeat(("arm",))},
        )
        loader = FakeLoader(broken)
        with closing(loader):
            pool, consumers, frames = cast("tuple[Any, Any, Any]", (FakePool(), self.socket, loader))
            reader = Reader(job, self.prepared, pool, self.ledger, self.recording, consumers, frames, self.reader_end)
            reader.run(0.0)
        return self.channel.receive()

    def begin(self, identity: str, chunks: int | None = None) -> None:
        self.channel.send(messages.Expect(identity))
        self.channel.send(messages.Begin("table", identity, chunks))

    def end(self, identity: str, why: str = "", *, killed: bool = False) -> None:
        """Let a process end; what it answers to the message at hand is the last that is heard of it."""
        self.socket.ended.add(identity.encode())
        self.channel.send(messages.GenerationEnded("table", identity, why, killed=killed))

    def close(self) -> None:
        self.channel.close()
        self.reader_end.close()
        self.socket.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Any]:
    """Return what makes a stage with a recording of ten frames."""
    stamps = [START + n * SECOND // 10 for n in range(FRAMES)]
    path = record(tmp_path / "bag", "mcap", joints("/j", stamps, "cdr"))
    with ExitStack() as stack:
        source = stack.enter_context(Source(path, tmp_path / "scratch"))
        prepared = prepare(source, Types([], source.distro, tmp_path), GRID, [STREAM])
        assert prepared.plan.frames == FRAMES
        ledger = stack.enter_context(Ledger(tmp_path / "ledger.sqlite"))
        yield lambda answer: stack.enter_context(closing(Stage(prepared, ledger, answer)))


def diligent(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
    """Answer as a consumer does to which nothing happens."""
    del peer
    if isinstance(message, Frames):
        return [Release([frame.frame for frame in message.frames])]
    if isinstance(message, EndOfChunk):
        return [Commit(message.chunk, bytes([message.chunk]))]
    return [ClosedOutputs()] if isinstance(message, Finish) else []


def kinds(told: list[Any]) -> list[str]:
    return [type(message).__name__ for message in told if not isinstance(message, messages.Progress)]


def test_a_consumer_is_shown_every_frame_once_in_order_and_each_chunk_is_committed(stage: Any) -> None:
    found = stage(diligent)
    found.begin("one")
    told = found.run()
    assert found.socket.shown(b"one") == list(range(FRAMES))
    ends = [m for _, m in found.socket.sent if isinstance(m, EndOfChunk)]
    assert ends == [EndOfChunk(0, 0, 3), EndOfChunk(1, 4, 7), EndOfChunk(2, 8, 9)]
    assert kinds(told) == ["Planned", "Attempted", *["Committed"] * 3, "Ending", "Closed", "Streamed"]
    planned, streamed = told[0], told[-1]
    assert (planned.frames, planned.chunks, planned.cursors) == (FRAMES, 3, {"table": 0})
    assert (streamed.finished, streamed.reached, streamed.consumers["table"]) == (True, 10, messages.Shown(10, 3))
    assert found.ledger.cursor(found.recording, "table") == (3, b"\x02", True)


def test_the_next_generation_goes_on_behind_the_share_of_the_one_before(stage: Any) -> None:
    def answer(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
        if isinstance(message, MakeWay):
            found.end("one")
            found.begin("two")
        return diligent(peer, message)

    found = stage(answer)
    found.begin("one", chunks=2)
    told = found.run()
    assert (found.socket.shown(b"one"), found.socket.shown(b"two")) == (list(range(8)), [8, 9])
    opens = [m for _, m in found.socket.sent if isinstance(m, Open)]
    assert [m.state for m in opens] == [None, b"\x01"]
    assert "HandedOver" in kinds(told)
    assert "Retiring" in kinds(told)


def test_one_that_dies_is_followed_from_its_last_commit_on(stage: Any) -> None:
    def answer(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
        if peer == b"one" and isinstance(message, Frames) and any(f.frame == 6 for f in message.frames):
            found.end("one", "killed", killed=True)
            found.begin("two")
            return []
        return diligent(peer, message)

    found = stage(answer)
    found.begin("one")
    told = found.run()
    assert found.socket.shown(b"two") == list(range(4, FRAMES))
    assert told[-1].consumers["table"] == messages.Shown(10, 3)
    assert [m.count for m in told if isinstance(m, messages.Attempted)] == [1, 2]


def test_a_commit_that_came_with_the_news_of_its_process_end_counts(stage: Any) -> None:
    def answer(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
        if peer == b"one" and isinstance(message, EndOfChunk):
            found.end("one", "killed", killed=True)
            found.begin("two")
        return diligent(peer, message)

    found = stage(answer)
    found.begin("one")
    told = found.run()
    assert found.socket.shown(b"two") == list(range(4, FRAMES))
    assert told[-1].rejected == 0


def test_one_that_is_announced_and_says_hello_while_the_reader_is_held_up_is_heard(stage: Any) -> None:
    def meanwhile() -> None:  # a fork takes milliseconds, and a busy machine holds the reader up for longer
        found.begin("one")
        found.socket.say(b"one", Hello())

    found = stage(diligent)
    found.socket.meanwhile = meanwhile
    found.socket.say(b"stranger", Release([0]))
    found.run()
    assert found.socket.shown(b"one") == list(range(FRAMES))


@pytest.mark.parametrize(("killed", "proven"), [(False, [True]), (True, [False, True])])
def test_a_frame_is_to_blame_at_once_for_a_crash_and_the_second_time_for_a_kill(
    stage: Any, proven: list[bool], *, killed: bool
) -> None:
    """From the third attempt on, frames are shown one at a time, so it is known which one ends the process."""
    number = 1

    def answer(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
        nonlocal number
        if isinstance(message, Frames) and any(f.frame == 2 for f in message.frames):
            found.end(peer.decode(), "upside down", killed=killed)
            number += 1
            found.begin(str(number))
            return []
        return diligent(peer, message)

    found = stage(answer)
    found.begin("1")
    told = found.run(ConsumerSeat(("arm",), quarantine=True))
    judged = [m for m in told if isinstance(m, messages.Judged) and m.frame is not None]
    assert judged == [messages.Judged("table", 2, sure) for sure in proven]
    assert number == 3 + len(proven)
    (quarantined,) = told[-1].quarantined
    assert (quarantined.consumer, quarantined.frame, quarantined.why) == ("table", 2, "upside down")
    assert told[-1].consumers["table"] == messages.Shown(9, 3)


def test_a_frame_that_cannot_be_decoded_is_left_out_and_counted(stage: Any) -> None:
    found = stage(diligent)
    found.begin("one")
    told = found.run(broken=frozenset({5}))
    assert found.socket.shown(b"one") == [n for n in range(FRAMES) if n != 5]
    assert told[-1].skipped == {"undecodable arm": 1}
    assert told[-1].consumers["table"] == messages.Shown(9, 3)


def test_what_a_stranger_or_a_liar_says_is_counted_and_changes_nothing(stage: Any) -> None:
    def answer(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
        if isinstance(message, Open):
            found.socket.say(b"stranger", Release([0]))
            return [Release([7]), Commit(0, None), Commit(99, None), ClosedOutputs()]
        return diligent(peer, message)

    found = stage(answer)
    found.begin("one")
    told = found.run()
    assert told[-1].rejected == 5
    assert found.socket.shown(b"one") == list(range(FRAMES))


def test_a_drain_ends_with_the_chunk_that_is_under_way(stage: Any) -> None:
    def answer(peer: bytes, message: ToConsumer) -> list[FromConsumer]:
        if isinstance(message, MakeWay):
            found.end("one")
        if isinstance(message, Open):
            found.channel.send(messages.Drain())
        return diligent(peer, message)

    found = stage(answer)
    found.begin("one")
    told = found.run()
    assert (told[-1].finished, told[-1].reached % CHUNK) == (False, 0)
    assert "MakeWay" in [type(message).__name__ for _, message in found.socket.sent]


def test_a_reader_whose_supervisor_is_gone_ends(stage: Any) -> None:
    found = stage(diligent)
    found.channel.close()
    with pytest.raises(EOFError, match="the supervisor is gone"):
        found.run()
