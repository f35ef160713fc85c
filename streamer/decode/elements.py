"""A stream's settings and a message → the names of its vector's elements, and the order in which they are wanted."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.decode.cdr import PLAIN, PLAIN_2
from streamer.decode.names import MOST, Namer, Reading
from streamer.errors import ConfigError, DecodeError, show_names

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Decoding

_MOST_KNOWN = 64  # orders that are remembered
_PADDING = 8  # bytes
_ENCAPSULATIONS = PLAIN | PLAIN_2


class _Known(NamedTuple):
    """An order, and by which bytes a message is known to have it.

    ``pieces`` (from, to, bytes) hold some padding besides and are quick to compare; ``where`` and ``content`` decide.
    """

    pieces: tuple[tuple[int, int, bytes], ...]
    where: NDArray[np.intp]
    content: bytes
    order: NDArray[np.intp]
    size: int


class Elements:
    """The elements of one stream's vectors: their names in each message, and the wanted ones' places in it.

    Several threads may `take`; the orders they find are remembered for all of them.
    """

    def __init__(self, msgtype: str, types: Typesdict, encoding: str, how: Decoding) -> None:
        """Compile the field's names.

        Raises:
            ConfigError: ``names_field`` is no list of strings; or names do not depend on the message, and one of
                ``elements`` is none of them.

        """
        self.wanted = how.elements
        self._args = (types, encoding, msgtype)
        self._paths = paths_of(how)
        self._cdr = encoding == "cdr"
        self._lock = threading.Lock()
        self._known: list[_Known] = []
        self._compile(how.names_field)

    def _compile(self, names_field: str | None) -> None:
        orders = (False, True) if self._cdr else (False,)
        self._namers = {big: [self._namer(path, names_field, big_endian=big) for path in self._paths] for big in orders}
        self.by_list = any(namer.by_list for namer in self._namers[False])
        self.varies = any(namer.varies for namer in self._namers[False])
        self._guessed = any(namer.guessed for namer in self._namers[False])

    def _namer(self, path: str, names_field: str | None, *, big_endian: bool) -> Namer:
        several = len(self._paths) > 1
        return Namer(*self._args, path, names_field=names_field, prefixed=several, big_endian=big_endian)

    def settle(self, message: memoryview) -> None:
        """Find out from a first message whether a list that only looks like names of the numbers is one."""
        if self._guessed and self.read(message).listed:
            self._compile("")
        self._guessed = False

    def read(self, message: memoryview) -> Reading:
        """Return what a message says of its numbers, before any are chosen."""
        if self._cdr and bytes(message[:2]) not in _ENCAPSULATIONS:
            return Reading(None, -1, f"it begins with {bytes(message[:4])!r}, which is no plain CDR encapsulation")
        with self._lock:
            found = [namer.read(message) for namer in self._namers[self._cdr and not message[1] & 1]]
        return found[0] if len(found) == 1 else _joined(found)

    def order_of(self, names: tuple[str, ...]) -> NDArray[np.intp] | None:
        """Return where the wanted elements stand among some names; None where they are not all there.

        Of several fields with names that stand in the message, ``waist`` means that element of each.

        Raises:
            ConfigError: one stands there twice.

        """
        places = {name: n for n, name in enumerate(names)}
        wanted = self._full(places)
        if wanted is None:
            return None
        counts = Counter(names)
        if twice := [name for name in wanted if counts[name] > 1]:
            msg = f"{twice[0]!r} stands {counts[twice[0]]} times in one message, so it does not say which is meant"
            raise ConfigError(msg, key="elements")
        return np.array([places[name] for name in wanted], np.intp)

    def _full(self, names: Any) -> list[str] | None:
        wanted = list(self.wanted or ())
        if all(name in names for name in wanted):
            return wanted
        each = [f"{path}.{name}" for path in self._paths for name in wanted]
        return each if len(self._paths) > 1 and all(name in names for name in each) else None

    def chosen(self, names: tuple[str, ...] | None) -> tuple[str, ...]:
        """Return the names that a stream's vectors have, of those that a message has."""
        if self.wanted is None:
            return names or ()
        return tuple(self._full(set(names or ())) or ())

    def take(self, values: NDArray[Any], message: memoryview) -> NDArray[Any]:
        """Return the wanted elements of a message's numbers.

        Raises:
            DecodeError: they are not all there.

        """
        for known in self._known:
            if all(message[start:end] == piece for start, end, piece in known.pieces):
                return _taken(values, known.order, known.size)
        content = np.frombuffer(message, np.uint8)
        for known in self._known:
            if len(content) > known.where[-1] and content[known.where].tobytes() == known.content:
                return _taken(values, known.order, known.size)
        return self._find(values, message)

    def _find(self, values: NDArray[Any], message: memoryview) -> NDArray[Any]:
        reading = self.read(message)
        if reading.problem:
            raise DecodeError(reading.problem)
        order = self.order_of(reading.names or ())
        if order is None:
            msg = f"the message does not carry all of the elements {show_names(self.wanted or ())}"
            raise DecodeError(msg)
        where = reading.where
        if where is not None and len(where) and len(self._known) < _MOST_KNOWN:
            content = np.frombuffer(message, np.uint8)[where].tobytes()
            self._known.append(_Known(_pieces(where, message), where, content, order, reading.size))
        return _taken(values, order, reading.size)


def _taken(values: NDArray[Any], order: NDArray[np.intp], size: int) -> NDArray[Any]:
    if len(values) != size:
        msg = f"the message has {size} names and {len(values)} values"
        raise DecodeError(msg)
    return values[order]


def _pieces(where: NDArray[np.intp], message: memoryview) -> tuple[tuple[int, int, bytes], ...]:
    """Cut a message into the pieces around some places, which have at most the padding between two numbers in them."""
    cuts = np.flatnonzero(np.diff(where) > _PADDING) + 1
    return tuple(
        (int(part[0]), int(part[-1]) + 1, bytes(message[int(part[0]) : int(part[-1]) + 1]))
        for part in np.split(where, cuts)
    )


def paths_of(how: Decoding) -> tuple[str, ...]:
    """Return the field paths of a vector; the empty one means the whole message."""
    return how.field if isinstance(how.field, tuple) else (how.field or "",)


def _joined(parts: list[Reading]) -> Reading:
    """Put the readings of several fields of one message together."""
    problem = next((part.problem for part in parts if part.problem), "")
    known = [part.where for part in parts if part.where is not None]
    where = np.unique(np.concatenate(known)) if len(known) == len(parts) else None
    listed = tuple(name for part in parts for name in (part.listed or part.names or ()))
    if problem:
        return Reading(None, -1, problem, where, listed, any(part.beyond for part in parts))
    size = sum(part.size for part in parts)
    if size > MOST or any(part.names is None for part in parts):
        return Reading(None, size, "", where)
    return Reading(tuple(name for part in parts for name in part.names or ()), size, "", where)
