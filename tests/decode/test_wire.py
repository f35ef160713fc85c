"""Field paths and serialized messages → the numbers that rosbags' deserializer gives."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_msg

from streamer.decode.paths import OutOfReachError
from streamer.decode.wire import Wire
from streamer.errors import ConfigError, DecodeError
from tests.bags import FLOAT, IMAGE, JOINTS, encoded, make, serialize, store

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.interfaces.typing import FieldDesc

ENCODINGS = ("ros1", "cdr", "cdr_be")
ODOMETRY = "nav_msgs/msg/Odometry"
PATH = "nav_msgs/msg/Path"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
_NUMPY = {"byte": "i1", "char": "u1"}


def wire(encoding: str) -> Wire:
    return Wire(store(encoding).fielddefs, encoding.removesuffix("_be"), big_endian=encoding == "cdr_be")


def read(encoding: str, msgtype: str, path: str, data: bytes) -> NDArray[Any]:
    return wire(encoding).field(msgtype, path).read(memoryview(data))


# Every type, every path


def random_message(encoding: str, msgtype: str, rng: np.random.Generator) -> Any:
    defined = store(encoding).fielddefs[msgtype][1]
    return store(encoding).types[msgtype](**{name: _random(encoding, desc, rng) for name, desc in defined})


def _random(encoding: str, desc: FieldDesc, rng: np.random.Generator) -> Any:
    if desc[0] == Nodetype.BASE:
        return "x" * rng.integers(7) if desc[1][0] == "string" else _random_numbers(desc[1][0], 1, rng)[0].item()
    if desc[0] == Nodetype.NAME:
        return random_message(encoding, str(desc[1]), rng)
    element, length = desc[1]
    count = length if desc[0] == Nodetype.ARRAY else int(rng.integers(4))
    if element[0] == Nodetype.BASE and element[1][0] != "string":
        return _random_numbers(element[1][0], count, rng)
    return [_random(encoding, element, rng) for _ in range(count)]


def _random_numbers(name: str, count: int, rng: np.random.Generator) -> NDArray[Any]:
    dtype = np.dtype(_NUMPY.get(name, name))
    if dtype.kind == "f":
        return rng.standard_normal(count).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(2, size=count).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, count, dtype, endpoint=True)


def expected(message: Any, path: str) -> list[Any] | None:
    """Walk over a deserialized message; None where an element of the path does not exist."""
    for part in path.split(".") if path else ():
        name, _, inside = part.partition("[")
        message = getattr(message, name)
        if inside:
            number = int(inside.rstrip("]"))
            if not -len(message) <= number < len(message):
                return None
            message = message[number]
    return flat(message)


def flat(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return list(value.tolist())
    if isinstance(value, list):
        return [number for inner in value for number in flat(inner)]
    if hasattr(value, "__msgtype__"):
        names = [f.name for f in fields(value) if f.name != "__msgtype__" and not f.name.isupper()]  # no constants
        return [number for name in names for number in flat(getattr(value, name))]
    return [value]


def _deserialize(encoding: str, data: bytes, msgtype: str) -> Any:
    types = store(encoding)
    return types.deserialize_ros1(data, msgtype) if encoding == "ros1" else types.deserialize_cdr(data, msgtype)


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None, max_examples=120)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_every_numeric_path_of_any_type_reads_what_rosbags_reads(encoding: str, data: st.DataObject, seed: int) -> None:
    msgtype = data.draw(st.sampled_from(sorted(store(encoding).fielddefs)))
    raw = serialize(encoding, random_message(encoding, msgtype, np.random.default_rng(seed)), msgtype)
    message = _deserialize(encoding, raw, msgtype)
    for entry in wire(encoding).numeric_paths(msgtype):
        path, _, kind = entry.partition(" ")
        numbers = expected(message, path)
        if numbers is not None and encoding != "ros1" and kind.startswith("(byte"):
            numbers = [number % 256 for number in numbers]  # unsigned since ROS 2; rosbags reads it as signed
        if numbers is None:
            with pytest.raises(OutOfReachError):
                read(encoding, msgtype, path, raw)
        else:
            assert read(encoding, msgtype, path, raw).tolist() == numbers, path


WHOLE = (
    ("geometry_msgs/msg/Twist", ""),
    ("geometry_msgs/msg/PoseArray", "poses"),
    ("geometry_msgs/msg/PoseArray", "poses[-1].orientation"),
    (ODOMETRY, "pose"),
    (ODOMETRY, "twist.twist"),
    (PATH, "poses[1].pose"),
    (TRAJECTORY, "points[0]"),
    ("sensor_msgs/msg/Imu", "linear_acceleration"),
    ("sensor_msgs/msg/MultiDOFJointState", "transforms"),
    ("sensor_msgs/msg/MultiDOFJointState", "wrench[1]"),
    ("sensor_msgs/msg/NavSatFix", "status"),
    ("std_msgs/msg/Float64MultiArray", "data"),
    ("sensor_msgs/msg/RegionOfInterest", ""),
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("msgtype", "path"), WHOLE)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_message_is_flattened_in_declared_order(encoding: str, msgtype: str, path: str, seed: int) -> None:
    raw = serialize(encoding, random_message(encoding, msgtype, np.random.default_rng(seed)), msgtype)
    numbers = expected(_deserialize(encoding, raw, msgtype), path)
    if numbers is None:
        with pytest.raises(OutOfReachError):
            read(encoding, msgtype, path, raw)
    else:
        assert read(encoding, msgtype, path, raw).tolist() == numbers


# Selecting


POSITIONS = np.arange(14.0) * 1.5


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "inside", ["0", "13", "-1", "-14", "2:5", ":3", "10:", "-3:", ":-2", "::2", "1:9:3", "::-1", ":", "5:5", "14:"]
)
def test_an_index_or_slice_selects_as_in_python(encoding: str, inside: str) -> None:
    raw = encoded(encoding, JOINTS, name=["a", "bc"], position=POSITIONS, velocity=-POSITIONS)
    parts = [int(part) if part else None for part in inside.split(":")]
    wanted = POSITIONS[slice(*parts)] if ":" in inside else POSITIONS[[int(inside)]]
    assert read(encoding, JOINTS, f"position[{inside}]", raw).tolist() == wanted.tolist()
    assert read(encoding, JOINTS, f" velocity[ {inside} ]", raw).tolist() == (-wanted).tolist()


@pytest.mark.parametrize("inside", ["14", "-15", "99", "3:15", "15:", "-15:", "20:30"])
def test_an_index_or_slice_beyond_the_end_is_out_of_reach(inside: str) -> None:
    raw = encoded("cdr", JOINTS, position=POSITIONS)
    with pytest.raises(OutOfReachError, match="14 values"):
        read("cdr", JOINTS, f"position[{inside}]", raw)


def test_an_element_of_a_list_of_messages_that_is_not_there_is_out_of_reach() -> None:
    raw = encoded("cdr", PATH, poses=[make("cdr", "geometry_msgs/msg/PoseStamped")] * 2)
    assert read("cdr", PATH, "poses[-2].pose.position", raw).tolist() == [0, 0, 0]
    for number in (2, -3):
        with pytest.raises(OutOfReachError, match=rf"element \[{number}\] of a list of 2 does not exist"):
            read("cdr", PATH, f"poses[{number}].pose.position", raw)


def test_a_fixed_array_is_sliced_too() -> None:
    raw = encoded("ros1", ODOMETRY, pose={"covariance": np.arange(36.0)})
    assert read("ros1", ODOMETRY, "pose.covariance[7:36:7]", raw).tolist() == [7, 14, 21, 28, 35]


def test_numbers_are_read_without_copying_them() -> None:
    raw = encoded("cdr", JOINTS, position=POSITIONS)
    values = read("cdr", JOINTS, "position[2:4]", raw)
    assert values.dtype == np.float64
    assert not values.flags.owndata
    assert not values.flags.writeable


def test_an_empty_sequence_has_no_numbers_in_any_place() -> None:
    for encoding in ENCODINGS:
        raw = encoded(encoding, JOINTS)
        for name in ("position", "velocity", "effort"):
            assert read(encoding, JOINTS, name, raw).tolist() == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_mixed_numbers_inside_a_message_of_one_field_are_read_as_they_are_written(encoding: str) -> None:
    """A clock is a time of int32 seconds and uint32 nanoseconds, and no two numbers of 64 bits."""
    when = {"sec": 1_700_000_000, "nanosec": 999_999_999}
    clock = encoded(encoding, "rosgraph_msgs/msg/Clock", clock=when)
    assert read(encoding, "rosgraph_msgs/msg/Clock", "", clock).tolist() == [1_700_000_000, 999_999_999]
    types = store(encoding).fielddefs | get_types_from_msg("rosgraph_msgs/Clock inner\nfloat64[4] more", "my/msg/Outer")
    outer = Wire(types, encoding.removesuffix("_be"), big_endian=encoding == "cdr_be").field("my/msg/Outer", "inner")
    order = ">" if encoding == "cdr_be" else "<"
    body = np.array([7, 8], f"{order}u4").tobytes() + np.array([1, 2, 3, 4], f"{order}f8").tobytes()
    head = b"" if encoding == "ros1" else b"\0\0\0\0" if encoding == "cdr_be" else b"\0\1\0\0"
    assert outer.read(memoryview(head + body)).tolist() == [7, 8]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_mixed_numbers_become_the_type_that_holds_all(encoding: str) -> None:
    types = get_types_from_msg("int8 a\nfloat32 b\nbool c\nuint16 d\n", "x/msg/Mixed")
    order = ">" if encoding == "cdr_be" else "<"
    body = np.array(
        [(-3, 0.5, 1, 65535)], [("a", "i1"), ("b", order + "f4"), ("c", "?"), ("d", order + "u2")]
    ).tobytes()
    if encoding != "ros1":
        body = b"\0" * 4 + body[:1] + b"\0" * 3 + body[1:6] + b"\0" + body[6:]
    found = (
        Wire(types, encoding.removesuffix("_be"), big_endian=encoding == "cdr_be")
        .field("x/msg/Mixed", "")
        .read(memoryview(body))
    )
    assert found.tolist() == [-3, 0.5, 1, 65535]
    assert found.dtype.kind == "f"


# Quaternions


@pytest.mark.parametrize(
    ("msgtype", "path", "columns"),
    [
        ("geometry_msgs/msg/Quaternion", "", (0,)),
        ("geometry_msgs/msg/PoseStamped", "pose", (3,)),
        ("geometry_msgs/msg/PoseStamped", "pose.orientation", (0,)),
        ("geometry_msgs/msg/PoseStamped", "pose.position", ()),
        ("geometry_msgs/msg/PoseStamped", "pose.orientation.x", ()),
        (ODOMETRY, "pose", (3,)),
        ("geometry_msgs/msg/TransformStamped", "transform", (3,)),
        (JOINTS, "position", ()),
    ],
)
def test_a_path_says_where_its_quaternions_are(msgtype: str, path: str, columns: tuple[int, ...]) -> None:
    assert wire("cdr").field(msgtype, path).quaternions == columns


# What is not there


@pytest.mark.parametrize(
    ("msgtype", "path", "words"),
    [
        (JOINTS, "positon", r"no 'positon'; did you mean 'position'\? Numbers in .*position \(float64\[\]\)"),
        (JOINTS, "zzz", r"sensor_msgs/msg/JointState has no 'zzz'\. Numbers in .*velocity \(float64\[\]\)"),
        (ODOMETRY, "pose.pose.positio.x", r"'pose\.pose' in nav_msgs/msg/Odometry has no 'positio'.*'position'"),
        (JOINTS, "name", r"field 'name' of sensor_msgs/msg/JointState is no number \(string\); it has: .*position"),
        (JOINTS, "", r"is no number \(header\); it has: .*position"),
        (JOINTS, "header", r"is no number \(header\)"),
        (JOINTS, "position.x", r"'position' is not a message, nothing lies below it"),
        (PATH, "poses.pose", r"'poses' is not a message.*choose one element, such as \[0\]"),
        (PATH, "poses[0:2].pose", r"choose one element"),
        ("std_msgs/msg/String", "data", r"it has: nothing numeric"),
        ("std_msgs/msg/Empty", "", r"is no number"),
        (JOINTS, "position[", r"'position\[' is not a name with an optional \[index\]"),
        (JOINTS, "position[a]", r"\[a\] is neither an index like \[3\] nor a slice like \[12:26\]"),
        (JOINTS, "position[]", r"\[\] is neither an index"),
        (JOINTS, "position[1:2:0]", r"is neither an index"),
        (JOINTS, "position[1.5]", r"not a name"),
        (JOINTS, "a..b", r"'' is not a name"),
        (JOINTS, "position[1][2]", r"not a name"),
        ("no_msgs/msg/Such", "x", r"the type no_msgs/msg/Such is used but not defined: .*'types:'"),
    ],
)
def test_a_path_to_nothing_is_an_error_that_says_what_exists(msgtype: str, path: str, words: str) -> None:
    for encoding in ("ros1", "cdr"):
        with pytest.raises(ConfigError, match=words):
            wire(encoding).field(msgtype, path)


@given(path=st.text("ab[]:.-0123 _", max_size=14))
@settings(deadline=None, max_examples=150)
def test_any_text_as_path_is_a_field_or_a_configuration_error(path: str) -> None:
    types = get_types_from_msg("float64[] a\nfloat32[9] b\n", "x/msg/X")
    with suppress(ConfigError):
        assert re.match(r"\s*[ab]|$", path) or not Wire(types, "cdr").field("x/msg/X", path)


# Damaged messages


DAMAGED = (
    (JOINTS, "effort"),
    (PATH, "poses[0].pose"),
    ("geometry_msgs/msg/PoseArray", "poses"),
    (TRAJECTORY, "points[1].velocities"),
    ("sensor_msgs/msg/MultiDOFJointState", "wrench"),
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None, max_examples=100)
@given(which=st.sampled_from(DAMAGED), raw=st.binary(max_size=300))
def test_garbage_is_a_decode_error_or_numbers(encoding: str, which: tuple[str, str], raw: bytes) -> None:
    with suppress(DecodeError):
        assert read(encoding, *which, raw).ndim == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 10**6), data=st.data())
def test_a_message_with_wrong_bytes_is_a_decode_error_or_numbers(
    encoding: str, seed: int, cut: int, data: st.DataObject
) -> None:
    msgtype, path = data.draw(st.sampled_from(DAMAGED))
    raw = bytearray(serialize(encoding, random_message(encoding, msgtype, np.random.default_rng(seed)), msgtype))
    at = cut % len(raw)
    raw[at : at + 4] = data.draw(st.binary(max_size=4))
    with suppress(DecodeError):
        assert read(encoding, msgtype, path, bytes(raw)).ndim == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_cut_of_a_message_is_a_decode_error(encoding: str) -> None:
    raw = encoded(encoding, JOINTS, name=["a", "b"], position=[1.0, 2.0], velocity=[3.0], effort=np.array([4.0, 5.0]))
    for cut in range(len(raw)):
        with pytest.raises(DecodeError):
            read(encoding, JOINTS, "effort", raw[:cut])
    assert read(encoding, JOINTS, "effort", raw).tolist() == [4, 5]


def test_a_length_of_billions_does_not_take_billions_of_steps() -> None:
    raw = bytearray(encoded("cdr", "geometry_msgs/msg/PoseArray", poses=[make("cdr", "geometry_msgs/msg/Pose")]))
    at = raw.rindex(b"\1\0\0\0")
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    for path in ("poses", "poses[0]", "poses[-1].position"):
        with pytest.raises(DecodeError, match="a length of 4294967295"):
            read("cdr", "geometry_msgs/msg/PoseArray", path, bytes(raw))


def test_a_field_behind_a_large_one_is_found() -> None:
    raw = encoded("cdr", IMAGE, height=2, width=3, encoding="rgb8", step=9, data=np.arange(18, dtype=np.uint8))
    assert read("cdr", IMAGE, "step", raw).tolist() == [9]
    assert read("cdr", IMAGE, "data[-2:]", raw).tolist() == [16, 17]
    assert read("cdr", FLOAT, "data", encoded("cdr", FLOAT, data=0.25)).tolist() == [0.25]
