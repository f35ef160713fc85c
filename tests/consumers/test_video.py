"""Videos of all cameras side by side, of any size, with words in them; decoded again with PyAV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from consumers.tiles import Grid, make_even
from consumers.video import Video
from streamer.contract import Chunk, Frame, Sample, StreamInfo
from streamer.errors import ConfigError
from tests.consumers.test_arrays import START, TICKS, recording

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
SIZES = {"red": (95, 127), "green": (96, 128), "blue": (48, 64)}
STREAMS = {name: StreamInfo(name, "/x", "x", "image", (*size, 3), np.dtype("u1")) for name, size in SIZES.items()}
SAY = StreamInfo("say", "/say", "x", "text", (40,), np.dtype("S1"), variable=True)


def show(consumer: Video) -> None:
    """Show six frames of one colour each; the blue camera has none in the first."""
    about = recording("take", 6, STREAMS | {"say": SAY})
    consumer.open(about, None)
    for n in range(6):
        values: dict[str, Any] = {k: np.full((*SIZES[k], 3), color, np.uint8) for k, color in COLORS.items()}
        samples: dict[str, Sample | None] = {
            name: Sample(value, int(TICKS[n]), 0, 0) for name, value in (values | {"say": "stack ü"}).items()
        }
        consumer.on_frame(Frame(n, n, int(TICKS[n]), samples | ({"blue": None} if n == 0 else {})))
        if n % 3 == 2:
            consumer.on_chunk(Chunk(n // 3, n - 2, n, 3))
    consumer.close(about)


def pictures(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]).astype(np.int16)


def test_a_grid_has_every_camera_in_its_place_and_says_what_it_is(tmp_path: Path) -> None:
    show(Video(str(tmp_path / "plain"), layout="grid", quality=1))
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == ["take.grid.mp4", "take.video.json"]
    seen = pictures(tmp_path / "plain" / "take.grid.mp4")
    assert seen.shape == (6, 192, 256, 3)
    for name, (top, left) in {"red": (0, 0), "green": (0, 128), "blue": (96, 0)}.items():
        tile = seen[1:, top + 8 : top + 88, left + 8 : left + 120]
        assert np.abs(tile - np.array(COLORS[name])).max() < 12, name
    assert seen[0, 100:180, 8:120].max() < 12  # no sample yet
    assert seen[:, 100:180, 140:250].max() < 12  # no camera
    show(Video(str(tmp_path / "words"), layout="grid", quality=1, overlay=True))
    words = pictures(tmp_path / "words" / "take.grid.mp4")
    changed = np.abs(words - seen).max(axis=(0, 3)) > 60
    assert changed[:14, :100].any()
    assert changed[:14, 130:230].any()
    assert changed[178:, :60].any()  # the text
    assert not changed[30:90].any()


def test_a_recording_without_cameras_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="no stream of pictures with 8 bits, or of depth; this consumer is shown: say"
    ):
        Video(str(tmp_path)).open(recording("take", 6, {"say": SAY}), None)


def test_an_odd_size_gets_its_last_row_or_column_once_more_and_is_told(tmp_path: Path) -> None:
    show(Video(str(tmp_path), quality=1))
    assert pictures(tmp_path / "take.red.mp4").shape == (6, 96, 128, 3)
    assert pictures(tmp_path / "take.blue.mp4").shape == (6, 48, 64, 3)
    about = json.loads((tmp_path / "take.video.json").read_text())
    assert about["padded"] == {"red": "127x95 in 128x96"}
    noise = np.random.default_rng(1).integers(0, 255, (3, 5, 3), np.uint8)
    assert np.array_equal(make_even(noise), np.pad(noise, ((0, 1), (0, 1), (0, 0)), mode="edge"))
    assert make_even(noise[:2, :4]).base is noise
    assert TICKS[0] == START


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_a_grid_is_even_whatever_is_in_it(count: int) -> None:
    shapes = {str(n): (31 + n, 57, 3) for n in range(count)}
    grid = Grid(shapes, 640)
    drawn = grid.draw({name: grid.scale(np.full(shape, 9, np.uint8)) for name, shape in shapes.items()})
    assert drawn.shape[:2] == grid.shape
    assert (grid.shape[0] % 2, grid.shape[1] % 2) == (0, 0)
    assert (drawn == 9).sum() // 3 == sum(round(shape[0] * 58 / 57) * 58 for shape in shapes.values())


def test_a_constant_rate_tells_the_time_that_it_leaves_out(tmp_path: Path) -> None:
    """Frames at 0, 1, 2, 13 and 14 tenths of a second: a second is missing, also across a replaced process."""
    about = recording("take", 5, {"red": STREAMS["red"]})
    told = {}
    for rate in ("constant", "variable"):
        state = None
        for chunk, tenths in enumerate(((0, 1, 2), (13, 14))):
            consumer = Video(str(tmp_path / rate), rate=rate)
            consumer.open(about, state)
            for n, tenth in enumerate(tenths):
                tick = START + tenth * 10**8
                sample = Sample(np.zeros((*SIZES["red"], 3), np.uint8), tick, 0, 0)
                consumer.on_frame(Frame(3 * chunk + n, tenth, tick, {"red": sample}))
            state = consumer.on_chunk(Chunk(chunk, 3 * chunk, 3 * chunk + len(tenths) - 1, len(tenths)))
        consumer.close(about)
        told[rate] = json.loads((tmp_path / rate / "take.video.json").read_text(encoding="utf-8"))
    assert (told["constant"]["gaps"], told["constant"]["seconds_left_out"]) == (1, 1.0)
    assert (told["variable"]["gaps"], told["variable"]["seconds_left_out"]) == (0, 0.0)
