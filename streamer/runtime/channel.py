"""Messages between a process and one child of it, both ways, over a socket pair that nobody else has.

A message is a record of `messages`; msgpack finds where it ends.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import Any, TypeVar

import msgpack

from streamer.errors import StreamerError
from streamer.runtime.messages import decode, encode

_PIECE = 1 << 16
_MOST = 64 * 2**20

M = TypeVar("M")


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        """Take over a connected socket."""
        self._end = end
        self._unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=_MOST)
        self._waiting: list[Any] = []
        self.open = True

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Make a channel; return the supervisor's end and the socket for the child."""
        mine, theirs = socket.socketpair()
        return cls(mine), theirs

    @classmethod
    def inherited(cls, fd: int) -> Channel:
        """Make the child's end of a descriptor that it was started with."""
        end = socket.socket(fileno=fd)
        end.set_inheritable(False)
        return cls(end)

    def fileno(self) -> int:
        """Return the descriptor, for polling."""
        return self._end.fileno()

    def send(self, message: object) -> None:
        """Send a message; a peer that is gone is no error here: `receive` tells, behind all that it said before."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._end.sendall(msgpack.packb(encode(message)))

    def ready(self) -> bool:
        """Tell whether something has come, or the peer is gone; does not wait."""
        if self._waiting or not self.open:
            return bool(self._waiting)
        poll = select.poll()  # select() fails for descriptors above 1,023
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self) -> list[Any]:
        """Return what has come; waits for at least one message, or for the peer's end (empty list)."""
        found = self._waiting
        self._waiting = []
        while not found and self.open:
            try:
                piece = self._end.recv(_PIECE)
            except ConnectionResetError:
                piece = b""
            if not piece:
                self.open = False
                break
            self._unpacker.feed(piece)
            found = [decode(values) for values in self._unpacker]
        return found

    def waiting(self) -> list[Any]:
        """Return what came together with the message that `receive_one` returned; does not wait."""
        found, self._waiting = self._waiting, []
        return found

    def receive_one(self, kind: type[M]) -> M:
        """Return the next message alone; those behind it stay for `waiting` or `receive`, and no poll announces them.

        Raises:
            EOFError: the peer is gone. StreamerError: it is of another kind.

        """
        found = self.receive()
        if not found:
            msg = "the supervisor is gone"
            raise EOFError(msg)
        self._waiting = found[1:]
        if not isinstance(found[0], kind):
            msg = f"a {type(found[0]).__name__} came where a {kind.__name__} was expected"
            raise StreamerError(msg)
        return found[0]

    def close(self) -> None:
        """Close this end."""
        self._end.close()
        self.open = False
