"""A configuration with mistakes → the mistakes, and what is left without the settings that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from streamer.config.load import Loaded, beyond_64_bits, explain, read
from streamer.config.model import Config

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from streamer.config.load import Where
    from streamer.errors import ConfigError

_ROUNDS = 4  # of leaving out what holds a mistake


def load_leniently(path: Path, overrides: Iterable[str] = ()) -> tuple[Loaded | None, list[ConfigError]]:
    """Read as `load` does, leave out what holds a mistake, and return what is left (None: too little) and the mistakes.

    Raises:
        ConfigError: the file cannot be read, or is no mapping in YAML.

    """
    path = path.absolute()
    return leniently(path, *read(path, overrides))


def leniently(
    path: Path, values: dict[str, Any], lines: dict[Where, int | None]
) -> tuple[Loaded | None, list[ConfigError]]:
    """Check values as `load_leniently` does those of a file; they are changed."""
    mistakes: list[ConfigError] = []
    left_out: set[str] = set()
    for where, mistake in list(beyond_64_bits(path, values, lines)):
        mistakes.append(mistake)
        left_out |= _leave_out(values, [part for part in where if isinstance(part, str)], missing=False)
    for number in range(_ROUNDS):
        try:
            return Loaded(path, Config.model_validate(values), values, lines), mistakes
        except ValidationError as error:
            mistakes += [explain(path, lines, e) for e in error.errors() if not number or not _follows(e, left_out)]
            for found in error.errors():
                left_out |= _leave_out(values, found["loc"], missing=found["type"] == "missing")
    return None, mistakes


def _follows(found: Any, left_out: set[str]) -> bool:
    """Tell whether a mistake is there only because something was left out."""
    return found["type"] in ("missing", "too_short") or any(repr(name) in found["msg"] for name in left_out)


def _leave_out(values: dict[str, Any], where: Iterable[int | str], *, missing: bool) -> set[str]:
    """Take out the setting at a path, or where it is ``missing`` what lacks it; return the names of what went.

    A timeline that follows such a stream becomes a grid, and consumers see what is left.
    """
    path = [str(part) for part in where][: -1 if missing else None]
    gone: set[str] = set()
    if not path:
        _separate(values)
    elif path[0] == "streams" and (len(path) == 2 or path[2:3] == ["topic"]):
        gone = {path[1]}
        _forget(values, path[1])
    else:
        gone = {path[-1]}
        _delete(values, path)
    values.setdefault("consumers", {"null": {}})
    return gone


def _forget(values: dict[str, Any], stream: str) -> None:
    """Take out a stream, and its name where others name it."""
    values["streams"].pop(stream, None)
    if isinstance(timeline := values.get("timeline"), dict) and timeline.get("from") == stream:
        values["timeline"] = {"from": "grid", "rate": "10 Hz"}
    consumers = values.get("consumers")
    for consumer in consumers.values() if isinstance(consumers, dict) else ():
        if isinstance(consumer, dict) and isinstance(shown := consumer.get("streams"), list) and stream in shown:
            consumer["streams"] = [name for name in shown if name != stream] or None


def _delete(values: dict[str, Any], path: list[str]) -> None:
    """Delete the deepest setting on a path that there is: a list goes as a whole."""
    place = values
    for part in path:
        inside = place.get(part)
        if not isinstance(inside, dict) or part == path[-1]:
            place.pop(part, None)
            return
        place = inside


def _separate(values: dict[str, Any]) -> None:
    """Take out the settings that may not fit together."""
    for key in ("ray", "free_space", "http", "http_token"):
        values.pop(key, None)
    consumers = values.get("consumers")
    for consumer in consumers.values() if isinstance(consumers, dict) else ():
        if isinstance(consumer, dict):
            consumer.pop("streams", None)
            consumer.pop("mode", None)
