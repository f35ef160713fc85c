"""How an attempt ended, how many there were, now → what becomes of a recording: again at some time, or put aside.

What a recording cannot cause (a full disk, a busy output, a process that the system refused) never counts against it.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamer.errors import BusyError, ConfigError, OutputError, StorageError, UsageError

LONGEST_BACKOFF = 3600.0  # seconds
_NOT_ITS_FAULT = {OutputError.exit_code, StorageError.exit_code, BusyError.exit_code}
_WITHOUT_HOPE = {ConfigError.exit_code, UsageError.exit_code}  # would end the same way again


@dataclass(frozen=True, slots=True)
class Again:
    """Try it again ``at`` this time (Unix seconds); ``attempts`` is how many count until then."""

    at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Put it aside."""


def after_failure(exit_code: int, attempts: int, most: int, backoff: float, now: float) -> Again | GiveUp:
    """Decide after the ``attempts``-th attempt of at most ``most``; ``backoff`` in seconds, doubled each time."""
    counts = exit_code not in _NOT_ITS_FAULT
    if counts and (attempts >= most or exit_code in _WITHOUT_HOPE):
        return GiveUp()
    wait = min(backoff * 2 ** min(attempts - 1, 20), LONGEST_BACKOFF)
    return Again(now + wait, attempts if counts else attempts - 1)
