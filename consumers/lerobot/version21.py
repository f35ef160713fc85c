"""Episodes → the files of a LeRobot v2.1 dataset: each episode a data file and a video of its own.

The format is that of ``lerobot/datasets`` 0.3.3, which GR00T and others read: ``meta/info.json``, ``meta/tasks.jsonl``,
``meta/episodes.jsonl``, ``meta/episodes_stats.jsonl``, ``data/chunk-XXX/episode_XXXXXX.parquet`` and
``videos/chunk-XXX/<key>/episode_XXXXXX.mp4``. Besides, ``meta/provenance.jsonl`` has a line for each episode of ours.

``episodes.jsonl`` is the truth: an episode is there when its line is, which is written last.
"""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from consumers import mp4
from consumers.files import remove_drafts, write_bytes
from consumers.lerobot import rows as row_files
from consumers.lerobot.adding import Added, splits
from consumers.lerobot.card import write_card
from consumers.lerobot.episode import Written
from consumers.lerobot.layout import FILES_IN_CHUNK, INFO, V21, anew
from consumers.lerobot.rows import Rows
from consumers.lerobot.settings import is_dataset, read_info
from consumers.lerobot.tables import STATS, read_origins, write_origins
from streamer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from consumers.lerobot.episode import Episode
    from consumers.lerobot.settings import Settings

TABLES21 = _EPISODES, _STATS, _TASKS = "meta/episodes.jsonl", "meta/episodes_stats.jsonl", "meta/tasks.jsonl"
_KEPT = ("min", "max", "mean", "std", "count")  # this version has no quantiles
_AT_ONCE = 256  # episodes whose lines are written together


class Dataset21:
    """A dataset of version 2.1 on the disk, as ``episodes.jsonl`` has it."""

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
    def _rows(self) -> list[dict[str, Any]]:
        return sorted(_lines(self.root / _EPISODES), key=lambda row: int(row["episode_index"]))

    @cached_property
    def _origins(self) -> dict[int, dict[str, Any]]:
        return read_origins(self.root, self._rows)

    @property
    def episodes(self) -> int:
        """How many episodes there are."""
        return len(self._rows)

    @property
    def _frames(self) -> int:
        return sum(int(row["length"]) for row in self._rows)

    def _data(self, number: int) -> Path:
        return self.root / V21.data.format(episode_chunk=number // FILES_IN_CHUNK, episode_index=number)

    def _video(self, number: int, key: str) -> Path:
        chunk = number // FILES_IN_CHUNK
        return self.root / V21.video.format(episode_chunk=chunk, episode_index=number, video_key=key)

    def _tasks(self) -> dict[str, int]:
        return {line["task"]: int(line["task_index"]) for line in _lines(self.root / _TASKS)}

    def episode_of(self, key: str) -> int | None:
        """Return the episode that was made of the part of a recording with this key, if there is one."""
        return next((number for number, origin in self._origins.items() if origin["key"] == key), None)

    def keys(self) -> list[str]:
        """Return the names of all episodes, for ever."""
        return [episode.key for episode in self.written()]

    def written(self) -> list[Written]:
        """Return all episodes, as something that another dataset can take in."""
        texts = {number: text for text, number in self._tasks().items()}
        stats = {line["episode_index"]: line["stats"] for line in _lines(self.root / _STATS)}
        found = []
        for row in self._rows:
            number = row["episode_index"]
            own = {f"{STATS}{k}/{name}": v for k, all_ in stats.get(number, {}).items() for name, v in all_.items()}
            begins = {f"videos/{key}/from_timestamp": 0.0 for key in self._settings.videos}
            videos = {key: self._video(number, key) for key in self._settings.videos}
            rows, origin = Rows(self._data(number)), self._origins.get(number)
            found.append(Written.of(row | own | begins, origin, rows, videos, texts, self._settings.fps))
        return found

    # ---- adding episodes

    def extend(self, episodes: Iterable[Episode]) -> None:
        """Add episodes, some hundred at once: their lines are written together.

        Raises:
            OSError: a file cannot be read or written.

        """
        waiting = list(episodes)
        for first in range(0, len(waiting), _AT_ONCE):
            self._add(waiting[first : first + _AT_ONCE])

    def _add(self, episodes: list[Episode]) -> None:
        self._cut_back()
        tasks, frames, stats = self._tasks(), self._frames, []
        known, begun = len(tasks), []
        for number, episode in enumerate(episodes, self.episodes):
            one = Added(episode, {"episode_index": number})
            with row_files.row_file(self._data(number), self._settings.data_schema()) as file:
                one.write(file, frames, tasks, self._settings.fps)
            for key in self._settings.videos:
                self._join(one, key)
            found = one.stats(self._settings.features, frames, self._settings.fps)
            values = {key: {name: own[name].tolist() for name in _KEPT} for key, own in found.items()}
            stats.append({"episode_index": number, "stats": values})
            self._origins[number] = one.origin(self._settings.videos)
            frames += one.length
            begun.append(one.row)
        if len(tasks) > known:
            _write(self.root / _TASKS, [{"task_index": number, "task": text} for text, number in tasks.items()])
        write_origins(self.root, self._origins)
        before = [line for line in _lines(self.root / _STATS) if line["episode_index"] < self.episodes]
        _write(self.root / _STATS, [*before, *stats])
        _write(self.root / _EPISODES, [*self._rows, *begun])
        self._rows.extend(begun)

    def _cut_back(self) -> None:
        """Take out the files of episodes that an attempt which was cut short has left."""
        for path in sorted((self.root / "data").glob("chunk-*/episode_*.parquet")):
            number = int(path.stem.removeprefix("episode_"))
            if number >= self.episodes and row_files.is_ours(path):
                for key in self._settings.videos:
                    self._video(number, key).unlink(missing_ok=True)
                path.unlink()

    def _join(self, one: Added, key: str) -> None:
        path = self._video(one.row["episode_index"], key)
        with anew(path) as draft:
            found = mp4.join(one.episode.video(key)[0], draft, Fraction(self._settings.fps))
        if found != one.length:
            msg = f"{key}: there are {found} pictures for {one.length} frames"
            raise OutputError(msg, path=path)

    # ---- what follows from the episodes

    def write_totals(self) -> None:
        """Bring ``info.json`` up to ``episodes.jsonl``."""
        remove_drafts(self.root / "meta")
        self._write_info()

    def write_card(self, license_: str | None = None) -> None:
        """Write ``README.md``, unless a person has; ``license_`` is what the data may be used for."""
        write_card(self.root, read_info(self.root), (self._origins[n] for n in sorted(self._origins)), license_)

    def _write_info(self) -> None:
        """Say what the dataset holds; what others have put into ``info.json`` stays there."""
        before = read_info(self.root) if (self.root / INFO).exists() else {}
        features: dict[str, Any] = before.get("features") or self._settings.as_json()
        for key in self._settings.videos if self.episodes else []:
            if not features[key].get("info"):
                about = mp4.about(self._video(0, key))
                features[key]["info"] = about | {"video.is_depth_map": about.pop("is_depth_map")}  # its own word
        known = {"codebase_version": V21.name, "robot_type": self._settings.robot_type, "chunks_size": FILES_IN_CHUNK}
        known |= {"fps": self._settings.fps, "data_path": V21.data, "video_path": V21.video}
        totals = {
            "total_episodes": self.episodes,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks()),
            "total_videos": self.episodes * len(self._settings.videos),
            "total_chunks": -(-self.episodes // FILES_IN_CHUNK),
            "splits": splits(before, self.episodes),
            "features": features,
        }
        (self.root / "meta").mkdir(exist_ok=True)
        text = json.dumps(known | before | totals, indent=4, ensure_ascii=False)
        write_bytes(self.root / INFO, f"{text}\n".encode())


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON object a line; a file that is not there has none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    write_bytes(path, text.encode())
