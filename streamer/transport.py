"""Small messages between the reader and its consumers over ZeroMQ: never payloads, never dropped.

A message is a record that travels as a msgpack array: its number and its fields. The reader has a ROUTER socket with
ROUTER_MANDATORY; a consumer's routing id ends in a token that only its supervisor and the reader
know, so a stranger on the socket is recognised and its messages are counted and dropped.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgpack
import zmq

from streamer.errors import ContractError, StreamerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_STATE = 64 * 2**20  # bytes of a consumer's state
_MAX_MESSAGE = MAX_STATE + 2**16
_LIMITS = {"max_str_len": 2**16, "max_bin_len": MAX_STATE, "max_array_len": 2**16, "max_map_len": 2**16}


class Hello(NamedTuple):
    """Consumer → reader: its process is there."""


class Release(NamedTuple):
    """Consumer → reader: it is through with these frames."""

    frames: list[int]


class Commit(NamedTuple):
    """Consumer → reader: a chunk is durable, and this is the packed state behind it."""

    chunk: int
    state: bytes | None


class ClosedOutputs(NamedTuple):
    """Consumer → reader: its outputs are finished."""


class ClosedEpisode(NamedTuple):
    """Consumer → reader: the outputs of an episode that is not the last are finished."""

    episode: int


class Lent(NamedTuple):
    """Consumer → reader: the callbacks of these frames have returned, but an array of each is kept."""

    frames: list[int]


class Open(NamedTuple):
    """Reader → consumer: begin with this recording (plain values of an `AboutRecording`) and state.

    ``chunk`` is the first that will be sent; ``closed`` whether the outputs of the episode before it are finished;
    ``reader`` its process, whose files may be mapped.
    """

    about: dict[str, Any]
    slots: int
    credit: int
    state: bytes | None
    chunk: int = 0
    closed: bool = True
    reader: int = 0


# The rows of a sample in its place, or where it stays in the recording: the reader's descriptor of a file, a byte.
Extent: TypeAlias = int | tuple[int, int]
# One stream's sample: its stamp and offset in nanoseconds, its flags, its extent; of a mean also the number of
# messages. It is a plain tuple, as there are several a frame, and to name its parts would cost more than to send it.
SampleDescriptor: TypeAlias = tuple[int, int, int, Extent] | tuple[int, int, int, Extent, int]


class Descriptor(NamedTuple):
    """A frame in a slot; of each stream that the consumer is shown, its sample or None."""

    frame: int
    tick_number: int
    tick: int
    slot: int
    samples: Sequence[SampleDescriptor | None]


class Frames(NamedTuple):
    """Reader → consumer: show these."""

    frames: Sequence[Descriptor]


class EndOfChunk(NamedTuple):
    """Reader → consumer: all frames of a chunk were sent; commit it."""

    chunk: int
    first: int
    last: int


class Finish(NamedTuple):
    """Reader → consumer: the recording is complete; finish the outputs."""


class MakeWay(NamedTuple):
    """Reader → consumer: end; another generation goes on."""


class EpisodeCommitted(NamedTuple):
    """Reader → consumer: the last commit of an episode is written down; its outputs may be finished."""

    episode: int


FromConsumer: TypeAlias = Hello | Release | Commit | ClosedOutputs | Lent | ClosedEpisode
ToConsumer: TypeAlias = Open | Frames | EndOfChunk | Finish | MakeWay | EpisodeCommitted

_NUMBERS: dict[type, int] = {
    **dict(zip((Hello, Release, Commit, ClosedOutputs, Lent, ClosedEpisode), range(1, 7), strict=True)),
    **dict(zip((Open, Frames, EndOfChunk, Finish, MakeWay, EpisodeCommitted), range(10, 16), strict=True)),
}
_SHAPES: dict[int, tuple[type[FromConsumer], tuple[type | tuple[type, ...], ...]]] = {  # of what a stranger may send
    1: (Hello, ()),
    2: (Release, (list,)),
    3: (Commit, (int, (bytes, type(None)))),
    4: (ClosedOutputs, ()),
    5: (Lent, (list,)),
    6: (ClosedEpisode, (int,)),
}
_TO_CONSUMER: dict[int, type[ToConsumer]] = {
    10: Open,
    12: EndOfChunk,
    13: Finish,
    14: MakeWay,
    15: EpisodeCommitted,
}
_FRAMES = _NUMBERS[Frames]


class Heard(NamedTuple):
    """A valid message from a consumer."""

    peer: bytes
    message: FromConsumer


@contextmanager
def _closed_on_failure(socket: zmq.Socket[bytes]) -> Iterator[zmq.Socket[bytes]]:
    """Give a new socket to a block, and close it where the block fails."""
    try:
        yield socket
    except BaseException:
        socket.close(linger=0)
        raise


class ReaderSocket:
    """The reader's end."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        """Bind."""
        with _closed_on_failure(context.socket(zmq.ROUTER)) as self._socket:
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.SNDHWM, 0)
            self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_MESSAGE)
            self._socket.bind(endpoint)
        self._peers: set[bytes] = set()
        self.strangers: list[list[bytes]] = []  # what came of those who are no peers yet
        self.rejected = 0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket, for polling."""
        return self._socket

    def admit(self, peer: bytes) -> None:
        """Listen to a peer from now on."""
        self._peers.add(peer)

    def expel(self, peer: bytes) -> None:
        """Listen to a peer no more."""
        self._peers.discard(peer)

    def receive(self) -> list[Heard]:
        """Return the messages of peers that have come; those of others wait for `admitted_since`."""
        came: list[list[bytes]] = []
        with suppress(zmq.Again):
            while True:
                came.append(self._socket.recv_multipart(zmq.NOBLOCK))
        self.strangers += [parts for parts in came if parts[0] not in self._peers]
        return self._understood(parts for parts in came if parts[0] in self._peers)

    def admitted_since(self) -> list[Heard]:
        """Return the messages of strangers who are peers by now; those of others are counted and dropped."""
        strangers, self.strangers = self.strangers, []
        return self._understood(strangers)

    def _understood(self, came: Iterable[list[bytes]]) -> list[Heard]:
        """Return what makes sense; the rest is counted and dropped."""
        found = [self._parse(parts) for parts in came]
        heard = [message for message in found if message is not None]
        self.rejected += len(found) - len(heard)
        return heard

    def _parse(self, parts: list[bytes]) -> Heard | None:
        if len(parts) != 2 or parts[0] not in self._peers:
            return None
        try:
            body = msgpack.unpackb(parts[1], **_LIMITS)
        except (ValueError, msgpack.UnpackException):
            return None
        if not isinstance(body, list) or not body or type(body[0]) is not int:
            return None
        message = _checked(body[0], body[1:])
        return None if message is None else Heard(parts[0], message)

    def send(self, peer: bytes, message: ToConsumer) -> bool:
        """Send; False where the peer is not there (its end is the supervisor's to prove)."""
        try:
            self._socket.send_multipart((peer, msgpack.packb((_NUMBERS[type(message)], *message))))
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class ConsumerSocket:
    """A consumer's end."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, identity: bytes) -> None:
        """Connect and say hello; waits for the reader where the address holds only in this folder."""
        with _closed_on_failure(context.socket(zmq.DEALER)) as self._socket:
            self._socket.setsockopt(zmq.ROUTING_ID, identity)
            self._socket.setsockopt(zmq.LINGER, 2000)
            self._socket.setsockopt(zmq.RCVHWM, 0)
            if not endpoint.startswith("ipc:///"):
                self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing can be sent before the connection stands
            self._socket.connect(endpoint)
            self._socket.poll(flags=zmq.POLLOUT)
            self.send(Hello())

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """The socket, for polling."""
        return self._socket

    def send(self, message: FromConsumer) -> None:
        """Send a message to the reader."""
        self._socket.send(msgpack.packb((_NUMBERS[type(message)], *message)))

    def receive(self) -> ToConsumer:
        """Return the next message; waits for it.

        Raises:
            StreamerError: it is none that a reader sends.

        """
        number, *values = msgpack.unpackb(self._socket.recv(), strict_map_key=False, use_list=False)
        if number == _FRAMES:
            return Frames(list(map(Descriptor._make, values[0])))
        kind = _TO_CONSUMER.get(number)
        if kind is None:
            msg = f"the reader sent a message of number {number}, which is none"
            raise StreamerError(msg)
        return kind(*values)


def _checked(number: int, values: list[Any]) -> FromConsumer | None:
    """Return the record of a consumer's message; None where it makes no sense."""
    kind, shape = _SHAPES.get(number, (None, ()))
    if kind is None or len(shape) != len(values):
        return None
    fits = all(isinstance(v, t) and not isinstance(v, bool) for v, t in zip(values, shape, strict=True))
    if fits and kind in (Release, Lent):
        fits = all(type(frame) is int for frame in values[0])
    return kind(*values) if fits else None


def pack_state(state: object) -> bytes | None:
    """Turn what `on_chunk` returned into bytes; numpy scalars become plain numbers.

    Raises:
        ContractError: it is no dict of plain values, or too large.

    """
    if state is None:
        return None
    if not isinstance(state, dict):
        msg = f"on_chunk returned a {type(state).__name__} as state, which should be a dict"
        raise ContractError(msg)
    try:
        packed: bytes = msgpack.packb(state, default=_plain)
        unpack_state(packed)  # what cannot come back is found now, not by the next process
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"on_chunk returned something that cannot be stored as state: {error}"
        raise ContractError(msg) from error
    if len(packed) > MAX_STATE:
        msg = f"on_chunk returned a state of {len(packed)} bytes; {MAX_STATE} is the most: put the rest into a file"
        raise ContractError(msg)
    return packed


def unpack_state(packed: bytes | None) -> dict[str, Any] | None:
    """Turn stored bytes into a state again."""
    if packed is None:
        return None
    state: dict[str, Any] = msgpack.unpackb(packed, strict_map_key=False)
    return state


def _plain(value: object) -> object:
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    msg = f"a {type(value).__name__} is no plain value (None, bool, number, str, bytes, list, dict)"
    raise TypeError(msg)
