"""A field path ("pose.pose.position", "joint_q[12:26]") → a function that finds its numbers in bytes.

Messages are never built: a path is compiled once into the steps that lead over the fields before it.
Wire formats: ROS 1 (http://wiki.ros.org/msg, packed little-endian) and CDR (OMG DDSI-RTPS 2.3, §10,
plain CDR: each primitive aligned to its size, counted from after the four bytes of encapsulation).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rosbags.interfaces import Nodetype

from streamer.decode.cdr import ENCAPSULATION, Stride, chain, repeat, stride_of
from streamer.errors import ConfigError, DecodeError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from rosbags.interfaces.typing import FieldDesc, Typesdict

    Step = Callable[[memoryview, int], int]
    Read = Callable[[memoryview, int], tuple[NDArray[Any], int]]

_PART = re.compile(r"([A-Za-z_]\w*)(?:\[([^\]]*)\])?")
_SELECTOR = re.compile(r"(?P<index>-?\d+)|(?P<start>-?\d+)?:(?P<stop>-?\d+)?(?::(?P<step>-?\d+)?)?")
_DTYPES = {
    "bool": "?",
    "byte": "u1",
    "char": "u1",
    "float32": "f4",
    "float64": "f8",
    **{f"{kind}{bits}": f"{kind[0]}{bits // 8}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
_HEADER = "std_msgs/msg/Header"
_QUATERNION = "geometry_msgs/msg/Quaternion"
PLACEHOLDER = "structure_needs_at_least_one_member"  # one byte in CDR, nothing in ROS 1
NAMES_BESIDE = {"control_msgs/msg/InterfaceValue": "interface_names"}  # left out of a message read as a whole
_MOST_QUATERNIONS = 10_000
_PADDING = 8  # bytes; writers fill a CDR message up to a multiple of four or eight


class OutOfReachError(DecodeError):
    """A path asks for an element or a slice that a message does not have."""


class Field(NamedTuple):
    """A compiled path: ``read(message)`` returns a 1-D array that views the message's bytes.

    ``quaternions`` are the columns at which unit quaternions (x, y, z, w) begin; ``length`` is None where the message
    decides it.
    """

    read: Callable[[memoryview], NDArray[Any]]
    quaternions: tuple[int, ...]
    length: int | None = None


class _Numbers(NamedTuple):
    """How to read all numbers of one field; ``length`` is None where the message decides it.

    ``solid`` numbers stand side by side in the message, each of ``dtype``; others are converted to it.
    """

    read: Read
    dtype: np.dtype[Any]
    length: int | None
    quaternions: tuple[int, ...] = ()
    solid: bool = False


class Wire:
    """The compiler for one set of types and one encoding."""

    def __init__(self, types: Typesdict, encoding: str, *, big_endian: bool = False) -> None:
        """Take the types as rosbags parses them; ``encoding`` is ``ros1`` or ``cdr``."""
        self._types = types
        self._cdr = encoding == "cdr"
        self._dtypes = _DTYPES if self._cdr else _DTYPES | {"byte": "i1"}  # unsigned since ROS 2
        self._order = ">" if big_endian else "<"
        self._u32 = struct.Struct(f"{self._order}I").unpack_from
        self._strides: dict[str, Stride | None] = {}  # of types, each found once
        self._skips: dict[str, Step] = {}
        self._flat: dict[str, _Numbers] = {}

    def field(self, msgtype: str, path: str) -> Field:
        """Compile a path; the empty path means the whole message.

        Raises:
            ConfigError: the path does not parse, or names something that is not there or is no number.

        """
        desc, steps, selector = self._follow(msgtype, path)
        numbers = self._numbers(desc, path or msgtype, msgtype)
        if selector is not None:
            numbers = _select(numbers, selector, path)
        return Field(self._reader(merge_steps(steps), numbers.read, msgtype), numbers.quaternions, numbers.length)

    def text(self, msgtype: str, path: str) -> Callable[[memoryview], memoryview]:
        """Compile the path of a string: what comes out returns its bytes in a message, without the NUL behind them.

        Raises:
            ConfigError: the path does not parse, or names something that is not there or is no string.

        """
        desc, steps, selector = self._follow(msgtype, path)
        if selector is not None or desc[0] != Nodetype.BASE or desc[1][0] != "string":
            msg = f"field {path!r} of {msgtype} is no string"
            raise ConfigError(msg, key="field")
        skip = merge_steps(steps)
        start = ENCAPSULATION if self._cdr else 0

        def text(message: memoryview) -> memoryview:
            body = message[start:]
            try:
                length, position = self._length(body, skip(body, 0))
            except (struct.error, OverflowError) as error:
                msg = f"a message of {len(message)} bytes is no whole {msgtype}: {error}"
                raise DecodeError(msg) from error
            if position + length > len(body):
                msg = f"a text of {length} bytes of which {max(len(body) - position, 0)} are there: the message is cut"
                raise DecodeError(msg)
            found = body[position : position + length]
            return found[:-1] if self._cdr and length and not found[-1] else found

        return text

    def _follow(self, msgtype: str, path: str) -> tuple[FieldDesc, list[Step], slice | int | None]:
        """Follow a path: the field that it ends at, the steps over what stands before it, what is chosen of it."""
        steps: list[Step] = []
        desc: FieldDesc = (Nodetype.NAME, msgtype)
        selector: slice | int | None = None
        walked = ""
        for name, chosen in parse_path(path):
            desc, steps = self._enter(desc, steps, walked, path)
            fields = self._fields(str(desc[1]))
            names = [field for field, _ in fields]
            if name not in names:
                raise self._no_such(msgtype, path, walked, name, names)
            place = names.index(name)
            steps = steps + self._skip_all([d for _, d in fields[:place]])
            desc = fields[place][1]
            walked = f"{walked}.{name}" if walked else name
            selector = chosen
            if isinstance(chosen, int) and self._is_list_of_many(desc):
                desc, steps = self._element(desc, steps, chosen)
                selector = None
        return desc, steps, selector

    def fields(self, msgtype: str, paths: Sequence[str]) -> Field:
        """Compile several paths, of which the numbers stand one behind the other.

        Raises:
            As `field` does.

        """
        parts = [self.field(msgtype, path) for path in paths]
        if len(parts) == 1:
            return parts[0]
        quaternions: list[int] = []
        column: int | None = 0
        for part in parts:
            if column is not None:
                quaternions += [column + q for q in part.quaternions]
                column = None if part.length is None else column + part.length

        def read(message: memoryview) -> NDArray[Any]:
            return np.concatenate([part.read(message) for part in parts])

        return Field(read, tuple(quaternions), column)

    def numeric_paths(self, msgtype: str, depth: int = 4) -> list[str]:
        """List what `field` can read from a type, as ``path (type)``, for people."""
        return list(self._paths(msgtype, "", depth))

    def _paths(self, msgtype: str, prefix: str, depth: int) -> Iterator[str]:
        for name, desc in self._fields(msgtype):
            if name == PLACEHOLDER:
                continue
            path = f"{prefix}{name}"
            if desc[0] == Nodetype.NAME:
                if depth:
                    yield from self._paths(str(desc[1]), f"{path}.", depth - 1)
            elif desc[0] == Nodetype.BASE:
                if desc[1][0] in self._dtypes:
                    yield f"{path} ({desc[1][0]})"
            else:
                (kind, element), length = desc[1]
                if kind == Nodetype.BASE and element[0] in self._dtypes:
                    yield f"{path} ({element[0]}[{length or ''}])"
                elif kind == Nodetype.NAME and depth:
                    yield from self._paths(str(element), f"{path}[0].", depth - 1)

    # ---- walking over what is not wanted

    def _fields(self, msgtype: str) -> list[tuple[str, FieldDesc]]:
        if msgtype not in self._types:
            msg = f"the type {msgtype} is used but not defined: name a folder with its .msg files under 'types:'"
            raise ConfigError(msg)
        fields = [field for field in self._types[msgtype][1] if field[0] != PLACEHOLDER]
        if not fields and self._cdr:
            return [(PLACEHOLDER, (Nodetype.BASE, ("uint8", 0)))]
        if msgtype == _HEADER:  # ROS 1 has a `seq` in front that ROS 2 dropped, whoever defined the type
            fields = [(name, desc) for name, desc in fields if name != "seq"]
            return fields if self._cdr else [("seq", (Nodetype.BASE, ("uint32", 0))), *fields]
        return fields

    def _enter(self, desc: FieldDesc, steps: list[Step], walked: str, path: str) -> tuple[FieldDesc, list[Step]]:
        """Make sure that the field walked to so far is a message, into which a path may lead."""
        if desc[0] == Nodetype.NAME:
            return desc, steps
        hint = " (choose one element, such as [0])" if self._is_message_list(desc) else ""
        msg = f"field {path!r}: {walked!r} is not a message, nothing lies below it{hint}"
        raise ConfigError(msg, key="field")

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
            return None if element is None else repeat(element, desc[1][1])
        return None

    def _stride_of_type(self, msgtype: str) -> Stride | None:
        if msgtype not in self._strides:
            whole: Stride | None = (0,) * 8
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
        element, length = desc[1]
        if desc[0] == Nodetype.ARRAY:
            return _skip_times(self._skip(element), length)
        if element[0] == Nodetype.BASE and element[1][0] in self._dtypes:
            return self._skip_bytes(np.dtype(self._dtypes[element[1][0]]).itemsize)
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

    # ---- reading what is wanted

    def _numbers(self, desc: FieldDesc, path: str, msgtype: str) -> _Numbers:
        if desc[0] == Nodetype.NAME:
            return self._flatten(str(desc[1]), path, msgtype)
        if desc[0] == Nodetype.BASE:
            return self._run(self._dtype(desc[1][0], path, msgtype), 1)
        element, length = desc[1]
        if element[0] == Nodetype.BASE:
            dtype = self._dtype(element[1][0], path, msgtype)
            return self._run(dtype, length) if desc[0] == Nodetype.ARRAY else self._sequence(self._run(dtype, None))
        one = self._flatten(str(element[1]), path, msgtype)
        if desc[0] == Nodetype.ARRAY:
            return _times(one, length, path)
        return self._sequence(_Numbers(_repeat(one.read, one.dtype), one.dtype, None))

    def _dtype(self, name: str, path: str, msgtype: str) -> np.dtype[Any]:
        if name not in self._dtypes:
            raise self._not_numeric(msgtype, path, name)
        return np.dtype(self._order + self._dtypes[name])

    def _run(self, dtype: np.dtype[Any], count: int | None) -> _Numbers:
        """Read ``count`` numbers that stand side by side; None: the caller passes it as position."""
        size = dtype.itemsize
        cdr = self._cdr

        def read(message: memoryview, position: int, count: int = count or 0) -> tuple[NDArray[Any], int]:
            if cdr and count:
                position = (position + size - 1) // size * size
            return np.frombuffer(message, dtype, count, position), position + count * size

        return _Numbers(read, dtype, count, solid=count is not None)

    def _sequence(self, numbers: _Numbers) -> _Numbers:
        counted: Any = numbers.read

        def read(message: memoryview, position: int) -> tuple[NDArray[Any], int]:
            length, position = self._length(message, position)
            return counted(message, position, length)  # type: ignore[no-any-return]

        return _Numbers(read, numbers.dtype, None)

    def _flatten(self, msgtype: str, path: str, root: str) -> _Numbers:
        if msgtype not in self._flat:
            self._flat[msgtype] = self._flatten_type(msgtype, path, root)
        return self._flat[msgtype]

    def _flatten_type(self, msgtype: str, path: str, root: str) -> _Numbers:
        fields = [(n, d) for n, d in self._fields(msgtype) if n != PLACEHOLDER]
        if not fields:
            raise self._not_numeric(root, path, "empty message")
        if msgtype == _HEADER:
            raise self._not_numeric(root, path, "header")
        beside = NAMES_BESIDE.get(msgtype)
        parts = [self._passed(d) if n == beside else self._numbers(d, f"{path}.{n}", root) for n, d in fields]
        whole = _chain(parts)
        if msgtype == _QUATERNION:
            whole = whole._replace(quaternions=(0,))
        if whole.length is not None and whole.solid:
            return self._run(whole.dtype, whole.length)._replace(quaternions=whole.quaternions)
        return whole

    def _passed(self, desc: FieldDesc) -> _Numbers:
        """Read nothing of a field, and go on behind it."""
        skip = self._skip(desc)
        return _Numbers(lambda message, position: (np.empty(0, "?"), skip(message, position)), np.dtype("?"), 0)

    def _reader(self, skip: Step, read: Read, msgtype: str) -> Callable[[memoryview], NDArray[Any]]:
        start = ENCAPSULATION if self._cdr else 0

        def field(message: memoryview) -> NDArray[Any]:
            try:
                body = message[start:]
                return read(body, skip(body, 0))[0]
            except (struct.error, ValueError, OverflowError) as error:
                text = f"a message of {len(message)} bytes is no whole {msgtype}: {error}"
                raise DecodeError(text) from error

        return field

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

    # ---- saying what exists

    def _not_numeric(self, msgtype: str, path: str, kind: str) -> ConfigError:
        offer = ", ".join(self.numeric_paths(msgtype)[:16]) or "nothing numeric"
        return ConfigError(f"field {path!r} of {msgtype} is no number ({kind}); it has: {offer}", key="field")

    def _no_such(self, msgtype: str, path: str, walked: str, name: str, names: list[str]) -> ConfigError:
        where = f"{walked!r} in {msgtype}" if walked else msgtype
        offer = ", ".join(self.numeric_paths(msgtype)[:16]) or "nothing numeric"
        return ConfigError(
            f"field {path!r}: {where} has no {name!r}{nearest_name(name, names) or '.'} Numbers in {msgtype}: {offer}",
            key="field",
        )


def parse_path(path: str) -> list[tuple[str, slice | int | None]]:
    """Split a field path into names, each with the index or slice that stands behind it."""
    parts: list[tuple[str, slice | int | None]] = []
    for text in path.split(".") if path else ():
        match = _PART.fullmatch(text.strip())
        if match is None:
            msg = f"field {path!r}: {text!r} is not a name with an optional [index] or [from:to]"
            raise ConfigError(msg, key="field")
        name, inside = match.groups()
        parts.append((name, None if inside is None else _selector(inside, path)))
    return parts


def _selector(text: str, path: str) -> slice | int:
    match = _SELECTOR.fullmatch(text.strip())
    if match is None or match["step"] == "0":
        msg = f"field {path!r}: [{text}] is neither an index like [3] nor a slice like [12:26]"
        raise ConfigError(msg, key="field")
    if match["index"]:
        return int(match["index"])
    return slice(*(int(match[part]) if match[part] else None for part in ("start", "stop", "step")))


def pick(values: NDArray[Any], selector: slice | int, path: str) -> NDArray[Any]:
    """Return the numbers that an index or a slice chooses, 1-D.

    Raises:
        OutOfReachError: they are not all there.

    """
    count = len(values)
    if isinstance(selector, int):
        if not -count <= selector < count:
            msg = f"field {path!r}: there is no [{selector}], the message has {count} values"
            raise OutOfReachError(msg)
        one: NDArray[Any] = values[selector].reshape(1)
        return one
    if max(selector.stop or 0, selector.start or 0, -(selector.start or 0)) > count:
        msg = f"field {path!r}: the slice reaches beyond the {count} values that the message has"
        raise OutOfReachError(msg)
    chosen: NDArray[Any] = values[selector]
    return chosen


def _select(numbers: _Numbers, selector: slice | int, path: str) -> _Numbers:
    def read(message: memoryview, position: int) -> tuple[NDArray[Any], int]:
        values, position = numbers.read(message, position)
        return pick(values, selector, path), position

    return _Numbers(read, numbers.dtype, None)


def _chain(parts: list[_Numbers]) -> _Numbers:
    """Read several fields one after the other into one vector."""
    dtype = np.result_type(*(part.dtype for part in parts))
    counts = [part.length for part in parts]
    count = sum(c for c in counts if c is not None) if None not in counts else None
    quaternions: list[int] = []
    column = 0
    for part in parts:
        quaternions += [column + q for q in part.quaternions]
        if part.length is None:
            break
        column += part.length

    def read(message: memoryview, position: int) -> tuple[NDArray[Any], int]:
        values = []
        for part in parts:
            value, position = part.read(message, position)
            values.append(value)
        return np.concatenate(values, dtype=dtype), position

    solid = all(part.solid and part.dtype == dtype for part in parts)
    return _Numbers(read, dtype, count, tuple(quaternions), solid=solid)


def _advance(stride: Stride) -> Step:
    """Step over what has no length of its own: how far depends only on the alignment of the start."""
    return lambda _, position: position + stride[position & 7]


def _skip_times(one: Step, count: int) -> Step:
    def step(message: memoryview, position: int) -> int:
        _check_count(message, count)
        for _ in range(count):
            position = one(message, position)
        return position

    return step


def _times(one: _Numbers, count: int, path: str) -> _Numbers:
    """Read an array of messages, each a vector, into one vector."""
    if len(one.quaternions) * count > _MOST_QUATERNIONS:
        msg = f"field {path!r} has {len(one.quaternions) * count} quaternions: choose some of its {count} elements"
        raise ConfigError(msg, key="field")
    many = _repeat(one.read, one.dtype)
    quaternions = tuple(number * (one.length or 0) + q for number in range(count) for q in one.quaternions)

    def read(message: memoryview, position: int) -> tuple[NDArray[Any], int]:
        _check_count(message, count)
        return many(message, position, count)  # type: ignore[no-any-return]

    return _Numbers(read, one.dtype, None if one.length is None else one.length * count, quaternions)


def _check_count(message: memoryview, count: int) -> None:
    if count > len(message):
        msg = f"an array of {count} messages in a message of {len(message)} bytes: its definition is another"
        raise DecodeError(msg)


def _repeat(one: Read, dtype: np.dtype[Any]) -> Any:
    def read(message: memoryview, position: int, count: int) -> tuple[NDArray[Any], int]:
        values = [np.empty(0, dtype)]
        for _ in range(count):
            value, position = one(message, position)
            values.append(value)
        return np.concatenate(values), position

    return read


def merge_steps(steps: list[Step]) -> Step:
    """Make one step of many."""
    if len(steps) == 1:
        return steps[0]

    def step(message: memoryview, position: int) -> int:
        for one in steps:
            position = one(message, position)
        return position

    return step
