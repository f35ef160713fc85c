"""Frames → nothing, and 10 MB more of memory with every chunk: what recycling is for (see leak.yaml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer import Consumer

if TYPE_CHECKING:
    from streamer.contract import Chunk, Frame

_KEPT = 10 * 2**20  # bytes a chunk


class Leaking(Consumer):
    """Keeps a buffer of every chunk, as a cache does that nobody empties."""

    many_recordings = True

    def __init__(self) -> None:
        """Begin with nothing kept."""
        self._kept: list[bytearray] = []
        self._frames = 0

    def on_frame(self, frame: Frame) -> None:
        """Count."""
        del frame
        self._frames += 1

    def on_chunk(self, chunk: Chunk) -> None:
        """Keep a buffer for good: this is the line that the report names."""
        del chunk
        self._kept.append(bytearray(b"x") * _KEPT)
