"""A plan and a frame's number → the arrays of every stream in that frame, before and after each step of its map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.errors import DecodeError, RecordingError, StreamerError, UsageError
from streamer.runtime.loader import decode_sample
from streamer.transform import shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.records import Spec
    from streamer.runtime.prepare import Prepared, Stream


@dataclass(frozen=True, slots=True)
class Stage:
    """What a step makes, or the decoder before the first one: the rows that are meant of an array of ``spec``."""

    label: str
    spec: Spec
    array: NDArray[Any]

    @property
    def shape(self) -> str:
        """The shape for people, width first."""
        return shape_text(self.spec)

    @property
    def text(self) -> str | None:
        """What a text says, None of anything else."""
        return str(self.array.tobytes(), "utf-8") if self.spec.is_text else None


@dataclass(frozen=True, slots=True)
class Shown:
    """One stream in one frame: ``offset`` is stamp minus tick in nanoseconds; ``why`` says why it has no stages."""

    name: str
    color: str | None
    offset: int
    stages: tuple[Stage, ...]
    why: str = ""


def number_at(prepared: Prepared, after: int) -> int:
    """Return the frame whose tick is nearest to ``after`` nanoseconds behind the first tick of the timeline."""
    ticks = prepared.plan.ticks
    if not len(ticks):
        return 0
    return int(np.abs(ticks - (int(prepared.ticks[0]) + after)).argmin())


def show_frame(prepared: Prepared, number: int) -> list[Shown]:
    """Decode one frame, a stream after the other.

    JPEGs are decoded in full for it, where a run may decode them reduced on their way to a `resize`.

    Raises:
        UsageError: there is no such frame.

    """
    frames = prepared.plan.frames
    if not 0 <= number < frames:
        has = f"its frames are 0 to {frames - 1}" if frames else "it has none"
        msg = f"{prepared.source.path.name} has no frame {number}: {has}"
        raise UsageError(msg)
    return [_shown(stream, number) for stream in prepared.streams]


def _shown(stream: Stream, number: int) -> Shown:
    about = stream.settings.name, stream.settings.decoding.color, int(stream.plan.offset[number])
    first = int(stream.plan.first[number])
    if first < 0:
        return Shown(*about, (), "no sample")
    try:
        for used in range(first, int(stream.plan.second[number]) + 1):
            if used in stream.unfit:
                raise DecodeError(stream.unfit[used])
        return Shown(*about, tuple(_stages(stream, number)))
    except RecordingError as error:
        if stream.settings.undecodable == "error":
            raise error.within(stream=stream.settings.name, message=first, frame=number) from error
        return Shown(*about, (), str(error))


def _stages(stream: Stream, number: int) -> list[Stage]:
    whole = np.zeros(stream.raw.shape, np.dtype(stream.raw.dtype))
    rows = decode_sample(stream, number, whole)
    found = [Stage("decoded", stream.raw, whole[:rows] if stream.raw.variable else whole)]
    if (chain := stream.chain_of(number)) is not None:
        for step, spec in zip(chain.steps, chain.shapes[1:], strict=True):
            try:
                found.append(Stage(step.label, spec, np.asarray(step(found[-1].array))))
            except StreamerError:
                raise
            except Exception as error:  # as in a run: a step may be the user's own
                msg = f"{step.label} fails: {type(error).__name__}: {error}"
                raise DecodeError(msg) from error
    return found
