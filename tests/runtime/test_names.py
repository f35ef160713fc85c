"""Names in the messages → which messages belong to a stream and in which order, or an error before anything is read.

The right values are what rosbags deserializes, put in order by name here.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer.errors import ConfigError, DecodeError, StreamerError
from streamer.records import Alignment, Decoding, StreamSettings, TimelineSettings
from streamer.runtime.names import name_sets
from streamer.runtime.prepare import Prepared, prepare
from streamer.source.source import Source
from streamer.source.types import Types
from tests import joints
from tests.bags import JOINTS, SECOND, START, Message, encoded, encoding_of, header, record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Values = Callable[[Any], dict[str, float]]

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
STATES = "/joint_states"


def stream(topic: str, field: str | tuple[str, ...], undecodable: str = "error", **how: Any) -> StreamSettings:
    alignment = Alignment(missing="none")
    decoding = Decoding(field=field, **how)
    return StreamSettings("arm", (topic,), undecodable=undecodable, decoding=decoding, alignment=alignment)


@contextmanager
def prepared(path: Path, tmp_path: Path, settings: StreamSettings) -> Iterator[Prepared]:
    with Source(path, tmp_path / "scratch") as source:
        yield prepare(source, Types([], source.distro, tmp_path), TimelineSettings("arm"), [settings])


def decoded(found: Prepared) -> np.ndarray[Any, Any]:
    """Decode every message that belongs to the stream."""
    (one,) = found.streams
    rows = []
    for number in range(len(one.index.stamps)):
        out = np.full(one.spec.shape, np.nan)
        count = one.decoder.decode(found.source.payload(one.index, number), out)
        rows.append(out[:count])
    return np.array(rows)


def named(list_of: str, *fields: str) -> Values:
    """Take a message's numbers by the names in one of its lists."""
    if len(fields) == 1:
        return lambda m: dict(zip(getattr(m, list_of), getattr(m, fields[0]), strict=False))
    return lambda m: {f"{f}.{n}": v for f in fields for n, v in zip(getattr(m, list_of), getattr(m, f), strict=False)}


def interfaces(message: Any) -> dict[str, float]:
    return {
        f"{joint}/{name}": value
        for joint, values in zip(message.joint_names, message.interface_values, strict=True)
        for name, value in zip(values.interface_names, values.values, strict=True)
    }


def transforms(message: Any) -> dict[str, float]:
    return {
        f"{joint}.{part}.{axis}": getattr(getattr(transform, part), axis)
        for joint, transform in zip(message.joint_names, message.transforms, strict=True)
        for part, axes in (("translation", "xyz"), ("rotation", "xyzw"))
        for axis in axes
    }


def points(number: int, field: str) -> Values:
    return lambda m: dict(zip(m.joint_names, getattr(m.points[number], field), strict=True))


POSITIONS = named("name", "position")
CHOSEN: list[tuple[Callable[[str], Iterator[Message]], str, str, str | tuple[str, ...], Values, list[str]]] = [
    (joints.two_arms, "mcap", STATES, "position", POSITIONS, ["left_arm_4", "left_arm_0"]),
    (joints.two_arms, "ros1-lz4", STATES, "effort", named("name", "effort"), ["r4", "r0", "r2"]),
    (joints.two_arms, "db3", STATES, "position", POSITIONS, ["r1"]),
    (joints.order_within, "mcap-zstd", STATES, "position", POSITIONS, ["shoulder", "waist", "wrist"]),
    (joints.order_within, "ros1", STATES, "velocity", named("name", "velocity"), ["wrist", "waist"]),
    (joints.order_within, "mcap-message", STATES, "position", POSITIONS, ["wrist"]),
    (joints.subset, "db3-file", STATES, "position", POSITIONS, ["j2", "j3"]),
    (joints.long_names, "mcap", STATES, "position", POSITIONS, [f"{'long' * 12}_79", f"{'long' * 12}_0"]),
    (joints.long_names, "ros1", STATES, "effort", named("name", "effort"), ["tool"]),
    (joints.growing, "mcap", STATES, "position", POSITIONS, ["b", "a"]),
    (joints.growing, "ros1-bz2", STATES, "position", POSITIONS, ["b", "a"]),
    (joints.unnamed_at_times, "mcap-lz4", STATES, "position", POSITIONS, ["b", "a"]),
    (joints.trajectories, "mcap", "/command", "points[0].positions", points(0, "positions"), ["shoulder", "wrist"]),
    (joints.trajectories, "ros1", "/command", "points[-1].effort", points(1, "effort"), ["waist", "wrist"]),
    (joints.dynamic, "mcap", "/dynamic_joint_states", "interface_values", interfaces, ["grip/effort", "arm/position"]),
    (joints.dynamic, "ros1", "/dynamic_joint_states", "interface_values", interfaces, ["arm/velocity", "grip/t"]),
    (joints.multi, "db3", "/multi", "transforms", transforms, ["drone.translation.x", "base.translation.x"]),
    (joints.multi, "ros1", "/multi", "transforms", transforms, ["base.rotation.w", "drone.translation.y"]),
    (joints.motors, "mcap", "/motors", "current", named("names", "current"), ["m3", "m1"]),
    (joints.motors, "ros1", "/motors", "mode", named("names", "mode"), ["m4", "m1"]),
    (
        *(joints.order_within, "mcap", STATES, ("position", "effort"), named("name", "position", "effort")),
        ["effort.wrist", "position.waist"],
    ),
]


@pytest.mark.parametrize(
    ("kind", "form", "topic", "field", "values", "elements"),
    [pytest.param(*one, id=f"{one[0].__name__}-{one[1]}-{one[3]}") for one in CHOSEN],
)
def test_elements_are_chosen_by_name_message_by_message(
    tmp_path: Path,
    kind: Callable[[str], Iterator[Message]],
    form: str,
    topic: str,
    field: str | tuple[str, ...],
    values: Values,
    elements: list[str],
) -> None:
    path = joints.write(tmp_path, kind, form)
    said = joints.by_name(path, topic, values)
    with prepared(path, tmp_path, stream(topic, field, elements=tuple(elements))) as found:
        (one,) = found.streams
        assert one.spec.names == tuple(elements)
        assert one.spec.shape == (len(elements),)
        assert one.index.stamps.tolist() == [stamp for stamp, row in said if set(elements) <= set(row)]
        assert np.array_equal(decoded(found), joints.rows(said, elements))


def test_names_of_an_unusual_field_are_named_in_the_settings(tmp_path: Path) -> None:
    path = joints.write(tmp_path, joints.late, "mcap")
    said = joints.by_name(path, "/late", named("channels", "angle"))
    settings = stream("/late", "angle", elements=("up", "down"), names_field="channels")
    with prepared(path, tmp_path, settings) as found:
        assert np.array_equal(decoded(found), joints.rows(said, ["up", "down"]))
    with prepared(path, tmp_path, stream("/late", "angle")) as found:  # a list that nobody knows to be names
        assert found.streams[0].spec.names == ("angle[0]", "angle[1]")
    with (
        pytest.raises(ConfigError, match=r"streams\.arm\.names_field: .*'on'.*no list of strings; it has: channels"),
        prepared(path, tmp_path, stream("/late", "angle", names_field="on")),
    ):
        pass


def test_elements_of_several_fields_are_chosen_from_each(tmp_path: Path) -> None:
    path = joints.write(tmp_path, joints.two_arms, "mcap")
    said = joints.by_name(path, STATES, named("name", "position", "velocity"))
    with prepared(path, tmp_path, stream(STATES, ("position", "velocity"), elements=("r3", "r0"))) as found:
        names = ["position.r3", "position.r0", "velocity.r3", "velocity.r0"]
        assert found.streams[0].spec.names == tuple(names)
        assert np.array_equal(decoded(found), joints.rows(said, names))


@pytest.mark.parametrize(
    ("kind", "form", "topic", "field", "words"),
    [
        (joints.two_arms, "mcap", STATES, "position", [r"20 of 40 messages", r"message 1 \(frame 1, 0\.010 s\)", "r0"]),
        (joints.order_within, "ros1", STATES, "position", ["20 of 40", "message 20", r"\[wrist, shoulder, waist\]"]),
        (joints.subset, "db3", STATES, "position", ["8 of 40", r"\[j0, j1, j3\] instead of \[j0, j1, j2, j3\]"]),
        (joints.subset, "mcap", STATES, "position[2]", [r"\[j3\] instead of \[j2\]"]),
        (joints.unnamed_at_times, "mcap", STATES, "position", ["10 of 40", r"position\[0\]", r"elements: \[a, b\]"]),
        (joints.trajectories, "mcap", "/command", "points[0].velocities", ["15 of 30", r"\[waist, shoulder, wrist\]"]),
        (joints.dynamic, "mcap", "/dynamic_joint_states", "interface_values", ["15 of 30", "grip/position"]),
        (joints.multi, "ros1", "/multi", "transforms[0].translation", [r"drone\.translation\.x"]),
        (joints.motors, "mcap-zstd", "/motors", "current", ["20 of 30", r"elements: \[m1, m2, m3, m4\]"]),
    ],
)
def test_names_that_change_are_refused_with_both_lists_the_instant_and_the_line_to_add(
    tmp_path: Path, kind: Callable[[str], Iterator[Message]], form: str, topic: str, field: str, words: list[str]
) -> None:
    path = joints.write(tmp_path, kind, form)
    with pytest.raises(ConfigError) as error, prepared(path, tmp_path, stream(topic, field, "skip")):
        pass
    for word in ["streams.arm: ", "add 'elements: ", *words]:
        assert re_search(word, str(error.value)), f"{word} is not in {error.value}"


def re_search(pattern: str, text: str) -> bool:
    import re

    return re.search(pattern, text) is not None


def test_one_message_of_many_with_another_length_is_found_before_the_run(tmp_path: Path) -> None:
    kind = "std_msgs/msg/Float64MultiArray"
    messages = [
        Message("/a", START + n * 10**7, encoded("cdr", kind, data=np.arange(3 if n != 777 else 2, dtype=float)), kind)
        for n in range(1000)
    ]
    path = record(tmp_path / "bag", "mcap-zstd", messages, chunk=5000)
    words = r"streams\.arm: message 777 \(frame 777, 7\.770 s\): it has 2 values where the stream has 3: set 'capacity'"
    with pytest.raises(DecodeError, match=words), prepared(path, tmp_path, stream("/a", "data")):
        pass
    with prepared(path, tmp_path, stream("/a", "data", "skip")) as found:
        assert found.streams[0].spec.names == ("data[0]", "data[1]", "data[2]")
        assert list(found.streams[0].unfit) == [777]
    with prepared(path, tmp_path, stream("/a", "data", capacity=3)) as found:
        assert found.streams[0].spec.variable
    with (
        pytest.raises(DecodeError, match=r"message 0 .*it has 3 values, more than the stream's capacity of 2 \(999 of"),
        prepared(path, tmp_path, stream("/a", "data", capacity=2)),
    ):
        pass


def test_a_list_that_is_empty_in_most_messages_is_told_with_its_count(tmp_path: Path) -> None:
    path = joints.write(tmp_path, joints.velocity_sometimes, "mcap")
    words = r"message 1 \(frame 1, 0\.010 s\): the message has 3 names and 0 values \(36 of 40 planned messages"
    hows: list[dict[str, Any]] = [{}, {"elements": ("j1",)}]
    for how in hows:
        with pytest.raises(DecodeError, match=words), prepared(path, tmp_path, stream(STATES, "velocity", **how)):
            pass
        with prepared(path, tmp_path, stream(STATES, "velocity", "skip", **how)) as found:
            assert sorted(found.streams[0].unfit) == [n for n in range(40) if n % 10]
    with prepared(path, tmp_path, stream(STATES, "position")) as found:
        assert found.streams[0].spec.names == ("j0", "j1", "j2")


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        (("left_arm_0", "r0"), r"no message has all of them: 20 messages with \[left_arm_0\]; 20 messages with \[r0\]"),
        (("left_arm0",), r"no message has 'left_arm0'; did you mean 'left_arm_0'\? Names: \[left_arm_0, .* in 20"),
        (("elbow",), r"streams\.arm\.elements: no message has 'elbow'"),
    ],
)
def test_elements_that_no_message_has_are_refused_with_those_that_exist(
    tmp_path: Path, elements: tuple[str, ...], words: str
) -> None:
    path = joints.write(tmp_path, joints.two_arms, "mcap")
    with (
        pytest.raises(ConfigError, match=words),
        prepared(path, tmp_path, stream(STATES, "position", elements=elements)),
    ):
        pass


def states(names: Sequence[list[str]]) -> list[Message]:
    return [
        Message(
            STATES,
            START + n * 10**7,
            encoded("cdr", JOINTS, header=header(START), name=one, position=np.arange(len(one)) + float(n)),
            JOINTS,
        )
        for n, one in enumerate(names)
    ]


def test_a_name_that_stands_twice_is_refused_and_may_be_left_out(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "mcap", states([["a", "b", "b"]] * 5))
    with (
        pytest.raises(ConfigError, match="name 'b' stands 2 times"),
        prepared(path, tmp_path, stream(STATES, "position")),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=r"streams\.arm\.elements: 'b' stands 2 times"),
        prepared(path, tmp_path, stream(STATES, "position", elements=("b",))),
    ):
        pass
    with prepared(path, tmp_path, stream(STATES, "position", elements=("a",))) as found:
        assert decoded(found)[:, 0].tolist() == [0, 1, 2, 3, 4]
    with prepared(path, tmp_path, stream(STATES, "position", names_field="")) as found:
        assert found.streams[0].spec.names == ("position[0]", "position[1]", "position[2]")


def test_joints_without_any_names_are_numbered(tmp_path: Path) -> None:
    bare = [m._replace(data=encoded("cdr", JOINTS, position=[1.0, 2.0])) for m in states([[]] * 4)]
    path = record(tmp_path / "bag", "mcap", bare)
    with prepared(path, tmp_path, stream(STATES, "position")) as found:
        assert found.streams[0].spec.names == ("position[0]", "position[1]")


def test_messages_without_names_are_left_out_of_a_stream_of_elements_with_a_warning(tmp_path: Path) -> None:
    path = joints.write(tmp_path, joints.subset, "mcap")
    with prepared(path, tmp_path, stream(STATES, "position", elements=("j2",))) as found:
        assert found.warnings == ()  # those without belong to somebody else
    with prepared(path, tmp_path, stream(STATES, "position", elements=("j2", "j3"))) as found:
        assert found.warnings == ("streams.arm.elements: 8 of 40 messages have only some of them: left out",)


def test_lists_of_different_length_need_equal_names_as_far_as_they_go(tmp_path: Path) -> None:
    longer = record(tmp_path / "longer", "mcap", states([["a", "b"], ["a", "b", "c"], ["a"]]))
    with prepared(longer, tmp_path, stream(STATES, "position", capacity=4)) as found:
        assert found.streams[0].spec.names == ("a", "b", "c")
    other = record(tmp_path / "other", "mcap", states([["a", "b"], ["x"]]))
    with (
        pytest.raises(ConfigError, match=r"\[x\] instead of \[a, b\]\n.*or number them: \"names_field: ''\""),
        prepared(other, tmp_path, stream(STATES, "position", capacity=4)),
    ):
        pass
    with prepared(other, tmp_path, stream(STATES, "position", capacity=4, names_field="")) as found:
        assert found.streams[0].spec.names == ()


@pytest.mark.parametrize(
    ("kind", "field", "names"),
    [
        ("nav_msgs/msg/Odometry", "pose.pose.position", [f"pose.pose.position.{axis}" for axis in "xyz"]),
        ("nav_msgs/msg/Odometry", "pose.covariance[34:]", ["pose.covariance[34]", "pose.covariance[35]"]),
        ("geometry_msgs/msg/Twist", "", [f"{p}.{a}" for p in ("linear", "angular") for a in "xyz"]),
        ("sensor_msgs/msg/NavSatFix", ("latitude", "longitude", "altitude"), ["latitude", "longitude", "altitude"]),
        ("sensor_msgs/msg/NavSatFix", ("altitude", "position_covariance[0]"), ["altitude", "position_covariance[0]"]),
    ],
)
def test_a_field_path_names_its_elements(
    tmp_path: Path, kind: str, field: str | tuple[str, ...], names: list[str]
) -> None:
    path = record(
        tmp_path / "bag", "mcap", [Message("/a", START + n * 10**7, encoded("cdr", kind), kind) for n in range(3)]
    )
    with prepared(path, tmp_path, stream("/a", field)) as found:
        assert found.streams[0].spec.names == tuple(names)
    with prepared(path, tmp_path, stream("/a", field, elements=(names[-1], names[0]))) as found:
        assert found.streams[0].spec.names == (names[-1], names[0])


def test_several_fields_make_one_vector(tmp_path: Path) -> None:
    kind = "sensor_msgs/msg/NavSatFix"
    fix = {"latitude": 1.5, "longitude": -2.5, "altitude": 400.0}
    path = record(
        tmp_path / "bag", "ros1", [Message("/gps", START + n, encoded("ros1", kind, **fix), kind) for n in range(3)]
    )
    with prepared(path, tmp_path, stream("/gps", ("longitude", "latitude", "altitude"))) as found:
        assert decoded(found).tolist() == [[-2.5, 1.5, 400.0]] * 3


def test_the_sets_of_names_of_a_topic_are_listed_with_their_counts(tmp_path: Path) -> None:
    path = joints.write(tmp_path, joints.subset, "ros1")
    with prepared(path, tmp_path, stream(STATES, "position", "skip", elements=("j0",))) as found:
        index = found.source.index([STATES])[STATES]
        sets = name_sets(found.source, index, found.streams[0].decoder.elements)  # type: ignore[attr-defined]
    assert [(one.names, one.size, one.count, one.first) for one in sets] == [
        (("j0", "j1", "j2", "j3"), 4, 32, START),
        (("j0", "j1", "j3"), 3, 8, START + 3 * joints.PERIOD),
    ]


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the recordings in {CASES} are not there")
@pytest.mark.parametrize(
    ("case", "topic", "elements"),
    [
        ("two_arms", STATES, [f"left_{n}" for n in range(6)]),
        ("order_within", STATES, ["c", "a"]),
        ("arm_gripper", STATES, ["panda_finger_joint2", "panda_finger_joint1"]),
        ("rare2", STATES, ["j6", "j0"]),
    ],
)
def test_recordings_seen_in_public_are_refused_or_read_by_name(
    tmp_path: Path, case: str, topic: str, elements: list[str]
) -> None:
    path = CASES / f"{case}.mcap"
    with (
        pytest.raises(StreamerError, match="other names than the first"),
        prepared(path, tmp_path, stream(topic, "position")),
    ):
        pass
    said = joints.by_name(path, topic, POSITIONS)
    with prepared(path, tmp_path, stream(topic, "position", elements=tuple(elements))) as found:
        assert np.array_equal(decoded(found), joints.rows(said, elements))


FILLED = 48  # chunks of a megabyte: more than a reader keeps


def interleaved(path: Path, form: str, *, odd: bool = False) -> Path:
    """Write joints of three topics into many compressed chunks; with ``odd`` one message at the end has other names."""
    text, own = "std_msgs/msg/String", encoding_of(form)
    filler = encoded(own, text, data="x" * (1 << 20))
    messages = []
    for n in range(FILLED):
        stamp = START + n * SECOND
        messages += [
            Message(f"/arm_{arm}", stamp + arm, state(own, n, odd=odd and n == FILLED - 1)) for arm in range(3)
        ]
        messages.append(Message("/fill", stamp + 9, filler, text))
    return record(path, form, [m._replace(kind=JOINTS) if m.topic != "/fill" else m for m in messages])


def state(encoding: str, number: int, *, odd: bool) -> bytes:
    names = ["j0", "j1", "odd" if odd else "j2"]
    return encoded(encoding, JOINTS, header=header(START), name=names, position=np.arange(3) + 10.0 * number)


def arms(elements: tuple[str, ...] | None) -> list[StreamSettings]:
    how = Decoding(field="position", elements=elements)
    names = {"arm": "/arm_0", "left": "/arm_1", "right": "/arm_2", "again": "/arm_0"}
    return [StreamSettings(name, (topic,), decoding=how) for name, topic in names.items()]


@pytest.mark.parametrize("elements", [None, ("j2", "j0")])
@pytest.mark.parametrize("form", ["ros1-lz4", "mcap-zstd", "mcap-lz4", "mcap"])
def test_planning_decompresses_each_chunk_once_for_all_topics(
    tmp_path: Path, form: str, elements: tuple[str, ...] | None
) -> None:
    path = interleaved(tmp_path / "take", form)
    with Source(path, tmp_path / "scratch") as source:
        found = prepare(source, Types([], source.distro, tmp_path), TimelineSettings("arm"), arms(elements))
        chunks = len(np.unique(source.index({"/arm_0"})["/arm_0"].block))
        assert chunks >= FILLED
        assert (0 if form == "mcap" else chunks) <= source.blocks_loaded <= (0 if form == "mcap" else chunks + 5)
        for stream in found.streams:
            assert stream.spec.names == (elements or ("j0", "j1", "j2"))
            out = np.empty(stream.spec.shape)
            for number in (0, FILLED // 2, FILLED - 1):
                stream.decoder.decode(source.payload(stream.index, number), out)
                assert out.tolist() == [10.0 * number + int(name[1]) for name in stream.spec.names]


@pytest.mark.parametrize("form", ["ros1-lz4", "mcap-zstd"])
def test_other_names_in_the_last_chunk_are_found_before_the_run(tmp_path: Path, form: str) -> None:
    path = interleaved(tmp_path / "take", form, odd=True)
    with Source(path, tmp_path / "scratch") as source:
        types = Types([], source.distro, tmp_path)
        with pytest.raises(ConfigError, match=rf"(?s)1 of {FILLED} messages have other names.*elements: \[j0, j1\]"):
            prepare(source, types, TimelineSettings("arm"), arms(None))
        found = prepare(source, types, TimelineSettings("arm"), arms(("j2", "j0")))
        assert [len(stream.index.stamps) for stream in found.streams] == [FILLED - 1] * 4
        left_out = f"streams.left.elements: 1 of {FILLED} messages have only some of them: left out"
        assert left_out in found.warnings
