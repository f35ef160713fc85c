"""What is suggested for a recording with videos: cameras, on the clock and with the care that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamer
from streamer import inspect
from tests.bags import record
from tests.videos import FFMPEG, FOXGLOVE, encode, pictures, video

if TYPE_CHECKING:
    from pathlib import Path


def test_videos_are_suggested_as_cameras_and_what_is_suggested_passes_the_check(tmp_path: Path) -> None:
    images = pictures(24)
    quick = encode("libx264", images, {"tune": "zerolatency"})
    ordered = encode("libx265", images, {"preset": "ultrafast", "x265-params": "log-level=none:bframes=3"})
    messages = [
        *video("/whole", "cdr", FFMPEG, "h264", quick),
        *video("/joined/compressed", "cdr", FOXGLOVE, "h264", quick[4:]),
        *video("/between", "cdr", FOXGLOVE, "h265", ordered),
    ]
    path = record(tmp_path / "bag", "mcap", sorted(messages, key=lambda message: message.stamp))
    found = inspect.suggest(path)
    assert found.kinds == dict.fromkeys(("whole", "joined", "between"), "image")
    assert "undecodable" not in found.streams["whole"]
    assert found.streams["joined"]["undecodable"] == "skip"
    assert found.streams["between"]["clock"] == "header"
    config = tmp_path / "config.yaml"
    config.write_text(found.as_yaml())
    assert inspect.check(config).exit_code == 0
    assert len(list(streamer.open(config).frames())) == 14  # of 24: the joined one begins with its second key picture
