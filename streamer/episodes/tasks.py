"""A file beside the recording, or of the configuration → what is done in each episode, and how it went."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

_KEY = "episodes.task_file"
_EXAMPLE = "write a text, a mapping such as 'pick-01: Pick up the cube', or task and label for each"


class Told(NamedTuple):
    """What a file says of an episode; empty where it says nothing."""

    task: str = ""
    label: str = ""


_NOTHING = Told()


@dataclass(frozen=True, slots=True)
class Tasks:
    """What a file says of a recording: of all of its episodes, and of some by their numbers."""

    whole: Told = _NOTHING
    numbers: Mapping[int, Told] = field(default_factory=dict)
    others: Collection[str] = ()  # the recordings that it has texts for, where it has none for this one

    def of(self, number: int) -> Told:
        """Return what is said of an episode; what is said of it alone goes before what is said of all."""
        own = self.numbers.get(number, _NOTHING)
        return Told(own.task or self.whole.task, own.label or self.whole.label)


def read_tasks(path: Path, names: Collection[str]) -> Tasks:
    """Read a file, of a recording with these ``names`` (with and without the ending of its file).

    A table (``.csv``) has the columns ``task`` and ``label``, and ``recording`` and ``number`` where it is not for all.
    YAML or JSON is a text, ``{task, label}``, or a mapping to such: of a recording's name, ``NAME-003`` for one of its
    episodes; a list has one for each episode. Any other file is the text of the task.

    Raises:
        ConfigError: it cannot be read, or holds something else.

    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        msg = f"the file of tasks cannot be read: {error}"
        raise ConfigError(msg, path=path, key=_KEY) from error
    try:
        if path.suffix == ".csv":
            return _of_rows(csv.DictReader(io.StringIO(text)), names, path)
        if path.suffix in (".yaml", ".yml", ".json"):
            return _of_values(_parsed(text), names, path)
    except (ValueError, csv.Error) as error:
        msg = f"{error}: {_EXAMPLE}"
        raise ConfigError(msg, path=path, key=_KEY) from error
    return Tasks(Told(" ".join(text.split())))


def _parsed(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"it is no YAML ({' '.join(str(error).split())})"
        raise ValueError(msg) from error


def _of_rows(rows: Iterable[Mapping[str, str | None]], names: Collection[str], path: Path) -> Tasks:
    whole, numbers, others = _NOTHING, {}, set()
    for line, row in enumerate(rows, 2):
        if "task" not in row and "label" not in row:
            msg = "it has no column task, and none label"
            raise ValueError(msg)
        whose, number = (row.get("recording") or "").strip(), (row.get("number") or "").strip()
        if whose and whose not in names:
            others.add(whose)
            continue
        told = Told((row.get("task") or "").strip(), (row.get("label") or "").strip())
        if not number:
            whole = told
        elif number.isdecimal():
            numbers[int(number)] = told
        else:
            msg = f"row {line} of {path.name}: {number!r} is no episode's number"
            raise ValueError(msg)
    return Tasks(whole, numbers, () if whole != _NOTHING or numbers else others)


def _of_values(values: Any, names: Collection[str], path: Path) -> Tasks:
    if isinstance(values, list):
        return Tasks(numbers={number: _told(value) for number, value in enumerate(values)})
    if not isinstance(values, dict) or (values and {*values} <= {"task", "label"}):
        return Tasks(_told(values))
    found, whole, numbers = Tasks(), _NOTHING, {}
    for key, value in ((str(key), value) for key, value in values.items()):
        name, _, number = key.rpartition("-")
        if key in names and isinstance(value, list):
            found = _of_values(value, names, path)
        elif key in names:
            whole = _told(value)
        elif name in names and number.isdecimal():
            numbers[int(number)] = _told(value)
        else:
            _told(value, deep=True)
    numbers = {**found.numbers, **numbers}
    return Tasks(whole, numbers, () if whole != _NOTHING or numbers else [str(key) for key in values])


def _told(value: Any, *, deep: bool = False) -> Told:
    """Read what is said of an episode: a text, or a mapping with task and label."""
    if deep and isinstance(value, list):
        return next((_told(one) for one in value), _NOTHING)
    if isinstance(value, str) or value is None:
        return Told((value or "").strip())
    if isinstance(value, dict) and {*value} <= {"task", "label"}:
        return Told(*(_text(value.get(key)) for key in ("task", "label")))
    msg = f"{value!r} is no task"
    raise ValueError(msg)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "success" if value else "failure"
    return "" if value is None else str(value).strip()
