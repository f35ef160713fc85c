"""A recording and a topic map → aligned frames given to a callback: the origin's class, for its own code."""

from streamer.chunked.arguments import ArgumentError, TimelineError
from streamer.chunked.processor import ChunkedRosbagProcessor

__all__ = ["ArgumentError", "ChunkedRosbagProcessor", "TimelineError"]
