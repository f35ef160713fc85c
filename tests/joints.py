"""Kinds of recordings in which names stand beside numbers, and what rosbags reads from them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import get_types_from_msg

from tests.bags import JOINTS, SECOND, START, Message, encoded, encoding_of, header, record, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
MULTI = "sensor_msgs/msg/MultiDOFJointState"
FOLLOWED = "control_msgs/msg/JointTrajectoryControllerState"
DYNAMIC = "control_msgs/msg/DynamicJointState"
MOTORS = "robot_msgs/msg/Motors"
LATE = "robot_msgs/msg/LateNames"
PERIOD = SECOND // 100
_OWN = {
    "control_msgs/msg/InterfaceValue": "string[] interface_names\nfloat64[] values",
    FOLLOWED: (
        "std_msgs/Header header\nstring[] joint_names\ntrajectory_msgs/JointTrajectoryPoint desired\n"
        "trajectory_msgs/JointTrajectoryPoint actual\ntrajectory_msgs/JointTrajectoryPoint error"
    ),
    DYNAMIC: "std_msgs/Header header\nstring[] joint_names\ncontrol_msgs/InterfaceValue[] interface_values",
    MOTORS: "string label\nstring[] names\nfloat32[] current\nfloat32[3] gravity\nuint8[] mode",
    LATE: "float64[] angle\nbool on\nstring[] channels",
}


def own_types() -> None:
    """Make the types known that rosbags does not come with."""
    for encoding in ("ros1", "cdr"):
        for name, text in _OWN.items():
            if name not in store(encoding).fielddefs:
                store(encoding).register(get_types_from_msg(text, name))


def states(
    form: str, each: Callable[[int], Mapping[str, float]], count: int = 40, topic: str = "/joint_states", **how: Any
) -> Iterator[Message]:
    """Give joint states: ``each(n)`` says names and positions of message n; velocity is ten times, effort minus it.

    ``frame`` says the header's frame of message n, ``full`` whether it has a velocity.
    """
    encoding = how.get("encoding") or encoding_of(form)
    frame, full = how.get("frame", lambda _: "base"), how.get("full", lambda _: True)
    for n in range(count):
        stamp, values = START + n * PERIOD, np.array(list(each(n).values()), float)
        fields = {
            "header": header(stamp, frame(n)),
            "name": list(each(n)),
            "position": values,
            "velocity": values * 10 if full(n) else [],
            "effort": -values,
        }
        yield Message(topic, stamp, encoded(encoding, JOINTS, **fields), JOINTS)


def two_arms(form: str) -> Iterator[Message]:
    """Two publishers in turn; their names have different lengths."""

    def each(n: int) -> dict[str, float]:
        return {f"left_arm_{k}": n + k for k in range(6)} if n % 2 == 0 else {f"r{k}": -n - k for k in range(5)}

    return states(form, each)


def order_within(form: str) -> Iterator[Message]:
    """The order changes in the middle."""

    def each(n: int) -> dict[str, float]:
        values = {"waist": n, "shoulder": n + 0.25, "wrist": n + 0.5}
        return values if n < 20 else dict(reversed(values.items()))

    return states(form, each, frame=lambda n: "x" * (n % 7))


def subset(form: str) -> Iterator[Message]:
    """One joint is missing in every fifth message."""
    return states(form, lambda n: {f"j{k}": n * 10 + k for k in range(4) if n % 5 != 3 or k != 2})


def velocity_sometimes(form: str) -> Iterator[Message]:
    """The velocity is empty in most messages."""
    return states(form, lambda n: {f"j{k}": n + k for k in range(3)}, full=lambda n: n % 10 == 0)


def long_names(form: str) -> Iterator[Message]:
    """Names of 4 kB, and a second publisher whose messages are shorter than those of the first."""

    def each(n: int) -> dict[str, float]:
        return {f"{'long' * 12}_{k}": n + k for k in range(80)} if n % 3 else {"tool": -n}

    return states(form, each)


def growing(form: str) -> Iterator[Message]:
    """Every message has a name of its own beside two that all have: more kinds than are remembered."""
    return states(form, lambda n: {"a": n, f"{'c' * (n % 9)}counter_{n}": 0.5, "b": -n}, count=200)


def unnamed_at_times(form: str) -> Iterator[Message]:
    """Every fourth message has numbers without names."""
    for n, message in enumerate(states(form, lambda n: {"a": n, "b": n + 0.5})):
        bare = {"header": header(message.stamp), "position": [7.0, 8.0]}
        yield message._replace(data=encoded(encoding_of(form), JOINTS, **bare)) if n % 4 == 3 else message


def trajectories(form: str) -> Iterator[Message]:
    """Trajectories of two points of two controllers with other joints."""
    encoding = encoding_of(form)
    for n in range(30):
        names = ["waist", "shoulder", "wrist"] if n % 2 else ["wrist", "waist", "shoulder"]
        values = {"waist": n + 0.1, "shoulder": n + 0.2, "wrist": n + 0.3}
        points = [_point(encoding, [values[name] + at for name in names]) for at in (0, 100)]
        stamp = START + n * PERIOD
        data = encoded(encoding, TRAJECTORY, header=header(stamp), joint_names=names, points=points)
        yield Message("/command", stamp, data, TRAJECTORY)


def _point(encoding: str, positions: Sequence[float]) -> Any:
    types = store(encoding).types
    duration = types["builtin_interfaces/msg/Duration"](sec=1, nanosec=2)
    values = np.array(positions, float)
    point = types["trajectory_msgs/msg/JointTrajectoryPoint"]
    return point(
        positions=values, velocities=values * 2, accelerations=values[:0], effort=values * 3, time_from_start=duration
    )


def followed(form: str) -> Iterator[Message]:
    """States of a trajectory controller."""
    own_types()
    encoding = encoding_of(form)
    for n in range(30):
        stamp, names = START + n * PERIOD, ["waist", "wrist"]
        points = {key: _point(encoding, [n + k, n + k + 0.5]) for k, key in enumerate(("desired", "actual", "error"))}
        data = encoded(encoding, FOLLOWED, header=header(stamp), joint_names=names, **points)
        yield Message("/controller/state", stamp, data, FOLLOWED)


def dynamic(form: str) -> Iterator[Message]:
    """Joints with different interfaces; their order changes."""
    own_types()
    encoding = encoding_of(form)
    value = store(encoding).types["control_msgs/msg/InterfaceValue"]
    for n in range(30):
        stamp = START + n * PERIOD
        arm, grip = {"position": n + 0.5, "velocity": n + 0.25}, {"position": -n, "effort": n * 2.0, "t": 1.0}
        joints: dict[str, dict[str, float]] = {"arm": arm, "grip": grip}
        order = ["arm", "grip"] if n < 15 else ["grip", "arm"]
        values = [
            value(interface_names=list(joints[j]), values=np.array(list(joints[j].values()), float)) for j in order
        ]
        data = encoded(encoding, DYNAMIC, header=header(stamp), joint_names=order, interface_values=values)
        yield Message("/dynamic_joint_states", stamp, data, DYNAMIC)


def multi(form: str) -> Iterator[Message]:
    """Joints of several degrees of freedom, in two orders."""
    encoding = encoding_of(form)
    types = store(encoding).types
    transform, vector = types["geometry_msgs/msg/Transform"], types["geometry_msgs/msg/Vector3"]
    quaternion = types["geometry_msgs/msg/Quaternion"]
    for n in range(30):
        order = ["base", "drone"] if n % 3 else ["drone", "base"]
        there = {
            name: transform(vector(x=n + k, y=k + 0.5, z=0.0), quaternion(x=0.0, y=0.0, z=0.6, w=0.8))
            for k, name in enumerate(("base", "drone"))
        }
        stamp = START + n * PERIOD
        data = encoded(
            encoding, MULTI, header=header(stamp), joint_names=order, transforms=[there[name] for name in order]
        )
        yield Message("/multi", stamp, data, MULTI)


def motors(form: str) -> Iterator[Message]:
    """A type of a robot's own, with names beside numbers; their order changes, and so does a text before them."""
    own_types()
    for n in range(30):
        stamp, order = START + n * PERIOD, ["m1", "m2", "m3", "m4"]
        order = order if n < 10 else order[::-1]
        current = [n + int(name[1]) / 8 for name in order]
        mode = [int(name[1]) for name in order]
        fields = {"label": "é" * (n % 5), "names": order, "current": current, "mode": mode, "gravity": [0, 0, 9.5]}
        yield Message("/motors", stamp, encoded(encoding_of(form), MOTORS, **fields), MOTORS)


def late(form: str) -> Iterator[Message]:
    """Names of an unusual field, behind the numbers."""
    own_types()
    for n in range(30):
        order = ["up", "down"] if n % 2 else ["down", "up"]
        values = {"up": n + 0.5, "down": -n - 0.5}
        data = encoded(encoding_of(form), LATE, angle=[values[name] for name in order], on=True, channels=order)
        yield Message("/late", START + n * PERIOD, data, LATE)


def write(path: Path, kind: Callable[[str], Iterator[Message]], form: str) -> Path:
    """Record a kind in a format."""
    return record(path / kind.__name__, form, list(kind(form)), chunk=4000)


def by_name(path: Path, topic: str, values: Callable[[Any], Mapping[str, float]]) -> list[tuple[int, dict[str, float]]]:
    """Read a topic with rosbags: for each message its stamp, and the numbers by their names."""
    own_types()
    found = []
    with AnyReader([path], default_typestore=store("cdr")) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        for connection, stamp, raw in reader.messages(connections):
            found.append((stamp, dict(values(reader.deserialize(raw, connection.msgtype)))))
    return found


def rows(found: list[tuple[int, dict[str, float]]], elements: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return the wanted elements (n, k) of the messages that have all of them."""
    return np.array([[one[name] for name in elements] for _, one in found if set(elements) <= set(one)], float)
