"""Definitions in a recording, or named by the user → the fields of a topic's type."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from streamer.decode.wire import Wire
from streamer.errors import ConfigError, RecordingError
from streamer.records import Topic
from streamer.source.definition import DefinitionError, closure, parse
from streamer.source.source import Source
from streamer.source.types import Types
from tests.bags import FLOAT, JOINTS, START, Message, encoded, encoding_of, joints, record, reference, store

if TYPE_CHECKING:
    from pathlib import Path

CUSTOM = "arm_msgs/msg/Grip"
IDL = """module arm_msgs { module msg {
  struct Grip { double width; sequence<float> forces; };
}; };
"""


@pytest.mark.parametrize("form", ["ros1", "mcap", "db3"])
def test_the_recordings_own_definition_is_used(tmp_path: Path, form: str) -> None:
    path = record(tmp_path / "bag", form, joints("/a", [START], encoding_of(form)))
    with Source(path, tmp_path) as source:
        types = Types([], source.distro, tmp_path)
        fields = types.fields(source.topics["/a"])
    assert fields[JOINTS] == store(encoding_of(form)).fielddefs[JOINTS]
    assert types.warnings == {}


def test_every_topic_of_the_real_recordings_has_fields(recordings: Path, tmp_path: Path) -> None:
    types_of = {}
    for name in ("example.bag", "kuka.bag", "so101_wrist.bag", "nav2_turtlebot.mcap"):
        with Source(recordings / name, tmp_path) as source:
            types = Types([], source.distro, tmp_path)
            for topic in source.topics.values():
                assert topic.msgtype in types.fields(topic)
                types_of[topic.name] = topic.msgtype
            assert types.warnings == {}
    assert len(types_of) > 10


def test_times_of_ros1_are_known_without_definition(tmp_path: Path) -> None:
    path = record(tmp_path / "bag", "ros1", joints("/a", [START]))
    with Source(path, tmp_path) as source:
        fields = Types([], "", tmp_path).fields(source.topics["/a"])
        field = Wire(fields, "ros1").field(JOINTS, "header.stamp.sec")
        assert field.read(source.payload(source.index(["/a"])["/a"], 0).all()).tolist() == [START // 10**9]


@pytest.mark.parametrize("text", [IDL, f"{'=' * 80}\nIDL: arm_msgs/msg/Grip\n{IDL}"])
def test_a_definition_in_idl_is_understood(tmp_path: Path, text: str) -> None:
    fields = Types([], "", tmp_path).fields(Topic("/grip", CUSTOM, 1, text, "idl"))
    assert [name for name, _ in fields[CUSTOM][1]] == ["width", "forces"]


def test_a_missing_definition_comes_from_the_named_distribution(tmp_path: Path) -> None:
    types = Types(["humble"], "jazzy", tmp_path)
    topic = Topic("/a", JOINTS, 1)
    assert types.fields(topic)[JOINTS] == get_typestore(Stores.ROS2_HUMBLE).fielddefs[JOINTS]
    assert types.warnings == {}


def test_a_missing_definition_comes_from_the_recordings_distribution_next(tmp_path: Path) -> None:
    types = Types([], "foxy", tmp_path)
    types.fields(Topic("/a", JOINTS, 1))
    assert types.warnings == {
        "/a": "the recording does not hold all of this type's definition, ROS's own is used (foxy)"
    }


@pytest.mark.parametrize("distro", ["", "rosbags", "rolling"])
def test_a_missing_definition_comes_from_the_newest_distribution_at_last(tmp_path: Path, distro: str) -> None:
    types = Types([], distro, tmp_path)
    assert JOINTS in types.fields(Topic("/a", JOINTS, 1))
    assert types.warnings == {
        "/a": "the recording does not hold all of this type's definition, ROS's own is used (latest)"
    }


def test_a_custom_type_comes_from_a_named_folder(tmp_path: Path) -> None:
    folder = tmp_path / "types" / "arm_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "Grip.msg").write_text("float64 width\nfloat32[] forces\n")
    types = Types(["types"], "", tmp_path)
    fields = types.fields(Topic("/grip", CUSTOM, 1))
    assert fields[CUSTOM] == get_types_from_msg("float64 width\nfloat32[] forces\n", CUSTOM)[CUSTOM]
    assert types.warnings == {}


def test_a_folder_with_idl_files_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "Grip.idl").write_text(IDL)
    assert CUSTOM in Types([str(tmp_path)], "", tmp_path).fields(Topic("/grip", CUSTOM, 1))


def test_what_the_user_names_goes_before_the_recordings_own_definition(tmp_path: Path) -> None:
    folder = tmp_path / "arm_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "Grip.msg").write_text("float64 width\n")
    fields = Types([str(tmp_path)], "", tmp_path).fields(Topic("/grip", CUSTOM, 1, "int8 other\n", "msg"))
    assert [name for name, _ in fields[CUSTOM][1]] == ["width"]


def test_the_custom_type_of_a_real_recording_is_asked_for(recordings: Path, tmp_path: Path) -> None:
    with Source(recordings / "gpsnav.db3", tmp_path) as source:
        types = Types([], source.distro, tmp_path)
        known = get_typestore(Stores.LATEST).fielddefs
        custom = [topic for topic in source.topics.values() if topic.msgtype not in known]
        assert custom
        for topic in source.topics.values():
            if topic in custom:
                with pytest.raises(ConfigError, match=rf"topic {topic.name} has the type .*'types:'"):
                    types.fields(topic)
            else:
                assert topic.msgtype in types.fields(topic)


def test_a_name_that_is_neither_folder_nor_distribution_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"types: 'humbel' is neither a folder nor one of .*did you mean 'humble'\?"):
        Types(["humbel"], "", tmp_path)


def test_two_types_on_one_topic_cannot_be_read(tmp_path: Path) -> None:
    topic = Topic("/a", f"{FLOAT} and {JOINTS}", 2, "float64 data", "msg")
    with pytest.raises(RecordingError, match="topic /a holds messages of two types"):
        Types([], "", tmp_path).fields(topic)


@pytest.mark.parametrize(("text", "form"), [("float64 !", "msg"), ("struct {", "idl"), (f"{'=' * 80}\nIDL: x", "idl")])
def test_a_definition_that_does_not_parse_is_refused(tmp_path: Path, text: str, form: str) -> None:
    with pytest.raises(RecordingError, match=r"topic /a: the definition of arm_msgs/msg/Grip .* does not parse"):
        Types([], "", tmp_path).fields(Topic("/a", CUSTOM, 1, text, form))


def test_a_named_file_that_does_not_parse_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "arm_msgs" / "msg"
    folder.mkdir(parents=True)
    (folder / "Grip.msg").write_text("float64 !")
    with pytest.raises(ConfigError, match=r"types: .*Grip\.msg does not parse"):
        Types([str(tmp_path)], "", tmp_path)


def test_a_recording_of_a_custom_type_is_read_with_its_own_definition(tmp_path: Path) -> None:
    types = get_typestore(Stores.ROS2_HUMBLE)
    message = Message("/a", START, encoded("cdr", FLOAT, data=2.5))
    path = record(tmp_path / "bag", "mcap", [message])
    assert FLOAT in types.fielddefs
    with Source(path, tmp_path) as source:
        fields = Types([], "", tmp_path).fields(source.topics["/a"])
        value = Wire(fields, "cdr").field(FLOAT, "data").read(source.payload(source.index(["/a"])["/a"], 0).all())
    assert value.tolist() == [2.5]
    assert reference(path) == [message]


MODULE = "module my_msgs {{ module msg {{ {} struct Grip {{ double force; }}; }}; }};"


@pytest.mark.parametrize(
    "text",
    [
        MODULE.format("const long A = ((((1)))); struct X { long a[A]; };"),
        MODULE.format("struct X { " + "sequence<" * 40 + "double" + ">" * 40 + " x; };"),
        "@unit(" + '"a" ' * 60_000,
        '"\\' * 60_000,
        "const a b =" * 60_000,
        'const a b = "\\' * 60_000,
        "/*" * 60_000,
        MODULE.format("struct X {" + "".join(f" double a{n};" for n in range(60_000)) + "};"),
    ],
    ids=["parentheses", "lists", "annotation", "texts", "constants", "text-constants", "comments", "members"],
)
def test_an_idl_over_which_a_grammar_would_sit_for_hours_is_refused_at_once(text: str) -> None:
    def late(*_: object) -> None:
        pytest.fail("it took 60 s of this process")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, 60)
    try:
        with pytest.raises(DefinitionError):
            closure("my_msgs/msg/Grip", parse(text, "idl", "my_msgs/msg/Grip").types)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_annotations_and_constants_that_change_no_byte_cost_nothing_and_are_left_out() -> None:
    constants = "".join(f"const long A{n} = {n};" for n in range(2000))
    named = 'const string S = "a;(b" "c"; const long N = 3; @foo(a="(") @key struct L { long n[N]; };'
    text = MODULE.format(constants + named)
    fields = parse(text, "idl", "my_msgs/msg/Grip").types
    assert fields["my_msgs/msg/L"][1] == [("n", (Nodetype.ARRAY, ((Nodetype.BASE, ("int32", 0)), 3)))]
    assert fields["my_msgs/msg/Grip"][1] == [("force", (Nodetype.BASE, ("float64", 0)))]


def test_an_array_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(DefinitionError):
        parse(f"float64[{'9' * 6000}] x", "msg", "my_msgs/msg/Grip")
