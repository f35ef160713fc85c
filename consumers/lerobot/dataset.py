"""Episodes → the files of a LeRobot v3.0 dataset, to which they are added whole or not at all.

The format is that of ``lerobot/datasets`` (0.4.4, 0.6.1): ``meta/info.json``, ``meta/stats.json``,
``meta/tasks.parquet``, ``meta/episodes/``, ``data/`` and ``videos/<key>/``. Besides, ``meta/provenance.jsonl`` has a
line for each episode of ours.

The episodes table is the truth. Rows and videos of episodes are put into their files, each replaced by a rename, before
their lines in that table are; whatever lies beyond the table is left from an attempt that was cut short, and the next
episodes take its place. A file that somebody else wrote, or edited, is never written to: a new one is begun behind it.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from consumers import mp4
from consumers.files import remove_drafts, write_bytes, write_json
from consumers.lerobot import rows as row_files
from consumers.lerobot.adding import Added, flat, splits
from consumers.lerobot.card import write_card
from consumers.lerobot.episode import Written
from consumers.lerobot.layout import (
    DATA,
    FILES_IN_CHUNK,
    INFO,
    MB,
    STATS,
    V21,
    V30,
    VIDEO,
    anew,
    file_at,
    next_place,
    place_of,
)
from consumers.lerobot.rows import Rows
from consumers.lerobot.settings import is_dataset, read_info
from consumers.lerobot.stats import ORDER, aggregate
from consumers.lerobot.tables import EpisodeTable, read_origins, read_tasks, write_origins, write_tasks
from consumers.lerobot.version21 import Dataset21
from streamer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from consumers.lerobot.episode import Episode
    from consumers.lerobot.layout import Place
    from consumers.lerobot.settings import Settings

_AT_ONCE = 256  # episodes whose files are written together


@dataclass(slots=True)
class _Film:
    """A video file that takes in episodes: what it is joined of, and its size as its parts had it."""

    place: Place
    frames: int = 0
    size: float = 0
    parts: list[mp4.Part] = field(default_factory=list)


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
        if not is_dataset(root, settings):
            self._write_info()

    @cached_property
    def _table(self) -> EpisodeTable:
        return EpisodeTable(self.root)

    @cached_property
    def _origins(self) -> dict[int, dict[str, Any]]:
        return read_origins(self.root, self._table.rows)

    @property
    def episodes(self) -> int:
        """How many episodes there are."""
        return len(self._table.rows)

    def episode_of(self, key: str) -> int | None:
        """Return the episode that was made of the part of a recording with this key, if there is one."""
        return next((number for number, origin in self._origins.items() if origin["key"] == key), None)

    def keys(self) -> list[str]:
        """Return the names of all episodes, for ever."""
        return [episode.key for episode in self.written()]

    def written(self) -> list[Written]:
        """Return all episodes, as something that another dataset can take in."""
        texts = {number: text for text, number in read_tasks(self.root).items()}
        files: dict[Path, Rows] = {}
        found = []
        for row in self._table.whole():
            data = file_at(self.root, DATA, (row["data/chunk_index"], row["data/file_index"]))
            videos = {
                key: file_at(self.root, VIDEO, (row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]), key)
                for key in self._settings.videos
            }
            origin = self._origins.get(row["episode_index"])
            found.append(Written.of(row, origin, files.setdefault(data, Rows(data)), videos, texts, self._settings.fps))
        return found

    # ---- adding episodes

    def extend(self, episodes: Iterable[Episode]) -> None:
        """Add episodes, some hundred at once: what a file costs is shared by those that it takes.

        Raises:
            OSError: a file cannot be read or written.

        """
        waiting = deque(episodes)
        while waiting:
            self._add([waiting.popleft() for _ in range(min(_AT_ONCE, len(waiting)))])

    def _add(self, episodes: Sequence[Episode]) -> None:
        self._cut_back()
        tasks = read_tasks(self.root)
        known = len(tasks)
        added = self._add_rows(episodes, tasks)
        for key in self._settings.videos:
            self._add_videos(key, added)
        for one in added:
            one.row |= flat(one.stats(self._settings.features, one.row["dataset_from_index"], self._settings.fps))
        if len(tasks) > known:
            write_tasks(self.root, tasks)
        for one in added:
            self._origins[one.row["episode_index"]] = one.origin(self._settings.videos)
        write_origins(self.root, self._origins)
        self._table.append([one.row for one in added], self._settings.data_mb * MB)

    def _cut_back(self) -> None:
        """Take out of our last files what an attempt that was cut short has put there; their sizes tell what fits."""
        place = self._table.last_place("data")
        for path in sorted((self.root / "data").glob("chunk-*/file-*.parquet")):
            if (place is None or place_of(path) > place) and row_files.is_ours(path):
                path.unlink()
        if place is None or not self._last_is_ours(place):
            return
        path, frames = file_at(self.root, DATA, place), self._table.frames
        if row_files.last_index(path) >= frames:
            self._rewrite(path, frames)
        for key in self._settings.videos:
            video, pictures = self._last_video(key)
            if mp4.frames(video) > pictures:
                with anew(video) as draft:
                    mp4.join([mp4.Part(video, pictures)], draft, Fraction(self._settings.fps))

    def _rewrite(self, path: Path, frames: int) -> None:
        with row_files.row_file(path, self._settings.data_schema()) as file:
            for table in row_files.kept(path, frames):
                file.write(table)

    def _last_is_ours(self, place: Place) -> bool:
        """Tell whether the last episode was written here, and its rows by nobody since."""
        path = file_at(self.root, DATA, place)
        return self._table.rows[-1]["episode_index"] in self._origins and row_files.is_ours(path)

    def _last_video(self, key: str) -> tuple[Path, int]:
        """Return the video file that is continued, and how many pictures of it belong to episodes."""
        name = f"videos/{key}"
        place = self._table.last_place(name) or (0, 0)
        ends = [row[f"{name}/to_timestamp"] for row in self._table.at(name, place)]
        return file_at(self.root, VIDEO, place, key), round(max(ends, default=0) * self._settings.fps)

    def _add_rows(self, episodes: Sequence[Episode], tasks: dict[str, int]) -> list[Added]:
        """Put the rows behind those of the last episode, or into a new file where that one is full, or not ours."""
        schema, limit = self._settings.data_schema(), self._settings.data_mb * MB
        frames, number = self._table.frames, self.episodes
        place = self._table.last_place("data")
        if place is None:
            place = (0, 0)
        elif not self._last_is_ours(place) or row_files.size_of(file_at(self.root, DATA, place)) >= limit:
            place = next_place(place)
        waiting, added = deque(episodes), []
        while waiting:
            path = file_at(self.root, DATA, place)
            with row_files.row_file(path, schema) as file:
                for table in row_files.kept(path, self._table.frames):
                    file.write(table)
                while waiting:
                    one = Added(waiting.popleft(), {"episode_index": number})
                    one.write(file, frames, tasks, self._settings.fps)
                    one.row |= {"data/chunk_index": place[0], "data/file_index": place[1]}
                    one.row |= {"dataset_from_index": frames, "dataset_to_index": frames + one.length}
                    added.append(one)
                    frames, number = frames + one.length, number + 1
                    if file.size >= limit:
                        break
            place = next_place(place)
        return added

    def _add_videos(self, key: str, added: Sequence[Added]) -> None:
        """Put the pictures behind the last episode's, or into a new file where that one is full or of another kind."""
        name, fps = f"videos/{key}", self._settings.fps
        film = self._first_film(key)
        for one in added:
            pictures, size = one.episode.video(key)
            if film.parts and not self._fits(film, size, pictures[0].path):
                self._join(key, film)
                film = _Film(next_place(film.place))
            one.row |= {f"{name}/chunk_index": film.place[0], f"{name}/file_index": film.place[1]}
            one.row |= {f"{name}/from_timestamp": film.frames / fps}
            film.frames, film.size = film.frames + one.length, film.size + size
            one.row |= {f"{name}/to_timestamp": film.frames / fps}
            film.parts += pictures
        self._join(key, film)

    def _first_film(self, key: str) -> _Film:
        place, data = self._table.last_place(f"videos/{key}"), self._table.last_place("data")
        if place is None or data is None:
            return _Film((0, 0))
        if not self._last_is_ours(data):
            return _Film(next_place(place))
        path, frames = self._last_video(key)
        rows = [self._origins.get(row["episode_index"], {}) for row in self._table.at(f"videos/{key}", place)]
        sizes = [origin.get("video_bytes", {}).get(key) for origin in rows]
        size = path.stat().st_size if None in sizes else sum(sizes)
        return _Film(place, frames, size, [mp4.Part(path, frames)])

    def _fits(self, film: _Film, size: int, path: Path) -> bool:
        return film.size + size < self._settings.video_mb * MB and mp4.alike(film.parts[0].path, path)

    def _join(self, key: str, film: _Film) -> None:
        path = file_at(self.root, VIDEO, film.place, key)
        if [part.path for part in film.parts] == [path]:
            return  # nothing has come to it
        with anew(path) as draft:
            found = mp4.join(film.parts, draft, Fraction(self._settings.fps))
        if found != film.frames:
            msg = f"{key}: there are {found} pictures for {film.frames} frames"
            raise OutputError(msg, path=path)

    # ---- what follows from the table

    def write_totals(self) -> None:
        """Bring ``stats.json`` and ``info.json`` up to the episodes table, from which both follow."""
        remove_drafts(self.root / "meta")  # the table's, of a process that was killed just behind its rename
        if self.episodes:
            path = self.root / STATS
            before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            stats = {key: self._aggregated(key) or before.get(key) for key in self._settings.as_json()}
            write_json(path, before | {key: found for key, found in stats.items() if found})
        self._write_info()

    def write_card(self, license_: str | None = None) -> None:
        """Write ``README.md``, unless a person has; ``license_`` is what the data may be used for."""
        write_card(self.root, read_info(self.root), (self._origins[n] for n in sorted(self._origins)), license_)

    def _aggregated(self, key: str) -> dict[str, Any]:
        """Put the episodes' statistics of a feature together; empty where one of them has none."""
        prefix = f"stats/{key}/"
        rows = [{name.removeprefix(prefix): v for name, v in row.items()} for row in self._table.column(prefix)]
        names = [name for name in ORDER if all(row.get(name) is not None for row in rows)]
        if not {"mean", "std", "count", "min", "max"} <= set(names):
            return {}
        parts = [{name: np.array(row[name]) for name in names} for row in rows]
        return {name: value.tolist() for name, value in aggregate(parts).items()}

    def _write_info(self) -> None:
        """Say what the dataset holds; what others have put into ``info.json`` stays there."""
        before = read_info(self.root) if (self.root / INFO).exists() else {}
        features: dict[str, Any] = before.get("features") or self._settings.as_json()
        for key in self._settings.videos if self.episodes else []:
            info = features[key].get("info") or {}
            if "video.codec" not in info:
                row = self._table.rows[0]
                place = (row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"])
                features[key]["info"] = mp4.about(file_at(self.root, VIDEO, place, key)) | info
        known = {"codebase_version": V30.name, "robot_type": self._settings.robot_type, "chunks_size": FILES_IN_CHUNK}
        known |= {"fps": self._settings.fps, "data_path": DATA, "video_path": VIDEO if self._settings.videos else None}
        totals = {
            "total_episodes": self.episodes,
            "total_frames": self._table.frames,
            "total_tasks": len(read_tasks(self.root)),
            "data_files_size_in_mb": self._settings.data_mb,
            "video_files_size_in_mb": self._settings.video_mb,
            "splits": splits(before, self.episodes),
            "features": features,
        }
        (self.root / "meta").mkdir(exist_ok=True)
        text = json.dumps(known | before | totals, indent=4, ensure_ascii=False)
        write_bytes(self.root / INFO, f"{text}\n".encode())


AnyDataset: TypeAlias = Dataset | Dataset21


def dataset_at(root: Path, settings: Settings) -> AnyDataset:
    """Return the dataset in a folder, in the version of the settings.

    Raises:
        As `Dataset` does.

    """
    return (Dataset21 if settings.version == V21 else Dataset)(root, settings)
