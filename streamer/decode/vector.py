"""Messages with numbers → one-dimensional arrays of fields, chosen by name and converted as the stream asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode.cdr import PLAIN, PLAIN_2, is_big_endian
from streamer.decode.elements import Elements, paths_of
from streamer.decode.paths import OutOfReachError
from streamer.decode.wire import Wire
from streamer.errors import ConfigError, DecodeError
from streamer.records import Spec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Decoding, Payload


class VectorDecoder:
    """Numbers by field path; a scalar is a vector of one."""

    kind = "vector"

    def __init__(self, msgtype: str, types: Typesdict, encoding: str, how: Decoding) -> None:
        """Compile the paths.

        Raises:
            ConfigError: one names something that does not exist or is no number.

        """
        paths = paths_of(how)
        self._path = ", ".join(paths)
        self._how = how
        self._cdr = encoding == "cdr"
        wire = Wire(types, encoding)
        foreign = Wire(types, encoding, big_endian=True) if self._cdr else wire
        self._field, self._foreign = wire.fields(msgtype, paths), foreign.fields(msgtype, paths)
        self._known = PLAIN | PLAIN_2 if self._cdr and wire.is_plain_in_version_2(msgtype) else PLAIN
        self._checks = {False: wire.check(msgtype), True: foreign.check(msgtype)}
        self.quaternions = self._field.quaternions if how.elements is None else ()
        self.elements = Elements(msgtype, types, encoding, how)

    def values(self, payload: Payload) -> NDArray[Any]:
        """Return the numbers as the message has them, 1-D: a view of the payload, or those that are chosen."""
        message = payload.all()
        if not self._cdr:
            values = self._field.read(message)
        else:
            values = (self._foreign if is_big_endian(message, self._known) else self._field).read(message)
        return values if self._how.elements is None else self.elements.take(values, message)

    def _check(self, message: memoryview) -> None:
        """Make sure that a message has the length which its type says: a definition that is cut is found by it."""
        self._checks[self._cdr and is_big_endian(message, self._known)](message)

    def probe(self, payload: Payload) -> Spec:
        """Read one message: its length, type and names hold for the stream."""
        try:
            self.elements.settle(payload.all())
            values = self.values(payload)
            self._check(payload.all())
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
        reading = self.elements.read(payload.all())
        return Spec((len(values),), dtype.str, names=self.elements.chosen(reading.names))

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
