"""Video packets that are missing, came twice or cannot be read → PyAV's pictures, or a refusal up to the next key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bags import START
from tests.runtime.shown import CLOSED, OPEN, QUICK, VP9, Prepare, refused
from tests.videos import FFMPEG, FOXGLOVE, PERIOD, Packet, decoded, encode, message, video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def test_a_packet_that_cannot_be_read_leaves_the_other_pictures_at_their_stamps(
    prepared: Prepare, images: list[NDArray[np.uint8]], h264: list[Packet]
) -> None:
    between = encode("libx264", images, {"preset": "veryfast", "x264-params": "b-adapt=0"})
    for packets in (h264, between):
        right = [decoded("h264", packets)[n] for n in range(32)]
        messages = video("/cam", "cdr", FFMPEG, "h264", packets)
        bad = next(number for number, packet in enumerate(packets) if packet.pts == 13)
        data = b"\xff\xff\xff\xff" + packets[bad].data[4:]
        other = message("/cam", "cdr", FFMPEG, "h264", packets[bad]._replace(data=data), messages[bad].stamp)
        short = messages[bad]._replace(data=messages[bad].data[:-40])
        for one in [other] if packets is between else [other, short]:  # what is cut off tells no pts
            found = prepared([*messages[:bad], one, *messages[bad + 1 :]], "mcap", undecodable="skip")
            frames = refused(found, right)
            assert 13 in frames
            assert set(frames) <= set(range(11, 20))


def test_a_packet_that_came_twice_and_a_key_picture_lost_between_equal_numbers_are_seen(
    prepared: Prepare, h264: list[Packet], images: list[NDArray[np.uint8]]
) -> None:
    vp9 = encode("libvpx-vp9", images, VP9)
    for codec, packets, kind in (("h264", h264, FOXGLOVE), ("h264", h264, FFMPEG), ("vp9", vp9, FFMPEG)):
        twice = [*packets[:14], packets[13], *packets[14:]]
        right = decoded(codec, packets)
        found = prepared(video("/cam", "cdr", kind, codec, twice), "mcap", undecodable="skip")
        assert refused(found, [right[packet.pts] for packet in twice]) == list(range(14, 21))
    pairs = encode("libx264", images, QUICK, gop=2)
    right = decoded("h264", pairs)
    left = [packet for packet in pairs if packet.pts != 10]
    found = prepared(video("/cam", "cdr", FOXGLOVE, "h264", left), "mcap", undecodable="skip")
    assert refused(found, [right[packet.pts] for packet in left]) == [10]


def test_a_gap_as_long_as_a_group_is_refused_by_the_pts_or_told_of(
    prepared: Prepare, images: list[NDArray[np.uint8]], h264: list[Packet]
) -> None:
    for codec, packets in (("h264", h264), ("hevc", encode("libx265", images, CLOSED))):
        right = decoded(codec, packets)
        messages = video("/cam", "cdr", FFMPEG, codec, packets)
        found = prepared(messages[:4] + messages[14:], "mcap", undecodable="skip")
        assert refused(found, [right[n] for n in (*range(4), *range(14, 32))]) == list(range(4, 10))
        assert not found.warnings
        messages = video("/cam", "cdr", FOXGLOVE, codec, packets)
        (warning,) = prepared(messages[:4] + messages[14:], "mcap", undecodable="skip").warnings
        assert "cam: 1 gap between key pictures" in warning
        assert not prepared(messages, "mcap").warnings
        bunched = [message("/cam", "cdr", FOXGLOVE, codec, p, START + p.pts // 3 * 3 * PERIOD) for p in packets]
        assert not prepared(bunched, "mcap").warnings


def test_a_gap_of_sixteen_pictures_hides_from_frame_num_and_is_refused_by_the_pts_or_told_of(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libx264", images, QUICK, gop=100)  # frame_num counts to 15
    right = decoded("h264", packets)
    messages = video("/cam", "cdr", FFMPEG, "h264", packets)
    found = prepared(messages[:8] + messages[24:], "mcap", undecodable="skip")
    assert refused(found, [right[n] for n in (*range(8), *range(24, 32))]) == list(range(8, 16))
    messages = video("/cam", "cdr", FOXGLOVE, "h264", packets)
    (warning,) = prepared(messages[:8] + messages[24:], "mcap", undecodable="skip").warnings
    assert "cam: 1 gap between key pictures" in warning


def test_a_camera_that_paused_has_lost_no_picture(
    prepared: Prepare, images: list[NDArray[np.uint8]], h264: list[Packet]
) -> None:
    for codec, packets in (("h264", h264), ("hevc", encode("libx265", images, CLOSED))):
        right = decoded(codec, packets)
        paused = [p if n < 15 else p._replace(pts=p.pts + 13) for n, p in enumerate(packets)]
        found = prepared(video("/cam", "cdr", FFMPEG, codec, paused), "mcap")
        assert refused(found, [right[n] for n in range(32)]) == []
        assert not found.warnings


def test_a_publisher_that_starts_again_keeps_its_stamps_where_its_first_packet_was_lost(
    prepared: Prepare, images: list[NDArray[np.uint8]], h264: list[Packet]
) -> None:
    for packets in (h264, encode("libx264", images, {"preset": "veryfast"})):
        pictures = decoded("h264", packets)
        for again, lost in ((packets, []), (packets[1:], list(range(25, 34)))):
            messages = video("/cam", "cdr", FFMPEG, "h264", [*packets[:25], *again])
            found = prepared(messages, "mcap", undecodable="skip")
            shown = [*sorted(packet.pts for packet in packets[:25]), *sorted(packet.pts for packet in again)]
            assert refused(found, [pictures[n] for n in shown]) == lost


def test_what_a_damaged_leading_picture_takes_with_it_is_the_same_in_any_order(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libx265", images, {"preset": "ultrafast", "x265-params": f"{OPEN['x265-params']}:b-adapt=0"})
    right = decoded("hevc", packets)
    key = next(number for number, packet in enumerate(packets) if packet.pts == 10)
    for left in ([*packets[: key + 1], *packets[key:]], [p for n, p in enumerate(packets) if n != key - 4]):
        messages = video("/cam", "cdr", FFMPEG, "hevc", left)
        shown = sorted(packet.pts for packet in left)
        one, other = (prepared(messages, "mcap", undecodable="skip") for _ in range(2))
        lost = refused(one, [right[n] for n in shown])
        assert {shown[frame] for frame in lost} <= set(range(4, 20))
        assert refused(other, [right[n] for n in shown], reversed(range(len(shown)))) == lost


def test_an_empty_packet_of_a_codec_that_does_not_count_is_a_lost_one(
    prepared: Prepare, images: list[NDArray[np.uint8]]
) -> None:
    packets = encode("libvpx-vp9", images, VP9)
    right = decoded("vp9", packets)
    empty = [*packets[:13], packets[13]._replace(data=b""), *packets[14:]]
    found = prepared(video("/cam", "cdr", FOXGLOVE, "vp9", empty), "mcap", undecodable="skip")
    assert refused(found, [right[n] for n in range(32)]) == list(range(13, 20))
