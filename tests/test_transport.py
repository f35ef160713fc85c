"""Messages over real sockets: what is valid arrives in order, all else is counted and dropped."""

from __future__ import annotations

import math
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.errors import ConsumerError
from streamer.transport import (
    MAX_STATE,
    ClosedOutputs,
    Commit,
    ConsumerSocket,
    Descriptor,
    EndOfChunk,
    EpisodeCommitted,
    Finish,
    Frames,
    Heard,
    Hello,
    Lent,
    MakeWay,
    Open,
    ReaderSocket,
    Release,
    pack_state,
    unpack_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamer.transport import FromConsumer, ToConsumer

PEER = b"dataset-1-token"
_LONG = 60_000  # milliseconds after which a test gives up


class Line:
    """A reader and a stranger's socket on one endpoint."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self.context = context
        self.endpoint = endpoint
        self.reader = ReaderSocket(context, endpoint)
        self.others: list[zmq.Socket[bytes]] = []

    def dealer(self, identity: bytes) -> zmq.Socket[bytes]:
        socket = self.context.socket(zmq.DEALER)
        socket.setsockopt(zmq.ROUTING_ID, identity)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.endpoint)
        self.others.append(socket)
        return socket

    def hear(self, count: int, rejected: int = 0) -> list[Heard]:
        """Receive until so many messages came and so many more were rejected."""
        heard: list[Heard] = []
        wanted = self.reader.rejected + rejected
        deadline = time.monotonic() + _LONG / 1000
        while len(heard) < count or self.reader.rejected < wanted:
            assert time.monotonic() < deadline, f"heard {heard}, rejected {self.reader.rejected} of {wanted}"
            self.reader.socket.poll(_LONG)
            heard += self.reader.receive() + self.reader.admitted_since()
        assert len(heard) == count
        assert self.reader.rejected == wanted
        return heard


@contextmanager
def open_line(folder: Path) -> Iterator[Line]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    line = Line(context, f"ipc://{os.path.relpath(folder)}/s")
    try:
        yield line
    finally:
        line.reader.close()
        for socket in line.others:
            socket.close()
        context.term()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with open_line(tmp_path) as found:
        yield found


# The line


def test_a_consumer_says_hello_and_is_heard_in_order(line: Line) -> None:
    line.reader.admit(PEER)
    consumer = ConsumerSocket(line.context, line.endpoint, PEER)
    line.others.append(consumer.socket)
    said: list[FromConsumer] = [Release([7]), Commit(3, b"state"), Commit(4, None), Lent([8, 9]), ClosedOutputs()]
    for message in said:
        consumer.send(message)
    heard = line.hear(6)
    assert [h.message for h in heard] == [Hello(), *said]
    assert [type(h.message) for h in heard] == [Hello, *map(type, said)]  # empty tuples are equal
    assert {h.peer for h in heard} == {PEER}
    assert line.reader.rejected == 0


def test_a_consumer_receives_what_was_sent_to_it_and_nothing_is_dropped(line: Line) -> None:
    line.reader.admit(PEER)
    consumer = ConsumerSocket(line.context, line.endpoint, PEER)
    line.others.append(consumer.socket)
    line.hear(1)
    for number in range(5000):
        frame = Descriptor(number, 2 * number, 2**60 + number, 3, ((2**62, -5, 1, 480, 6), None))
        assert line.reader.send(PEER, Frames([frame]))
    for number in range(5000):
        found = consumer.receive()
        assert isinstance(found, Frames)
        (frame,) = found.frames
        assert frame == Descriptor(number, 2 * number, 2**60 + number, 3, ((2**62, -5, 1, 480, 6), None))


@pytest.mark.parametrize(
    "message",
    [Open({"name": "bag"}, 9, 8, b"x"), EndOfChunk(3, 30, 39), Finish(), MakeWay(), EpisodeCommitted(2), Frames([])],
)
def test_every_message_to_a_consumer_arrives_as_what_it_was(line: Line, message: ToConsumer) -> None:
    line.reader.admit(PEER)
    consumer = ConsumerSocket(line.context, line.endpoint, PEER)
    line.others.append(consumer.socket)
    line.hear(1)
    assert line.reader.send(PEER, message)
    found = consumer.receive()
    assert (type(found), found) == (type(message), message)


def test_a_message_to_nobody_is_told_and_not_swallowed(line: Line) -> None:
    assert line.reader.send(b"nobody", Finish()) is False


def test_an_unknown_peer_is_counted_and_dropped(line: Line) -> None:
    line.reader.admit(PEER)
    stranger = line.dealer(b"dataset-1-guessed")
    stranger.send(msgpack.packb([1]))
    assert line.hear(0, rejected=1) == []


def test_an_expelled_peer_is_not_heard_any_more(line: Line) -> None:
    line.reader.admit(PEER)
    socket = line.dealer(PEER)
    socket.send(msgpack.packb([1]))
    line.hear(1)
    line.reader.expel(PEER)
    line.reader.expel(PEER)
    socket.send(msgpack.packb([2, 1]))
    line.hear(0, rejected=1)


WRONG: list[Any] = [
    b"",
    b"\xc1",
    msgpack.packb(None),
    msgpack.packb({}),
    msgpack.packb([]),
    msgpack.packb([99]),
    msgpack.packb([11, []]),
    msgpack.packb(["1"]),
    msgpack.packb([True]),
    msgpack.packb([1.0]),
    msgpack.packb([1, 2]),
    msgpack.packb([2]),
    msgpack.packb([2, 7]),
    msgpack.packb([2, ["7"]]),
    msgpack.packb([2, True]),
    msgpack.packb([2, [7.0]]),
    msgpack.packb([2, [True]]),
    msgpack.packb([2, 7, 8]),
    msgpack.packb([3, 1]),
    msgpack.packb([3, 1, "text"]),
    msgpack.packb([3, None, b""]),
    msgpack.packb([4, None]),
    msgpack.packb([1]) + b"more",
    b"\x91" * 600 + b"\x01",
    b"\xdd\xff\xff\xff\xff",  # an array of four billion
    b"\xc6\xff\xff\xff\xff",  # bytes of four billion
    b"\xdb\xff\xff\xff\xff",  # a string of four billion
    b"\xdf\xff\xff\xff\xff",  # a map of four billion
    b"\xc9\xff\xff\xff\xff\x01",  # an extension of four billion
    b"\x92\x02\xcf\xff\xff\xff",  # cut off
    b"\x91\x81\x91\x01\x02",  # a list as a key
    b"\x91\xd9\x02\xff\xfe",  # no UTF-8
    b"\x91\xd6\xff\xff\xff\xff\xff",  # a time
    b"\x92\x01\xc7\x0c\xff" + b"\xff" * 12,  # a time that does not exist
]


def test_messages_of_a_wrong_shape_are_counted_and_dropped(line: Line) -> None:
    line.reader.admit(PEER)
    socket = line.dealer(PEER)
    for body in WRONG:
        socket.send(body)
    socket.send_multipart([msgpack.packb([1]), msgpack.packb([1])])
    socket.send_multipart([b"", msgpack.packb([1])])
    socket.send(msgpack.packb([2, [5]]))
    assert line.hear(1, rejected=len(WRONG) + 2) == [Heard(PEER, Release([5]))]


def test_a_message_beyond_the_limit_does_not_reach_the_reader(line: Line) -> None:
    line.reader.admit(PEER)
    large, small = line.dealer(PEER), line.dealer(b"other")
    line.reader.admit(b"other")
    large.send(bytes(MAX_STATE + 2**17))
    small.send(msgpack.packb([1]))
    assert line.hear(1) == [Heard(b"other", Hello())]


def test_a_state_of_the_largest_size_arrives(line: Line) -> None:
    line.reader.admit(PEER)
    state = pack_state({"x": bytes(MAX_STATE - 100)})
    line.dealer(PEER).send(msgpack.packb([3, 1, state]))
    assert line.hear(1)[0].message == Commit(1, state)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.lists(st.binary(max_size=60), min_size=1, max_size=8))
def test_random_bytes_never_raise_and_are_heard_only_where_they_make_sense(line: Line, bodies: list[bytes]) -> None:
    line.reader.admit(PEER)
    socket = line.others[0] if line.others else line.dealer(PEER)
    before = line.reader.rejected
    for body in bodies:
        socket.send(body)
    socket.send(msgpack.packb([2, [123_456]]))
    heard: list[Heard] = []
    while not heard or heard[-1].message != Release([123_456]):
        assert line.reader.socket.poll(_LONG)
        heard += line.reader.receive() + line.reader.admitted_since()
    assert len(heard) - 1 + line.reader.rejected - before == len(bodies)
    assert all(isinstance(h.message, Hello | Release | Commit | ClosedOutputs | Lent) for h in heard)


# State


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(state=st.dictionaries(st.text(), PLAIN, max_size=5))
def test_a_state_of_plain_values_comes_back_as_it_was(state: dict[str, Any]) -> None:
    assert unpack_state(pack_state(state)) == state


def test_no_state_is_no_state_and_an_empty_one_is_not() -> None:
    assert pack_state(None) is None
    assert unpack_state(None) is None
    assert unpack_state(pack_state({})) == {}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(-5), -5),
        (np.uint8(200), 200),
        (np.float32(0.5), 0.5),
        (np.float64(math.pi), math.pi),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        ((1, 2), [1, 2]),
        (bytearray(b"ab"), b"ab"),
        ([np.int32(1), {"a": np.float16(2)}], [1, {"a": 2.0}]),
    ],
)
def test_numpy_scalars_become_plain_numbers(value: object, plain: object) -> None:
    found = unpack_state(pack_state({"value": value}))
    assert found == {"value": plain}
    assert found is not None
    assert type(found["value"]) is type(plain)


@pytest.mark.parametrize(
    "state",
    [
        [1],
        "text",
        7,
        np.int64(1),
        {"a": np.zeros(3)},
        {"a": {1, 2}},
        pytest.param({"a": object()}, id="an object"),
        {"a": 2**64},
        {"a": -(2**63) - 1},
        {"a": 1j},
        {"a": np.complex128(1j)},
        {"a": np.datetime64("2024-01-01")},
        {"a": "\ud800"},
    ],
    ids=repr,
)
def test_what_cannot_be_stored_is_the_consumers_error(state: object) -> None:
    with pytest.raises(ConsumerError, match=r"on_chunk returned .* state"):
        pack_state(state)


def test_a_state_that_holds_itself_is_the_consumers_error() -> None:
    state: dict[str, Any] = {}
    state["self"] = state
    with pytest.raises(ConsumerError, match="cannot be stored"):
        pack_state(state)


@pytest.mark.parametrize("state", [{(1, 2): 3}, {"a": {(1,): 2}}], ids=repr)
def test_a_state_that_would_not_come_back_is_the_consumers_error(state: object) -> None:
    with pytest.raises(ConsumerError, match="cannot be stored"):
        pack_state(state)


def test_a_state_that_is_too_large_is_the_consumers_error() -> None:
    with pytest.raises(
        ConsumerError, match=rf"a state of 67\d* bytes; {MAX_STATE} is the most: put the rest into a file"
    ):
        pack_state({"a": bytes(MAX_STATE)})
