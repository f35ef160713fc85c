"""Zarr groups, opened as people open them: by xarray, and as a replay buffer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from consumers.zarr import Zarr
from streamer.contract import Chunk, Consumer, Frame, Outlook, Part, Recording, Sample, StreamInfo
from streamer.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 4
START = 1_700_000_000_123_456_789
TICKS = START + np.arange(10) * 10**8
POINT = np.dtype([("x", "<f4"), ("ring", "<u2")])
RNG = np.random.default_rng(5)
ARM = RNG.normal(size=(10, 2))
GRIP = RNG.normal(size=(10, 1)).astype(np.float32)
HEAD = RNG.integers(0, 255, (10, 4, 6, 3), np.uint8)
WITHOUT = 3  # the frame in which there are no points and no count

STREAMS = {
    "arm": StreamInfo("arm", "/arm", "x/msg/X", "vector", (2,), np.dtype("f8"), names=("waist", "wrist"), unit="rad"),
    "grip": StreamInfo("grip", "/grip", "x/msg/X", "vector", (1,), np.dtype("f4"), names=("finger",)),
    "count": StreamInfo("count", "/count", "x/msg/X", "vector", (1,), np.dtype("i4"), names=("data",)),
    "head": StreamInfo("head", "/head", "x/msg/X", "image", (4, 6, 3), np.dtype("u1")),
    "cloud": StreamInfo("cloud", "/cloud", "x/msg/X", "points", (5,), POINT, variable=True),
}


def points(n: int) -> Any:
    cloud = np.zeros(n % 6, POINT)
    cloud["x"], cloud["ring"] = n, np.arange(len(cloud))
    return cloud


def samples(n: int) -> dict[str, Sample | None]:
    values = {"arm": ARM[n], "grip": GRIP[n], "count": np.array([n], "i4"), "head": HEAD[n], "cloud": points(n)}
    found: dict[str, Sample | None] = {
        k: Sample(v, int(TICKS[n]) + 7, 7, 4 if n == 2 else 0) for k, v in values.items()
    }
    return found | ({"cloud": None, "count": None} if n == WITHOUT else {})


def recording(name: str, frames: int, streams: dict[str, StreamInfo], *, part: bool = False) -> Recording:
    origin = {"fingerprint": name}
    return Recording(name, f"/{name}.bag", frames, CHUNK, 10.0, START, int(TICKS[-1]), streams, origin, part)


def feed(
    consumer: Consumer,
    name: str = "take",
    frames: int = 10,
    streams: dict[str, StreamInfo] = STREAMS,
    *,
    part: bool = False,
) -> None:
    """Lead a consumer through a recording as the worker does."""
    about = recording(name, frames, streams, part=part)
    consumer.open(about, None)
    for first in range(0, frames, CHUNK):
        numbers = range(first, min(first + CHUNK, frames))
        for n in numbers:
            consumer.on_frame(Frame(n, n, int(TICKS[n]), {k: v for k, v in samples(n).items() if k in streams}))
        consumer.on_chunk(Chunk(first // CHUNK, first, numbers[-1], len(numbers)))
    consumer.close(about)


def test_xarray_opens_it_with_ticks_as_the_coordinate_and_knows_what_is_missing(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    feed(Zarr(str(tmp_path)))
    with xr.open_datatree(tmp_path / "take.zarr", engine="zarr") as tree:
        arm = tree["arm"].to_dataset()
        assert arm["tick"].dtype == arm["stamp"].dtype == np.dtype("datetime64[ns]")
        assert np.array_equal(arm["tick"].to_numpy().view("i8"), TICKS)  # to the nanosecond
        assert arm["value"].dims == ("tick", "element")
        assert arm["value"].attrs["units"] == "rad"
        assert "units" not in tree["grip/value"].attrs  # nobody knows it
        near = arm["value"].sel(tick=np.datetime64(int(TICKS[6]) + 1000, "ns"), method="nearest")
        assert np.array_equal(near, ARM[6])
        assert tree["head/value"].dims == ("tick", "y", "x", "channel")
        assert np.array_equal(tree["head/value"], HEAD)
        count = tree["count"].to_dataset()
        assert count["valid"].to_numpy().tolist() == [n != WITHOUT for n in range(10)]
        assert np.isnat(count["stamp"].to_numpy()).tolist() == [n == WITHOUT for n in range(10)]
        assert count["value"].where(count["valid"]).mean() == np.mean([n for n in range(10) if n != WITHOUT])
        x = tree["cloud/value/x"]
        assert x.dims == ("tick", "point")
        lengths = tree["cloud/length"].to_numpy()
        assert lengths.tolist() == [0 if n == WITHOUT else n % 6 for n in range(10)]
        assert np.array_equal(x.count("point"), lengths)  # beyond them it is NaN
        assert np.array_equal(tree["cloud/value/ring"][5], np.arange(5))
    whole = json.loads((tmp_path / "take.zarr" / "zarr.json").read_text())
    assert {"arm/value", "cloud/value/x", "tick"} <= set(whole["consolidated_metadata"]["metadata"])


def buffer(out: Path) -> Zarr:
    features: dict[str, str | list[str]] = {"img": "head", "state": ["arm", "grip"], "action": "arm"}
    return Zarr(str(out), layout="replay_buffer", features=features)


def test_a_replay_buffer_has_the_episodes_of_all_recordings_one_behind_the_other(tmp_path: Path) -> None:
    for name, frames in (("b", 10), ("none", 0), ("a", 6)):
        feed(buffer(tmp_path), name, frames)
    parts = [Part(name, "", {}) for name in ("a", "none", "b")]
    buffer(tmp_path).merge(parts)
    buffer(tmp_path).merge(parts)  # it may be repeated
    root: Any = zarr.open_group(tmp_path / "replay_buffer.zarr", mode="r")
    assert root.metadata.zarr_format == 2
    ends = root["meta/episode_ends"][:]
    assert (ends.tolist(), ends.dtype) == ([6, 16], np.dtype("i8"))
    state = np.concatenate([ARM, GRIP], axis=1)
    assert np.array_equal(root["data/state"][:], np.concatenate([state[:6], state]))
    assert np.array_equal(root["data/img"][:], np.concatenate([HEAD[:6], HEAD]))
    assert root["data/state"].attrs["names"] == ["arm.waist", "arm.wrist", "grip.finger"]
    assert [one["fingerprint"] for one in root.attrs["provenance"]] == ["a", "none", "b"]
    alone: Any = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert alone["meta/episode_ends"][:].tolist() == [6]


def test_a_replay_buffer_refuses_what_it_cannot_be_without_or_cannot_hold(tmp_path: Path) -> None:
    def check(streams: dict[str, StreamInfo], features: Any, without: dict[str, int]) -> None:
        outlook = Outlook(recording("take", 10, streams), TICKS, np.arange(10), without)
        Zarr(str(tmp_path / "out"), layout="replay_buffer", features=features).check(outlook)

    check(STREAMS, {"action": "count"}, {})
    for features, words in (
        ({"action": "count"}, r"1 of 10 frames have no sample, and 'action' cannot be without"),
        ({"action": "arms"}, r"there is no stream 'arms'; this consumer is shown: arm, grip"),
        ({"img": "cloud"}, r"'cloud' has another length in every frame"),
        ({"state": ["arm", "head"]}, r"only vectors can be put together, and these are image, vector"),
    ):
        with pytest.raises(ConfigError, match=words):
            check(STREAMS, features, {"count": 1})
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="frame 3 has no sample"):
        feed(Zarr(str(tmp_path / "gap"), layout="replay_buffer", features={"action": "count"}))
    feed(buffer(tmp_path), "a")
    turned = STREAMS | {
        "arm": StreamInfo(*("arm", "/arm", "x", "vector", (2,), np.dtype("f8")), names=("wrist", "waist"))
    }
    with pytest.raises(OutputError, match=r"z and a cannot be put together, 'action' has other elements"):
        feed(buffer(tmp_path), "z", 10, turned)
