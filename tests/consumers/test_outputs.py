"""What the built-in consumers write, held against what was shown to them."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zarr

from consumers.checksum import Checksum
from consumers.csv import Csv
from consumers.hdf5 import Hdf5
from consumers.null import Null
from consumers.parquet import Parquet
from consumers.preview import Preview
from consumers.stats import Stats
from consumers.video import Video
from consumers.zarr import Zarr
from streamer.contract import Chunk, Consumer, Frame, Part, Recording, Sample, StreamInfo
from streamer.errors import ConfigError
from streamer.records import Flag
from streamer.transport import pack_state, unpack_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

FRAMES, CHUNK = 20, 5
RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 255, (FRAMES, 24, 32, 3), np.uint8)
DEPTHS = RNG.integers(300, 4000, (FRAMES, 24, 40), np.uint16)
JOINTS = RNG.normal(size=(FRAMES, 3))
POINT = np.dtype([("x", "<f4"), ("ring", "<u2")])
MS = 10**6


def recording(frames: int = FRAMES) -> Recording:
    streams = [
        StreamInfo("camera", "/camera", "sensor_msgs/msg/Image", "image", (24, 32, 3), np.dtype(np.uint8)),
        StreamInfo("depth", "/depth", "sensor_msgs/msg/Image", "depth", (24, 40), np.dtype(np.uint16)),
        StreamInfo("joints", "/joints", "sensor_msgs/msg/JointState", "vector", (3,), np.dtype(np.float64)),
        StreamInfo("cloud", "/cloud", "sensor_msgs/msg/PointCloud2", "points", (4,), POINT, variable=True),
    ]
    end = (frames - 1) * 100 * MS if frames else 0
    by_name = {stream.name: stream for stream in streams}
    return Recording("try", "/try.bag", frames, CHUNK, 10.0, 0, end, by_name, {"fingerprint": "abc"})


def frame(number: int) -> Frame:
    tick = number * 100 * MS
    flags = Flag.GAP if number in (7, 8) else Flag.NONE
    cloud = np.zeros(number % 4, POINT)
    cloud["x"] = number
    return Frame(
        number,
        number,
        tick,
        {
            "camera": Sample(PICTURES[number], tick, 0, 0),
            "depth": None if number == 4 else Sample(DEPTHS[number], tick - 3 * MS, -3 * MS, 0),
            "joints": Sample(JOINTS[number], tick + 2 * MS, 2 * MS, int(flags)),
            "cloud": Sample(cloud, tick, 0, int(Flag.HELD) if number % 2 else 0),
        },
    )


def stream(
    make: Callable[[], Consumer], frames: int = FRAMES, *, recycled: bool = False, repeated: bool = False
) -> None:
    """Lead a consumer through a recording as the worker does."""
    state: dict[str, Any] | None = None
    about = recording(frames)
    consumer = make()
    consumer.open(about, None)
    for number, first in enumerate(range(0, frames, CHUNK)):
        if repeated:  # a process that dies before it commits
            lost = make()
            lost.open(about, copy.deepcopy(state))
            for n in range(first, first + CHUNK):
                lost.on_frame(frame(n))
            lost.on_chunk(Chunk(number, first, first + CHUNK - 1, CHUNK))
            consumer = make()
            consumer.open(about, state)
        for n in range(first, first + CHUNK):
            consumer.on_frame(frame(n))
        state = unpack_state(pack_state(consumer.on_chunk(Chunk(number, first, first + CHUNK - 1, CHUNK))))
        if recycled:
            consumer = make()
            consumer.open(about, state)
    consumer.close(about)


MAKERS: dict[str, Callable[[Path], Consumer]] = {
    "plot": lambda out: Stats(str(out), plot=True),
    "parquet": lambda out: Parquet(str(out)),
    "csv": lambda out: Csv(str(out)),
    "zarr": lambda out: Zarr(str(out)),
    "replay_buffer": lambda out: Zarr(str(out), layout="replay_buffer", features={"img": "camera", "state": "joints"}),
    "aloha": lambda out: Hdf5(
        str(out),
        {"action": "joints", "observations/qpos": "joints", "observations/images/top": "camera"},
        layout="aloha",
    ),
    "robomimic": lambda out: Hdf5(str(out), {"actions": "joints", "obs/top": "camera"}, layout="robomimic"),
    "video": lambda out: Video(str(out), overlay=True, codec="libsvtav1"),
    "video-variable": lambda out: Video(str(out), rate="variable", codec="libsvtav1"),
    "checksum": lambda out: Checksum(str(out / "sums.json")),
    "stats": lambda out: Stats(str(out)),
    "preview": lambda out: Preview(str(out), frames=4, width=64),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("how", [{"recycled": True}, {"repeated": True}], ids=["recycled", "repeated"])
def test_an_output_is_the_same_whatever_happens_to_the_process(tmp_path: Path, name: str, how: dict[str, bool]) -> None:
    plain, disturbed = tmp_path / "plain", tmp_path / "disturbed"
    stream(lambda: MAKERS[name](plain))
    stream(lambda: MAKERS[name](disturbed), **how)
    outputs = {path.relative_to(plain): path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    assert outputs
    assert outputs == {p.relative_to(disturbed): p.read_bytes() for p in disturbed.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", MAKERS)
def test_an_empty_recording_has_an_output_too(tmp_path: Path, name: str) -> None:
    stream(lambda: MAKERS[name](tmp_path / "out"), 0)
    assert len(list((tmp_path / "out").iterdir())) == (2 if name in ("plot", "csv") else 1)


def test_a_checksum_sees_a_changed_pixel_a_lost_frame_and_a_swapped_pair(tmp_path: Path) -> None:
    def total(numbers: list[int], *, change: bool = False) -> dict[str, str]:
        consumer = Checksum(str(tmp_path / "sums.json"))
        consumer.open(recording(), None)
        for number in numbers:
            shown = frame(number)
            if change and number == 3:
                pixels = PICTURES[3].copy()
                pixels[0, 0, 0] ^= 1
                shown.samples["camera"] = Sample(pixels, shown.tick, 0, 0)
            consumer.on_frame(shown)
        consumer.close(recording())
        found: dict[str, str] = json.loads((tmp_path / "sums.json").read_text())["streams"]
        return found

    whole = total([0, 1, 2, 3, 4])
    assert total([0, 1, 2, 3, 4]) == whole
    changed = total([0, 1, 2, 3, 4], change=True)
    assert changed["camera"] != whole["camera"]
    assert changed["depth"] == whole["depth"]
    assert total([0, 1, 2, 4])["joints"] != whole["joints"]
    assert total([0, 2, 1, 3, 4])["joints"] != whole["joints"]


def test_stats_equal_those_of_all_values_at_once(tmp_path: Path) -> None:
    stream(lambda: Stats(str(tmp_path)), recycled=True)
    found = json.loads((tmp_path / "try.stats.json").read_text())
    camera, depth, joints, cloud = (found["streams"][name] for name in ("camera", "depth", "joints", "cloud"))
    assert camera["mean"] == pytest.approx(PICTURES.mean(axis=(0, 1, 2)))
    assert camera["std"] == pytest.approx(PICTURES.std(axis=(0, 1, 2)))
    assert joints["min"] == pytest.approx(JOINTS.min(axis=0))
    assert joints["std"] == pytest.approx(JOINTS.std(axis=0))
    shown = np.delete(DEPTHS, 4, axis=0)
    assert (depth["count"], depth["none"]) == (FRAMES - 1, 1)
    assert depth["max"] == [shown.max()]
    assert depth["offset_ms"] == {"min": -3.0, "max": -3.0, "mean_abs": 3.0}
    assert joints["gaps"] == 2
    assert joints["rate_hz"] == pytest.approx(10)
    assert cloud["columns"] == ["x", "ring"]
    assert cloud["held"] == FRAMES // 2
    assert found["provenance"]["fingerprint"] == "abc"
    assert found["provenance"]["plan"]["streams"]["cloud"]["topic"] == "/cloud"


def test_a_contact_sheet_shows_the_chosen_frames(tmp_path: Path) -> None:
    stream(lambda: Preview(str(tmp_path), frames=4, width=64))
    assert [path.name for path in tmp_path.iterdir()] == ["try.preview.png"]
    sheet = cv2.imread(str(tmp_path / "try.preview.png"))
    assert sheet is not None
    last = cv2.resize(PICTURES[FRAMES - 1], (64, 48), interpolation=cv2.INTER_AREA)[..., ::-1]
    match = cv2.matchTemplate(sheet, np.ascontiguousarray(last), cv2.TM_SQDIFF)
    assert match.min() < 1e-5 * match.max()


def test_a_contact_sheet_marks_gaps_and_frames_without_a_sample(tmp_path: Path) -> None:
    stream(lambda: Preview(str(tmp_path), frames=4, width=64))
    sheet = cv2.imread(str(tmp_path / "try.preview.png"))
    assert sheet is not None
    shade, alarm = (215, 225, 250), (40, 40, 200)
    assert (sheet == shade).all(axis=2).sum() > 400  # the gap of the joints, in its curves and its lane of offsets
    assert (sheet == alarm).all(axis=2).any()  # frame 4 has no depth


def test_the_plot_of_stats_has_a_row_for_every_stream_and_its_origin(tmp_path: Path) -> None:
    stream(lambda: Stats(str(tmp_path), plot=True), recycled=True)
    content = (tmp_path / "try.stats.png").read_bytes()
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (800, 1300, 3)
    assert b'"fingerprint": "abc"' in content


def test_a_parquet_file_has_a_row_for_every_frame_and_a_row_group_for_every_chunk(tmp_path: Path) -> None:
    stream(lambda: Parquet(str(tmp_path)))
    file = pq.ParquetFile(tmp_path / "try.parquet")
    assert file.num_row_groups == FRAMES // CHUNK
    table = file.read()
    assert table["frame"].to_pylist() == list(range(FRAMES))
    assert table["tick"].cast("int64").to_pylist() == [n * 100 * MS for n in range(FRAMES)]
    np.testing.assert_array_equal(np.stack(table["joints"].to_numpy(zero_copy_only=False)), JOINTS)
    assert table["joints.offset"].cast("int64").to_pylist() == [2 * MS] * FRAMES
    assert table["joints.gap"].to_pylist() == [n in (7, 8) for n in range(FRAMES)]
    assert table["cloud.held"].to_pylist() == [n % 2 == 1 for n in range(FRAMES)]
    assert table["depth.stamp"].cast("int64").to_pylist() == [
        None if n == 4 else n * 100 * MS - 3 * MS for n in range(FRAMES)
    ]
    assert "camera" not in table.column_names  # of a picture there is only when it was taken
    assert json.loads(file.schema_arrow.metadata[b"provenance"])["fingerprint"] == "abc"


def test_many_recordings_are_listed_in_the_order_of_the_configuration_whichever_came_first(tmp_path: Path) -> None:
    def merged(*names: str) -> tuple[Any, Any]:
        parts = [Part(name, f"/{name}.bag", {}) for name in names]
        Parquet(str(tmp_path / "parquet")).merge(parts)
        Zarr(str(tmp_path / "zarr")).merge(parts)
        listed = json.loads((tmp_path / "parquet" / "_recordings.json").read_text())["recordings"]
        return listed, zarr.open_group(tmp_path / "zarr", mode="r")

    for kind in ("parquet", "zarr"):
        stream(lambda kind=kind: MAKERS[kind](tmp_path / kind))  # type: ignore[misc] # a default in a lambda
    shutil.copy(tmp_path / "parquet" / "try.parquet", tmp_path / "parquet" / "after.parquet")
    shutil.copytree(tmp_path / "zarr" / "try.zarr", tmp_path / "zarr" / "after.zarr")
    merged("after")
    files, group = merged("try", "after")
    assert files == [{"name": name, "file": f"{name}.parquet", "rows": FRAMES} for name in ("try", "after")]
    assert [one["group"] for one in group.attrs["recordings"]] == ["try.zarr", "after.zarr"]
    assert sorted(group.group_keys()) == ["after.zarr", "try.zarr"]
    assert ds.dataset(tmp_path / "parquet", format="parquet", exclude_invalid_files=False).count_rows() == 2 * FRAMES


def test_a_zarr_group_holds_every_value_as_it_was(tmp_path: Path) -> None:
    stream(lambda: Zarr(str(tmp_path), streams=["camera", "depth", "joints"]))
    group: Any = zarr.open_group(tmp_path / "try.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    np.testing.assert_array_equal(group["camera/value"][:], PICTURES)
    np.testing.assert_array_equal(np.delete(group["depth/value"][:], 4, axis=0), np.delete(DEPTHS, 4, axis=0))
    np.testing.assert_array_equal(group["joints/value"][:], JOINTS)
    assert group["camera/value"].chunks == (CHUNK, 24, 32, 3)
    assert group["depth/flags"][:].tolist() == [128 if n == 4 else 0 for n in range(FRAMES)]
    assert group["joints/flags"][:].tolist() == [4 if n in (7, 8) else 0 for n in range(FRAMES)]
    assert group["depth/valid"][:].tolist() == [n != 4 for n in range(FRAMES)]
    assert group["joints/offset"].attrs["unit"] == "ns, stamp - tick"
    assert group["depth"].attrs["topic"] == "/depth"
    assert group.attrs["provenance"]["fingerprint"] == "abc"


def shown_in(path: Path) -> tuple[list[float], NDArray[np.uint8]]:
    with av.open(str(path)) as video:
        pictures = list(video.decode(video=0))
    return [float(p.time or 0) for p in pictures], np.stack([p.to_ndarray(format="rgb24") for p in pictures])


@pytest.mark.parametrize("rate", ["constant", "variable"])
def test_a_video_shows_every_frame_at_its_time(tmp_path: Path, rate: str) -> None:
    state, about = None, recording()
    numbers = [n for n in range(FRAMES) if n not in (6, 12, 13)]  # which were skipped
    consumer = Video(str(tmp_path), rate=rate, quality=1)
    for number, first in enumerate(range(0, len(numbers), CHUNK)):
        consumer.open(about, state)
        chunk = numbers[first : first + CHUNK]
        for n in chunk:
            consumer.on_frame(frame(n))
        state = consumer.on_chunk(Chunk(number, chunk[0], chunk[-1], len(chunk)))
        consumer = Video(str(tmp_path), rate=rate, quality=1)
    consumer.open(about, state)
    consumer.close(about)
    times, pictures = shown_in(tmp_path / "try.camera.mp4")
    expected = [n / 10 for n in (range(len(numbers)) if rate == "constant" else numbers)]
    assert times == pytest.approx(expected, abs=1e-4)
    source = PICTURES[numbers].astype(np.int16)
    errors = np.abs(pictures[:, None] - source[None]).mean(axis=(2, 3, 4))
    assert errors.argmin(axis=1).tolist() == list(range(len(numbers)))
    assert errors.diagonal().max() < 50  # it is noise, of which 4:2:0 keeps little more than the brightness
    found = json.loads((tmp_path / "try.video.json").read_text())
    assert (found["frames"], found["without_sample"]) == (len(numbers), {"camera": 0, "depth": 1})
    assert found["provenance"]["fingerprint"] == "abc"


def test_an_overlay_changes_only_the_corner_it_is_written_to(tmp_path: Path) -> None:
    for name, overlay in (("plain", False), ("written", True)):
        stream(lambda name=name, overlay=overlay: Video(str(tmp_path / name), overlay=overlay, quality=1))  # type: ignore[misc]
    plain, written = (shown_in(tmp_path / name / "try.camera.mp4")[1].astype(int) for name in ("plain", "written"))
    assert np.abs(plain - written)[:, :18].mean() > 10
    assert np.abs(plain - written)[:, 20:].mean() < 10


@pytest.mark.parametrize(("name", "extra"), [("parquet", "parquet"), ("zarr", "zarr"), ("video", "video")])
def test_a_library_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    for module in ("pyarrow", "zarr", "av"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"pip install 'rosbag-streamer\[{extra}\]'"):
        MAKERS[name](tmp_path).open(recording(), None)


def test_null_counts_over_the_lives_of_its_processes() -> None:
    first = Null()
    first.open(recording(), None)
    first.on_frame(frame(0))
    second = Null()
    second.open(recording(), first.on_chunk(Chunk(0, 0, 0, 1)))
    second.on_frame(frame(1))
    assert second.frames == 2
