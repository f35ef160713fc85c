"""The template of a consumer's processes is killed: the run goes on, and nothing is lost or left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.faults.harness import MISFITS, Config, let_go, reached
from tests.pipeline.driver import digests, start, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_template_that_is_killed_takes_no_process_with_it_and_a_new_one_is_started(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    waiting = {"use": f"{MISFITS}Waiting", "options": {"out": "a.json", "places": ["on_chunk 1"]}}
    config["consumers"]["a"] = waiting | {"recycle": {"chunks": 4}}
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        children = running.children()
        assert children.keys() >= {"reader", "a.template", "a.1"}
        children["a.template"].kill()
        wait_until(lambda: "a.template" not in running.children(), "the template's end")
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "a.json") == digests(tmp_path / "digest.json") == expected
    assert finished.report["consumers"]["a"]["restarts"] == {"planned": 2, "crash": 0}
