"""A template's generations are children of whoever asked, and neither its end nor a thread in it harms them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from streamer.supervisor.template import Setting, Templates
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.supervisor.child import Process


@pytest.fixture
def templates(tmp_path: Path) -> Iterator[Templates]:
    with Templates(Setting(tmp_path, tmp_path, [], {})) as made:
        yield made


def begun(templates: Templates, process: Process) -> psutil.Process:
    def known() -> bool:
        templates.hear()
        return process.pid is not None

    wait_until(known, "its process id")
    return psutil.Process(process.pid)


def ended(templates: Templates, process: Process) -> int:
    def over() -> bool:
        templates.hear()
        process.heard()
        return process.ended() is not None

    wait_until(over, "its end")
    code = process.ended()
    assert code is not None
    return code


def template_of(name: str) -> psutil.Process:
    (found,) = [c for c in psutil.Process().children() if f"{name}.template" in c.cmdline()]
    return found


def test_generations_are_our_children_with_their_own_group_title_and_numbers(templates: Templates) -> None:
    processes = [templates.start("a", "null", f"a.{n}", forked=True) for n in (1, 2)]
    try:
        found = [begun(templates, process) for process in processes]
        assert [f.ppid() for f in found] == [os.getpid()] * 2
        wait_until(
            lambda: all(f.cmdline()[:4][2:] == ["streamer.runtime.worker", f"a.{n}"] for n, f in enumerate(found, 1))
        )
        assert [int(f.cmdline()[5]) for f in found] == [os.getpid()] * 2
        assert [len(f.cmdline()) for f in found] == [6, 6]
        assert [os.getpgid(f.pid) for f in found] == [f.pid for f in found]
        wait_until(lambda: [f.name() for f in found] == ["a.1", "a.2"], "their names")
    finally:
        for process in processes:
            process.close()
    assert not any(f.is_running() for f in found)


def test_how_a_generation_ends_is_told_by_the_kernel(templates: Templates) -> None:
    killed, left = [templates.start("a", "null", f"a.{n}", forked=True) for n in (1, 2)]
    begun(templates, killed)
    begun(templates, left)
    killed.kill()
    left.channel.close()  # it ends by itself when nobody is there
    assert (ended(templates, killed), ended(templates, left)) == (-signal.SIGKILL, 1)
    for process in (killed, left):
        process.close()


def test_a_generation_survives_its_template_and_the_next_has_a_new_one(templates: Templates) -> None:
    first = templates.start("a", "null", "a.1", forked=True)
    process = begun(templates, first)
    old = template_of("a")
    old.kill()
    wait_until(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE, "the template's end")
    second = templates.start("a", "null", "a.2", forked=True)
    assert begun(templates, second).ppid() == process.ppid() == os.getpid()
    assert template_of("a").pid != old.pid
    assert first.ended() is None
    first.close()
    second.close()


def test_one_that_is_asked_for_from_a_template_that_dies_has_ended(templates: Templates) -> None:
    process = templates.start("a", "null", "a.1", forked=True)
    process.kill()
    assert ended(templates, process) == -signal.SIGKILL
    process.close()


def test_one_that_is_not_there_yet_is_gone_when_all_is_closed(tmp_path: Path) -> None:
    with Templates(Setting(tmp_path, tmp_path, [], {})) as templates:
        process = templates.start("a", "null", "a.1", forked=True)
        templates.close()
        process.close()
    assert psutil.Process().children() == []


def test_a_template_that_is_dismissed_leaves_its_generation(templates: Templates) -> None:
    process = templates.start("a", "null", "a.1", forked=True)
    begun(templates, process)
    templates.dismiss("a")
    assert [child.pid for child in psutil.Process().children()] == [process.pid]
    assert process.ended() is None
    process.close()


def test_what_a_generation_leaves_in_its_group_ends_with_it(templates: Templates) -> None:
    process = templates.start("a", "null", "a.1", forked=True)
    group = begun(templates, process).pid
    stray = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ, setpgroup=group)
    process.close()
    assert not psutil.pid_exists(stray)  # a child of ours, as an orphan of the generation would be
    assert not psutil.pid_exists(group)


def test_a_thread_that_an_import_leaves_means_new_interpreters(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    setting = Setting(tmp_path, tmp_path, [], {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"})
    with Templates(setting) as templates:
        processes = [templates.start("a", "null", f"a.{n}", forked=True) for n in (1, 2)]
        for number, process in enumerate(processes, 1):
            found = begun(templates, process)
            assert found.ppid() == os.getpid()
            assert f"a.{number}" in found.cmdline()
            assert found.cmdline()[-1] == str(os.getpid())  # not written over the template's
        templates.close()
        for process in processes:
            process.close()
    assert "generations are started anew, not forked" in (tmp_path / "a.log").read_text()
