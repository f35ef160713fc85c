"""Episodes on their way into a dataset → their rows with the columns that count, their statistics, their origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.lerobot.features import TASK
from consumers.lerobot.stats import ORDER, column_stats
from consumers.lerobot.tables import FLAGGED, LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from consumers.lerobot.episode import Episode
    from consumers.lerobot.features import Feature
    from consumers.lerobot.rows import RowFile
    from consumers.lerobot.stats import Stats


@dataclass(slots=True)
class Added:
    """An episode that is being added: its row so far, and the number of the task in each frame."""

    episode: Episode
    row: dict[str, Any]
    tasks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def length(self) -> int:
        """Frames so far."""
        return len(self.tasks)

    def write(self, file: RowFile, begin: int, tasks: dict[str, int], fps: int) -> None:
        """Write its rows with the columns that count; a task that is new gets the next number.

        ``begin`` is the number of its first frame in the dataset.
        """
        used: dict[str, None] = {}
        for table in self.episode.tables():
            own = TASK in table.column_names
            texts = table[TASK].to_pylist() if own else [self.episode.task] * table.num_rows
            for text in dict.fromkeys(texts):
                tasks.setdefault(text, max(tasks.values(), default=-1) + 1)
                used[text] = None
            first = self.length
            numbers = np.array([tasks[text] for text in texts], np.int64)
            self.tasks = np.concatenate([self.tasks, numbers])
            file.write(table, _counts(self.row["episode_index"], first, begin, numbers, fps))
        self.row |= {"tasks": list(used), "length": self.length}
        self.row |= {LABEL: self.episode.label} if self.episode.label else {}
        self.row |= {FLAGGED: flagged} if (flagged := self.episode.origin.get("flagged")) else {}

    def stats(self, features: Sequence[Feature], begin: int, fps: int) -> dict[str, Stats]:
        """Return its statistics, those of the columns that count with them."""
        stats = self.episode.stats(features, self.length)
        for key, values in _counts(self.row["episode_index"], 0, begin, self.tasks, fps).items():
            stats[key] = column_stats(lambda values=values: [values.reshape(-1, 1)])  # type: ignore[misc] # a default in a lambda
        return stats

    def origin(self, videos: Iterable[str]) -> dict[str, Any]:
        """Return its line in our side file; ``videos`` are the keys of those."""
        more = {"task": self.episode.task or self.row["tasks"][0], "frames": self.length, "key": self.episode.key}
        sizes = {key: self.episode.video(key)[1] for key in videos}
        return self.episode.origin | more | {"episode_index": self.row["episode_index"], "video_bytes": sizes}


def _counts(number: int, first: int, begin: int, tasks: NDArray[np.int64], fps: int) -> dict[str, NDArray[Any]]:
    """Return the columns that count, of rows of which the first is frame ``first`` of episode ``number``."""
    frame = np.arange(first, first + len(tasks))
    return {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(len(tasks), number),
        "index": begin + frame,
        "task_index": tasks,
    }


def flat(stats: dict[str, Stats]) -> dict[str, Any]:
    """Return statistics as the columns of a row."""
    return {
        f"stats/{key}/{name}": found[name].tolist() for key, found in stats.items() for name in ORDER if name in found
    }


def splits(before: dict[str, Any], episodes: int) -> dict[str, str]:
    """Return what is trained with: all episodes, where nobody chose some."""
    chosen: dict[str, str] = before.get("splits") or {}
    if chosen.keys() - {"train"}:
        return chosen
    return {"train": f"0:{episodes}"} if episodes else {}
