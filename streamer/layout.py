"""Shapes and types of the streams → where each array lies in a slot; budget → number of slots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import ConfigError
from streamer.records import Spec  # noqa: TC001 - records are made of plain values by their annotations
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ALIGNMENT = 64  # a cache line: no two arrays share one, and vector instructions like it
PAGE = 4096
_MANY, _CACHED = 64, 2**20  # so many small frames are under way at once, if they fit into so many bytes
_TOGETHER, _LOADED = 4, 2**24  # so many frames are loaded together, if they fit into so many bytes
_MOST_SLOTS = 4096  # more would cost the delivery table more to search than it saves


@dataclass(frozen=True, slots=True)
class Place:
    """Where one stream's array lies in a slot: ``offset`` and ``nbytes`` in bytes."""

    name: str
    offset: int
    nbytes: int
    spec: Spec


@dataclass(frozen=True, slots=True)
class Layout:
    """How a slot is divided; ``slot_size`` is a whole number of pages.

    The ``later`` bytes at its end have memory only once something is written there.
    """

    places: tuple[Place, ...]
    slot_size: int
    later: int = 0

    def is_later(self, place: Place) -> bool:
        """Tell whether a place is among those bytes."""
        return bool(self.later) and place.offset >= self.slot_size - self.later


def make_layout(specs: Mapping[str, Spec]) -> Layout:
    """Put the arrays of one frame side by side, each aligned to 64 bytes."""
    places = []
    end = 0
    for name, spec in specs.items():
        nbytes = math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
        places.append(Place(name, end, nbytes, spec))
        end = _round_up(end + nbytes, ALIGNMENT)
    return Layout(tuple(places), max(_round_up(end, PAGE), PAGE))


def put_last(layout: Layout, chosen: Collection[int]) -> Layout:
    """Move some arrays, by their numbers, to the end of the slot: they will seldom be written to."""
    if not chosen:
        return layout
    offsets, end, first = dict[int, int](), 0, 0
    for last in (False, True):
        for number, place in enumerate(layout.places):
            if (number in chosen) == last:
                offsets[number] = end
                end = _round_up(end + place.nbytes, ALIGNMENT)
        if not last:
            first = end = max(_round_up(end, PAGE), PAGE)
    size = _round_up(end, PAGE)
    places = (replace(place, offset=offsets[number]) for number, place in enumerate(layout.places))
    return Layout(tuple(places), size, size - first)


def count_slots(layout: Layout, budget: int, frames: int, least: int) -> int:
    """Return how many slots a budget of bytes gives: not more than there are frames to hold.

    Raises:
        ConfigError: fewer than ``least``, with the arithmetic.

    """
    count = budget // layout.slot_size
    if count < least:
        parts = ", ".join(f"{p.name} {_shape(p.spec)} = {show_size(p.nbytes)}" for p in layout.places)
        msg = (
            f"{show_size(budget)} cannot hold {'one frame' if least == 1 else f'{least} frames'}: "
            f"a frame needs {show_size(layout.slot_size)} ({parts}); "
            f"set 'pool: {math.ceil(layout.slot_size * max(least, 4) / 10**6)} MB' or more, or 'resize' the images"
        )
        raise ConfigError(msg, key="pool")
    return max(min(count, frames, _MOST_SLOTS), least)


def at_once(layout: Layout, frames: int) -> int:
    """Return how many frames may be under way at once: more of small ones, which cost more to tell than to load."""
    return max(frames, min(_MANY, _CACHED // layout.slot_size))


def loaded_together(layout: Layout) -> int:
    """Return how many frames a thread loads before it says so.

    Ordering, announcing, sending and releasing cost as much for one frame as for four: a tenth of what it takes to
    decode three JPEG pictures of 640x480. Large frames gain nothing by it.
    """
    return max(1, min(_TOGETHER, _LOADED // layout.slot_size))


def loading_at_once(layout: Layout, threads: int) -> int:
    """Return how many frames may be loading at once: for each thread what it loads, and what it will load next."""
    return at_once(layout, 2 * threads * loaded_together(layout))


def _shape(spec: Spec) -> str:
    dtype = np.dtype(spec.dtype)
    kind = f"{dtype.itemsize}-byte records" if dtype.names else dtype.name
    return f"{'x'.join(map(str, spec.shape))} {kind}"


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
