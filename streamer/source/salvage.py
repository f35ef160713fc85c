"""A damaged file, record by record → what of it is intact, and where the rest lies.

The formats say how one record is taken in; here is what they share. A walk ends at the first record that
is damaged; it goes on behind the chunk around it, where the end of that is known, or where the file's own
index says that the next chunk begins.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from streamer.errors import DamagedError, RecordingError
from streamer.records import Damage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.source.blocks import Buffer, Read

DAMAGE = (struct.error, LookupError, ValueError, OverflowError)  # what parsing damaged bytes may raise


class Loss(NamedTuple):
    """A stretch of a file that cannot be read."""

    start: int
    end: int
    error: Exception


def walk(take: Callable[[int], int], position: int, end: int, starts: Sequence[int] = ()) -> list[Loss]:
    """Take in one record after the other; ``take`` is given where one begins and says where the next does.

    Return what is lost: from a damaged record to the next of ``starts``, sorted, or to the end.
    """
    losses = []
    while position < end:
        try:
            position = take(position)
        except (RecordingError, *DAMAGE) as error:
            losses.append(Loss(position, resume(starts, position, end), error))
            position = losses[-1].end
    return losses


def resume(starts: Sequence[int], position: int, end: int) -> int:
    """Return where to go on behind a damaged record: where the next chunk is known to begin, or at ``end``."""
    following = bisect_right(starts, position)
    return min(end, starts[following]) if following < len(starts) else end


def walk_block(take: Callable[[Read, int, int], int], content: Buffer, start: int) -> None:
    """Take in the records of a decompressed block as if they lay so in the file, from ``start`` on.

    ``take`` is given how to read, where the block ends, and where a record begins.

    Raises:
        RecordingError, or one of DAMAGE: a record is damaged.

    """
    view, end = memoryview(content), start + len(content)
    inside = partial(take, lambda position, size: view[position - start : position - start + size], end)
    for loss in walk(inside, start, end):
        raise loss.error


def check_end(position: int, after: int, end: int) -> int:
    """Return ``after``, where the record at ``position`` ends.

    Raises:
        DamagedError: that is behind the ``end`` of what holds it.

    """
    if after > end:
        msg = f"the record at byte {position} is cut off: {after - end} of its {after - position} bytes are missing"
        raise DamagedError(msg)
    return after


def assess(path: Path, size: int, losses: Sequence[Loss], error: Exception) -> Damage:
    """Sum up a walk; ``error`` says why the file could not be read by its index."""
    tail = next((loss for loss in losses if loss.end >= size), None)
    stopped = tail.start if tail else size
    why = dict.fromkeys([_why(error), *([_why(tail.error)] if tail else [])])
    intact = size - sum(loss.end - loss.start for loss in losses)
    return Damage(path.name, size, intact, stopped, len(losses) - (tail is not None), "; ".join(why))


def lost(path: Path, error: RecordingError) -> Damage:
    """Describe a file of which nothing can be read."""
    return Damage(path.name, path.stat().st_size, 0, 0, 0, _why(error))


def words(error: Exception) -> str:
    """Say what parsing ran into; `struct` speaks of buffers."""
    return "it ends too early" if isinstance(error, struct.error) else repr(error)


def _why(error: Exception) -> str:
    """Say what is wrong, without the file's path and without advice."""
    if not isinstance(error, RecordingError):
        return f"a record is damaged ({words(error)})"
    return error.text
