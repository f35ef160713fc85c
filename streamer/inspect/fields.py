"""A message type → the fields of it that make vectors: the numbers that stand for something, grouped by what fits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from rosbags.interfaces import Nodetype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rosbags.interfaces.typing import FieldDesc, Typesdict

_KNOWN: dict[str, str | tuple[str, ...]] = {  # what a person means who names the type
    "sensor_msgs/msg/JointState": "position",
    "nav_msgs/msg/Odometry": ("pose.pose", "twist.twist"),
    "geometry_msgs/msg/PoseStamped": "pose",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose.pose",
    "geometry_msgs/msg/TwistStamped": "twist",
    "geometry_msgs/msg/TwistWithCovarianceStamped": "twist.twist",
    "geometry_msgs/msg/TransformStamped": "transform",
    "geometry_msgs/msg/WrenchStamped": "wrench",
    "sensor_msgs/msg/Imu": ("orientation", "angular_velocity", "linear_acceleration"),
    "sensor_msgs/msg/LaserScan": "ranges",
    "sensor_msgs/msg/NavSatFix": ("latitude", "longitude", "altitude"),
}
_UNITS = {  # as REP 103 and the types' own comments have them
    "sensor_msgs/msg/JointState": "rad, m for sliding joints",
    "nav_msgs/msg/Odometry": "m, quaternion, m/s, rad/s",
    "geometry_msgs/msg/Pose": "m, quaternion",
    "geometry_msgs/msg/PoseStamped": "m, quaternion",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "m, quaternion",
    "geometry_msgs/msg/Transform": "m, quaternion",
    "geometry_msgs/msg/TransformStamped": "m, quaternion",
    "geometry_msgs/msg/Twist": "m/s, rad/s",
    "geometry_msgs/msg/TwistStamped": "m/s, rad/s",
    "geometry_msgs/msg/TwistWithCovarianceStamped": "m/s, rad/s",
    "geometry_msgs/msg/Wrench": "N, Nm",
    "geometry_msgs/msg/WrenchStamped": "N, Nm",
    "sensor_msgs/msg/Imu": "quaternion, rad/s, m/s²",
    "sensor_msgs/msg/LaserScan": "m",
    "sensor_msgs/msg/NavSatFix": "°, °, m",
}
_HEADINGS = {  # where a type has the orientation of something that drives
    "nav_msgs/msg/Odometry": "pose.pose.orientation",
    "geometry_msgs/msg/PoseStamped": "pose.orientation",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose.pose.orientation",
    "sensor_msgs/msg/Imu": "orientation",
}
_JOINTS = re.compile(r"position|positions|joint_?(?:q|pos|positions?|angles?)|q|qpos")
_ARRAYS = re.compile(r"std_msgs/msg/\w+MultiArray")  # whose layout says how the numbers lie, and is none of them
_LOGS = re.compile(r"(rosgraph_msgs|rcl_interfaces)/msg/(Log|ParameterEvent)")  # of whose numbers nobody learns
_HEADER = "std_msgs/msg/Header"
_NUMBERS = frozenset(
    ["bool", "byte", "char", "float32", "float64"] + [f"{k}{n}" for k in ("int", "uint") for n in (8, 16, 32, 64)]
)
_WIDE = frozenset({"int64", "uint64"})  # no floating-point number holds all of them
_DEPTH = 8


class Choice(NamedTuple):
    """Fields that make one vector. A fallback is better than nothing: the first element of a list, a log's lines."""

    fields: tuple[str, ...]  # () for the whole message
    varies: bool  # its length
    fallback: bool = False


class _Leaf(NamedTuple):
    path: str
    bases: frozenset[str]
    varies: bool = False
    in_list: bool = False
    header: bool = False


def choose_fields(msgtype: str, types: Typesdict) -> list[Choice]:
    """Return the vectors that a type offers, the most telling first; none where it has no number."""
    found = _choices(msgtype, types)
    return [choice._replace(fallback=True) for choice in found] if is_log(msgtype) else found


def unit_of(msgtype: str) -> str:
    """Return in what a type has its numbers, as `choose_fields` takes them; empty where that is not known."""
    return _UNITS.get(msgtype, "")


def heading_of(msgtype: str) -> str:
    """Return the field of an orientation that may be wanted as one angle; empty where there is none."""
    return _HEADINGS.get(msgtype, "")


def is_log(msgtype: str) -> bool:
    """Tell whether messages of a type are lines of a log, and no measurements."""
    return _LOGS.fullmatch(msgtype) is not None


def _choices(msgtype: str, types: Typesdict) -> list[Choice]:
    if known := _KNOWN.get(msgtype):
        return [Choice((known,) if isinstance(known, str) else known, msgtype.endswith(("JointState", "LaserScan")))]
    if _ARRAYS.fullmatch(msgtype):
        return [Choice(("data",), varies=True)]
    if joints := next(_joints(msgtype, types), None):
        return [Choice((joints,), varies=True)]
    if (bases := _flat((Nodetype.NAME, msgtype), types)) and _fit(bases):
        return [Choice((), varies=False)]
    leaves = list(_leaves(msgtype, types, "", _DEPTH))
    wanted = [leaf for leaf in leaves if not leaf.header and not leaf.in_list]
    telling = [leaf for leaf in wanted if not leaf.path.endswith("covariance")] or wanted
    if not telling:
        headers = [leaf for leaf in leaves if leaf.header]
        lists = [Choice((leaf.path,), leaf.varies, fallback=True) for leaf in leaves if leaf.in_list]
        return [*lists[:1], *(choice._replace(fallback=True) for choice in _grouped(headers))]
    return [*_grouped([leaf for leaf in telling if not leaf.varies]), *_each(telling)]


def _grouped(leaves: list[_Leaf]) -> list[Choice]:
    """Put fields of a fixed length together where one type of number holds them all as they are."""
    groups: dict[str, list[str]] = {}
    for leaf in leaves:
        wide = next(iter(leaf.bases & _WIDE), "")
        groups.setdefault(wide, []).append(leaf.path)
    return [Choice(tuple(paths), varies=False) for _, paths in sorted(groups.items())]


def _each(leaves: list[_Leaf]) -> list[Choice]:
    return [Choice((leaf.path,), varies=True) for leaf in leaves if leaf.varies]


def _fit(bases: frozenset[str]) -> bool:
    return len(bases) == 1 or not bases & _WIDE


def _joints(msgtype: str, types: Typesdict, above: str = "", depth: int = 3) -> Iterator[str]:
    """Yield the paths of arrays of numbers whose name says that they are joints."""
    for name, desc in types[msgtype][1] if msgtype in types else ():
        path = f"{above}{name}"
        if desc[0] == Nodetype.NAME and depth:
            yield from _joints(str(desc[1]), types, f"{path}.", depth - 1)
        elif desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE) and _JOINTS.fullmatch(name):
            element = desc[1][0]
            if element[0] == Nodetype.BASE and element[1][0].startswith("float"):
                yield path


def _flat(desc: FieldDesc, types: Typesdict, depth: int = _DEPTH) -> frozenset[str]:
    """Return the types of the numbers of a field that is made of numbers alone, always equally many; else nothing."""
    if desc[0] == Nodetype.BASE:
        return frozenset({desc[1][0]}) & _NUMBERS
    if desc[0] == Nodetype.ARRAY:
        return _flat(desc[1][0], types, depth)
    if desc[0] != Nodetype.NAME or not depth or desc[1] == _HEADER:
        return frozenset()
    parts = [_flat(inner, types, depth - 1) for _, inner in types[str(desc[1])][1]]
    return frozenset().union(*parts) if parts and all(parts) else frozenset()


def _leaves(msgtype: str, types: Typesdict, above: str, depth: int) -> Iterator[_Leaf]:
    for name, desc in types[msgtype][1] if msgtype in types and depth else ():
        path = f"{above}{name}"
        bases = _flat(desc, types)
        if bases and _fit(bases):
            yield _Leaf(path, bases)
        elif desc[0] == Nodetype.NAME:
            for leaf in _leaves(str(desc[1]), types, f"{path}.", depth - 1):
                yield leaf._replace(header=leaf.header or desc[1] == _HEADER)
        elif desc[0] in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            element = desc[1][0]
            bases = _flat(element, types)
            if bases and _fit(bases):
                yield _Leaf(path, bases, varies=True)
            elif element[0] == Nodetype.NAME:
                for leaf in _leaves(str(element[1]), types, f"{path}[0].", depth - 1):
                    if not leaf.header:
                        yield leaf._replace(in_list=True)
