"""Many recordings → groups of those that one configuration fits, and what sets the groups apart."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from streamer.demo import Workload, make

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

WORK = Workload(cameras=1, width=64, height=48, hz=30, image="jpeg", joint_topics=1, joint_hz=60, seconds=0.5, seed=1)
MADE = {
    "a": WORK,
    "b": replace(WORK, seed=2, width=96),
    "c": replace(WORK, seed=3, seconds=0.8),
    "d": replace(WORK, seed=4, joint_topics=2),
    "e": replace(WORK, seed=5, joint_hz=120),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with recordings of three forms, one with another rate, and one that is cut off."""
    folder = tmp_path_factory.mktemp("many")
    for name, work in MADE.items():
        make(folder / f"{name}.bag", work)
    content = (folder / "a.bag").read_bytes()
    (folder / "z.bag").write_bytes(content[: len(content) // 2])
    return folder


def test_recordings_of_one_form_are_a_group_and_the_others_say_what_differs(folder: Path, commands: Command) -> None:
    told = commands(folder, "survey", "*.bag", "--json")
    assert told.code == 0, told
    found = json.loads(told.out)
    groups = [[r["path"].rpartition("/")[2] for r in group["recordings"]] for group in found["groups"]]
    assert groups == [["a.bag", "c.bag", "e.bag"], ["b.bag"], ["d.bag"]]
    assert [path.rpartition("/")[2] for path in found["unreadable"]] == ["z.bag"]
    first, wide, more = found["groups"]
    cameras = [s for s in first["streams"].values() if s["kind"] == "image"]
    assert [s["shape"] for s in cameras] == [[48, 64, 3]]
    assert [line for line in wide["differs"] if "array 48x96x3 uint8, not 48x64x3 uint8" in line]
    assert more["differs"] == ["with /joints_1"]
    (unusual,) = first["unusual"]
    assert "e.bag: /joints_0 has" in unusual
    assert yaml.safe_load(more["suggested_config"])["source"]["path"].endswith("d.bag")

    shown = commands(folder, "survey", ".")
    assert shown.code == 0, shown
    assert shown.out.startswith("5 recordings in 3 groups; 1 cannot be read\n\n1: 3 recordings, ")
    (advice,) = [line for line in shown.out.splitlines() if "group-3.yaml" in line]
    assert commands(folder, *advice.partition("streamer ")[2].split()).code == 0


def test_init_of_several_takes_those_that_are_as_the_first_and_says_why_not_the_others(
    folder: Path, commands: Command
) -> None:
    done = commands(folder, "init", "a.bag", "b.bag", "[cz].bag", "-o", "few.yaml")
    assert done.code == 0, done
    assert "for 2 of 4 recordings" in done.out
    assert "left out: b.bag: " in done.out
    assert "cannot be read: z.bag: " in done.out
    assert yaml.safe_load((folder / "few.yaml").read_text())["source"]["path"] == ["a.bag", "c.bag"]
    assert commands(folder, "check", "few.yaml").code == 0
    assert commands(folder, "init", "z.bag", "a.bag", "-o", "none.yaml").code == 65
    both = commands(folder, "info", "a.bag", "c.bag", "--json")
    assert [json.loads(line)["name"] for line in both.out.splitlines()] == ["a", "c"]
