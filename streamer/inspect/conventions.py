"""The streams of a recording → the features of a LeRobot dataset, by the field's conventions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.inspect.suggestion import Suggestion

_COMMANDS = ("action", "command", "cmd", "traj", "target", "goal", "setpoint", "desired")
_JOINTS = "sensor_msgs/msg/JointState"
_LATER = "+1 tick"


@dataclass(slots=True)
class Features:
    """LeRobot's keys, each with its streams; ``added`` streams that they need; ``remarks`` are lines for a person."""

    keys: dict[str, str | list[str]] = field(default_factory=dict)
    added: dict[str, dict[str, Any]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Said:
    """Which streams are the state and which the action, where somebody has said so; else conventions tell."""

    states: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()


def lerobot_features(found: Suggestion, types: Mapping[str, str], said: Said | None = None) -> Features:
    """Sort streams into what a policy sees and what it does; ``types`` has the message type of each topic.

    Cameras become ``observation.images.NAME``, joint positions ``observation.state``, commands ``action``, any other
    vector ``observation.NAME``. Where there is no command, the action is the state one tick later; a remark says so.
    """
    features = Features()
    states, actions, others = _sorted(found, types, said or Said(), features)
    if not states and len(others) == 1:
        states, others = others, []
    if states:
        features.keys["observation.state"] = _one_or_list(states)
    for name in others:
        features.keys[f"observation.{name}"] = name
    if not actions and states:
        actions = [_later(name, found, features) for name in states]
        features.remarks.append(
            f"no topic holds commands: the action is {', '.join(states)} one tick later ({', '.join(actions)})"
        )
    if actions:
        features.keys["action"] = _one_or_list(actions)
    else:
        features.remarks.append("no topic holds commands or joint positions: no action (--action NAME chooses one)")
    return features


def _sorted(
    found: Suggestion, types: Mapping[str, str], said: Said, features: Features
) -> tuple[list[str], list[str], list[str]]:
    """Return the vectors that are states, actions and others; enter cameras, and what is left out."""
    states, actions, others = list(said.states), list(said.actions), []
    for name, kind in found.kinds.items():
        topic = found.streams[name]["topic"]
        if name in (*states, *actions):
            continue
        if kind == "image":
            features.keys[f"observation.images.{name}"] = name
        elif kind == "text":
            features.remarks.append(f"{name} (text) is left out: lerobot's 'task_stream: {name}' makes it the task")
        elif kind != "vector":
            features.remarks.append(f"{name} ({kind}) is left out of the dataset")
        elif not said.actions and _commands(f"{topic} {name}", types[topic]):
            actions.append(name)
        elif not said.states and types[topic] == _JOINTS:
            states.append(name)
        else:
            others.append(name)
    return states, actions, others


def _commands(words: str, msgtype: str) -> bool:
    return any(word in words.lower() for word in _COMMANDS) or "trajectory_msgs" in msgtype


def _later(name: str, found: Suggestion, features: Features) -> str:
    """Add a stream that shows what another shows one tick later; return its name."""
    later = f"{name}_next"
    while later in found.streams or later in features.added:
        later += "_"
    features.added[later] = {**found.streams[name], "at": _LATER}
    return later


def _one_or_list(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names
