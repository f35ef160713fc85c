"""Frames → one digest a stream: the proof that nothing was lost, doubled or torn."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import check_file, provenance, write_json
from streamer.contract import Consumer

if TYPE_CHECKING:
    from streamer.contract import Chunk, Frame, Recording, Sample


class Checksum(Consumer):
    """Chains a SHA-256 over every sample of a stream, in order.

    digest(n) = SHA-256(digest(n-1), tick, stamp, type, shape, bytes) with digest(-1) = 32 zero bytes; a
    chain, unlike a running hash, can be handed to the next process. A sample that is None counts as
    the single byte 0; a text counts as the word ``text`` and its bytes in UTF-8.
    """

    def __init__(self, out: str) -> None:
        """Write the digests to the file ``out``."""
        self._out = Path(out)
        self._frames = 0
        self._digests: dict[str, bytes] = {}

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Take the chain up where it was committed."""
        check_file(self._out)
        self._frames = state["frames"] if state else 0
        self._digests = state["digests"] if state else {name: bytes(32) for name in recording.streams}

    def on_frame(self, frame: Frame) -> None:
        """Add one link to each chain."""
        self._frames += 1
        for name, sample in frame.samples.items():
            self._digests[name] = _link(self._digests[name], frame.tick, sample)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Hand the chain on."""
        del chunk
        return {"frames": self._frames, "digests": self._digests}

    def close(self, recording: Recording) -> None:
        """Write the file."""
        streams = {name: digest.hex() for name, digest in self._digests.items()}
        values = {"frames": self._frames, "streams": streams, "provenance": provenance(recording)}
        write_json(self._out, values)


def _link(before: bytes, tick: int, sample: Sample | None) -> bytes:
    digest = hashlib.sha256(before)
    digest.update(tick.to_bytes(8, "little", signed=True))
    if sample is None:
        digest.update(b"\x00")
    elif isinstance(sample.value, str):
        digest.update(sample.stamp.to_bytes(8, "little", signed=True))
        digest.update(b"text" + sample.value.encode())
    else:
        value = np.ascontiguousarray(sample.value)
        digest.update(sample.stamp.to_bytes(8, "little", signed=True))
        digest.update(f"{value.dtype.str} {value.shape}".encode())
        digest.update(value.view(np.uint8).data if value.size else b"")
    return digest.digest()
