"""Episodes that are left out for their quality: in no output, whoever dies or is recycled when; told in the report."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
import zarr

import streamer
from tests.bags import IMAGE, JOINTS, START, Message, encoded, header, record
from tests.pipeline.driver import Finished, Run, digests, run
from tests.videos import FOXGLOVE, PERIOD, decoded, encode, pictures, video

if TYPE_CHECKING:
    from numpy.typing import NDArray

S = 10**9
ORIGIN = 1_700_000_000 * S
EPISODES = 6  # of a second each
BLACK, LOST = 3, 4  # in one it is dark, in one the joints are silent for 300 ms
GOOD = [n for n in range(EPISODES) if n not in {BLACK, LOST}]
LIMITS = {"max_gap": "150 ms", "black": 20}


def _second(number: int) -> list[Message]:
    found = []
    for n in range(20):
        stamp = ORIGIN + number * S + n * S // 20
        value = 3 if number == BLACK else 100 + n
        pixels = np.full(32 * 32, value, np.uint8)
        fields = {"header": header(stamp), "height": 32, "width": 32, "encoding": "mono8", "step": 32}
        found.append(Message("/head", stamp, encoded("cdr", IMAGE, data=pixels, **fields), IMAGE))
        if number == LOST and 8 <= n < 14:
            continue
        arm = encoded("cdr", JOINTS, header=header(stamp), name=["a"], position=[float(100 * number + n)])
        found.append(Message("/arm", stamp, arm, JOINTS))
    return found


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    messages = [message for number in range(EPISODES) for message in _second(number)]
    return record(tmp_path_factory.mktemp("quality") / "whole", "mcap", messages)


def _config(path: Path, on_low: str, consumers: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "head"},
        "chunk_size": 7,
        "episodes": {"every": "1 s"},
        "quality": {**LIMITS, "on_low": on_low},
        "streams": {"head": {"topic": "/head"}, "arm": {"topic": "/arm", "field": "position"}},
        "consumers": consumers,
    }


SUMS = {"sums": {"use": "checksum", "options": {"out": "sums/{episode}.json"}}}


@pytest.fixture(scope="module")
def truth(day: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], Finished]:
    """Return the digests of every episode, and the run that flagged some of them."""
    folder = tmp_path_factory.mktemp("flagged")
    done = run(folder, _config(day, "flag", SUMS))
    assert done.code == 0, done
    return {path.stem: digests(path) for path in (folder / "sums").iterdir()}, done


def _told(report: dict[str, Any]) -> list[tuple[int, int, str, list[tuple[str, str, int, int]]]]:
    return [
        (
            e["number"],
            e["frames"],
            e["verdict"],
            [(r["limit"], r["stream"], r["count"], r["total"]) for r in e["reasons"]],
        )
        for e in report["episodes"]
    ]


def test_what_is_flagged_is_written_and_told_with_its_counts(truth: tuple[dict[str, Any], Finished]) -> None:
    sums, done = truth
    assert sorted(sums) == [f"whole-{n:03d}" for n in range(EPISODES)]
    low = {BLACK: [("black", "head", 5, 5)], LOST: [("max_gap", "arm", 1, 15)]}
    assert _told(done.report) == [(n, 20, "flagged" if n in low else "kept", low.get(n, [])) for n in range(EPISODES)]
    lines = done.out.splitlines()
    assert "  episodes: 4 kept, 2 flagged" in lines
    assert "  episode 4 is flagged: arm: a pause of 350 ms, longer than 150 ms" in lines
    with Run(done.folder, "report") as asked:
        shown = asked.end().out
    assert "whole-004 is flagged: arm: a pause of 350 ms, longer than 150 ms" in shown


@pytest.mark.parametrize("on_low", ["flag", "drop"])
def test_a_check_says_before_what_the_run_says_after(day: Path, tmp_path: Path, on_low: str) -> None:
    done = run(tmp_path, _config(day, on_low, SUMS))
    with Run(tmp_path, "check", "config.yaml", "--json") as checking:
        checked = json.loads(checking.end().out)
    assert [one["frames"] for one in checked["recordings"]] == [done.report["frames"]["delivered"]]
    told = [finding["message"] for finding in checked["findings"]]
    for line in done.out.splitlines():
        if line.startswith("  episode "):
            assert any(line.strip() in warning for warning in told), (line, told)
    with Run(tmp_path, "check", "config.yaml", "--quick") as checking:
        assert "quality was not looked at (--quick)" in checking.end().out


TOLD = {
    BLACK: "head: 100 % (5 of 5) of its pictures black (brightness down to 3, below 20), more than 10 %",
    LOST: "arm: a pause of 350 ms, longer than 150 ms",
}


def test_outputs_say_which_of_their_episodes_are_flagged_and_why(day: Path, tmp_path: Path) -> None:
    features = {"observation.state": "arm"}
    consumers: dict[str, Any] = {
        "parquet": {"options": {"out": "table"}, "recycle": {"chunks": 2}},
        "csv": {"options": {"out": "lines"}},
        "zarr": {"options": {"out": "groups"}},
        "lerobot": {"options": {"out": "dataset", "features": features, "task": "nothing"}},
        "telling": {"use": "tests.pipeline.probes:Flags", "options": {"file": "told.txt"}},
    }
    config = _config(day, "flag", consumers)
    config["timeline"]["rate"] = "20 Hz"
    done = run(tmp_path, config)
    assert done.code == 0, done
    right = [TOLD.get(n, "") for n in range(EPISODES)]
    for folder in ("table", "lines"):
        listed = json.loads((tmp_path / folder / "_recordings.json").read_text())["recordings"]
        assert [row.get("flagged", "") for row in listed] == right
    group: Any = dict(zarr.open_group(tmp_path / "groups", mode="r").attrs)
    assert [row.get("flagged", "") for row in group["recordings"]] == right
    names = [f"whole-{n:03d}" for n in range(EPISODES)]
    origins = [json.loads((tmp_path / "lines" / f"{name}.csv.json").read_text())["provenance"] for name in names]
    assert [origin.get("flagged", "") for origin in origins] == right
    files = [pq.read_schema(tmp_path / "table" / f"{name}.parquet").metadata for name in names]
    assert [json.loads(about[b"provenance"]).get("flagged", "") for about in files] == right
    (table,) = (tmp_path / "dataset" / "meta" / "episodes").glob("*/*.parquet")
    assert pq.read_table(table)["flagged"].to_pylist() == [text or None for text in right]
    assert (tmp_path / "told.txt").read_text().splitlines() == right


def test_what_is_dropped_is_in_no_output_and_the_rest_is_as_it_was(
    day: Path, truth: tuple[dict[str, Any], Finished], tmp_path: Path
) -> None:
    consumers = {
        "dying": {"use": "tests.pipeline.borders:Dying", "options": {"out": "d/{episode}.json", "folder": "marks"}},
        "recycled": {"use": "checksum", "options": {"out": "r/{episode}.json"}, "recycle": {"chunks": 2}},
        "parquet": {"options": {"out": "table"}, "recycle": {"chunks": 3}},
    }
    (tmp_path / "marks").mkdir()
    done = run(tmp_path, _config(day, "drop", consumers))
    assert done.code == 0, done
    right = {f"whole-{n:03d}": truth[0][f"whole-{n:03d}"] for n in GOOD}
    for kind in ("d", "r"):
        assert {path.stem: digests(path) for path in (tmp_path / kind).iterdir()} == right
    assert len(list((tmp_path / "marks").iterdir())) == 6  # it has died at five places
    listed = json.loads((tmp_path / "table" / "_recordings.json").read_text())["recordings"]
    assert [row["name"] for row in listed] == list(right)
    frames = done.report["frames"]
    assert (frames["planned"], frames["delivered"], frames["skipped"]) == (120, 80, {"low quality": 40})
    assert [(n, f, v) for n, f, v, _ in _told(done.report)] == [
        (n, 20 if n in GOOD else 0, "kept" if n in GOOD else "left out") for n in range(EPISODES)
    ]


def test_a_run_that_is_killed_leaves_out_the_same_when_it_goes_on(
    day: Path, truth: tuple[dict[str, Any], Finished], tmp_path: Path
) -> None:
    ending = {"use": "tests.pipeline.borders:Ending", "options": {"out": "s/{episode}.json", "folder": "."}}
    config = _config(day, "drop", {"ending": ending, **SUMS})
    done = run(tmp_path, config)
    assert done.code == -signal.SIGKILL, done
    done = run(tmp_path, config, "--resume")
    assert done.code == 0, done
    found = {path.stem: digests(path) for path in (tmp_path / "s").iterdir()}
    assert found == {f"whole-{n:03d}": truth[0][f"whole-{n:03d}"] for n in GOOD}


def test_a_recording_that_is_dropped_as_a_whole_is_no_episode_of_a_dataset(tmp_path: Path) -> None:
    for number in (0, BLACK, 5):
        record(tmp_path / f"day-{number}", "mcap", _second(number))
    options = {"out": "dataset", "features": {"observation.state": "arm"}, "task": "nothing"}
    config = _config(tmp_path / "day-*", "drop", {"lerobot": {"options": options}})
    del config["episodes"]
    config["timeline"]["rate"] = "20 Hz"
    done = run(tmp_path, config)
    assert done.code == 0, done
    info = json.loads((tmp_path / "dataset" / "meta" / "info.json").read_text())
    assert (info["total_episodes"], info["total_frames"]) == (2, 40)
    (table,) = (tmp_path / "dataset" / "data").glob("*/*.parquet")
    states = [float(np.ravel(state)[0]) for state in pq.read_table(table)["observation.state"].to_pylist()]
    assert states == [100.0 * number + n for number in (0, 5) for n in range(20)]
    verdicts = [e["verdict"] for one in done.report["recordings"] for e in one["episodes"]]
    assert verdicts == ["kept", "left out", "kept"]
    assert "day-3: it is left out: head: 100 % (5 of 5) of its pictures black" in done.out


def test_whole_recordings_that_are_flagged_say_so_as_well(tmp_path: Path) -> None:
    for number in (0, BLACK):
        record(tmp_path / f"day-{number}", "mcap", _second(number))
    features = {"observation.state": "arm"}
    consumers = {
        "lerobot": {"options": {"out": "dataset", "features": features, "task": "nothing"}},
        "csv": {"options": {"out": "lines"}},
    }
    config = _config(tmp_path / "day-*", "flag", consumers)
    del config["episodes"]
    config["timeline"]["rate"] = "20 Hz"
    done = run(tmp_path, config)
    assert done.code == 0, done
    (table,) = (tmp_path / "dataset" / "meta" / "episodes").glob("*/*.parquet")
    assert pq.read_table(table)["flagged"].to_pylist() == [None, TOLD[BLACK]]
    about = json.loads((tmp_path / "lines" / f"day-{BLACK}.csv.json").read_text())
    assert about["provenance"]["flagged"] == TOLD[BLACK]


def test_what_an_earlier_run_wrote_of_an_episode_that_is_dropped_is_named_and_listed_no_more(
    day: Path, tmp_path: Path
) -> None:
    consumers: dict[str, Any] = {
        "parquet": {"options": {"out": "table"}},
        "zarr": {"options": {"out": "groups"}},
        **SUMS,
    }
    assert run(tmp_path, _config(day, "keep", consumers)).code == 0
    done = run(tmp_path, _config(day, "drop", consumers), "--restart")
    assert done.code == 0, done
    listed = json.loads((tmp_path / "table" / "_recordings.json").read_text())["recordings"]
    assert [row["name"] for row in listed] == [f"whole-{n:03d}" for n in GOOD]
    rows: Any = dict(zarr.open_group(tmp_path / "groups", mode="r").attrs)["recordings"]
    assert [row["name"] for row in rows] == [f"whole-{n:03d}" for n in GOOD]
    names = [f"whole-{n:03d}" for n in (BLACK, LOST)]
    stale = {f"table/{name}.parquet" for name in names} | {f"sums/{name}.json" for name in names}
    stale |= {path for name in names if (tmp_path / (path := f"groups/{name}.zarr")).exists()}
    found = {str(Path(path).relative_to(tmp_path)) for path in done.report["leftovers"]}
    assert found == stale
    (line,) = [line for line in done.out.splitlines() if "of an earlier run" in line]
    assert f"{len(stale)} outputs of an earlier run, which this one left out: remove " in line
    assert min(stale) in line
    for path in sorted(stale):
        shutil.rmtree(tmp_path / path) if (tmp_path / path).is_dir() else (tmp_path / path).unlink()
    again = run(tmp_path, _config(day, "drop", consumers), "--restart")
    assert again.report["leftovers"] == []


def test_a_recording_that_is_dropped_as_a_whole_leaves_lists_and_datasets(tmp_path: Path) -> None:
    for number in (0, BLACK):
        record(tmp_path / f"day-{number}", "mcap", _second(number))
    for cut in (False, True):
        consumers = {"csv": {"options": {"out": "lines"}}, "zarr": {"options": {"out": "groups"}}}
        for on_low in ("keep", "drop"):
            config = _config(tmp_path / "day-*", on_low, consumers)
            if not cut:
                del config["episodes"]
            done = run(tmp_path / str(cut), config, *(["--restart"] if on_low == "drop" else []))
            assert done.code == 0, done
        name = "day-0-000" if cut else "day-0"
        listed = json.loads((tmp_path / str(cut) / "lines" / "_recordings.json").read_text())["recordings"]
        assert [row["name"] for row in listed] == [name]
        rows: Any = dict(zarr.open_group(tmp_path / str(cut) / "groups", mode="r").attrs)["recordings"]
        assert [row["name"] for row in rows] == [name]
        left = [Path(path).name for one in done.report["recordings"] for path in one["leftovers"]]
        assert f"day-{BLACK}{'-000' * cut}.csv" in left
        assert not any(path.startswith("day-0") for path in left)


def _scene(kind: str, moving: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Return a second of a film."""
    if kind == "dark":
        return [np.zeros_like(picture) for picture in moving]
    if kind == "still":
        return moving[:1] * len(moving)
    return (
        [np.asarray(cv2.GaussianBlur(picture, (0, 0), 4), np.uint8) for picture in moving]
        if kind == "blurred"
        else moving
    )


@pytest.mark.parametrize(("codec", "text"), [("h264", "h264"), ("hevc", "h265")])
def test_videos_are_judged_by_the_pictures_that_they_show(tmp_path: Path, codec: str, text: str) -> None:
    moving = pictures(31, (320, 240), seed=3)
    scenes = ["good", "dark", "still", "blurred", "good"]
    images = [picture for kind in scenes for picture in _scene(kind, moving[:30])]
    options = {"preset": "ultrafast", "crf": "12"} | (
        {"x265-params": "log-level=none:bframes=0"} if codec == "hevc" else {}
    )
    packets = encode({"h264": "libx264", "hevc": "libx265"}[codec], images, options, gop=17)
    path = record(tmp_path / "film", "mcap", video("/film", "cdr", FOXGLOVE, text, packets), chunk=20_000)
    right = decoded(codec, packets)
    sharp = [cv2.Laplacian(cv2.cvtColor(right[n], cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for n in range(len(right))]
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "film"},
        "episodes": {"every": "1 s"},
        "quality": {
            "black": 40,
            "blur": float(np.sqrt(max(sharp[95:115]) * min(sharp[5:25]))),
            "still": "50 %",
            "on_low": "drop",
        },
        "streams": {"film": {"topic": "/film"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    opened = streamer.open(tmp_path / "config.yaml")
    with opened.prepared(path, judge=True) as prepared:
        found = {v.number: (v.outcome, {reason.limit for reason in v.reasons}) for v in prepared.verdicts}
    assert found == {
        0: ("kept", set()),
        1: ("left out", {"black", "blur", "still"}),
        2: ("left out", {"still"}),
        3: ("left out", {"blur"}),
        4: ("kept", set()),
    }
    shown = 0
    for frame in opened.frames():
        number = round((frame.tick - START) / PERIOD)
        assert number < 31 or number >= 120
        assert np.array_equal(frame["film"], right[number])
        shown += 1
    assert shown == sum(1 for n in right if n * PERIOD < S or n * PERIOD >= 4 * S)
