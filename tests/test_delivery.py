"""The table of the reader: each of its promises by example, and all of them under any order of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer.delivery import Delivery, End, EndChunk, Grow, HandOver, Load, Send

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from streamer.delivery import Action


def table(frames: int, chunk_size: int, slots: int, *, window: int = 4, readahead: int = 4, **more: Any) -> Delivery:
    return Delivery(frames, chunk_size, slots, window=window, readahead=readahead, **more)


def test_a_table_grows_before_it_drops_a_frame_that_somebody_needs() -> None:
    delivery = seated(table(12, 4, 3, most=7, step=2), "quick", "slow", credit=20)
    seen: list[Action] = []
    for _ in range(40):
        for action in delivery.step():
            seen.append(action)
            if isinstance(action, Grow):
                delivery.grown(action.slots)
            elif isinstance(action, Load):
                delivery.loaded(action.frame)
            elif isinstance(action, Send) and action.consumer == "quick":
                delivery.release("quick", action.frame)
            elif isinstance(action, EndChunk) and action.consumer == "quick":
                delivery.committed("quick", action.chunk)
    assert [action.slots for action in seen if isinstance(action, Grow)] == [2, 2]
    assert delivery.slots == 7
    assert frames_for("slow", seen) == list(range(7)), "one that releases nothing gets what the pool holds"
    assert loads_of(seen) == list(range(7))


def test_a_table_that_may_not_grow_makes_do_and_does_not_ask_again() -> None:
    delivery = seated(table(12, 4, 3, most=7), "quick", "slow", credit=20)
    seen = run(delivery, "quick")
    assert [type(action) for action in seen].count(Grow) == 1
    assert frames_for("quick", seen) == [0, 1, 2]


def test_a_table_does_not_grow_for_a_consumer_that_has_frames_to_go_on_with() -> None:
    delivery = seated(table(12, 4, 3, most=7), "a", credit=20)
    assert Grow not in [type(action) for action in settle(delivery)]


def seated(delivery: Delivery, *names: str, credit: int = 8, every: int = 1) -> Delivery:
    for name in names:
        delivery.add(name, cursor=0, credit=credit, every=every)
        delivery.activate(name, None)
    return delivery


def settle(delivery: Delivery, *, bad: Container[int] = ()) -> list[Action]:
    """Let the table do all it can while loads complete at once and consumers do nothing."""
    done: list[Action] = []
    while actions := list(delivery.step()):
        done += actions
        for action in actions:
            if isinstance(action, Load):
                (delivery.failed if action.frame in bad else delivery.loaded)(action.frame)
    return done


def frames_for(name: str, actions: Sequence[Action]) -> list[int]:
    return [action.frame for action in actions if isinstance(action, Send) and action.consumer == name]


def loads_of(actions: Sequence[Action]) -> list[int]:
    return [action.frame for action in actions if isinstance(action, Load)]


def told(name: str, actions: Sequence[Action]) -> list[type[Action]]:
    """Return how a consumer's generations ended; as tuples, `HandOver` and `End` would be equal."""
    return [type(action) for action in actions if isinstance(action, (HandOver, End)) and action.consumer == name]


def run(delivery: Delivery, *names: str, after: Sequence[Action] = (), bad: Container[int] = ()) -> list[Action]:
    """Let consumers release and commit at once, also what came ``after``, until nothing more happens."""
    done: list[Action] = []
    actions = [*after, *settle(delivery, bad=bad)]
    while actions:
        done += actions
        for action in actions:
            if isinstance(action, Send) and action.consumer in names:
                assert delivery.release(action.consumer, action.frame)
            elif isinstance(action, EndChunk) and action.consumer in names:
                assert delivery.committed(action.consumer, action.chunk)
        actions = settle(delivery, bad=bad)
    return done


# ---- a lossless consumer


def test_a_lossless_consumer_is_sent_every_frame_in_order_once() -> None:
    actions = run(seated(table(10, 4, 2), "a"), "a")
    assert frames_for("a", actions) == list(range(10))
    assert loads_of(actions) == list(range(10))


def test_a_chunks_end_is_announced_right_behind_its_last_frame() -> None:
    actions = [a for a in run(seated(table(5, 2, 5), "a"), "a") if not isinstance(a, Load)]
    assert [a.frame if isinstance(a, Send) else a for a in actions] == [
        *(0, 1, EndChunk("a", 0)),
        *(2, 3, EndChunk("a", 1)),
        *(4, EndChunk("a", 2), End("a")),
    ]


def test_delivery_begins_at_the_frame_after_the_cursor() -> None:
    delivery = table(10, 4, 2)
    delivery.add("a", cursor=1)
    delivery.activate("a", None)
    assert frames_for("a", run(delivery, "a")) == [4, 5, 6, 7, 8, 9]


def test_before_a_generation_is_activated_frames_are_loaded_for_it_but_none_is_sent() -> None:
    delivery = table(10, 4, 2)
    delivery.add("a", cursor=0)
    assert [type(action) for action in settle(delivery)] == [Load, Load]
    assert delivery.idle


def test_a_generation_that_dies_gives_its_leases_back_and_the_next_begins_at_the_cursor() -> None:
    delivery = seated(table(10, 4, 4), "a", credit=4)
    assert frames_for("a", settle(delivery)) == [0, 1, 2, 3]
    delivery.gone("a")
    assert delivery.holds("a") == 0
    assert settle(delivery) == []
    delivery.activate("a", None)
    assert frames_for("a", run(delivery, "a")) == list(range(10))
    assert delivery.sent("a") == 14


def test_every_n_th_frame_is_all_that_is_loaded_and_sent_where_no_more_is_wanted() -> None:
    actions = run(seated(table(10, 4, 2), "a", every=3), "a")
    assert frames_for("a", actions) == loads_of(actions) == [0, 3, 6, 9]
    assert [a.chunk for a in actions if isinstance(a, EndChunk)] == [0, 1, 2]


def test_a_frame_that_cannot_be_loaded_is_left_out_and_its_chunk_still_ends() -> None:
    delivery = seated(table(6, 3, 2), "a")
    actions = run(delivery, "a", bad={2, 3})
    assert frames_for("a", actions) == [0, 1, 4, 5]
    assert [a.chunk for a in actions if isinstance(a, EndChunk)] == [0, 1]
    assert delivery.void == {2, 3}
    assert delivery.slots_in_use == 0


def test_a_consumer_holds_no_more_frames_than_its_credit() -> None:
    delivery = seated(table(10, 10, 8), "a", credit=2)
    assert frames_for("a", settle(delivery)) == [0, 1]
    assert delivery.release("a", 0)
    assert frames_for("a", settle(delivery)) == [2]


def test_a_recording_without_frames_ends_at_once() -> None:
    delivery = seated(table(0, 10, 2), "a")
    assert told("a", settle(delivery)) == [End]
    assert delivery.closed("a")
    assert delivery.finished


# ---- slots


def test_a_slot_is_not_given_away_while_somebody_holds_a_lease_on_it() -> None:
    delivery = seated(table(10, 10, 2), "a", "b")
    settle(delivery)
    for frame in (0, 1):
        assert delivery.release("a", frame)
    assert settle(delivery) == []  # b still looks at both
    assert delivery.release("b", 0)
    assert loads_of(settle(delivery)) == [2]


def test_a_slot_is_free_again_when_its_last_holder_has_released() -> None:
    delivery = seated(table(1, 1, 2), "a", "b")
    settle(delivery)
    assert delivery.slots_in_use == 1
    assert delivery.release("a", 0)
    assert delivery.slots_in_use == 1
    assert delivery.release("b", 0)
    assert delivery.slots_in_use == 0


def test_a_slot_is_not_given_away_while_a_load_reads_from_it() -> None:
    delivery = seated(table(4, 4, 2, repeats=[False, True, False, False]), "a")
    first, second = list(delivery.step())
    assert isinstance(first, Load)
    assert second == Load(1, 1 - first.slot, first.slot)
    delivery.loaded(0)
    assert frames_for("a", list(delivery.step())) == [0]
    assert delivery.release("a", 0)
    assert list(delivery.step()) == []  # frame 0 is still copied from
    delivery.loaded(1)
    assert Load(2, first.slot, None) in list(delivery.step())


def test_a_frame_is_decoded_once_for_all_who_are_near() -> None:
    actions = run(seated(table(20, 5, 4), "a", "b", "c"), "a", "b", "c")
    assert loads_of(actions) == list(range(20))
    for name in "abc":
        assert frames_for(name, actions) == list(range(20))


def test_the_slot_that_was_freed_last_is_used_first() -> None:
    delivery = seated(table(9, 9, 6, window=1), "a", credit=6)
    actions = settle(delivery)
    slots = {action.frame: action.slot for action in actions if isinstance(action, Send)}
    for frame in (3, 1):
        delivery.release("a", frame)
    again = [action.slot for action in settle(delivery) if isinstance(action, Load)]
    assert again == [slots[1], slots[3]]


def test_no_more_frames_are_loading_at_once_than_the_window() -> None:
    delivery = seated(table(10, 10, 10, window=3, readahead=8), "a")
    assert loads_of(list(delivery.step())) == [0, 1, 2]
    assert list(delivery.step()) == []
    delivery.loaded(1)
    assert loads_of(list(delivery.step())) == [3]


def test_no_frame_is_loaded_beyond_the_readahead() -> None:
    delivery = seated(table(20, 20, 20, window=20, readahead=3), "a", credit=2)
    assert loads_of(settle(delivery)) == [0, 1, 2, 3, 4]  # two are sent, three wait


# ---- the cache and who may evict


def test_one_consumer_may_be_a_pool_ahead_of_another_and_no_more() -> None:
    delivery = seated(table(20, 20, 6), "a", "slow", credit=1)
    assert frames_for("a", run(delivery, "a")) == [0, 1, 2, 3, 4, 5]
    assert delivery.release("slow", 0)
    assert frames_for("a", run(delivery, "a")) == [6]


def test_the_consumer_that_is_furthest_behind_evicts_what_one_ahead_waits_for() -> None:
    delivery = table(40, 5, 3)
    delivery.add("ahead", cursor=4)
    delivery.activate("ahead", None)
    held = frames_for("ahead", settle(delivery))
    assert held == [20, 21, 22]
    delivery.release("ahead", 20)
    delivery.add("behind", cursor=0)
    delivery.activate("behind", None)
    actions = run(delivery, "behind")
    assert frames_for("behind", actions)[:20] == list(range(20))


def retired_behind(*, drained: bool) -> Delivery:
    """Return a table of four slots with ``old`` retired behind frame 4 and ``b`` ahead of it, in mid-chunk."""
    delivery = table(20, 5, 4)
    for name, chunks in (("old", 1), ("b", None)):
        delivery.add(name, cursor=0, credit=1)
        delivery.activate(name, chunks)
    actions = settle(delivery)
    for frame in range(4):
        actions += run(delivery, "b", after=actions)
        assert delivery.release("old", frame)
        actions = settle(delivery)
    run(delivery, "b", after=actions)
    assert (delivery.position("old"), delivery.position("b")) == (5, 8)
    if drained:
        delivery.drain()
    delivery.release("old", 4)
    assert delivery.committed("old", 0)
    assert HandOver in told("old", run(delivery, "b"))
    delivery.gone("old")
    return delivery


def test_one_whose_process_is_replaced_as_planned_is_waited_for() -> None:
    delivery = retired_behind(drained=False)
    run(delivery, "b")
    assert delivery.position("b") == 9  # a pool ahead, no more
    delivery.activate("old", None)
    actions = run(delivery, "old", "b")
    assert loads_of(actions) == list(range(9, 20))
    assert frames_for("old", actions) == list(range(5, 20))


def test_a_drain_waits_for_no_generation_that_will_not_come() -> None:
    delivery = retired_behind(drained=True)
    assert told("b", run(delivery, "b")) == [HandOver]
    assert delivery.cursor("b") == 2


def test_a_frame_that_was_evicted_is_loaded_again_for_whoever_wants_it() -> None:
    delivery = table(40, 5, 4)
    delivery.add("ahead", cursor=4, credit=1)
    delivery.activate("ahead", None)
    actions = settle(delivery)
    assert loads_of(actions) == [20, 21, 22, 23]
    delivery.add("behind", cursor=0, every=2)
    delivery.activate("behind", None)
    assert frames_for("behind", run(delivery, "behind"))[:10] == list(range(0, 20, 2))  # in the place of frame 23
    assert frames_for("ahead", run(delivery, "ahead", "behind", after=actions)) == list(range(20, 40))


def test_nobody_but_the_furthest_behind_evicts() -> None:
    delivery = table(40, 5, 9, readahead=3)
    for name, cursor in (("first", 4), ("last", 0), ("middle", 2)):
        delivery.add(name, cursor=cursor, credit=1)
        delivery.activate(name, None)
        actions = settle(delivery)
    assert frames_for("middle", actions) == [10]
    assert delivery.release("middle", 10)
    assert settle(delivery) == []  # it would have to drop what first waits for
    assert delivery.slots_in_use == 9


def test_what_a_crashed_consumer_has_not_committed_stays_in_the_pool_for_it_while_there_is_room() -> None:
    delivery = seated(table(6, 6, 6), "a", "crashed")
    actions = settle(delivery)
    assert loads_of(actions) == [0, 1, 2, 3, 4, 5]
    delivery.gone("crashed")
    run(delivery, "a", after=actions)
    delivery.activate("crashed", None)
    actions = run(delivery, "crashed")
    assert loads_of(actions) == []
    assert frames_for("crashed", actions) == [0, 1, 2, 3, 4, 5]


def test_what_only_a_given_up_consumer_held_is_free_at_once() -> None:
    delivery = seated(table(2, 2, 2), "a", "lost")
    settle(delivery)
    for frame in (0, 1):
        delivery.release("a", frame)
    assert delivery.slots_in_use == 2
    delivery.drop("lost")
    assert delivery.slots_in_use == 0


def test_an_inactive_consumers_cache_is_evicted_for_an_active_one() -> None:
    delivery = seated(table(20, 20, 3), "a", "crashed", credit=1)
    actions = settle(delivery)
    delivery.gone("crashed")
    assert frames_for("a", run(delivery, "a", after=actions)) == list(range(20))
    delivery.activate("crashed", None)
    assert frames_for("crashed", run(delivery, "crashed")) == list(range(20))


def test_a_consumer_that_is_given_up_is_waited_for_no_more() -> None:
    delivery = seated(table(20, 20, 3), "a", "lost", credit=1)
    actions = settle(delivery)
    delivery.drop("lost")
    run(delivery, "a", after=actions)
    assert delivery.closed("a")
    assert delivery.finished
    assert delivery.slots_in_use == 0
    assert delivery.is_done("lost")


# ---- generations


def test_a_generation_with_a_budget_ends_when_its_chunks_are_committed() -> None:
    delivery = table(10, 2, 4)
    delivery.add("a", cursor=0)
    delivery.activate("a", 2)
    actions = settle(delivery)
    for frame in frames_for("a", actions):
        delivery.release("a", frame)
    actions += settle(delivery)
    assert frames_for("a", actions) == [0, 1, 2, 3]
    assert told("a", actions) == []
    assert delivery.committed("a", 0)
    assert settle(delivery) == []
    assert delivery.committed("a", 1)
    assert told("a", settle(delivery)) == [HandOver]
    delivery.gone("a")
    delivery.activate("a", None)
    assert frames_for("a", run(delivery, "a")) == [4, 5, 6, 7, 8, 9]


def test_a_generation_whose_budget_reaches_the_end_is_told_the_end() -> None:
    delivery = table(5, 2, 4)
    delivery.add("a", cursor=1)
    delivery.activate("a", 2)
    assert told("a", run(delivery, "a")) == [End]


def test_a_consumer_that_had_committed_all_is_told_the_end_at_once() -> None:
    delivery = table(5, 2, 4)
    delivery.add("a", cursor=3)
    delivery.activate("a", 1)
    assert told("a", settle(delivery)) == [End]


@pytest.mark.parametrize(("released", "frames"), [(0, [0, 1, 2]), (2, [0, 1, 2]), (3, [0, 1, 2, 3, 4, 5])])
def test_a_generation_told_to_retire_finishes_the_chunk_that_it_is_in(released: int, frames: list[int]) -> None:
    delivery = seated(table(9, 3, 4), "a", credit=1)
    actions: list[Action] = []
    for frame in range(released):
        actions += settle(delivery)
        assert delivery.release("a", frame)
    actions += settle(delivery)
    delivery.retire("a")
    for action in actions:
        if isinstance(action, EndChunk):
            assert delivery.committed("a", action.chunk)
    delivery.release("a", released)
    actions += run(delivery, "a")
    assert frames_for("a", actions) == frames
    assert told("a", actions) == [HandOver]


def test_a_drain_ends_every_generation_behind_its_chunk() -> None:
    delivery = seated(table(20, 5, 3), "a", "b", credit=1)
    actions = settle(delivery)
    delivery.drain()
    actions = run(delivery, "a", "b", after=actions)
    for name in "ab":
        assert frames_for(name, actions) == [0, 1, 2, 3, 4]
        assert delivery.cursor(name) == 1
        assert told(name, actions) == [HandOver]
        delivery.gone(name)
    assert delivery.idle


def test_a_generation_activated_during_a_drain_is_sent_nothing() -> None:
    delivery = table(20, 5, 3)
    delivery.add("a", cursor=1)
    delivery.drain()
    delivery.activate("a", None)
    assert told("a", settle(delivery)) == [HandOver]


def test_a_drain_loads_nothing_for_the_chunks_that_it_will_not_begin() -> None:
    delivery = seated(table(40, 5, 20, readahead=3), "a", credit=1)
    actions = settle(delivery)
    assert loads_of(actions) == [0, 1, 2, 3]
    delivery.drain()
    assert loads_of(run(delivery, "a", after=actions)) == [0, 1, 2, 3, 4]


# ---- what consumers say is checked


def test_a_lease_that_is_not_held_cannot_be_released() -> None:
    delivery = seated(table(10, 5, 4), "a", "b", credit=1)
    settle(delivery)
    assert not delivery.release("nobody", 0)
    assert not delivery.release("a", 1)
    assert delivery.release("a", 0)
    assert not delivery.release("a", 0)
    assert delivery.holds("b") == 1


def test_only_the_next_announced_chunk_can_be_committed_and_once() -> None:
    delivery = seated(table(10, 2, 10, readahead=10), "a")
    assert not delivery.committed("nobody", 0)
    assert not delivery.committed("a", 0)
    settle(delivery)  # four chunks are announced
    assert not delivery.committed("a", 1)
    assert not delivery.committed("a", -1)
    assert delivery.committed("a", 0)
    assert not delivery.committed("a", 0)
    assert delivery.cursor("a") == 1
    delivery.gone("a")
    assert not delivery.committed("a", 1)


def test_outputs_cannot_be_closed_before_the_end_was_told() -> None:
    delivery = seated(table(2, 2, 2), "a")
    assert not delivery.closed("nobody")
    settle(delivery)
    assert not delivery.closed("a")
    run(delivery, "a")
    delivery.release("a", 0)
    assert delivery.committed("a", 0)
    assert not delivery.closed("a")
    assert told("a", settle(delivery)) == [End]
    assert delivery.closed("a")


def test_a_consumer_owes_something_while_it_holds_leases_or_commits_or_its_end() -> None:
    delivery = seated(table(2, 2, 2), "a")
    assert not delivery.owes("a")
    settle(delivery)
    assert delivery.owes("a")
    for frame in (0, 1):
        delivery.release("a", frame)
    assert delivery.owes("a")  # its commit
    assert delivery.committed("a", 0)
    assert not delivery.owes("a")
    settle(delivery)
    assert delivery.owes("a")  # its end
    assert delivery.closed("a")
    assert not delivery.owes("a")


# ---- a latest consumer


def with_latest(frames: int, chunk_size: int, slots: int, chunks: int | None = None) -> Delivery:
    delivery = seated(table(frames, chunk_size, slots), "a", credit=2)
    delivery.add("view", cursor=0, latest=True)
    delivery.activate("view", chunks)
    return delivery


def test_a_latest_consumer_gets_the_newest_frame_when_it_has_none() -> None:
    delivery = with_latest(20, 20, 6)
    assert frames_for("view", settle(delivery)) == [3]  # frames 0 to 3 were ready at once
    assert delivery.release("view", 3)
    assert frames_for("view", settle(delivery)) == [5]
    assert delivery.release("view", 5)
    assert frames_for("view", settle(delivery)) == []  # there is none that it has not seen


def test_a_latest_consumer_holds_nobody_up() -> None:
    delivery = with_latest(20, 4, 2)
    actions = settle(delivery)
    assert delivery.holds("view") == 1
    actions = run(delivery, "a", after=actions)
    assert delivery.holds("view") == 1
    assert frames_for("a", actions) == list(range(20))
    assert told("a", actions) == [End]


def test_a_latest_consumers_chunks_are_announced_as_they_pass_and_all_at_the_end() -> None:
    delivery = with_latest(20, 4, 3)
    actions = run(delivery, "a", "view")
    shown = frames_for("view", actions)
    assert shown == sorted(set(shown))
    assert [a.chunk for a in actions if isinstance(a, EndChunk) and a.consumer == "view"] == [0, 1, 2, 3, 4]
    assert told("view", actions) == [End]


def test_a_latest_consumer_makes_nobody_load_anything() -> None:
    delivery = seated(table(20, 4, 3), "a")
    delivery.gone("a")  # the only one for whom anything would be loaded
    delivery.add("view", cursor=0, latest=True)
    delivery.activate("view", None)
    assert settle(delivery) == []


def test_a_drain_ends_a_latest_consumer_although_it_is_ahead_of_where_the_others_stop() -> None:
    delivery = seated(table(20, 3, 8, readahead=4), "a", credit=1)
    delivery.add("view", cursor=0, latest=True)
    delivery.activate("view", None)
    actions = settle(delivery)
    assert frames_for("a", actions) == [0]
    view = frames_for("view", actions)[-1]
    assert view >= 3  # a is in chunk 0, view is not
    delivery.drain()
    actions = run(delivery, "a", "view", after=actions)
    assert told("a", actions) == [HandOver]
    delivery.gone("a")
    assert told("view", [*actions, *run(delivery, "view")]) == [HandOver]


def test_a_drain_ends_a_latest_consumer_although_the_others_have_died() -> None:
    delivery = seated(table(20, 5, 3), "a", credit=1)
    delivery.add("view", cursor=0, latest=True)
    delivery.activate("view", None)
    actions = settle(delivery)
    delivery.drain()
    delivery.gone("a")
    assert told("view", run(delivery, "view", after=actions)) == [HandOver]


# ---- any order of events


@dataclass
class Life:
    """What the model knows of one consumer."""

    latest: bool
    every: int
    credit: int
    cursor: int = 0
    active: bool = False
    told: bool = False
    done: bool = False
    cut: bool = False  # told to stop at the end of its chunk
    stop: int = 0
    expected: int = 0
    announced: int = 0
    held: dict[int, int] = field(default_factory=dict)  # frame → slot
    lent: set[int] = field(default_factory=set)  # of these, kept beyond their callbacks
    alone: int = 0  # frames before this one come one at a time
    without: set[int] = field(default_factory=set)


class Streaming(RuleBasedStateMachine):
    """A reader's world, in which everything may happen at any time."""

    @initialize(
        shape=st.tuples(st.integers(0, 24), st.integers(1, 7), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6)),
        others=st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(1, 3)), max_size=2),
        every=st.integers(1, 3),
        bad=st.sets(st.integers(0, 23), max_size=3),
        growth=st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(0, 5)),
        repeats=st.just([]) | st.lists(st.booleans(), min_size=24, max_size=24),
    )
    def begin(
        self,
        shape: tuple[int, int, int, int, int],
        others: list[tuple[bool, int, int]],
        every: int,
        bad: set[int],
        growth: tuple[int, int, int],
        repeats: list[bool],
    ) -> None:
        self.frames, self.size, slots, window, readahead = shape
        seats = [(False, every, 2), *others]
        self.slots = slots + sum(latest for latest, _, _ in seats)
        self.bad, self.repeats = bad, repeats
        more, step, self.memory = growth  # slots it may grow by, at once, that the machine has memory for
        self.most = self.slots + more
        numbers = {"window": window, "readahead": readahead, "most": self.most, "step": step}
        self.table = table(self.frames, self.size, self.slots, repeats=repeats, **numbers)
        self.window = window
        self.chunks = self.table.chunks
        self.lives: dict[str, Life] = {}
        for number, (latest, n, most) in enumerate(seats):
            credit = max(1, min(most, self.slots - 1))
            self.lives[f"c{number}"] = Life(latest, n, credit)
            self.table.add(f"c{number}", cursor=0, latest=latest, every=n, credit=credit)
        self.loading: dict[int, tuple[int, int | None]] = {}  # frame → its slot, the slot that is copied from
        self.content: dict[int, int] = {}  # slot → the frame that was put there
        self.draining = False
        for name in self.lives:
            self.activate(name, None)

    # ---- what the table does is checked as it is said

    def step(self) -> int:
        count = 0
        for action in self.table.step():
            count += 1
            if isinstance(action, Grow):
                self.grow(action)
            elif isinstance(action, Load):
                self.see_load(action)
            elif isinstance(action, Send):
                self.see_send(action)
            elif isinstance(action, EndChunk):
                self.see_end_of_chunk(action)
            else:
                self.see_end(action)
        return count

    def grow(self, action: Grow) -> None:
        used = {slot for slot, _ in self.loading.values()} | {
            s for life in self.lives.values() for s in life.held.values()
        }
        assert used or self.table.slots_in_use == self.slots, "it grows while slots are free"
        assert 0 < action.slots <= self.most - self.slots
        granted = min(action.slots, self.memory)
        self.memory -= granted
        self.slots += granted
        self.table.grown(granted)

    def see_load(self, load: Load) -> None:
        assert load.frame not in self.loading
        assert 0 <= load.slot < self.slots
        assert all(load.slot not in life.held.values() for life in self.lives.values()), "leased"
        assert load.slot not in {slot for slot, _ in self.loading.values()}, "being filled"
        assert load.slot not in {source for _, source in self.loading.values()}, "being copied from"
        if load.source is not None:
            assert self.repeats[load.frame]
            assert self.content[load.source] == load.frame - 1
        self.content[load.slot] = load.frame
        self.loading[load.frame] = (load.slot, load.source)
        assert len(self.loading) <= self.window

    def see_send(self, send: Send) -> None:
        life = self.lives[send.consumer]
        assert life.active
        assert not life.told
        assert send.frame not in self.loading
        assert self.content[send.slot] == send.frame
        assert send.frame % life.every == 0
        assert life.announced * self.size <= send.frame < life.stop
        assert life.expected <= send.frame
        if not life.latest:
            assert send.frame == self.next_wanted(life)
        life.expected = send.frame + 1
        assert send.frame not in life.without
        if not life.latest:
            assert send.frame < life.alone or life.cursor * self.size >= life.alone, "before the trial's commit"
        if life.latest or send.frame < life.alone:
            assert set(life.held) == life.lent, "not one at a time"
        life.held[send.frame] = send.slot
        assert len(life.held) <= life.credit

    def see_end_of_chunk(self, end: EndChunk) -> None:
        life = self.lives[end.consumer]
        assert life.active
        assert not life.told
        assert end.chunk == life.announced
        life.announced += 1
        assert life.announced * self.size < life.stop + self.size
        if not life.latest:
            assert self.next_wanted(life) >= min(life.announced * self.size, self.frames)

    def see_end(self, end: HandOver | End) -> None:
        life = self.lives[end.consumer]
        assert life.active
        assert not life.told
        assert isinstance(end, End) == (life.cursor == self.chunks)
        assert life.cursor == life.announced
        assert life.cut or life.cursor * self.size >= life.stop
        life.told = True

    def next_wanted(self, life: Life) -> int:
        wanted = range(life.expected, self.frames)
        left_out = self.bad | life.without
        return next((f for f in wanted if f % life.every == 0 and f not in left_out), self.frames)

    # ---- what may happen

    @rule()
    def the_table_decides(self) -> None:
        self.step()

    @precondition(lambda self: self.loading)
    @rule(data=st.data())
    def a_load_ends(self, data: st.DataObject) -> None:
        self.end_load(data.draw(st.sampled_from(sorted(self.loading))))

    def end_load(self, frame: int) -> None:
        slot, _ = self.loading.pop(frame)
        if frame not in self.bad:
            self.table.loaded(frame)
            assert self.table.slot(frame) == slot
            return
        self.table.failed(frame)
        for other, (place, source) in self.loading.items():
            if source == slot and other == frame + 1:
                self.loading[other] = (place, None)  # there is nothing to copy: it is decoded anew

    @precondition(lambda self: any(life.held for life in self.lives.values()))
    @rule(data=st.data())
    def a_consumer_releases(self, data: st.DataObject) -> None:
        held = [(name, frame) for name, life in self.lives.items() for frame in life.held]
        self.release(*data.draw(st.sampled_from(held)))

    def release(self, name: str, frame: int) -> None:
        assert self.table.release(name, frame)
        del self.lives[name].held[frame]
        self.lives[name].lent.discard(frame)
        assert not self.table.release(name, frame)
        assert not self.table.lent(name, frame)

    @precondition(lambda self: any(life.held for life in self.lives.values()))
    @rule(data=st.data())
    def a_consumer_keeps_a_frame(self, data: st.DataObject) -> None:
        held = [(name, frame) for name, life in self.lives.items() for frame in life.held]
        name, frame = data.draw(st.sampled_from(held))
        assert self.table.lent(name, frame)
        self.lives[name].lent.add(frame)

    @rule(number=st.integers(0, 2), chunk=st.none() | st.integers(-1, 8))
    def a_consumer_commits(self, number: int, chunk: int | None) -> None:
        name = f"c{number % len(self.lives)}"
        life = self.lives[name]
        chunk = life.cursor if chunk is None else chunk
        good = life.active and chunk == life.cursor and chunk < life.announced
        assert self.table.committed(name, chunk) is good
        life.cursor += good
        assert self.table.cursor(name) == life.cursor

    @rule(number=st.integers(0, 2), chunks=st.none() | st.integers(1, 4), alone=st.booleans())
    def a_generation_begins(self, number: int, chunks: int | None, alone: bool) -> None:  # noqa: FBT001 - drawn
        name = f"c{number % len(self.lives)}"
        if not self.lives[name].active and not self.lives[name].done:
            self.activate(name, chunks, alone=alone)

    def activate(self, name: str, chunks: int | None, *, alone: bool = False) -> None:
        life = self.lives[name]
        life.alone = min(self.frames, (life.cursor + 1) * self.size) if alone else 0
        life.active, life.told, life.cut = True, False, self.draining
        life.announced = life.cursor
        life.expected = life.cursor * self.size
        life.stop = self.frames if chunks is None else min(self.frames, (life.cursor + chunks) * self.size)
        self.table.activate(name, chunks, alone=alone)

    @rule(number=st.integers(0, 2), quarantine=st.booleans())
    def a_process_ends(self, number: int, quarantine: bool) -> None:  # noqa: FBT001 - drawn
        """One that ended on trial is judged by the frame that it was at, which may be left out from then on."""
        name = f"c{number % len(self.lives)}"
        life = self.lives[name]
        if not life.active:
            return
        at = [frame for frame in life.held if frame not in life.lent and frame < life.alone]
        assert self.table.on_trial(name) == min(at, default=None)
        assert life.latest or len(at) <= 1
        if at and quarantine:
            self.table.leave_out(name, at[0])
            life.without.add(at[0])
        self.end_process(name)

    def end_process(self, name: str) -> None:
        self.table.gone(name)
        self.lives[name].active = False
        self.lives[name].held.clear()
        self.lives[name].lent.clear()
        assert self.table.holds(name) == 0

    @rule(number=st.integers(0, 2))
    def a_consumer_closes(self, number: int) -> None:
        name = f"c{number % len(self.lives)}"
        life = self.lives[name]
        good = life.told and life.cursor == self.chunks
        assert self.table.closed(name) is good
        life.done |= good

    @rule(number=st.integers(0, 2))
    def a_generation_is_retired(self, number: int) -> None:
        name = f"c{number % len(self.lives)}"
        self.table.retire(name)
        self.stop_soon(self.lives[name])

    def stop_soon(self, life: Life) -> None:
        """Bound what a generation may still get: the chunk it is in."""
        life.stop = min(life.stop, (life.announced + 1) * self.size)
        life.cut = True

    @precondition(lambda self: not self.draining)
    @rule(sure=st.integers(0, 4))
    def the_run_is_drained(self, sure: int) -> None:
        if sure == 0:
            self.table.drain()
            self.draining = True
            for life in self.lives.values():
                self.stop_soon(life)

    @rule(number=st.integers(1, 2), sure=st.integers(0, 4))
    def a_consumer_is_given_up(self, number: int, sure: int) -> None:
        if sure == 0 and number < len(self.lives):
            name = f"c{number}"
            self.table.drop(name)
            self.lives[name].active, self.lives[name].done = False, True
            self.lives[name].held.clear()
            self.lives[name].lent.clear()

    # ---- what always holds

    @invariant()
    def no_slot_is_held_by_two_frames(self) -> None:
        where = {slot: frame for life in self.lives.values() for frame, slot in life.held.items()}
        assert all(where[slot] == frame for life in self.lives.values() for frame, slot in life.held.items())
        filling = {slot for slot, _ in self.loading.values()}
        assert len(filling) == len(self.loading)
        assert not filling & set(where)
        assert len(filling | set(where)) <= self.table.slots_in_use <= self.slots

    # ---- and in the end

    def teardown(self) -> None:
        if hasattr(self, "lives"):
            self.finish()

    def finish(self) -> None:
        """Let everything take its course: whatever happened before, the run comes to its end."""
        for _ in range(20 * (self.frames + 10)):
            busy = self.step()
            for frame in sorted(self.loading):
                self.end_load(frame)
            for name, life in self.lives.items():
                busy += self.carry_on(name, life)
            if self.table.finished or (self.draining and self.table.idle):
                break
        assert self.table.idle if self.draining else self.table.finished, "the run does not end"
        self.no_slot_is_held_by_two_frames()
        if self.table.finished:
            assert all(self.table.cursor(name) == self.chunks for name in self.lives if not self.given_up(name))

    def carry_on(self, name: str, life: Life) -> int:
        for frame in list(life.held):
            self.release(name, frame)
        while life.active and life.cursor < life.announced:
            assert self.table.committed(name, life.cursor)
            life.cursor += 1
        if life.told and life.active:
            if life.cursor == self.chunks and not life.done:
                assert self.table.closed(name)
                life.done = True
            self.end_process(name)
        if not life.active and not life.done and not self.draining:
            self.activate(name, 1)
        return int(life.active)

    def given_up(self, name: str) -> bool:
        return self.lives[name].done and self.lives[name].cursor < self.chunks


TestStreaming = Streaming.TestCase
TestStreaming.settings = settings(
    deadline=None,
    max_examples=120,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_a_consumer_that_comes_a_little_later_makes_nothing_be_loaded_twice() -> None:
    """One that takes every third frame is there first; it does not fill the pool with thirds alone."""
    delivery = Delivery(40, 5, 10, window=17, readahead=34)
    delivery.add("all", cursor=0, credit=9)
    delivery.add("third", cursor=0, credit=9, every=3)
    delivery.activate("third", None)
    loaded = [action.frame for action in delivery.step() if isinstance(action, Load)]
    assert loaded == list(range(10))
    for frame in loaded:
        delivery.loaded(frame)
    delivery.activate("all", None)
    while not delivery.finished:
        for action in list(delivery.step()):
            if isinstance(action, Load):
                delivery.loaded(action.frame)
            elif isinstance(action, Send):
                delivery.release(action.consumer, action.frame)
            elif isinstance(action, EndChunk):
                delivery.committed(action.consumer, action.chunk)
            elif isinstance(action, End):
                delivery.closed(action.consumer)
    assert delivery.loads == 40
