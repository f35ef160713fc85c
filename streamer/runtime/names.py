"""What the messages of a topic say their numbers are → those that belong to a stream, or what is wrong with them.

Names are read as header stamps are: from the heads of many messages at once, and of all streams side by side, so that
a compressed chunk is unpacked once. One message is walked through, and all in which the bytes are equal that decided
what was found there are known as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.errors import ConfigError, DecodeError, RecordingError, names_differ, nearest_name, show_names
from streamer.records import Index
from streamer.source.together import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from streamer.decode.elements import Elements
    from streamer.decode.names import Reading
    from streamer.records import Plan, StreamPlan, StreamSettings
    from streamer.source.source import Source

_BATCH = 4096  # messages whose heads are in memory at once
_MOST_HEAD = 1 << 14  # bytes; messages with names behind more are read one by one
_MOST_KNOWN = 64  # kinds of messages that heads are compared with
_STEP = 64  # bytes
UNDECODABLE = "'undecodable: skip' leaves such frames out and counts them, 'none' puts None in their place"


class Kinds(NamedTuple):
    """What the messages of an index say: ``kind`` (n,) int32 counts ``readings``, each of which is there once."""

    readings: list[Reading]
    kind: NDArray[np.int32]

    def count(self, kind: int) -> int:
        """Return how many messages are of a kind."""
        return int(np.count_nonzero(self.kind == kind))

    def of(self, kinds: Sequence[int]) -> NDArray[np.intp]:
        """Return the messages that are of one of some kinds."""
        return np.flatnonzero(np.isin(self.kind, kinds))


class Said(NamedTuple):
    """What all messages of an index say."""

    messages: Index
    kinds: Kinds

    def by(self, some: Index) -> Kinds | None:
        """Return what some of the messages say; None where one is not found by its place."""
        span = int(self.messages.offset.max(initial=0)) + 1
        if span * (int(self.messages.block.max(initial=0)) + 1) > np.iinfo(np.int64).max:
            return None
        places, wanted = (of.block.astype(np.int64) * span + of.offset for of in (self.messages, some))
        order = np.argsort(places)
        numbers = order[np.minimum(np.searchsorted(places, wanted, sorter=order), len(order) - 1)]
        if (places[numbers] != wanted).any():
            return None
        used, kind = np.unique(self.kinds.kind[numbers], return_inverse=True)
        return Kinds([self.kinds.readings[k] for k in used.tolist()], kind.astype(np.int32))


@dataclass(frozen=True, slots=True)
class NameSet:
    """Messages of one topic with the same names: how many, and the first one's stamp in nanoseconds."""

    names: tuple[str, ...]
    size: int
    count: int
    first: int
    problem: str = ""


class _Known(NamedTuple):
    """By which bits of its first words a message is known to be of a kind."""

    mask: NDArray[np.uint64]
    content: NDArray[np.uint64]
    kind: int


class _Reader:
    """Reads what messages say, each only as far as needed."""

    def __init__(self, source: Source, index: Index, read: Callable[[memoryview], Reading]) -> None:
        self._source = source
        self._index = index
        self._read = read
        self._known: list[_Known] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self.readings: list[Reading] = []
        self.kind = np.full(len(index.stamps), -1, np.int32)

    def take(self, numbers: NDArray[np.intp]) -> None:
        """Read what some of the messages say."""
        for start in range(0, len(numbers), _BATCH):
            self._read_batch(numbers[start : start + _BATCH])

    def _read_batch(self, rest: NDArray[np.intp]) -> None:
        heads = np.empty((len(rest), 0), np.uint8)
        for known in self._known:
            heads = self._grown(heads, rest, known)
            rest, heads = self._compare(rest, heads, known)
        while len(rest):
            known_now = self._learn(int(rest[0]))
            rest, heads = rest[1:], heads[1:]
            if known_now is not None:
                heads = self._grown(heads, rest, known_now)
                rest, heads = self._compare(rest, heads, known_now)

    def _grown(self, heads: NDArray[np.uint8], rest: NDArray[np.intp], known: _Known) -> NDArray[np.uint8]:
        """Make sure that heads reach as far as the bytes that they are to be compared with."""
        needed = 8 * len(known.mask)
        if heads.shape[1] >= needed or not len(rest):
            return heads
        index = self._index
        part = Index(index.stamps[rest], index.block[rest], index.offset[rest])
        return self._source.heads(part, needed, short=True)

    def _compare(
        self, rest: NDArray[np.intp], heads: NDArray[np.uint8], known: _Known
    ) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        if not len(rest):
            return rest, heads
        words = heads[:, : 8 * len(known.mask)].view(np.uint64)
        equal = ~((words ^ known.content) & known.mask).any(axis=1)
        self.kind[rest[equal]] = known.kind
        return rest[~equal], heads[~equal]

    def _learn(self, number: int) -> _Known | None:
        """Walk through one message; return what others can be compared with."""
        message = self._source.payload(self._index, number).all()
        reading = self._read(message)
        key = (reading.names, reading.size, reading.problem, reading.listed)
        kind = self._numbers.setdefault(key, len(self.readings))
        if kind == len(self.readings):
            self.readings.append(reading)
        self.kind[number] = kind
        where = reading.where
        if where is None or len(self._known) >= _MOST_KNOWN or int(where.max(initial=0)) >= _MOST_HEAD:
            return None
        end = -(-(int(where.max(initial=0)) + 1) // _STEP) * _STEP
        mask, content = np.zeros(end, np.uint8), np.zeros(end, np.uint8)
        mask[where] = 0xFF
        content[where] = np.frombuffer(message, np.uint8)[where]
        self._known.append(_Known(mask.view(np.uint64), content.view(np.uint64), kind))
        return self._known[-1]


def read_names(source: Source, asked: Sequence[tuple[Index, Elements]]) -> list[Kinds]:
    """Find out what every message of some indexes says of its numbers.

    Raises:
        RecordingError: the file is damaged.

    """
    readers = []
    for index, elements in asked:
        if len(index.stamps):
            elements.settle(source.payload(index, 0).all())
        readers.append(_Reader(source, index, elements.read))
    for parts in side_by_side(source, [index for index, _ in asked]):
        for reader, numbers in zip(readers, parts, strict=True):
            reader.take(numbers)
    return [Kinds(reader.readings, reader.kind) for reader in readers]


def name_sets(source: Source, index: Index, elements: Elements) -> list[NameSet]:
    """Return the sets of names of a topic, the most frequent first."""
    (found,) = read_names(source, [(index, elements)])
    sets = [
        NameSet(r.names or r.listed, r.size, found.count(k), int(index.stamps[np.argmax(found.kind == k)]), r.problem)
        for k, r in enumerate(found.readings)
    ]
    return sorted(sets, key=lambda one: -one.count)


# ---- which messages belong to a stream


def belonging(
    index: Index, settings: StreamSettings, elements: Elements, found: Kinds
) -> tuple[Index, tuple[str, ...]]:
    """Return the index of the messages that carry all elements of a stream, and what to warn of.

    ``found`` is what the messages of ``index`` say.

    Raises:
        ConfigError: none does, or one carries an element twice.

    """
    if not len(index.stamps):
        return index, ()
    try:
        fitting = [k for k, r in enumerate(found.readings) if elements.order_of(r.names or r.listed) is not None]
    except ConfigError as error:
        placed = error.under("streams", settings.name)
        raise placed from error
    if not fitting:
        raise _nobody(settings, found, elements)
    chosen = found.of(fitting)
    warnings = tuple(_left_out(settings, found, fitting, elements.wanted or ()))
    if len(chosen) == len(index.stamps):
        return index, warnings
    return Index(index.stamps[chosen], index.block[chosen], index.offset[chosen]), warnings


def _nobody(settings: StreamSettings, found: Kinds, elements: Elements) -> ConfigError:
    wanted = elements.wanted or ()
    order = sorted(range(len(found.readings)), key=lambda k: -found.count(k))
    sets = [(found.readings[k].names or found.readings[k].listed, found.count(k)) for k in order]
    every = {name for names, _ in sets for name in names}
    if unknown := [name for name in wanted if name not in every]:
        hint = nearest_name(unknown[0], every) or "."
        text = f"no message has {unknown[0]!r}{hint} {_there(found, sets)}"
    else:
        parts = "; ".join(
            f"{count} messages with {show_names([n for n in wanted if n in names])}"
            for names, count in sets[:4]
            if set(wanted) & set(names)
        )
        text = f"no message has all of them: {parts}; make a stream for each of these"
    return ConfigError(text, key=f"streams.{settings.name}.elements")


def _there(found: Kinds, sets: list[tuple[tuple[str, ...], int]]) -> str:
    listed = "; ".join(f"{show_names(names)} in {count}" for names, count in sets[:4] if names)
    if listed:
        return f"Names: {listed}"
    large = next((r.size for r in found.readings if r.names is None and not r.problem), None)
    if large is not None:
        return f"A vector of {large} numbers has no names: use 'field: path[from:to]'"
    return f"There are no names ({next((r.problem for r in found.readings if r.problem), 'no numbers')})"


def _left_out(settings: StreamSettings, found: Kinds, fitting: Sequence[int], wanted: Sequence[str]) -> Iterator[str]:
    """Warn of messages without names, and of those with some of the elements: others are somebody else's."""
    bare = partly = 0
    for k, reading in enumerate(found.readings):
        if k in fitting:
            continue
        names = set(reading.names or reading.listed)
        bare += found.count(k) if not names or reading.where is None else 0
        partly += found.count(k) if names & set(wanted) else 0
    total = len(found.kind)
    if bare:
        yield f"streams.{settings.name}.elements: {bare} of {total} messages have no names that can be read: left out"
    if partly:
        yield f"streams.{settings.name}.elements: {partly} of {total} messages have only some of them: left out"


# ---- whether those that are planned fit each other


@dataclass(frozen=True, slots=True)
class Fit:
    """How the planned messages of a stream fit together.

    ``first`` is the first of them that can be decoded, None where none can; ``names`` are what it calls its numbers;
    ``unfit`` are those that cannot be taken, and why: they are found where their frame is loaded.
    """

    first: int | None
    names: tuple[str, ...]
    unfit: dict[int, str]


def planned_part(index: Index, plan: Plan, number: int, settings: StreamSettings) -> tuple[NDArray[np.intp], Index]:
    """Return which messages stream ``number`` of the plan uses, and their part of its index."""
    planned = _planned(plan.streams[number], averaged=settings.alignment.align == "mean")
    return planned, Index(index.stamps[planned], index.block[planned], index.offset[planned])


def fit(
    planned: NDArray[np.intp], plan: Plan, number: int, settings: StreamSettings, elements: Elements, found: Kinds
) -> Fit:
    """Look at what every message that stream ``number`` of the plan uses says: ``found``, in the order of ``planned``.

    Raises:
        ConfigError: the names in one differ from those in the first.
        DecodeError: one has another length, or not as many names as numbers, and `undecodable` says ``error``.

    """
    if not len(planned):
        return Fit(None, (), {})
    whole = [k for k, reading in enumerate(found.readings) if not reading.problem]
    first = int(np.argmax(np.isin(found.kind, whole))) if whole else None
    reference = found.readings[found.kind[first]] if first is not None else None
    about = _About(settings, plan, number, planned, found)
    problems = {k: r.problem for k, r in enumerate(found.readings) if r.problem}
    names: tuple[str, ...] = ()
    if reference is not None:
        names = reference.names or ()
        others = [k for k in whole if k != found.kind[first]]
        names = _agreed(about, elements, names, others)
        problems |= {k: why for k in others if (why := _misfit(settings, found.readings[k], reference))}
        problems |= {k: why for k in whole if (why := _too_long(settings, found.readings[k]))}
    elif found.readings[found.kind[0]].beyond:
        raise ConfigError(found.readings[found.kind[0]].problem, key=f"streams.{settings.name}.field")
    if problems and settings.undecodable == "error":
        raise about.error(problems)
    unfit = {int(planned[at]): problems[int(found.kind[at])] for at in found.of(list(problems)).tolist()}
    return Fit(None if first is None else int(planned[first]), elements.chosen(names), unfit)


def _misfit(settings: StreamSettings, reading: Reading, first: Reading) -> str:
    if reading.size == first.size or settings.decoding.capacity is not None or settings.decoding.elements is not None:
        return ""
    return f"it has {reading.size} values where the stream has {first.size}: set 'capacity' for lengths that vary"


def _too_long(settings: StreamSettings, reading: Reading) -> str:
    capacity = settings.decoding.capacity
    if capacity is None or reading.size <= capacity:
        return ""
    return f"it has {reading.size} values, more than the stream's capacity of {capacity}"


def _agreed(about: _About, elements: Elements, names: tuple[str, ...], others: Sequence[int]) -> tuple[str, ...]:
    """Make sure that all messages call their numbers the same; of lists of different lengths, return the longest."""
    if not elements.by_list or elements.wanted is not None:
        return names if about.settings.decoding.capacity is None or elements.by_list else ()
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = (
            f"the name {twice!r} stands {names.count(twice)} times in one message: elements cannot be told apart by "
            "name; \"names_field: ''\" numbers them instead"
        )
        raise about.config(msg)
    longest = names
    for k in others:
        own = about.found.readings[k].names or ()
        length = min(len(own), len(longest))
        if own != longest and (about.settings.decoding.capacity is None or own[:length] != longest[:length]):
            raise about.config(_other_names(about, own, longest, k))
        longest = max(own, longest, key=len)
    return longest


def _other_names(about: _About, own: tuple[str, ...], first: tuple[str, ...], kind: int) -> str:
    common = [name for name in first if name in own]
    wanted = list(first) if set(first) <= set(own) else common or list(first)
    where = about.first_of([kind])
    instead = ", or number them: \"names_field: ''\"" if about.settings.decoding.capacity is not None else ""
    return (
        f"{about.count([kind])} of {len(about.planned)} messages have other names than the first, from "
        f"{about.place(where)} on: {names_differ(own, first)}\n"
        f"choose the elements by name: add 'elements: {show_names(wanted, 64)}' to this stream{instead}"
    )


@dataclass(frozen=True, slots=True)
class _About:
    """What a message about planned messages is made of."""

    settings: StreamSettings
    plan: Plan
    number: int
    planned: NDArray[np.intp]
    found: Kinds

    def count(self, kinds: Sequence[int]) -> int:
        return len(self.found.of(kinds))

    def first_of(self, kinds: Sequence[int]) -> int:
        """Return the first planned message of some kinds, as a place in ``planned``."""
        return int(self.found.of(kinds)[0])

    def place(self, at: int) -> str:
        """Say where a message is used: its number, the frame, the time of its tick."""
        number, stream = int(self.planned[at]), self.plan.streams[self.number]
        frame = int(np.argmax((stream.first == number) | (stream.second == number)))
        seconds = (int(self.plan.ticks[frame]) - int(self.plan.ticks[0])) / 1e9
        return f"message {number} (frame {frame}, {seconds:.3f} s)"

    def config(self, text: str) -> ConfigError:
        return ConfigError(text, key=f"streams.{self.settings.name}")

    def error(self, problems: dict[int, str]) -> RecordingError:
        kinds = list(problems)
        at = self.first_of(kinds)
        count = self.count(kinds)
        more = f" ({count} of {len(self.planned)} planned messages cannot be taken)" if count > 1 else ""
        text = f"{self.place(at)}: {problems[int(self.found.kind[at])]}{more}"
        return DecodeError(text, stream=self.settings.name, hint=UNDECODABLE)


def _planned(plan: StreamPlan, *, averaged: bool) -> NDArray[np.intp]:
    """Return the messages that a stream's samples are made of, each once, in order."""
    first, second = plan.first[plan.first >= 0], plan.second[plan.first >= 0]
    used = np.zeros(int(second.max(initial=-1)) + 2, np.int64)
    if averaged:
        np.add.at(used, first, 1)
        np.add.at(used, second + 1, -1)
        used = np.cumsum(used)
    else:
        used[first] = 1
        used[second] = 1
    return np.flatnonzero(used > 0)
