"""Segments of video: what encodes them holds its caller up, and joining them loses and changes nothing."""

from __future__ import annotations

import os
import re
import threading
from fractions import Fraction
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from consumers import encoders, files, mp4
from consumers.encoders import HARDWARE, check_encoder
from consumers.lerobot.features import make_features
from consumers.mp4 import Coding, Part, Segment, alike, check_size, fraction, join
from consumers.video import Video
from streamer.contract import StreamInfo
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

RATE = Fraction(30)
RAMP = np.add.outer(np.arange(64), np.arange(96))[..., None] + np.array([0, 20, 40])
PICTURES = np.stack([RAMP + n for n in range(20)]).astype(np.uint8)  # slow: a cut would begin with a key frame


def encode(path: Path, pictures: NDArray[np.uint8], coding: Coding) -> None:
    segment = Segment(path, RATE, coding)
    for picture in pictures:
        segment.add(picture)
    segment.end()
    segment.wait()


def packets(path: Path) -> list[tuple[Fraction, bool, bytes]]:
    with av.open(str(path)) as file:
        found = [packet for packet in file.demux(video=0) if packet.size]
        return [(Fraction(p.pts or 0) * p.time_base, p.is_keyframe, bytes(p)) for p in found]


@pytest.mark.parametrize("codec", ["libsvtav1", "h264"])
@pytest.mark.parametrize("gop", [2, 30])
def test_joined_segments_are_their_packets_one_after_the_other(tmp_path: Path, codec: str, gop: int) -> None:
    coding = Coding(codec, gop=gop)
    parts = [tmp_path / f"{n}.mp4" for n in range(3)]
    for path, pictures in zip(parts, np.split(PICTURES, [7, 8]), strict=True):
        encode(path, pictures, coding)
    assert alike(parts[0], parts[2])
    assert join(map(Part, parts), tmp_path / "all.mp4", RATE) == 20
    found = packets(tmp_path / "all.mp4")
    assert [time for time, _, _ in found] == [n / RATE for n in range(20)]
    assert [content for _, _, content in found] == [content for path in parts for _, _, content in packets(path)]
    keys = [n for n, (_, key, _) in enumerate(found) if key]
    assert keys == ([0, 2, 4, 6, 7, *range(8, 20, 2)] if gop == 2 else [0, 7, 8])
    assert join([Part(tmp_path / "all.mp4", 5)], tmp_path / "some.mp4", RATE) == 5
    assert packets(tmp_path / "some.mp4") == found[:5]


@pytest.mark.parametrize("codec", ["libsvtav1", "h264"])
def test_every_file_says_how_its_colours_are_meant(tmp_path: Path, codec: str) -> None:
    encode(tmp_path / "part.mp4", PICTURES[:3], Coding(codec, quality=5))
    join([Part(tmp_path / "part.mp4")], tmp_path / "whole.mp4", RATE)
    with av.open(str(tmp_path / "whole.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.color_range, context.colorspace) == (1, 6)  # limited range, BT.601
        shown = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(shown.astype(int) - PICTURES[0]).mean() < 4


def test_a_speed_fills_in_what_is_left_out_and_no_more(tmp_path: Path) -> None:
    usual = Coding()
    assert Coding.choose(usual, "balanced", None, None, None, None) == usual
    assert Coding.choose(usual, "fast", None, None, None, None) == Coding("libsvtav1", 30, 30, None, "fast")
    assert Coding.choose(usual, "fastest", None, None, None, None) == Coding("h264", 23, 30, None, "fastest")
    assert Coding.choose(usual, "fastest", "libsvtav1", None, 5, 2) == Coding("libsvtav1", 30, 5, 2, "fastest")
    assert Coding.choose(usual, "balanced", "h264", None, None, None) == Coding("h264", 30, 2)
    with pytest.raises(ValueError, match="speed is balanced, fast or fastest, not 'quick'"):
        Coding.choose(usual, "quick", None, None, None, None)
    for speed, preset in (("balanced", b"me=hex subme=7"), ("fast", b"subme=2"), ("fastest", b"subme=0")):
        encode(tmp_path / "one.mp4", PICTURES[:2], Coding("h264", speed=speed))
        assert preset in (tmp_path / "one.mp4").read_bytes()  # x264 writes its settings into the first packet


def test_cameras_that_have_the_cores_busy_are_encoded_by_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert Coding().beside(1).threads is None
    assert Coding().beside(2).threads == Coding().beside(3).threads == 1
    assert Coding(threads=4).beside(3).threads == 4


def test_videos_of_other_quality_or_size_are_not_joined_unawares(tmp_path: Path) -> None:
    for name, coding in (("one", Coding("h264", 20)), ("other", Coding("h264", 40)), ("av1", Coding())):
        encode(tmp_path / name, PICTURES[:2], coding)
    encode(tmp_path / "small", PICTURES[:2, :32].copy(), Coding("h264", 20))
    assert not alike(tmp_path / "one", tmp_path / "av1")
    assert not alike(tmp_path / "one", tmp_path / "small")
    assert alike(tmp_path / "one", tmp_path / "one")


def test_a_slow_encoder_holds_its_caller_up_and_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, plain = threading.Event(), Segment._encode  # noqa: SLF001 - the one place where time can be taken

    def slow(self: Segment, frame: Any) -> None:
        assert gate.wait(30)
        plain(self, frame)

    monkeypatch.setattr(Segment, "_encode", slow)
    segment, taken = Segment(tmp_path / "slow.mp4", RATE, Coding("h264")), []

    def feed() -> None:
        for number, picture in enumerate(PICTURES):
            segment.add(picture)
            taken.append(number)

    caller = threading.Thread(target=feed)
    caller.start()
    caller.join(0.5)
    assert taken in ([], [0])  # the second waits for the first
    gate.set()
    caller.join(30)
    segment.end()
    segment.wait()
    assert taken == list(range(20))
    assert len(packets(tmp_path / "slow.mp4")) == 20


def test_a_picture_is_not_kept_when_it_was_taken(tmp_path: Path) -> None:
    segment = Segment(tmp_path / "one.mp4", RATE, Coding("h264"))
    picture = PICTURES[0].copy()
    picture.flags.writeable = False
    segment.add(picture)
    view = memoryview(picture)  # which can be released only where nobody else looks
    view.release()
    picture.flags.writeable = True
    picture.resize((1,), refcheck=True)
    segment.end()
    segment.wait()


def test_what_an_encoder_says_is_brought_to_its_caller(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        encode(tmp_path / "no" / "folder.mp4", PICTURES, Coding("h264"))


def test_odd_sizes_are_refused_with_an_even_one_to_use() -> None:
    check_size("head", (480, 640, 3))
    with pytest.raises(ConfigError, match=r"641x480 pixels.*resize: \[640, 480\]"):
        check_size("head", (480, 641, 3))


def test_pictures_on_which_an_older_encoder_crashes_are_refused_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen of PyAV 15.0 to 17.0: 16x12 and 24x24 pixels end the process or hang, 32x16 are encoded."""
    for there in ("15.0.0", "16.1.0", "17.0.0"):
        monkeypatch.setattr(mp4, "version", lambda _, there=there: there)
        with pytest.raises(ConfigError, match=rf"16x12 pixels: SVT-AV1 in av {re.escape(there)} .*'codec: h264'"):
            check_size("depth", (12, 16), "libsvtav1")
        check_size("depth", (16, 32), "libsvtav1")
        check_size("depth", (12, 16), "h264")
    monkeypatch.setattr(mp4, "version", lambda _: "17.1.0")
    check_size("depth", (12, 16), "libsvtav1")
    with pytest.raises(ConfigError, match="64x2 pixels: SVT-AV1 encodes 4x4 and more; choose 'codec: h264'"):
        check_size("depth", (2, 64), "libsvtav1")


@pytest.mark.parametrize("codec", ["libsvtav1", None])
def test_a_dataset_holds_its_cameras_against_the_encoder_before_it_begins(codec: str | None) -> None:
    camera = StreamInfo("front", "/front", "sensor_msgs/msg/Image", "image", (2, 2, 3), np.dtype(np.uint8))
    wanted = {"observation.images.front": ["front"]}
    if codec is None:
        assert make_features(wanted, {}, {"front": camera}, codec=None)[0].dtype == "image"
        return
    with pytest.raises(ConfigError, match="2x2 pixels: SVT-AV1 encodes 4x4 and more"):
        make_features(wanted, {}, {"front": camera}, codec=codec)


class _Rational:
    """As PyAV 19 gives it: neither a number of Python's nor one that can be rounded."""

    numerator, denominator = 30_000, 1_001


@pytest.mark.parametrize("given", [Fraction(30_000, 1_001), _Rational()])
def test_a_rational_number_of_any_version_of_pyav_is_understood(given: object) -> None:
    assert fraction(given, "a stream's base_rate") == Fraction(30_000, 1_001)


@pytest.mark.parametrize("given", [None, "30", 29.97])
def test_what_is_no_rational_number_is_blamed_on_pyav_and_its_version(given: object) -> None:
    with pytest.raises(ConfigError, match=rf"av {re.escape(version('av'))}: a stream's base_rate is .*{given}"):
        fraction(given, "a stream's base_rate")


def test_an_encoder_that_pyav_was_built_without_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_encoder("libsvtav1")
    monkeypatch.setattr(av, "codecs_available", {"libx264"})
    with pytest.raises(ConfigError, match=rf"av {re.escape(version('av'))} .*libsvtav1.*'codec: h264'"):
        check_encoder("libsvtav1")


@pytest.mark.parametrize("codec", HARDWARE)
def test_an_encoder_in_hardware_is_tried_with_a_picture_before_anything_starts(codec: str, tmp_path: Path) -> None:
    try:
        context: Any = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", Fraction(1, 30)
        context.open()
    except (ValueError, av.FFmpegError):
        with pytest.raises(ConfigError, match=rf"{codec}.*choose 'codec: libsvtav1'"):
            Video(str(tmp_path), codec=codec)
    else:
        Video(str(tmp_path), codec=codec)


def test_a_picture_tells_whether_an_encoder_works() -> None:
    assert encoders.failure("libx264") == ""
    assert encoders.failure("libx264rgb") != ""  # which takes no YUV 4:2:0


def test_a_library_that_is_older_than_what_is_declared_is_named_with_both_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for there in ("15.0", "15.0.1", "19.0.2", "99"):
        monkeypatch.setattr(files, "version", lambda _, there=there: there)
        assert files.require("av", "video") is av
    for there in ("14.4.0", "9.2.0", "15.rc1"):
        monkeypatch.setattr(files, "version", lambda _, there=there: there)
        with pytest.raises(ConfigError, match=rf"av {re.escape(there)} is too old, 15.0 .*rosbag-streamer\[video\]"):
            files.require("av", "video")


@pytest.mark.soak
@pytest.mark.parametrize("threads", [1, None])
def test_a_thousand_processes_encode_the_same_to_the_same_bytes(tmp_path: Path, threads: int | None) -> None:
    """Of x264 that is given used memory, one process in sixty differs, in its third segment or its fourth."""
    takes = [np.roll(PICTURES[:5], 7 * n, axis=2) for n in range(4)]

    def encode_all() -> bytes:
        for n, pictures in enumerate(takes):
            encode(tmp_path / f"{n}.mp4", pictures, Coding("h264", gop=2, quality=30, threads=threads))
        return b"".join(sha256((tmp_path / f"{n}.mp4").read_bytes()).digest() for n in range(len(takes)))

    assert len({forked(encode_all) for _ in range(1000)}) == 1


def forked(work: Callable[[], bytes]) -> bytes:
    """Return what some work comes to in a process of its own."""
    end, other = os.pipe()
    child = os.fork()
    if not child:
        os.write(other, work())
        os._exit(0)
    os.close(other)
    found = b"".join(iter(partial(os.read, end, 1 << 16), b""))
    os.close(end)
    assert os.waitpid(child, 0)[1] == 0
    return found
