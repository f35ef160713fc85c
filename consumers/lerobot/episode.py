"""Where an episode lies → its rows, pictures and statistics, whoever wrote them: shares, or a dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from consumers.files import require
from consumers.lerobot.features import COUNTED, TASK
from consumers.lerobot.outcome import outcome_of, with_outcome
from consumers.lerobot.stats import column_stats, picture_stats
from consumers.mp4 import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from consumers.lerobot.features import Feature
    from consumers.lerobot.rows import Rows
    from consumers.lerobot.stats import Stats

_OF_THE_LINE = ("episode_index", "key", "task", "frames")  # what provenance.jsonl has besides an episode's origin


class Episode(Protocol):
    """What a dataset takes in."""

    @property
    def key(self) -> str:
        """Its name, for ever."""

    @property
    def task(self) -> str:
        """What the robot does in it."""

    @property
    def label(self) -> str:
        """How it went, in a word; empty where nobody says so."""

    @property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, in plain values."""

    def tables(self) -> Iterator[Any]:
        """Give its rows, an Arrow table for each row group, without the columns that count.

        A column ``task`` has each frame's own text; without it, all frames have `task`.
        """

    def video(self, key: str) -> tuple[list[Part], int]:
        """Return the pictures of a video feature, and the bytes that they were when they were encoded."""

    def stats(self, features: Sequence[Feature], length: int) -> dict[str, Stats]:
        """Return the statistics of the features; ``length`` is its number of frames."""


@dataclass(frozen=True, slots=True)
class Shared:
    """An episode that lies in its shares, in order; ``success`` is None where its outcome is no feature."""

    key: str
    task: str
    origin: dict[str, Any]
    shares: Sequence[Path]
    label: str = ""
    success: bool | None = None

    def tables(self) -> Iterator[Any]:
        """Give the row groups of all shares."""
        if self.success is None:
            return self._tables()
        return with_outcome(self._tables(), self._length(), success=self.success)

    def _length(self) -> int:
        pq = require("pyarrow.parquet", "lerobot")
        return sum(pq.read_metadata(share / "rows.parquet").num_rows for share in self.shares)

    def _tables(self) -> Iterator[Any]:
        pq = require("pyarrow.parquet", "lerobot")
        for share in self.shares:
            with pq.ParquetFile(share / "rows.parquet") as rows:
                for group in range(rows.num_row_groups):
                    yield rows.read_row_group(group).drop_columns(["frame"])

    def video(self, key: str) -> tuple[list[Part], int]:
        """Return the segments."""
        paths = [share / f"{key}.mp4" for share in self.shares]
        return [Part(path) for path in paths], sum(path.stat().st_size for path in paths)

    def stats(self, features: Sequence[Feature], length: int) -> dict[str, Stats]:
        """Compute them, from the numbers and from the counts of the pictures' values."""
        outcome = {} if self.success is None else outcome_of(length, success=self.success)
        found: dict[str, Stats] = {}
        for feature in features:
            if feature.key in outcome:
                rows = outcome[feature.key].astype(np.float32).reshape(-1, 1)
                found[feature.key] = column_stats(lambda rows=rows: [rows])  # type: ignore[misc] # a default in a lambda
            elif feature.is_vector:
                found[feature.key] = column_stats(self._column(feature.key, feature.shape[0]))
            else:
                counts = self._histogram(feature.key)
                found[feature.key] = picture_stats(counts, length, channels=feature.shape[2])
        return found

    def _column(self, key: str, width: int) -> Callable[[], Iterator[NDArray[Any]]]:
        pq = require("pyarrow.parquet", "lerobot")

        def batches() -> Iterator[NDArray[Any]]:
            for share in self.shares:
                values = pq.read_table(share / "rows.parquet", columns=[key])[key].combine_chunks()
                flat = values if width == 1 else values.flatten()
                yield flat.to_numpy().reshape(-1, width)

        return batches

    def _histogram(self, key: str) -> NDArray[np.int64]:
        found = []
        for share in self.shares:
            with np.load(share / "histograms.npz") as counts:
                found += [counts[key]] if key in counts else []  # of a copied video perhaps no key picture is in it
        return np.asarray(sum(found))


class Told(NamedTuple):
    """What is known of a recording's episodes: task, label, and whether that is a success, if this is a feature."""

    task: str
    label: str = ""
    success: bool | None = None

    def shared(self, key: str, number: int, count: int, origin: dict[str, Any], shares: Sequence[Path]) -> Shared:
        """Return one of ``count`` episodes, where frames were missing between them; the last alone is a success."""
        success = None if self.success is None else self.success and number == count - 1
        return Shared(f"{key}/{number}", self.task, origin, shares, self.label, success)


@dataclass(frozen=True, slots=True)
class Written:
    """An episode that lies in a dataset: ``row`` is its line in the episodes table, ``texts`` are the tasks there."""

    key: str
    task: str
    origin: dict[str, Any]
    row: dict[str, Any]
    rows: Rows
    videos: dict[str, Path]
    texts: dict[int, str]
    fps: int

    @property
    def label(self) -> str:
        """How it went, as the table has it."""
        return self.row.get("label") or ""

    @classmethod
    def of(
        cls,
        row: dict[str, Any],
        line: dict[str, Any] | None,
        rows: Rows,
        videos: dict[str, Path],
        texts: dict[int, str],
        fps: int,
    ) -> Written:
        """Make one of its row and its line in our side file; the content gives a key to what others wrote."""
        task = (row["tasks"] or [""])[0]
        if line is None:
            means = [
                row[name] for name in sorted(row) if name.startswith("stats/") and name.endswith(("/mean", "/std"))
            ]
            told = [row["length"], list(row["tasks"]), means]
            return cls(
                f"other-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}/0",
                task,
                {},
                row,
                rows,
                videos,
                texts,
                fps,
            )
        origin = {key: value for key, value in line.items() if key not in _OF_THE_LINE}
        return cls(line["key"], task, origin, row, rows, videos, texts, fps)

    def tables(self) -> Iterator[Any]:
        """Give its rows, with the text of each frame's task."""
        pa = require("pyarrow", "lerobot")
        for table in self.rows.of(self.row["episode_index"]):
            texts = [self.texts.get(number, self.task) for number in table["task_index"].to_pylist()]
            yield table.drop_columns([name for name in COUNTED if name in table.column_names]).append_column(
                TASK, pa.array(texts, pa.string())
            )

    def video(self, key: str) -> tuple[list[Part], int]:
        """Return its stretch of the video file."""
        path, length = self.videos[key], self.row["length"]
        first = round(self.row[f"videos/{key}/from_timestamp"] * self.fps)
        size = self.origin.get("video_bytes", {}).get(key, 0)
        return [Part(path, length, first=first)], size

    def stats(self, features: Sequence[Feature], length: int) -> dict[str, Stats]:
        """Return what the table has."""
        del length
        found: dict[str, Stats] = {}
        for feature in features:
            prefix = f"stats/{feature.key}/"
            names = [name for name, value in self.row.items() if name.startswith(prefix) and value is not None]
            found[feature.key] = {name.removeprefix(prefix): np.array(self.row[name]) for name in names}
        return found
