"""Frames that a thread loads together: each has its own picture, its own end, and those that it repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

import streamer
from streamer.layout import loaded_together, loading_at_once, make_layout
from streamer.records import Spec
from tests.bags import START, Message, encoded, header, numbers, record
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FRAMES, STEP, EVERY = 23, 10**7, 3  # ns; the second camera has a picture for three frames
DAMAGED = {0, 5, 6, 22}


def picture(number: int, size: int) -> NDArray[np.uint8]:
    """Make one of grey tiles, which tell its number in binary."""
    tiles = np.array([[40 + 160 * (number >> bit & 1) for bit in range(8)]], np.uint8)
    return np.kron(tiles, np.ones((size, size // 8), np.uint8))


def number_in(image: NDArray[np.uint8]) -> int:
    """Read the number that a picture tells."""
    width = image.shape[1] // 8
    return sum(1 << bit for bit in range(8) if image[image.shape[0] // 2, bit * width + width // 2].mean() > 120)


def camera(topic: str, number: int, stamp: int, size: int, *, damaged: bool = False) -> Message:
    data = cv2.imencode(".png", picture(number, size))[1]
    if damaged:
        data = data[: len(data) // 2]
    name = "sensor_msgs/msg/CompressedImage"
    values: dict[str, Any] = {"header": header(stamp), "format": "png", "data": data.ravel()}
    return Message(topic, stamp, encoded("ros1", name, **values), name)


def recording(folder: Path, size: int) -> dict[str, Any]:
    stamps = [START + n * STEP for n in range(FRAMES)]
    front = [camera("/front", n, stamp, size, damaged=n in DAMAGED) for n, stamp in enumerate(stamps)]
    side = [camera("/side", n, stamp, size) for n, stamp in list(enumerate(stamps))[::EVERY]]
    messages = sorted(front + side + numbers("/n", stamps), key=lambda message: message.stamp)
    path = record(folder / "take", "ros1", messages)
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "n"},
        "threads": 2,
        "streams": {
            "n": {"topic": "/n", "field": "data"},
            "front": {"topic": "/front", "color": "gray", "undecodable": "skip"},
            "side": {"topic": "/side", "color": "gray", "align": "previous"},
        },
        "consumers": {"seen": {"use": "tests.runtime.test_loader:Seen"}},
    }


class Seen(streamer.Consumer):
    """Writes down what each frame shows."""

    def on_frame(self, frame: streamer.Frame) -> None:
        with open("seen.txt", "a", encoding="ascii") as file:  # noqa: PTH123 - a line
            print(frame.number, number_in(frame["front"]), number_in(frame["side"]), file=file)


WANTED = [(n, n, n - n % EVERY) for n in range(FRAMES) if n not in DAMAGED]
SIZES = [64, 512, 1600]  # pixels: all together, four, three


@pytest.mark.parametrize("size", SIZES)
def test_each_frame_shows_its_own_pictures_and_only_what_is_damaged_is_left_out(tmp_path: Path, size: int) -> None:
    config = recording(tmp_path, size)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    shown = [
        (f.number, number_in(f["front"]), number_in(f["side"]))
        for f in streamer.open(tmp_path / "config.yaml").frames()
    ]
    assert shown == WANTED
    finished = run(tmp_path, config)
    assert finished.report["frames"]["skipped"] == {"undecodable front": len(DAMAGED)}
    assert [tuple(map(int, line.split())) for line in (tmp_path / "seen.txt").read_text().splitlines()] == WANTED


@pytest.mark.parametrize(("nbytes", "together", "loading"), [(10**6, 4, 16), (6 * 10**6, 2, 8), (10**8, 1, 4)])
def test_small_frames_are_loaded_some_together_and_large_ones_take_no_more_memory(
    nbytes: int, together: int, loading: int
) -> None:
    layout = make_layout({"camera": Spec((nbytes,), "u1")})
    assert loaded_together(layout) == together
    assert loading_at_once(layout, threads=2) == loading
