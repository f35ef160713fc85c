"""A frame's descriptor and the memory it lies in → the frame that a consumer is shown: the one place that builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.contract import Frame, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from streamer.layout import Place
    from streamer.runtime.prepare import Stream
    from streamer.transport import Descriptor, Extent, SampleDescriptor


class Told(NamedTuple):
    """What a plan says of one stream's samples, for every frame: (n,) each."""

    stamp: NDArray[np.int64]
    offset: NDArray[np.int64]
    flags: NDArray[np.uint8]
    messages: NDArray[np.int32] | None  # how many are averaged

    @classmethod
    def of(cls, stream: Stream) -> Told:
        """Take it from a stream's plan."""
        plan = stream.plan
        return cls(plan.stamp, plan.offset, plan.flags, plan.second - plan.first + 1 if stream.averaged else None)

    def describe(self, frame: int, rows: Extent) -> SampleDescriptor:
        """Describe a frame's sample of so many rows, or that lies in the recording."""
        described = self.stamp.item(frame), self.offset.item(frame), self.flags.item(frame), rows
        return described if self.messages is None else (*described, self.messages.item(frame))


def make_frame(
    descriptor: Descriptor, places: Sequence[Place], array: Callable[[int, Place, Extent], NDArray[Any]]
) -> Frame:
    """Put a frame together; ``array`` gives the array of a place in a slot, of so many rows where they vary."""
    number, tick_number, tick, slot, described = descriptor
    samples: dict[str, Sample | None] = {}
    for place, sample in zip(places, described, strict=True):
        if sample is None:
            samples[place.name] = None
            continue
        stamp, offset, flags, rows = sample[:4]
        value = array(slot, place, rows)
        shown = str(value.data, "utf-8") if place.spec.is_text else value
        samples[place.name] = Sample(shown, stamp, offset, flags, *sample[4:])
    return Frame(number, tick_number, tick, samples)
