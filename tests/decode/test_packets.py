"""Heads of video packets and Protocol Buffers: names of codecs, and nonsense that is refused."""

from __future__ import annotations

import pytest

from streamer.decode.packets import Kind, Scanner, codec_of
from streamer.decode.protobuf import fields_of
from streamer.errors import DecodeError


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("h264", "h264"),
        ("H.264", "h264"),
        ("libx264", "h264"),
        ("h264_nvenc;yuv420p;bgr8;bgr8", "h264"),
        ("hevc_vaapi", "hevc"),
        ("libx264rgb", "h264"),
        ("h265", "hevc"),
        ("libkvazaar", "hevc"),
        ("librav1e", "av1"),
        ("libsvtav1", "av1"),
        ("av1_qsv", "av1"),
        ("libaom-av1", "av1"),
        ("libvpx-vp9", "vp9"),
        ("rgb8; h264 compressed", "h264"),
        ("rgb8; jpeg compressed bgr8", None),
        ("16UC1; compressedDepth png", None),
        ("bgr8", None),
        ("", None),
    ],
)
def test_a_codec_is_known_by_the_names_of_its_encoders(text: str, codec: str | None) -> None:
    assert codec_of(text) == codec


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_bytes_of_another_kind_are_refused_or_hold_no_picture(codec: str) -> None:
    assert Scanner(codec).look(memoryview(b"")).kind == Kind.NOTHING
    with pytest.raises(DecodeError, match=codec):
        Scanner(codec).look(memoryview(b"\x00\xff\xd8\xff jpeg" if codec != "av1" else b"\xff\xd8\xff\xe0"))


def test_a_packet_that_is_cut_off_anywhere_in_its_head_is_no_error_of_the_program() -> None:
    whole = bytes.fromhex("0000000167640029ac2b40280 2dd80".replace(" ", "")) + b"\0\0\0\1\x65\x88\x84\x00\x33"
    looks = [Scanner("h264").look(memoryview(whole[:length]), cut=True) for length in range(4, len(whole))]
    assert all(look.whole == (look.kind == Kind.KEY) for look in looks)
    assert looks[-1].kind == Kind.KEY


@pytest.mark.parametrize("data", [b"\x1a\x05ab", b"\x0b", b"\x08\x80", b"\x08" + b"\xff" * 11, b"\x09\0\0"])
def test_a_damaged_message_of_protocol_buffers_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        list(fields_of(memoryview(data)))
