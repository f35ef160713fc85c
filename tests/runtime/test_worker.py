"""The worker's loop with its reader in the same process: a real socket, a real pool, no second process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import zmq

from streamer import memfd
from streamer.contract import Chunk, Consumer, Frame, Recording
from streamer.errors import ConsumerError, ContractError, EscapedViewError
from streamer.layout import Layout, Place
from streamer.plain import to_plain
from streamer.pool import Pool
from streamer.records import Spec
from streamer.runtime import messages, worker
from streamer.runtime.about import AboutEpisode, AboutRecording, AboutStream
from streamer.runtime.channel import Channel
from streamer.runtime.job import WorkerJob
from streamer.runtime.worker import _Worker
from streamer.transport import (
    ClosedEpisode,
    ClosedOutputs,
    Commit,
    ConsumerSocket,
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
    pack_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.transport import ToConsumer

PAGE = 4096
PLACE = Place("arm", 0, 24, Spec((3,), "<f8"))
LAYOUT = Layout((PLACE,), PAGE)
ARM = AboutStream("arm", "/j", "sensor_msgs/msg/JointState", "vector", "receive", (3,), "<f8", False, (), "", 0, 24)
SLOTS = 4


class Diary(Consumer):
    """Writes down what it is called for."""

    pages: ClassVar[list[tuple[Any, ...]]] = []

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        self.pages.append(("open", recording.name, state))

    def on_frame(self, frame: Frame) -> None:
        sample = frame.samples["arm"]
        self.pages.append(("frame", frame.number, None if sample is None else sample.value.tolist()))

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        self.pages.append(("chunk", chunk.number, chunk.first, chunk.last, chunk.frames))
        return {"chunk": chunk.number}

    def close(self, recording: Recording) -> None:
        self.pages.append(("close", recording.name))


class Keeper(Diary):
    """Keeps the array of one frame, which it must not."""

    kept: Any = None

    def on_frame(self, frame: Frame) -> None:
        if frame.number == 1:
            self.kept = frame["arm"][:2]


class Stage:
    """A worker, the reader's end of its socket and the supervisor's of its channel."""

    def __init__(self, stack: ExitStack) -> None:
        context = stack.enter_context(zmq.Context())
        self.reader = stack.enter_context(closing(ReaderSocket(context, "inproc://reader")))
        self.reader.admit(b"one")
        self.endpoint = ConsumerSocket(context, "inproc://reader", b"one")
        stack.callback(self.endpoint.socket.close)
        writable, self.pool_fd = memfd.create()
        stack.callback(os.close, writable)
        pool = Pool(writable, LAYOUT, SLOTS)
        for slot in range(SLOTS):
            pool.array(slot, PLACE)[:] = slot + np.arange(3) / 10
        self.supervisor, theirs = Channel.pair()
        self.channel = Channel(theirs)
        stack.callback(self.supervisor.close)
        stack.callback(self.channel.close)
        self.told: list[Any] = []
        assert self._answers() == []

    def _answers(self) -> list[Any]:
        """Return what has come before a hello, which the worker's end sends first and here last."""
        came: list[Any] = []
        while not came or came[-1] != Hello():
            assert self.reader.socket.poll(60_000)
            came += [heard.message for heard in self.reader.receive() + self.reader.admitted_since()]
        return came[:-1]

    def run(self, consumer: Consumer, *said: ToConsumer, **job: Any) -> list[Any]:
        """Let the worker take these messages; return its answers, and put what it told the supervisor into `told`."""
        for message in said:
            assert self.reader.send(b"one", message)
        settings = WorkerJob("a", 1, f"{__name__}:Diary", {}, "", "one", os.dup(self.pool_fd), (), **job)
        try:
            _Worker(settings, consumer, self.endpoint, self.channel, None).run()
        finally:
            self.channel.send(messages.WarmedUp(0))  # so that receive returns
            self.told = [m for m in self.supervisor.receive() if not isinstance(m, messages.WarmedUp)]
            self.endpoint.send(Hello())
            self.answers = self._answers()
        return self.answers


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Return a stage, with an empty diary."""
    Diary.pages.clear()
    with ExitStack() as stack:
        found = Stage(stack)
        yield found
        os.close(found.pool_fd)


def about(*episodes: AboutEpisode) -> dict[str, Any]:
    found = AboutRecording("r", "/r.bag", 4, 2, 10.0, 0, 3, {}, PAGE, (ARM,), bool(episodes), episodes)
    values: dict[str, Any] = to_plain(found)
    return values


def frame(number: int, *, none: bool = False) -> Descriptor:
    """Describe a frame; it lies in the slot of its number."""
    return Descriptor(number, number, number * 10**8, number % SLOTS, [None if none else (number * 10**8, 0, 0, 0)])


def released(answers: list[Any]) -> list[int]:
    return [number for m in answers if isinstance(m, Release) for number in m.frames]


def others(answers: list[Any]) -> list[Any]:
    return [m for m in answers if not isinstance(m, Release)]


def test_frames_are_shown_released_and_committed_and_the_outputs_closed(stage: Stage) -> None:
    said = (
        Open(about(), SLOTS, 2, pack_state({"chunk": 6})),
        *(Frames([frame(0), frame(1, none=True)]), EndOfChunk(0, 0, 1)),
        *(Frames([frame(2)]), Frames([frame(3)]), EndOfChunk(1, 2, 3)),
        Finish(),
    )
    answers = stage.run(Diary(), *said)
    assert Diary.pages == [
        ("open", "r", {"chunk": 6}),
        ("frame", 0, [0.0, 0.1, 0.2]),
        ("frame", 1, None),
        ("chunk", 0, 0, 1, 2),
        ("frame", 2, [2.0, 2.1, 2.2]),
        ("frame", 3, [3.0, 3.1, 3.2]),
        ("chunk", 1, 2, 3, 2),
        ("close", "r"),
    ]
    assert released(answers) == [0, 1, 2, 3]
    commits = [Commit(n, pack_state({"chunk": n})) for n in range(2)]
    assert others(answers) == [*commits, ClosedOutputs()]
    assert [m.chunk for m in stage.told] == [0, 1, None]  # memory at each commit, and at the end


class Deserted(Diary):
    """Sees the supervisor end the channel as it is shown a frame."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        with socket.socket(fileno=os.dup(self._channel.fileno())) as end:
            end.shutdown(socket.SHUT_WR)


def test_a_worker_whose_reader_is_gone_leaves_it_to_the_supervisor_to_end_it(stage: Stage) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    lies_there = frame(1)._replace(samples=[(10**8, 0, 0, (3, 0))])
    said = Open(about(), SLOTS, 2, None, reader=gone.pid), Frames([frame(0), lies_there])
    with pytest.raises(EOFError, match="the reader is gone"):
        stage.run(Deserted(stage.supervisor), *said)
    assert Diary.pages[-1] == ("frame", 0, [0.0, 0.1, 0.2])
    assert not stage.channel.open  # until then, it has waited


def test_a_worker_that_only_does_not_find_its_reader_does_not_wait_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have moved to another root folder, where no process is seen."""
    monkeypatch.setattr(worker, "_LONGEST_GOODBYE", 10)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    lies_there = frame(0)._replace(samples=[(0, 0, 0, (3, 0))])
    with pytest.raises(EOFError, match="the reader is gone"):
        stage.run(Diary(), Open(about(), SLOTS, 2, None, reader=gone.pid), Frames([lies_there]))
    assert stage.channel.open


def test_a_generation_that_makes_way_closes_nothing(stage: Stage) -> None:
    answers = stage.run(
        Diary(), Open(about(), SLOTS, 2, None), Frames([frame(0), frame(1)]), EndOfChunk(0, 0, 1), MakeWay()
    )
    assert Diary.pages[-1] == ("chunk", 0, 0, 1, 2)
    assert others(answers) == [Commit(0, pack_state({"chunk": 0}))]


def test_each_episode_has_numbers_of_its_own_and_is_closed_before_the_next_is_opened(stage: Stage) -> None:
    first = AboutEpisode(0, "r-000", "pick", "success", 0, 2, 0, 0, 1)
    second = AboutEpisode(1, "r-001", "place", "", 2, 2, 1, 2, 3)
    answers = stage.run(
        Diary(),
        Open(about(first, second), SLOTS, 2, None),
        *(Frames([frame(0), frame(1)]), EndOfChunk(0, 0, 1), Frames([frame(2), frame(3)]), EpisodeCommitted(0)),
        *(EndOfChunk(1, 2, 3), EpisodeCommitted(1), Finish()),
        cut=True,
    )
    assert [page for page in Diary.pages if page[0] != "frame"] == [
        ("open", "r-000", None),
        ("chunk", 0, 0, 1, 2),
        ("close", "r-000"),
        ("open", "r-001", None),
        ("chunk", 0, 0, 1, 2),
        ("close", "r-001"),
    ]
    assert [page[1:] for page in Diary.pages if page[0] == "frame"] == [
        (0, [0.0, 0.1, 0.2]),
        (1, [1.0, 1.1, 1.2]),
        (0, [2.0, 2.1, 2.2]),
        (1, [3.0, 3.1, 3.2]),
    ]
    state = pack_state({"chunk": 0})
    assert others(answers) == [Commit(0, state), ClosedEpisode(0), Commit(1, state), ClosedOutputs()]


def test_an_episode_is_closed_once_its_last_commit_is_written_down_and_not_before(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may be killed in between; whoever goes on from the commit before needs outputs to go on with."""
    receive = stage.endpoint.receive

    def noted() -> ToConsumer:
        message = receive()
        Diary.pages.append((type(message).__name__,))
        return message

    monkeypatch.setattr(stage.endpoint, "receive", noted)
    first = AboutEpisode(0, "r-000", "", "", 0, 2, 0, 0, 1)
    second = AboutEpisode(1, "r-001", "", "", 2, 2, 1, 2, 3)
    opened = Open(about(first, second), SLOTS, 2, None)
    ends = Frames([frame(0), frame(1)]), EndOfChunk(0, 0, 1), Frames([frame(2)])
    stage.run(Diary(), opened, *ends, EpisodeCommitted(0), MakeWay(), cut=True)
    assert [page[:2] for page in Diary.pages if page[0] != "frame"] == [
        ("Open",),
        ("Frames",),
        ("open", "r-000"),
        ("EndOfChunk",),
        ("chunk", 0),
        ("Frames",),
        ("EpisodeCommitted",),
        ("close", "r-000"),
        ("open", "r-001"),
        ("MakeWay",),
    ]


def test_an_episode_that_was_committed_but_not_closed_is_closed_by_the_next_generation(stage: Stage) -> None:
    first = AboutEpisode(0, "r-000", "", "", 0, 2, 0, 0, 1)
    second = AboutEpisode(1, "r-001", "", "", 2, 2, 1, 2, 3)
    opened = Open(about(first, second), SLOTS, 2, pack_state({"chunk": 0}), chunk=1, closed=False)
    answers = stage.run(Diary(), opened, Frames([frame(2)]), MakeWay(), cut=True)
    assert Diary.pages == [
        ("open", "r-000", {"chunk": 0}),
        ("close", "r-000"),
        ("open", "r-001", None),
        ("frame", 0, [2.0, 2.1, 2.2]),
    ]
    assert others(answers) == [ClosedEpisode(0)]


def test_a_view_that_is_kept_ends_the_generation_before_its_memory_is_used_again(stage: Stage) -> None:
    with pytest.raises(EscapedViewError, match=r"stream 'arm' of frame 1.*keep a copy"):
        stage.run(Keeper(), Open(about(), SLOTS, 2, None), Frames([frame(0), frame(1)]), EndOfChunk(0, 0, 1))
    assert 1 not in released(stage.answers)


def test_a_view_that_is_kept_is_lent_where_that_is_tolerated_and_released_once_it_is_let_go(stage: Stage) -> None:
    consumer = Keeper()
    said = Open(about(), SLOTS, 2, None), Frames([frame(0), frame(1)]), EndOfChunk(0, 0, 1), MakeWay()
    answers = stage.run(consumer, *said, tolerant=True)
    assert others(answers)[0] == Lent([1])
    assert released(answers) == [0]
    assert messages.Escaped(1, "arm") in stage.told


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_callback_raises_comes_home_with_its_frame_and_its_consumer(stage: Stage, error: Any) -> None:
    class Broken(Diary):
        def on_frame(self, frame: Frame) -> None:
            if frame.number:
                raise error

    with pytest.raises(ConsumerError, match=rf"on_frame, frame 1, raised {type(error).__name__}") as caught:
        stage.run(Broken(), Open(about(), SLOTS, 2, None), Frames([frame(0), frame(1)]))
    assert caught.value.where.consumer == "a"
    assert 1 not in released(stage.answers)


def test_a_state_that_cannot_be_stored_is_refused_before_anything_is_committed(stage: Stage) -> None:
    class Odd(Diary):
        def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
            return {"file": object()}

    with pytest.raises(ContractError, match="cannot be stored as state"):
        stage.run(Odd(), Open(about(), SLOTS, 2, None), Frames([frame(0), frame(1)]), EndOfChunk(0, 0, 1))
    assert others(stage.answers) == []


def test_a_worker_whose_supervisor_is_gone_ends(stage: Stage) -> None:
    stage.supervisor.close()
    job = WorkerJob("a", 1, "null", {}, "", "one", stage.pool_fd, ())
    with pytest.raises(EOFError, match="the supervisor is gone"):
        _Worker(job, Diary(), stage.endpoint, stage.channel, None).run()
