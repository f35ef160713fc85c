"""A consumer for the tests: keeps every frame as it was shown, to hold outputs against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.contract import Consumer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Recording


class Keeper(Consumer):
    """Writes ``<out>/<recording>/NNNNNN.npz`` for every frame."""

    many_recordings = True

    def __init__(self, out: str) -> None:
        self._out = Path(out)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        self._folder = self._out / recording.name
        self._folder.mkdir(parents=True, exist_ok=True)

    def on_frame(self, frame: Frame) -> None:
        shown = {name: value for name, value in frame.items() if value is not None}
        np.savez(self._folder / f"{frame.number:06d}.npz", __tick__=np.array(frame.tick), **shown)

    def on_chunk(self, chunk: Chunk) -> None:
        pass


def kept(folder: Path) -> list[dict[str, NDArray[Any]]]:
    """Return the frames of a recording."""
    frames = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as frame:
            frames.append(dict(frame))
    return frames
