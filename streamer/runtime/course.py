"""The episodes of a recording as the ledger knows them: which are committed or closed, what each left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from streamer.runtime.about import about_episodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.ledger import Ledger
    from streamer.runtime.prepare import Prepared


class Left(NamedTuple):
    """What a consumer left of an episode: its last state, packed, or None; and what is known of the episode."""

    name: str
    state: bytes | None
    episode: int
    task: str
    label: str
    start: int = 0
    end: int = 0
    flagged: str = ""


NOTHING: bytes = msgpack.packb([])  # what is left of a recording of which no episode is


class Course:
    """The episodes in the order of their chunks; of a recording that is not cut, none."""

    def __init__(self, prepared: Prepared, name: str, chunk_size: int) -> None:
        """Take the episodes that have frames."""
        self._cut = prepared.cut is not None
        self._episodes = about_episodes(prepared, name, chunk_size)
        self._last = {e.chunk + -(-e.frames // chunk_size) - 1: e.number for e in self._episodes}

    def ended_by(self, chunk: int) -> int | None:
        """Return the episode of which a chunk is the last; None where it is in the middle."""
        return self._last.get(chunk)

    def closed_before(self, ledger: Ledger, recording: int, consumer: str, chunk: int) -> bool:
        """Tell whether a consumer has closed the episode that ends before a chunk, if one does."""
        ended = self._last.get(chunk - 1)
        return ended is None or ledger.episodes(recording, consumer).get(ended, (None, False))[1]

    def states(self, ledger: Ledger, recording: int, consumer: str) -> bytes | None:
        """Return, packed, what a consumer left of each episode; None where the recording is not cut."""
        if not self._cut:
            return None
        known = ledger.episodes(recording, consumer)
        found = [
            Left(e.name, known[e.number][0], e.number, e.task, e.label, e.start, e.end, e.flagged)
            for e in self._episodes
        ]
        packed: bytes = msgpack.packb([list(one) for one in found])
        return packed


def unpack_states(packed: bytes | None) -> list[Left]:
    """Return what `Course.states` has packed."""
    found: list[Any] = [] if packed is None else msgpack.unpackb(packed)
    return [Left(*one) for one in found]


def join_states(packed: Sequence[bytes | None]) -> bytes:
    """Put together what several runs have packed, each of other episodes of one recording, in their order."""
    found = {left.episode: left for one in packed for left in unpack_states(one)}
    joined: bytes = msgpack.packb([list(found[number]) for number in sorted(found)])
    return joined
