"""Recordings of robots as aligned frames, streamed to many consumers in bounded memory.

The flow, in the order of the rooms:

    source     a path          → topics, where every message lies, any message's bytes on request
    timeline   stamps          → ticks
    plan       stamps × ticks  → which messages make each sample, decided before a payload is read
    decode     bytes           → an array, in the place where it is wanted
    layout     shapes          → places in a slot;  pool: the shared memory that is cut into slots
    delivery   events          → who gets which frame next, and when a slot is free
    transport  descriptors     → consumers, and what they answer;  ledger: what must survive
    runtime    the two child processes, where stages are joined: the reader, and a consumer's worker
    supervisor starts, watches, replaces and stops them;  inprocess: the frames without any of them
    chunked    the origin's class, with its signatures, on inprocess
    bench      other ways to read the same recording, measured beside ours
    config     what a person writes;  cli: what a person types

Importing this package imports nothing else: the public names below are found when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.chunked import ChunkedRosbagProcessor
    from streamer.contract import Chunk, Consumer, Frame, Part, Recording, Sample, StreamInfo
    from streamer.errors import StreamerError
    from streamer.inprocess import open  # noqa: A004 - it is called as streamer.open

_ROOMS = {
    "Chunk": "contract",
    "ChunkedRosbagProcessor": "chunked",
    "Consumer": "contract",
    "Frame": "contract",
    "Part": "contract",
    "Recording": "contract",
    "Sample": "contract",
    "StreamInfo": "contract",
    "StreamerError": "errors",
    "open": "inprocess",
}
__all__ = [
    "Chunk",
    "ChunkedRosbagProcessor",
    "Consumer",
    "Frame",
    "Part",
    "Recording",
    "Sample",
    "StreamInfo",
    "StreamerError",
    "open",
]


def __getattr__(name: str) -> Any:
    """Import a public name's module on first use; ``__version__`` is that of the installed package."""
    if name == "__version__":
        from importlib.metadata import version

        return version("rosbag-streamer")
    if name not in _ROOMS:
        msg = f"module 'streamer' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"streamer.{_ROOMS[name]}"), name)
