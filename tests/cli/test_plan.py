"""`streamer plan`: what it says of the alignment is what a run's frames show."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import yaml

import streamer
from tests.bags import SECOND, START, joints, numbers, record
from tests.pipeline.driver import Finished, Run

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]


def plan(folder: Path, config: Config, *arguments: str) -> Finished:
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with Run(folder, "plan", "config.yaml", *arguments) as running:
        return running.end()


def sparse(folder: Path) -> Config:
    """A timeline of 40 ticks; joints that are missing from 1 s to 2 s, a gripper that speaks three times."""
    tens = range(START, START + 4 * SECOND, SECOND // 10)
    arm = [stamp + 3_000_000 for stamp in tens if not SECOND <= stamp - START < 2 * SECOND]
    grips = [START, START + SECOND // 2, START + 3 * SECOND]
    messages = [*numbers("/n", tens), *joints("/arm", arm), *numbers("/grip", grips)]
    record(folder / "sparse", "ros1", messages)
    return {
        "source": {"path": "sparse.bag"},
        "timeline": {"from": "n", "end": "timeline"},
        "streams": {
            "n": {"topic": "/n", "field": "data"},
            "arm": {"topic": "/arm", "field": "position", "tolerance": "20 ms", "gap": "150 ms", "missing": "skip"},
            "grip": {"topic": "/grip", "field": "data", "align": "previous", "missing": "hold"},
        },
    }


def test_a_shift_moves_the_stamps_that_it_shows(tmp_path: Path) -> None:
    config = sparse(tmp_path)
    config["streams"]["arm"]["shift"] = "-13 ms"  # 3 ms behind each tick become 10 ms before it
    finished = plan(tmp_path, config, "--json")
    assert finished.code == 0, finished
    (found,) = json.loads(finished.out)["recordings"]
    assert found["streams"]["arm"]["offset_ms"]["largest"] == 10.0


def test_spans_histograms_and_ticks_left_out_are_those_of_the_frames(tmp_path: Path) -> None:
    config = sparse(tmp_path)
    finished = plan(tmp_path, config, "--json")
    assert finished.code == 0, finished
    (found,) = json.loads(finished.out)["recordings"]
    assert (found["planned"], found["frames"]) == (40, 30)
    (span,) = found["left_out"]["missing arm"]["spans"]
    assert (span["first"], span["last"], span["begin_s"], span["end_s"]) == (10, 19, 1.0, 1.9)
    frames = list(streamer.open(tmp_path / "config.yaml").frames())
    for name, stream in found["streams"].items():
        samples = [sample for frame in frames if (sample := frame.samples[name]) is not None]
        offsets = [sample.offset / 1e6 for sample in samples]
        assert stream["offset_ms"]["largest"] == max(map(abs, offsets))
        edges = np.asarray(stream["histogram"]["edges_ms"])
        assert np.allclose([edges[0], edges[-1]], [min(offsets), max(offsets)], atol=0.51)
        assert sum(stream["histogram"]["counts"]) == len(samples)
        for kind, flag in (("held", "held"), ("gaps", "gap")):
            marked = [frame.number for frame in frames if (s := frame.samples[name]) and getattr(s, flag)]
            told = [n for span in stream[kind]["spans"] for n in range(span["first"], span["last"] + 1)]
            assert told == marked
            assert stream[kind]["frames"] == len(marked)
    assert found["streams"]["grip"]["held"]["frames"] == 27
    assert found["streams"]["arm"]["gaps"]["spans"]


def test_the_table_in_words_and_the_csv_have_every_frame(tmp_path: Path) -> None:
    config = sparse(tmp_path)
    finished = plan(tmp_path, config, "--csv", "frames.csv", "streams.arm.missing=none")
    assert finished.code == 0, finished
    assert "40 frames of 40 ticks, 0 left out" in finished.out
    assert "arm: no sample: 1.00–1.90 s (10)" in finished.out
    with (tmp_path / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    frames = list(streamer.open(tmp_path / "config.yaml", "streams.arm.missing=none").frames())
    assert [int(row["tick_ns"]) for row in rows] == [frame.tick for frame in frames]
    for row, frame in zip(rows, frames, strict=True):
        for name, sample in frame.samples.items():
            if sample is None:
                assert (row[f"{name} stamp_ns"], row[f"{name} flags"]) == ("", "none")
            else:
                assert int(row[f"{name} stamp_ns"]) == sample.stamp
                assert int(row[f"{name} offset_ns"]) == sample.offset
                assert ("held" in row[f"{name} flags"]) == sample.held


def test_the_picture_has_a_lane_a_stream_and_the_gap_where_it_is(tmp_path: Path) -> None:
    config = sparse(tmp_path)
    assert plan(tmp_path, config, "--plot", "few.png").code == 0
    del config["streams"]["grip"]
    assert plan(tmp_path, config, "--plot", "fewer.png").code == 0
    few, fewer = (cv2.imread(str(tmp_path / name)) for name in ("few.png", "fewer.png"))
    assert few is not None
    assert fewer is not None
    assert few.shape[0] > fewer.shape[0] + 80
    orange = np.abs(few.astype(int) - (0x2E, 0x57, 0xE4)).sum(axis=2) < 40  # of the ticks that are left out
    columns = np.flatnonzero(orange[: few.shape[0] // 4].any(axis=0)) / few.shape[1]
    assert 0.2 < columns.min() < columns.max() < 0.55
    refused = plan(tmp_path, config, "--plot", "few.xyz")
    assert refused.code == 73
    assert "few.xyz" in refused.err


def test_an_error_has_its_line(tmp_path: Path) -> None:
    config = sparse(tmp_path)
    config["streams"]["arm"]["topic"] = "/army"
    refused = plan(tmp_path, config)
    assert refused.code == 78
    assert "config.yaml:11: streams.arm.topic: sparse.bag has no '/army'; did you mean '/arm'" in refused.err
