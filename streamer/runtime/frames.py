"""A frame's descriptor and the memory it lies in → the frame that a consumer is shown: the one place that builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.contract import Frame, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from streamer.records import Place
    from streamer.transport import Descriptor


def make_frame(
    descriptor: Descriptor, places: Sequence[Place], array: Callable[[int, Place, int], NDArray[Any]]
) -> Frame:
    """Put a frame together; ``array`` gives the flat or shaped array of so many rows of a place in a slot."""
    samples: dict[str, Sample | None] = {}
    for place, sample in zip(places, descriptor.samples, strict=True):
        if sample is None:
            samples[place.name] = None
            continue
        spec = place.spec
        shape = (sample.rows, *spec.shape[1:]) if spec.variable else spec.shape
        value = array(descriptor.slot, place, sample.rows).reshape(shape)
        samples[place.name] = Sample(value, sample.stamp, sample.offset, sample.flags)
    return Frame(descriptor.frame, descriptor.tick_number, descriptor.tick, samples)
