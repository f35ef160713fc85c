"""Recordings whose clock was set, in every format: refused, or read pass by pass, and never two passes side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import streamer
from streamer.errors import RecordingError
from tests.bags import SECOND, START, Message, encoded, header, joints, numbers, record

if TYPE_CHECKING:
    from pathlib import Path

    from streamer import Frame

FORMS = ("ros1", "ros1-lz4", "mcap", "mcap-zstd", "db3")
IMAGE = "sensor_msgs/msg/Image"
PASS = range(START, START + 2 * SECOND, SECOND // 50)


def looped(form: str, times: int = 2) -> list[Message]:
    """Play two seconds of joints (50 Hz) and numbers (10 Hz) several times; values count on."""
    wire = "ros1" if form.startswith("ros1") else "cdr"
    messages: list[Message] = []
    for _ in range(times):
        messages += sorted([*joints("/arm", PASS, wire), *numbers("/n", PASS[::5], wire)], key=lambda m: m.stamp)
    return messages


def frames(folder: Path, path: Path, *overrides: str, clock: str = "receive") -> list[Frame]:
    config = folder / "config.yaml"
    config.write_text(
        f"source: {{path: '{path}'}}\ntimeline: {{from: arm}}\nstreams:\n"
        f"  arm: {{topic: /arm, field: position, clock: {clock}}}\n"
        f"  n: {{topic: /n, field: data, align: previous}}\n"
    )
    return list(streamer.open(config, *overrides).frames())


@pytest.mark.parametrize("form", FORMS)
def test_a_playback_that_loops_is_refused_or_read_pass_by_pass(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, looped(form, 3))
    with pytest.raises(RecordingError, match=r"streams\.arm\.clock: .*the receive stamps jump from .* at message 100"):
        frames(tmp_path, path)
    for which in ("first", "last"):
        ticks = [frame.tick for frame in frames(tmp_path, path, f"source.resets={which}")]
        assert ticks == list(PASS)
    found = frames(tmp_path, path, "source.resets=split")
    assert [frame.tick for frame in found] == [*PASS] * 3
    assert [frame.tick_number for frame in found] == [*range(100), *range(101, 201), *range(202, 302)]
    assert all(sample is not None and abs(sample.offset) < SECOND // 10 for f in found for sample in f.samples.values())


def test_each_frame_of_a_pass_shows_messages_of_that_pass(tmp_path: Path) -> None:
    """The clock is set back by a second and a half: most of the time comes twice, with other values."""
    stamps = [*range(START, START + 2 * SECOND, SECOND // 50)]
    again = [stamp + SECOND // 2 for stamp in stamps]
    values = [
        Message(topic, stamp, encoded("cdr", "std_msgs/msg/Float64", data=float(number)))
        for number, stamp in enumerate([*stamps, *again])
        for topic in ("/a", "/b")
    ]
    path = record(tmp_path / "bag", "mcap-zstd", values)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"source: {{path: '{path}', resets: split}}\ntimeline: {{from: a, rate: 25 Hz}}\n"
        "streams: {a: {topic: /a, field: data}, b: {topic: /b, field: data, align: linear}}\n"
    )
    found = [(frame["a"], frame["b"]) for frame in streamer.open(config).frames()]
    told = [(float(a[0]), float(b[0])) for a, b in found if a is not None and b is not None]
    assert told == [(float(n), float(n)) for n in [*range(0, 100, 2), *range(100, 200, 2)]]


def test_a_clock_of_headers_that_jumps_is_refused_only_by_the_stream_that_follows_it(tmp_path: Path) -> None:
    said = {stamp: stamp - (5 * SECOND if n >= 60 else 0) for n, stamp in enumerate(PASS)}
    path = record(tmp_path / "bag", "ros1", [*joints("/arm", said), *numbers("/n", PASS[::5])])
    assert len(frames(tmp_path, path)) == 100
    with pytest.raises(RecordingError, match=r"the header stamps jump .* at message 60.* or 'clock: receive'"):
        frames(tmp_path, path, clock="header")


def test_two_pictures_with_one_stamp_are_two_frames_of_their_own_timeline(tmp_path: Path) -> None:
    when = [START + n * SECOND // 30 for n in range(30)]
    when[11] = when[10]
    when[21] = when[22] = when[20]
    values = {"height": 1, "width": 1, "encoding": "mono8", "step": 1}
    pictures = [
        Message("/cam", stamp, encoded("cdr", IMAGE, header=header(stamp), data=np.full(1, n), **values), IMAGE)
        for n, stamp in enumerate(when)
    ]
    path = record(tmp_path / "bag", "mcap", [*pictures, *numbers("/n", when[:1], "cdr")])
    config = tmp_path / "config.yaml"
    config.write_text(
        f"source: {{path: '{path}'}}\ntimeline: {{from: cam}}\nstreams:\n"
        "  cam: {topic: /cam}\n  same: {topic: /cam, align: previous}\n  n: {topic: /n, field: data, missing: hold}\n"
    )
    for overrides in ((), ("timeline.rate=30 Hz",)):
        found = list(streamer.open(config, *overrides).frames())
        assert [int(frame["cam"][0, 0]) for frame in found if frame["cam"] is not None] == list(range(30))
        assert [int(frame["same"][0, 0]) for frame in found if frame["same"] is not None] == list(range(30))
        assert [frame.tick for frame in found] == when
