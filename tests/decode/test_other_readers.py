"""Serialized messages → the numbers that `mcap-ros2-support` reads, where rosbags reads others or none."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from streamer.decode.wire import Wire
from streamer.source.definition import closure, parse

KIND = "my_msgs/msg/Thing"


def theirs(text: str, message: bytes) -> Any:
    """Decode a message with the other reader."""
    decode = DecoderFactory().decoder_for("cdr", Schema(data=text.encode(), encoding="ros2msg", id=1, name=KIND))
    assert decode is not None
    return decode(message)


def ours(text: str, path: str, message: bytes) -> list[Any]:
    wire = Wire(closure(KIND, parse(text, "msg", KIND).types), "cdr", big_endian=message[1] == 0)
    return list(wire.field(KIND, path).read(memoryview(message)).tolist())


def test_a_byte_of_ros2_is_unsigned() -> None:
    message = b"\0\1\0\0" + bytes([200, 3, 0, 0]) + struct.pack("<I", 2) + bytes([255, 128])
    text = "byte b\nbyte[1] one\nbyte[] many\n"
    read = theirs(text, message)
    assert ours(text, "b", message) == [read.b] == [200]
    assert ours(text, "many", message) == list(read.many) == [255, 128]


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_message_without_fields_takes_a_byte_inside_another(order: str) -> None:
    text = f"std_msgs/Empty trigger\nuint8 level\nstd_msgs/Empty[2] more\nfloat64 x\n{'=' * 80}\nMSG: std_msgs/Empty\n"
    message = bytes([0, order == "<", 0, 0]) + bytes([0, 77, 0, 0, 0, 0, 0, 0]) + struct.pack(f"{order}d", 1.5)
    read = theirs(text, message)
    assert ours(text, "level", message) == [read.level] == [77]
    assert ours(text, "x", message) == [read.x] == [1.5]
