"""Damaged recordings, run end to end: refused with the way out, or read as far as they are intact, and told."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from streamer.inprocess import open as open_streamer
from tests.bags import data_file, joints, numbers, record, record_split, snapshot
from tests.pipeline.driver import Run, digests, run, start, wait_until
from tests.pipeline.probes import Recorder

if TYPE_CHECKING:
    from tests.pipeline.driver import Finished

Config = dict[str, Any]
SECOND = 10**9
START = 1_700_000_000 * SECOND
TENTHS = range(START, START + 4 * SECOND, SECOND // 10)


@pytest.fixture
def cut(tmp_path: Path, config: Config) -> Config:
    """Return the configuration on a copy of the recording, in a folder of its own, that lacks its last two fifths."""
    whole = Path(config["source"]["path"]).read_bytes()
    path = tmp_path / "bags" / "cut.bag"
    path.parent.mkdir()
    path.write_bytes(whole[: len(whole) * 3 // 5])
    config["source"]["path"] = str(path)
    config["consumers"]["recorder"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "numbers"}}
    return config


def salvaged(finished: Finished, files: int = 1) -> list[dict[str, Any]]:
    """Return what the report says of the damage; check that the warnings and the summary say it too."""
    assert finished.code == 0, finished
    damage: list[dict[str, Any]] = finished.report["damage"]
    assert len(damage) == files, finished
    assert finished.report["recordings"][0]["damage"] == damage
    for found in damage:
        words = f"salvaged {found['name']}: {found['intact']} of {found['size']} bytes ("
        assert sum(words in warning for warning in finished.report["warnings"]) == 1, finished
        assert words in finished.err
        assert words in finished.out
    return damage


def test_a_cut_bag_is_refused_with_the_way_out_and_then_salvaged(tmp_path: Path, cut: Config) -> None:
    before = snapshot(tmp_path / "bags")
    refused = run(tmp_path, cut)
    assert refused.code == 65, refused
    assert "cut.bag: the bag is cut off" in refused.err
    assert "'source.on_damage: salvage' reads what is intact" in refused.err
    assert refused.report["error"]["kind"] == "DamagedError"
    finished = run(tmp_path, cut, "source.on_damage=salvage")
    (damage,) = salvaged(finished)
    assert damage["size"] == (tmp_path / "bags" / "cut.bag").stat().st_size
    assert 0 < damage["intact"] == damage["stopped"] <= damage["size"]
    assert damage["chunks"] == 0
    assert "the bag is cut off" in damage["why"]
    frames = finished.report["frames"]
    assert 15 < frames["delivered"] == frames["planned"] < 40
    assert Recorder.read(tmp_path / "numbers") == list(range(frames["delivered"]))
    assert snapshot(tmp_path / "bags") == before


def test_what_is_salvaged_is_what_the_whole_recording_gives(tmp_path: Path, cut: Config, small_bag: Path) -> None:
    (tmp_path / "cut.yaml").write_text(yaml.safe_dump(cut))
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(cut | {"source": {"path": str(small_bag)}}))
    count = 0
    whole = open_streamer(tmp_path / "whole.yaml").frames()
    for frame in open_streamer(tmp_path / "cut.yaml", "source.on_damage=salvage").frames():
        same = next(whole)
        assert (frame.number, frame.tick) == (same.number, same.tick)
        if count < 15:  # near the end, other messages are the nearest
            assert all((frame[name] == same[name]).all() for name in frame)
        count += 1
    assert count > 15


def test_a_stopped_run_over_a_salvaged_recording_is_continued(tmp_path: Path, cut: Config) -> None:
    cut["source"]["on_damage"] = "salvage"
    undisturbed = run(tmp_path / "undisturbed", cut)
    assert undisturbed.code == 0, undisturbed
    folder = tmp_path / "stopped"
    cut["consumers"]["gate"] = {"use": "tests.pipeline.probes:Gate", "options": {"folder": str(tmp_path), "at": 11}}
    with start(folder, cut) as running:
        wait_until((tmp_path / "here").exists, "frame 11")
        running.signal(signal.SIGTERM)
        (tmp_path / "go").touch()
        stopped = running.end()
    assert stopped.code == 75, stopped
    finished = run(folder, cut, "--resume")
    salvaged(finished)
    assert digests(folder / "digest.json") == digests(tmp_path / "undisturbed" / "digest.json")
    assert Recorder.read(folder / "numbers") == Recorder.read(tmp_path / "undisturbed" / "numbers")


def test_a_folder_of_bags_is_read_with_the_one_that_was_not_closed(tmp_path: Path, config: Config) -> None:
    whole = Path(config["source"]["path"])
    bags = tmp_path / "bags"
    bags.mkdir()
    shutil.copy(whole, bags / "a.bag")
    content = bytearray(whole.read_bytes())
    at = content.index(b"index_pos=") + 10
    content[at : at + 8] = b"\0" * 8
    (bags / "b.bag.active").write_bytes(content)
    config["source"] = {"path": str(bags), "on_damage": "salvage"}
    config["consumers"]["digest"]["options"]["out"] = "{recording}.json"
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    one, other = finished.report["recordings"]
    assert one["damage"] == []
    assert other["damage"][0]["intact"] == len(content)
    assert digests(tmp_path / "a.json")["streams"] == digests(tmp_path / "b.json")["streams"]


@pytest.mark.parametrize("form", ["mcap-zstd", "db3"])
def test_a_rosbag2_folder_that_was_never_closed_is_salvaged(tmp_path: Path, form: str) -> None:
    (tmp_path / "bags").mkdir()
    halves = [joints("/j", part, "cdr") + numbers("/n", part, "cdr") for part in (TENTHS[:20], TENTHS[20:])]
    path = record_split(tmp_path / "bags" / "run", form, halves)
    (path / "metadata.yaml").unlink()
    if form != "db3":
        last = max(path.iterdir())
        last.write_bytes(last.read_bytes()[:-20])
    before = snapshot(tmp_path / "bags")
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "j"},
        "chunk_size": 5,
        "streams": {"j": {"topic": "/j", "field": "position"}, "n": {"topic": "/n", "field": "data"}},
        "consumers": {"digest": {"use": "checksum", "options": {"out": "digest.json"}}},
    }
    refused = run(tmp_path, config)
    assert refused.code == 65, refused
    assert "'source.on_damage: salvage' reads what is intact" in refused.err
    finished = run(tmp_path, config, "source.on_damage=salvage")
    damage = salvaged(finished, 1 if form == "db3" else 2)
    assert damage[0]["name"] == "run"
    assert "no metadata.yaml" in damage[0]["why"]
    assert finished.report["frames"]["delivered"] == 40
    assert snapshot(tmp_path / "bags") == before


def test_nothing_is_salvaged_of_a_recording_that_is_whole(tmp_path: Path, config: Config) -> None:
    config["source"]["on_damage"] = "salvage"
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert finished.report["damage"] == finished.report["warnings"] == []
    assert "salvaged small.bag" not in finished.out + finished.err


def test_info_shows_what_could_be_saved(tmp_path: Path, cut: Config) -> None:
    path = cut["source"]["path"]
    with Run(tmp_path, "info", path) as running:
        refused = running.end()
    assert refused.code == 65, refused
    with Run(tmp_path, "info", "--salvage", path) as running:
        finished = running.end()
    assert finished.code == 0, finished
    assert "# salvaged cut.bag: " in finished.out
    suggested = yaml.safe_load(finished.out)
    assert suggested["source"] == {"path": path, "on_damage": "salvage"}
    with Run(tmp_path, "info", "--salvage", "--json", path) as running:
        found = json.loads(running.end().out)
    assert found["indexed"] is False
    assert found["damage"][0]["name"] == "cut.bag"
    assert {topic["name"] for topic in found["topics"]} == {"/camera_0/image_raw/compressed", "/joints_0"}
    (tmp_path / "config.yaml").write_text(finished.out)
    with Run(tmp_path, "run", "config.yaml") as running:
        salvaged(running.end())


def test_a_recording_of_which_nothing_is_left_is_refused(tmp_path: Path, config: Config) -> None:
    path = data_file(record(tmp_path / "bag", "mcap", numbers("/n", [START], "cdr")))
    path.write_bytes(path.read_bytes()[:60])
    config["source"] = {"path": str(path), "on_damage": "salvage"}
    finished = run(tmp_path, config)
    assert finished.code == 65, finished
    assert "bag.mcap: no message in it can be read" in finished.err
    assert "Traceback" not in finished.err
