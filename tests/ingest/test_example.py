"""configs/watch.yaml, unedited but for how long it waits, on recordings of the kind that it is for."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import yaml
from jsonschema import Draft202012Validator

from streamer.errors import BusyError
from streamer.ingest.control import ask
from tests.pipeline.driver import ROOT, Run, wait_until
from tests.robots import raw_cameras

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("source.settle=300 ms", "source.scan=1 s", "free_space=1 MB")


def states(folder: Path) -> dict[str, str]:
    try:
        found: dict[str, Any] = ask(folder / ".streamer", "status")["status"]
    except BusyError:
        return {}
    return {values["name"]: values["state"] for values in found["recordings"]}


@pytest.mark.slow
def test_every_recording_becomes_an_episode_and_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INCOMING", "DATASETS", "WORKDIR"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(ROOT / "configs" / "watch.yaml", tmp_path)
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    with Run(tmp_path, "watch", "watch.yaml", *QUICK) as daemon:
        raw_cameras(tmp_path / "first", 2.0).rename(incoming / "first")
        wait_until(lambda: states(tmp_path).get("first") == "done", "the first")
        daemon.process.kill()
    with Run(tmp_path, "watch", "watch.yaml", *QUICK) as daemon:
        raw_cameras(tmp_path / "second", 3.0).rename(incoming / "second")
        shutil.copytree(incoming / "first", incoming / "copy")
        wait_until(lambda: states(tmp_path) == {"first": "done", "second": "done"}, "the second")
        daemon.process.terminate()
        finished = daemon.end()
    assert finished.code == 0, finished
    dataset = tmp_path / "out" / "watch" / "dataset"
    assert json.loads((dataset / "meta" / "info.json").read_text())["total_episodes"] == 2
    (episodes,) = (dataset / "meta" / "episodes").rglob("*.parquet")
    assert pq.read_table(episodes)["length"].to_pylist() == [20, 30]
    assert {path.name for path in (tmp_path / "out" / "watch" / "sheets").iterdir()} == {
        "first.preview.png",
        "second.preview.png",
    }


def test_it_fits_the_schema_that_editors_use() -> None:
    text = (ROOT / "configs" / "watch.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    schema = json.loads((ROOT / "configs" / "schema.json").read_text())
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(text))) == []
