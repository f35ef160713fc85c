"""Errors say what is wrong, what it is about and what to do, each in a field of its own."""

from __future__ import annotations

import pickle

from streamer.errors import ConfigError, DamagedError, DecodeError, RecordingError, StreamerError

HINT = "'undecodable: skip' leaves such frames out"


def test_an_error_of_a_text_alone_is_that_text() -> None:
    assert str(ConfigError("it is wrong")) == "it is wrong"


def test_the_message_names_line_setting_and_hint_in_this_order() -> None:
    error = ConfigError(
        "there is no '/joint'", key="streams.state.topic", hint="did you mean '/joints'?", line="c.yaml:3"
    )

    assert str(error) == "c.yaml:3: streams.state.topic: there is no '/joint'; did you mean '/joints'?"


def test_a_stage_adds_what_it_knows_to_an_error_from_below() -> None:
    below = DecodeError("the picture is cut off")

    whole = below.within(stream="head", message=5).within(frame=3, hint=HINT).within(path="/data/a.bag")

    assert type(whole) is DecodeError
    assert str(whole) == (f"streams.head: message 5, needed for frame 3: /data/a.bag: the picture is cut off; {HINT}")
    assert str(below) == "the picture is cut off"


def test_what_is_known_already_stays_and_hints_come_together() -> None:
    error = DamagedError("it is cut off", path="/data/part.mcap", hint="'mcap recover' makes a whole one")

    whole = error.within(path="/data", hint="'salvage' reads what is intact").within(
        hint="'salvage' reads what is intact"
    )

    assert whole.where.path == "/data/part.mcap"
    assert whole.where.hint == "'mcap recover' makes a whole one; 'salvage' reads what is intact"


def test_a_setting_is_put_below_the_group_that_holds_it() -> None:
    assert ConfigError("no", key="field").under("streams", "head").where.key == "streams.head.field"
    assert ConfigError("no").under("streams", "head").where.key == "streams.head"


def test_an_error_of_several_parts_tells_each_in_a_line() -> None:
    error = ConfigError(parts=[ConfigError("one", key="pool"), ConfigError("two", key="threads")])

    assert str(error) == "pool: one\nthreads: two"


def test_an_error_crosses_a_process_whole() -> None:
    error = RecordingError(
        "no", stream="head", message=0, frame=7, path="/a.bag", parts=[DecodeError("part", stream="hand")]
    )

    for back in (StreamerError.from_wire(error.to_wire()), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
        assert type(back) is RecordingError
        assert (str(back), back.where, back.text) == (str(error), error.where, "no")
        assert [type(part) for part in back.parts] == [DecodeError]


def test_an_error_of_an_unknown_class_comes_back_as_a_fault_of_the_program() -> None:
    values = ConfigError("no").to_wire() | {"kind": "SomethingElse"}

    assert type(StreamerError.from_wire(values)) is StreamerError
