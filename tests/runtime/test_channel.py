"""Messages over a socket pair: whole, in order, and the end of a peer is no error."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import StreamerError
from streamer.runtime.channel import Channel
from streamer.runtime.messages import Begin, Drain, Ending, Judged, Note, Retire, Stop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    mine, theirs = Channel.pair()
    other = Channel(theirs)
    yield mine, other
    mine.close()
    other.close()


Ends = tuple[Channel, Channel]


def test_messages_go_both_ways(ends: Ends) -> None:
    mine, other = ends
    mine.send(Begin("head", "head/1/token", None))
    mine.send(Drain())
    other.send(Note("so it is", {"frame": 2**63, "why": [1, None, 2.5, b"x"]}))
    assert other.receive() == [Begin("head", "head/1/token", None), Drain()]
    assert mine.receive() == [Note("so it is", {"frame": 2**63, "why": [1, None, 2.5, b"x"]})]


def test_several_messages_come_in_order(ends: Ends) -> None:
    mine, other = ends
    for number in range(200):
        mine.send(Judged("head", number))
    found: list[Any] = []
    while len(found) < 200:
        found += other.receive()
    assert [message.frame for message in found] == list(range(200))


def test_what_a_peer_said_before_it_ended_is_heard_though_something_was_sent_to_it_behind_its_end(ends: Ends) -> None:
    """As a reader's last words are, where the order to retire a consumer crosses its end."""
    mine, other = ends
    mine.send(Drain())
    for name in ("head", "arm"):
        other.send(Ending(name))
    other.close()
    mine.send(Retire("head"))
    mine.send(Retire("arm"))
    heard: list[Any] = []
    while mine.ready():
        heard += mine.receive()
    assert heard == [Ending("head"), Ending("arm")]
    assert not mine.open


def test_messages_are_taken_one_at_a_time_and_none_is_lost(ends: Ends) -> None:
    mine, other = ends
    for number in range(5):
        mine.send(Judged("head", number))
    assert [other.receive_one(Judged).frame for _ in range(3)] == [0, 1, 2]
    assert [message.frame for message in other.receive()] == [3, 4]


def test_a_message_larger_than_a_socket_buffer_arrives_whole(ends: Ends) -> None:
    mine, other = ends
    data = os.urandom(3 * 2**20)
    sender = threading.Thread(target=mine.send, args=(Note("large", {"data": data}),))
    sender.start()
    assert other.receive_one(Note) == Note("large", {"data": data})
    sender.join(10)


@settings(deadline=None, max_examples=30)
@given(
    messages=st.lists(st.dictionaries(st.text("abc", min_size=1), st.integers() | st.binary(), max_size=3), max_size=6),
    data=st.data(),
)
def test_pieces_of_any_size_are_put_together(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    messages = [{key: value % 1000 if isinstance(value, int) else value for key, value in m.items()} for m in messages]
    raw = b"".join(msgpack.packb(["Note", {"text": "x", "about": message}]) for message in messages)
    end, theirs = socket.socketpair()
    with closing(Channel(theirs)) as channel, end:
        found: list[Any] = []
        while raw:
            size = data.draw(st.integers(1, len(raw)))
            end.sendall(raw[:size])
            raw = raw[size:]
        end.shutdown(socket.SHUT_WR)
        while channel.open:
            found += channel.receive()
    assert found == [Note("x", message) for message in messages]


@pytest.mark.parametrize(
    "raw",
    [
        ["Unheard", {}],
        ["Drop", {"nobody": 1}],
        ["Drop", {"name": 7}],
        ["Drop", {}],
        "Drop",
        5,
        {"event": "drop"},
        [[], {}],
    ],
    ids=repr,
)
def test_what_is_no_message_of_the_table_is_an_error(raw: object) -> None:
    end, theirs = socket.socketpair()
    with closing(Channel(theirs)) as channel, end:
        end.sendall(msgpack.packb(raw))
        with pytest.raises(StreamerError, match="another process of this run sent"):
            channel.receive()


def test_a_first_message_of_another_kind_than_expected_is_an_error(ends: Ends) -> None:
    mine, other = ends
    mine.send(Drain())
    with pytest.raises(StreamerError, match="a Drain came where a Stop was expected"):
        other.receive_one(Stop)


def test_the_end_of_the_peer_is_an_empty_list_and_stays_so(ends: Ends) -> None:
    mine, other = ends
    mine.send(Drain())
    mine.close()
    assert other.receive() == [Drain()]
    assert other.open
    assert other.receive() == []
    assert not other.open
    assert other.receive() == []


def test_waiting_for_one_message_ends_with_the_peer(ends: Ends) -> None:
    mine, other = ends
    mine.close()
    with pytest.raises(EOFError, match="the supervisor is gone"):
        other.receive_one(Drain)


def test_sending_to_a_peer_that_is_gone_is_no_error(ends: Ends) -> None:
    mine, other = ends
    other.close()
    for _ in range(3):
        mine.send(Drain())
    assert mine.receive() == []
    assert not mine.open


def test_a_reset_connection_is_the_end_of_the_peer(ends: Ends) -> None:
    mine, other = ends
    other.send(Drain())
    mine.close()  # with a message that was not read, the kernel resets the connection
    assert other.receive() == []
    assert not other.open


def test_a_channel_can_be_polled(ends: Ends) -> None:
    mine, other = ends
    assert select.select([other], [], [], 0)[0] == []
    mine.send(Drain())
    assert select.select([other], [], [], 10)[0] == [other]


def test_a_child_takes_its_end_from_a_descriptor_and_does_not_hand_it_on() -> None:
    mine, theirs = Channel.pair()
    theirs.set_inheritable(True)
    child = Channel.inherited(theirs.detach())
    try:
        mine.send(Stop())
        assert child.receive_one(Stop) == Stop()
        assert not os.get_inheritable(child.fileno())
        assert not os.get_inheritable(mine.fileno())
    finally:
        mine.close()
        child.close()


def test_what_comes_together_with_a_first_message_is_ready_though_no_descriptor_tells(ends: Ends) -> None:
    mine, other = ends
    mine.send(Drain())
    mine.send(Stop())
    assert other.receive_one(Drain) == Drain()
    assert select.select([other], [], [], 0)[0] == []
    assert other.ready()
    assert other.receive() == [Stop()]
    assert not other.ready()
