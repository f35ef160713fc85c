"""The rows of the table: a frame in its slot, and a consumer with its leases."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """One frame that is in the table: being loaded, ready, or void (it cannot be decoded)."""

    slot: int | None
    ready: bool = False
    holders: set[str] = field(default_factory=set)
    pins: int = 0
    source: int | None = None


@dataclass(slots=True)
class Seat:
    """One consumer: how far it is, and what its present generation may still get."""

    latest: bool
    every: int
    credit: int
    cursor: int = 0  # chunks committed
    position: int = 0  # next frame to send
    ahead: int = 0  # no frame that it wants is missing from the table before this one
    chunk: int = 0  # next chunk whose end is to be announced
    stop: int = 0  # the frame before which this generation ends
    active: bool = False
    told: bool = False  # HandOver or End has been sent
    sent: int = 0  # frames sent, repeated ones counted again
    expected: bool = True  # a process of it is to come soon: the others do not run away meanwhile
    done: bool = False  # has closed its outputs, or was given up
    dropped: bool = False  # was given up
    leases: set[int] = field(default_factory=set)
    lent: set[int] = field(default_factory=set)  # those of the leases that are kept beyond their callbacks
    alone: int = 0  # frames before this one are sent one at a time
    without: set[int] = field(default_factory=set)  # frames that it is not to see
