"""The one rule for what follows the end of a unit of work, asked without processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamer.errors import (
    BusyError,
    ConfigError,
    ConsumerError,
    OutputError,
    RecordingError,
    StorageError,
    StreamerError,
    UsageError,
)
from streamer.pipelines.retry import AgainAt, Done, GiveUp, Rule, StopBeginning, Stopped, back_off, decide
from streamer.pipelines.unit import Ended

RUN = Rule(attempts=3, first_wait=1.0, longest_wait=30.0)
DAEMON = Rule(attempts=3, first_wait=30.0, longest_wait=3600.0, repeats_failures=True, outlasts_machine=True)
NOW = 1000.0


def failed(error: type[StreamerError]) -> Ended:
    return Ended("failed", error("it failed"))


@pytest.mark.parametrize("rule", [RUN, DAEMON])
def test_what_is_done_is_done_and_what_was_stopped_goes_on_another_time(rule: Rule) -> None:
    assert decide(Ended("done"), 1, NOW, rule) == Done()
    assert decide(Ended("interrupted", BusyError("interrupted")), 3, NOW, rule) == Stopped()
    assert decide(Ended("waiting"), 1, NOW, rule) == Stopped()


@pytest.mark.parametrize("ended", [failed(BusyError), Ended("died", StreamerError("killed by SIGKILL"))])
def test_a_run_tries_again_after_a_death_or_where_somebody_is_busy_each_time_later(ended: Ended) -> None:
    assert decide(ended, 1, NOW, RUN) == AgainAt(1001.0)
    assert decide(ended, 2, NOW, RUN) == AgainAt(1002.0)
    assert decide(ended, 3, NOW, RUN) == GiveUp()


@pytest.mark.parametrize("error", [RecordingError, ConsumerError, ConfigError])
def test_a_run_leaves_what_failed_to_the_person_who_started_it(error: type[StreamerError]) -> None:
    assert decide(failed(error), 1, NOW, RUN) == GiveUp()
    assert decide(failed(error), 1, NOW, replace(RUN, keeps_going=False)) == StopBeginning()


@pytest.mark.parametrize("error", [OutputError, StorageError])
def test_a_run_begins_no_other_recording_on_a_machine_that_gave_out(error: type[StreamerError]) -> None:
    assert decide(failed(error), 1, NOW, RUN) == StopBeginning()


@pytest.mark.parametrize("error", [OutputError, StorageError, BusyError])
def test_the_daemon_waits_for_the_machine_for_ever_and_counts_no_attempt(error: type[StreamerError]) -> None:
    assert decide(failed(error), 1, NOW, DAEMON) == AgainAt(1030.0, counted=False)
    assert decide(failed(error), 50, NOW, DAEMON) == AgainAt(4600.0, counted=False)


def test_what_does_not_count_is_waited_for_longer_each_time_up_to_ten_minutes() -> None:
    killed = Ended("died", BusyError("killed by SIGKILL"))
    waits = [decide(killed, 1, NOW, DAEMON, put_off) for put_off in (0, 1, 2, 50)]
    first = DAEMON.first_wait
    assert waits == [AgainAt(NOW + wait, counted=False) for wait in (first, 2 * first, 4 * first, 600.0)]


@pytest.mark.parametrize(
    "ended", [failed(RecordingError), failed(ConsumerError), Ended("died", StreamerError("its supervisor ended"))]
)
def test_the_daemon_tries_a_recording_so_often_and_then_puts_it_aside(ended: Ended) -> None:
    assert [decide(ended, attempt, NOW, DAEMON) for attempt in (1, 2, 3)] == [
        AgainAt(1030.0),
        AgainAt(1060.0),
        GiveUp(),
    ]


@pytest.mark.parametrize("error", [ConfigError, UsageError])
def test_the_daemon_does_not_try_again_what_a_setting_is_to_blame_for(error: type[StreamerError]) -> None:
    assert decide(failed(error), 1, NOW, DAEMON) == GiveUp()


def test_waits_double_up_to_the_longest_whatever_the_number_of_attempts() -> None:
    assert [back_off(attempt, RUN) for attempt in (0, 1, 2, 5, 6, 10**9)] == [1.0, 1.0, 2.0, 16.0, 30.0, 30.0]


def test_who_was_killed_from_outside_has_not_failed() -> None:
    killed = Ended("died", BusyError("killed by SIGKILL"))
    assert decide(killed, 9, NOW, DAEMON) == AgainAt(NOW + back_off(9, DAEMON), counted=False)
    assert decide(killed, 1, NOW, RUN) == AgainAt(NOW + 1.0)
    assert decide(killed, 3, NOW, RUN) == GiveUp()
    assert decide(Ended("died", StreamerError("killed by SIGSEGV")), 3, NOW, DAEMON) == GiveUp()
