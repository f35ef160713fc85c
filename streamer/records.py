"""The frozen values that stages hand to each other: nothing here reads, writes or decides.

Stamps, ticks and offsets are int64 nanoseconds everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - records are made of plain values by their annotations
from dataclasses import dataclass, field, replace
from enum import IntFlag
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a recording, as its index tells it.

    ``definition`` is the text of the message definition and ``definition_format`` says how to read
    it: ``msg``, ``idl``, or empty where the recording holds none. ``encoding`` says how its messages are
    serialized: ``ros1``, ``cdr``, or what the recording calls it (``json``, ``protobuf``, …). ``md5sum`` is ROS 1's
    checksum of the definition, where the recording has it. A topic whose messages are of several types, encodings or
    definitions has one of each in ``channels``. ``metadata`` is what else the recording says of it.
    """

    name: str
    msgtype: str
    count: int
    definition: str = ""
    definition_format: str = ""
    encoding: str = "cdr"
    md5sum: str = ""
    channels: tuple[Topic, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """Where each message of one topic lies, in the order of their stamps (ties: file order).

    ``stamps`` (n,) int64 nanoseconds; ``block`` (n,) int32, the part of the recording that is read
    or decompressed as one; ``offset`` (n,) int64, the place in the block (a row id in SQLite).
    """

    stamps: NDArray[np.int64]
    block: NDArray[np.int32]
    offset: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a recording is believed.

    ``max_chunk`` is how many bytes of a chunk, or a message, are held in memory as one; ``verify`` whether what is
    read is held against the checksums that the recording has.
    """

    max_chunk: int = 256_000_000
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Damage:
    """What was found of a file, or folder, of a recording that was salvaged.

    ``intact`` of its ``size`` bytes are read; nothing is behind byte ``stopped``, and ``chunks`` damaged
    ones before it are left out. ``why`` says in words what is wrong.
    """

    name: str
    size: int
    intact: int
    stopped: int
    chunks: int
    why: str

    def __str__(self) -> str:
        share = 1000 * self.intact // self.size / 10 if self.size else 0.0  # 100 % only where nothing is missing
        chunks = f", without {self.chunks} damaged chunk{'s' * (self.chunks > 1)}" if self.chunks else ""
        return (
            f"{self.name}: {self.intact} of {self.size} bytes ({share:.1f} %) are intact and were read, "
            f"up to byte {self.stopped}{chunks}: {self.why}"
        )


class Payload(Protocol):
    """The serialized bytes of one message, fetched as far as they are asked for: a promise of the source."""

    def __len__(self) -> int:
        """Return the length of the message in bytes."""

    def head(self) -> memoryview:
        """Return the first bytes: some hundred, or the whole message."""

    def all(self) -> memoryview:
        """Return all bytes, valid until the next ``all()`` in the same thread."""

    def into(self, start: int, out: memoryview) -> None:
        """Copy the bytes from ``start`` on into ``out``, filling it."""


class Flag(IntFlag):
    """What a reader of a sample should know about it; a bit field of one byte."""

    NONE = 0
    HELD = 1  # the frame before showed the same message, or the value is older than the tolerance
    INTERPOLATED = 2  # computed from several messages
    GAP = 4  # neighbouring messages are further apart than the stream's `gap`
    KEY = 8  # a packet of video at which decoding can begin


class Copying(NamedTuple):
    """A consumer's wish to be shown a video's packets as they are recorded.

    Where it ``must``, the run is refused if that cannot be; ``against`` says why the consumer cannot take them. With
    ``messages`` it wants, of any stream, the messages themselves: ``chosen`` are those of which the samples are made,
    ``all`` those that were received from the first tick to the last.
    """

    must: bool = False
    against: str = ""
    messages: str = ""


MESSAGE_COUNT = Struct("<q")  # of a frame's messages, which follow
MESSAGE_HEAD = Struct("<qii")  # of each: its stamp, the number of its channel, its length


@dataclass(frozen=True, slots=True)
class Channel:
    """What a recording says of a topic whose messages are written again.

    ``definition``, ``definition_format`` and ``encoding`` are as in `Topic`; ``metadata`` is what else it says of it,
    such as ``offered_qos_profiles``.
    """

    topic: str
    msgtype: str
    encoding: str
    definition: str
    definition_format: str
    metadata: Mapping[str, str] = field(hash=False)


TEXT = "|S1"  # the type of a text's bytes, of nothing else
MAX_PIXELS = 50_000_000  # an 8K picture has 33 million


@dataclass(frozen=True, slots=True)
class Decoding:
    """How one stream's messages become arrays: the decoding half of a stream's settings.

    ``field`` is a path, or several of which the numbers stand one behind the other; ``resize`` is (width, height) in
    pixels; ``capacity`` the largest number of rows of a stream whose samples vary in length, None to find out;
    ``scale`` multiplies numbers; ``elements`` chooses a vector's numbers by name, in this order; ``names_field`` is
    the path of the list that names them, None: by the type, empty: none, they are numbered; a picture of more than
    ``max_pixels`` is refused before it is decoded.
    """

    field: str | tuple[str, ...] | None = None
    dtype: str | None = None
    scale: float | None = None
    resize: tuple[int, int] | None = None
    color: str | None = None  # rgb | bgr | gray; None: rgb for colour images, others as they are
    capacity: int | None = None
    max_pixels: int = MAX_PIXELS
    elements: tuple[str, ...] | None = None
    names_field: str | None = None
    map: tuple[Any, ...] = ()  # steps as a configuration writes them, applied in order to each sample


@dataclass(frozen=True, slots=True)
class Alignment:
    """How one stream is laid against the ticks: the policy half of a stream's settings.

    ``tolerance`` and ``gap`` in nanoseconds, None for none. A sample is taken ``at`` nanoseconds and ``at_ticks`` ticks
    after its tick. The messages of a ``latched`` stream hold wherever they were recorded, also beyond an episode.
    """

    align: str = "nearest"  # nearest | previous | linear | mean; empty: nearest, previous for text
    tolerance: int | None = None
    missing: str = "error"  # error | skip | none | hold
    gap: int | None = None
    at: int = 0
    at_ticks: int = 0
    latched: bool = False

    @property
    def endless(self) -> bool:
        """Whether the last value stays good for ever, so that the stream has no end."""
        return self.missing == "hold" or (self.align == "previous" and self.tolerance is None)

    def settled(self, usual: str = "nearest") -> Alignment:
        """Fill in ``align`` where it was left out; only then a stream can be planned."""
        return self if self.align else replace(self, align=usual)


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """One stream as the user wants it: the first of ``topics`` that the recording has is read.

    ``shift`` nanoseconds are added to the stamps of its messages (a camera's latency is a negative shift). ``tf`` names
    two coordinate frames (from, to): the stream is then the pose of the second in the first, and all topics are read.
    A stream with ``parts`` holds the vectors of these one behind the other, each aligned by itself.

    ``undecodable`` says what becomes of a frame whose message is damaged: error, skip (the frame is
    left out and counted) or none (the frame has None there).
    """

    name: str
    topics: tuple[str, ...]
    clock: str = "receive"  # receive | header
    undecodable: str = "error"
    decoding: Decoding = Decoding()
    alignment: Alignment = Alignment()
    shift: int = 0
    tf: tuple[str, str] | None = None
    parts: tuple[StreamSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant that a user names, in nanoseconds since 1970 or, not ``absolute``, since the recording's beginning."""

    nanoseconds: int
    absolute: bool


@dataclass(frozen=True, slots=True)
class TimelineSettings:
    """Where the ticks come from: a stream's name, ``busiest`` (image stream) or ``grid``.

    ``rate`` in hertz as (numerator, denominator), None for the stream's own; of the ticks from ``start`` to ``end_at``
    (both included) ``crop`` is the fraction that is kept, ``skip`` the ticks left out at both ends of that. ``resets``
    says what to do where a clock of the recording was set: error, or read the first pass only, the last, or all of
    them one after the other (split).
    """

    source: str = "busiest"
    rate: tuple[int, int] | None = None
    skip: int = 0
    crop: tuple[float, float] = (0.0, 1.0)
    end: str = "common"  # common | longest | timeline
    start: Moment | None = None
    end_at: Moment | None = None
    resets: str = "error"  # error | first | last | split


@dataclass(frozen=True, slots=True)
class Markers:
    """Messages of ``topic`` that begin and end episodes, by conditions on their ``field`` (a path).

    Without ``stop`` the next start ends an episode. ``task`` and ``label`` name where such a text comes from: a field
    of the message that starts, or ends, the episode, or a topic (it begins with "/"); empty for nowhere.
    """

    topic: str
    field: str
    start: str
    stop: str | None = None
    discard: str | None = None
    task: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Rest:
    """A vector stream rests where no element changes faster than ``below`` a second, for ``lasting`` nanoseconds."""

    stream: str
    below: float
    lasting: int = 0


@dataclass(frozen=True, slots=True)
class EpisodeSettings:
    """How a recording is cut into episodes: by one of ``markers``, ``windows``, ``gap``, ``still`` and ``every``.

    ``windows`` is the path of a table; durations are in nanoseconds. Ends in which the stream of ``trim`` rests are cut
    off, and what is shorter than ``shortest`` then is left out; ``unfinished`` (drop, keep, error) says what becomes of
    one whose start or stop is missing. ``task`` is that of the episodes which have none of their own, after what
    ``task_file`` says, the path of a file.
    """

    markers: Markers | None = None
    windows: str | None = None
    gap: int | None = None
    still: Rest | None = None
    every: int | None = None
    shortest: int = 0
    trim: Rest | None = None
    unfinished: str = "drop"
    task: str = ""
    task_file: str | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """A part of a recording that is planned by itself: the messages received from ``start`` to before ``end``.

    Both are nanoseconds. ``why`` says what made it, ``number`` counts the episodes of the recording from 0.
    """

    number: int
    start: int
    end: int
    task: str = ""
    label: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """A computed stream at n instants: what is found there before any frame is loaded.

    ``values`` (n, k) float64, valid where ``found`` (n,) bool; ``offset`` (n,) int64 ns, how far the furthest message
    used lies from the instant; ``between`` (n,) bool, where a value was interpolated.
    """

    values: NDArray[np.float64]
    found: NDArray[np.bool_]
    offset: NDArray[np.int64]
    between: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """Which messages make one stream's sample, for every frame (n frames).

    ``first`` (n,) int32 message numbers in the topic's index, -1 where there is no sample;
    ``second`` (n,) int32, the other message where the sample is interpolated, the last of the messages that are
    averaged for ``align: mean``, else equal to ``first``; ``weight`` (n,) float64, the share of ``second``; ``stamp``
    (n,) int64, the stamp of the sample; ``offset`` (n,) int64, stamp of the nearest message used minus the instant at
    which the sample is taken (the tick, or where the stream's ``at`` puts it);
    ``flags`` (n,) uint8 of `Flag`.
    """

    name: str
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    weight: NDArray[np.float64]
    stamp: NDArray[np.int64]
    offset: NDArray[np.int64]
    flags: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be streamed, decided before any payload is read.

    ``ticks`` (n,) int64 are the ticks that became frames, ``numbers`` (n,) int64 their numbers in
    the timeline, ``planned`` the length of the timeline, ``skipped`` the ticks left out by reason.
    """

    ticks: NDArray[np.int64]
    numbers: NDArray[np.int64]
    planned: int
    skipped: Mapping[str, int]
    streams: tuple[StreamPlan, ...]

    @property
    def frames(self) -> int:
        """Number of frames to stream."""
        return len(self.ticks)


@dataclass(frozen=True, slots=True)
class Spec:
    """What one stream's array looks like.

    ``dtype`` is a numpy dtype description (``np.dtype(dtype)``: a string, or a dict for records);
    where ``variable`` is set, ``shape[0]`` is the capacity and each sample says its own length.
    ``names`` says which element of a vector is which (as many as ``shape[0]``; empty: they have no names), ``unit``
    what its numbers count (empty: not known). A text is a ``variable`` array of bytes, of the type `TEXT`.
    """

    shape: tuple[int, ...]
    dtype: Any
    variable: bool = False
    names: tuple[str, ...] = ()
    unit: str = ""

    @property
    def is_text(self) -> bool:
        """Whether samples are the bytes of a text."""
        return bool(self.dtype == TEXT)
