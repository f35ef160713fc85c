"""What a page is told: patches that make the state of before the state of now, a few at a time, and few bytes."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from streamer.ingest.patches import States, difference, step
from tests.ingest import snapshots

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, Any]


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch: the pseudocode of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def made(chance: random.Random, depth: int = 3) -> State:
    """Return nested values without None."""
    leaves: list[Callable[[], Any]] = [
        lambda: chance.randint(0, 3),
        lambda: "abc"[: chance.randint(0, 3)],
        lambda: [1, 2],
    ]
    return {
        key: made(chance, depth - 1) if depth and chance.random() < 0.4 else chance.choice(leaves)()
        for key in chance.sample("abcdefgh", chance.randint(0, 6))
    }


def test_a_patch_makes_the_state_of_before_the_state_of_now() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    for _ in range(500):
        before, now = made(chance), made(chance)
        assert merge_patch(before, json.loads(json.dumps(difference(before, now)))) == now
        assert difference(now, now) == {}
        assert difference(now, json.loads(json.dumps(now))) == {}


def test_of_many_rows_a_few_are_told_at_a_time_and_those_that_need_a_look_first() -> None:
    rows = [snapshots.recording(number, "queued") for number in range(400)]
    seen = States().take(snapshots.idle(recordings=rows[:200]))
    changed = [one | {"state": "done"} for one in rows[:200]] + rows[200:]
    changed[120] = changed[120] | {"state": "quarantined"}
    now = States().take(snapshots.idle(recordings=changed[5:], jobs=9))
    told, page = [], seen
    while seen != now:
        patch, seen = step(seen, now, 4000)
        page = merge_patch(page, json.loads(json.dumps(patch)))
        assert page == seen
        told.append(patch)
    assert len(told) > 10
    assert max(len(json.dumps(patch)) for patch in told) < 4500
    assert told[0]["head"]["jobs"] == 9
    assert "#120" in told[0]["rows"]
    assert step(seen, now, 4000) == ({}, now)


def test_a_row_larger_than_what_may_be_told_is_told_alone() -> None:
    now = States().take(snapshots.idle(recordings=[snapshots.recording(n, "queued", path="x" * 999) for n in (1, 2)]))
    patch, seen = step(States().take(snapshots.idle()), now, 10)
    assert len(patch["rows"]) == len(seen["rows"]) == 1


def test_a_state_holds_no_peak_below_what_is_held_and_no_curves() -> None:
    run = snapshots.run(1)
    run["status"]["memory"]["reader"]["anon"] = 99_000_000
    state = States().take(snapshots.idle(running=[run, snapshots.run(2, status={})]))
    reader = state["running"]["#1"]["memory"]["reader"]
    assert reader["peak"] == reader["anon"] == 99_000_000
    assert state["running"]["#1"]["memory"]["dataset"]["peak"] == 87_000_000
    assert "points" not in json.dumps(state)


def test_a_row_that_did_not_change_is_not_made_again() -> None:
    states, row = States(), snapshots.recording(1, "queued")
    first, second = (states.take(snapshots.idle(recordings=[row])) for _ in range(2))
    assert first["rows"]["#1"] is second["rows"]["#1"]


def test_a_long_error_is_cut_in_the_list() -> None:
    state = States().take(snapshots.idle(recordings=[snapshots.recording(1, "failed", error="x" * 10_000)]))
    assert len(state["rows"]["#1"]["error"]) < 400
