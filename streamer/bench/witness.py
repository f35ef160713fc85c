"""Frames → proof that they were the ones that the other methods saw, at no cost that counts.

The callback of every method is the same: it counts, and of five frames it keeps a checksum of each stream.
"""

from __future__ import annotations

import json
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.contract import Consumer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Recording

_SETTLED = 64  # frames that were loaded ahead of the first callback do not count for the steady state


class Callback:
    """Takes one frame after the other, of which there will be ``frames``."""

    def __init__(self, frames: int) -> None:
        self._checked = {n * (frames - 1) // 4 for n in range(5)} if frames else set()
        self._settled = min(_SETTLED, frames // 4)
        self._from = self._to = 0.0
        self.frames = 0
        self.checks: dict[str, dict[str, int]] = {}

    def __call__(self, number: int, arrays: Mapping[str, NDArray[Any] | None]) -> None:
        """Take in frame ``number``."""
        self.frames += 1
        self._to = time.perf_counter()
        if self.frames == self._settled + 1:
            self._from = self._to
        if number in self._checked:
            self.checks[str(number)] = {
                name: 0 if array is None else zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)
                for name, array in arrays.items()
            }

    @property
    def steady(self) -> float | None:
        """Frames a second, once those loaded ahead of the first were through."""
        seconds, frames = self._to - self._from, self.frames - self._settled - 1
        return frames / seconds if frames > 0 and seconds > 0 else None

    def told(self) -> dict[str, Any]:
        """Return what there is to tell, fit for JSON."""
        return {"frames": self.frames, "steady": self.steady, "checks": self.checks}

    @property
    def state(self) -> dict[str, Any]:
        """What a process that goes on behind this one needs; their clock is the same."""
        return {"frames": self.frames, "times": [self._from, self._to], "checks": self.checks}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Continue behind the process whose ``state`` it was."""
        self.frames, (self._from, self._to), self.checks = state["frames"], state["times"], state["checks"]


class Witness(Consumer):
    """The callback as a consumer; it writes what it saw to the file ``out``."""

    def __init__(self, out: str) -> None:
        """Write to ``out`` when the recording is complete."""
        self._out = Path(out)
        self._callback = Callback(0)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Begin to count, or go on where a process before this one was replaced."""
        self._callback = Callback(recording.frames)
        if state is not None:
            self._callback.go_on(state)

    def on_frame(self, frame: Frame) -> None:
        """Take in one frame."""
        self._callback(frame.number, frame)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Hand over what was seen so far."""
        del chunk
        return self._callback.state

    def close(self, recording: Recording) -> None:
        """Write the file."""
        del recording
        self._out.write_text(json.dumps(self._callback.told()), encoding="utf-8")
