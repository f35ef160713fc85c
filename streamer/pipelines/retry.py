"""How a unit of work ended, how often it was tried, the time → what to do next: the one rule for this.

Pure: no clock, no process. Whoever works through many recordings asks it: a run (by itself or on a cluster), which a
person waits for, and the daemon, which goes on for months. How they differ is a `Rule`.

Faults are told apart by who must act. Somebody else holds what is needed, or killed the process (75): it is tried
again later. The machine gave out (73, 74): the next recording would fail, too. The configuration is wrong (64, 78):
trying again ends the same way. A process died, or the recording could not be streamed: that counts against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from streamer.errors import BusyError, ConfigError, OutputError, StorageError, UsageError

if TYPE_CHECKING:
    from streamer.pipelines.unit import Ended


@dataclass(frozen=True, slots=True)
class Rule:
    """How patient somebody is: ``attempts`` in all, waits in seconds, doubling from the first to the longest.

    ``repeats_failures`` says that a recording that failed (and did not only die) is tried again; ``outlasts_machine``
    that a machine which gave out is waited for as long as it takes; ``keeps_going`` that others are begun after one was
    given up.
    """

    attempts: int
    first_wait: float
    longest_wait: float
    repeats_failures: bool = False
    outlasts_machine: bool = False
    keeps_going: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """It is done."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was asked to stop: it goes on in another run, and this attempt does not count."""


@dataclass(frozen=True, slots=True)
class AgainAt:
    """Try it again at this time; ``counted`` is False where the attempt does not count against it."""

    time: float
    counted: bool = True


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it; others go on."""


@dataclass(frozen=True, slots=True)
class StopBeginning:
    """Leave it, and begin no other."""


Decision = Done | Stopped | AgainAt | GiveUp | StopBeginning


_LONGEST_PUT_OFF = 600.0  # seconds: what it waits for may be there again at any time


class _Fault(Enum):
    BUSY = auto()
    MACHINE = auto()
    SETTINGS = auto()
    DEATH = auto()
    FAILURE = auto()


_BY_CODE = {
    BusyError.exit_code: _Fault.BUSY,
    OutputError.exit_code: _Fault.MACHINE,
    StorageError.exit_code: _Fault.MACHINE,
    ConfigError.exit_code: _Fault.SETTINGS,
    UsageError.exit_code: _Fault.SETTINGS,
}


def decide(ended: Ended, attempts: int, now: float, rule: Rule, put_off: int = 0) -> Decision:
    """Say what follows the end of an attempt, the ``attempts``-th one that counts.

    ``put_off`` attempts in a row before it did not count; they too lengthen the wait, up to ten minutes.
    """
    if ended.state == "done":
        return Done()
    if ended.state in ("interrupted", "waiting"):
        return Stopped()
    fault = _BY_CODE.get(ended.exit_code, _Fault.DEATH if ended.state == "died" else _Fault.FAILURE)
    if fault in (_Fault.BUSY, _Fault.MACHINE) and rule.outlasts_machine:
        once = back_off(attempts, rule)
        return AgainAt(now + max(once, min(back_off(attempts + put_off, rule), _LONGEST_PUT_OFF)), counted=False)
    again = fault in (_Fault.BUSY, _Fault.DEATH) or (fault is _Fault.FAILURE and rule.repeats_failures)
    if again and attempts < rule.attempts:
        return AgainAt(now + back_off(attempts, rule))
    return GiveUp() if rule.keeps_going and fault is not _Fault.MACHINE else StopBeginning()


def back_off(attempts: int, rule: Rule) -> float:
    """Return the seconds to wait behind this attempt: each time twice as long, up to the longest."""
    return min(rule.first_wait * 2.0 ** min(max(attempts, 1) - 1, 30), rule.longest_wait)
