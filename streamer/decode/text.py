"""Messages with a string → its bytes in UTF-8, of which the frame makes a ``str``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import Nodetype

from streamer.decode.cdr import PLAIN, PLAIN_2, is_big_endian
from streamer.decode.paths import OutOfReachError
from streamer.decode.wire import STRINGS, Wire
from streamer.errors import ConfigError, DecodeError
from streamer.records import TEXT, Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Decoding, Payload

_HEADER = "std_msgs/msg/Header"


def text_path(msgtype: str, types: Typesdict, how: Decoding) -> str | None:
    """Return the path of the string that a stream is; None where it is numbers, or not there.

    Without a ``field``, a message of one string and perhaps a header, such as std_msgs/String, is that string.
    """
    if how.field is None:
        fields = [(name, desc) for name, desc in types[msgtype][1] if desc[1] != _HEADER] if msgtype in types else []
        alone = len(fields) == 1 and fields[0][1][0] == Nodetype.BASE and fields[0][1][1][0] in STRINGS
        return fields[0][0] if alone else None
    if not isinstance(how.field, str):
        return None
    try:
        Wire(types, "cdr").text(msgtype, how.field)
    except ConfigError:  # what is wrong with it, the decoder of numbers says
        return None
    return how.field


class TextDecoder:
    """One string by its field path: samples of as many bytes as it has."""

    kind = "text"

    def __init__(self, msgtype: str, types: Typesdict, encoding: str, how: Decoding, path: str) -> None:
        """Compile the path.

        Raises:
            ConfigError: it names something that does not exist or is no string.

        """
        self._path = path
        self._capacity = how.capacity
        self._cdr = encoding == "cdr"
        wire = Wire(types, encoding)
        foreign = Wire(types, encoding, big_endian=True) if self._cdr else wire
        self._text, self._foreign = wire.text(msgtype, path), foreign.text(msgtype, path)
        self._checks = {False: wire.check(msgtype), True: foreign.check(msgtype)}
        self._known = PLAIN | PLAIN_2 if self._cdr and wire.is_plain_in_version_2(msgtype) else PLAIN

    def _bytes(self, payload: Payload, *, check: bool = False) -> memoryview:
        message = payload.all()
        swapped = self._cdr and is_big_endian(message, self._known)
        if check:
            self._checks[swapped](message)
        found = (self._foreign if swapped else self._text)(message)
        try:
            str(found, "utf-8")
        except UnicodeDecodeError as error:
            msg = f"field {self._path!r} is no text in UTF-8: {error.reason} at byte {error.start} of {len(found)}"
            raise DecodeError(msg) from error
        return found

    def probe(self, payload: Payload) -> Spec:
        """Read one message: how long its text is."""
        try:
            length = len(self._bytes(payload, check=True))
        except OutOfReachError as error:
            raise ConfigError(error.text, key="field") from error
        return Spec((self._capacity or max(length, 1),), TEXT, variable=True)

    def verify(self, payload: Payload) -> Spec:
        """Read one message."""
        return self.probe(payload)

    def rows(self, payload: Payload) -> int:
        """Return the length of one message's text in bytes."""
        return len(self._bytes(payload))

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Write the bytes of one message's text."""
        found = self._bytes(payload)
        if len(found) > len(out):
            msg = f"field {self._path!r} has a text of {len(found)} bytes where the stream has 'capacity: {len(out)}'"
            raise DecodeError(msg)
        out[: len(found)] = np.frombuffer(found, TEXT)
        return len(found)
