"""Recordings whose trials are known: each way to mark them finds them, and gives what hand-cut recordings do."""

from __future__ import annotations

import csv
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import streamer
from streamer.errors import RecordingError
from tests.pipeline.driver import Run, digests, run
from tests.pipeline.trials import MS, ORIGIN, WAYS, S, Trials, configured, make_trials

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.runtime.prepare import Prepared


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return make_trials(tmp_path_factory.mktemp("trials") / "day.1", 12)


def prepare(folder: Path, trials: Trials, episodes: dict[str, Any]) -> Prepared:
    (folder / "config.yaml").write_text(yaml.safe_dump(configured(trials.path, episodes, {"null": {}})))
    with streamer.open(folder / "config.yaml").prepared(trials.path) as prepared:
        return prepared


def found(prepared: Prepared) -> list[tuple[int, int, str, str]]:
    assert prepared.cut is not None
    return [(e.start, e.end, e.task, e.label) for e in prepared.cut.episodes]


def right(trials: Trials) -> list[tuple[int, int, str, str]]:
    return [(t.start, t.end, t.task, t.label) for t in trials.trials]


@pytest.mark.parametrize("way", WAYS)
def test_markers_of_every_kind_find_the_same_trials_with_tasks_and_labels(
    tmp_path: Path, trials: Trials, way: str
) -> None:
    assert found(prepare(tmp_path, trials, WAYS[way])) == right(trials)


def written(trials: Trials, *, absolute: bool) -> str:
    """Write the truth as a table, with seconds from the beginning or times of the day."""

    def shown(at: int) -> str:
        if absolute:
            return f"{datetime.fromtimestamp(at // S, UTC):%Y-%m-%dT%H:%M:%S}.{at % S:09d}+00:00"
        return f"{(at - ORIGIN) // S}.{(at - ORIGIN) % S:09d}"

    first = min(m.stamp for m in trials.messages)
    assert first == ORIGIN
    rows = [f"day.1,{shown(t.start)},{shown(t.end)},{t.task},{t.label}" for t in trials.trials]
    return "\n".join(["recording,start,end,task,label", *rows, "other,1,2,no,no"])


def test_tables_with_seconds_or_times_of_day_and_pauses_find_them_too(tmp_path: Path, trials: Trials) -> None:
    for absolute in (False, True):
        (tmp_path / "trials.csv").write_text(written(trials, absolute=absolute))
        assert found(prepare(tmp_path, trials, {"windows": "trials.csv"})) == right(trials)
    pauses = found(prepare(tmp_path, trials, {"gap": "300 ms", "task": "wipe"}))
    pictures = [trial.pictures() for trial in trials.trials]
    assert pauses == [(shown[0], shown[-1] + 1, "wipe", "") for shown in pictures]
    rests = found(prepare(tmp_path, trials, {"still": {"stream": "joints", "below": 0.05, "for": "300 ms"}}))
    assert len(rests) == len(trials.trials)
    for (start, end, _, _), trial in zip(rests, trials.trials, strict=True):
        assert abs(start - trial.start) <= 60 * MS
        assert abs(end - trial.end) <= 60 * MS


def test_idle_ends_are_cut_off_and_what_is_too_short_then_is_left_out(tmp_path: Path, trials: Trials) -> None:
    trim = {"still": "joints", "below": 0.05}
    wide = "\n".join(f"{(t.start - ORIGIN) / S - 0.3},{(t.end - ORIGIN) / S + 0.3}" for t in trials.trials)
    (tmp_path / "wide.csv").write_text(f"start,end\n{wide}")
    prepared = prepare(tmp_path, trials, {"windows": "wide.csv", "trim": trim, "min": "350 ms"})
    long = [t for t in trials.trials if t.end - t.start > 420 * MS]
    short = [t for t in trials.trials if t.end - t.start < 280 * MS]
    starts = [start for start, *_ in found(prepared)]
    assert all(any(abs(start - t.start) <= 60 * MS for start in starts) for t in long)
    assert not any(abs(start - t.start) <= 60 * MS for start in starts for t in short)
    assert long
    assert short


def test_what_is_no_episode_is_told_before_a_run_and_refused_where_that_is_wanted(
    tmp_path: Path, trials: Trials
) -> None:
    (tmp_path / "odd.csv").write_text("start,end\n1,2\n1.5,2.5\n3,3\n4,3.5\n5,5.1\n")
    odd = {"windows": "odd.csv", "min": "200 ms"}
    told = prepare(tmp_path, trials, odd)
    assert [(e[0] - ORIGIN) / S for e in found(told)] == [1.0]
    for text in (
        "at 1.500 s: an episode begins 500 ms before the one in front of it ends; it is left out",
        "at 3.000 s: an episode is empty, it ends where it begins; it is left out",
        "at 4.000 s: an episode is empty, it ends 500 ms before it begins; it is left out",
        "at 5.000 s: an episode is 100 ms long, less than 200 ms; it is left out",
    ):
        assert text in told.warnings
    kept = prepare(tmp_path, trials, odd | {"unfinished": "keep"})
    assert [(e[0] - ORIGIN) / S for e in found(kept)] == [1.0, 1.5]
    with pytest.raises(RecordingError, match=r"1\.5 s from the beginning, an episode begins 500 ms before"):
        prepare(tmp_path, trials, odd | {"unfinished": "error"})
    (tmp_path / "other.csv").write_text("recording,start,end\nmonday,1,2\n")
    nothing = prepare(tmp_path, trials, {"windows": "other.csv"})
    assert "at 0.000 s: no row of the table is of day.1; there are some of: monday" in nothing.warnings
    assert "it has no episode: nothing is streamed" in nothing.warnings


def test_a_file_beside_the_recording_or_the_configuration_tells_what_markers_do_not(
    tmp_path: Path, trials: Trials
) -> None:
    beside = trials.path.with_name("day.1.yaml")
    beside.write_text("[reach, {task: grasp, label: success}]")
    way = {"gap": "300 ms", "task": "rest"}
    texts = [
        (task, label) for _, _, task, label in found(prepare(tmp_path, trials, way | {"task_file": "{recording}.yaml"}))
    ]
    assert texts == [("reach", ""), ("grasp", "success"), *[("rest", "")] * 10]
    (tmp_path / "tasks.csv").write_text("recording,number,task\nday.1,,sweep\nday.1,3,dust\n")
    texts = [e[2:] for e in found(prepare(tmp_path, trials, way | {"task_file": "tasks.csv"}))]
    assert texts == [(("dust" if number == 3 else "sweep"), "") for number in range(12)]
    (tmp_path / "tasks.csv").write_text("recording,task\nmonday,sweep\n")
    told = prepare(tmp_path, trials, way | {"task_file": "tasks.csv"}).warnings
    assert "at 0.000 s: the file of tasks has none for day.1; it has some for: monday" in told
    own = {"from": WAYS["texts"]["from"], "task_file": "tasks.csv"}
    assert found(prepare(tmp_path, trials, own)) == right(trials)


def cut_by(folder: Path, config: dict[str, Any], table: str) -> dict[str, list[tuple[float, float, str]]]:
    """Return, by the folder that a recording lies in, the windows that a table gives it."""
    (folder / "trials.csv").write_text(table)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    opened = streamer.open(folder / "config.yaml")
    seen = {}
    for path in opened.paths():
        with opened.prepared(path) as prepared:
            seen[path.parent.name] = [((s - ORIGIN) / S, (e - ORIGIN) / S, task) for s, e, task, _ in found(prepared)]
    return seen


def test_tables_tell_recordings_of_one_name_from_each_other(tmp_path: Path, trials: Trials) -> None:
    paths = [tmp_path / day / "x" for day in ("monday", "tuesday")]
    for path in paths:
        path.parent.mkdir()
        shutil.copytree(trials.path, path)
    config = configured(trials.path, {"windows": "trials.csv"}, {"null": {}})
    config["source"] = {"path": [str(path) for path in paths]}
    head = "recording,start,end,task\n"
    for first, second in (("x", "x-2"), ("monday/x", "tuesday/x"), (str(paths[0]), str(paths[1]))):
        seen = cut_by(tmp_path, config, f"{head}{first},1,2,a\n{second},3,4,b\n")
        assert seen == {"monday": [(1.0, 2.0, "a")], "tuesday": [(3.0, 4.0, "b")]}
    assert cut_by(tmp_path, config, f"{head}x,1,2,a\n") == {"monday": [(1.0, 2.0, "a")], "tuesday": []}
    with Run(tmp_path, "episodes", *map(str, paths), "--write", "both.csv") as asked:
        done = asked.end()
    assert done.code == 0, done
    assert "x-2: " in done.out
    rows = list(csv.DictReader((tmp_path / "both.csv").read_text().splitlines()))
    assert [row["recording"] for row in rows] == ["x"] * len(trials.trials) + ["x-2"] * len(trials.trials)
    both = cut_by(tmp_path, config, (tmp_path / "both.csv").read_text())
    times = [((t.start - ORIGIN) / S, (t.end - ORIGIN) / S) for t in trials.trials]
    assert [[window[:2] for window in windows] for windows in both.values()] == [times, times]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fifty_trials_have_the_digests_of_fifty_hand_cut_recordings_however_they_are_marked(tmp_path: Path) -> None:
    trials = make_trials(tmp_path / "whole", 50, seed=7)
    trials.hand_cut(tmp_path / "cut")
    sums = {"sums": {"use": "checksum", "options": {"out": "sums/{recording}.json"}}}
    config = configured(tmp_path / "cut" / "cut-*", {}, sums, jobs=2)
    del config["episodes"]
    assert run(tmp_path / "hand", config).code == 0
    truth = [digests(tmp_path / "hand" / "sums" / f"cut-{n:03d}.json") for n in range(50)]
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "trials.csv").write_text(written(trials, absolute=False).replace("day.1", "whole"))
    ways: dict[str, dict[str, Any]] = WAYS | {"table": {"windows": "trials.csv"}, "pauses": {"gap": "300 ms"}}
    for way, episodes in ways.items():
        own = {"sums": {"use": "checksum", "options": {"out": "sums/{episode}.json"}, "recycle": {"chunks": 7}}}
        done = run(tmp_path / way, configured(trials.path, episodes, own))
        assert done.code == 0, done
        assert [digests(tmp_path / way / "sums" / f"{name}.json") for name in trials.names] == truth, way
