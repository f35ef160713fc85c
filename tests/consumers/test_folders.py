"""Folders of pictures and of points, read as their users read them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from consumers.images import Images
from consumers.points import Points, ply
from streamer.contract import Chunk, Frame, Outlook, Sample, StreamInfo
from streamer.errors import ConfigError
from tests.consumers.test_arrays import ARM, HEAD, START, STREAMS, TICKS, WITHOUT, feed, recording

pd: Any = pytest.importorskip("pandas")

if TYPE_CHECKING:
    from pathlib import Path

MILLIMETRES = np.random.default_rng(3).integers(0, 20_000, (10, 4, 6)).astype(np.uint16)
METRES = (MILLIMETRES / 1000).astype(np.float32)
METRES[0, 0, 0] = np.nan
POSE = np.random.default_rng(4).normal(size=(10, 7))
NAMES = tuple(f"pose.position.{a}" for a in "xyz") + tuple(f"pose.orientation.{a}" for a in "xyzw")
RGBD = {
    "head": STREAMS["head"],
    "depth": StreamInfo("depth", "/depth", "x", "depth", (4, 6), np.dtype("u2")),
    "far": StreamInfo("far", "/far", "x", "depth", (4, 6), np.dtype("f4")),
    "gray": StreamInfo("gray", "/gray", "x", "image", (4, 6), np.dtype("u1")),
    "base": StreamInfo("base", "/base", "x", "vector", (7,), np.dtype("f8"), names=NAMES),
}


def show(consumer: Images, frames: int = 6) -> None:
    """Show every picture in two frames, but none of the camera in frame 3."""
    about = recording("take", frames, RGBD)
    consumer.open(about, None)
    for n in range(frames):
        stamp = START + n // 2 * 10**8 + 1
        k = n // 2
        values = {"head": HEAD[k], "depth": MILLIMETRES[k], "far": METRES[k], "gray": HEAD[k, ..., 0], "base": POSE[k]}
        samples: dict[str, Sample | None] = {name: Sample(value, stamp, 1, n % 2) for name, value in values.items()}
        consumer.on_frame(Frame(n, n, int(TICKS[n]), samples | ({"head": None} if n == WITHOUT else {})))
        consumer.on_chunk(Chunk(n, n, n, 1))
    consumer.close(about)


def picture(path: Path) -> Any:
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert found is not None, path
    return found


def test_pictures_lie_where_the_table_says_and_are_what_was_shown(tmp_path: Path) -> None:
    show(Images(str(tmp_path)))
    folder = tmp_path / "take.images"
    table = pd.read_csv(folder / "index.csv", parse_dates=["tick", "head.stamp"])
    assert table["tick"].to_numpy().astype("i8").tolist() == TICKS[:6].tolist()
    assert table["head"].isna().tolist() == [n == WITHOUT for n in range(6)]
    for n, row in table.iterrows():
        k = int(str(n)) // 2
        if n != WITHOUT:
            assert np.array_equal(picture(folder / row["head"])[..., ::-1], HEAD[k])
        assert np.array_equal(picture(folder / row["gray"]), HEAD[k, ..., 0])
        assert np.array_equal(picture(folder / row["depth"]), MILLIMETRES[k])
        assert np.array_equal(picture(folder / row["far"]), METRES[k], equal_nan=True)
        assert row["base.pose.position.y"] == POSE[k, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["take.images"]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("depth", "far", "gray", "head", "index.csv", "provenance.json")
    ]


def test_the_layout_of_tum_has_each_picture_once_and_depth_in_its_own_unit(tmp_path: Path) -> None:
    for depth, source in (("depth", MILLIMETRES / 1000), ("far", METRES)):
        show(Images(str(tmp_path / depth), ["head", depth], layout="tum"))
        folder = tmp_path / depth / "take.images"
        lists = {
            name: [
                line.split() for line in (folder / name).read_text().splitlines() if not line.startswith("#")
            ]  # as associate.py of the benchmark reads them
            for name in ("rgb.txt", "depth.txt", "groundtruth.txt")
        }
        stamps = [f"{(START + k * 10**8 + 1) / 10**9:.6f}" for k in range(3)]
        assert [[f"{float(line[0]):.6f}" for line in lines] for lines in lists.values()] == [stamps] * 3
        for k, (_, path) in enumerate(lists["rgb.txt"]):
            assert np.array_equal(picture(folder / path)[..., ::-1], HEAD[k])
        for k, (_, path) in enumerate(lists["depth.txt"]):
            seen = picture(folder / path)
            near = np.nan_to_num(source[k], nan=99) < 13.1
            assert seen.dtype == np.uint16
            assert np.allclose(seen[near] / 5000, source[k][near], atol=1.01e-4)
            assert not seen[np.nan_to_num(source[k], nan=99) > 13.11].any()
        assert [[float(value) for value in line[1:]] for line in lists["groundtruth.txt"]] == POSE[:3].tolist()


def test_jpeg_is_close_and_what_cannot_be_a_picture_or_a_second_camera_is_refused(tmp_path: Path) -> None:
    show(Images(str(tmp_path), ["head", "gray"], format="jpeg", quality=100))
    seen = picture(tmp_path / "take.images/gray/000002.jpg")
    assert np.abs(seen.astype(int) - HEAD[1, ..., 0]).mean() < 2
    outlook = Outlook(recording("take", 6, RGBD), TICKS[:6], np.arange(6), {})
    for options, words in (
        ({"layout": "tum"}, "the layout tum has one image stream, and these are head, gray: choose one"),
        ({"streams": ["base"]}, "'base' is vector: no pictures"),
        ({"streams": ["hand"]}, "'hand' is not there; this consumer is shown: head, depth"),
    ):
        with pytest.raises(ConfigError, match=words):
            Images(str(tmp_path), **options).check(outlook)
    only = Outlook(recording("take", 6, {"base": RGBD["base"]}), TICKS[:6], np.arange(6), {})
    with pytest.raises(ConfigError, match="no stream of pictures; this consumer is shown: base"):
        Images(str(tmp_path)).check(only)


def test_points_are_arrays_by_field_or_vertices_of_a_ply_file(tmp_path: Path) -> None:
    feed(Points(str(tmp_path / "npz")))
    table = pd.read_csv(tmp_path / "npz/take.points/index.csv")
    assert table["cloud"].isna().tolist() == [n == WITHOUT for n in range(10)]
    with np.load(tmp_path / "npz/take.points" / table["cloud"][5]) as found:
        assert found["x"].tolist() == [5.0] * 5
        assert (found["ring"].dtype, found["ring"].tolist()) == (np.uint16, [0, 1, 2, 3, 4])
    assert table["arm.wrist"].to_numpy().tolist() == ARM[:, 1].tolist()
    feed(Points(str(tmp_path / "ply"), format="ply"))
    heading, _, body = (tmp_path / "ply/take.points/cloud/000002.ply").read_bytes().partition(b"end_header\n")
    assert heading.decode().split("\n") == [
        *("ply", "format binary_little_endian 1.0", "element vertex 2", "property float x", "property ushort ring", "")
    ]
    assert body == struct.pack("<fHfH", 2, 0, 2, 1)
    packed = np.array([0x00_FF_80_01], np.uint32).view(np.float32)  # red 255, green 128, blue 1
    content = ply({"rgb": packed, "normal": np.array([[1, 2]], np.float64)}, 1)
    assert b"uchar red\nproperty uchar green\nproperty uchar blue\nproperty double normal_0" in content
    assert content.endswith(struct.pack("<BBBdd", 255, 128, 1, 1, 2))
    wide = StreamInfo("cloud", "/c", "x", "points", (5,), np.dtype([("t", "<u8")]), variable=True)
    outlook = Outlook(recording("take", 6, {"cloud": wide}), TICKS[:6], np.arange(6), {})
    with pytest.raises(ConfigError, match="PLY has no uint64, which 't' is: use 'format: npz'"):
        Points(str(tmp_path), format="ply").check(outlook)
