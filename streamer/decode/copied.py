"""Bytes that are already what is wanted → the same in the place of a sample: packets, messages, joined vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Payload, Spec


class CopyDecoder:
    """Copies payloads of one dimension, whatever their ``kind``."""

    def __init__(self, kind: str, spec: Spec) -> None:
        """Take what every sample looks like."""
        self.kind = kind
        self._spec = spec
        self._dtype: np.dtype[Any] = np.dtype(spec.dtype)

    def probe(self, payload: Payload) -> Spec:
        """Return what every sample looks like."""
        del payload
        return self._spec

    def verify(self, payload: Payload) -> Spec:
        """Return what every sample looks like."""
        return self.probe(payload)

    def rows(self, payload: Payload) -> int:
        """Return how many elements a payload has."""
        return len(payload) // int(self._dtype.itemsize)

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Write a payload."""
        count = self.rows(payload)
        out[:count] = np.frombuffer(payload.all(), self._dtype)
        return count
