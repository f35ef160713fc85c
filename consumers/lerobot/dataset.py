"""Episodes → the files of a LeRobot v3.0 dataset, to which it is added whole or not at all.

The format is that of ``lerobot/datasets`` (0.4.4): ``meta/info.json``, ``meta/stats.json``, ``meta/tasks.parquet``,
``meta/episodes/``, ``data/`` and ``videos/<key>/``, the last three in ``chunk-XXX/file-XXX`` that many episodes share
until a file is full. Besides, ``meta/provenance.jsonl`` has a line for each episode.

The episodes table is the truth. An episode's rows and videos are put into their files, each replaced by a rename,
before its line in that table is; whatever lies beyond the table is left from an attempt that was cut short, and the
next episode takes its place.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers import mp4
from consumers.files import replacing, require, write_bytes, write_json
from consumers.lerobot.episode import Written
from consumers.lerobot.features import COUNTED, Feature, check_elements, features_differ
from consumers.lerobot.share import arrow_type
from consumers.lerobot.stats import aggregate, column_stats
from streamer.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from consumers.lerobot.episode import Episode
    from consumers.lerobot.stats import Stats

VERSION = "v3.0"
_FILES_IN_CHUNK = 1000
_MB = 2**20
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_OF_THE_LINE = ("episode_index", "key", "task", "frames")  # what provenance.jsonl has besides an episode's origin
_FOLDERS = ("meta", "data", "videos")
_NEXT, _BEFORE = ".merged", ".replaced"  # a dataset that is about to take this one's place; what it has replaced
_EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


@dataclass(frozen=True, slots=True)
class Settings:
    """What all episodes of a dataset have in common."""

    fps: int
    features: tuple[Feature, ...]
    robot_type: str | None = None
    data_mb: float = 100
    video_mb: float = 200

    @classmethod
    def of(cls, root: Path) -> Settings:
        """Read those of a dataset that is there."""
        info = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
        features = tuple(
            Feature(key, (), f["dtype"], tuple(f["shape"]), tuple(f["names"]))
            for key, f in info["features"].items()
            if key not in COUNTED
        )
        sizes = (info["data_files_size_in_mb"], info["video_files_size_in_mb"])
        return cls(info["fps"], features, info["robot_type"], *sizes)

    @property
    def videos(self) -> list[str]:
        """The keys of the features that are videos."""
        return [feature.key for feature in self.features if feature.dtype == "video"]

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Return the features as ``info.json`` has them."""
        counted = {key: {"dtype": dtype, "shape": [1], "names": None} for key, dtype in COUNTED.items()}
        return {feature.key: feature.as_json() for feature in self.features} | counted

    def data_schema(self) -> Any:
        """Return the Arrow schema of the data files, with the description that ``datasets`` reads."""
        pa = require("pyarrow", "lerobot")
        kept = [feature for feature in self.features if feature.dtype != "video"]
        fields = [pa.field(feature.key, arrow_type(feature)) for feature in kept]
        fields += [pa.field(key, pa.type_for_alias(dtype)) for key, dtype in COUNTED.items()]
        described = {feature.key: _described(feature) for feature in kept}
        described |= {key: {"dtype": dtype, "_type": "Value"} for key, dtype in COUNTED.items()}
        return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": described}})})


def _described(feature: Feature) -> dict[str, Any]:
    if feature.dtype == "image":
        return {"_type": "Image"}
    value = {"dtype": feature.dtype, "_type": "Value"}
    return value if feature.shape == (1,) else {"feature": value, "length": feature.shape[0], "_type": "List"}


def is_dataset(root: Path, settings: Settings) -> bool:
    """Tell whether a dataset to which such episodes can be added lies in a folder that may not exist yet.

    Raises:
        ConfigError: it is a dataset with another rate or other features.
        OutputError: it is something else.

    """
    path = root / "meta" / "info.json"
    if not path.exists():
        found = sorted(e.name for e in root.iterdir() if not e.name.startswith(".")) if root.is_dir() else []
        if found:
            msg = f"{root} is no LeRobot dataset (it has {found[0]!r} and no meta/info.json): use another 'out'"
            raise OutputError(msg)
        return False
    info = json.loads(path.read_text(encoding="utf-8"))
    there = {key: {k: v for k, v in feature.items() if k != "info"} for key, feature in info["features"].items()}
    check_elements(root, there, settings.as_json())
    for what, old, new in (
        ("version", info["codebase_version"], VERSION),
        ("fps", info["fps"], settings.fps),
        ("robot_type", info["robot_type"], settings.robot_type),
    ):
        if old != new:
            msg = f"{root} is a dataset with {what} {old}, to which episodes with {new} cannot be added"
            raise ConfigError(msg)
    if told := "; ".join(features_differ(there, settings.as_json())):
        msg = f"{root} is a dataset with other features: {told}"
        raise ConfigError(msg, hint="use another 'out', or the same streams and features")
    return True


class Dataset:
    """A dataset on the disk, as its episodes table has it."""

    def __init__(self, root: Path, settings: Settings) -> None:
        """Look at what is there.

        Raises:
            ConfigError: it is a dataset with another rate or other features.
            OutputError: it is something else.

        """
        self.root = root
        self._settings = settings
        self._rate = Fraction(settings.fps)
        if not is_dataset(root, settings):
            self._write_info()

    @cached_property
    def _files(self) -> list[Path]:
        return sorted((self.root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))

    @cached_property
    def _last(self) -> dict[str, Any] | None:
        """The last episode."""
        if not self._files:
            return None
        table = require("pyarrow.parquet", "lerobot").read_table(self._files[-1])
        last: dict[str, Any] = table.slice(table.num_rows - 1).to_pylist()[0]
        return last

    @property
    def episodes(self) -> int:
        """How many episodes there are."""
        return int(self._last["episode_index"]) + 1 if self._last else 0

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return int(self._last["dataset_to_index"]) if self._last else 0

    def episode_of(self, key: str) -> int | None:
        """Return the episode that was made of the part of a recording with this key, if there is one."""
        lines = [json.loads(line) for line in self._provenance()]
        return next((line["episode_index"] for line in lines if line["key"] == key), None)

    def written(self) -> list[Written]:
        """Return all episodes, as something that another dataset can take in."""
        pq = require("pyarrow.parquet", "lerobot")
        rows = [row for path in self._files for row in pq.read_table(path).to_pylist()]
        return [self._written(row, json.loads(line)) for row, line in zip(rows, self._provenance(), strict=True)]

    def _written(self, row: dict[str, Any], line: dict[str, Any]) -> Written:
        def place(name: str) -> tuple[int, int]:
            return row[f"{name}/chunk_index"], row[f"{name}/file_index"]

        videos = {v: self._file(_VIDEO, place(f"videos/{v}"), video_key=v) for v in self._settings.videos}
        origin = {key: value for key, value in line.items() if key not in _OF_THE_LINE}
        data = self._file(_DATA, place("data"))
        return Written(line["key"], line["task"], origin, row, data, videos, self._settings.fps, tuple(COUNTED))

    def _provenance(self) -> list[str]:
        path = self.root / "meta" / "provenance.jsonl"
        return path.read_text(encoding="utf-8").splitlines()[: self.episodes] if path.exists() else []

    # ---- adding an episode

    def append(self, episode: Episode) -> int:
        """Add an episode; return its number.

        Raises:
            OSError: a file cannot be read or written.

        """
        self._cut_back()
        number, tasks = self.episodes, self._tasks()
        task = episode.task
        task_index = tasks.index(task) if task in tasks else len(tasks)
        row: dict[str, Any] = {"episode_index": number, "tasks": [task]}
        place, length = self._append_rows(episode, number, task_index)
        row |= {"length": length} | place
        row |= {"dataset_from_index": self.frames, "dataset_to_index": self.frames + length}
        for video in self._settings.videos:
            row |= self._append_video(video, *episode.video(video))
        row |= _flat(self._stats(episode, number, task_index, length))
        if task_index == len(tasks):
            self._write_tasks([*tasks, task])
        line = {"episode_index": number, "key": episode.key, "task": task, "frames": length} | episode.origin
        text = "\n".join([*self._provenance(), json.dumps(line, sort_keys=True)])
        write_bytes(self.root / "meta" / "provenance.jsonl", f"{text}\n".encode())
        self._append_episode(row)
        for cached in ("_files", "_last"):
            self.__dict__.pop(cached, None)  # the table has changed
        return number

    def _cut_back(self) -> None:
        """Take out of the last files what an attempt that was cut short has put there; their sizes tell what fits."""
        if self._last is None:
            return
        pq = require("pyarrow.parquet", "lerobot")
        path = self._file(_DATA, self._place_of_last("data"))
        if pq.read_table(path, columns=["index"])["index"][-1].as_py() >= self.frames:
            with replacing(path) as draft, pq.ParquetWriter(draft, self._settings.data_schema()) as out:
                for table in self._kept_rows(path):
                    out.write_table(table)
        for key in self._settings.videos:
            path = self._file(_VIDEO, self._place_of_last(f"videos/{key}"), video_key=key)
            kept = self._frames_in_video(key)
            if mp4.frames(path) > kept:
                with replacing(path) as draft:
                    mp4.join([mp4.Part(path, kept)], draft, self._rate)

    def _frames_in_video(self, key: str) -> int:
        """Return how many frames the last episode's video file holds."""
        return round(self._last[f"videos/{key}/to_timestamp"] * self._settings.fps) if self._last else 0

    def _append_rows(self, episode: Episode, number: int, task_index: int) -> tuple[dict[str, int], int]:
        """Put the rows behind those of the last episode, or into a new file where that one is full."""
        pq = require("pyarrow.parquet", "lerobot")
        schema = self._settings.data_schema()
        place = self._place("data", lambda path: path.stat().st_size < self._settings.data_mb * _MB, _DATA)
        path = self._file(_DATA, place)
        length = 0
        with _replacing(path) as draft, pq.ParquetWriter(draft, schema, compression="snappy") as out:
            for table in self._kept_rows(path):
                out.write_table(table.cast(schema))
            for table in episode.tables():
                out.write_table(self._counted(table, number, length, task_index).cast(schema))
                length += table.num_rows
        return {"data/chunk_index": place[0], "data/file_index": place[1]}, length

    def _kept_rows(self, path: Path) -> Iterator[Any]:
        """Give the row groups of a data file that belong to the episodes that there are."""
        if not path.exists():
            return
        with require("pyarrow.parquet", "lerobot").ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                if table["index"][-1].as_py() < self.frames:
                    yield table

    def _counted(self, table: Any, number: int, first: int, task_index: int) -> Any:
        """Put the columns that count to an episode's rows, of which the first is frame ``first`` of the episode."""
        pa = require("pyarrow", "lerobot")
        for name, column in self._counts(number, first, table.num_rows, task_index).items():
            table = table.append_column(name, pa.array(column))
        return table

    def _counts(self, number: int, first: int, rows: int, task_index: int) -> dict[str, NDArray[Any]]:
        frame = np.arange(first, first + rows)
        return {
            "timestamp": (frame / self._settings.fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(rows, number),
            "index": self.frames + frame,
            "task_index": np.full(rows, task_index),
        }

    def _append_video(self, key: str, pictures: list[mp4.Part], size: int) -> dict[str, Any]:
        """Put the pictures behind the last episode's video, or into a new file."""

        def fits(path: Path) -> bool:
            return path.stat().st_size + size < self._settings.video_mb * _MB and mp4.alike(path, pictures[0].path)

        name = f"videos/{key}"
        place = self._place(name, fits, _VIDEO, video_key=key)
        path = self._file(_VIDEO, place, video_key=key)
        shared = self._last is not None and place == self._place_of_last(name)
        before = self._frames_in_video(key) if shared else 0
        with _replacing(path) as draft:
            parts = [mp4.Part(path, before)] if before else []
            total = mp4.join([*parts, *pictures], draft, self._rate)
        return {
            f"{name}/chunk_index": place[0],
            f"{name}/file_index": place[1],
            f"{name}/from_timestamp": before / self._settings.fps,
            f"{name}/to_timestamp": total / self._settings.fps,
        }

    def _place(self, name: str, fits: Callable[[Path], bool], pattern: str, **keys: str) -> tuple[int, int]:
        """Choose the file for the next episode: that of the last one, or the next where it does not fit."""
        if self._last is None:
            return 0, 0
        chunk, file = self._place_of_last(name)
        if fits(self._file(pattern, (chunk, file), **keys)):
            return chunk, file
        return (chunk, file + 1) if file + 1 < _FILES_IN_CHUNK else (chunk + 1, 0)

    def _place_of_last(self, name: str) -> tuple[int, int]:
        assert self._last is not None  # noqa: S101 - for the type checker: callers have looked
        return self._last[f"{name}/chunk_index"], self._last[f"{name}/file_index"]

    def _file(self, pattern: str, place: tuple[int, int], **keys: str) -> Path:
        return self.root / pattern.format(chunk_index=place[0], file_index=place[1], **keys)

    def _stats(self, episode: Episode, number: int, task_index: int, length: int) -> dict[str, Stats]:
        stats = episode.stats(self._settings.features, length)
        for key, values in self._counts(number, 0, length, task_index).items():
            stats[key] = column_stats(lambda values=values: [values.reshape(-1, 1)])  # type: ignore[misc] # a default in a lambda
        return stats

    # ---- meta

    def _tasks(self) -> list[str]:
        path = self.root / "meta" / "tasks.parquet"
        if not path.exists():
            return []
        table = require("pyarrow.parquet", "lerobot").read_table(path)
        rows = sorted(zip(table["task_index"].to_pylist(), table["__index_level_0__"].to_pylist(), strict=True))
        return [task for _, task in rows]

    def _write_tasks(self, tasks: list[str]) -> None:
        """Write the table as pandas does, with the task for its index."""
        pa, pq = require("pyarrow", "lerobot"), require("pyarrow.parquet", "lerobot")
        number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
        text = {"name": None, "field_name": "__index_level_0__", "pandas_type": "unicode", "numpy_type": "object"}
        head = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
        pandas = {
            "index_columns": ["__index_level_0__"],
            "column_indexes": [head | {"metadata": {"encoding": "UTF-8"}}],
            "columns": [number | {"metadata": None}, text | {"metadata": None}],
            "pandas_version": "2.2.0",
        }
        fields = [("task_index", pa.int64()), ("__index_level_0__", pa.string())]
        schema = pa.schema(fields, {"pandas": json.dumps(pandas)})
        table = pa.table([list(range(len(tasks))), tasks], schema=schema)
        with _replacing(self.root / "meta" / "tasks.parquet") as draft:
            pq.write_table(table, draft)

    def _append_episode(self, row: dict[str, Any]) -> None:
        """Put the line into the episodes table: from then on, the episode is there."""
        pa, pq = require("pyarrow", "lerobot"), require("pyarrow.parquet", "lerobot")
        place = self._place("meta/episodes", lambda path: path.stat().st_size < self._settings.data_mb * _MB, _EPISODES)
        row |= {"meta/episodes/chunk_index": place[0], "meta/episodes/file_index": place[1]}
        path = self._file(_EPISODES, place)
        table = pa.Table.from_pylist([row])
        if self._last is not None and place == self._place_of_last("meta/episodes"):
            before = pq.read_table(path)
            table = pa.concat_tables([before, table.cast(before.schema)])
        with _replacing(path) as draft:
            pq.write_table(table, draft, compression="snappy")

    def write_totals(self) -> None:
        """Bring ``stats.json`` and ``info.json`` up to the episodes table, from which both follow."""
        if self.episodes:
            stats: dict[str, Any] = {key: self._aggregated(key) for key in self._settings.as_json()}
            write_json(self.root / "meta" / "stats.json", stats)
        self._write_info()

    def _aggregated(self, key: str) -> dict[str, Any]:
        pq = require("pyarrow.parquet", "lerobot")
        names = [name for name in self._last or {} if name.startswith(f"stats/{key}/")]
        rows = [row for path in self._files for row in pq.read_table(path, columns=names).to_pylist()]
        parts = [{name.rpartition("/")[2]: np.array(value) for name, value in row.items()} for row in rows]
        return {name: value.tolist() for name, value in aggregate(parts).items()}

    def _write_info(self) -> None:
        features = self._settings.as_json()
        for key in self._settings.videos if self.episodes else []:
            features[key]["info"] = mp4.about(self._file(_VIDEO, (0, 0), video_key=key))
        info = {
            "codebase_version": VERSION,
            "robot_type": self._settings.robot_type,
            "total_episodes": self.episodes,
            "total_frames": self.frames,
            "total_tasks": len(self._tasks()),
            "chunks_size": _FILES_IN_CHUNK,
            "data_files_size_in_mb": self._settings.data_mb,
            "video_files_size_in_mb": self._settings.video_mb,
            "fps": self._settings.fps,
            "splits": {"train": f"0:{self.episodes}"} if self.episodes else {},
            "data_path": _DATA,
            "video_path": _VIDEO if self._settings.videos else None,
            "features": features,
        }
        (self.root / "meta").mkdir(exist_ok=True)
        write_bytes(self.root / "meta" / "info.json", (json.dumps(info, indent=4, ensure_ascii=False) + "\n").encode())


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep others from adding to the dataset for the time of the block; wait until they have done so."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _take_in(root)
        yield
    finally:
        os.close(folder)


def replace(root: Path, other: Path) -> None:
    """Put another dataset, which lies in a folder below, in the place of this one; whoever has it `locked` may.

    Its folder's new name is the decision: from then on, the next who locks finishes what a killed process began. The
    folder ``meta`` goes first and comes last, so that a reader finds the one, the other, or for a moment no dataset.
    """
    other.rename(root / _NEXT)
    _take_in(root)


def _take_in(root: Path) -> None:
    new, old = root / _NEXT, root / _BEFORE
    if new.exists():
        old.mkdir(exist_ok=True)
        for name in _FOLDERS:
            if (new / name).exists() and (root / name).exists():
                (root / name).rename(old / name)
        for name in reversed(_FOLDERS):
            if (new / name).exists():
                (new / name).rename(root / name)
        shutil.rmtree(new)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        yield draft


def _flat(stats: dict[str, Stats]) -> dict[str, Any]:
    order = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")
    return {f"stats/{key}/{name}": found[name].tolist() for key, found in stats.items() for name in order}
