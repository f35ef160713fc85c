"""The head of a message of a known type → its leading fields, one after the other."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

from streamer.decode.cdr import PLAIN, PLAIN_2, foreign, is_big_endian
from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.records import Payload

    T = TypeVar("T")

_READ = PLAIN | PLAIN_2
_U32 = {False: struct.Struct("<I").unpack_from, True: struct.Struct(">I").unpack_from}


class Cursor:
    """A place in the head of a message that begins with a std_msgs/Header."""

    __slots__ = ("_cdr", "_encapsulation", "_head", "_position", "_u32", "big_endian")

    def __init__(self, head: memoryview, encoding: str, *, seq: bool = True) -> None:
        """Step over the header; without ``seq``, ROS 1 has no sequence number before the stamp."""
        self._cdr = encoding == "cdr"
        self.big_endian = self._cdr and is_big_endian(head, _READ)
        self._u32 = _U32[self.big_endian]
        self._encapsulation = head[:4]
        self._head = head[4:] if self._cdr else head
        self._position = 12 if seq and not self._cdr else 8
        self.text()

    def require_version_1(self) -> None:
        """Make sure that what comes next is laid out as the first version of CDR does; the second differs.

        Raises:
            DecodeError: the message is in the second.

        """
        if self._cdr and bytes(self._encapsulation[:2]) not in PLAIN:
            raise foreign(bytes(self._encapsulation))

    @property
    def position(self) -> int:
        """How far into the message the cursor stands, in bytes."""
        return self._position + (4 if self._cdr else 0)

    def byte(self) -> int:
        """Read an 8-bit number."""
        value = self._head[self._position]
        self._position += 1
        return value

    def number(self) -> int:
        """Read an unsigned 32-bit number."""
        if self._cdr:
            self._position = (self._position + 3) & ~3
        (value,) = self._u32(self._head, self._position)
        self._position += 4
        return int(value)

    def long(self) -> int:
        """Read an unsigned 64-bit number; the second version of CDR aligns it as if it had 32."""
        if self._cdr:
            mask = 7 if bytes(self._encapsulation[:2]) in PLAIN else 3
            self._position = (self._position + mask) & ~mask
        low, high = (self._u32(self._head, self._position + n)[0] for n in (0, 4))
        self._position += 8
        return int(high | low << 32 if self.big_endian else low | high << 32)

    def skip(self, count: int) -> None:
        """Step over bytes."""
        self._position += count

    def text(self) -> str:
        """Read a string."""
        length = self.number()
        end = self._position + length
        if end > len(self._head):
            msg = "string beyond the head"
            raise IndexError(msg)
        value = bytes(self._head[self._position : end])
        self._position = end
        return value.rstrip(b"\x00").decode(errors="replace")


def parse_head(payload: Payload, encoding: str, parse: Callable[[Cursor], T], *, seq: bool = True) -> T:
    """Apply ``parse`` to the head of a message; to all of it where the head is too short.

    Raises:
        DecodeError: the message is shorter than its own fields say.

    """
    head = payload.head()
    try:
        return parse(Cursor(head, encoding, seq=seq))
    except (struct.error, IndexError) as error:
        try:
            if len(head) < len(payload):
                return parse(Cursor(payload.all(), encoding, seq=seq))
        except (struct.error, IndexError):
            pass  # the message itself is too short: said below
        msg = f"a message of {len(payload)} bytes is too short for its type"
        raise DecodeError(msg) from error
