"""A plan → what is wrong with the messages it names, from the head of each: another size, no picture, too many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.runtime.loader import check_fit, decode_sample
from streamer.runtime.names import UNDECODABLE
from streamer.runtime.prepare import planned_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.errors import StreamerError
    from streamer.records import Spec
    from streamer.runtime.prepare import Prepared, Stream


class Misfit(NamedTuple):
    """The messages of one stream that a run could not take: the first of them, how many, and the shapes of all."""

    stream: Stream
    error: StreamerError
    messages: int
    shapes: frozenset[tuple[int, ...]]  # of all messages that have one


def misfits(prepared: Prepared) -> Iterator[Misfit]:
    """Look at every message that is planned and yield what is found, a stream each."""
    for stream in prepared.read:
        first: StreamerError | None = None
        count = 0
        shapes: set[tuple[int, ...]] = set()
        for number in planned_messages(stream.plan, averaged=stream.settings.alignment.align == "mean"):
            spec, error = _look(stream, number)
            if spec is not None:
                shapes.add(spec.shape)
            if error is not None:
                count += 1
                first = first or error
        if first is not None:
            yield Misfit(stream, first, count, frozenset(shapes))


def map_failures(prepared: Prepared) -> Iterator[Misfit]:
    """Make the samples of maps that may fail on one, and yield what is found, a stream each.

    Those are maps of vectors (a quaternion without length), and of points that are padded. Steps on pictures do not
    depend on what they show; what an own step makes of them, only a run finds out.
    """
    for stream in prepared.streams:
        if stream.chain is None or not stream.chain.may_fail or len(stream.raw.shape) > 1:
            continue
        whole, out = (np.empty(spec.shape, np.dtype(spec.dtype)) for spec in (stream.raw, stream.spec))
        first: StreamerError | None = None
        count = 0
        for frame in np.flatnonzero((stream.plan.first >= 0) & ~stream.repeats).tolist():
            try:
                check_fit(stream, frame)
                rows = decode_sample(stream, frame, whole)
            except RecordingError:  # which is found where messages are looked at
                continue
            try:
                chain = stream.chain_of(frame)
                assert chain is not None  # noqa: S101 - for the type checker: those without one are passed over
                chain.into(whole[:rows] if stream.raw.variable else whole, out)
            except RecordingError as error:
                count += 1
                number = None if stream.parts or stream.compute else int(stream.plan.first[frame])
                first = first or error.within(stream=stream.settings.name, message=number, hint=UNDECODABLE)
        if first is not None:
            yield Misfit(stream, first, count, frozenset())


def _look(stream: Stream, number: int) -> tuple[Spec | None, StreamerError | None]:
    """Return what one message looks like, and what is wrong with it."""
    name = stream.settings.name
    try:
        payload = stream.source.payload(stream.index, number)
        rows = stream.decoder.rows(payload) if stream.raw.variable else 0
        if stream.raw.variable and rows == 0:
            return None, None
        spec = stream.decoder.verify(payload)
    except ConfigError as error:
        return None, error.under("streams", name)
    except RecordingError as error:
        return None, error.within(stream=name, message=number, hint=UNDECODABLE)
    wanted = stream.raw
    if rows > wanted.shape[0]:
        return spec, DecodeError(f"it has {rows} rows, room is for {wanted.shape[0]}", stream=name, message=number)
    same = spec.variable == wanted.variable and (spec.variable or spec.shape == wanted.shape)
    if same and np.dtype(spec.dtype) == np.dtype(wanted.dtype):
        return spec, None
    found, expected = _words(spec), _words(wanted)
    remedy = "'resize' makes them equal" if stream.decoder.kind in ("image", "depth") else "'capacity' lets it vary"
    return spec, DecodeError(f"it is {found}, the stream is {expected}", stream=name, message=number, hint=remedy)


def _words(spec: Spec) -> str:
    return f"{'×'.join(map(str, spec.shape))} {np.dtype(spec.dtype).name if isinstance(spec.dtype, str) else 'points'}"
