"""The process of a recording's pipeline, as whoever started it sees it."""

from __future__ import annotations

import os
import signal
import stat
from typing import TYPE_CHECKING

import pytest
import yaml

from streamer.config.load import load
from streamer.pipelines.process import Pipeline
from tests.bags import START, numbers, record
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("stop", [Pipeline.drain, Pipeline.stop])
def test_a_pipeline_that_is_stopped_before_it_has_begun_to_listen_obeys(tmp_path: Path, stop: object) -> None:
    """The order lies behind the job in its channel, and comes with it in one piece."""
    path = record(tmp_path / "a", "ros1", numbers("/n", range(START, START + 10**9, 10**6)))
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "n"},
        "chunk_size": 5,
        "streams": {"n": {"topic": "/n", "field": "data"}},
        "consumers": {"digest": {"use": "checksum", "options": {"out": str(tmp_path / "digest.json")}}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    pipeline = Pipeline(load(tmp_path / "config.yaml"), path, "a", tmp_path / "work")
    try:
        assert callable(stop)
        stop(pipeline)
        wait_until(lambda: pipeline.ended() is not None, "its end")
        ended = pipeline.ended()
        assert ended is not None
        assert ended.state == "interrupted", ended
    finally:
        pipeline.close()


@pytest.mark.parametrize("end", ["killed", "closed"])
def test_one_that_is_ended_in_the_middle_leaves_no_socket_behind(tmp_path: Path, end: str) -> None:
    path = record(tmp_path / "a", "ros1", numbers("/n", range(START, START + 10**9, 10**7)))
    gate = {"use": "tests.pipeline.probes:Gate", "options": {"folder": str(tmp_path), "at": 7}}
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "n"},
        "chunk_size": 5,
        "streams": {"n": {"topic": "/n", "field": "data"}},
        "consumers": {"gate": gate},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    pipeline = Pipeline(load(tmp_path / "config.yaml"), path, "a", tmp_path / "work")
    try:
        wait_until((tmp_path / "here").exists, "the gate")
        assert any(stat.S_ISSOCK(found.lstat().st_mode) for found in (tmp_path / "work").iterdir())
        if end == "killed":
            os.kill(pipeline.pid, signal.SIGKILL)
            wait_until(lambda: pipeline.ended() is not None, "its end")
    finally:
        pipeline.close()
    assert not any(stat.S_ISSOCK(found.lstat().st_mode) for found in (tmp_path / "work").iterdir())
