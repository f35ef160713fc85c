"""Tables, opened by the tools that people open them with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from consumers.csv import Csv
from consumers.parquet import Parquet
from streamer.contract import Chunk, Frame, Part, Recording, Sample, StreamInfo
from streamer.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")

CHUNK = 4
START = 1_700_000_000_123_456_789  # a float64 cannot hold it
MS = 10**6
STAMPS = [START + n * 100 * MS + 1 for n in range(9)]
WITHOUT = (3, 8)  # the frames in which there is no grip and no mode
ARM = np.random.default_rng(1).normal(size=(9, 2))
GRIP = np.random.default_rng(2).normal(size=9).astype(np.float32)
MODE = np.array([2**60 + n for n in range(9)], np.int64)


def stream(name: str, dtype: str, names: Sequence[str], size: int | None = None, **how: Any) -> StreamInfo:
    shape = (len(names) if size is None else size,)
    return StreamInfo(name, f"/{name}", "x/msg/X", "vector", shape, np.dtype(dtype), names=tuple(names), **how)


STREAMS = {
    "arm": stream("arm", "f8", ("waist", "wrist, left"), unit="rad"),
    "grip": stream("grip", "f4", ("finger",)),
    "mode": stream("mode", "i8", ("state.id", "state.on")),
    "scan": stream("scan", "f4", ("ranges[0]", "ranges[1]", "ranges[2]")),
    "hits": stream("hits", "f4", (), 3, variable=True),
    "head": StreamInfo("head", "/head", "x/msg/X", "image", (2, 2, 3), np.dtype(np.uint8)),
}


def samples(n: int) -> dict[str, Sample | None]:
    def sample(value: Any, dtype: str) -> Sample:
        return Sample(np.asarray(value, dtype), STAMPS[n], 1, 4 if n == 2 else 0)

    there = n not in WITHOUT
    return {
        "arm": sample(ARM[n], "f8"),
        "grip": sample([GRIP[n]], "f4") if there else None,
        "mode": sample([MODE[n], n % 2], "i8") if there else None,
        "scan": sample([n, n + 1, np.inf], "f4"),
        "hits": sample(range(n % 3), "f4"),
        "head": sample(np.zeros((2, 2, 3)), "u1"),
    }


def write(
    consumer: Parquet | Csv, name: str = "take", frames: int = 9, streams: dict[str, StreamInfo] | None = None
) -> None:
    shown = STREAMS if streams is None else streams
    recording = Recording(name, f"/{name}.bag", frames, CHUNK, 10.0, START, STAMPS[-1], shown, {"fingerprint": name})
    consumer.open(recording, None)
    for first in range(0, frames, CHUNK):
        numbers = range(first, min(first + CHUNK, frames))
        for n in numbers:
            all_of_it = samples(n)
            consumer.on_frame(Frame(n, n, STAMPS[n] - 1, {key: all_of_it.get(key) for key in shown}))
        consumer.on_chunk(Chunk(first // CHUNK, first, numbers[-1], len(numbers)))
    consumer.close(recording)


def expected(values: Any, *, missing: Any = None) -> list[Any]:
    return [missing if n in WITHOUT else value for n, value in enumerate(values)]


def test_pandas_polars_and_duckdb_read_named_columns_of_the_right_types(tmp_path: Path) -> None:
    write(Parquet(str(tmp_path)))
    path = str(tmp_path / "take.parquet")

    table = pd.read_parquet(path)
    types = {name: str(table[name].dtype) for name in table.columns}
    assert types["tick"] == types["grip.stamp"] == "datetime64[ns]"
    assert (types["grip.offset"], types["grip.gap"], types["frame"]) == ("timedelta64[ns]", "bool", "int64")
    assert (types["arm.waist"], types["arm.wrist, left"], types["grip"]) == ("float64", "float64", "float32")
    assert types["mode.state.id"] == "Int64"
    assert [name for name in table.columns if name.startswith("head")] == [
        f"head.{key}" for key in ("stamp", "offset", "held", "interpolated", "gap")
    ]
    stamps = [None if pd.isna(stamp) else stamp.value for stamp in table["grip.stamp"]]
    assert stamps == expected(STAMPS)
    ids = [None if pd.isna(value) else int(value) for value in table["mode.state.id"]]
    assert ids == expected(MODE.tolist())  # as float64 they would all be one number
    assert np.array_equal(table["arm.wrist, left"], ARM[:, 1])
    assert table["grip"].isna().tolist() == [n in WITHOUT for n in range(9)]
    assert table["arm.gap"].tolist() == [n == 2 for n in range(9)]
    assert [list(value) for value in table["scan"]] == [[n, n + 1, np.inf] for n in range(9)]
    assert [list(value) for value in table["hits"]] == [list(range(n % 3)) for n in range(9)]

    frame = pl.read_parquet(path)
    assert frame.schema["tick"] == frame.schema["arm.stamp"] == pl.Datetime("ns")
    assert (frame.schema["mode.state.id"], frame.schema["grip"]) == (pl.Int64, pl.Float32)
    assert frame["grip.stamp"].cast(pl.Int64).to_list() == expected(STAMPS)
    assert frame["mode.state.id"].to_list() == expected(MODE.tolist())

    found = duckdb.sql(
        f"""select epoch_ns(tick), "mode.state.id", "arm.waist", typeof(tick) from '{path}'"""  # noqa: S608
    ).fetchall()
    assert [row[0] for row in found] == [stamp - 1 for stamp in STAMPS]
    assert [row[1] for row in found] == expected(MODE.tolist())
    assert [row[2] for row in found] == ARM[:, 0].tolist()
    assert {row[3] for row in found} == {"TIMESTAMP_NS"}


def test_in_the_layout_of_lists_every_vector_is_one_with_its_names_beside(tmp_path: Path) -> None:
    write(Parquet(str(tmp_path), layout="list"))
    table = pq.read_table(tmp_path / "take.parquet")
    assert table["arm"].to_pylist() == ARM.tolist()
    assert table["mode"].to_pylist() == expected([[int(value), n % 2] for n, value in enumerate(MODE)])
    about = table.schema.field("arm").metadata
    assert (json.loads(about[b"names"]), about[b"unit"]) == (["waist", "wrist, left"], b"rad")


def test_a_csv_file_gives_the_same_numbers_back(tmp_path: Path) -> None:
    write(Csv(str(tmp_path)))
    times = ["tick", "grip.stamp"]
    table = pd.read_csv(tmp_path / "take.csv", parse_dates=times, dtype={"mode.state.id": "Int64"})
    assert [None if pd.isna(stamp) else stamp.value for stamp in table["grip.stamp"]] == expected(STAMPS)
    assert np.allclose(
        table["arm.wrist, left"], ARM[:, 1], rtol=1e-15, atol=0
    )  # pandas reads to the last digit but one
    assert np.array_equal(table["grip"].astype("f4"), expected(GRIP, missing=np.nan), equal_nan=True)
    assert [None if pd.isna(v) else int(v) for v in table["mode.state.id"]] == expected(MODE.tolist())
    assert table["scan.2"].tolist() == [np.inf] * 9
    assert [json.loads(text) for text in table["hits"]] == [list(range(n % 3)) for n in range(9)]
    assert table["arm.gap"].tolist() == [n == 2 for n in range(9)]
    frame = pl.read_csv(tmp_path / "take.csv")
    assert frame["tick"].str.to_datetime(time_unit="ns").cast(pl.Int64).to_list() == [stamp - 1 for stamp in STAMPS]
    assert frame["mode.state.id"].to_list() == expected(MODE.tolist())
    found = duckdb.sql(f"""select "arm.waist", "arm.gap", grip from '{tmp_path / "take.csv"}'""").fetchall()  # noqa: S608
    assert [row[0] for row in found] == ARM[:, 0].tolist()
    assert [row[1] for row in found] == [n == 2 for n in range(9)]
    origin = json.loads((tmp_path / "take.csv.json").read_text())["provenance"]
    assert (origin["fingerprint"], origin["plan"]["streams"]["arm"]["unit"]) == ("take", "rad")


@pytest.mark.parametrize("layout", ["wide", "list"])
def test_a_recording_that_lacks_a_topic_or_has_no_frame_gets_the_columns_of_the_others(
    tmp_path: Path, layout: str
) -> None:
    empty = {  # what is known of streams without a message
        name: StreamInfo(name, s.topic, s.msgtype, s.kind, (0,), np.dtype("f8")) for name, s in STREAMS.items()
    }
    lacking = STREAMS | {"mode": empty["mode"]}
    write(Parquet(str(tmp_path), layout=layout), "a", 5, lacking)
    write(Parquet(str(tmp_path), layout=layout), "b", 0, empty)
    write(Parquet(str(tmp_path), layout=layout), "c")
    parts = [Part(name, f"/{name}.bag", {}) for name in "abc"]
    Parquet(str(tmp_path), layout=layout).merge(parts)
    schemas = [pq.read_schema(tmp_path / f"{name}.parquet") for name in "abc"]
    assert [s.equals(schemas[2], check_metadata=False) for s in schemas] == [True, True, True]
    assert [json.loads(s.metadata[b"provenance"])["fingerprint"] for s in schemas] == ["a", "b", "c"]
    column = "mode" if layout == "list" else "mode.state.id"
    together = pl.scan_parquet(tmp_path / "*.parquet").collect()
    assert together.height == 14
    assert together[column].null_count() == 5 + len(WITHOUT)
    if layout == "wide":
        assert str(pd.read_parquet(tmp_path / "a.parquet")[column].dtype) == "Int64"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    Parquet(str(tmp_path), layout=layout).merge(parts)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_columns_of_two_types_are_not_put_together(tmp_path: Path) -> None:
    write(Parquet(str(tmp_path)), "a", 5, {"arm": STREAMS["arm"]})
    write(Parquet(str(tmp_path)), "b", 5, {"arm": stream("arm", "f4", ("waist", "wrist, left"))})
    with pytest.raises(OutputError, match=r"'arm\.waist' is float, in others of this folder double"):
        Parquet(str(tmp_path)).merge([Part(name, "", {}) for name in "ab"])


@pytest.mark.parametrize("names", [("waist", "gap"), ("waist", "waist")])
def test_two_columns_of_one_name_are_refused_before_anything_is_written(tmp_path: Path, names: Sequence[str]) -> None:
    streams = {"arm": stream("arm", "f8", names)}
    with pytest.raises(ConfigError, match=rf"two columns would be called 'arm\.{names[1]}'"):
        write(Parquet(str(tmp_path / "out")), "a", 0, streams)
    assert not (tmp_path / "out").exists()
    write(Parquet(str(tmp_path / "out"), layout="list"), "a", 2, streams)
