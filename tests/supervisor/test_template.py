"""Generations forked from a template are children like any other, and nothing that happens to it harms them."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psutil
import pytest

from streamer.runtime.job import WorkerJob
from streamer.runtime.messages import WarmedUp
from streamer.supervisor import template as subject
from streamer.supervisor.template import CAN_FORK, Starter, Templates
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.supervisor.child import Process

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="only Linux gives orphans to whoever asks for them")


class Nursery:
    """Templates of one consumer, `null`, and the generations that were started by them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self._stack = stack
        self._pool = os.memfd_create("pool")
        stack.callback(os.close, self._pool)
        self._templates = stack.enter_context(Templates(Starter(folder, folder, self._pool), self.notes.append))
        self._started = 0

    def warm(self) -> tuple[Process, bool]:
        """Start the next generation and wait until it is warm; tell whether it was forked."""
        self._started += 1
        process, fd = self._templates.start("a", self._started)
        self._stack.callback(process.close)
        endpoint = f"ipc://{self.folder}/nobody"
        process.channel.send(
            WorkerJob("a", self._started, "null", {}, endpoint, str(self._started), self._pool, (), template=fd)
        )
        assert isinstance(process.channel.receive()[0], WarmedUp)
        return process, fd is None

    def template(self) -> psutil.Process:
        (found,) = [child for child in psutil.Process().children() if child.name() == "a.template"]
        return found


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    before = {child.pid for child in psutil.Process().children()}
    with ExitStack() as stack:
        yield Nursery(tmp_path, stack)
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_forked_generation_is_our_child_with_its_own_group_title_and_end(nursery: Nursery) -> None:
    first, forked = nursery.warm()
    assert not forked
    second, forked = nursery.warm()
    assert forked
    seen = psutil.Process(second.pid)
    assert seen.ppid() == os.getpid()
    assert os.getpgid(second.pid) == second.pid != os.getpgid(first.pid)
    assert (seen.name(), seen.cmdline()[2:4]) == ("a.2", ["streamer.runtime.worker", "a.2"])
    assert [psutil.Process(p.pid).num_threads() for p in (first, second)] == [seen.num_threads()] * 2
    stray = os.posix_spawnp(
        "sleep", ["sleep", "1000"], os.environ, setpgroup=second.pid
    )  # of its group, ours as orphans
    second.kill()
    wait_until(lambda: second.ended() == -signal.SIGKILL, "its end")
    second.close()
    assert not psutil.pid_exists(stray)
    third, _ = nursery.warm()
    third.channel.close()  # it ends by itself when nobody is there
    wait_until(lambda: third.ended() == 1, "its end")
    assert first.ended() is None
    assert nursery.notes == []


def test_a_template_that_is_killed_takes_nobody_along_and_another_one_stays_behind(nursery: Nursery) -> None:
    nursery.warm()
    second, _ = nursery.warm()
    nursery.template().kill()
    _, forked = nursery.warm()
    assert not forked
    assert nursery.notes == ["a: its template has ended (killed by SIGKILL); its next process is a new interpreter"]
    assert second.ended() is None
    assert nursery.warm()[1]


def test_a_template_that_does_not_answer_is_ended(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    nursery.warm()
    nursery.warm()
    old = nursery.template()
    old.suspend()
    monkeypatch.setattr(subject, "_PATIENCE", 0.2)
    assert not nursery.warm()[1]
    assert not old.is_running()
    assert nursery.notes == ["a: its template does not answer; its next process is a new interpreter"]


def test_where_the_imports_leave_a_thread_every_process_is_a_new_interpreter(
    tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert [nursery.warm()[1], nursery.warm()[1]] == [False, False]
    assert "started anew, not forked" in (tmp_path / "a.log").read_text()
    assert nursery.notes == []
