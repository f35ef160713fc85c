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
    """Put a frame together; ``array`` gives the array of a place in a slot, of so many rows where they vary."""
    number, tick_number, tick, slot, described = descriptor
    samples: dict[str, Sample | None] = {}
    for place, sample in zip(places, described, strict=True):
        if sample is None:
            samples[place.name] = None
            continue
        stamp, offset, flags, rows = sample
        value = array(slot, place, rows)
        samples[place.name] = Sample(str(value.data, "utf-8") if place.spec.is_text else value, stamp, offset, flags)
    return Frame(number, tick_number, tick, samples)
