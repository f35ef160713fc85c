"""The mean of a fast signal over each tick, and of how many messages it is, in every output that has a place for it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import yaml
import zarr

import streamer
from tests.bags import FLOAT, JOINTS, START, Message, encoded, record
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

MS = 10**6
TICKS = START + np.arange(8) * 100 * MS
RNG = np.random.default_rng(4)
STAMPS = np.unique(START + RNG.integers(-49 * MS, 749 * MS, 90))
STAMPS = STAMPS[np.abs(STAMPS - TICKS[5]) > 50 * MS]  # one tick has none
VALUES = RNG.normal(size=(len(STAMPS), 2))


def expected() -> list[list[int]]:
    """Say which messages each tick's mean is made of: every one counts for the tick that it is nearest to."""
    nearest = np.abs(STAMPS[:, None] - TICKS).argmin(axis=1)
    return [np.flatnonzero(nearest == n).tolist() for n in range(len(TICKS))]


def test_a_mean_comes_with_its_count(tmp_path: Path) -> None:
    messages = [Message("/clock", int(tick), encoded("cdr", FLOAT, data=0)) for tick in TICKS]
    messages += [
        Message("/fast", int(stamp), encoded("cdr", JOINTS, name=["a", "b"], position=value), JOINTS)
        for stamp, value in zip(STAMPS, VALUES, strict=True)
    ]
    path = record(tmp_path / "take", "mcap", sorted(messages, key=lambda message: message.stamp))
    fast: dict[str, Any] = {"topic": "/fast", "field": "position", "align": "mean", "missing": "none"}
    streams = {"clock": {"topic": "/clock"}, "fast": fast, "twice": {**fast, "map": [{"scale": 2}]}}
    values = {
        "source": {"path": str(path)},
        "timeline": {"from": "clock", "end": "timeline"},
        "chunk_size": 3,
        "streams": streams,
        "consumers": {
            name: {"options": {"out": "out"}, "recycle": {"chunks": 2}} for name in ("parquet", "zarr", "csv")
        },
    }
    finished = run(tmp_path / "a", values)
    assert finished.code == 0, finished
    chosen = expected()
    assert [len(numbers) for numbers in chosen][5] == 0
    means = [VALUES[numbers].mean(axis=0) if numbers else None for numbers in chosen]
    counts = [len(numbers) for numbers in chosen]

    rows = pq.read_table(tmp_path / "a/out/take.parquet")
    assert rows["fast.count"].to_pylist() == [count or None for count in counts]
    assert rows["twice.count"].to_pylist() == rows["fast.count"].to_pylist()
    assert "clock.count" not in rows.column_names
    for n, mean in enumerate(means):
        if mean is not None:
            np.testing.assert_allclose([rows["fast.a"][n].as_py(), rows["fast.b"][n].as_py()], mean, rtol=1e-12)
            np.testing.assert_allclose(rows["twice.b"][n].as_py(), 2 * mean[1], rtol=1e-12)
    group = zarr.open_group(tmp_path / "a/out/take.zarr", mode="r")
    assert np.asarray(group["fast/count"]).tolist() == counts
    table = list(csv.DictReader((tmp_path / "a/out/take.csv").read_text().splitlines()))
    assert [int(row["fast.count"] or 0) for row in table] == counts

    (tmp_path / "a/open.yaml").write_text(yaml.safe_dump({k: v for k, v in values.items() if k != "consumers"}))
    for chunk in streamer.open(tmp_path / "a/open.yaml").chunks():
        about = chunk.recording.streams
        assert (about["fast"].averaged, about["clock"].averaged) == (True, False)
        for frame in chunk:
            sample = frame.samples["fast"]
            assert (sample.count if sample else 0) == counts[frame.number]
