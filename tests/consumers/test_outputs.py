"""What the built-in consumers write, held against what was shown to them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from consumers.checksum import Checksum
from consumers.null import Null
from consumers.preview import Preview
from consumers.stats import Stats
from streamer.contract import Chunk, Consumer, Frame, Recording, Sample, StreamInfo
from streamer.records import Flag
from streamer.transport import pack_state, unpack_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES, CHUNK = 20, 5
RNG = np.random.default_rng(3)
PICTURES = RNG.integers(0, 255, (FRAMES, 24, 32, 3), np.uint8)
DEPTHS = RNG.integers(300, 4000, (FRAMES, 12, 16), np.uint16)
JOINTS = RNG.normal(size=(FRAMES, 3))
POINT = np.dtype([("x", "<f4"), ("ring", "<u2")])
MS = 10**6


def recording(frames: int = FRAMES) -> Recording:
    streams = [
        StreamInfo("camera", "/camera", "sensor_msgs/msg/Image", "image", (24, 32, 3), np.dtype(np.uint8)),
        StreamInfo("depth", "/depth", "sensor_msgs/msg/Image", "depth", (12, 16), np.dtype(np.uint16)),
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
    outputs = {path.name: path.read_bytes() for path in plain.iterdir()}
    assert outputs
    assert outputs == {path.name: path.read_bytes() for path in disturbed.iterdir()}


@pytest.mark.parametrize("name", MAKERS)
def test_an_empty_recording_has_an_output_too(tmp_path: Path, name: str) -> None:
    stream(lambda: MAKERS[name](tmp_path / "out"), 0)
    assert len(list((tmp_path / "out").iterdir())) == 1


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
    assert found["provenance"] == {"fingerprint": "abc"}


def test_a_contact_sheet_shows_the_chosen_frames(tmp_path: Path) -> None:
    stream(lambda: Preview(str(tmp_path), frames=4, width=64))
    assert [path.name for path in tmp_path.iterdir()] == ["try.preview.png"]
    sheet = cv2.imread(str(tmp_path / "try.preview.png"))
    assert sheet is not None
    last = cv2.resize(PICTURES[FRAMES - 1], (64, 48), interpolation=cv2.INTER_AREA)[..., ::-1]
    match = cv2.matchTemplate(sheet, np.ascontiguousarray(last), cv2.TM_SQDIFF)
    assert match.min() < 1e-5 * match.max()


def test_null_counts_over_the_lives_of_its_processes() -> None:
    first = Null()
    first.open(recording(), None)
    first.on_frame(frame(0))
    second = Null()
    second.open(recording(), first.on_chunk(Chunk(0, 0, 0, 1)))
    second.on_frame(frame(1))
    assert second.frames == 2
