"""The judge of life and death, driven without processes: events go in, orders come out."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.errors import BusyError, ConfigError, ConsumerError, OutputError
from streamer.runtime.messages import Drain, Drop, Retire
from streamer.supervisor.policy import MOST_QUARANTINED, Policy
from streamer.supervisor.seats import Activate, Fail, Gone, Kill, Phase, Seat, Start, Tell

if TYPE_CHECKING:
    from streamer.supervisor.seats import Order


def brief(orders: list[Order]) -> list[str]:
    """Write orders as ``Start a.1``; what is told to a person is left out."""
    told = [order for order in orders if not isinstance(order, Tell | Fail)]
    values = [".".join(str(value) for value in astuple(order) if not isinstance(value, bool)) for order in told]
    return [f"{type(order).__name__} {value}".strip() for order, value in zip(told, values, strict=True)]


def phase(policy: Policy, name: str = "a") -> Phase:
    return policy.seats[name].phase


def begun(*seats: Seat, chunks: int = 10) -> Policy:
    """Return a policy whose first generations are active."""
    policy = Policy({seat.name: seat for seat in seats})
    policy.start()
    for seat in seats:
        policy.consumer_ready(seat.name, 1)
    policy.reader_ready(chunks, {seat.name: 0 for seat in seats}, [])
    return policy


def commit(policy: Policy, name: str, *chunks: int) -> list[str]:
    return [order for chunk in chunks for order in brief(policy.committed(name, chunk))]


def crash(policy: Policy, name: str = "a", *, now: float = 0.0, attempts: int = 0) -> list[str]:
    """End the present generation as a signal would."""
    if attempts:
        policy.attempted(name, attempts)
    return brief(policy.exited(name, policy.seats[name].generation, -11, now))


def revive(policy: Policy, name: str = "a") -> list[str]:
    """Let the time of waiting pass and the next generation become ready."""
    said = brief(policy.tick(policy.seats[name].wait_until))
    return said + brief(policy.consumer_ready(name, policy.seats[name].generation))


# ---- the beginning


def test_a_run_begins_with_a_first_generation_of_everyone() -> None:
    assert brief(Policy({name: Seat(name) for name in "ab"}).start()) == ["Start a.1", "Start b.1"]


@pytest.mark.parametrize("order", ["abr", "arb", "rab", "rba"])
def test_nobody_is_activated_before_all_and_the_reader_are_ready(order: str) -> None:
    policy = Policy({name: Seat(name) for name in "ab"})
    policy.start()
    said = []
    for who in order:
        orders = policy.reader_ready(10, {"a": 0, "b": 0}, []) if who == "r" else policy.consumer_ready(who, 1)
        said.append(sorted(brief(orders)))
    assert said == [[], [], ["Activate a.1.None", "Activate b.1.None"]]


def test_who_had_closed_in_an_earlier_run_is_ended_and_not_waited_for() -> None:
    policy = Policy({name: Seat(name) for name in "ab"})
    policy.start()
    policy.consumer_ready("b", 1)
    assert brief(policy.reader_ready(10, {"a": 10, "b": 3}, ["a"])) == ["Kill a.1", "Activate b.1.None"]
    assert brief(policy.exited("a", 1, -9, 0.0)) == ["Gone a.1"]
    assert policy.seats["b"].cursor == 3


@pytest.mark.parametrize("isolate", [False, True])
def test_a_process_that_ends_before_all_are_ready_stops_the_run(*, isolate: bool) -> None:
    policy = Policy({"a": Seat("a", isolate=isolate), "b": Seat("b")})
    policy.start()
    assert brief(policy.exited("a", 1, 1, 0.0)) == ["Gone a.1", "Drop a", "Drain", "Kill b.1"]
    assert policy.failure == "a"
    assert policy.reader_ready(10, {"a": 0, "b": 0}, []) == []
    assert policy.consumer_ready("b", 1) == []


def test_a_consumer_that_has_closed_is_done_when_it_exits() -> None:
    policy = begun(Seat("a"), chunks=1)
    commit(policy, "a", 0)
    policy.closed("a")
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1"]
    assert phase(policy) is Phase.DONE
    assert (policy.seats["a"].planned, policy.seats["a"].crashed) == (0, 0)


# ---- recycling


def test_a_successor_is_started_for_the_last_chunk_and_activated_once_the_old_one_has_ended() -> None:
    policy = begun(Seat("a", recycle_chunks=3))
    assert commit(policy, "a", 0) == []
    assert commit(policy, "a", 1) == ["Start a.2"]
    assert brief(policy.consumer_ready("a", 2)) == []
    assert commit(policy, "a", 2) == []
    assert brief(policy.retiring("a")) == []
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1", "Activate a.2.3"]
    assert (policy.seats["a"].planned, policy.seats["a"].crashed) == (1, 0)
    assert commit(policy, "a", 3) == []
    assert commit(policy, "a", 4) == ["Start a.3"]


def test_a_successor_whose_warm_up_is_longer_than_a_chunk_is_started_that_much_earlier() -> None:
    policy = Policy({"a": Seat("a", recycle_chunks=6)})
    policy.start()
    policy.reader_ready(40, {"a": 0}, [])
    policy.now = 2.0  # seconds that its import took
    assert brief(policy.consumer_ready("a", 1)) == ["Activate a.1.6"]
    policy.now = 3.0
    assert brief(policy.committed("a", 0)) == []  # five seconds are left
    policy.now = 4.0
    assert brief(policy.committed("a", 1)) == []
    policy.now = 5.0
    assert brief(policy.committed("a", 2)) == []
    policy.now = 6.0
    assert brief(policy.committed("a", 3)) == ["Start a.2"]  # two seconds: in three it is ready for certain
    policy.now = 8.0
    assert brief(policy.consumer_ready("a", 2)) == []
    policy.committed("a", 4)
    policy.committed("a", 5)
    policy.retiring("a")
    assert brief(policy.exited("a", 1, 0, 8.0))[-1] == "Activate a.2.6"


def test_a_late_successor_is_activated_when_it_is_ready() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    assert commit(policy, "a", 0, 1) == ["Start a.2"]
    policy.retiring("a")
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1"]
    assert brief(policy.consumer_ready("a", 2)) == ["Activate a.2.2"]


def test_a_late_successor_that_dies_is_a_crash_and_tried_again() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0, 1)
    policy.retiring("a")
    policy.exited("a", 1, 0, 0.0)
    assert brief(policy.exited("a", 2, 1, 5.0)) == ["Gone a.2"]
    assert policy.next_wake() == 5.5
    assert revive(policy) == ["Start a.3", "Activate a.3.2"]


def test_a_budget_of_one_chunk_has_its_successor_start_at_once() -> None:
    policy = Policy({"a": Seat("a", recycle_chunks=1)})
    policy.start()
    policy.consumer_ready("a", 1)
    assert brief(policy.reader_ready(3, {"a": 0}, [])) == ["Activate a.1.1", "Start a.2"]
    policy.consumer_ready("a", 2)
    assert commit(policy, "a", 0) == []
    policy.retiring("a")
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1", "Activate a.2.1", "Start a.3"]
    policy.consumer_ready("a", 3)
    assert commit(policy, "a", 1) == []
    policy.retiring("a")
    assert brief(policy.exited("a", 2, 0, 0.0)) == ["Gone a.2", "Activate a.3.1"]  # the last chunk needs no successor


@pytest.mark.parametrize(("chunks", "successor"), [(4, []), (5, []), (6, ["Start a.2"])])
def test_no_successor_is_started_where_the_present_generation_reaches_the_end(
    chunks: int, successor: list[str]
) -> None:
    policy = begun(Seat("a", recycle_chunks=5), chunks=chunks)
    assert commit(policy, "a", 0, 1, 2, 3) == successor


def test_a_standby_that_dies_is_replaced_and_harms_nobody() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    assert commit(policy, "a", 0) == ["Start a.2"]
    assert brief(policy.exited("a", 2, 1, 0.0)) == ["Gone a.2"]
    assert phase(policy) is Phase.ACTIVE
    assert commit(policy, "a", 1) == ["Start a.3"]
    policy.retiring("a")
    policy.consumer_ready("a", 3)
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1", "Activate a.3.2"]
    assert policy.seats["a"].crashed == 0


def test_without_a_standby_the_next_generation_is_started_when_the_old_one_has_ended() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0, 1)
    policy.exited("a", 2, 1, 0.0)
    policy.retiring("a")
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1", "Start a.3"]
    assert brief(policy.consumer_ready("a", 3)) == ["Activate a.3.2"]


def test_a_standbys_fatal_error_is_not_the_active_generations() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0)
    policy.failed("a", 2, OutputError("no module of that name"))
    policy.exited("a", 2, 78, 0.0)
    assert crash(policy) == ["Gone a.1"]
    assert phase(policy) is Phase.WAITING
    assert revive(policy) == ["Start a.3", "Activate a.3.2"]


def test_a_standby_takes_over_after_a_crash() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0)
    policy.consumer_ready("a", 2)
    assert crash(policy, now=7.0) == ["Gone a.1"]
    assert policy.tick(7.4) == []
    assert brief(policy.tick(7.5)) == ["Activate a.2.2"]


def test_an_exit_with_a_code_is_a_crash_even_while_retiring() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0, 1)
    policy.retiring("a")
    assert crash(policy) == ["Gone a.1"]
    assert (policy.seats["a"].planned, policy.seats["a"].crashed) == (0, 1)


def test_an_exit_without_a_reason_is_a_crash_even_with_code_zero() -> None:
    policy = begun(Seat("a"))
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1"]
    assert phase(policy) is Phase.WAITING


# ---- crashes


def test_crashes_back_off_doubling_and_the_fifth_without_a_commit_is_the_last() -> None:
    policy = begun(Seat("a"))
    for wait in (0.5, 1.0, 2.0, 4.0):
        assert crash(policy, now=100.0) == [f"Gone a.{policy.seats['a'].generation}"]
        assert policy.next_wake() == 100.0 + wait
        assert policy.tick(100.0 + wait - 0.01) == []
        assert len(revive(policy)) == 2
    assert crash(policy) == ["Gone a.5", "Drop a", "Drain"]
    assert phase(policy) is Phase.FAILED
    assert policy.failure == "a"
    assert policy.next_wake() is None


def test_a_commit_makes_the_count_of_crashes_and_the_wait_begin_anew() -> None:
    policy = begun(Seat("a"))
    for _ in range(4):
        crash(policy)
        revive(policy)
    commit(policy, "a", 0)
    assert crash(policy, now=50.0) == ["Gone a.5"]
    assert policy.next_wake() == 50.5


def test_the_third_attempt_at_one_chunk_is_the_last() -> None:
    policy = begun(Seat("a"))
    for attempt in (1, 2):
        assert len(crash(policy, attempts=attempt)) == 1
        revive(policy)
    assert crash(policy, attempts=3) == ["Gone a.3"]
    assert brief(policy.judged("a", None)) == ["Drop a", "Drain"]


def test_a_commit_makes_the_count_of_attempts_begin_anew() -> None:
    policy = begun(Seat("a"))
    crash(policy, attempts=2)
    revive(policy)
    policy.attempted("a", 3)
    commit(policy, "a", 0)
    assert crash(policy) == ["Gone a.2"]


def test_a_fatal_error_is_not_tried_again() -> None:
    policy = begun(Seat("a"))
    policy.failed("a", 1, OutputError("the output cannot be written"))
    assert crash(policy) == ["Gone a.1", "Drop a", "Drain"]
    assert str(policy.seats["a"].error) == "the output cannot be written"


def test_an_error_that_is_not_fatal_is_tried_again() -> None:
    policy = begun(Seat("a"))
    policy.failed("a", 1, ConsumerError("on_frame raised"))
    assert crash(policy) == ["Gone a.1"]
    assert revive(policy) == ["Start a.2", "Activate a.2.None"]
    assert policy.seats["a"].error is None


def test_what_an_unknown_generation_says_counts_for_nothing() -> None:
    policy = begun(Seat("a"))
    crash(policy)
    assert brief(policy.tick(1.0)) == ["Start a.2"]
    assert policy.consumer_ready("a", 1) == []
    assert brief(policy.consumer_ready("a", 2)) == ["Activate a.2.None"]
    policy.failed("a", 1, OutputError("too late"))
    assert policy.consumer_ready("a", 1) == []
    assert brief(policy.exited("a", 1, 1, 0.0)) == ["Gone a.1"]  # its leases, if it had any
    assert phase(policy) is Phase.ACTIVE
    assert crash(policy) == ["Gone a.2"]


def test_an_isolated_consumer_fails_alone() -> None:
    policy = begun(Seat("a", isolate=True), Seat("b"))
    policy.failed("a", 1, OutputError("broken"))
    assert crash(policy) == ["Gone a.1", "Drop a"]
    assert policy.failure is None
    assert not policy.draining
    assert phase(policy, "b") is Phase.ACTIVE


def test_a_consumer_that_fails_takes_its_standby_along() -> None:
    policy = begun(Seat("a", recycle_chunks=2, isolate=True))
    commit(policy, "a", 0)
    policy.failed("a", 1, OutputError("broken"))
    assert crash(policy) == ["Gone a.1", "Kill a.2", "Drop a"]


def test_outputs_that_are_heard_to_be_closed_only_after_the_exit_are_not_opened_again() -> None:
    policy = begun(Seat("a"), chunks=1)
    commit(policy, "a", 0)
    policy.ending("a")
    assert policy.exited("a", 1, 0, 0.0) == []  # a process may be gone before the reader has passed on its last word
    assert brief(policy.closed("a")) == ["Gone a.1"]
    assert policy.seats["a"].crashed == 0
    assert brief(policy.tick(100.0)) == []
    assert phase(policy) is Phase.DONE


# ---- the deadline


def test_a_consumer_that_is_silent_beyond_its_deadline_is_killed_and_tried_again() -> None:
    policy = begun(Seat("a", deadline=10.0))
    assert policy.silent("a", 10.0) == []
    assert brief(policy.silent("a", 10.1)) == ["Kill a.1"]
    assert "silent for 10.1 s" in str(policy.seats["a"].error)
    assert crash(policy) == ["Gone a.1"]
    assert policy.silent("a", 99.0) == []
    assert revive(policy) == ["Start a.2", "Activate a.2.None"]


def test_one_that_does_not_come_out_of_its_warm_up_is_killed_and_counts_as_a_crash() -> None:
    policy = Policy({"a": Seat("a", deadline=1.0)})
    policy.start()
    policy.reader_ready(4, {"a": 0}, [])
    assert brief(policy.tick(1000.0)) == []
    assert policy.next_wake() == 1120.0
    assert brief(policy.tick(1119.0)) == []
    assert brief(policy.tick(1121.0)) == ["Kill a.1"]
    assert "not ready after 120 s" in str(policy.seats["a"].error)
    assert brief(policy.consumer_ready("a", 1)) == []  # too late: it is being ended
    assert brief(policy.tick(1122.0)) == []
    policy.exited("a", 1, -9, 1123.0)
    assert policy.seats["a"].crashed == 1
    assert brief(policy.tick(1124.0)) == ["Start a.2"]
    assert brief(policy.tick(1125.0)) == []


def test_who_is_not_active_has_no_deadline() -> None:
    policy = Policy({"a": Seat("a", deadline=1.0)})
    policy.start()
    assert policy.silent("a", 5.0) == []


# ---- the drain


def test_a_drain_lets_the_active_finish_their_chunk() -> None:
    policy = begun(Seat("a"))
    assert brief(policy.drain()) == ["Drain"]
    assert phase(policy) is Phase.ACTIVE
    assert commit(policy, "a", 0) == []
    policy.retiring("a")
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1"]
    assert phase(policy) is Phase.STOPPED
    assert policy.failure is None


def test_a_drain_ends_who_still_starts_or_is_ready() -> None:
    policy = Policy({name: Seat(name) for name in "ab"})
    policy.start()
    policy.consumer_ready("b", 1)
    assert brief(policy.drain()) == ["Drain", "Kill a.1", "Kill b.1"]
    assert policy.consumer_ready("a", 1) == []
    assert policy.reader_ready(10, {"a": 0, "b": 0}, []) == []
    assert brief(policy.exited("a", 1, -9, 0.0)) == ["Gone a.1"]
    assert {seat.phase for seat in policy.seats.values()} == {Phase.STOPPED}


def test_a_drain_ends_a_wait_after_a_crash() -> None:
    policy = begun(Seat("a"))
    crash(policy)
    assert brief(policy.drain()) == ["Drain"]
    assert phase(policy) is Phase.STOPPED
    assert policy.tick(1e9) == []
    assert policy.next_wake() is None


def test_a_drain_dismisses_the_standby_and_starts_no_other() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0)
    assert brief(policy.drain()) == ["Drain", "Kill a.2"]
    assert commit(policy, "a", 1) == []
    policy.retiring("a")
    assert brief(policy.exited("a", 1, 0, 0.0)) == ["Gone a.1"]


def test_a_drain_during_a_handover_ends_the_successor() -> None:
    policy = begun(Seat("a", recycle_chunks=2))
    commit(policy, "a", 0, 1)
    policy.retiring("a")
    policy.exited("a", 1, 0, 0.0)
    assert brief(policy.drain()) == ["Drain", "Kill a.2"]
    assert policy.consumer_ready("a", 2) == []


def test_a_crash_during_a_drain_is_not_tried_again() -> None:
    policy = begun(Seat("a"))
    policy.drain()
    assert crash(policy) == ["Gone a.1"]
    assert phase(policy) is Phase.STOPPED


def test_who_closes_during_a_drain_is_done() -> None:
    policy = begun(Seat("a"), chunks=1)
    policy.drain()
    commit(policy, "a", 0)
    policy.closed("a")
    policy.exited("a", 1, 0, 0.0)
    assert phase(policy) is Phase.DONE


# ---- memory


def measure(policy: Policy, *samples: int, name: str = "a") -> list[str]:
    """Commit a chunk for each sample, in MB, by the present generation."""
    said = []
    seat = policy.seats[name]
    for anonymous in samples:
        chunk = seat.cursor
        said += brief(policy.committed(name, chunk))
        said += brief(policy.measured(name, seat.generation, chunk, anonymous * 10**6))
    return said


def hand_over(policy: Policy, name: str = "a") -> list[str]:
    """Let the present generation retire and the one that stands by take its place."""
    seat = policy.seats[name]
    if seat.standby is not None:
        policy.consumer_ready(name, seat.standby)
    policy.retiring(name)
    return brief(policy.exited(name, seat.generation, 0, 0.0))


def test_one_that_holds_too_much_makes_way_for_a_successor_that_warms_up_meanwhile() -> None:
    policy = begun(Seat("a", recycle_memory=100 * 10**6), chunks=50)
    assert measure(policy, 60, 79) == []
    assert measure(policy, 81, 99) == ["Start a.2"], "it comes near"
    assert measure(policy, 101) == ["Retire a"]
    assert measure(policy, 120) == [], "it is told once"
    assert hand_over(policy) == ["Gone a.1", "Activate a.2.None"]
    assert measure(policy, 60, 70) == []
    assert policy.seats["a"].planned == 1


def test_one_that_grows_too_fast_by_its_trend_makes_way() -> None:
    policy = begun(Seat("a", recycle_growth=5 * 10**6), chunks=50)
    assert measure(policy, 10, 90, 100, 101, 150, 103, 104, 105) == []
    assert measure(policy, 120, 130, 140, 150, 160, 170, 180)[:2] == ["Start a.2", "Retire a"]


def test_a_generation_lives_at_least_two_chunks() -> None:
    policy = begun(Seat("a", recycle_memory=100 * 10**6), chunks=50)
    assert measure(policy, 150) == []
    assert measure(policy, 50) == []
    assert measure(policy, 150) == ["Start a.2", "Retire a"]


def test_a_limit_that_fresh_processes_exceed_is_refused_with_one_that_would_do() -> None:
    policy = begun(Seat("a", recycle_memory=100 * 10**6), chunks=50)
    for _ in range(2):
        assert measure(policy, 150, 150) == [f"Start a.{policy.seats['a'].generation + 1}", "Retire a"]
        hand_over(policy)
    assert measure(policy, 150) == ["Kill a.3", "Drop a", "Drain"]
    seat = policy.seats["a"]
    assert phase(policy) is Phase.FAILED
    assert isinstance(seat.error, ConfigError)
    assert "consumers.a.recycle.memory: 100 MB is too low" in str(seat.error)
    assert "holds 150 MB after its first chunk; set it to 230 MB or more" in str(seat.error)


def test_a_limit_that_a_process_exceeds_before_it_has_seen_anything_is_refused_at_once() -> None:
    policy = Policy({"a": Seat("a", recycle_memory=10 * 10**6)})
    policy.start()
    assert brief(policy.warmed_up("a", 1, 9 * 10**6)) == []
    assert brief(policy.warmed_up("a", 1, 20 * 10**6)) == ["Kill a.1", "Drop a", "Drain"]
    assert "holds 20 MB before its first chunk" in str(policy.seats["a"].error)


# ---- frames that end their consumer


def third_death(seat: Seat) -> Policy:
    policy = begun(seat)
    for attempt in (1, 2):
        assert crash(policy, attempts=attempt) == [f"Gone a.{attempt}"]
        revive(policy)
    assert crash(policy, attempts=3) == ["Gone a.3"]
    assert phase(policy) is Phase.JUDGING
    return policy


def test_the_third_death_at_a_chunk_waits_for_the_reader_to_name_the_frame() -> None:
    policy = third_death(Seat("a"))
    assert brief(policy.judged("a", 17)) == ["Drop a", "Drain"]
    assert (phase(policy), policy.seats["a"].frame) == (Phase.FAILED, 17)


def test_with_quarantine_it_goes_on_without_the_frame() -> None:
    policy = third_death(Seat("a", quarantine=True))
    assert brief(policy.judged("a", 17)) == []
    assert revive(policy) == ["Start a.4", "Activate a.4.None"]
    assert crash(policy, attempts=3) == ["Gone a.4"]
    assert brief(policy.judged("a", 18)) == []
    revive(policy)
    assert commit(policy, "a", 0) == []
    assert phase(policy) is Phase.ACTIVE


def test_a_death_between_frames_is_not_a_frames_fault() -> None:
    policy = third_death(Seat("a", quarantine=True))
    assert brief(policy.judged("a", None)) == ["Drop a", "Drain"]


def test_so_many_frames_cannot_all_be_at_fault() -> None:
    policy = third_death(Seat("a", quarantine=True))
    for frame in range(MOST_QUARANTINED):
        assert brief(policy.judged("a", frame)) == []
        revive(policy)
        crash(policy, attempts=3)
    assert brief(policy.judged("a", 99)) == ["Drop a", "Drain"]
    assert "it is not the frames" in str(policy.seats["a"].error)


# ---- any order of events


@dataclass
class Process:
    """What the model knows of one process."""

    ready: bool = False
    killed: bool = False
    active: bool = False
    budget: int = 0
    closed: bool = False


@dataclass
class World:
    """The processes that there are, and what was ever started."""

    alive: dict[tuple[str, int], Process] = field(default_factory=dict)
    started: set[tuple[str, int]] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    drained: bool = False


class Supervising(RuleBasedStateMachine):
    """A supervisor's world, in which everything may happen at any time."""

    @initialize(
        seats=st.lists(
            st.tuples(st.none() | st.integers(1, 3), st.none() | st.just(5), st.booleans(), st.booleans()),
            min_size=1,
            max_size=3,
        ),
        chunks=st.integers(0, 9),
    )
    def begin(self, seats: list[tuple[int | None, int | None, bool, bool]], chunks: int) -> None:
        self.policy = Policy(
            {
                f"c{n}": Seat(f"c{n}", share, memory, isolate=lone, quarantine=patient, deadline=10.0)
                for n, (share, memory, lone, patient) in enumerate(seats)
            }
        )
        self.to_judge: list[str] = []
        self.chunks = chunks
        self.cursors = dict.fromkeys(self.policy.seats, 0)
        self.world = World()
        self.told = False
        self.now = 0.0
        self.carry_out(self.policy.start())

    def carry_out(self, orders: list[Order]) -> None:
        for order in orders:
            if isinstance(order, Start):
                self.see_start(order)
            elif isinstance(order, Activate):
                self.see_activate(order)
            elif isinstance(order, Gone):
                assert (order.name, order.generation) in self.world.started
                assert (order.name, order.generation) not in self.world.alive
                self.to_judge.append(order.name)
            elif isinstance(order, Retire):
                (process,) = [p for (name, _), p in self.world.alive.items() if name == order.name and p.active]
                process.budget = min(process.budget, self.cursors[order.name] + 1)
            elif isinstance(order, Kill):
                assert (order.name, order.generation) in self.world.started
                if condemned := self.world.alive.get((order.name, order.generation)):
                    condemned.killed = True
            elif isinstance(order, Drop):
                assert order.name not in self.world.dropped
                self.world.dropped.add(order.name)
            elif isinstance(order, Drain):
                assert not self.world.drained
                self.world.drained = True

    def see_start(self, order: Start) -> None:
        key = (order.name, order.generation)
        assert key not in self.world.started
        assert not self.world.drained
        assert order.name not in self.world.dropped
        self.world.started.add(key)
        self.world.alive[key] = Process()

    def see_activate(self, order: Activate) -> None:
        assert self.told
        assert not self.world.drained
        process = self.world.alive[order.name, order.generation]
        assert process.ready
        assert not process.killed
        assert not any(p.active for (name, _), p in self.world.alive.items() if name == order.name)
        process.active = True
        share = self.chunks if order.chunks is None else order.chunks
        process.budget = min(self.chunks, self.cursors[order.name] + share)

    def processes(self, *, active: bool) -> list[tuple[str, int]]:
        return sorted(key for key, process in self.world.alive.items() if process.active is active)

    @precondition(lambda self: not self.told)
    @rule(done=st.sets(st.sampled_from(["c0", "c1", "c2"]), max_size=1), sure=st.integers(0, 2))
    def the_reader_is_ready(self, done: set[str], sure: int) -> None:
        self.told = True
        finished = sorted(done & set(self.cursors)) if sure == 0 else []
        self.carry_out(self.policy.reader_ready(self.chunks, dict(self.cursors), finished))

    @precondition(lambda self: self.processes(active=False))
    @rule(data=st.data())
    def a_process_has_warmed_up(self, data: st.DataObject) -> None:
        self.warm(data.draw(st.sampled_from(self.processes(active=False))))

    def warm(self, key: tuple[str, int]) -> None:
        if not self.world.alive[key].ready:
            self.world.alive[key].ready = True
            self.carry_out(self.policy.consumer_ready(*key))

    @precondition(lambda self: self.processes(active=True))
    @rule(data=st.data(), attempt=st.integers(1, 3), holds=st.integers(1, 9))
    def a_consumer_goes_on(self, data: st.DataObject, attempt: int, holds: int) -> None:
        key = data.draw(st.sampled_from(self.processes(active=True)))
        if attempt > 1:
            self.carry_out(self.policy.attempted(key[0], attempt))
        self.go_on(key, holds)

    def go_on(self, key: tuple[str, int], holds: int = 0) -> None:
        """Commit a chunk; with none left, close or retire and exit."""
        name, process = key[0], self.world.alive[key]
        if self.cursors[name] < process.budget:
            self.cursors[name] += 1
            self.carry_out(self.policy.committed(name, self.cursors[name] - 1))
            self.carry_out(self.policy.measured(*key, self.cursors[name] - 1, holds))
        elif self.cursors[name] < self.chunks:
            self.carry_out(self.policy.retiring(name))
            self.end(key, 0)
        else:
            self.carry_out(self.policy.closed(name))
            self.end(key, 0)

    @precondition(lambda self: self.world.alive)
    @rule(data=st.data(), code=st.sampled_from([-11, -9, 1, 0]), fatal=st.none() | st.booleans())
    def a_process_ends(self, data: st.DataObject, code: int, fatal: bool | None) -> None:  # noqa: FBT001 - drawn
        key = data.draw(st.sampled_from(sorted(self.world.alive)))
        if fatal is not None:
            self.carry_out(self.policy.failed(*key, (OutputError if fatal else ConsumerError)("it broke")))
        self.end(key, code)

    def end(self, key: tuple[str, int], code: int) -> None:
        del self.world.alive[key]
        self.carry_out(self.policy.exited(*key, code, self.now))

    @precondition(lambda self: self.to_judge)
    @rule(frame=st.none() | st.integers(0, 9))
    def the_reader_judges(self, frame: int | None) -> None:
        self.carry_out(self.policy.judged(self.to_judge.pop(0), frame))

    @precondition(lambda self: any(process.killed for process in self.world.alive.values()))
    @rule()
    def what_was_killed_ends(self) -> None:
        for key in [key for key, process in self.world.alive.items() if process.killed]:
            self.end(key, -9)

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.policy.tick(self.now))

    @rule(number=st.integers(0, 2), seconds=st.floats(0, 20))
    def a_consumer_is_silent(self, number: int, seconds: float) -> None:
        self.carry_out(self.policy.silent(f"c{number % len(self.cursors)}", seconds))

    @precondition(lambda self: not self.world.drained)
    @rule(sure=st.integers(0, 4))
    def the_run_is_drained(self, sure: int) -> None:
        if sure == 0:
            self.carry_out(self.policy.drain())

    @invariant()
    def a_consumer_has_at_most_one_active_generation(self) -> None:
        active = [name for name, _ in self.processes(active=True)]
        assert len(active) == len(set(active))

    @invariant()
    def a_process_is_of_use_or_told_to_end(self) -> None:
        for (name, generation), process in self.world.alive.items():
            seat = self.policy.seats[name]
            over = seat.phase in (Phase.DONE, Phase.FAILED, Phase.STOPPED)
            assert process.killed or (not over and generation in (seat.generation, seat.standby))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.finish()

    def finish(self) -> None:
        """Let everything take its course: every consumer comes to an end, and every process."""
        if not self.told:
            self.the_reader_is_ready(set(), 1)
        for _ in range(100):
            self.what_was_killed_ends()
            while self.to_judge:
                self.the_reader_judges(None)
            self.time_passes(40.0)
            for key in self.processes(active=False):
                self.warm(key)
            for key in self.processes(active=True):
                self.go_on(key)
        assert not self.world.alive
        for name, seat in self.policy.seats.items():
            assert seat.phase in (Phase.DONE, Phase.FAILED, Phase.STOPPED)
            assert (seat.phase is Phase.STOPPED) <= self.world.drained
            assert (seat.phase is Phase.FAILED) <= (name in self.world.dropped)


TestSupervising = Supervising.TestCase
TestSupervising.settings = settings(deadline=None, max_examples=200, stateful_step_count=50)


# ---- deaths from outside


def killed(policy: Policy, name: str = "a", *, now: float = 0.0, out_of_memory: bool = False) -> list[Order]:
    """End the present generation by a SIGKILL that nobody of the run has sent."""
    return policy.exited(name, policy.seats[name].generation, -9, now, out_of_memory=out_of_memory)


def test_kills_from_outside_do_not_count_as_crashes_and_back_off_longer_than_these() -> None:
    policy = begun(Seat("a"))
    for wait in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0):
        assert Gone("a", policy.seats["a"].generation, killed=True) in killed(policy, now=100.0)
        assert policy.next_wake() == 100.0 + wait
        revive(policy)
    assert policy.seats["a"].crashes == 0
    assert (policy.seats["a"].crashed, policy.seats["a"].killed) == (8, 8)
    assert phase(policy) is Phase.ACTIVE


def test_twenty_kills_from_outside_without_a_commit_end_the_run_until_later() -> None:
    policy = begun(Seat("a"))
    for _ in range(19):
        killed(policy)
        revive(policy)
    assert brief(killed(policy)) == ["Gone a.20", "Drop a", "Drain"]
    error = policy.seats["a"].error
    assert isinstance(error, BusyError)  # exit code 75: try again later
    assert "killed from outside 20 times without a commit" in str(error)


def test_too_little_memory_twenty_times_without_a_commit_counts_against_it() -> None:
    policy = begun(Seat("a"))
    for turn in range(20):
        killed(policy, out_of_memory=turn > 3)
        revive(policy)
    error = policy.seats["a"].error
    assert type(error) is ConsumerError  # exit code 70: a daemon tries it only so often
    assert "out of memory, killed it 16 times" in str(error)


def test_a_commit_makes_the_count_of_kills_begin_anew() -> None:
    policy = begun(Seat("a"))
    for _ in range(19):
        killed(policy)
        revive(policy)
    commit(policy, "a", 0)
    killed(policy, now=50.0)
    assert policy.next_wake() == 50.5


def test_kills_and_crashes_are_counted_apart() -> None:
    policy = begun(Seat("a"))
    for _ in range(4):
        crash(policy)
        revive(policy)
        killed(policy)
        revive(policy)
    assert crash(policy) == ["Gone a.9", "Drop a", "Drain"]  # its fifth


@pytest.mark.parametrize(
    ("out_of_memory", "committed", "words"),
    [
        (
            False,
            False,
            "from outside (an operator, the kernel) or by native code of its own, before its first commit",
        ),
        (True, True, "killed by SIGKILL by the kernel, which was out of memory, 5.0 s after its last commit"),
    ],
)
def test_who_killed_it_is_told_and_how_long_after_its_last_commit(
    words: str, *, out_of_memory: bool, committed: bool
) -> None:
    policy = begun(Seat("a"))
    policy.now = 10.0
    if committed:
        commit(policy, "a", 0)
    (told,) = [order for order in killed(policy, now=15.0, out_of_memory=out_of_memory) if isinstance(order, Tell)]
    assert words in str(told.error)


def test_a_process_that_we_end_ourselves_is_not_killed_from_outside() -> None:
    policy = begun(Seat("a", deadline=10.0))
    policy.silent("a", 10.1)
    assert not any(order.killed for order in killed(policy) if isinstance(order, Gone))
    assert (policy.seats["a"].crashes, policy.seats["a"].kills) == (1, 0)


def test_a_frame_is_not_to_blame_for_a_kill_from_outside_until_a_second_one_ends_at_it() -> None:
    policy = begun(Seat("a", quarantine=True))
    policy.attempted("a", 3)
    killed(policy, now=100.0)
    assert phase(policy) is Phase.JUDGING
    assert brief(policy.judged("a", 17, proven=False)) == []
    assert phase(policy) is Phase.WAITING
    revive(policy)
    policy.attempted("a", 4)
    killed(policy, now=200.0)
    policy.judged("a", 17)
    assert policy.seats["a"].quarantined == 1


def test_a_process_that_is_killed_while_it_starts_is_killed_from_outside_too() -> None:
    policy = Policy({"a": Seat("a")})
    policy.start()
    for _ in range(6):
        assert any(order.killed for order in killed(policy) if isinstance(order, Gone))
        policy.tick(policy.seats["a"].wait_until)
    assert policy.failure is None
