"""Verbs that take a configuration take recordings, too: they use the configuration that `init` would write."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from rosbags.highlevel import AnyReader

from streamer.demo import Workload, make
from tests.bags import SECOND, START, numbers, record

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

WORK = Workload(cameras=1, width=64, height=48, hz=30, image="jpeg", joint_topics=1, joint_hz=100, seconds=1, seed=5)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("bag") / "run [1].bag"
    make(path, WORK)
    return path


def pictures(path: Path) -> int:
    """Count the pictures as rosbags does."""
    with AnyReader([path]) as reader:
        return sum(c.msgcount for c in reader.connections if "Image" in c.msgtype)


def test_each_way_to_name_a_recording_is_checked_planned_and_shown_as_it_is(
    commands: Command, tmp_path: Path, bag: Path
) -> None:
    shutil.copy(bag, tmp_path / bag.name)
    for words in (["run [1].bag"], ["*.bag"], ["."], [str(bag)]):
        checked = commands(tmp_path, "check", *words, "--json")
        assert checked.code == 0, (words, checked)
        (found,) = json.loads(checked.out)["recordings"]
        assert abs(found["frames"] - pictures(bag)) <= 1  # a tick before the joints begin has no sample
        planned = commands(tmp_path, "plan", *words, "--json")
        assert planned.code == 0, (words, planned)
        assert [one["frames"] for one in json.loads(planned.out)["recordings"]] == [found["frames"]]
    shown = commands(tmp_path, "show", "run [1].bag", "--frame", "3", "-o", "f.png")
    assert shown.code == 0, shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.png", bag.name]


def test_settings_behind_recordings_override_what_is_chosen(commands: Command, tmp_path: Path, bag: Path) -> None:
    shutil.copy(bag, tmp_path / "a=1.bag")
    checked = commands(tmp_path, "check", "a=1.bag", "timeline.rate=10 Hz", "chunk_size=3", "--json")
    assert checked.code == 0, checked
    (found,) = json.loads(checked.out)["recordings"]
    assert found["frames"] in (10, 11)
    assert found["chunks"] == -(-found["frames"] // 3)
    wrong = commands(tmp_path, "check", "a=1.bag", "timelin.rate=10 Hz", "chunk_size=many")
    assert wrong.code == 78, wrong
    assert "the command line: timelin: unknown key; did you mean 'timeline'?" in wrong.out
    assert "chunk_size: should be a whole number, it is 'many'" in wrong.out


def test_of_several_recordings_it_is_told_which_does_not_fit_the_first(
    commands: Command, tmp_path: Path, bag: Path
) -> None:
    shutil.copy(bag, tmp_path / "a.bag")
    record(tmp_path / "b", "ros1", numbers("/other", range(START, START + SECOND, SECOND // 10)))
    for verb, told in (("check", "out"), ("plan", "err")):
        finished = commands(tmp_path, verb, "a.bag", "b.bag")
        assert finished.code == 78, (verb, finished)
        text = getattr(finished, told)
        assert "b.bag" in text
        assert "/camera_0/image_raw/compressed" in text


def test_what_cannot_be_read_is_one_error(commands: Command, tmp_path: Path) -> None:
    (tmp_path / "cut.bag").write_bytes(b"#ROSBAG V2.0\n")
    for words, code, told in (
        (["no.bag"], 65, "no.bag: no such file"),
        (["cut.bag"], 65, "cut.bag"),
        (["*.mcap"], 65, "no recording matches '*.mcap'"),
        (["demo://table"], 78, "there is 'demo://tabletop'"),
        (["config.yaml"], 78, "the configuration cannot be read"),
    ):
        for verb in ("check", "plan"):
            finished = commands(tmp_path, verb, *words)
            assert finished.code == code, (verb, words, finished)
            assert told in finished.err, (verb, words, finished)
            assert len(finished.err.splitlines()) == 1
