"""One recording, many episodes: each is what a run over a recording of its messages alone would give."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.bags import Message, encoded, header, record
from tests.pipeline.driver import Run, digests, run

if TYPE_CHECKING:
    from pathlib import Path

S = 10**9
ORIGIN = 1_700_000_000 * S
MARKS = [  # (seconds, text); the truth is in WINDOWS
    (0.505, "start: pick the cube"),
    (1.505, "stop success"),
    (2.005, "start: place it"),
    (2.705, "stop failure"),
    (3.105, "start it all"),
    (3.305, "abort"),
    (4.005, "start"),
    (4.505, "start: stack"),
    (5.505, "stop"),
]
WINDOWS = [(0.505, 1.505), (2.005, 2.705), (4.505, 5.505)]


def _messages() -> list[Message]:
    found: list[Message] = []
    for n in range(600):
        stamp = ORIGIN + n * S // 100
        values = {"name": ["a", "b"], "position": [n, 2 * n], "velocity": [], "effort": []}
        late = stamp - 30_000_000  # the header's clock is another than the recorder's
        message = encoded("cdr", "sensor_msgs/msg/JointState", header=header(late), **values)
        found.append(Message("/joints", stamp, message, "sensor_msgs/msg/JointState"))
        if n % 7 == 0:
            slow = encoded("cdr", "std_msgs/msg/Float64", data=float(n))
            found.append(Message("/slow", stamp + 1, slow, "std_msgs/msg/Float64"))
    for seconds, text in MARKS:
        stamp = ORIGIN + round(seconds * S)
        data = encoded("cdr", "std_msgs/msg/String", data=text)
        found.append(Message("/trial", stamp, data, "std_msgs/msg/String"))
    return sorted(found, key=lambda message: message.stamp)


def _config(path: Path, **more: Any) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "joints"},
        "chunk_size": 13,
        "streams": {
            "joints": {"topic": "/joints", "field": "position", "clock": "header"},
            "slow": {"topic": "/slow", "align": "linear", "clock": "receive", "missing": "hold"},
        },
        "consumers": {"sums": {"use": "checksum", "options": {"out": "sums/{recording}.json"}}},
        **more,
    }


BY_MARKERS = {"from": {"topic": "/trial", "start": "start*", "stop": "stop*", "discard": "abort*"}}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a recording, and the digests of a run over each of its episodes as a recording of its own."""
    folder = tmp_path_factory.mktemp("truth")
    messages = _messages()
    for number, (start, end) in enumerate(WINDOWS):
        low, high = (ORIGIN + round(at * S) for at in (start, end))
        record(folder / f"cut-{number}", "mcap", [m for m in messages if low <= m.stamp < high])
    thin = {"use": "checksum", "every": 3, "options": {"out": "thin/{recording}.json"}}
    config = _config(folder / "cut-*")
    done = run(folder, config | {"consumers": config["consumers"] | {"thin": thin}})
    assert done.code == 0, done
    names = [f"cut-{number}.json" for number in range(len(WINDOWS))]
    found = [[digests(folder / kind / name) for name in names] for kind in ("sums", "thin")]
    return record(folder / "whole", "mcap", messages), found[0], found[1]


def test_each_episode_holds_what_a_recording_of_its_messages_alone_does(
    truth: tuple[Path, list[dict[str, Any]], list[dict[str, Any]]], tmp_path: Path
) -> None:
    whole, sums, thin = truth
    marked = {"from": BY_MARKERS["from"] | {"task": "data", "label": "data"}}
    config = _config(whole, episodes=marked)
    config["consumers"] = {
        "sums": {"use": "checksum", "options": {"out": "sums/{episode}.json"}, "recycle": {"chunks": 2}},
        "thin": {"use": "checksum", "every": 3, "options": {"out": "thin/{episode}.json"}},
        "parquet": {"options": {"out": "table"}, "recycle": {"chunks": 3}},
        "dying": {"use": "tests.pipeline.borders:Dying", "options": {"out": "d/{episode}.json", "folder": "marks"}},
    }
    (tmp_path / "marks").mkdir()
    done = run(tmp_path, config)
    assert done.code == 0, done
    names = [f"whole-{number:03d}" for number in range(len(WINDOWS))]
    for kind, right in (("sums", sums), ("thin", thin), ("d", sums)):
        assert [digests(tmp_path / kind / f"{name}.json") for name in names] == right, kind
    marks = {path.name for path in (tmp_path / "marks").iterdir()} - {"opened.txt"}
    assert marks == {
        "whole-000-chunk",
        "whole-000-before close",
        "whole-001-open",
        "whole-001-behind close",
        "whole-002-before close",
    }
    opened = list(dict.fromkeys((tmp_path / "marks" / "opened.txt").read_text().splitlines()))
    assert opened == [
        "whole-000 0 'pick the cube' 'success'",
        "whole-001 1 'place it' 'failure'",
        "whole-002 2 'stack' ''",
    ]
    columns = ["frame", "tick_number", "joints.a"]
    tables = [pq.read_table(tmp_path / "table" / f"{name}.parquet", columns=columns).to_pydict() for name in names]
    for rows, (start, end) in zip(tables, WINDOWS, strict=True):
        first, behind = -(-start * 100 // 1), -(-end * 100 // 1)
        assert rows["joints.a"] == list(range(int(first), int(behind)))
        assert rows["frame"] == rows["tick_number"] == list(range(len(rows["frame"])))
    listed = json.loads((tmp_path / "table" / "_recordings.json").read_text())["recordings"]
    counts = [len(rows["frame"]) for rows in tables]
    assert [(row["name"], row["rows"]) for row in listed] == list(zip(names, counts, strict=True))
    told = [("pick the cube", "success"), ("place it", "failure"), ("stack", "")]
    assert [(row["task"], row["label"]) for row in listed] == told


def test_a_run_that_is_stopped_at_a_border_goes_on_from_there(
    truth: tuple[Path, list[dict[str, Any]], list[dict[str, Any]]], tmp_path: Path
) -> None:
    whole, sums, _ = truth
    config = _config(whole, episodes=BY_MARKERS, chunk_size=1000)
    stopper = {"use": "tests.pipeline.borders:Stopping", "options": {"out": "s/{episode}.json", "folder": "."}}
    config["consumers"] = {"stopping": stopper}
    done = run(tmp_path, config)
    assert done.code == 75, done
    done = run(tmp_path, config, "--resume")
    assert done.code == 0, done
    assert [digests(tmp_path / "s" / f"whole-{number:03d}.json") for number in range(len(WINDOWS))] == sums


def test_outputs_that_episodes_would_write_over_each_other_are_refused(
    truth: tuple[Path, list[dict[str, Any]], list[dict[str, Any]]], tmp_path: Path
) -> None:
    done = run(tmp_path, _config(truth[0], episodes=BY_MARKERS))
    assert done.code == 78
    assert "{episode}" in done.err
    with Run(tmp_path, "check", "config.yaml") as asked:
        checked = asked.end()
    assert checked.code == 78
    assert "put {episode} into it" in checked.out + checked.err


def test_a_lerobot_dataset_has_an_episode_for_each_with_its_task_whoever_was_recycled_when(
    truth: tuple[Path, list[dict[str, Any]], list[dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "trials.csv").write_text("start,end,task\n0.5,1.5,pick\n2,2.7,place\n3,4,\n")
    config = _config(truth[0], episodes={"windows": "trials.csv", "task": "wait"})
    config["timeline"] |= {"rate": "50 Hz"}
    options = {"out": "dataset", "features": {"observation.state": "joints"}, "task": "nothing"}
    config["consumers"] = {"lerobot": {"options": options, "recycle": {"chunks": 2}}}
    done = run(tmp_path, config)
    assert done.code == 0, done
    (table,) = (tmp_path / "dataset" / "meta" / "episodes").glob("*/*.parquet")
    rows = pq.read_table(table, columns=["episode_index", "length", "tasks"]).to_pylist()
    assert [(row["episode_index"], row["length"], row["tasks"]) for row in rows] == [
        (0, 50, ["pick"]),
        (1, 35, ["place"]),
        (2, 50, ["wait"]),
    ]
    (data,) = (tmp_path / "dataset" / "data").glob("*/*.parquet")
    states = [state[0] for state in pq.read_table(data)["observation.state"].to_pylist()]
    truth_of_it = [*range(50, 150, 2), *range(200, 270, 2), *range(300, 400, 2)]
    assert states == truth_of_it
