"""The origin's arguments, in any of their orders → checked values; the errors that its callers catch as ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from streamer.config.model import StreamConfig
from streamer.config.settings import stream_setting
from streamer.errors import ConfigError, RecordingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.records import StreamSettings

_FUNCTION = "msg_process_fn"
_LEFT_TO_US = ("clock", "missing", "concat")  # settings of a stream that mean nothing here
_OWN = (
    "topic_process_map",
    "camera_names",
    "train_hz",
    "main_timeline_fps",
    "sample_drop",
    "main_timeline",
    "crop_range",
)
_FIRST = ("msg_processer", "topic_process_map", "camera_names", "train_hz")
_LAST = ("main_timeline_fps", "sample_drop", "only_half_up_body", "crop_range")


class ArgumentError(ConfigError, ValueError):
    """An argument does not fit; a ValueError, as the origin's is."""


class TimelineError(RecordingError, ValueError):
    """The recording has no message to make a timeline of, or too few; a ValueError, as the origin's is."""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the topic map."""

    settings: StreamSettings
    function: Callable[[Any], Any] | None


def by_name(arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments by their names, whichever order those by position are in.

    Raises:
        TypeError: too many, or one twice.

    """
    order = _order(arguments, named)
    if len(arguments) > len(order):
        msg = f"ChunkedRosbagProcessor() takes at most {len(order)} arguments by position, {len(arguments)} are given"
        raise TypeError(msg)
    given = dict(zip(order, arguments, strict=False))
    if twice := given.keys() & named.keys():
        msg = f"ChunkedRosbagProcessor() got two values for {', '.join(sorted(twice))}"
        raise TypeError(msg)
    return {**given, **named}


def _order(arguments: Sequence[Any], named: Mapping[str, Any]) -> tuple[str, ...]:
    """Tell the three orders apart: this class's own begins with the map, the origin's later one has a key as fifth."""
    first, second = (isinstance(arguments[n], Mapping) if len(arguments) > n else False for n in (0, 1))
    if first and not second and "topic_process_map" not in named:
        return _OWN
    if len(arguments) > len(_FIRST) and (arguments[4] is None or isinstance(arguments[4], str)):
        return (*_FIRST, "main_timeline", *_LAST)
    return (*_FIRST, *_LAST)


def check_keys(topic_map: object) -> dict[str, Key]:
    """Check the topic map, with the checks of a configuration's streams.

    Raises:
        ArgumentError: it is no mapping of keys to mappings, or a setting is unknown or does not fit.

    """
    if not isinstance(topic_map, Mapping) or not topic_map:
        msg = f"topic_process_map should be a mapping of keys to topics, it is {topic_map!r}"
        raise ArgumentError(msg)
    return {key: _key(key, entry) for key, entry in topic_map.items()}


def _key(key: str, entry: Mapping[str, Any]) -> Key:
    if key == "timestamp" or any(name in entry for name in _LEFT_TO_US):
        msg = f"topic_process_map[{key!r}]: 'timestamp' is a frame's own key; {_LEFT_TO_US} are not settings here"
        raise ArgumentError(msg)
    function = entry.get(_FUNCTION)
    if function is not None and not callable(function):
        msg = f"topic_process_map[{key!r}].{_FUNCTION} should be a function of a message, it is {function!r}"
        raise ArgumentError(msg)
    settings = {name: value for name, value in entry.items() if name != _FUNCTION}
    try:
        stream = StreamConfig.model_validate({**settings, "missing": "none"})
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        msg = f"topic_process_map[{key!r}]: {found}"
        raise ArgumentError(msg) from error
    if stream.undecodable == "skip":
        msg = f"topic_process_map[{key!r}].undecodable: 'skip' cannot be had here, use 'none'"
        raise ArgumentError(msg)
    if function is not None and stream.align in ("linear", "mean"):
        msg = f"topic_process_map[{key!r}].align: {stream.align!r} is for entries without {_FUNCTION}"
        raise ArgumentError(msg)
    return Key(stream_setting(key, stream), function)
