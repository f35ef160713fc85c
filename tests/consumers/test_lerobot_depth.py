"""Depth as a video of 12 bits, decoded with PyAV and by the formula that LeRobot 0.6 reads it with.

The formula is that of ``dequantize_depth`` in ``lerobot/datasets/depth_utils.py`` (0.6.1), written out here again.
Whether that package reads the dataset is asked in `test_lerobot_real.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from consumers.lerobot import LeRobot
from streamer.errors import ConfigError
from tests.consumers.test_lerobot import DEPTH, HEAD, STATE, info, options
from tests.consumers.test_lerobot_real import add
from tests.consumers.test_outputs import DEPTHS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FEATURES = {HEAD: "camera", STATE: "joints", DEPTH: "depth"}
VIDEO: dict[str, Any] = {"features": FEATURES, "depth": "video", "codec": "h264"}


def metres(codes: NDArray[Any]) -> NDArray[np.float64]:
    low, high = np.log(0.01 + 3.5), np.log(10 + 3.5)
    found: NDArray[np.float64] = np.exp(codes / 4095 * (high - low) + low) - 3.5
    return found.clip(0.01, 10)


def test_depth_comes_back_within_half_a_step_of_the_code_and_is_described_as_lerobot_does(tmp_path: Path) -> None:
    for name, frames in (("one", 20), ("two", 10)):
        add(tmp_path, name, frames, **VIDEO)
    path = tmp_path / f"videos/{DEPTH}/chunk-000/file-000.mp4"
    with av.open(str(path)) as file:
        track: Any = file.streams.video[0]
        assert (track.codec_context.name, track.codec_context.pix_fmt) == ("hevc", "gray12le")
        codes = np.stack([one.to_ndarray(format="gray12le") for one in file.decode(video=0)])
    shown = np.concatenate([DEPTHS[:20], DEPTHS[:10]]) / 1000
    step = (shown + 3.5) * np.log(13.5 / 3.51) / 4095
    assert (np.abs(metres(codes) - shown) <= step / 2 + 1e-9).all()
    feature = info(tmp_path)["features"][DEPTH]
    assert (feature["dtype"], feature["shape"]) == ("video", [24, 40, 1])
    quantizer = {"video.depth_min": 0.01, "video.depth_max": 10.0, "video.shift": 3.5, "video.use_log": True}
    about = {"is_depth_map": True, "depth_unit": "mm", "video.channels": 1, "video.pix_fmt": "gray12le"}
    assert feature["info"].items() >= (quantizer | about).items()
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    np.testing.assert_allclose(np.ravel(stats[DEPTH]["mean"]), shown.mean() * 1000, rtol=1e-6)  # in millimetres


def test_other_codes_other_versions_and_other_words_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "one", 10, **VIDEO)
    with pytest.raises(ConfigError, match="has dtype video, and image here"):
        add(tmp_path, "two", 10, features=FEATURES, codec="h264")
    about = info(tmp_path)
    about["features"][DEPTH]["info"]["video.depth_max"] = 5.0
    (tmp_path / "meta/info.json").write_text(json.dumps(about))
    with pytest.raises(ConfigError, match=r"has depth_max 5\.0, and 10\.0 here"):
        add(tmp_path, "two", 10, **VIDEO)
    with pytest.raises(ValueError, match=r"with 'format: v2\.1' depth is lossless"):
        LeRobot(**options(tmp_path, depth="video", format="v2.1"))
    with pytest.raises(ValueError, match="depth is lossless or video, not 'png'"):
        LeRobot(**options(tmp_path, depth="png"))
