"""Where a recording is cut: markers, pauses, rests and tables, against episodes that the tests have made up."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.episodes import (
    Condition,
    Event,
    Span,
    between_gaps,
    between_markers,
    between_rests,
    every,
    fired,
    number_spans,
    read_tasks,
    read_windows,
    speeds,
    trimmed,
    write_windows,
)
from streamer.errors import ConfigError

S = 10**9


def test_a_glob_tells_which_texts_mark_and_what_stands_behind_their_word() -> None:
    start = Condition("start*")
    assert start.holds("start: pick up the cube")
    assert not start.holds("restart")
    assert start.rest("start: pick up the cube") == "pick up the cube"
    assert Condition("begin").rest("begin") == "begin"
    assert Condition("trial [0-9]?").holds("trial 12")
    assert not Condition("trial [!0-9]").holds("trial 1")


def test_numbers_mark_where_a_comparison_becomes_true_and_not_while_it_stays_so() -> None:
    pressed = Condition("1")
    assert fired([0, 1, 1, 0, 1], pressed) == [False, True, False, False, True]
    assert fired([True, True, False, False, True], Condition("false")) == [False, False, True, False, False]
    assert fired([0.2, 0.6, 0.4], Condition("> 0.5")) == [False, True, False]
    assert fired(["start", "start"], Condition("start")) == [True, True]
    assert not Condition("start*").of_numbers


def test_one_button_starts_and_stops_in_turn() -> None:
    pressed = fired([0, 1, 0, 1, 0, 1, 0], Condition("1"))
    events = [Event(n * S, starts=on, stops=on) for n, on in enumerate(pressed) if on]
    spans, problems = between_markers(events, 10 * S, stopped=True, unfinished="keep")
    assert [(s.start, s.end) for s in spans] == [(1 * S, 3 * S), (5 * S, 10 * S)]
    assert ["never stopped" in p.text for p in problems] == [True]


@given(
    st.lists(st.tuples(st.sampled_from(["start", "stop", "discard"]), st.integers(1, 5))),
    st.sampled_from(["keep", "drop"]),
)
def test_whatever_the_markers_say_episodes_follow_each_other_and_every_start_is_accounted_for(
    steps: list[tuple[str, int]], unfinished: str
) -> None:
    stamps = np.cumsum([step for _, step in steps]).tolist()
    kinds = [kind for kind, _ in steps]
    events = [
        Event(stamp, starts=kind == "start", stops=kind == "stop", discards=kind == "discard")
        for kind, stamp in zip(kinds, stamps, strict=True)
    ]
    end = (stamps[-1] if stamps else 0) + 1
    spans, problems = between_markers(events, end, stopped=True, unfinished=unfinished)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert all(span.start < span.end <= end for span in spans)
    begun = {span.start for span in spans} | {p.stamp for p in problems}
    assert {stamp for kind, stamp in zip(kinds, stamps, strict=True) if kind == "start"} <= begun
    # the truth, by the words: a start directly in front of a stop (nothing in between counts) is an episode
    words = list(zip(kinds, stamps, strict=True))
    whole = {(a[1], b[1]) for a, b in pairwise(words) if (a[0], b[0]) == ("start", "stop")}
    assert whole <= {(s.start, s.end) for s in spans}
    if unfinished == "drop":
        assert whole == {(s.start, s.end) for s in spans}


def test_pauses_lengths_and_short_ends_are_as_asked_for() -> None:
    stamps = np.array([0, 1, 2, 10, 11, 30]) * S
    assert [(s.start, s.end) for s in between_gaps(stamps, 2 * S)] == [
        (0, 2 * S + 1),
        (10 * S, 11 * S + 1),
        (30 * S, 30 * S + 1),
    ]
    assert [(s.start, s.end) for s in every(5, 5 + 25, 10)] == [(5, 15), (15, 25), (25, 30)]
    cut = number_spans([Span(0, 5), Span(4, 4), Span(6, 20), Span(18, 30)], [], 6)
    assert [(e.number, e.start) for e in cut.episodes] == [(0, 6), (1, 18)]
    words = ["long, less than", "is empty, it ends where it begins", "before the one in front of it ends"]
    assert [text in problem.text for problem, text in zip(cut.problems, words, strict=True)] == [True] * 3
    assert cut.problems[2].text.endswith("it is kept")
    assert all(problem.severe for problem in cut.problems)
    nested = number_spans([Span(0, 50), Span(10, 20), Span(30, 60), Span(50, 70)], [], 6, "drop")
    assert [(e.number, e.start) for e in nested.episodes] == [(0, 0), (1, 50)]
    assert [p.stamp for p in nested.problems] == [10, 30]


def test_a_robot_that_rests_between_trials_is_cut_there_and_its_idle_ends_are_cut_off() -> None:
    stamps = np.arange(0, 20 * S, S // 100)
    seconds = stamps / S
    moving = ((seconds >= 2) & (seconds < 6)) | ((seconds >= 10) & (seconds < 15))
    angle = np.cumsum(np.where(moving, 0.01, 0.0))  # 1 rad/s
    noise = np.random.default_rng(3).normal(0, 1e-5, (len(stamps), 2))
    values = np.stack([angle, -angle], axis=1) + noise
    speed = speeds(stamps, values)
    found = between_rests(stamps, speed, below=0.1, lasting=S)
    edges = [edge / S for span in found for edge in (span.start, span.end)]
    assert edges == pytest.approx([2, 6, 10, 15], abs=0.06)
    spans, problems, idle = trimmed([Span(0, 8 * S), Span(7 * S, 9 * S)], stamps, speed, below=0.1)
    assert [spans[0].start / S, spans[0].end / S] == pytest.approx([2, 6], abs=0.06)
    assert [(p.stamp, p.until) for p in problems] == [(7 * S, 9 * S)]
    assert [edge / S for ends in idle for edge in ends] == pytest.approx([0, 2, 6, 8], abs=0.06)


def test_a_table_that_was_written_reads_back_to_the_nanosecond(tmp_path: Path) -> None:
    begins = 1_700_000_000_123_456_789
    cut = number_spans(
        [Span(begins + 1, begins + S, "pick, place", "success"), Span(begins + 2 * S, begins + 3 * S)], [], 0
    )
    path = tmp_path / "trials.csv"
    write_windows(path, [("a", begins, cut.episodes), ("b", 0, [])])
    found, others = read_windows(path, {"a", "a.mcap"}, begins)
    assert others == []
    assert [(s.start, s.end, s.task, s.label) for s in found] == [
        (e.start, e.end, e.task, e.label) for e in cut.episodes
    ]
    assert read_windows(path, {"b"}, begins) == ([], ["a"])
    path.write_text("recording,start,end\na.mcap,1,2\n")
    assert len(read_windows(path, {"a", "a.mcap"}, begins)[0]) == 1
    path.write_text("start,end\n1970-01-01T00:00:05Z,6.5\n")
    assert [(s.start, s.end) for s in read_windows(path, {"c"}, 0)[0]] == [(5 * S, 6_500_000_000)]
    path.write_text("start,end\nsoon,6.5\n")
    with pytest.raises(ConfigError, match="row 2"):
        read_windows(path, {"c"}, 0)


TASK_FILES = {
    "all.txt": ("pick the\n  cube\n", [("pick the cube", ""), ("pick the cube", "")]),
    "both.yaml": ("{task: pick, label: true}", [("pick", "success"), ("pick", "success")]),
    "a.json": ('{"a": "pick", "b": "place"}', [("pick", ""), ("pick", "")]),
    "deep.yml": (
        "a: {task: pick}\na-001: {label: failure}\nb: [one, two]",
        [("pick", ""), ("pick", "failure")],
    ),
    "list.yaml": ("[pick, {task: place, label: partly}]", [("pick", ""), ("place", "partly")]),
    "own.yaml": ("a.bag: [pick, place]", [("pick", ""), ("place", "")]),
    "rows.csv": (
        "recording,number,task,label\na,,pick,\na,1,,failure\nb,0,other,",
        [("pick", ""), ("pick", "failure")],
    ),
    "plain.csv": ("task\npick\n", [("pick", ""), ("pick", "")]),
}


@pytest.mark.parametrize("name", TASK_FILES)
def test_a_file_tells_task_and_label_of_all_episodes_or_of_each(tmp_path: Path, name: str) -> None:
    text, right = TASK_FILES[name]
    (tmp_path / name).write_text(text)
    tasks = read_tasks(tmp_path / name, {"a", "a.bag"})
    assert [tuple(tasks.of(number)) for number in range(2)] == right
    assert not tasks.others


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.yaml", "a: 5", "5 is no task"),
        ("t.yaml", "a: {text: pick}", "is no task"),
        ("t.yaml", "a: [", "no YAML"),
        ("t.csv", "recording\na\n", "no column task"),
        ("t.csv", "number,task\nfirst,pick\n", "'first' is no episode's number"),
    ],
)
def test_a_file_of_tasks_that_makes_no_sense_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_tasks(tmp_path / name, {"a"})


def test_a_file_of_tasks_for_other_recordings_says_for_which(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("b: pick\nc-001: place")
    (tmp_path / "t.csv").write_text("recording,task\nb,pick\n")
    assert read_tasks(tmp_path / "t.yaml", {"a"}).others == ["b", "c-001"]
    assert set(read_tasks(tmp_path / "t.csv", {"a"}).others) == {"b"}
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tasks(tmp_path / "missing.txt", {"a"})
