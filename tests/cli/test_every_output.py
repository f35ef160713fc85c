"""Every recording × every output, by `streamer convert` alone: its users' tool opens it, or it is refused rightly.

The quick tier takes a selection; `pytest -m slow` all of it.
"""

from __future__ import annotations

import csv
import json
from itertools import product
from typing import TYPE_CHECKING, Any

import av
import cv2
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from mcap.reader import make_reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Command

FRAMES = {  # that `streamer convert` makes; by hand: seconds times the rate of the timeline
    "so101_wrist.bag": 382, "kuka.bag": 411, "gpsnav.db3": 1243, "nav2_turtlebot.mcap": 974, "ros_numpy.bag": 1,
    "example.bag": 217, "example-lz4.bag": 217, "example-bz2.bag": 217,
}  # fmt: skip
CAMERAS, CLOUDS = {"so101_wrist.bag", "ros_numpy.bag"}, {"ros_numpy.bag"}
ARMS = {"so101_wrist.bag", "kuka.bag"}  # with joint positions; without them nobody knows what the state is


def lerobot(folder: Path) -> int:
    info: dict[str, Any] = json.loads((folder / "meta/info.json").read_text())
    rows: int = sum(pq.read_table(path).num_rows for path in folder.glob("data/*/*.parquet"))
    assert info["total_frames"] == rows
    for path in folder.glob("videos/*/*/*.mp4"):
        assert pictures(path) == rows
    return rows


def pictures(path: Path) -> int:
    with av.open(str(path)) as video:
        return sum(1 for _ in video.decode(video=0))


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def messages(folder: Path) -> int:
    with only(folder, "*.mcap").open("rb") as file:
        counts: dict[str, int] = {}
        for _, channel, _ in make_reader(file).iter_messages():
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
    return max(counts.values())


def lines(folder: Path) -> int:
    with next(folder.rglob("*.csv")).open() as file:
        return sum(1 for _ in csv.DictReader(file))


def first_of_hdf5(folder: Path) -> int:
    with h5py.File(folder / "episode_0.hdf5") as file:
        assert len(file["/observations/qpos"]) == len(file["/action"])
        return len(file["/action"])


def arrays(folder: Path) -> int:
    group: Any = zarr.open_group(only(folder, "*.zarr"), mode="r")
    return int(group["tick"].shape[0])


def files(folder: Path) -> int:
    found = [*folder.rglob("*.jpg"), *folder.rglob("*.png")]
    assert all(cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None for path in found[:5])
    return len({path.stem for path in found})


def clouds(folder: Path) -> int:
    found = list(folder.rglob("*.npz"))
    assert all({"x", "y", "z"} <= set(np.load(path).files) for path in found)
    return len(found)


def sheet(folder: Path) -> int:
    assert cv2.imread(str(only(folder, "*.preview.png"))) is not None
    return -1


def rerun(folder: Path) -> int:
    assert next(folder.rglob("*.rrd")).read_bytes()[:3] == b"RRF"
    return -1


OPEN: dict[str, Callable[[Path], int]] = {  # the frames that its users' tool finds; -1: it does not say
    "lerobot": lerobot,
    "parquet": lambda folder: pq.read_table(only(folder, "[!_]*.parquet")).num_rows,
    "zarr": arrays,
    "video": lambda folder: pictures(next(folder.rglob("*.mp4"))),
    "mcap": messages,
    "csv": lines,
    "hdf5": first_of_hdf5,
    "images": files,
    "points": clouds,
    "rerun": rerun,
    "stats": lambda folder: int(json.loads(only(folder, "*.stats.json").read_text())["frames"]),
    "preview": sheet,
}
QUICK = {
    ("so101_wrist.bag", "lerobot"),
    ("gpsnav.db3", "parquet"),
    ("ros_numpy.bag", "points"),
    ("kuka.bag", "video"),
    ("kuka.bag", "hdf5"),
    ("nav2_turtlebot.mcap", "hdf5"),
}


def refusal(name: str, to: str) -> str:
    """Return why an output cannot be made of a recording; empty where it can."""
    if (to in ("video", "images") and name not in CAMERAS) or (to == "points" and name not in CLOUDS):
        return f"which --to {to} is made of"
    if to == "hdf5" and name not in ARMS:
        return "say so with --state: "
    if (name, to) == ("ros_numpy.bag", "lerobot"):  # one of its pictures has 2×2 pixels
        return "SVT-AV1 encodes 4x4 and more"
    return ""


def cases() -> list[Any]:
    every = product(FRAMES, OPEN)
    return [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in every]


@pytest.mark.parametrize(("name", "to"), cases())
def test_it_is_opened_or_refused_for_a_true_reason(
    tmp_path: Path, commands: Command, recordings: Path, name: str, to: str
) -> None:
    if to == "rerun":
        pytest.importorskip("rerun", reason="needs rerun-sdk, of the extra rerun")
    finished = commands(tmp_path, "convert", str(recordings / name), "--to", to, "-o", "out")
    if why := refusal(name, to):
        assert finished.code in (64, 65, 78), finished
        assert why in finished.err
        assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        return
    assert finished.code == 0, finished
    expected = FRAMES[name] - (to in ("lerobot", "hdf5") and name == "kuka.bag")  # whose last state has no next one
    assert OPEN[to](tmp_path / "out") in (expected, -1)
