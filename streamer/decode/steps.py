"""A type of messages and its encoding → steps that lead from the start of a field to its end.

Wire formats: ROS 1 (http://wiki.ros.org/msg, packed little-endian) and CDR (OMG DDSI-RTPS 2.3, §10,
plain CDR: each primitive aligned to its size, counted from after the four bytes of encapsulation).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import Nodetype

from streamer.decode.cdr import ENCAPSULATION, Stride, chain, repeat, stride_of
from streamer.decode.paths import OutOfReachError
from streamer.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rosbags.interfaces.typing import FieldDesc, Typesdict

    Step = Callable[[memoryview, int], int]

_DTYPES = {
    "bool": "?",
    "byte": "u1",
    "char": "u1",
    "float32": "f4",
    "float64": "f8",
    **{f"{kind}{bits}": f"{kind[0]}{bits // 8}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
HEADER = "std_msgs/msg/Header"
PLACEHOLDER = "structure_needs_at_least_one_member"  # one byte in CDR, nothing in ROS 1
_PADDING = 8  # bytes; writers fill a CDR message up to a multiple of four or eight
NOTHING: Stride = (0,) * 8  # of what takes no bytes


class Steps:
    """The compiler of steps for one set of types and one encoding."""

    def __init__(self, types: Typesdict, encoding: str, *, big_endian: bool = False) -> None:
        """Take the types as rosbags parses them; ``encoding`` is ``ros1`` or ``cdr``."""
        self._types = types
        self._cdr = encoding == "cdr"
        self._dtypes = _DTYPES if self._cdr else _DTYPES | {"byte": "i1"}  # unsigned since ROS 2
        self._order = ">" if big_endian else "<"
        self._u32 = struct.Struct(f"{self._order}I").unpack_from
        self._strides: dict[str, Stride | None] = {}  # of types, each found once
        self._skips: dict[str, Step] = {}

    def _fields(self, msgtype: str) -> list[tuple[str, FieldDesc]]:
        if msgtype not in self._types:
            msg = f"the type {msgtype} is used but not defined: name a folder with its .msg files under 'types:'"
            raise ConfigError(msg)
        fields = [field for field in self._types[msgtype][1] if field[0] != PLACEHOLDER]
        if not fields and self._cdr:
            return [(PLACEHOLDER, (Nodetype.BASE, ("uint8", 0)))]
        if msgtype == HEADER:  # ROS 1 has a `seq` in front that ROS 2 dropped, whoever defined the type
            fields = [(name, desc) for name, desc in fields if name != "seq"]
            return fields if self._cdr else [("seq", (Nodetype.BASE, ("uint32", 0))), *fields]
        return fields

    @staticmethod
    def _is_message_list(desc: FieldDesc) -> bool:
        return desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) and desc[1][0][0] == Nodetype.NAME

    @classmethod
    def _is_list_of_many(cls, desc: FieldDesc) -> bool:
        """Tell whether one element of a list is found by stepping over those before it: messages and strings."""
        return cls._is_message_list(desc) or (
            desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) and desc[1][0][1][0] == "string"
        )

    def _stride(self, desc: FieldDesc) -> Stride | None:
        """Return how far a field reaches, or None where its length varies."""
        if desc[0] == Nodetype.BASE:
            base = desc[1][0]
            size = np.dtype(self._dtypes[base]).itemsize if base in self._dtypes else 0
            return stride_of(size, aligned=self._cdr) if size else None
        if desc[0] == Nodetype.NAME:
            return self._stride_of_type(str(desc[1]))
        if desc[0] == Nodetype.ARRAY:
            element = self._stride(desc[1][0])
            return None if element is None else tuple(map(repeat(element), range(8), [desc[1][1]] * 8))
        return None

    def _stride_of_type(self, msgtype: str) -> Stride | None:
        if msgtype not in self._strides:
            whole: Stride | None = NOTHING
            for _, desc in self._fields(msgtype):
                stride = self._stride(desc)
                whole = None if whole is None or stride is None else chain(whole, stride)
            self._strides[msgtype] = whole
        return self._strides[msgtype]

    def _skip_all(self, descs: list[FieldDesc]) -> list[Step]:
        return [self._skip(desc) for desc in descs]

    def _skip(self, desc: FieldDesc) -> Step:
        if (stride := self._stride(desc)) is not None:
            return _advance(stride)
        if desc[0] == Nodetype.BASE:
            return self._skip_text(desc[1][0])
        if desc[0] == Nodetype.NAME:
            msgtype = str(desc[1])
            if msgtype not in self._skips:
                self._skips[msgtype] = merge_steps(self._skip_all([d for _, d in self._fields(msgtype)]))
            return self._skips[msgtype]
        return self._skip_list(desc)

    def _skip_list(self, desc: FieldDesc) -> Step:
        element: Any = desc[1][0]
        length: Any = desc[1][1]
        if desc[0] == Nodetype.ARRAY:
            return _skip_times(self._skip(element), length)
        if element[0] == Nodetype.BASE and element[1][0] in self._dtypes:
            return self._skip_bytes(np.dtype(self._dtypes[element[1][0]]).itemsize)
        if (stride := self._stride(element)) is not None:
            return self._skip_alike(stride)
        return self._skip_elements(self._skip(element))

    def _skip_text(self, base: str) -> Step:
        if base == "string":
            return self._skip_bytes(1)
        why = "writers give its letters two bytes or four" if base in ("wstring", "wchar") else "it is not supported"
        msg = f"a field of type {base!r} stands before it and cannot be stepped over: {why}"
        raise ConfigError(msg, key="field")

    def _length(self, message: memoryview, position: int) -> tuple[int, int]:
        """Read the length of a string or sequence; return it and the position behind it."""
        if self._cdr:
            position = (position + 3) & ~3
        (length,) = self._u32(message, position)
        if length > len(message):
            msg = f"a length of {length} in a message of {len(message)} bytes: the message is damaged"
            raise DecodeError(msg)
        return length, position + 4

    def _skip_bytes(self, size: int) -> Step:
        def step(message: memoryview, position: int) -> int:
            length, position = self._length(message, position)
            if length and self._cdr:
                position = (position + size - 1) // size * size
            return position + length * size

        return step

    def _skip_alike(self, one: Stride) -> Step:
        """Step over a list whose elements have no length of their own, however many it claims."""
        reach = repeat(one)

        def step(message: memoryview, position: int) -> int:
            length, position = self._length(message, position)
            return position + reach(position & 7, length)

        return step

    def _skip_elements(self, element: Step) -> Step:
        def step(message: memoryview, position: int) -> int:
            length, position = self._length(message, position)
            for _ in range(length):
                position = element(message, position)
            return position

        return step

    def _element(self, desc: FieldDesc, steps: list[Step], number: int) -> tuple[FieldDesc, list[Step]]:
        element: Any = desc[1][0]
        length = int(desc[1][1])
        over = self._skip(element)
        is_sequence = desc[0] == Nodetype.SEQUENCE

        def step(message: memoryview, position: int) -> int:
            count, position = self._length(message, position) if is_sequence else (length, position)
            wanted = number + count if number < 0 else number
            if not 0 <= wanted < count:
                msg = f"element [{number}] of a list of {count} does not exist"
                raise OutOfReachError(msg)
            for _ in range(wanted):
                position = over(message, position)
            return position

        return element, [*steps, step]

    def is_plain_in_version_2(self, msgtype: str) -> bool:
        """Tell whether messages look in the second version of plain CDR as in the first.

        They do without numbers of eight bytes, which it aligns to four, and without arrays of anything but numbers,
        before which it puts their size.
        """
        waiting, seen = [msgtype], {msgtype}
        while waiting:
            for _, desc in self._fields(waiting.pop()):
                element: Any = desc[1][0] if desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) else desc
                if element is not desc and (element[0] == Nodetype.NAME or element[1][0] not in self._dtypes):
                    return False
                if element[0] == Nodetype.BASE and np.dtype(self._dtypes.get(element[1][0], "u1")).itemsize > 4:
                    return False
                if element[0] == Nodetype.NAME and str(element[1]) not in seen:
                    seen.add(str(element[1]))
                    waiting.append(str(element[1]))
        return True

    def check(self, msgtype: str) -> Callable[[memoryview], None]:
        """Return what makes sure that a message has the length which its fields take, where that can be known.

        It raises DecodeError where it has not.
        """
        try:
            skip = self._skip((Nodetype.NAME, msgtype))
        except ConfigError:  # a field that cannot be stepped over
            return lambda _: None
        start, padding = (ENCAPSULATION, _PADDING) if self._cdr else (0, 1)

        def check(message: memoryview) -> None:
            try:
                end = skip(message[start:], 0) + start
            except (struct.error, OverflowError) as error:
                msg = f"a message of {len(message)} bytes is no whole {msgtype}"
                raise DecodeError(msg) from error
            if not 0 <= len(message) - end < padding:
                msg = f"a message of {len(message)} bytes whose fields take {end}: it is no {msgtype} as it is defined"
                raise DecodeError(msg, hint="if it is whole, name the right definition under 'types:'")

        return check


def _advance(stride: Stride) -> Step:
    """Step over what has no length of its own: how far depends only on the alignment of the start."""
    return lambda _, position: position + stride[position & 7]


def _skip_times(one: Step, count: int) -> Step:
    def step(message: memoryview, position: int) -> int:
        check_count(message, count)
        for _ in range(count):
            position = one(message, position)
        return position

    return step


def check_count(message: memoryview, count: int) -> None:
    """Make sure that a message can hold so many others.

    Raises:
        DecodeError: it cannot.

    """
    if count > len(message):
        msg = f"an array of {count} messages in a message of {len(message)} bytes: its definition is another"
        raise DecodeError(msg)


def merge_steps(steps: list[Step]) -> Step:
    """Make one step of many."""
    if len(steps) == 1:
        return steps[0]

    def step(message: memoryview, position: int) -> int:
        for one in steps:
            position = one(message, position)
        return position

    return step
