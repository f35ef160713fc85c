"""Strings of messages → samples of kind text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import streamer
from streamer.decode import make_decoder
from streamer.decode.text import TextDecoder
from streamer.errors import ConfigError, DecodeError
from streamer.records import TEXT, Decoding, Topic
from streamer.source.definition import closure, parse
from tests.bags import JOINTS, encoded, payload, store

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
STRING = "std_msgs/msg/String"
WIRES = ["ros1", "cdr", "cdr_be"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def decoder(wire: str, msgtype: str = STRING, field: str | None = None, **how: Any) -> TextDecoder:
    kind = wire.removesuffix("_be")
    found = make_decoder(Topic("/t", msgtype, 1, encoding=kind), store(kind).fielddefs, Decoding(field=field, **how))
    assert isinstance(found, TextDecoder)
    return found


def read(found: TextDecoder, data: bytes) -> str:
    spec = found.probe(payload(data))
    out = np.full(spec.shape, b"?", TEXT)
    rows = found.decode(payload(data), out)
    assert rows == found.rows(payload(data))
    assert spec.is_text
    assert spec.variable
    return out[:rows].tobytes().decode()


@pytest.mark.parametrize("wire", WIRES)
@given(text=TEXTS)
@settings(max_examples=60, deadline=None)
def test_any_text_is_what_rosbags_wrote(wire: str, text: str) -> None:
    if wire != "ros1" and text.endswith("\x00"):  # ROS 2 ends a string with one itself, and takes one away
        return
    assert read(decoder(wire), encoded(wire, STRING, data=text)) == text


@pytest.mark.parametrize("wire", WIRES)
def test_a_string_is_found_behind_other_fields_and_in_lists(wire: str) -> None:
    names = encoded(wire, JOINTS, header={"frame_id": "tööl"}, name=["waist", "", "grip"], position=[1.0, 2.0, 3.0])
    assert read(decoder(wire, JOINTS, "header.frame_id"), names) == "tööl"
    assert [read(decoder(wire, JOINTS, f"name[{n}]"), names) for n in (0, 1, 2, -1)] == ["waist", "", "grip", "grip"]
    with pytest.raises(ConfigError, match=r"element \[3\] of a list of 3 does not exist"):
        decoder(wire, JOINTS, "name[3]").probe(payload(names))


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_text_is_refused_at_every_byte(wire: str) -> None:
    data = encoded(wire, STRING, data="pick the red cup")
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            decoder(wire).rows(payload(data[:length]))


def test_strings_of_writers_that_count_no_nul_are_read_as_ros_2_reads_them() -> None:
    assert read(decoder("cdr"), b"\x00\x01\x00\x00" + b"\x02\x00\x00\x00ab") == "ab"
    assert read(decoder("cdr"), b"\x00\x01\x00\x00" + b"\x00\x00\x00\x00") == ""


@pytest.mark.parametrize(("text", "at"), [(b"\xff", 0), (b"ab\xc3", 2), (b"\xed\xa0\x80", 0)])
def test_what_is_no_utf_8_is_refused_with_its_place(text: bytes, at: int) -> None:
    data = len(text).to_bytes(4, "little") + text
    with pytest.raises(DecodeError, match=rf"field 'data' is no text in UTF-8: .* at byte {at} of {len(text)}"):
        decoder("ros1").probe(payload(data))


def test_what_a_text_cannot_have_is_refused_and_a_capacity_is_kept() -> None:
    for setting in ({"scale": 2.0}, {"elements": ("a",)}, {"resize": (2, 2)}, {"map": ("gray",)}):
        with pytest.raises(ConfigError, match=next(iter(setting))):
            decoder("cdr", **setting)
    short = decoder("cdr", capacity=3)
    assert read(short, encoded("cdr", STRING, data="äb")) == "äb"
    with pytest.raises(DecodeError, match=r"a text of 4 bytes where the stream has 'capacity: 3'"):
        short.decode(payload(encoded("cdr", STRING, data="äbc")), np.zeros(3, TEXT))


# Wide strings, which rosbags cannot write: writers give a code unit of UTF-16 two bytes or four

WIDE = "my_msgs/msg/Note"


def wide(text: str, size: int, order: str, behind: bytes = b"") -> bytes:
    units = np.frombuffer(text.encode("utf-16-le"), "<u2")
    start = b"\0\1\0\0" if order == "<" else b"\0\0\0\0"
    return start + np.array([len(units)], f"{order}u4").tobytes() + units.astype(f"{order}u{size}").tobytes() + behind


def wide_decoder(definition: str, field: str | None = None) -> TextDecoder:
    types = closure(WIDE, parse(definition, "msg", WIDE).types)
    found = make_decoder(Topic("/t", WIDE, 1), types, Decoding(field=field))
    assert isinstance(found, TextDecoder)
    return found


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_wide_text_is_read_whichever_size_its_letters_have(order: str, size: int, text: str) -> None:
    assert read(wide_decoder("wstring data\n"), wide(text, size, order)) == text
    behind = wide_decoder("wstring data\nfloat64[8] more\n", "data")
    assert read(behind, wide(text, size, order, np.random.default_rng(len(text)).bytes(64))) == text


def test_a_wide_text_that_is_cut_or_no_utf16_is_refused() -> None:
    found = wide_decoder("wstring data\n")
    with pytest.raises(DecodeError, match="a text of 4 letters in 7 bytes: the message is cut"):
        found.probe(payload(wide("grün", 2, "<")[:-1]))
    alone = b"\0\1\0\0\2\0\0\0" + np.array([0x61, 0xD800], "<u2").tobytes()
    with pytest.raises(DecodeError, match="a wstring is no UTF-16: unexpected end of data at letter 1 of 2"):
        found.probe(payload(alone))


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the recordings in {CASES} are not there")
def test_the_wide_texts_of_a_recording_are_read(tmp_path: Path) -> None:
    config = {
        "source": {"path": str(CASES / "wstring.mcap")},
        "timeline": {"from": "it"},
        "streams": {"it": {"topic": "/w", "field": "note"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found = [frame["it"] for frame in streamer.open(tmp_path / "config.yaml").frames()]
    assert found[:4] == ["", "grün", "grüngrün", ""]


def test_a_map_of_a_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="'map' is for arrays, which a text is not"):
        decoder("cdr", map=("gray",))
