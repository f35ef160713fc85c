"""Messages with numbers → one-dimensional arrays of a field, converted as the stream asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode.wire import OutOfReachError, Wire
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Decoding, Payload

_ENCAPSULATIONS = {b"\x00\x00": True, b"\x00\x01": False}  # plain CDR: is it big-endian?


class VectorDecoder:
    """Numbers by field path; a scalar is a vector of one."""

    kind = "vector"

    def __init__(self, msgtype: str, types: Typesdict, encoding: str, how: Decoding) -> None:
        """Compile the path.

        Raises:
            ConfigError: it names something that does not exist or is no number.

        """
        self._path = how.field or ""
        self._how = how
        self._cdr = encoding == "cdr"
        self._field = Wire(types, encoding).field(msgtype, self._path)
        self._foreign = Wire(types, encoding, big_endian=True).field(msgtype, self._path) if self._cdr else self._field
        self.quaternions = self._field.quaternions

    def values(self, payload: Payload) -> NDArray[Any]:
        """Return the field's numbers as the message has them, 1-D, a view of the payload."""
        message = payload.all()
        if not self._cdr:
            return self._field.read(message)
        big_endian = _ENCAPSULATIONS.get(bytes(message[:2]))
        if big_endian is None:
            msg = f"a message begins with {bytes(message[:4])!r}, which is no plain CDR encapsulation"
            raise DecodeError(msg)
        return (self._foreign if big_endian else self._field).read(message)

    def probe(self, payload: Payload) -> Spec:
        """Read one message: its length and type hold for the stream."""
        try:
            values = self.values(payload)
        except OutOfReachError as error:
            raise ConfigError(error.text, key="field") from error
        if self._how.dtype:
            dtype = np.dtype(self._how.dtype)
        elif self._how.scale is not None:
            dtype = np.result_type(values.dtype.newbyteorder("="), np.float32)
        else:
            dtype = values.dtype.newbyteorder("=")
        if self._how.capacity is not None:
            return Spec((self._how.capacity,), dtype.str, variable=True)
        return Spec((len(values),), dtype.str)

    def verify(self, payload: Payload) -> Spec:
        """Read one message: its length and type."""
        return self.probe(payload)

    def rows(self, payload: Payload) -> int:
        """Return the length of one message's vector."""
        return len(self.values(payload))

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Write one message's numbers."""
        return self.write(self.values(payload), out)

    def write(self, values: NDArray[Any], out: NDArray[Any]) -> int:
        """Write numbers, scaled and converted; the vector's length is the stream's, or below its capacity."""
        count = len(values)
        if count > len(out) or (self._how.capacity is None and count != len(out)):
            msg = (
                f"field {self._path!r} has {count} values where the stream has {len(out)}: "
                "set 'capacity' for a stream whose length varies"
            )
            raise DecodeError(msg)
        if self._how.scale is not None:
            values = values * self._how.scale
        out[:count] = values
        return count
