"""A recording and a kind of output → the configuration that writes it, without a file to edit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from streamer.errors import ConfigError, RecordingError, UsageError, nearest_name
from streamer.inspect.conventions import Said, lerobot_features
from streamer.inspect.datasets import LAYOUTS, has_features, keys_of
from streamer.inspect.proof import plan_of, prove
from streamer.inspect.suggestion import no_stream, reasons, set_timeline, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from streamer.inspect.contents import Contents
    from streamer.inspect.suggestion import Suggestion

_FILES = {"checksum": "{recording}.checksum.json"}  # consumers whose ``out`` is a file, and not a folder
_OPTIONS = {"timeline.rate": "--rate", "timeline.start": "--start", "timeline.end_at": "--end"}
_WHOLE = 0.005  # as a part of the rate: what the writer rounds
_FASTER = 1.01  # times a stream's own rate: all of its messages are taken still
_RATE = "10 Hz"  # of a dataset whose timeline has none
_WITHOUT = ("null",)  # consumers without outputs
_CAMERA = frozenset({"image", "depth"})
NEEDED = {"images": _CAMERA, "video": _CAMERA, "points": frozenset({"points"})}  # kinds of which there must be one
_CALLED = {"images": "camera", "video": "camera", "points": "cloud of points"}
_LAYOUTS = {"hdf5": "aloha"}  # of consumers that have no layout of their own accord


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of a conversion; what is left out is chosen by what the recording holds.

    ``rate`` is in Hz, ``start`` and ``end`` as `timeline.start` has them, ``streams`` are names as ``init`` gives them,
    ``layout`` is the consumer's option of that name, ``said`` which streams are state and action.
    """

    to: str
    out: str
    rate: str | None = None
    task: str | None = None
    streams: Sequence[str] = ()
    start: str | None = None
    end: str | None = None
    layout: str | None = None
    said: Said = field(default_factory=Said)


class UndecidedError(UsageError):
    """It cannot be told which stream is the state or the action: ``option`` of the command says so."""

    option = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """The values of a configuration, and what a person should know of the choices, a line each."""

    values: dict[str, Any]
    remarks: list[str] = field(default_factory=list)


def outputs() -> list[str]:
    """Return what a recording can be converted to: the consumers that are installed and write something."""
    return sorted({entry.name for entry in entry_points(group="streamer.consumers")} - set(_WITHOUT))


def conversion(contents: Contents, wish: Wish) -> Conversion:
    """Choose streams, timeline and the consumer's options by what a recording holds.

    Raises:
        UsageError: there is no such output or stream. RecordingError: nothing can be read without further settings.

    """
    if wish.to not in outputs():
        hint = nearest_name(wish.to, outputs())
        msg = f"--to {wish.to}: there is no such output{hint or '.'} There are {', '.join(outputs())}"
        raise UsageError(msg)
    found = suggestion(contents)
    _choose(found, wish.streams, {t.name: t.count for t in contents.topics})
    found.values["timeline"] |= _window(wish)
    leader = found.streams.get(found.values["timeline"]["from"], {}).get("topic")
    if wish.to == "lerobot" and any(t.name == leader and not t.rate_hz for t in contents.topics):
        found.values["timeline"].setdefault("rate", _RATE)  # of a single picture
    try:
        found = prove(contents, found)
    except ConfigError as error:
        option = _OPTIONS.get(error.where.key)
        if option is None:
            raise
        msg = f"{option}: {error.text}"
        raise UsageError(msg) from error
    if not found.streams:
        raise no_stream(found.left_out, contents.source.path)
    remarks = [f"not read: {reason}" for reason in reasons(found.left_out)]
    if (kinds := NEEDED.get(wish.to)) and not kinds & {*found.kinds.values()}:
        there = ", ".join(f"{name} ({kind})" for name, kind in found.kinds.items())
        msg = f"it has no {_CALLED[wish.to]}, which --to {wish.to} is made of; it has {there}"
        raise RecordingError(msg, path=contents.source.path)
    options = _options(contents, found, wish, remarks)
    found.values["consumers"] = {wish.to: {"options": options}}
    return Conversion(found.values, remarks)


def _options(contents: Contents, found: Suggestion, wish: Wish, remarks: list[str]) -> dict[str, Any]:
    """Return the consumer's options; what a person should know of them goes to the remarks."""
    layout = wish.layout
    if layout is None and wish.to in _LAYOUTS:
        layout = _LAYOUTS[wish.to]
        others = ", ".join(one for one in LAYOUTS[wish.to] if one != layout)
        remarks.append(f"the layout is {layout}'s; there is also --layout {others}")
    if wish.to in _LAYOUTS and layout not in LAYOUTS[wish.to]:
        msg = f"--layout {layout}: {wish.to} has {', '.join(LAYOUTS[wish.to])}"
        raise UsageError(msg)
    options: dict[str, Any] = {"out": f"{wish.out}/{_FILES[wish.to]}" if wish.to in _FILES else wish.out}
    options |= {} if layout is None else {"layout": layout}
    if has_features(wish.to, layout or ""):
        _check_names((*wish.said.states, *wish.said.actions), found)
        features = lerobot_features(found, {t.name: t.type for t in contents.topics}, wish.said)
        if wish.to != "lerobot":
            _decide(wish.to, features.keys, found)
        used = {name for names in features.keys.values() for name in ([names] if isinstance(names, str) else names)}
        found.values["streams"] = {n: s for n, s in (found.streams | features.added).items() if n in used}
        options["features"] = keys_of(features.keys, wish.to, layout or "")
        remarks += features.remarks
    if wish.to == "lerobot":
        options["task"] = wish.task or "{recording}"
        remarks += _whole_rate(contents, found)
        if wish.task is None:
            remarks.append("the task is each recording's name: say what the robot does with --task")
    elif wish.said != Said() and not has_features(wish.to, layout or ""):
        msg = f"--state and --action are for lerobot, hdf5 and replay buffers: {wish.to} takes the streams as they are"
        raise UsageError(msg)
    elif wish.task is not None:
        msg = f"--task is for lerobot: {wish.to} has no tasks"
        raise UsageError(msg)
    return options


def _decide(to: str, keys: Mapping[str, Any], found: Suggestion) -> None:
    """Make sure that there is a state and an action.

    Raises:
        UndecidedError: conventions do not tell which stream it is.

    """
    vectors = tuple(name for name, kind in found.kinds.items() if kind == "vector")
    for key, option in (("observation.state", "--state"), ("action", "--action")):
        if key not in keys:
            what = option.removeprefix("--")
            msg = f"it cannot be told which stream is the {what}, which --to {to} needs"
            error = UndecidedError(msg, hint=f"say so with {option}: {', '.join(vectors) or 'there is no vector'}")
            error.option, error.choices = what, vectors
            raise error


def _whole_rate(contents: Contents, found: Suggestion) -> Iterator[str]:
    """Thin the timeline to a whole number of frames a second, as LeRobot has it; say so."""
    rate = plan_of(contents, found).rate
    if rate is None or "rate" in found.values["timeline"] or abs(rate - round(rate)) <= _WHOLE * rate:
        return
    whole = round(rate) if round(rate) <= rate * _FASTER else math.floor(rate)
    if whole:
        found.values["timeline"]["rate"] = f"{whole} Hz"
        yield f"{whole} frames a second of the timeline's {rate:.4g}: a LeRobot dataset has a whole number"


def _choose(found: Suggestion, wanted: Sequence[str], counts: dict[str, int]) -> None:
    """Keep the streams that are wanted; the busiest camera among them leads the timeline."""
    _check_names(wanted, found)
    for name in [name for name in found.streams if wanted and name not in wanted]:
        topic = found.streams[name]["topic"]
        found.drop(name, "it was not asked for")
        found.left_out.pop(topic)
    cameras = [settings["topic"] for name, settings in found.streams.items() if found.kinds[name] == "image"]
    set_timeline(found, max(cameras, key=lambda topic: counts[topic], default=""))
    leader = found.streams.get(found.values["timeline"]["from"])
    if leader is not None:
        leader.pop("align", None)
        leader.pop("missing", None)


def _check_names(wanted: Sequence[str], found: Suggestion) -> None:
    for name in wanted:
        if name not in found.streams:
            hint = nearest_name(name, found.streams)
            msg = f"there is no stream {name!r}{hint or '.'} There are {', '.join(found.streams)}"
            raise UsageError(msg)


def _window(wish: Wish) -> dict[str, Any]:
    said = {"rate": wish.rate, "start": wish.start, "end_at": wish.end}
    return {key: value for key, value in said.items() if value is not None}
