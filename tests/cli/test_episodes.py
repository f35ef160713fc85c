"""``streamer episodes``: of a configuration or a recording alone, as a list, a table and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.bags import Message, encoded, record
from tests.pipeline.driver import Finished, Run

S = 10**9
ORIGIN = 1_700_000_000 * S
SAID = [(1, "start: pick"), (3, "stop"), (4, "start: place"), (6, "abort"), (7, "start: place"), (9, "stop")]


def asked(folder: Path, *words: str) -> Finished:
    with Run(folder, *words) as running:
        return running.end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("episodes")
    kind, numbers = "std_msgs/msg/String", "std_msgs/msg/Float64"
    messages = [
        Message("/n", ORIGIN + n * S // 10, encoded("cdr", numbers, data=float(n)), numbers) for n in range(100)
    ]
    messages += [Message("/trial", ORIGIN + at * S, encoded("cdr", kind, data=text), kind) for at, text in SAID]
    record(found / "day", "mcap", sorted(messages, key=lambda message: message.stamp))
    record(found / "plain", "mcap", messages[:100])
    return found


def test_a_recording_alone_is_listed_with_the_setting_that_cuts_it_so(folder: Path) -> None:
    done = asked(folder, "episodes", "day", "--write", "trials.csv", "--plot", "day.png")
    assert done.code == 0, done
    assert "episodes: {from: {topic: /trial, start: start*, stop: stop, discard: abort, task: data}}" in done.out
    assert "day: 2 episodes, 4.0 s of 9.9 s" in done.out
    assert "at 4.000 s: an episode is discarded by 'abort'" in done.out
    assert "frames" not in done.out
    rows = (folder / "trials.csv").read_text().splitlines()
    assert [row.split(",")[2:5] for row in rows[1:]] == [
        ["1.000000000", "3.000000000", "pick"],
        ["7.000000000", "9.000000000", "place"],
    ]
    picture = cv2.imread(str(folder / "day.png"))
    assert picture is not None
    assert picture.shape[1] > 1500
    blue = np.all(np.abs(picture.astype(int) - (0x97, 0x6F, 0x2A)) < 3, axis=2).any(axis=0)  # BGR of an episode
    edges = np.flatnonzero(np.diff(blue.astype(int)))
    lengths = [edges[n + 1] - edges[n] for n in range(0, len(edges), 2)]
    assert max(lengths) > 200  # 2 of 10 seconds
    values = json.loads(asked(folder, "episodes", "day", "--json").out)["recordings"][0]
    assert values["suggested"]["from"]["topic"] == "/trial"
    assert [(p["at_s"], p["until_s"]) for p in values["problems"]] == [(4.0, 6.0)]


def test_a_recording_without_markers_and_a_configuration_without_cuts_are_told_what_to_write(folder: Path) -> None:
    done = asked(folder, "episodes", "plain")
    assert done.code == 65
    assert "no topic marks episodes: it has no String, Bool, Int or Joy" in done.err
    (folder / "none.yaml").write_text("source: {path: day}\nstreams: {n: {topic: /n}}\n")
    done = asked(folder, "episodes", "none.yaml")
    assert done.code == 78
    assert "nothing says where episodes begin and end" in done.err
    refused = asked(folder, "episodes", "day", "--plot", "day.xyz")
    assert refused.code == 73
    assert "day.xyz" in refused.err
