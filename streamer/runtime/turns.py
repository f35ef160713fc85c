"""Streams whose maps unwrap angles → for every frame the angles, each within half a turn of the frame before.

Only the order of frames tells how often an angle has gone round. So all samples are made once while a run is planned,
and what a frame shows depends neither on chunks nor on where a run goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.errors import RecordingError
from streamer.runtime.loader import check_fit, decode_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from streamer.runtime.prepare import Prepared, Stream
    from streamer.transform import Chain

    Angles = list[NDArray[np.float64]]


def unwrapped(prepared: Prepared) -> Prepared:
    """Find the angles of all streams that ask for it.

    They begin anew where an episode begins, and where the recording's clock was set.
    """
    if not any(stream.chain is not None and stream.chain.unwraps for stream in prepared.streams):
        return prepared
    starts = {episode.first for episode in prepared.episodes}
    starts |= set((np.flatnonzero(np.diff(prepared.plan.ticks) < 0) + 1).tolist())
    streams = tuple(
        _unwrapped(stream, stream.chain, starts) if stream.chain is not None and stream.chain.unwraps else stream
        for stream in prepared.streams
    )
    return replace(prepared, streams=streams)


def _unwrapped(stream: Stream, chain: Chain, starts: set[int]) -> Stream:
    repeats = stream.repeats.copy()
    repeats[sorted(starts & set(range(len(repeats))))] = False  # the same message, but not the same angle
    nothing: Angles = [np.zeros(1)] * len(chain.steps)
    whole = np.empty(stream.raw.shape, np.dtype(stream.raw.dtype))
    found: list[Angles] = []
    before: Angles | None = None
    for frame in range(len(repeats)):
        before = None if frame in starts else before
        if stream.plan.first[frame] >= 0 and not repeats[frame]:
            try:
                check_fit(stream, frame)
                rows = decode_sample(stream, frame, whole)
                before = chain.follow(whole[:rows] if stream.raw.variable else whole, before)
            except RecordingError:  # told and counted where the frame is loaded
                pass
        found.append(before or nothing)
    return replace(stream, repeats=repeats, turns=found)
