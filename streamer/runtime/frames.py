"""A frame's descriptor and the memory it lies in → the frame that a consumer is shown: the one place that builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from streamer.contract import Frame, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamer.records import Place
    from streamer.runtime.prepare import Stream
    from streamer.transport import Descriptor, SampleDescriptor


class Told(NamedTuple):
    """What a plan says of one stream's samples, for every frame: (n,) each."""

    stamp: NDArray[np.int64]
    offset: NDArray[np.int64]
    flags: NDArray[np.uint8]
    messages: NDArray[np.int32]  # how many are averaged, else 1

    @classmethod
    def of(cls, stream: Stream) -> Told:
        """Take it from a stream's plan."""
        plan = stream.plan
        one: NDArray[np.int32] = np.broadcast_to(np.int32(1), len(plan.first))
        return cls(plan.stamp, plan.offset, plan.flags, plan.second - plan.first + 1 if stream.averaged else one)

    def describe(self, frame: int, rows: int) -> SampleDescriptor:
        """Describe a frame's sample of so many rows."""
        return self.stamp.item(frame), self.offset.item(frame), self.flags.item(frame), rows, self.messages.item(frame)


def make_frame(
    descriptor: Descriptor, places: Sequence[Place], array: Callable[[int, Place, int], NDArray[Any]]
) -> Frame:
    """Put a frame together; ``array`` gives the array of a place in a slot, of so many rows where they vary."""
    number, tick_number, tick, slot, described = descriptor
    samples: dict[str, Sample | None] = {}
    for place, sample in zip(places, described, strict=True):
        if sample is None:
            samples[place.name] = None
            continue
        stamp, offset, flags, rows, count = sample
        value = array(slot, place, rows)
        shown = str(value.data, "utf-8") if place.spec.is_text else value
        samples[place.name] = Sample(shown, stamp, offset, flags, count)
    return Frame(number, tick_number, tick, samples)
