"""A checked configuration → the settings and jobs that the other processes are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.records import Alignment, Decoding, StreamSettings, TimelineSettings
from streamer.runtime.job import ConsumerSeat

if TYPE_CHECKING:
    from streamer.config.model import Config, StreamConfig


def stream_settings(config: Config) -> tuple[StreamSettings, ...]:
    """Return the streams, in the order of the configuration."""
    return tuple(_stream(name, stream) for name, stream in config.streams.items())


def _stream(name: str, s: StreamConfig) -> StreamSettings:
    return StreamSettings(
        name,
        tuple(s.topic),
        s.clock,
        s.undecodable,
        Decoding(s.field, s.dtype, s.scale, s.resize, s.color, s.capacity),
        Alignment(s.align, s.tolerance, s.missing, s.gap),
    )


def timeline_settings(config: Config) -> TimelineSettings:
    """Return the timeline."""
    t = config.timeline
    rate = (t.rate.numerator, t.rate.denominator) if t.rate else None
    return TimelineSettings(t.source, rate, t.skip, t.crop, t.end)


def consumer_seats(config: Config) -> dict[str, ConsumerSeat]:
    """Return what the reader has to know of each consumer."""
    everything = tuple(config.streams)
    return {
        name: ConsumerSeat(tuple(c.streams) if c.streams is not None else everything, c.mode == "latest", c.every)
        for name, c in config.consumers.items()
    }
