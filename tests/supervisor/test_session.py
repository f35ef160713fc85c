"""The loop of one recording with processes that are only played: what each is told is kept, what it says scripted."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pytest

from streamer.config.model import ConsumerConfig
from streamer.errors import ConsumerError, OutputError, StreamerError
from streamer.records import TimelineSettings
from streamer.runtime.job import ConsumerSeat, ReaderJob, WorkerJob
from streamer.runtime.messages import (
    Attempted,
    Begin,
    Closed,
    Committed,
    Drain,
    Ending,
    Expect,
    Failed,
    GenerationEnded,
    Measured,
    Planned,
    Retiring,
    Shown,
    Streamed,
    WarmedUp,
)
from streamer.supervisor import session as subject
from streamer.supervisor.session import Session
from streamer.supervisor.tally import Tallies, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamer.supervisor.outcome import Outcome

    Script = Callable[["Stage", "Actor", Any], None]

CHUNKS = 4
PLAN = Planned(8, 8, CHUNKS, {}, 4096, 2, 8192, (), (), {}, {}, {}, {"a": 0}, (), 0.0)
JOB = ReaderJob(
    *("run.yaml", "/r.bag", "r", "", "", "", "ipc:///nowhere", -1, 8192, 2, 1, (), TimelineSettings("grid"), ()),
    consumers={"a": ConsumerSeat(())},
)


class Actor:
    """A process that is only played."""

    def __init__(self, stage: Stage, title: str) -> None:
        self.stage, self.title = stage, title
        self.channel = self
        self.told: list[Any] = []
        self.closed = False
        self._says: list[Any] = []
        self._code: int | None = None
        self._readable, self._wake = os.pipe()
        stage.stack.callback(os.close, self._readable)
        stage.stack.callback(os.close, self._wake)
        stage.actors[title] = self

    # what the session does with it

    def send(self, message: object) -> None:
        self.told.append(message)
        self.stage.script(self.stage, self, message)

    def watched(self) -> list[int]:
        return [self._readable]

    def heard(self) -> list[Any]:
        if self._says:
            os.read(self._readable, 4096)
        says, self._says = self._says, []
        return says

    def ended(self) -> int | None:
        return self._code

    def kill(self) -> None:
        self.end(-signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self.closed = True

    # what the script does with it

    def say(self, *messages: object) -> None:
        self._says += messages
        os.write(self._wake, b"x")

    def end(self, code: int) -> None:
        self._code = code if self._code is None else self._code
        os.write(self._wake, b"x")


class Stage:
    """The session, its actors by their titles, and what a person was told."""

    def __init__(self, stack: ExitStack, folder: Path, script: Script) -> None:
        self.stack, self.script = stack, script
        self.actors: dict[str, Actor] = {}
        self.notes: list[str] = []
        self.asked = 0  # how often it shall stop
        self.tallies = Tallies({"a": Tally()})
        self._folder = folder
        self._signals, other = os.pipe()
        stack.callback(os.close, self._signals)
        stack.callback(os.close, other)

    # the observer and the stops

    def planned(self, plan: Planned) -> None: ...

    def progress(self, *_: object) -> None: ...

    def note(self, text: str, **_: object) -> None:
        self.notes.append(text)

    def fileno(self) -> int:
        return self._signals

    def clear(self) -> None: ...

    # the play

    def run(self, **settings: Any) -> Outcome:
        consumers = {"a": ConsumerConfig(use="null", **settings)}
        own: dict[str, Any] = {"folder": self._folder, "logs": self._folder, "paths": (), "sharing": frozenset()}
        watch: dict[str, Any] = {"observer": self, "stops": self, "tallies": self.tallies}
        return Session(JOB, consumers, part=False, **own, **watch).run()

    @property
    def reader(self) -> Actor:
        return self.actors["reader"]

    def said_to_reader(self, kind: type) -> list[Any]:
        return [message for message in self.reader.told if isinstance(message, kind)]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Script], Stage]]:
    """Return what sets up a stage for a script, which is called with each message that an actor is sent."""
    with ExitStack() as stack:

        def made(script: Script) -> Stage:
            stage = Stage(stack, tmp_path, script)

            class Played:
                def __init__(self, *_: object) -> None: ...

                def __enter__(self) -> Self:
                    return self

                def __exit__(self, *_: object) -> None: ...

                def start(self, name: str, generation: int) -> tuple[Actor, None]:
                    return Actor(stage, f"{name}.{generation}"), None

            monkeypatch.setattr(subject, "Templates", Played)
            monkeypatch.setattr(subject, "Child", lambda _, title, **__: Actor(stage, title))
            return stage

        yield made


def commits(first: int, last: int) -> list[Any]:
    return [Committed("a", chunk, 7, 9) for chunk in range(first, last)]


def finish(stage: Stage, worker: Actor, first: int) -> None:
    """Let a generation go on to the end."""
    worker.say(*(Measured(chunk, 5, 6) for chunk in range(first, CHUNKS)))
    stage.reader.say(Attempted("a", 1), *commits(first, CHUNKS), Ending("a"), Closed("a"))
    stage.reader.say(Streamed(finished=True, reached=8, consumers={"a": Shown(8, CHUNKS)}))
    worker.end(0)
    stage.reader.end(0)


def warm(actor: Actor, message: object) -> None:
    """Play what is the same in every play: the plan, and a process that comes out of its warm-up."""
    if isinstance(message, WorkerJob):
        actor.say(WarmedUp(3))
    elif actor.title == "reader" and isinstance(message, ReaderJob):
        actor.say(PLAN)


def test_a_consumer_is_expected_before_it_begins_and_its_end_is_told(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin):
            finish(stage, stage.actors["a.1"], 0)

    stage = play(script)
    outcome = stage.run(recycle="never")
    assert (outcome.state, outcome.error, outcome.committed) == ("done", None, True)
    expected, begun = stage.said_to_reader(Expect), stage.said_to_reader(Begin)
    assert [e.identity for e in expected] == [b.identity for b in begun]
    assert begun[0].chunks is None
    life = stage.tallies.consumers["a"].lives[0]
    assert (life.start, life.peak, life.shared, life.ended) == (3, 5, 6, "exit code 0")
    assert all(actor.closed for actor in stage.actors.values())


def test_a_successor_begins_only_when_the_end_of_its_predecessor_is_proven_and_told(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin) and message.identity.startswith("a/1/"):
            stage.reader.say(Attempted("a", 1), *commits(0, 2), Retiring("a"))
            stage.actors["a.1"].end(0)
        elif isinstance(message, Begin):
            assert [g.identity[:4] for g in stage.said_to_reader(GenerationEnded)] == ["a/1/"]
            finish(stage, stage.actors["a.2"], 2)

    stage = play(script)
    assert stage.run(recycle={"chunks": 2}).state == "done"
    assert [b.chunks for b in stage.said_to_reader(Begin)] == [2, 2]
    assert stage.tallies.consumers["a"].planned == 1
    assert stage.tallies.consumers["a"].crash == 0


def test_a_process_that_raises_is_told_with_its_trace_and_another_goes_on(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin) and message.identity.startswith("a/1/"):
            stage.actors["a.1"].say(Failed.of(ConsumerError("on_frame raised ValueError", consumer="a"), "line 7"))
            stage.actors["a.1"].end(70)
        elif isinstance(message, Begin):
            finish(stage, stage.actors["a.2"], 0)

    stage = play(script)
    assert stage.run().state == "done"
    ended = stage.said_to_reader(GenerationEnded)[0]
    assert ("on_frame raised ValueError" in ended.why, ended.trace, ended.killed) == (True, "line 7", False)
    assert any("starting again" in note for note in stage.notes)
    assert stage.tallies.consumers["a"].crash == 1


def test_a_process_that_is_killed_from_outside_is_told_as_such(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin) and message.identity.startswith("a/1/"):
            stage.actors["a.1"].end(-signal.SIGKILL)
        elif isinstance(message, Begin):
            finish(stage, stage.actors["a.2"], 0)

    stage = play(script)
    assert stage.run().state == "done"
    assert stage.said_to_reader(GenerationEnded)[0].killed
    assert stage.tallies.consumers["a"].killed == 1


def test_what_cannot_be_mended_ends_the_run_with_its_reason_and_starts_nobody_else(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin):
            stage.actors["a.1"].say(Failed.of(OutputError("no space left")))
            stage.actors["a.1"].end(73)
        elif isinstance(message, Drain):
            stage.reader.say(Streamed(finished=False))
            stage.reader.end(0)

    stage = play(script)
    outcome = stage.run()
    assert outcome.state == "failed"
    assert "no space left" in str(outcome.error)
    assert set(stage.actors) == {"reader", "a.1"}


def test_a_reader_that_says_why_it_fails_is_believed_and_nobody_is_started_any_more(play: Any) -> None:
    def script(_: Stage, actor: Actor, message: object) -> None:
        if isinstance(message, WorkerJob):
            actor.say(WarmedUp(3))
        elif isinstance(message, ReaderJob):
            actor.say(Failed.of(StreamerError("the recording is cut")))
            actor.end(65)

    outcome = play(script).run()
    assert (outcome.state, str(outcome.error)) == ("failed", "the recording is cut")


def test_a_reader_that_dies_leaves_what_was_committed(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin):
            stage.reader.say(*commits(0, 3))
            stage.reader.end(-signal.SIGSEGV)

    stage = play(script)
    outcome = stage.run(recycle="never")
    assert (outcome.state, outcome.code, outcome.committed) == ("died", -signal.SIGSEGV, True)
    assert outcome.streamed.consumers == {"a": Shown(6, 3)}  # three chunks of two frames
    assert all(actor.closed for actor in stage.actors.values())


def test_a_first_stop_drains_and_a_second_ends_everyone_at_once(play: Any) -> None:
    def script(stage: Stage, actor: Actor, message: object) -> None:
        warm(actor, message)
        if isinstance(message, Begin):
            stage.asked = 1
            stage.reader.say(*commits(0, 1))
        elif isinstance(message, Drain):
            stage.asked = 2
            stage.reader.say(*commits(1, 2))

    stage = play(script)
    outcome = stage.run(recycle="never")
    assert (outcome.state, outcome.error) == ("interrupted", None)
    assert len(stage.said_to_reader(Drain)) == 1
    assert all(actor.closed for actor in stage.actors.values())
