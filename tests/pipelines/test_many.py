"""Many recordings whose pipelines are only played: which begin, which are tried again, what the ledger knows after."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from streamer.config.load import load
from streamer.errors import BusyError, OutputError, RecordingError, StreamerError
from streamer.ledger import Ledger
from streamer.pipelines import many as subject
from streamer.pipelines.many import _Many
from streamer.pipelines.unit import Ended, Work
from streamer.supervisor.context import RunContext
from streamer.supervisor.workdir import Workdir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Attempt = Ended | Callable[[], Ended] | None

DONE = Ended("done", values=None, cursors={"a": (3, b"")})
CONFIG = """
source: {path: "*.bag"}
streams: {arm: {topic: /j, field: position}}
timeline: {rate: 10 Hz}
consumers: {a: {use: stats}}
workdir: work
pool: 100 MB
"""


class Unit:
    """A pipeline that is only played: it has ended as soon as it is looked at, or when it is asked to."""

    def __init__(self, stage: Stage, work: Work, ended: Attempt) -> None:
        self._stage, self._work, self._ended = stage, work, ended
        self.asked: list[str] = []
        self.closed = False

    def watched(self) -> list[Any]:
        return []

    def heard(self) -> list[Any]:
        return []

    def status(self) -> dict[str, Any]:
        return {"frames": {"done": 1, "all": 2, "per_second": 1.0}}

    def ended(self) -> Ended | None:
        self._stage.at_once = max(self._stage.at_once, sum(not u.closed for u in self._stage.units))
        return self._ended() if callable(self._ended) else self._ended

    def drain(self) -> None:
        self.asked.append("drain")
        self._ended = self._ended or Ended("interrupted")

    def stop(self) -> None:
        self.asked.append("stop")
        self._ended = self._ended or Ended("interrupted")

    def close(self) -> None:
        self.closed = True


class Stage:
    """Recordings, what each of their attempts comes to, and what a person was told."""

    def __init__(self, folder: Path, ledger: Ledger, signals: int) -> None:
        self.folder, self.ledger = folder, ledger
        self.notes: list[str] = []
        self.begun: list[str] = []
        self.units: list[Unit] = []
        self.at_once = 0
        self.asked = 0
        self._signals = signals

    # who watches and who stops

    def note(self, text: str, **_: object) -> None:
        self.notes.append(text)

    def many(self, snapshot: dict[str, Any]) -> None:
        self.snapshot = snapshot

    def fileno(self) -> int:
        return self._signals

    def clear(self) -> None: ...

    # the play

    def run(self, script: dict[str, list[Attempt]], more: str = "", **changed: Any) -> dict[str, str]:
        """Run; an attempt that is None in the script goes on until it is asked to end. Return how each ended."""
        config = self.folder / "run.yaml"
        config.write_text(CONFIG + more)
        works = [self._work(name) for name in script]
        watch: Any = self

        def start(work: Work) -> Unit:
            self.begun.append(work.name)
            unit = Unit(self, work, script[work.name][work.tries - 1])
            self.units.append(unit)
            return unit

        context = RunContext(load(config), Workdir(self.folder), watch, watch)
        running = _Many(context, self.ledger, works, start, changed.get("jobs", context.loaded.config.jobs))
        running.run()
        running.close()
        return {work.name: work.state for work in works}

    def _work(self, name: str) -> Work:
        path = self.folder / f"{name}.bag"
        path.write_bytes(name.encode())
        return Work(path, name, self.folder / name)

    def known(self) -> dict[str, str]:
        found = self.ledger.recordings("run.yaml")
        return {os.path.basename(path)[:-4]: known.state for path, known in found.items()}  # noqa: PTH119 - a key


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(subject, "_FIRST_WAIT", 0.0)
    monkeypatch.setattr(subject, "_LOOK_SECONDS", 0.01)
    with ExitStack() as stack:
        signals, other = os.pipe()
        stack.callback(os.close, signals)
        stack.callback(os.close, other)
        yield Stage(tmp_path, stack.enter_context(Ledger(tmp_path / "ledger.sqlite")), signals)


def test_recordings_are_begun_in_their_order_as_many_at_once_as_there_are_jobs(stage: Stage) -> None:
    names = [f"r{n}" for n in range(5)]
    assert stage.run({name: [DONE] for name in names}, "jobs: 2\n") == dict.fromkeys(names, "done")
    assert (stage.begun, stage.at_once) == (names, 2)
    assert stage.known() == dict.fromkeys(names, "done")
    assert stage.snapshot["recordings"]["done"] == 5
    assert all(unit.closed for unit in stage.units)


def test_one_runs_at_a_time_where_the_memory_is_for_one(stage: Stage) -> None:
    stage.run({name: [DONE] for name in "abc"}, "jobs: 3\nmemory: 150 MB\n")
    assert stage.at_once == 1
    assert any("one runs at a time" in note for note in stage.notes)


@pytest.mark.parametrize("ended", [Ended("failed", BusyError("somebody has it")), Ended("died", StreamerError("-9"))])
def test_what_was_busy_or_died_is_begun_again_and_counts_once(stage: Stage, ended: Ended) -> None:
    assert stage.run({"a": [ended, DONE], "b": [DONE]}) == {"a": "done", "b": "done"}
    assert sorted(stage.begun) == ["a", "a", "b"]
    assert stage.known() == {"a": "done", "b": "done"}


def test_it_is_tried_three_times_and_then_left_and_the_others_go_on(stage: Stage) -> None:
    died = Ended("died", StreamerError("killed by SIGKILL"))
    assert stage.run({"a": [died] * 3, "b": [DONE]}) == {"a": "died", "b": "done"}
    assert stage.begun.count("a") == 3
    assert stage.known() == {"a": "failed", "b": "done"}


def test_a_bad_recording_is_not_tried_again(stage: Stage) -> None:
    bad = Ended("failed", RecordingError("it is cut"))
    assert stage.run({"a": [bad], "b": [DONE]}) == {"a": "failed", "b": "done"}
    assert "a: failed: it is cut" in stage.notes


def test_a_machine_that_gives_out_ends_all_and_a_failure_does_where_that_is_wanted(stage: Stage) -> None:
    full = Ended("failed", OutputError("no space left"))
    assert stage.run({"a": [full], "b": [DONE], "c": [DONE]}, "jobs: 1\n")["b"] == "waiting"
    assert any("no further recording is begun" in note for note in stage.notes)


def test_a_failure_lets_go_of_those_under_way_where_nothing_is_to_go_on(stage: Stage) -> None:
    bad = Ended("failed", RecordingError("it is cut"))
    found = stage.run({"a": [bad], "b": [None], "c": [DONE]}, "jobs: 2\nkeep_going: false\n")
    assert found == {"a": "failed", "b": "interrupted", "c": "waiting"}
    assert stage.units[1].asked == ["drain"]
    assert stage.known() == {"a": "failed", "b": "interrupted"}


@pytest.mark.parametrize(("asked", "what"), [(1, "drain"), (2, "stop")])
def test_a_stop_reaches_those_under_way_and_begins_no_other(stage: Stage, asked: int, what: str) -> None:
    def done_and_stopped() -> Ended:
        stage.asked = asked
        return DONE

    assert stage.run({"a": [done_and_stopped], "b": [None], "c": [DONE]}, "jobs: 2\n")["c"] == "waiting"
    assert stage.units[1].asked == [what]
    assert stage.known() == {"a": "done", "b": "interrupted"}
