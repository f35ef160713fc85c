"""The first bytes of video packets → where decoding can begin, what it needs before, and where packets are missing.

Formats: ITU-T H.264 and H.265 (byte streams, annex B), AV1 (low-overhead OBU stream), VP9 (bitstream 0.6, 6.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

CODECS = ("h264", "hevc", "av1", "vp9")
_ALIASES = {
    **dict.fromkeys(("h264", "avc", "avc1", "x264", "x264rgb", "openh264"), "h264"),
    **dict.fromkeys(("hevc", "h265", "x265", "hvc1", "hev1", "kvazaar"), "hevc"),
    **dict.fromkeys(("av1", "av01", "svtav1", "dav1d", "rav1e"), "av1"),
    **dict.fromkeys(("vp9", "vp09"), "vp9"),
}
_START = b"\0\0\1"
_SETS = {"h264": (7, 8), "hevc": (32, 33, 34)}  # SPS, PPS; VPS, SPS, PPS
_FIRST_SET = {"h264": 7, "hevc": 33}
_B_SLICE = 1  # slice_type modulo 5
_HIGH = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}  # profiles whose SPS has more fields


class Kind(IntEnum):
    """What a packet is for a decoder."""

    NOTHING = 0  # parameter sets alone, or nothing that is known
    PICTURE = 1
    KEY = 2  # decoding can begin here
    LEADING = 3  # of HEVC: behind a key picture, but made from what was before it too


class Look(NamedTuple):
    """What the head of a packet tells; ``sets`` are its parameter sets, ``lost`` says that a packet before is missing.

    ``whole`` is False where the bytes that were looked at end before a picture begins. ``form`` is what a key picture
    of AV1 or VP9 says of its size and kind.
    """

    kind: Kind
    sets: bytes = b""
    lost: bool = False
    whole: bool = True
    form: bytes = b""


def codec_of(text: str) -> str | None:
    """Name the codec that an encoding speaks of (``hevc_nvenc``, ``libx264``, ``h264;yuv420p``); None for no video."""
    for token in re.split(r"[^a-z0-9]+", text.lower().replace("h.26", "h26")):
        if found := _ALIASES.get(token.removeprefix("lib")):
            return found
    return None


class _Numbers(NamedTuple):
    """How H.264's slices number their pictures.

    ``modulus`` is 0 where gaps are allowed or no SPS was seen; ``planes`` says that colours are coded apart, ``fields``
    that a picture may be a field.
    """

    modulus: int = 0
    planes: bool = False
    fields: bool = False


_UNNUMBERED = _Numbers()


@dataclass(slots=True)
class Scanner:
    """Looks at one stream's packets in the order in which they came; H.264 counts its pictures."""

    codec: str
    _sets: bytes = b""  # the parameter sets that hold now
    _number: _Numbers = _UNNUMBERED
    _last: int | None = field(default=None)
    both_ways: bool = False  # whether a picture of H.264 was seen that may be made from later ones (B)
    counted: bool = True  # whether every picture of H.264 was one that others are made from, which are numbered
    parts: int = 0  # packets of H.264 and HEVC that begin within a picture

    def look(self, data: memoryview, *, cut: bool = False) -> Look:
        """Look at the next packet, or, where it is ``cut``, at its first bytes.

        Raises:
            DecodeError: it is no packet of this codec.

        """
        if not len(data):
            return Look(Kind.NOTHING)
        try:
            if self.codec == "av1":
                found = _look_av1(data)
                self._sets = found.sets or self._sets
                return found
            return _look_vp9(data) if self.codec == "vp9" else self._look_units(bytes(data), cut=cut)
        except IndexError:
            return Look(Kind.NOTHING, whole=not cut)

    @property
    def sets(self) -> bytes:
        """Return the parameter sets that hold for the next picture."""
        return self._sets

    def _look_units(self, data: bytes, *, cut: bool) -> Look:
        found = b""
        for kind, unit in _units(data, self.codec):
            if kind in _SETS[self.codec]:
                if kind == _FIRST_SET[self.codec]:
                    self._number = _picture_numbers(unit) if self.codec == "h264" else _UNNUMBERED
                found += b"\0" + _START + unit
            elif (is_picture := _picture(self.codec, kind)) is not None:
                self.parts += _is_part(self.codec, unit)
                lost = self.codec == "h264" and self._is_behind_gap(kind, unit)
                self._keep(found)
                return Look(is_picture, found, lost)
        if not cut:
            self._keep(found)
        return Look(Kind.NOTHING, found, whole=not cut)

    def _keep(self, found: bytes) -> None:
        """Put new parameter sets in place of those that held: with an SPS, all of the kinds that came."""
        kinds = {kind for kind, _ in _units(found, self.codec)} if found else set()
        if _FIRST_SET[self.codec] not in kinds:
            self._sets += found if found not in self._sets else b""
            return
        old = [(kind, unit) for kind, unit in _units(self._sets, self.codec) if kind not in kinds] if self._sets else []
        units = sorted([*old, *_units(found, self.codec)], key=lambda one: one[0]) if old else []
        self._sets = b"".join(b"\0" + _START + unit for _, unit in units) or found

    def _is_behind_gap(self, kind: int, unit: bytes) -> bool:
        """Follow the numbers of H.264's reference pictures (7.4.3, frame_num): each is the last one's plus 1.

        The second field of a frame has the number of the first; another picture that has the last one's came twice, or
        is of another group.
        """
        bits = _Bits(unit[1:32])
        bits.golomb()
        self.both_ways |= bits.golomb() % 5 == _B_SLICE
        if not self._number.modulus:
            return False
        bits.golomb()
        if self._number.planes:
            bits.take(2)
        number = bits.take(self._number.modulus.bit_length() - 1)
        is_field = self._number.fields and bool(bits.take(1))
        last, reference = self._last, bool(unit[0] >> 5 & 3)
        self.counted &= reference
        if reference:
            self._last = number
        if kind == 5 or last is None:
            return False
        return number != (last + 1) % self._number.modulus and not (is_field and number == last)


def _picture(codec: str, kind: int) -> Kind | None:
    """Say what a unit is for a decoder; None where it holds no picture."""
    if codec == "h264":
        return Kind.KEY if kind == 5 else Kind.PICTURE if kind in (1, 2) else None
    if kind >= 32:
        return None
    return Kind.KEY if 16 <= kind <= 21 else Kind.LEADING if kind in (8, 9) else Kind.PICTURE


def _is_part(codec: str, unit: bytes) -> bool:
    """Tell whether a slice is not the first one of its picture (7.3.3, first_mb_in_slice; 7.3.6.1 of H.265)."""
    return not unit[1 if codec == "h264" else 2] & 128


def _units(data: bytes, codec: str) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the bytes of each unit.

    Raises:
        DecodeError: the bytes begin with none.

    """
    at = data.find(_START)
    if at < 0 or data[:at].strip(b"\0"):
        msg = f"a packet of {codec} begins with {data[:4]!r}, not with a start code (annex B)"
        raise DecodeError(msg)
    while at >= 0:
        after = data.find(_START, at + 3)
        unit = data[at + 3 : after if after >= 0 else None]
        if after >= 0:
            unit = unit.rstrip(b"\0")
        if unit:
            yield (unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63), unit
        at = after


class _Bits:
    """Bits of a unit, most significant first, without the bytes that keep start codes apart (7.4.1)."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            msg = "bits beyond the end"
            raise IndexError(msg)
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        value = self.golomb()
        return (value + 1) // 2 if value & 1 else -(value // 2)


def _picture_numbers(unit: bytes) -> _Numbers:
    """Read from an SPS of H.264 (7.3.2.1.1) how pictures are numbered."""
    bits, planes = _Bits(unit[4:]), False
    bits.golomb()
    if unit[1] in _HIGH:
        chroma = bits.golomb()
        planes = chroma == 3 and bool(bits.take(1))
        bits.golomb(), bits.golomb(), bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_list(bits, 16 if number < 6 else 64)
    modulus = 1 << (bits.golomb() + 4)
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1), bits.signed(), bits.signed()
        for _ in range(bits.golomb()):
            bits.signed()
    bits.golomb()
    gaps = bits.take(1)
    bits.golomb(), bits.golomb()  # width and height
    return _Numbers(0 if gaps else modulus, planes, fields=not bits.take(1))


def _skip_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _look_av1(data: memoryview) -> Look:
    """Find the first frame of a temporal unit (5.3, 5.9.2)."""
    at, form, sets = 0, b"", b""
    while at < len(data):
        head = data[at]
        if head & 0x81:
            msg = f"a packet of av1 begins with {bytes(data[:4])!r}, which is no OBU"
            raise DecodeError(msg)
        begin, kind, at = at, head >> 3 & 15, at + 1 + (head >> 2 & 1)
        if kind in (3, 6):
            at += _leb128(data, at)[1] if head & 2 else 0
            first = data[at]
            shown = not first >> 7  # show_existing_frame is 0
            is_key = shown and not first >> 5 & 3 and first >> 4 & 1
            return Look(Kind.KEY if is_key else Kind.PICTURE, sets, form=form)
        if not head & 2:
            break
        size, count = _leb128(data, at)
        if kind == 1:  # the sequence header
            form, sets = bytes(data[at + count : at + count + size]), bytes(data[begin : at + count + size])
        at += count + size
    return Look(Kind.NOTHING, sets, whole=False)


def _leb128(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count in range(8):
        byte = data[at + count]
        value |= (byte & 127) << 7 * count
        if not byte & 128:
            return value, count + 1
    msg = "a packet of av1 holds a length of more than 8 bytes"
    raise DecodeError(msg)


def _look_vp9(data: memoryview) -> Look:
    bits = _Bits(bytes(data[:2]).ljust(2, b"\xff"))
    if bits.take(2) != 2:
        msg = f"a packet of vp9 begins with {bytes(data[:4])!r}, which is no frame"
        raise DecodeError(msg)
    if (bits.take(1) | bits.take(1) << 1) == 3:
        bits.take(1)
    if bits.take(1) or bits.take(1):
        return Look(Kind.PICTURE)
    return Look(Kind.KEY, form=bytes(data[4:8]) + bytes(value & 0xF0 for value in data[8:9]))  # colours and size
