"""Serialized messages → the numbers that `mcap-ros2-support` reads, where rosbags reads others or none."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from streamer.decode.image import ImageDecoder
from streamer.decode.points import PointsDecoder
from streamer.decode.vector import VectorDecoder
from streamer.decode.wire import Wire
from streamer.errors import ConfigError, DecodeError
from streamer.records import Decoding
from streamer.source.definition import DefinitionError, closure, parse
from tests.bags import payload

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


@pytest.mark.parametrize(("kind", "order"), [(6, ">"), (7, "<"), (0x10, ">"), (0x11, "<")])
def test_the_second_version_of_cdr_is_read_where_it_looks_as_the_first(kind: int, order: str) -> None:
    text = "uint8 a\nfloat32[2] b\nstring s\nint16[] c\n"
    body = struct.pack(f"{order}B3x2fI4sI2h", 7, 1.5, -2.5, 4, b"abc\0", 2, -1, 300)
    first = bytes([0, order == "<", 0, 0]) + body
    wire = VectorDecoder(KIND, closure(KIND, parse(text, "msg", KIND).types), "cdr", Decoding(field="c"))
    assert wire.values(payload(bytes([0, kind, 0, 0]) + body)).tolist() == list(theirs(text, first).c) == [-1, 300]


@pytest.mark.parametrize("text", ["float64 c\n", "string[] s\nint16[] c\n", "Other[] o\nint16[] c\n"])
def test_the_second_version_of_cdr_is_refused_by_name_where_it_looks_different(text: str) -> None:
    types = closure(KIND, parse(f"{text}{'=' * 80}\nMSG: my_msgs/Other\nint8 x\n", "msg", KIND).types)
    wire = VectorDecoder(KIND, types, "cdr", Decoding(field="c"))
    with pytest.raises(DecodeError, match=r"the encapsulation CDR2 \(0007\); plain CDR"):
        wire.probe(payload(b"\0\7\0\0" + bytes(64)))


@pytest.mark.parametrize(
    ("first", "name"), [("0002", "PL_CDR"), ("0009", "D_CDR2"), ("000b", "PL_CDR2"), ("0014", "D_CDR2")]
)
def test_an_encapsulation_with_other_lengths_is_refused_by_name(first: str, name: str) -> None:
    message = bytes.fromhex(first) + bytes(62)
    numbers = VectorDecoder(KIND, closure(KIND, parse("int8 c\n", "msg", KIND).types), "cdr", Decoding(field="c"))
    for decoder in (numbers, ImageDecoder("cdr", Decoding()), PointsDecoder("cdr", Decoding())):
        with pytest.raises(DecodeError, match=rf"the encapsulation {name} \({first}\)"):
            decoder.probe(payload(message))


def test_what_stands_before_a_wstring_is_read_and_what_stands_behind_is_refused() -> None:
    text = "float64 x\nwstring note\nfloat64 y\n"
    message = b"\0\1\0\0" + struct.pack("<dI4sd", 2.5, 2, "hi".encode("utf-16-le"), 3.5)
    assert ours(text, "x", message) == [2.5]
    with pytest.raises(ConfigError, match=r"a field of type 'wstring' stands before it .* two bytes or four"):
        ours(text, "y", message)


# Definitions that ask for more than a message can hold


@pytest.mark.parametrize(
    "text",
    [
        "float64[1000000000] a\nfloat64 x\n",
        f"uint8[{2**40}] a\nfloat64 x\n",
        f"my_msgs/Thing[{2**70}] a\nfloat64 x\n",
        "my_msgs/Thing again\nfloat64 x\n",
        "Inner[1000000] a\nfloat64 x\n",
    ],
)
def test_a_type_that_no_message_can_hold_is_refused_at_once(text: str) -> None:
    inner = f"{'=' * 80}\nMSG: my_msgs/Inner\nfloat64[1000] many\n"
    with pytest.raises(DefinitionError, match=r"would take at least \d+ bytes|contains itself"):
        closure(KIND, parse(text + inner, "msg", KIND).types)


def test_types_nested_thousands_of_levels_deep_are_refused_at_once() -> None:
    parts = [f"{'=' * 80}\nMSG: my_msgs/T{n}\nT{n + 1} inner\n" for n in range(3000)]
    with pytest.raises(DefinitionError, match="nested more than 64 levels deep"):
        closure(KIND, parse("T0 first\n" + "".join(parts), "msg", KIND).types)


@pytest.mark.parametrize("end", ["float64 x\n", "", "uint8 K=1\n", "float64[0] none\n", "float64[] some\n"])
def test_types_that_multiply_are_refused_by_their_size_or_their_number(end: str) -> None:
    parts = [f"{'=' * 80}\nMSG: my_msgs/T{n}\n" + "".join(f"T{n + 1} f{k}\n" for k in range(10)) for n in range(30)]
    last = f"{'=' * 80}\nMSG: my_msgs/T30\n{end}"
    with pytest.raises(DefinitionError, match=r"would take at least|fields, those of its fields counted"):
        closure(KIND, parse("T0 first\nfloat64 x\n" + "".join(parts) + last, "msg", KIND).types)


def test_a_list_that_claims_millions_of_empty_messages_in_each_of_many_is_stepped_over_at_once() -> None:
    parts = f"{'=' * 80}\nMSG: my_msgs/Outer\nInner[] some\n{'=' * 80}\nMSG: my_msgs/Inner\n"
    types = closure(KIND, parse(f"Outer[] many\nfloat64 x\n{parts}", "msg", KIND).types)
    count = 10**6
    message = memoryview(np.full(count + 1, count, "<u4").tobytes() + struct.pack("<d", 2.5))
    assert Wire(types, "ros1").field(KIND, "x").read(message).tolist() == [2.5]
    with pytest.raises(ConfigError, match="is no number"):
        Wire(types, "ros1").field(KIND, "many")


@pytest.mark.parametrize("text", ["uint8[100000000] a\nfloat32 x\n", "Inner[3000000] a\nfloat32 x\n"])
def test_a_large_array_is_stepped_over_without_being_spelled_out(text: str) -> None:
    types = closure(KIND, parse(f"{text}{'=' * 80}\nMSG: my_msgs/Inner\nstring s\n", "msg", KIND).types)
    for path in ("x", "a[0:3]" if "uint8" in text else "x"):
        with pytest.raises(DecodeError):
            Wire(types, "cdr").field(KIND, path).read(memoryview(b"\0\1\0\0" + bytes(100)))


def test_a_definition_that_was_cut_in_a_nested_type_is_found_by_the_length_of_the_message() -> None:
    whole = f"Point p\nfloat64 w\n{'=' * 80}\nMSG: my_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n"
    message = b"\0\1\0\0" + struct.pack("<4d", 1, 2, 3, 4)
    assert ours(whole, "w", message) == [theirs(whole, message).w] == [4]
    cut = closure(KIND, parse(whole.removesuffix("float64 z\n"), "msg", KIND).types)
    with pytest.raises(DecodeError, match=r"36 bytes whose fields take 28: .*'types:'"):
        VectorDecoder(KIND, cut, "cdr", Decoding(field="w")).probe(payload(message))
