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


def lerobot_features(found: Suggestion, types: Mapping[str, str]) -> Features:
    """Sort streams into what a policy sees and what it does; ``types`` has the message type of each topic.

    Cameras become ``observation.images.NAME``, joint positions ``observation.state``, commands ``action``, any other
    vector ``observation.NAME``. Where there is no command, the action is the state one tick later; a remark says so.
    """
    features = Features()
    states, actions, others = [], [], []
    for name, kind in found.kinds.items():
        topic = found.streams[name]["topic"]
        if kind == "image":
            features.keys[f"observation.images.{name}"] = name
        elif kind == "text":
            features.remarks.append(f"{name} (text) is left out: lerobot's 'task_stream: {name}' makes it the task")
        elif kind != "vector":
            features.remarks.append(f"{name} ({kind}) is left out of the dataset")
        elif any(word in f"{topic} {name}".lower() for word in _COMMANDS) or "trajectory_msgs" in types[topic]:
            actions.append(name)
        elif types[topic] == _JOINTS:
            states.append(name)
        else:
            others.append(name)
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
        features.remarks.append("no topic holds commands or joint positions: the dataset has no action")
    return features


def _later(name: str, found: Suggestion, features: Features) -> str:
    """Add a stream that shows what another shows one tick later; return its name."""
    later = f"{name}_next"
    while later in found.streams or later in features.added:
        later += "_"
    features.added[later] = {**found.streams[name], "at": _LATER}
    return later


def _one_or_list(names: list[str]) -> str | list[str]:
    return names[0] if len(names) == 1 else names
