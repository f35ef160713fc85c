"""Frames → a count: the cheapest consumer, for measuring and for trying a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.contract import Consumer

if TYPE_CHECKING:
    from streamer.contract import Chunk, Frame, Recording


class Null(Consumer):
    """Counts frames and writes nothing."""

    def __init__(self) -> None:
        """Take no options."""
        self.frames = 0

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Go on counting where the process before stopped."""
        del recording
        self.frames = state["frames"] if state else 0

    def on_frame(self, frame: Frame) -> None:
        """Count."""
        del frame
        self.frames += 1

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Hand the count on."""
        del chunk
        return {"frames": self.frames}
