"""What the table decides: the actions that the reader carries out."""

from __future__ import annotations

from typing import NamedTuple


class Load(NamedTuple):
    """Read and decode a frame into a slot; ``source`` is a slot whose frame shares messages with it."""

    frame: int
    slot: int
    source: int | None


class Send(NamedTuple):
    """Show a frame to a consumer; it holds a lease from now on."""

    consumer: str
    frame: int
    slot: int


class EndChunk(NamedTuple):
    """Tell a consumer that all frames of a chunk were sent."""

    consumer: str
    chunk: int


class HandOver(NamedTuple):
    """Tell a consumer's process to exit: its share is committed, another generation goes on."""

    consumer: str


class End(NamedTuple):
    """Tell a consumer that the recording is complete and all of it committed."""

    consumer: str


class Grow(NamedTuple):
    """Give the table so many more slots by `grown`, before anything else; it makes do with what it has otherwise."""

    slots: int


Action = Load | Send | EndChunk | HandOver | End | Grow
