"""A LeRobot dataset that was written from recordings, held against the format and against the frames that were shown.

The format is that of the package ``lerobot`` 0.4.4 and 0.6.1; `SCHEMA` is what its own writer leaves. Tests with the
marker ``lerobot`` read the dataset with that package, in environments of their own: `test_lerobot_real.py`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from consumers import mp4
from consumers.lerobot import LeRobot
from consumers.lerobot.stats import aggregate, column_stats, histogram_of, picture_stats
from consumers.lerobot.tables import read_tasks
from streamer.contract import Part, Sample, StreamInfo
from streamer.demo import tabletop
from streamer.errors import ConfigError, OutputError
from tests.consumers.keeper import kept
from tests.consumers.test_outputs import CHUNK, frame, recording
from tests.pipeline.driver import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FPS = 10
HEAD, WRIST, DEPTH = "observation.images.head", "observation.images.wrist", "observation.depth.front"
STATE, ACTION = "observation.state", "action"
FEATURES = {HEAD: "front", WRIST: "wrist", DEPTH: "depth", STATE: ["joints", "gripper"], ACTION: "gripper"}
NAMES = {STATE: ["waist", "shoulder", "elbow", "pitch", "roll", "finger", "grip"]}
STREAMS = {
    "front": {"topic": "/cam_front/color/image_raw/compressed", "resize": [320, 240]},
    "wrist": {"topic": "/cam_wrist/color/image_raw/compressed", "resize": [160, 120]},
    "depth": {"topic": "/cam_front/depth/image_rect_raw/compressedDepth"},
    "joints": {"topic": "/joint_states", "field": "position", "align": "linear"},
    "gripper": {"topic": "/gripper/command", "align": "previous", "missing": "hold"},
}
COUNTED = ["timestamp: float", "frame_index: int64", "episode_index: int64", "index: int64", "task_index: int64"]
SCHEMA = [
    f"{DEPTH}: struct<bytes: binary, path: string>",
    f"{STATE}: fixed_size_list<element: float>[7]",
    f"{ACTION}: float",
    *COUNTED,
]
STATS = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")
IMAGE_NAMES = ["height", "width", "channels"]
PICTURE = "list<element: list<element: list<element: double>>>"

Config = dict[str, Any]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return three short recordings."""
    folder = tmp_path_factory.mktemp("bags")
    paths = [folder / f"take-{number}.bag" for number in range(3)]
    for number, path in enumerate(paths):
        tabletop(path, seconds=1.5 + 0.5 * number, seed=number)
    return paths


def configured(bags: list[Path], **options: Any) -> Config:
    chosen = {"out": "dataset", "features": FEATURES, "names": NAMES, "task": "Stack the blocks"} | options
    return {
        "source": {"path": [str(bag) for bag in bags]},
        "timeline": {"from": "front", "rate": f"{FPS} Hz"},
        "chunk_size": 4,
        "pool": "32 MB",
        "streams": copy.deepcopy(STREAMS),
        "consumers": {
            "lerobot": {"options": chosen},
            "kept": {"use": "tests.consumers.keeper:Keeper", "options": {"out": "kept"}},
        },
    }


@pytest.fixture(scope="module")
def written(bags: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two runs, the second of which adds a recording with another task."""
    folder = tmp_path_factory.mktemp("lerobot")
    first = configured(bags[:2], robot_type="tabletop")
    first["consumers"]["lerobot"]["recycle"] = {"chunks": 2}
    finished = run(folder, first)
    assert finished.code == 0, finished
    finished = run(folder, configured(bags[2:], robot_type="tabletop", task="Take them down"), "--restart")
    assert finished.code == 0, finished
    return folder


def info(dataset: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((dataset / "meta" / "info.json").read_text())
    return values


def rows(dataset: Path, folder: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((dataset / folder).glob("*/*.parquet")) for row in pq.read_table(path).to_pylist()]


def frames_of(folder: Path) -> list[list[dict[str, NDArray[Any]]]]:
    """Return the frames that were shown, a list a recording."""
    return [kept(path) for path in sorted((folder / "kept").iterdir())]


def state_of(values: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    return np.concatenate([values["joints"], values["gripper"]]).astype(np.float32)


def test_the_folder_holds_what_the_format_says_and_nothing_else(written: Path) -> None:
    dataset = written / "dataset"
    assert sorted(str(path.relative_to(dataset)) for path in dataset.rglob("*") if path.is_file()) == [
        "README.md",
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/provenance.jsonl",
        "meta/stats.json",
        "meta/tasks.parquet",
        f"videos/{HEAD}/chunk-000/file-000.mp4",
        f"videos/{WRIST}/chunk-000/file-000.mp4",
    ]


def test_info_describes_the_dataset_as_the_format_does(written: Path) -> None:
    found = info(written / "dataset")
    lengths = [len(frames) for frames in frames_of(written)]
    video = {"video.codec": "av1", "video.pix_fmt": "yuv420p", "is_depth_map": False, "video.fps": FPS}
    video |= {"video.channels": 3, "has_audio": False}
    assert list(found["features"]) == [HEAD, WRIST, DEPTH, STATE, ACTION, *(c.split(":")[0] for c in COUNTED)]
    assert found == {
        "codebase_version": "v3.0",
        "robot_type": "tabletop",
        "total_episodes": 3,
        "total_frames": sum(lengths),
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": "0:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {
            HEAD: {
                "dtype": "video",
                "shape": [240, 320, 3],
                "names": IMAGE_NAMES,
                "info": video | {"video.height": 240, "video.width": 320},
            },
            WRIST: {
                "dtype": "video",
                "shape": [120, 160, 3],
                "names": IMAGE_NAMES,
                "info": video | {"video.height": 120, "video.width": 160},
            },
            DEPTH: {
                "dtype": "image",
                "shape": [240, 320, 1],
                "names": IMAGE_NAMES,
                "info": {"is_depth_map": True, "depth_unit": "mm"},
            },
            STATE: {"dtype": "float32", "shape": [7], "names": NAMES[STATE]},
            ACTION: {"dtype": "float32", "shape": [1], "names": ["data"]},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": {"dtype": "int64", "shape": [1], "names": None},
            "episode_index": {"dtype": "int64", "shape": [1], "names": None},
            "index": {"dtype": "int64", "shape": [1], "names": None},
            "task_index": {"dtype": "int64", "shape": [1], "names": None},
        },
    }


def test_the_data_files_have_the_formats_schema_and_every_frame_once(written: Path) -> None:
    schema = pq.read_schema(written / "dataset/data/chunk-000/file-000.parquet")
    assert [f"{field.name}: {field.type}" for field in schema] == SCHEMA
    described = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert described[DEPTH] == {"_type": "Image"}
    assert described[STATE] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 7, "_type": "List"}
    assert described[ACTION] == {"dtype": "float32", "_type": "Value"}
    found, shown = rows(written / "dataset"), frames_of(written)
    assert [row["index"] for row in found] == list(range(sum(map(len, shown))))
    expected = [(e, n, values) for e, frames in enumerate(shown) for n, values in enumerate(frames)]
    for row, (episode, number, values) in zip(found, expected, strict=True):
        assert (row["episode_index"], row["frame_index"], row["task_index"]) == (episode, number, episode // 2)
        assert row["timestamp"] == np.float32(number / FPS)
        np.testing.assert_array_equal(np.array(row[STATE], np.float32), state_of(values))
        assert row[ACTION] == values["gripper"].astype(np.float32)[0]
        depth = cv2.imdecode(np.frombuffer(row[DEPTH]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(depth, values["depth"])  # 16 bits, without loss


def test_the_episodes_table_says_where_everything_lies(written: Path) -> None:
    path = written / "dataset/meta/episodes/chunk-000/file-000.parquet"
    schema = {field.name: str(field.type) for field in pq.read_schema(path)}
    assert [name for name in schema if not name.startswith(("stats/", "videos/"))] == [
        "episode_index",
        "tasks",
        "length",
        "data/chunk_index",
        "data/file_index",
        "dataset_from_index",
        "dataset_to_index",
        "meta/episodes/chunk_index",
        "meta/episodes/file_index",
    ]
    assert [name for name in schema if name.startswith("stats/")] == [
        f"stats/{key}/{name}" for key in info(written / "dataset")["features"] for name in STATS
    ]
    assert schema[f"stats/{HEAD}/mean"] == schema[f"stats/{DEPTH}/q99"] == PICTURE
    assert schema[f"stats/{STATE}/mean"] == "list<element: double>"
    assert schema["stats/index/max"] == schema[f"stats/{HEAD}/count"] == "list<element: int64>"
    begin = 0
    for number, (row, shown) in enumerate(
        zip(rows(written / "dataset", "meta/episodes"), frames_of(written), strict=True)
    ):
        assert (row["episode_index"], row["length"]) == (number, len(shown))
        assert row["tasks"] == [["Stack the blocks", "Take them down"][number // 2]]
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (begin, begin + len(shown))
        for key in (HEAD, WRIST):
            place = f"videos/{key}"
            assert (row[f"{place}/chunk_index"], row[f"{place}/file_index"]) == (0, 0)
            assert row[f"{place}/from_timestamp"] == begin / FPS
            assert row[f"{place}/to_timestamp"] == (begin + len(shown)) / FPS
        begin += len(shown)


def test_tasks_are_indexed_by_their_text_as_pandas_writes_it(written: Path) -> None:
    table = pq.read_table(written / "dataset/meta/tasks.parquet")
    assert table.to_pydict() == {"task_index": [0, 1], "task": ["Stack the blocks", "Take them down"]}
    assert json.loads(table.schema.metadata[b"pandas"])["index_columns"] == ["task"]


def decoded(path: Path) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as video:
        for picture in video.decode(video=0):
            yield float(picture.time or 0), picture.to_ndarray(format="rgb24").astype(np.uint8)


@pytest.mark.parametrize(("key", "stream"), [(HEAD, "front"), (WRIST, "wrist")])
def test_a_video_has_every_frame_at_its_time_within_the_codecs_error(written: Path, key: str, stream: str) -> None:
    pictures = list(decoded(written / f"dataset/videos/{key}/chunk-000/file-000.mp4"))
    shown = [frame[stream] for frames in frames_of(written) for frame in frames]
    assert len(pictures) == len(shown)
    assert [time for time, _ in pictures] == pytest.approx([n / FPS for n in range(len(shown))], abs=1e-6)
    source = np.stack(shown).astype(np.int16)
    for number, (_, picture) in enumerate(pictures):
        error = np.abs(source - picture).mean(axis=(1, 2, 3))
        assert error[number] < 6  # of 255: CRF 30 and 4:2:0 on small pictures with sharp edges
        assert error[number] < error.min() + 0.1  # and of all frames it is this one, or one that looks the same


def test_statistics_are_those_of_all_values_at_once(written: Path) -> None:
    found = json.loads((written / "dataset/meta/stats.json").read_text())
    assert set(found) == set(info(written / "dataset")["features"])
    shown = frames_of(written)
    states = [np.stack([state_of(values) for values in frames]) for frames in shown]
    table = rows(written / "dataset", "meta/episodes")
    for episode, state in zip(table, states, strict=True):
        width = float(np.ptp(state, axis=0).max())
        for name, share in (("q01", 0.01), ("q10", 0.1), ("q50", 0.5), ("q90", 0.9), ("q99", 0.99)):
            near = np.quantile(state, share, axis=0, method="inverted_cdf")
            assert episode[f"stats/{STATE}/{name}"] == pytest.approx(near, abs=width / 2000)
    everything = np.concatenate(states)
    assert found[STATE]["count"] == [len(everything)]
    assert found[STATE]["min"] == pytest.approx(everything.min(axis=0))
    assert found[STATE]["mean"] == pytest.approx(everything.mean(axis=0), abs=1e-6)
    assert found[STATE]["std"] == pytest.approx(everything.std(axis=0), abs=1e-6)
    wrist = np.concatenate([[f["wrist"] for f in frames] for frames in shown]) / 255
    assert np.ravel(found[WRIST]["mean"]) == pytest.approx(wrist.mean(axis=(0, 1, 2)), abs=1e-3)
    assert np.ravel(found[WRIST]["std"]) == pytest.approx(wrist.std(axis=(0, 1, 2)), abs=1e-3)
    assert np.shape(found[WRIST]["q50"]) == (3, 1, 1)
    depth = np.concatenate([[f["depth"][::2, ::2] for f in frames] for frames in shown])
    assert np.ravel(found[DEPTH]["mean"]) == pytest.approx([depth.mean()])
    assert np.ravel(found[DEPTH]["max"]) == [depth.max()]


def test_every_episode_says_where_it_comes_from(written: Path) -> None:
    lines = [json.loads(line) for line in (written / "dataset/meta/provenance.jsonl").read_text().splitlines()]
    assert [line["recording"] for line in lines] == ["take-0", "take-1", "take-2"]  # in the order of the configuration
    for number, (line, shown) in enumerate(zip(lines, frames_of(written), strict=True)):
        assert (line["episode_index"], line["frames"], line["plan"]["frames"]) == (number, len(shown), len(shown))
        assert line["fingerprint"]
        assert line["settings"]["consumers"]["lerobot"]["options"]["out"] == "dataset"
        assert {"rosbag-streamer", "pyarrow", "av"} <= set(line["versions"])
        assert line["plan"]["streams"]["front"]["topic"] == "/cam_front/color/image_raw/compressed"


@pytest.mark.lerobot
def test_the_real_package_loads_the_dataset(written: Path) -> None:
    python = os.environ.get("LEROBOT_PYTHON", "").partition(":")[0]
    if not python:
        pytest.skip("set LEROBOT_PYTHON to the Python of an environment with lerobot (see CONTRIBUTING.md)")
    code = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("me/dataset", root=sys.argv[1], video_backend="pyav")
items = [dataset[n] for n in range(len(dataset))]
keys = sys.argv[2].split(",")
print(json.dumps({
    "episodes": dataset.num_episodes,
    "tasks": [item["task"] for item in items],
    "times": [item["timestamp"].item() for item in items],
    "states": [item["observation.state"].tolist() for item in items],
    "means": {key: [item[key].float().mean().item() for item in items] for key in keys},
    "shapes": {key: list(items[0][key].shape) for key in keys},
    "stats": {key: dataset.meta.stats[key]["mean"].ravel().tolist() for key in keys},
}))
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "-c", code, str(written / "dataset"), f"{HEAD},{WRIST},{DEPTH}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    shown = frames_of(written)
    frames = [frame for each in shown for frame in each]
    assert found["episodes"] == 3
    assert found["tasks"] == ["Stack the blocks"] * len(shown[0] + shown[1]) + ["Take them down"] * len(shown[2])
    assert found["times"] == pytest.approx([n / FPS for each in shown for n in range(len(each))])
    np.testing.assert_allclose(found["states"], np.stack([state_of(values) for values in frames]), rtol=1e-6)
    assert found["shapes"] == {HEAD: [3, 240, 320], WRIST: [3, 120, 160], DEPTH: [1, 240, 320]}
    assert found["means"][HEAD] == pytest.approx([f["front"].mean() / 255 for f in frames], abs=0.01)
    assert found["means"][DEPTH] == pytest.approx([f["depth"].mean() for f in frames])
    assert np.mean(found["stats"][HEAD]) == pytest.approx(np.mean(found["means"][HEAD]), abs=0.01)


# ---- what it does with what is not as it should be


def test_missing_frames_are_an_error_or_begin_another_episode(tmp_path: Path, bags: list[Path]) -> None:
    config = configured(bags[2:], codec="h264")
    config["chunk_size"] = 5
    config["streams"]["joints"] |= {"align": "nearest", "tolerance": "20 ms", "missing": "skip"}  # silent for 0.4 s
    refused = run(tmp_path / "refused", config)
    assert refused.code == 78, refused
    assert "on_skip: split-episode" in refused.err
    assert info(tmp_path / "refused/dataset")["total_episodes"] == 0
    config["consumers"]["lerobot"] |= {
        "options": config["consumers"]["lerobot"]["options"] | {"on_skip": "split-episode"},
        "recycle": {"chunks": 1},
    }
    finished = run(tmp_path / "split", config)
    assert finished.code == 0, finished
    (shown,) = frames_of(tmp_path / "split")
    ticks = np.array([frame["__tick__"] for frame in shown])
    (gap,) = np.flatnonzero(np.diff(ticks) > 1.5e9 / FPS) + 1
    episodes = rows(tmp_path / "split/dataset", "meta/episodes")
    assert [episode["length"] for episode in episodes] == [gap, len(shown) - gap]
    assert gap % 5  # within a chunk
    assert [row["frame_index"] for row in rows(tmp_path / "split/dataset")] == [*range(gap), *range(len(shown) - gap)]
    assert len(list(decoded(tmp_path / f"split/dataset/videos/{HEAD}/chunk-000/file-000.mp4"))) == len(shown)


def test_a_gap_of_the_stream_that_sets_the_ticks_is_seen_too() -> None:
    """Its ticks are numbered without a hole, but one comes late; slow drift and jitter are none."""
    consumer = LeRobot("unused", {ACTION: "joints"}, task="x")
    rng = np.random.default_rng(1)

    def late(ticks: NDArray[np.float64]) -> list[int]:
        consumer._settings = type("Settings", (), {"fps": FPS})  # type: ignore[assignment] # noqa: SLF001
        consumer._start = 0  # noqa: SLF001
        consumer._at = type(consumer._at)(length=1, tick_number=-1, expected=float(ticks[0]))  # noqa: SLF001
        found = []
        for number, tick in enumerate(ticks):
            if consumer._falls_behind(int(tick), number):  # noqa: SLF001
                found.append(number)
                consumer._at.length = 0  # noqa: SLF001 - another episode begins
            consumer._advance(int(tick), number)  # noqa: SLF001
        return found

    steady = np.arange(3000) * 1e8 * 1.001 + rng.normal(0, 4e6, 3000)  # 0.1 % slow: three frames in 300 s
    assert late(steady) == []
    assert late(np.delete(steady, 1000)) == [1000]
    thinned = np.sort(np.round(np.arange(1000) * 1e8 / (1e9 / 12.5)) * (1e9 / 12.5))  # 12.5 Hz thinned to 10
    assert late(thinned) == []


def test_tasks_come_from_a_file_and_a_recording_without_one_is_refused(tmp_path: Path, bags: list[Path]) -> None:
    (tmp_path / "tasks.yaml").write_text("take-0: Pick\n")
    config = configured(bags[:2], task=None, task_file="tasks.yaml", features={ACTION: "gripper"}, names=None)
    finished = run(tmp_path, config)
    assert finished.code == 78, finished
    assert "take-1" in finished.err
    assert [row["tasks"] for row in rows(tmp_path / "dataset", "meta/episodes")] == [["Pick"]]


@pytest.mark.parametrize(("choice", "code", "episodes"), [("error", 73, 1), ("skip", 0, 1), ("append", 0, 2)])
def test_a_recording_that_is_there_already_is_not_added_unawares(
    tmp_path: Path, bags: list[Path], choice: str, code: int, episodes: int
) -> None:
    config = configured(bags[:1], features={ACTION: "gripper"}, names=None, on_duplicate=choice)
    assert run(tmp_path, config).code == 0
    again = run(tmp_path, config, "--restart")
    assert again.code == code, again
    assert info(tmp_path / "dataset")["total_episodes"] == episodes
    assert [row["index"] for row in rows(tmp_path / "dataset")] == list(
        range(info(tmp_path / "dataset")["total_frames"])
    )


@pytest.mark.parametrize("images", ["video", "png"])
@pytest.mark.slow
def test_files_that_are_full_are_followed_by_the_next(tmp_path: Path, bags: list[Path], images: str) -> None:
    config = configured(bags, data_file_mb=1, video_file_mb=1, images=images, quality=1, codec="h264")
    config["streams"]["front"]["resize"] = [640, 480]
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    dataset = tmp_path / "dataset"
    files = sorted(dataset.glob(f"videos/{HEAD}/*/*.mp4" if images == "video" else "data/*/*.parquet"))
    assert [path.name for path in files] == [f"file-{n:03d}{files[0].suffix}" for n in range(len(files))]
    assert len(files) > 1
    found = rows(dataset)
    assert [row["index"] for row in found] == list(range(info(dataset)["total_frames"]))
    for row, shown in zip(rows(dataset, "meta/episodes"), frames_of(tmp_path), strict=True):
        if images == "png":
            assert row["data/file_index"] == row["episode_index"]
            png = np.frombuffer(found[row["dataset_to_index"] - 1][HEAD]["bytes"], np.uint8)
            picture = np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR))[..., ::-1]
            np.testing.assert_array_equal(picture, shown[-1]["front"])
            continue
        start, stop = (round(row[f"videos/{HEAD}/{edge}_timestamp"] * FPS) for edge in ("from", "to"))
        pictures = [picture for _, picture in decoded(files[row[f"videos/{HEAD}/file_index"]])][start:stop]
        assert len(pictures) == len(shown)
        assert np.abs(pictures[-1].astype(np.int16) - shown[-1]["front"]).mean() < 3


# ---- led through its life by hand, for what a pipeline would take long to reach


def options(out: Path, **more: Any) -> dict[str, Any]:
    features = {HEAD: "camera", STATE: "joints"}
    return {"out": str(out), "features": features, "task": "Try"} | more


def lead(out: Path, frames: int = 20, fingerprint: str = "abc", **more: Any) -> dict[str, Any]:
    """Lead a consumer through a recording up to its `close`; return the last state."""
    about = recording(frames)
    about.provenance["fingerprint"] = fingerprint  # type: ignore[index] # the tests' own dict
    consumer = LeRobot(**options(out, **more))
    consumer.open(about, None)
    state: dict[str, Any] = {}
    for number in range(frames):
        consumer.on_frame(frame(number))
        if number % CHUNK == CHUNK - 1:
            state = consumer.on_chunk(type("Chunk", (), {"number": number // CHUNK}))  # type: ignore[arg-type]
    return state


def finish(out: Path, state: dict[str, Any], fingerprint: str, **more: Any) -> None:
    about = recording()
    about.provenance["fingerprint"] = fingerprint  # type: ignore[index]
    consumer = LeRobot(**options(out, **more))
    consumer.open(about, copy.deepcopy(state))
    consumer.close(about)


_FULL_FILES = {"data_file_mb": 0.0095, "video_file_mb": 0.036}


@pytest.mark.parametrize(
    ("sizes", "stride"),
    [
        pytest.param({}, 9, id="shared", marks=pytest.mark.slow),
        pytest.param({}, 1, id="shared-all", marks=pytest.mark.soak),
        pytest.param(_FULL_FILES, 9, id="full", marks=pytest.mark.slow),
        pytest.param(_FULL_FILES, 1, id="full-all", marks=pytest.mark.soak),
    ],
)
def test_killed_at_any_step_of_joining_an_episode_it_finishes_the_same_dataset(
    tmp_path: Path, sizes: dict[str, Any], stride: int
) -> None:
    """The second episode's `close` is killed at its 1st, 2nd, … change to the file system, and then repeated.

    With small sizes, the first episode's files take a second one, and are full with it. The default run takes
    every fourth change.
    """
    names = ("one", "two")
    plain, before = tmp_path / "plain", tmp_path / "before"
    for name in names:
        finish(plain, lead(plain, fingerprint=name, **sizes), name, **sizes)
    expected = {path.relative_to(plain): path.read_bytes() for path in plain.rglob("*") if path.is_file()}
    finish(before, lead(before, fingerprint="one", **sizes), "one", **sizes)
    state = lead(before, fingerprint="two", **sizes)
    step, killed = 0, True
    while killed:
        out = tmp_path / f"killed-{step}"
        shutil.copytree(before, out)
        killed = killed_at(step, out, state, sizes)
        finish(out, state, "two", **sizes)
        found = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert found.keys() == expected.keys()
        for path, content in expected.items():
            assert found[path] == content or path.name == "provenance.jsonl", (step, path)
        step += stride
    assert step > 25  # nine files, each begun and renamed, and the shares removed


def killed_at(step: int, out: Path, state: dict[str, Any], sizes: dict[str, Any]) -> bool:
    """Finish an episode in a process that is killed before its ``step``-th change; False where it came to the end."""
    code = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.consumers.test_lerobot import finish\n"
        "left = int(sys.argv[1])\n"
        "def heed(event, arguments):\n"
        "    global left\n"
        "    wanted = event in ('os.rename', 'os.remove', 'os.rmdir', 'os.mkdir')\n"
        "    if (wanted or event == 'open' and arguments[2] & 3) and '__pycache__' not in str(arguments[0]):\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "state, sizes = json.loads(sys.argv[3]), json.loads(sys.argv[4])\n"
        "sys.addaudithook(heed)\n"
        "finish(Path(sys.argv[2]), state, 'two', **sizes)\n"
    )
    arguments = [str(step), str(out), json.dumps(state), json.dumps(sizes)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode != 0


def test_a_dataset_takes_no_episodes_that_do_not_fit_it(tmp_path: Path) -> None:
    finish(tmp_path, lead(tmp_path), "abc")
    with pytest.raises(ConfigError, match="robot_type None"):
        lead(tmp_path, fingerprint="other", robot_type="arm")
    with pytest.raises(ConfigError, match="features"):
        lead(tmp_path, fingerprint="other", images="png")
    (tmp_path / "meta/info.json").unlink()
    with pytest.raises(OutputError, match="no LeRobot dataset"):
        lead(tmp_path, fingerprint="other")


def test_the_card_says_what_the_dataset_holds_and_leaves_a_persons_own_words(tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"robot_type": "arm", "license": "cc-by-4.0"}
    finish(tmp_path, lead(tmp_path, fingerprint="one", **chosen), "one", **chosen)
    card = tmp_path / "README.md"
    head, body = card.read_text().split("---\n", 2)[1:]
    about = yaml.safe_load(head)
    assert about["license"] == "cc-by-4.0"
    assert about["configs"] == [{"config_name": "default", "data_files": "data/*/*.parquet"}]
    assert "LeRobot" in about["tags"]
    for said in ("robot: arm", "1 episodes, 20 frames at 10 Hz", "| `observation.state` | float32 | 3 |", "`/joints`"):
        assert said in body
    finish(tmp_path, lead(tmp_path, fingerprint="two"), "two")
    assert "2 episodes" in card.read_text()
    assert "license: cc-by-4.0" in card.read_text()  # as it was said before
    card.write_text("My words\n")
    finish(tmp_path, lead(tmp_path, fingerprint="three"), "three")
    assert card.read_text() == "My words\n"
    lines = [json.loads(line) for line in (tmp_path / "meta/provenance.jsonl").read_text().splitlines()]
    assert {line["path"] for line in lines} == {"try.bag"}  # it was /try.bag
    assert lines[0]["plan"]["streams"]["joints"]["topic"] == "/joints"


def test_a_text_stream_gives_each_frame_its_task_and_dtype_keeps_what_float32_would_lose(tmp_path: Path) -> None:
    said = StreamInfo("said", "/said", "std_msgs/msg/String", "text", (), np.dtype(object))
    about = recording()
    about = dataclasses.replace(about, streams={**about.streams, "said": said})
    chosen = options(tmp_path, task=None, task_stream="said", dtype={STATE: "float64"})
    for recorded in ("one", "two"):
        about = dataclasses.replace(about, provenance={"fingerprint": recorded})
        consumer = LeRobot(**chosen)
        consumer.open(about, None)
        for number in range(20):
            shown = frame(number)
            text = "Reach" if number < 8 else "Grasp"
            shown.samples["said"] = Sample(text, shown.tick, 0, 0)
            consumer.on_frame(shown)
            if number % CHUNK == CHUNK - 1:
                consumer.on_chunk(type("Chunk", (), {"number": number // CHUNK}))  # type: ignore[arg-type] # a number is all it takes
        consumer.close(about)
    found = rows(tmp_path)
    assert [row["task_index"] for row in found] == ([0] * 8 + [1] * 12) * 2
    assert read_tasks(tmp_path) == {"Reach": 0, "Grasp": 1}
    table = rows(tmp_path, "meta/episodes")
    assert [row["tasks"] for row in table] == [["Reach", "Grasp"]] * 2
    assert (table[0]["stats/task_index/max"], table[0]["stats/task_index/mean"]) == ([1], [0.6])
    assert info(tmp_path)["features"][STATE]["dtype"] == "float64"
    joints = np.stack([frame(n).samples["joints"].value for n in range(20)])  # type: ignore[union-attr] # they are there
    np.testing.assert_array_equal([row[STATE] for row in found[:20]], joints)
    with pytest.raises(ConfigError, match="it is vector, and a task is text; texts: said"):
        LeRobot(**chosen | {"task_stream": "joints"}).open(about, None)
    with pytest.raises(ConfigError, match="which int64 cannot hold"):
        LeRobot(**chosen | {"dtype": {STATE: "int64"}}).open(about, None)


def test_merging_writes_a_file_once_however_many_recordings_there_are_and_keeps_what_others_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cost an episode is flat: `tests.speed.merging`."""
    parts = []
    for number in range(6):
        about = dataclasses.replace(recording(CHUNK), name=f"r{number}", provenance={"fingerprint": number}, part=True)
        consumer = LeRobot(**options(tmp_path / "set", codec="h264"))
        consumer.open(about, None)
        for n in range(CHUNK):
            consumer.on_frame(frame(n))
        state = consumer.on_chunk(type("Chunk", (), {"number": 0}))  # type: ignore[arg-type] # a number is all it takes
        consumer.close(about)
        parts.append(Part(about.name, about.path, state))
    joined: list[int] = []
    join = mp4.join

    def counted(found: list[mp4.Part], *more: Any) -> int:
        joined.append(len(found))
        return join(found, *more)

    monkeypatch.setattr(mp4, "join", counted)
    LeRobot(**options(tmp_path / "set", codec="h264")).merge(parts)
    assert joined == [6]
    assert info(tmp_path / "set")["total_frames"] == 6 * CHUNK
    changed = info(tmp_path / "set") | {"tools": [{"name": "say"}]}
    (tmp_path / "set/meta/info.json").write_text(json.dumps(changed))
    (tmp_path / "set/meta/modality.json").write_text("{}")
    LeRobot(**options(tmp_path / "set", codec="h264")).merge(parts[::-1])  # all of it is built anew
    assert info(tmp_path / "set") == changed
    assert (tmp_path / "set/meta/modality.json").read_text() == "{}"
    lines = (tmp_path / "set/meta/provenance.jsonl").read_text().splitlines()
    assert [json.loads(line)["recording"] for line in lines] == [f"r{n}" for n in range(6)][::-1]


def edited(dataset: Path) -> list[bytes]:
    """Write the tables as LeRobot's tools leave them: other types, one row group, no word of who wrote first."""
    data = dataset / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(data).replace_schema_metadata(None), data)
    path = dataset / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    whole = [f.name for f in table.schema if not f.name.startswith(f"stats/{STATE}/q")]
    wide = [
        pa.field(f.name, pa.list_(pa.float64())) if f.name.startswith("stats/index/m") else f
        for f in table.select(whole).schema
    ]
    pq.write_table(table.select(whole).cast(pa.schema(wide)), path)
    tasks = pa.table({"task_index": [0], "__index_level_0__": pa.array(["Try"], pa.large_string())})
    pq.write_table(tasks, dataset / "meta/tasks.parquet")
    (dataset / "meta/provenance.jsonl").unlink()
    about = info(dataset) | {"tools": [{"name": "say"}], "splits": {"train": "0:2"}}
    about["features"][STATE]["names"] = None
    about["features"][HEAD]["info"] |= {"video.g": 2, "video.crf": 30}
    (dataset / "meta/info.json").write_text(json.dumps(about))
    return [path.read_bytes() for path in (data, dataset / f"videos/{HEAD}/chunk-000/file-000.mp4")]


def test_what_others_edited_takes_episodes_and_keeps_what_they_put_there(tmp_path: Path) -> None:
    for name in ("one", "two"):
        finish(tmp_path, lead(tmp_path, fingerprint=name), name)
    before = edited(tmp_path)
    for name in ("three", "four"):
        finish(tmp_path, lead(tmp_path, fingerprint=name, task="Go on"), name, task="Go on")
    data, video = tmp_path / "data/chunk-000", tmp_path / f"videos/{HEAD}/chunk-000"
    assert [(data / "file-000.parquet").read_bytes(), (video / "file-000.mp4").read_bytes()] == before
    assert sorted(path.name for path in data.iterdir()) == ["file-000.parquet", "file-001.parquet"]
    found = rows(tmp_path)
    assert [row["index"] for row in found] == list(range(80))
    assert [row["episode_index"] for row in found] == [n // 20 for n in range(80)]
    assert [row["task_index"] for row in found] == [0] * 40 + [1] * 40
    table = rows(tmp_path, "meta/episodes")
    assert [row["tasks"] for row in table] == [["Try"]] * 2 + [["Go on"]] * 2
    assert [row[f"videos/{HEAD}/from_timestamp"] for row in table] == [0, 2, 0, 2]
    assert read_tasks(tmp_path) == {"Try": 0, "Go on": 1}
    assert len(list(decoded(video / "file-001.mp4"))) == 40
    about = info(tmp_path)
    assert (about["tools"], about["total_episodes"], about["total_tasks"]) == ([{"name": "say"}], 4, 2)
    assert about["splits"] == {"train": "0:4"}
    assert about["features"][HEAD]["info"]["video.crf"] == 30
    assert about["features"][STATE]["names"] is None
    stats = json.loads((tmp_path / "meta/stats.json").read_text())
    joints = np.stack([frame(n).samples["joints"].value for n in range(20)]).astype(np.float32)  # type: ignore[union-attr]
    np.testing.assert_allclose(stats[STATE]["mean"], joints.mean(axis=0), rtol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "meta/provenance.jsonl").read_text().splitlines()]
    assert [line["episode_index"] for line in lines] == [2, 3]  # of the others nothing is known
    with pytest.raises(OutputError, match="is episode 2 of"):
        lead(tmp_path, fingerprint="three")


def test_a_process_that_is_killed_as_it_makes_the_dataset_leaves_one_that_the_next_takes(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / ".info.json.tmp").touch()
    finish(tmp_path, lead(tmp_path), "abc")
    assert (tmp_path / "meta" / "info.json").exists()


@pytest.mark.parametrize("module", ["pyarrow", "av"])
def test_a_library_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with pytest.raises(ConfigError, match=r"pip install 'rosbag-streamer\[lerobot\]'"):
        LeRobot(**options(tmp_path))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({HEAD: "cloud"}, "8-bit images and 16-bit depth"),
        ({HEAD: "nowhere"}, "no stream 'nowhere'"),
        ({STATE: ["joints", "camera"]}, "only vectors"),
        ({"observation.images.depth": "depth"}, "observation.depth.depth"),
    ],
)
def test_a_stream_that_does_not_fit_its_feature_is_refused(
    tmp_path: Path, features: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        LeRobot(**options(tmp_path, features=features)).open(recording(), None)


def test_statistics_in_parts_equal_those_of_the_whole() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(1000, 3)).astype(np.float32)
    whole = column_stats(lambda: [values])
    parts = column_stats(lambda: [values[:10], values[10:11], values[11:]])
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(whole["std"], values.std(axis=0, dtype=np.float64))
    one = column_stats(lambda: [values[:1]])
    assert {name: one[name].tolist() for name in ("min", "q01", "mean")} == dict.fromkeys(
        ("min", "q01", "mean"), values[0].tolist()
    )
    merged = aggregate([column_stats(lambda: [values[:300]]), column_stats(lambda: [values[300:]])])
    np.testing.assert_allclose(merged["mean"], whole["mean"], rtol=1e-9)
    np.testing.assert_allclose(merged["std"], whole["std"], rtol=1e-9)
    pictures = rng.integers(0, 200, (2, 400, 600, 3), np.uint8)
    counted = picture_stats(histogram_of(pictures[0]) + histogram_of(pictures[1]), 2, channels=3)
    thin = pictures[:, ::4, ::4] / 255
    np.testing.assert_allclose(counted["std"].ravel(), thin.std(axis=(0, 1, 2)))
    np.testing.assert_allclose(counted["q90"].ravel(), np.quantile(thin, 0.9, axis=(0, 1, 2)), atol=1 / 255)
    assert counted["count"].tolist() == [2]
