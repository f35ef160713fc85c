"""The template of a consumer's processes is killed or stopped: the run goes on, and nothing is lost or left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import MISFITS, Config, let_go, reached, stopped, what_is_left
from tests.pipeline.driver import digests, start, wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_template_that_ends_or_stands_takes_no_process_with_it_and_the_run_ends_well(
    tmp_path: Path, config: Config, expected: dict[str, Any], how: str
) -> None:
    """A stopped one starts no successor: the supervisor ends both when the run is over."""
    chunks = 3 if how == "killed" else 7  # of eight: a stopped one is asked for one successor that nobody needs
    waiting = {"use": f"{MISFITS}Waiting", "options": {"out": "a.json", "places": ["on_chunk 1", "on_chunk 6"]}}
    config["consumers"]["a"] = waiting | {"recycle": {"chunks": chunks}}
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        template = running.children()["a.template"]
        if how == "killed":
            template.kill()
            wait_until(lambda: "a.template" not in running.children(), "the template's end")
        else:
            stopped(template.pid)
            running.children()["a.1"].kill()
        let_go(tmp_path, "a")
        if how == "stopped":
            wait_until(lambda: running.process.poll() is not None or _asked_again(running), "another process")
            template.resume()
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected
    assert what_is_left(tmp_path) == []
