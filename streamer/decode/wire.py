"""A field path ("pose.pose.position", "joint_q[12:26]") → a function that finds its numbers in bytes.

Messages are never built: a path is compiled once into the steps that lead over the fields before it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rosbags.interfaces import Nodetype

from streamer.decode.cdr import ENCAPSULATION
from streamer.decode.paths import parse_path, pick
from streamer.decode.steps import HEADER, PLACEHOLDER, Steps, check_count, merge_steps
from streamer.errors import ConfigError, DecodeError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from rosbags.interfaces.typing import FieldDesc, Typesdict

    from streamer.decode.steps import Step

    Read = Callable[[memoryview, int], tuple[NDArray[Any], int]]

_QUATERNION = "geometry_msgs/msg/Quaternion"
NAMES_BESIDE = {"control_msgs/msg/InterfaceValue": "interface_names"}  # left out of a message read as a whole
_MOST_QUATERNIONS = 10_000
STRINGS = ("string", "wstring")


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


class Wire(Steps):
    """The compiler for one set of types and one encoding."""

    def __init__(self, types: Typesdict, encoding: str, *, big_endian: bool = False) -> None:
        """Take the types as rosbags parses them; ``encoding`` is ``ros1`` or ``cdr``."""
        super().__init__(types, encoding, big_endian=big_endian)
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

        A wstring comes as the same text in UTF-8.

        Raises:
            ConfigError: the path does not parse, or names something that is not there or is no string.

        """
        desc, steps, selector = self._follow(msgtype, path)
        if selector is not None or desc[0] != Nodetype.BASE or desc[1][0] not in STRINGS:
            msg = f"field {path!r} of {msgtype} is no string"
            raise ConfigError(msg, key="field")
        skip = merge_steps(steps)
        start = ENCAPSULATION if self._cdr else 0
        wide = desc[1][0] == "wstring"

        def text(message: memoryview) -> memoryview:
            body = message[start:]
            try:
                length, position = self._length(body, skip(body, 0))
            except (struct.error, OverflowError) as error:
                msg = f"a message of {len(message)} bytes is no whole {msgtype}: {error}"
                raise DecodeError(msg) from error
            if wide:
                return memoryview(_wide(body[position:], length, self._order))
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

    def _enter(self, desc: FieldDesc, steps: list[Step], walked: str, path: str) -> tuple[FieldDesc, list[Step]]:
        """Make sure that the field walked to so far is a message, into which a path may lead."""
        if desc[0] == Nodetype.NAME:
            return desc, steps
        hint = " (choose one element, such as [0])" if self._is_message_list(desc) else ""
        msg = f"field {path!r}: {walked!r} is not a message, nothing lies below it{hint}"
        raise ConfigError(msg, key="field")

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
        if msgtype == HEADER:
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


def _times(one: _Numbers, count: int, path: str) -> _Numbers:
    """Read an array of messages, each a vector, into one vector."""
    if len(one.quaternions) * count > _MOST_QUATERNIONS:
        msg = f"field {path!r} has {len(one.quaternions) * count} quaternions: choose some of its {count} elements"
        raise ConfigError(msg, key="field")
    many = _repeat(one.read, one.dtype)
    quaternions = tuple(number * (one.length or 0) + q for number in range(count) for q in one.quaternions)

    def read(message: memoryview, position: int) -> tuple[NDArray[Any], int]:
        check_count(message, count)
        return many(message, position, count)  # type: ignore[no-any-return]

    return _Numbers(read, one.dtype, None if one.length is None else one.length * count, quaternions)


def _repeat(one: Read, dtype: np.dtype[Any]) -> Any:
    def read(message: memoryview, position: int, count: int) -> tuple[NDArray[Any], int]:
        values = [np.empty(0, dtype)]
        for _ in range(count):
            value, position = one(message, position)
            values.append(value)
        return np.concatenate(values), position

    return read


def _wide(rest: memoryview, count: int, order: str) -> bytes:
    """Return the text of a wstring in UTF-8; ``rest`` begins with its first of ``count`` UTF-16 code units.

    Writers give each two bytes (Fast CDR 2) or four (Fast CDR 1, Cyclone DDS). A text has no NUL in it, so that only
    four bytes each leave every second pair empty.

    Raises:
        DecodeError: the message is cut, or holds no UTF-16.

    """
    units = np.zeros(0, np.uint16)
    if 4 * count <= len(rest):
        long = np.frombuffer(rest, f"{order}u4", count)
        units = long.astype(np.uint16) if count and (long < 1 << 16).all() else units
    if not len(units):
        if 2 * count > len(rest):
            msg = f"a text of {count} letters in {len(rest)} bytes: the message is cut"
            raise DecodeError(msg)
        units = np.frombuffer(rest, f"{order}u2", count)
    try:
        return units.astype("<u2").tobytes().decode("utf-16-le").encode()
    except UnicodeDecodeError as error:
        msg = f"a wstring is no UTF-16: {error.reason} at letter {error.start // 2} of {count}"
        raise DecodeError(msg) from error
