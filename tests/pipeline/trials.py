"""Recordings of many trials whose truth is known before they are written: where each begins, ends, its task, its label.

Each trial is marked in every way at once (texts, a truth value, a number, a button, a topic with the verdict, pauses of
the camera, rests of the joints), so that all must find the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.bags import Message, encoded, header, record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MS = 10**6
S = 10**9
ORIGIN = 1_700_000_000 * S
LABELS = ("success", "failure")
TOPICS = {"joints": "/joints", "cam": "/cam"}


@dataclass(frozen=True)
class Trial:
    """The truth of one: it holds what was received from ``start`` to before ``end``, in nanoseconds."""

    start: int
    end: int
    task: str
    label: str

    @property
    def frames(self) -> int:
        """Return how many pictures there are in it."""
        return len(self.pictures())

    def pictures(self) -> list[int]:
        """Return when its pictures come: the first and the last message of it are pictures, about 40 ms apart."""
        first, last = self.start + MS, self.end - MS
        return [int(at) for at in np.linspace(first, last, 1 + round((last - first) / (40 * MS)))]


@dataclass(frozen=True)
class Trials:
    """A recording, its trials, and all messages."""

    path: Path
    trials: Sequence[Trial]
    messages: Sequence[Message]

    @property
    def names(self) -> list[str]:
        """Return what consumers call the trials."""
        return [f"{self.path.name}-{number:03d}" for number in range(len(self.trials))]

    def hand_cut(self, folder: Path) -> Path:
        """Write a recording of each trial's messages alone; they are called ``cut-000`` and so on."""
        for number, trial in enumerate(self.trials):
            own = [m for m in self.messages if m.topic in TOPICS.values() and trial.start <= m.stamp < trial.end]
            record(folder / f"cut-{number:03d}", "mcap", own)
        return folder


def make_trials(path: Path, count: int, seed: int = 1) -> Trials:
    """Write a recording of ``count`` trials."""
    chosen = np.random.default_rng(seed)
    trials, at = [], ORIGIN + 700 * MS
    for number in range(count):
        length = 20 * MS * int(chosen.integers(10, 26))
        trials.append(Trial(at, at + length, f"task {number % 3}", LABELS[chosen.random() < 0.3]))
        at += length + 20 * MS * int(chosen.integers(35, 46))
    messages = sorted([*_joints(trials, at), *_marks(trials, at), *_pictures(trials)], key=lambda m: m.stamp)
    return Trials(record(path, "mcap", messages), trials, messages)


def _joints(trials: Sequence[Trial], end: int) -> list[Message]:
    """Return the joints' states, 5 ms beside every start and end: they move in trials alone."""
    stamps = np.arange(ORIGIN + 5 * MS, end, 20 * MS)
    inside = np.zeros(len(stamps), bool)
    for trial in trials:
        inside |= (stamps >= trial.start) & (stamps < trial.end)
    angles = np.cumsum(np.where(inside, 0.02, 0.0))  # 1 rad/s
    kind = "sensor_msgs/msg/JointState"
    return [
        Message(
            "/joints",
            stamp,
            encoded("cdr", kind, header=header(stamp - MS), name=["a", "b"], position=[angle, -angle]),
            kind,
        )
        for stamp, angle in zip(stamps.tolist(), angles.tolist(), strict=True)
    ]


def _pictures(trials: Sequence[Trial]) -> list[Message]:
    found, kind = [], "sensor_msgs/msg/Image"
    for number, trial in enumerate(trials):
        for n, stamp in enumerate(trial.pictures()):
            pixels = np.full((16, 16, 3), (number, n, 7), np.uint8).tobytes()
            about = {"height": 16, "width": 16, "encoding": "rgb8", "step": 48, "data": list(pixels)}
            found.append(Message("/cam", stamp, encoded("cdr", kind, header=header(stamp), **about), kind))
    return found


def _marks(trials: Sequence[Trial], end: int) -> list[Message]:
    found = []

    def mark(topic: str, stamp: int, kind: str, **values: Any) -> None:
        found.append(Message(topic, stamp, encoded("cdr", kind, **values), kind))

    for number, trial in enumerate(trials):
        mark("/trial", trial.start, "std_msgs/msg/String", data=f"start: {trial.task}")
        mark("/trial", trial.end, "std_msgs/msg/String", data=f"stop: {trial.label}")
        mark("/verdict", trial.end + 30 * MS, "std_msgs/msg/Bool", data=trial.label == "success")
        mark("/task", trial.start - 10 * MS, "std_msgs/msg/String", data=trial.task)
        mark("/number", trial.start, "std_msgs/msg/Int32", data=number + 1)
        mark("/number", trial.end, "std_msgs/msg/Int32", data=0)
    edges = {trial.start: True for trial in trials} | {trial.end: False for trial in trials}
    held = False
    for stamp in sorted({*range(ORIGIN, end, 20 * MS), *edges}):
        held = edges.get(stamp, held)
        mark("/running", stamp, "std_msgs/msg/Bool", data=held)
        mark("/joy", stamp, "sensor_msgs/msg/Joy", axes=[0.9 if held else 0.1], buttons=[int(held), 1])
    return found


WAYS: dict[str, dict[str, Any]] = {  # of which each finds the trials, with tasks and labels
    "texts": {"from": {"topic": "/trial", "start": "start*", "stop": "stop*", "task": "data", "label": "data"}},
    "truth value": {"from": {"topic": "/running", "start": True, "stop": False, "task": "/task", "label": "/verdict"}},
    "number": {"from": {"topic": "/number", "start": "> 0", "stop": 0, "task": "/task", "label": "/verdict"}},
    "button": {
        "from": {
            "topic": "/joy",
            "field": "buttons[0]",
            "start": 1,
            "stop": 0,
            "task": "/task",
            "label": "/verdict",
        }
    },
    "axis": {
        "from": {
            "topic": "/joy",
            "field": "axes[0]",
            "start": ">= 0.5",
            "stop": "< 0.5",
            "task": "/task",
            "label": "/verdict",
        }
    },
}


def configured(path: Path, episodes: dict[str, Any], consumers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Configure runs that cut a recording."""
    return {
        "source": {"path": str(path)},
        "timeline": {"from": "cam"},
        "chunk_size": 6,
        "streams": {
            "cam": {"topic": "/cam"},
            "joints": {"topic": "/joints", "field": "position", "clock": "header", "missing": "hold"},
        },
        "episodes": episodes,
        "consumers": consumers,
        **more,
    }
