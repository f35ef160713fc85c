"""The streams of a run → which of them are made of the same messages, the same decoding and the same first steps.

What streams have in common is read, decompressed, decoded and mapped once for a frame. It never changes what a stream
holds: a JPEG that one stream may have at a reduced size and another may not is decoded for each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.transform import Chain
from streamer.transform.own import Own

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamer.records import Payload
    from streamer.runtime.prepare import Stream
    from streamer.transform import Step

Place = tuple[int, int]  # of a message: block and offset


class Way(NamedTuple):
    """How a stream's samples are made of decoded arrays.

    ``decoding`` is the same number for streams whose decoders make the same array of a message, -1 where no other does.
    ``chain`` makes the sample of that array; ``first`` is its beginning, which other streams of the same number
    ``beginning`` have, too, and ``rest`` what follows.
    """

    decoding: int
    chain: Chain | None
    beginning: int = -1
    first: Chain | None = None
    rest: Chain | None = None


class Ways(NamedTuple):
    """How a stream is made of pictures in full, and where that is allowed of reduced JPEGs; ``read`` with others."""

    whole: Way
    small: Way | None
    read: bool


@dataclass(slots=True)
class Made:
    """What was made for one frame so far; None of a decoding that cannot be had."""

    payloads: dict[tuple[int, str, Place], Payload] = field(default_factory=dict)
    arrays: dict[tuple[int, Place], NDArray[Any] | None] = field(default_factory=dict)
    begun: dict[tuple[int, Place], NDArray[Any]] = field(default_factory=dict)

    def fetch(self, stream: Stream, number: int) -> Payload:
        """Return a message of a stream's index, fetched once for all streams of the frame."""
        key = id(stream.source), stream.topic.name, place_of(stream, number)
        if key not in self.payloads:
            self.payloads[key] = stream.source.payload(stream.index, number)
        return self.payloads[key]

    def once(self, decoding: int, place: Place | None, make: Callable[[], NDArray[Any] | None]) -> NDArray[Any] | None:
        """Return a decoding of a message, made now unless another stream has made it."""
        if place is None or decoding < 0:
            return make()
        key = decoding, place
        if key not in self.arrays:
            self.arrays[key] = make()
        return self.arrays[key]

    def mapped(self, way: Way, place: Place | None, array: NDArray[Any], out: NDArray[Any]) -> int:
        """Write what a map makes of a decoded array; return how many rows of it are meant.

        Raises:
            DecodeError: a step has no result, or one of another shape than it promised.

        """
        if way.first is None or way.rest is None or place is None:
            assert way.chain is not None  # noqa: S101 - for the type checker: without a map nobody comes here
            return way.chain.into(array, out)
        key = way.beginning, place
        if key not in self.begun:
            self.begun[key] = way.first(array)
        return way.rest.into(self.begun[key], out)


def place_of(stream: Stream, number: int) -> Place:
    """Return where a message of a stream's index lies."""
    return stream.index.block.item(number), stream.index.offset.item(number)


def find_ways(streams: Sequence[Stream]) -> list[Ways]:
    """Find out what the streams have in common."""
    made: list[tuple[int, Chain | None]] = []  # of each way: decoding and steps
    kinds: list[tuple[Stream, int]] = []
    for stream in streams:
        made.append((_number(kinds, (stream, 1), _alike), stream.chain))
        if stream.reduced is not None:
            factor, chain = stream.reduced
            made.append((_number(kinds, (stream, factor), _alike), chain))
    often = Counter(decoding for decoding, _ in made)
    made = [(decoding if often[decoding] > 1 else -1, chain) for decoding, chain in made]
    starts: list[tuple[int, tuple[Step, ...]]] = []
    ways = [_way(n, made, starts) for n in range(len(made))]
    topics = Counter(stream.topic.name for stream in streams if stream.compute is None and not stream.parts)
    found = iter(ways)
    return [
        Ways(
            next(found),
            next(found) if s.reduced is not None else None,
            s.compute is None and not s.parts and topics[s.topic.name] > 1,
        )
        for s in streams
    ]


def _alike(one: tuple[Stream, int], other: tuple[Stream, int]) -> bool:
    """Tell whether two streams' decoders make the same array of the same message, both at a ``factor``-th."""
    (a, factor), (b, same) = one, other
    return (
        factor == same
        and a.source is b.source
        and a.compute is None
        and a.topic == b.topic
        and replace(a.settings.decoding, map=()) == replace(b.settings.decoding, map=())
        and a.raw == b.raw
    )


def _number(known: list[Any], value: Any, same: Callable[[Any, Any], bool]) -> int:
    """Return the place among the known values of one that is the same; a new one is added."""
    for number, one in enumerate(known):
        if same(one, value):
            return number
    known.append(value)
    return len(known) - 1


def _way(number: int, made: list[tuple[int, Chain | None]], starts: list[tuple[int, tuple[Step, ...]]]) -> Way:
    """Find the longest beginning of a way's steps that another one of the same decoding has, too."""
    decoding, chain = made[number]
    if decoding < 0 or chain is None:
        return Way(decoding, chain)
    others = [c for n, (d, c) in enumerate(made) if n != number and d == decoding and c is not None]
    common = max((_common(chain.steps, other.steps) for other in others), default=0)
    if not common:
        return Way(decoding, chain)
    beginning = _number(starts, (decoding, chain.steps[:common]), lambda a, b: bool(a == b))
    first = Chain(chain.steps[:common], chain.shapes[: common + 1])
    return Way(decoding, chain, beginning, first, Chain(chain.steps[common:], chain.shapes[common:]))


def _common(one: tuple[Step, ...], other: tuple[Step, ...]) -> int:
    """Count the steps that two maps begin with alike; a user's own may be other functions of one name."""
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        own = isinstance(a, Own) and isinstance(b, Own) and a.function is not b.function
        if own or a != b:
            return count
    return min(len(one), len(other))
