"""The consumer's options → what is wanted of features, tasks and pictures, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from consumers.encoders import check_encoder
from consumers.files import require
from consumers.lerobot.depth import check_depth_encoder
from consumers.lerobot.features import DTYPES, make_features
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consumers.lerobot.features import Feature
    from consumers.mp4 import Coding
    from streamer.contract import Recording

_EXAMPLE = "task: 'Pick up the cube', task_file: tasks.yaml, or task_stream: instruction"


def choose(name: str, value: str, known: tuple[str, ...]) -> str:
    """Return a value that is one of those known.

    Raises:
        ValueError: it is another.

    """
    if value not in known:
        msg = f"{name} is {' or '.join(known)}, not {value!r}"
        raise ValueError(msg)
    return value


@dataclass(frozen=True, slots=True)
class FeatureWish:
    """Which streams lie under which key, the names and types of their elements, and how pictures are kept."""

    wanted: Mapping[str, Sequence[str]]
    names: Mapping[str, Sequence[str]]
    dtypes: Mapping[str, str]
    codec: str | None
    depth_video: bool

    @classmethod
    def take(
        cls,
        features: Mapping[str, str | list[str]],
        names: Mapping[str, list[str]] | None,
        dtype: Mapping[str, str] | None,
        images: str,
        depth: str,
        coding: Coding,
    ) -> FeatureWish:
        """Check the options.

        Raises:
            ValueError: one makes no sense. ConfigError: the encoder is not there.

        """
        if not features:
            msg = "features is empty: it maps LeRobot's keys to streams, such as {observation.images.head: head}"
            raise ValueError(msg)
        for key in features:
            if "/" in key or not key:
                msg = f"features: {key!r} cannot be a key: LeRobot's have no '/'"
                raise ValueError(msg)
        for option, keys in (("names", names or {}), ("dtype", dtype or {})):
            for key in keys:
                if key not in features:
                    msg = f"{option}: there is no feature {key!r}; features: {', '.join(features)}"
                    raise ValueError(msg)
        for key, value in (dtype or {}).items():
            choose(f"dtype of {key}", value, DTYPES)
        choose("images", images, ("video", "png"))
        choose("depth", depth, ("lossless", "video"))
        require("pyarrow.parquet", "lerobot")  # here, so that the next process has it loaded when its turn comes
        require("av", "lerobot")
        if images == "video":
            check_encoder(coding.codec)
        if depth == "video":
            check_depth_encoder()
        wanted = {key: [found] if isinstance(found, str) else list(found) for key, found in features.items()}
        return cls(wanted, names or {}, dtype or {}, coding.codec if images == "video" else None, depth == "video")

    def of(self, recording: Recording) -> tuple[Feature, ...]:
        """Find out what the features of a recording look like.

        Raises:
            ConfigError: a stream does not exist or does not fit.

        """
        return make_features(
            self.wanted,
            self.names,
            recording.streams,
            codec=self.codec,
            dtypes=self.dtypes,
            depth_video=self.depth_video,
        )


@dataclass(frozen=True, slots=True)
class TaskWish:
    """What the robot does: one text, one for each recording, or what a text stream says in each frame."""

    texts: str | Mapping[str, str] | None
    stream: str | None

    @classmethod
    def take(cls, task: str | Mapping[str, str] | None, task_file: str | None, stream: str | None) -> TaskWish:
        """Check the options.

        Raises:
            ValueError: there is not exactly one of them, or the file cannot be read.

        """
        if sum(option is not None for option in (task, task_file, stream)) != 1:
            msg = f"exactly one of task, task_file and task_stream says what the robot does: {_EXAMPLE}"
            raise ValueError(msg)
        return cls(task if task_file is None else _read_tasks(Path(task_file)), stream)

    def of(self, recording: Recording) -> str:
        """Return the task of a recording; empty where a stream says it frame by frame.

        An episode's own goes before a text that is the same for all.

        Raises:
            ConfigError: it has none, or the stream is no text.

        """
        if self.stream is not None:
            found = recording.streams.get(self.stream)
            if found is None or found.kind != "text":
                what = "there is no such stream" if found is None else f"it is {found.kind}, and a task is text"
                texts = [name for name, stream in recording.streams.items() if stream.kind == "text"]
                msg = f"task_stream {self.stream!r}: {what}; texts: {', '.join(texts) or 'none'}"
                raise ConfigError(msg, key=f"streams.{self.stream}")
            return ""
        if isinstance(self.texts, str):
            return recording.task or self.texts
        tasks = self.texts or {}
        if recording.task and recording.name not in tasks:
            return recording.task
        if recording.name not in tasks:
            msg = f"there is no task for the recording {recording.name!r}; there are some for: {', '.join(tasks)}"
            raise ConfigError(msg)
        return tasks[recording.name]


def _read_tasks(path: Path) -> dict[str, str]:
    """Read the task of each recording from a YAML or JSON file."""
    import yaml

    try:
        tasks = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        msg = f"task_file {path} cannot be read: {error}"
        raise ValueError(msg) from error
    if not isinstance(tasks, dict) or not all(isinstance(task, str) for task in tasks.values()):
        msg = f"task_file {path} is no mapping of recordings to tasks, such as 'pick-01: Pick up the cube'"
        raise ValueError(msg)
    return {str(name): task for name, task in tasks.items()}
