"""A type and a field path → the names of the numbers in a message, and the bytes that decide them.

An element's name is its field path (``pose.position.x``, ``joint_q[12]``), or where the message has a list of names
beside its numbers, what stands there. Messages in which the deciding bytes (lengths and names) are equal have equal
names and equally many numbers, so one of them is read and the rest are compared with it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rosbags.interfaces import Nodetype

from streamer.decode.named import NAMED, ONE_EACH, POINT, USUAL
from streamer.decode.paths import OutOfReachError, parse_path, pick
from streamer.decode.steps import PLACEHOLDER, merge_steps
from streamer.decode.wire import NAMES_BESIDE, Wire
from streamer.errors import ConfigError, DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from rosbags.interfaces.typing import FieldDesc, Typesdict

    from streamer.decode.steps import Step

MOST = 4096  # numbers; a vector of more has no names from its path


class Reading(NamedTuple):
    """What one message says of its numbers.

    ``names`` of its ``size`` numbers, None where there are too many to name; ``problem`` says why the numbers cannot
    be taken; ``listed`` are then the names that stand in the message, and ``beyond`` is set where the path asks for an
    element that it does not have. ``where`` are the places of the bytes that decide all this, None where the message
    is cut off.
    """

    names: tuple[str, ...] | None
    size: int
    problem: str = ""
    where: NDArray[np.intp] | None = None
    listed: tuple[str, ...] = ()
    beyond: bool = False


class _Labels(NamedTuple):
    """Names of some numbers (None: too many), and how many there are."""

    names: list[str] | None
    size: int


class _Place(NamedTuple):
    """Where a walk over the type stands: how its numbers are called, and by which list of names."""

    label: str  # of the field itself: pose.position
    prefix: str  # of names that stand in the message
    listed: list[str] | None


if TYPE_CHECKING:
    Label = Callable[[memoryview, int, _Place], tuple[_Labels, int]]
    Strings = Callable[[memoryview, int], list[str]]


class MismatchError(DecodeError):
    """A message has not as many names as numbers."""

    def __init__(self, names: list[str], size: int) -> None:
        """Say how many there are of both."""
        super().__init__(f"the message has {len(names)} names and {size} values")
        self.names = tuple(names)


class _Walked(NamedTuple):
    """One step of the path: a field, the element of it that is chosen, and what names its numbers."""

    field: str
    element: int | None
    one_each: bool  # its elements are messages, one for each name
    names: Strings | None


class Namer(Wire):
    """The names of one field of one type; not for several threads at once."""

    def __init__(
        self,
        types: Typesdict,
        encoding: str,
        msgtype: str,
        path: str,
        *,
        names_field: str | None = None,
        prefixed: bool = False,
        big_endian: bool = False,
    ) -> None:
        """Compile the path; ``names_field`` is the path of the list of names, None: by the type, empty: none.

        With ``prefixed``, names that stand in the message get the path in front: ``velocity.waist``.

        Raises:
            ConfigError: ``names_field`` is no list of strings, or ``path`` names something that is not there.

        """
        super().__init__(types, encoding, big_endian=big_endian)
        self.guessed = False  # the type is not known: that its list of names names these numbers is only likely
        self._start = 4 if encoding == "cdr" else 0
        self._read_places: list[tuple[int, int]] = []
        self._names_field = names_field
        self._path = path
        self._in_front = f"{path}." if prefixed and path else ""
        self._selector: slice | int | None = None
        self._varies = False
        self._fixed_too = bool(names_field)  # names also stand for arrays of a fixed length
        self._walked: list[_Walked] = []
        leaf, steps = self._walk(msgtype, path)
        self._skip_to = merge_steps(steps)
        each = bool(self._walked) and self._walked[-1].one_each
        self._label = self._labels(leaf, one_each=each or bool(names_field))
        self._names_at = self._strings_at(msgtype, names_field) if names_field else None
        of_elements = any(w.names and w.one_each and w.element is not None for w in self._walked)
        self.by_list = (
            bool(self._names_at) or of_elements or (self._has_names() and (self._fixed_too or self._has_list(leaf)))
        )
        self.varies = self._varies or self.by_list or self._has_list(leaf)

    def _has_names(self) -> bool:
        return any(walked.names for walked in self._walked)

    def read(self, message: memoryview) -> Reading:
        """Read one message: ``varies`` says whether another may differ, ``by_list`` whether names stand in it."""
        self._read_places = []
        try:
            labels = self._read(message[self._start :])
        except MismatchError as error:
            listed = tuple(f"{self._in_front}{name}" for name in error.names)
            return Reading(None, -1, str(error), self._where(), listed)
        except OutOfReachError as error:
            return Reading(None, -1, str(error), self._where(), beyond=True)
        except (struct.error, ValueError, DecodeError) as error:
            return Reading(None, -1, f"a message of {len(message)} bytes is damaged: {error}")
        return Reading(None if labels.names is None else tuple(labels.names), labels.size, "", self._where())

    def _read(self, body: memoryview) -> _Labels:
        position = self._skip_to(body, 0)
        label, prefix = "", self._in_front
        listed: list[str] | None = None
        for walked in self._walked if self.by_list else ():
            listed = walked.names(body, 0) if walked.names else listed
            if listed is not None and walked.one_each and walked.element is not None:
                _check_number(walked.element, listed)
                label = listed[walked.element]
                prefix, listed = f"{self._in_front}{label}/", None
            else:
                label = _called(label, walked)
        if not self.by_list:
            for walked in self._walked:
                label = _called(label, walked)
        listed = self._names_at(body, 0) if self._names_at else listed
        labels, _ = self._label(body, position, _Place(label, prefix, listed))
        return labels if self._selector is None else self._selected(labels, self._selector)

    def _selected(self, labels: _Labels, selector: slice | int) -> _Labels:
        chosen = pick(np.arange(labels.size), selector, self._path).tolist()
        return _Labels(None if labels.names is None else [labels.names[n] for n in chosen], len(chosen))

    def _where(self) -> NDArray[np.intp]:
        places = [np.arange(start + self._start, end + self._start) for start, end in self._read_places]
        return np.unique(np.concatenate([np.arange(2 if self._start else 0), *places])).astype(np.intp)

    def _length(self, message: memoryview, position: int) -> tuple[int, int]:
        length, position = super()._length(message, position)
        self._read_places.append((position - 4, position))
        return length, position

    # ---- compiling

    def _walk(self, msgtype: str, path: str) -> tuple[FieldDesc, list[Step]]:
        steps: list[Step] = []
        desc: FieldDesc = (Nodetype.NAME, msgtype)
        for name, chosen in parse_path(path):
            owner = str(self._enter(desc, steps, name, path)[0][1])
            desc, before = self._into(owner, name, path)
            list_of = self._list_naming(owner, name, desc)
            names = self._strings_behind(owner, list_of, steps) if list_of else None
            steps = [*steps, *before]
            self._selector, element = chosen, None
            if isinstance(chosen, int) and self._is_message_list(desc):
                self._varies |= desc[0] == Nodetype.SEQUENCE
                desc, steps = self._element(desc, steps, chosen)
                self._selector, element = None, chosen
            self._walked.append(_Walked(name, element, name in ONE_EACH.get(owner, ()), names))
        return desc, steps

    def _into(self, msgtype: str, name: str, path: str) -> tuple[FieldDesc, list[Step]]:
        """Return what a field is, and the steps from the beginning of its message to it."""
        fields = self._fields(msgtype)
        names = [field for field, _ in fields]
        if name not in names:
            raise self._no_such(msgtype, path, "", name, names)
        place = names.index(name)
        return fields[place][1], self._skip_all([desc for _, desc in fields[:place]])

    def _list_naming(self, owner: str, name: str, desc: FieldDesc) -> str | None:
        """Return the field of a message type that names the numbers of another of its fields."""
        if self._names_field is not None:
            return None
        fields = dict(self._fields(owner))
        if owner in NAMED:
            return next((n for n, named in NAMED[owner].items() if name in named and n in fields), None)
        lists = [(field, d) for field, d in fields.items() if field in USUAL and _is_strings(d)]
        if len(lists) != 1:
            return None
        of = desc[1][0] if desc[0] in (Nodetype.SEQUENCE, Nodetype.ARRAY) else desc
        same_length = desc[0] == lists[0][1][0] and desc[1][1] == lists[0][1][1][1]
        if (of[0] == Nodetype.BASE and same_length) or of[1] == POINT:
            self.guessed = True
            self._fixed_too |= desc[0] == Nodetype.ARRAY
            return lists[0][0]
        return None

    def _strings_at(self, msgtype: str, path: str) -> Strings:
        steps: list[Step] = []
        *outer, (last, _) = parse_path(path)
        desc: FieldDesc = (Nodetype.NAME, msgtype)
        for name, chosen in outer:
            owner = str(self._enter(desc, steps, name, path)[0][1])
            desc, before = self._into(owner, name, path)
            steps = [*steps, *before]
            if isinstance(chosen, int) and self._is_message_list(desc):
                desc, steps = self._element(desc, steps, chosen)
        owner = str(self._enter(desc, steps, last, path)[0][1])
        if not _is_strings(self._into(owner, last, path)[0]):
            lists = ", ".join(self._string_lists(msgtype, "")) or "none"
            msg = f"names_field {path!r} of {msgtype} is no list of strings; it has: {lists}"
            raise ConfigError(msg, key="names_field")
        return self._strings_behind(owner, last, steps)

    def _string_lists(self, msgtype: str, prefix: str, depth: int = 3) -> list[str]:
        found: list[str] = []
        for name, desc in self._fields(msgtype):
            if _is_strings(desc):
                found.append(f"{prefix}{name}")
            elif desc[0] == Nodetype.NAME and depth:
                found += self._string_lists(str(desc[1]), f"{prefix}{name}.", depth - 1)
        return found

    def _strings_behind(self, owner: str, name: str, steps: Sequence[Step] = ()) -> Strings:
        """Read a list of strings of the message to which some steps lead."""
        desc, before = self._into(owner, name, name)
        skip = merge_steps([*steps, *before])
        fixed = int(desc[1][1]) if desc[0] == Nodetype.ARRAY else None

        def read(message: memoryview, position: int) -> list[str]:
            position = skip(message, position)
            count, position = self._length(message, position) if fixed is None else (fixed, position)
            found = []
            for _ in range(count):
                length, position = self._length(message, position)
                self._read_places.append((position, position + length))
                text = bytes(message[position : position + length])
                if len(text) < length:
                    msg = f"a name of {length} bytes reaches beyond the message"
                    raise DecodeError(msg)
                found.append(text.rstrip(b"\x00").decode(errors="replace"))
                position += length
            return found

        return read

    def _has_list(self, desc: FieldDesc) -> bool:
        if desc[0] == Nodetype.NAME:
            return any(self._has_list(inner) for _, inner in self._fields(str(desc[1])))
        return desc[0] == Nodetype.SEQUENCE or (desc[0] == Nodetype.ARRAY and self._has_list(desc[1][0]))

    # ---- naming what is there

    def _labels(self, desc: FieldDesc, *, one_each: bool) -> Label:
        """Name the numbers of a field; ``one_each``: its elements are messages, one for each name."""
        if desc[0] == Nodetype.BASE:
            skip = self._skip(desc)
            return lambda message, position, place: (_Labels([place.label], 1), skip(message, position))
        if desc[0] == Nodetype.NAME:
            return self._labels_of_message(str(desc[1]))
        element, length = desc[1]
        fixed = length if desc[0] == Nodetype.ARRAY else None
        if element[0] == Nodetype.BASE:
            return self._labels_of_numbers(desc, fixed)
        return self._labels_of_messages(str(element[1]), fixed, one_each=one_each)

    def _labels_of_numbers(self, desc: FieldDesc, fixed: int | None) -> Label:
        skip = self._skip(desc)

        def label(message: memoryview, position: int, place: _Place) -> tuple[_Labels, int]:
            count = fixed if fixed is not None else self._length(message, position)[0]
            names: list[str] | None
            if place.listed and (fixed is None or self._fixed_too):  # a message without any has numbers in their order
                _check_count(place.listed, count)
                names = [f"{place.prefix}{name}" for name in place.listed]
            else:
                names = [f"{place.label}[{n}]" for n in range(count)] if count <= MOST else None
            return _Labels(names, count), skip(message, position)

        return label

    def _labels_of_messages(self, msgtype: str, fixed: int | None, *, one_each: bool) -> Label:
        one = self._labels_of_message(msgtype)

        def label(message: memoryview, position: int, place: _Place) -> tuple[_Labels, int]:
            count, position = (fixed, position) if fixed is not None else self._length(message, position)
            by_name = one_each and bool(place.listed)
            if by_name and place.listed is not None:
                _check_count(place.listed, count)
            found = _Labels([], 0)
            for n in range(count):
                inner = _Place(f"{place.label}[{n}]", f"{place.prefix}[{n}].", place.listed)
                if by_name and place.listed is not None:
                    called = f"{place.prefix}{place.listed[n]}"
                    inner = _Place(called, f"{called}/", None)
                labels, position = one(message, position, inner)
                found = _joined(found, labels)
            return found, position

        return label

    def _labels_of_message(self, msgtype: str) -> Label:
        left_out = (NAMES_BESIDE.get(msgtype), PLACEHOLDER)
        fields = self._fields(msgtype)
        over = {name: self._skip(desc) for name, desc in fields if name in left_out}
        parts = {
            name: self._labels(desc, one_each=name in ONE_EACH.get(msgtype, ()))
            for name, desc in fields
            if name not in over
        }
        own = {} if self._names_field is not None else NAMED.get(msgtype, {})
        present = {name for name, _ in fields}
        names_of = {v: self._strings_behind(msgtype, n) for n, fs in own.items() if n in present for v in fs}

        def label(message: memoryview, position: int, place: _Place) -> tuple[_Labels, int]:
            begin, found = position, _Labels([], 0)
            for name, _ in fields:
                if name in over:
                    position = over[name](message, position)
                    continue
                inner = f"{place.label}.{name}" if place.label else name
                prefix = place.prefix if len(parts) == 1 else f"{place.prefix}{name}."
                listed = names_of[name](message, begin) if name in names_of else place.listed
                labels, position = parts[name](message, position, _Place(inner, prefix, listed))
                found = _joined(found, labels)
            return found, position

        return label


def _called(label: str, walked: _Walked) -> str:
    label = f"{label}.{walked.field}" if label else walked.field
    return label if walked.element is None else f"{label}[{walked.element}]"


def _is_strings(desc: FieldDesc) -> bool:
    return desc[0] in (Nodetype.SEQUENCE, Nodetype.ARRAY) and desc[1][0][1][0] == "string"


def _joined(a: _Labels, b: _Labels) -> _Labels:
    if a.names is None or b.names is None or a.size + b.size > MOST:
        return _Labels(None, a.size + b.size)
    a.names.extend(b.names)
    return _Labels(a.names, a.size + b.size)


def _check_count(names: list[str], count: int) -> None:
    if len(names) != count:
        raise MismatchError(names, count)


def _check_number(number: int, names: list[str]) -> None:
    if not -len(names) <= number < len(names):
        msg = f"there is no name [{number}], the message has {len(names)}"
        raise OutOfReachError(msg)
