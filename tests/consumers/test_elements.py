"""Names of elements and vectors whose length varies → what every consumer writes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from consumers.csv import Csv
from consumers.lerobot import LeRobot
from consumers.parquet import Parquet
from consumers.plot import add_to_bins, new_bins
from consumers.preview import Preview
from consumers.sheet import draw
from consumers.stats import Stats
from consumers.sums import Sums
from consumers.zarr import Zarr
from streamer.contract import Chunk, Consumer, Frame, Part, Recording, Sample, StreamInfo
from streamer.errors import ConfigError, OutputError
from streamer.transport import pack_state, unpack_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CHUNK = 4
TICK = 10**8
ARM = ("waist", "shoulder")
GRIP = ("left", "waist")
POINT = np.dtype([("x", "<f4"), ("ring", "<u2")])


def info(name: str, names: Sequence[str] = (), size: int | None = None, **how: Any) -> StreamInfo:
    shape = (len(names) if size is None else size,)
    return StreamInfo(
        name, f"/{name}", "sensor_msgs/msg/JointState", "vector", shape, np.dtype("f8"), names=tuple(names), **how
    )


def feed(consumer: Consumer, streams: Sequence[StreamInfo], rows: Sequence[Sequence[Any]], name: str = "try") -> Any:
    """Show a consumer frames of these values, a stream each; None is no sample."""
    by_name = {stream.name: stream for stream in streams}
    recording = Recording(
        name, f"/{name}.bag", len(rows), CHUNK, 10.0, 0, (len(rows) - 1) * TICK, by_name, {"fingerprint": name}
    )
    state: dict[str, Any] | None = None
    consumer.open(recording, None)
    for first in range(0, len(rows), CHUNK):
        part = rows[first : first + CHUNK]
        for n, values in enumerate(part, first):
            samples = {
                stream.name: None if value is None else Sample(np.asarray(value, stream.dtype), n * TICK, 0, 0)
                for stream, value in zip(streams, values, strict=True)
            }
            consumer.on_frame(Frame(n, n, n * TICK, samples))
        chunk = Chunk(first // CHUNK, first, first + len(part) - 1, len(part))
        state = unpack_state(pack_state(consumer.on_chunk(chunk)))
    consumer.close(recording)
    return state


SWEEPS = [[1.0, 2.0], [], [3.0], None, [4.0, 5.0, 6.0], [7.0], [float("nan"), 8.0]]


def sweep(names: Sequence[str] = ()) -> StreamInfo:
    return info("sweep", names, size=5, variable=True)


# Lengths that vary


def test_parquet_has_lists_of_their_own_length(tmp_path: Path) -> None:
    feed(Parquet(str(tmp_path)), [sweep()], [[row] for row in SWEEPS])
    found = pq.read_table(tmp_path / "try.parquet")["sweep"].to_pylist()
    assert str(found) == str(SWEEPS)


def test_zarr_fills_up_and_says_how_long_each_is(tmp_path: Path) -> None:
    feed(Zarr(str(tmp_path)), [sweep()], [[row] for row in SWEEPS])
    group = zarr.open_group(tmp_path / "try.zarr", mode="r")
    lengths = np.asarray(group["sweep/length"])
    values = np.asarray(group["sweep/value"])
    assert lengths.tolist() == [0 if row is None else len(row) for row in SWEEPS]
    for row, value, length in zip(SWEEPS, values, lengths, strict=True):
        assert np.array_equal(value[:length], row or [], equal_nan=True)
        assert np.isnan(value[length:]).all()
    assert np.asarray(group["sweep/flags"])[3] == 128


def test_lerobot_fills_up_with_zeros_and_has_a_feature_of_lengths(tmp_path: Path) -> None:
    rows = [[row or [0.5], [1.0, 2.0]] for row in SWEEPS[:6]]
    consumer = LeRobot(str(tmp_path / "set"), {"observation.state": ["sweep", "arm"]}, task="t")
    feed(consumer, [sweep(), info("arm", ARM)], rows)
    features = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    assert features["observation.state"]["shape"] == [7]
    assert features["observation.state"]["names"] == [*(f"sweep_{n}" for n in range(5)), *ARM]
    assert features["length.observation.state"] == {"dtype": "int64", "shape": [1], "names": ["sweep"]}
    data = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    assert data["length.observation.state"].to_pylist() == [len(row[0]) for row in rows]
    for found, (short, arm) in zip(data["observation.state"].to_pylist(), rows, strict=True):
        assert found == [*short, *[0.0] * (5 - len(short)), *arm]
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    assert stats["length.observation.state"]["max"] == [3]


def test_stats_have_every_column_that_a_sample_reaches(tmp_path: Path) -> None:
    feed(Stats(str(tmp_path)), [sweep()], [[row] for row in SWEEPS])
    found = json.loads((tmp_path / "try.stats.json").read_text())["streams"]["sweep"]
    columns = [np.array([row[n] for row in SWEEPS if row and len(row) > n and np.isfinite(row[n])]) for n in range(3)]
    assert (found["count"], found["none"]) == (6, 1)
    assert found["values"] == [len(column) for column in columns]
    for key, of in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        assert np.allclose(found[key], [of(column) for column in columns]), key


def test_the_plot_and_the_preview_leave_out_what_a_short_sample_lacks(tmp_path: Path) -> None:
    bins = new_bins(sweep(), 3)
    add_to_bins(bins, 0.0, Sample(np.array([1.0, 2.0]), 0, 0, 0))
    assert [curve[0] for curve in bins["values"]] == [1.0, 2.0, None, None, None]
    feed(Stats(str(tmp_path), plot=True), [sweep()], [[row] for row in SWEEPS])
    feed(Preview(str(tmp_path)), [sweep()], [[row] for row in SWEEPS])
    assert (tmp_path / "try.preview.png").exists()


# Names


def test_parquet_names_the_elements_in_the_metadata_of_their_field(tmp_path: Path) -> None:
    feed(
        Parquet(str(tmp_path), layout="list"), [info("arm", ARM, unit="rad"), info("bare", size=1)], [[[1, 2], [3]]] * 3
    )
    schema = pq.read_schema(tmp_path / "try.parquet")
    about = schema.field("arm").metadata
    assert (json.loads(about[b"names"]), about[b"unit"]) == (list(ARM), b"rad")
    assert b"names" not in (schema.field("bare").metadata or {})


def test_zarr_stats_and_lerobot_name_the_elements(tmp_path: Path) -> None:
    streams = [info("arm", ARM, unit="rad"), info("grip", GRIP)]
    rows = [[[n, n + 1], [n, -n]] for n in range(5)]
    feed(Zarr(str(tmp_path)), streams, rows)
    about = dict(zarr.open_group(tmp_path / "try.zarr", mode="r")["arm"].attrs)
    assert (about["names"], about["unit"]) == (list(ARM), "rad")
    feed(Stats(str(tmp_path)), streams, rows)
    found = json.loads((tmp_path / "try.stats.json").read_text())["streams"]
    assert (found["arm"]["columns"], found["arm"]["unit"]) == (list(ARM), "rad")
    assert found["grip"]["columns"] == list(GRIP)
    feed(LeRobot(str(tmp_path / "set"), {"observation.state": ["arm", "grip"]}, task="t"), streams, rows)
    features = json.loads((tmp_path / "set/meta/info.json").read_text())["features"]
    assert features["observation.state"]["names"] == ["arm.waist", "shoulder", "left", "grip.waist"]


def test_the_preview_writes_the_names_of_its_curves() -> None:
    def sheet(names: Sequence[str]) -> bytes:
        streams = {"arm": info("arm", names, size=2)}
        recording = Recording("try", "/try.bag", 2, 2, 10.0, 0, TICK, streams)
        share: dict[str, NDArray[Any]] = {
            "tick 0": np.array(0),
            "curve arm": np.array([[0, 0, 1.0, 2.0], [1, 0, 2.0, 3.0]]),
            "offset arm": np.array([[0, 0, 0.0]]),
        }
        return draw(recording, [share], 100)

    import cv2

    bare, named = (cv2.imdecode(np.frombuffer(sheet(n), np.uint8), 1) for n in ((), ARM))
    assert bare is not None
    assert named is not None
    assert named.shape[0] > bare.shape[0]
    label = named.shape[0] - bare.shape[0]
    assert (named != 255).sum() > (bare != 255).sum() + label


MAKERS: dict[str, Callable[[Path], Consumer]] = {
    "parquet": lambda out: Parquet(str(out)),
    "parquet-lists": lambda out: Parquet(str(out), layout="list"),
    "csv": lambda out: Csv(str(out)),
    "zarr": lambda out: Zarr(str(out)),
    "lerobot": lambda out: LeRobot(str(out), {"action": "arm"}, task="t"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_recording_with_other_elements_is_refused_with_the_difference(tmp_path: Path, name: str) -> None:
    rows = [[[1.0, 2.0]]] * 5
    feed(MAKERS[name](tmp_path), [info("arm", ARM)], rows, "first")
    feed(MAKERS[name](tmp_path), [info("arm", ARM)], rows, "second")
    words = r"\[shoulder, waist\] instead of \[waist, shoulder\].*elements"
    with pytest.raises(ConfigError, match=words):
        feed(MAKERS[name](tmp_path), [info("arm", ARM[::-1])], rows, "third")


@pytest.mark.parametrize("name", ["parquet", "parquet-lists", "csv", "zarr"])
def test_recordings_with_other_elements_are_not_put_together(tmp_path: Path, name: str) -> None:
    for part, names in (("a", ARM), ("b", ARM[::-1])):
        feed(MAKERS[name](tmp_path / part), [info("arm", names)], [[[1.0, 2.0]]] * 2, part)
        for path in (tmp_path / part).iterdir():
            path.rename(tmp_path / path.name)
    with pytest.raises(OutputError, match=r"b and a cannot be put together, 'arm' has other elements: \[shoulder"):
        MAKERS[name](tmp_path).merge([Part("a", "/a.bag", {}), Part("b", "/b.bag", {})])


@pytest.mark.parametrize("name", ["parquet", "zarr"])
def test_vectors_that_are_only_numbered_may_have_other_lengths(tmp_path: Path, name: str) -> None:
    for part, size in (("a", 2), ("b", 3)):
        names = [f"ranges[{n}]" for n in range(size)]
        feed(MAKERS[name](tmp_path), [info("scan", names)], [[np.arange(size)]] * 2, part)


# Sums


@pytest.mark.parametrize("shape", [(7,), (5, 6), (4, 5, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_sums_are_those_of_all_values_at_once(shape: tuple[int, ...], dtype: str) -> None:
    random = np.random.default_rng(1)
    values = (random.normal(size=(50, *shape)) * 40 + 100).astype(dtype)
    if values.dtype.kind == "f":
        values[3] = np.nan
        values[4].flat[0] = np.inf
    sums = Sums(None)
    for n, value in enumerate(values):
        sums.add(value)
        if n % 9 == 0:
            sums = Sums(unpack_state(pack_state({"s": sums.state()}))["s"])  # type: ignore[index]
    columns = values.reshape(-1, shape[-1] if len(shape) != 2 else 1).astype(np.float64)
    kept = [column[np.isfinite(column)] for column in columns.T]
    found = sums.summary()
    assert found["values"] == [len(column) for column in kept]
    for key, of in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        assert np.allclose(found[key], [of(column) for column in kept], rtol=1e-9), key


def test_sums_of_points_are_by_field() -> None:
    random = np.random.default_rng(2)
    clouds = [np.empty(n, POINT) for n in (3, 0, 5)]
    for cloud in clouds:
        cloud["x"], cloud["ring"] = random.normal(size=len(cloud)), random.integers(0, 99, len(cloud))
    sums = Sums(None)
    for cloud in clouds:
        sums.add(cloud)
    whole = np.concatenate(clouds)
    found = sums.summary()
    assert found["values"] == [8, 8]
    assert np.allclose(found["mean"], [whole["x"].mean(), whole["ring"].mean()])
    assert np.allclose(found["std"], [whole["x"].std(), whole["ring"].std()])


def test_sums_without_a_value_say_none() -> None:
    sums = Sums(None)
    sums.add(np.array([np.nan, 1.0]))
    assert sums.summary() == {
        "values": [0, 1], "min": [None, 1.0], "max": [None, 1.0], "mean": [None, 1.0], "std": [None, 0.0],
    }  # fmt: skip


def test_many_large_vectors_are_summed_up_before_they_take_memory() -> None:
    sums = Sums(None)
    for n in range(30):
        sums.add(np.full(100_000, float(n)))
    assert sum(array.nbytes for array in sums._waiting) < 5 * 2**20  # noqa: SLF001 - what is kept is the promise
    assert sums.summary()["mean"][:2] == [14.5, 14.5]
