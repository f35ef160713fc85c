"""One consumer, as the reader remembers it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.runtime.job import ConsumerSeat
    from streamer.runtime.messages import Begin
    from streamer.transport import Descriptor


class Peer:
    """What the reader remembers of one consumer beside its seat in the table."""

    def __init__(self, name: str, seat: ConsumerSeat, places: list[int]) -> None:
        """Begin without a process; ``places`` are the numbers of the plan's streams that it is shown."""
        self.name = name
        self.seat = seat
        self.places = places
        self.identity = b""
        self.outbox: list[Descriptor] = []  # descriptors for the next message
        self.to_begin: Begin | None = None  # what its process is let to do, once it is there
        self.suspect: int | None = None  # the frame at which its last process ended that was shown them one at a time
        self.heard = time.monotonic()
        self.waits_since = 0.0  # its last commit
        self.handover = False  # its process was told to make way for another
