"""A caller's function and a message's number → an entry of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.serde import SerdeError

from streamer.chunked.arguments import ArgumentError
from streamer.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamer.chunked.rospy import Parser
    from streamer.records import Index
    from streamer.source.source import Source


class Function:
    """A caller's function over the messages of a topic; its last result is kept, as frames repeat messages."""

    def __init__(
        self, function: Callable[[Any], Any], source: Source, index: Index, parser: Parser, topic: str
    ) -> None:
        self._function = function
        self._source = source
        self._index = index
        self._parser = parser
        self._topic = topic
        self._last: tuple[int, dict[str, Any] | None] = (-1, None)

    def __call__(self, number: int) -> dict[str, Any] | None:
        """Return what the function makes of message ``number``; arrays are the caller's own."""
        if self._last[0] != number:
            raw = bytes(self._source.payload(self._index, number).all())
            try:
                message = self._parser(raw)
            except (SerdeError, ValueError, IndexError, AssertionError, UnicodeDecodeError) as error:
                msg = f"{self._source.path}: message {number} of {self._topic} does not parse: {error}"
                raise DecodeError(msg) from error
            self._last = number, self._entry(number, self._function(message))
        made = self._last[1]
        if made is None:
            return None
        return {key: np.array(value) if isinstance(value, np.ndarray) else value for key, value in made.items()}

    def _entry(self, number: int, made: object) -> dict[str, Any] | None:
        """Return a result as an entry of a frame: numbers are an array, nothing is None."""
        entry = dict(made) if isinstance(made, Mapping) else {"data": made}
        data = entry.get("data", ())
        if data is None:
            return None
        if isinstance(data, (list, tuple, int, float, np.generic)):
            entry["data"] = data = self._array(number, data)
        if isinstance(data, np.ndarray) and data.dtype.hasobject:
            raise self._refuse(number, "an array of objects")
        return entry

    def _array(self, number: int, numbers: object) -> NDArray[Any]:
        try:
            return np.asarray(numbers)
        except ValueError as error:
            raise self._refuse(number, "lists of different lengths") from error

    def _refuse(self, number: int, what: str) -> ArgumentError:
        return ArgumentError(
            f"the function for {self._topic} made {what} of message {number}: "
            "it should return numbers, or None where there are none"
        )
