"""What a consumer is, and what it is shown: the whole of the plug-in interface.

A consumer is a class with some of these four methods, or a plain function that takes a frame. It runs
in a process of its own, which is replaced from time to time and may be killed at any moment; what it
returned from `on_chunk` comes back to its successor in `open`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.records import MESSAGE_COUNT, MESSAGE_HEAD, Channel, Copying, Flag

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of a recording.

    ``kind`` is image (height, width[, 3]), depth (height, width), vector (n,), points (n,) of records, or text, whose
    samples are a ``str`` of at most ``shape[0]`` bytes in UTF-8; ``shape`` and ``dtype`` are those of every sample, but
    for the length of a ``variable`` stream, of which ``shape[0]`` is the largest. ``names`` says which element of a
    vector is which (empty where they have no names), ``unit`` what its numbers count (empty where that is not known).
    ``averaged`` says that samples are means of several messages, of which `Sample.count` tells how many.

    A consumer that asks for it (`Consumer.takes_packets`) sees a video of kind packets: each sample has the bytes (n,)
    uint8 of one picture's packet as it was recorded, ``codec`` names what they are (h264, hevc, av1, vp9) and
    ``picture`` the shape that the picture would have. One that asks for messages sees kind messages: `Sample.messages`
    gives those of a frame as they were recorded, and ``channels`` says what they are.
    """

    name: str
    topic: str
    msgtype: str
    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    variable: bool = False
    clock: str = "receive"
    names: tuple[str, ...] = ()
    unit: str = ""
    codec: str = ""
    picture: tuple[int, ...] = ()
    averaged: bool = False
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """The recording that a consumer is about to see.

    ``frames`` is how many frames the plan has, ``rate`` the timeline's pace in hertz (None where it
    has none), ``start`` and ``end`` the first and last tick in nanoseconds (0 without frames);
    ``provenance`` says where all this comes from, in plain values fit for JSON. ``part`` says that
    others write to the same ``out`` meanwhile and `Consumer.merge` will be called when all are done.

    Where a recording is cut into episodes, each comes as a recording of its own, in order: ``episode`` counts them from
    0 (None: the recording is whole), ``task`` says in words what is done in it, ``label`` how it went; ``name`` is the
    recording's with the episode's number behind it. ``flagged`` says in words which limits of ``quality`` it is beyond;
    it is empty where it is within them, or nobody has set any.
    """

    name: str
    path: str
    frames: int
    chunk_size: int
    rate: float | None
    start: int
    end: int
    streams: Mapping[str, StreamInfo]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    part: bool = False
    episode: int | None = None
    task: str = ""
    label: str = ""
    flagged: str = ""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a consumer will be shown of a ``recording``, known before any frame is made.

    ``ticks`` and ``tick_numbers`` (n,) int64 are those of the frames that it will see, in order; ``without`` says of
    how many of them a stream has no sample (streams that always have one are not in it).
    """

    recording: Recording
    ticks: NDArray[np.int64]
    tick_numbers: NDArray[np.int64]
    without: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Part:
    """A recording of many, or an episode, that is closed: its name and path, and what its last `on_chunk` returned.

    ``episode``, ``task`` and ``label`` are as in `Recording`; so are an episode's ``start``, ``end`` and ``flagged``.
    """

    name: str
    path: str
    state: dict[str, Any] | None
    episode: int | None = None
    task: str = ""
    label: str = ""
    start: int = 0
    end: int = 0
    flagged: str = ""


class Message(NamedTuple):
    """A message as it was recorded: the number of its channel, its receive stamp, its bytes (valid as the frame is)."""

    channel: int
    stamp: int
    data: memoryview


class Sample(NamedTuple):
    """One stream's value in a frame.

    ``value`` is a read-only array, of a text a ``str``; ``stamp`` is the message's stamp in nanoseconds, ``offset`` how
    far the nearest message used lies from the tick (stamp - tick, nanoseconds). ``count`` is how many messages the mean
    was made of where the stream has ``align: mean``, else 1.
    """

    value: Any
    stamp: int
    offset: int
    flags: int
    count: int = 1  # type: ignore[assignment] # nobody counts in a tuple of these; the word is the user's

    @property
    def held(self) -> bool:
        """Whether the frame before showed the same message, or the value is older than the tolerance."""
        return bool(self.flags & Flag.HELD)

    @property
    def interpolated(self) -> bool:
        """Whether the value was computed from two messages."""
        return bool(self.flags & Flag.INTERPOLATED)

    @property
    def key(self) -> bool:
        """Whether decoding can begin at this packet of a video."""
        return bool(self.flags & Flag.KEY)

    def messages(self) -> Iterator[Message]:
        """Give the messages of a stream of that kind, in the order of their stamps."""
        data = memoryview(self.value)
        at = MESSAGE_COUNT.size
        for _ in range(MESSAGE_COUNT.unpack_from(data)[0]):
            stamp, channel, length = MESSAGE_HEAD.unpack_from(data, at)
            at += MESSAGE_HEAD.size
            yield Message(channel, stamp, data[at : at + length])
            at += length

    @property
    def gap(self) -> bool:
        """Whether neighbouring messages are further apart than the stream's ``gap``."""
        return bool(self.flags & Flag.GAP)


class Frame(Mapping[str, Any]):
    """All samples of one tick: ``frame["head"]`` is the array (of a text a ``str``), or None where there is none.

    The arrays are views of shared memory and valid until `on_frame` returns: copy what is to stay.
    ``number`` counts the frames of the recording from 0, ``tick`` is the instant in nanoseconds and
    ``tick_number`` its place in the timeline, which runs ahead of ``number`` where ticks were skipped.
    """

    __slots__ = ("number", "samples", "tick", "tick_number")

    def __init__(self, number: int, tick_number: int, tick: int, samples: dict[str, Sample | None]) -> None:
        """Put the samples of a tick together."""
        self.number = number
        self.tick_number = tick_number
        self.tick = tick
        self.samples = samples

    def __getitem__(self, stream: str) -> Any:
        sample = self.samples[stream]
        return None if sample is None else sample.value

    def __iter__(self) -> Iterator[str]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Frame(number={self.number}, tick={self.tick}, streams={list(self.samples)})"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A unit of commit: ``frames`` frames, of which the recording's numbers are first … last.

    ``frames`` counts what this consumer was shown, which is fewer where it thins or frames were
    left out.
    """

    number: int
    first: int
    last: int
    frames: int


class Consumer:
    """The base of a consumer: override what you need; the constructor takes the options.

    ``many_recordings`` says that one ``out`` serves several recordings, because outputs carry the
    recording's name or collect them all; where it is False, ``out`` must hold ``{recording}`` as
    soon as there is more than one, so that none overwrites another.

    Promised: `open` is called once in a process, before all else and after the process before it has
    ended; `on_frame` once for each frame in order; `on_chunk` behind a chunk's last frame; `close`
    once the recording is complete. All come from one thread of one process.

    Where recordings are cut into episodes, a process goes through several of them: for each, the consumer is
    constructed anew and opened, and closed before the next one is opened. An option ``{episode}`` is its name.

    Not promised: that a chunk is shown only once. A process that dies before `on_chunk` returned is
    replaced, and the chunk comes again from its first frame; so write a chunk's output under a name
    of its own, and a repeated chunk replaces itself. `close` may be repeated likewise.

    A run over many recordings gives each a process of its own, some at the same time, and they end in
    any order. One that numbers what it writes keeps a recording's part to itself where the recording
    says ``part``, and puts the parts together in `merge`, which is called at the end of the run, in a
    process that is constructed for that alone: with the recordings that are done, in the order of the
    configuration; again after a crash; and again, with all of them, when missing ones have come. So
    its result must depend on nothing but the parts and their order. It is not called where ``out``
    holds ``{recording}``, nor for a single recording, nor by ``streamer watch``.

    Of these, a person may have rejected some (``streamer review``). They are not among the parts, but in ``left_out``,
    which is set before `merge`: an output that has them lets go of them. Of one that is known by its name alone, the
    state is None.

    The constructor must not touch any output: the next process is constructed while this one works.

    `check` is asked by ``streamer check`` alone, of an object that is never opened, in the folder in which the
    consumer would run.
    """

    many_recordings: bool = False
    left_out: Sequence[Part] = ()

    @staticmethod
    def takes_packets(options: Mapping[str, Any], streams: Sequence[str]) -> Mapping[str, Copying]:
        """Say which of the ``streams`` it would be shown as packets, where they are videos that allow it, or messages.

        It is asked before anything else, in the reader's process, and only of the consumers that come with the package.
        """
        del options, streams
        return {}

    def check(self, outlook: Outlook) -> None:
        """Raise the `ConfigError` or `OutputError` that a run would raise; write nothing."""

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Prepare outputs. ``state`` is what the last committed `on_chunk` returned, None at first."""

    def on_frame(self, frame: Frame) -> None:
        """Take in one frame. Its arrays must not be kept."""

    def on_chunk(self, chunk: Chunk) -> dict[str, Any] | None:
        """Make the chunk durable; return what a successor needs to go on (plain values, small)."""

    def close(self, recording: Recording) -> None:
        """Finish the outputs (merge, footer, rename): no frame comes any more."""

    def merge(self, parts: Sequence[Part]) -> None:
        """Put the outputs of many recordings together, in this order; repeat what a killed process began."""
