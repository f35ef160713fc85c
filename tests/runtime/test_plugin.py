"""The name of a consumer and its options → a consumer, or an error that says what to write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer.contract import Chunk, Consumer, Frame, Recording, Sample
from streamer.errors import ConfigError, OutputError
from streamer.runtime.plugin import make_consumer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAME = Frame(3, 4, 5, {"a": Sample(np.zeros(2), 5, 0, 0)})
RECORDING = Recording("r", "/r.bag", 1, 1, None, 0, 0, {})

MODULE = """
from pathlib import Path
from typing import Any, Literal, Optional

from streamer.contract import Consumer
from streamer.errors import OutputError

seen = []

class Whole(Consumer):
    def __init__(self, out, quality=90, *, codec="h264"):
        self.options = (out, quality, codec)

    def on_frame(self, frame):
        seen.append(frame.number)

class Open:
    def __init__(self, **anything):
        self.options = anything

    def on_frame(self, frame):
        seen.append(frame.number)

class Only:
    def on_frame(self, frame):
        seen.append(frame.number)

class Some:
    def open(self, recording, state):
        seen.append((recording.name, state))

    def on_frame(self, frame):
        seen.append(frame.number)

    def on_chunk(self, chunk):
        return {"chunk": chunk.number}

class Nothing:
    pass

class Attribute:
    on_frame = 3

class Picky:
    def __init__(self, out):
        raise ValueError(f"out: {out} is not good")

    def on_frame(self, frame):
        pass

class Careful:
    def __init__(self, out):
        raise OutputError(f"out: {out} cannot be written")

    def on_frame(self, frame):
        pass

class Space:
    class Inner(Only):
        pass

class Typed:
    def __init__(
        self,
        out: str,
        frames: int | None = 8,
        *,
        rate: float = 1.0,
        deep: bool = False,
        kind: Literal["small", "large"] = "small",
        names: Optional[list[str]] = None,
        features: dict[str, str | list[str]] | None = None,
        other: Path | Any = None,
    ):
        seen.append("typed")

    def on_frame(self, frame):
        pass

class Odd:
    def __init__(self, out: "NoSuchName"):
        pass

    def on_frame(self, frame):
        pass

def count(frame, into=None, *, by=1):
    seen.append(("count", frame.number, into, by))

def nothing():
    pass

NUMBER = 7
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put a module of consumers where Python finds it, and forget it afterwards."""
    (tmp_path / "shelf.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "faulty.py").write_text("import sys\nsys.no_such_thing\n\nclass Name:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("shelf", "broken", "faulty"):
            del sys.modules[name]


def seen() -> list[Any]:
    import shelf  # type: ignore[import-not-found]

    found: list[Any] = shelf.seen
    return found


def test_a_class_is_constructed_with_its_options() -> None:
    consumer = make_consumer("video", "shelf:Whole", {"out": "x", "codec": "av1"})
    assert vars(consumer)["options"] == ("x", 90, "av1")
    consumer.on_frame(FRAME)
    assert seen() == [3]


def test_a_short_name_is_looked_up_among_the_installed() -> None:
    assert isinstance(make_consumer("a", "null", {}), Consumer)


def test_a_name_inside_a_class_is_found() -> None:
    make_consumer("a", "shelf:Space.Inner", {}).on_frame(FRAME)
    assert seen() == [3]


def test_an_object_with_only_on_frame_has_the_other_methods_too() -> None:
    consumer = make_consumer("a", "shelf:Only", {})
    assert isinstance(consumer, Consumer)
    consumer.open(RECORDING, None)
    consumer.on_frame(FRAME)
    assert consumer.on_chunk(Chunk(0, 0, 0, 1)) is None
    consumer.close(RECORDING)
    assert seen() == [3]


def test_an_object_keeps_the_methods_that_it_has() -> None:
    consumer = make_consumer("a", "shelf:Some", {})
    consumer.open(RECORDING, {"x": 1})
    consumer.on_frame(FRAME)
    assert consumer.on_chunk(Chunk(5, 0, 0, 1)) == {"chunk": 5}
    consumer.close(RECORDING)
    assert seen() == [("r", {"x": 1}), 3]


def test_a_plain_function_takes_frames_and_options() -> None:
    make_consumer("a", "shelf:count", {}).on_frame(FRAME)
    consumer = make_consumer("a", "shelf:count", {"into": "x", "by": 2})
    consumer.open(RECORDING, None)
    consumer.on_frame(FRAME)
    assert consumer.on_chunk(Chunk(0, 0, 0, 1)) is None
    assert seen() == [("count", 3, None, 1), ("count", 3, "x", 2)]


def test_a_consumer_that_takes_anything_is_given_anything() -> None:
    consumer: Any = make_consumer("a", "shelf:Open", {"any": 1, "thing": 2})
    consumer.on_frame(FRAME)
    assert seen() == [3]


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("nul", r"consumers\.a\.use: there is no consumer 'nul'; did you mean 'null'\?.*Known: .*null.*'module:Name'"),
        ("qqqqqqq", r"there is no consumer 'qqqqqqq'.*Known: "),
        ("", r"there is no consumer ''"),
        ("no_such_module_anywhere:X", r"'no_such_module_anywhere:X' cannot be imported: No module named"),
        ("broken.py:X", r"'broken.py:X' cannot be imported: .*; name the module, not its file: 'broken:X'"),
        ("broken:X", r"'broken:X' cannot be imported: No module named 'no_such_module_anywhere'"),
        ("shelf:Missing", r"the module 'shelf' has no 'Missing'"),
        ("shelf:Whole.missing", r"the module 'shelf' has no 'Whole\.missing'"),
        ("shelf:", r"the module 'shelf' has no ''"),
        ("shelf:NUMBER", r"shelf:NUMBER is a int, neither a class nor a function"),
        ("shelf:Nothing", r"shelf:Nothing has no method on_frame\(frame\)"),
        ("shelf:Attribute", r"shelf:Attribute has no method on_frame\(frame\)"),
        (":Name", r"consumers\.a\.use: ':Name'"),
        (".shelf:Whole", r"consumers\.a\.use: '\.shelf:Whole'"),
    ],
)
def test_a_use_that_names_no_consumer_is_a_configuration_error(use: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_consumer("a", use, {})


def test_an_attribute_error_inside_a_module_is_not_a_missing_name() -> None:
    with pytest.raises(Exception, match="no_such_thing"):
        make_consumer("a", "faulty:Name", {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": 3}, r"consumers\.a\.options\.out: 'shelf:Typed' wants out to be a text, and it is 3"),
        ({"out": True}, "a text, and it is True"),
        ({"frames": "8"}, r"options\.frames: .* a whole number, and it is '8'"),
        ({"frames": 8.5}, "a whole number, and it is 8.5"),
        ({"frames": True}, "a whole number, and it is True"),
        ({"rate": "10 Hz"}, "a number, and it is '10 Hz'"),
        ({"deep": "yes"}, "true or false, and it is 'yes'"),
        ({"kind": "smal"}, "'small' or 'large', and it is 'smal'"),
        ({"names": "head"}, r"a list \(of a text\), and it is 'head'"),
        ({"names": ["head", 3]}, r"a list \(of a text\), and it is \['head', 3\]"),
        ({"features": ["head"]}, r"a mapping \(of a text or a list \(of a text\)\), and it is \['head'\]"),
        ({"features": {"a": 3}}, r"a mapping \(of .*\), and it is \{'a': 3\}"),
    ],
)
def test_an_option_of_the_wrong_type_is_told_before_the_constructor_runs(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_consumer("a", "shelf:Typed", {"out": "x"} | options)
    assert seen() == []


def test_options_that_fit_their_annotations_are_taken_and_annotations_of_other_kinds_are_let_be() -> None:
    fits: dict[str, Any] = {
        "out": "x",
        "frames": None,
        "rate": 3,
        "deep": False,
        "kind": "large",
        "names": [],
        "other": 7,
    }
    make_consumer("a", "shelf:Typed", fits | {"features": {"a": "b", "c": ["d"]}})
    assert seen() == ["typed"]
    make_consumer("a", "shelf:Odd", {"out": 3})  # its annotation names what does not exist


@pytest.mark.parametrize(
    ("use", "options", "words"),
    [
        (
            "shelf:Whole",
            {"out": "x", "qualty": 5},
            r"takes no option 'qualty'; did you mean 'quality'\? It takes: out, quality, codec",
        ),
        ("shelf:Whole", {"zzz": 5, "out": "x"}, r"takes no option 'zzz'.* It takes: out, quality, codec"),
        (
            "shelf:Whole",
            {},
            r"consumers\.a\.options: 'shelf:Whole' cannot be made of.*missing a required argument: 'out'.*It takes",
        ),
        ("shelf:Only", {"out": "x"}, r"takes no option 'out'.* It takes: no options"),
        ("shelf:count", {"frame": 1}, r"takes no option 'frame'.* It takes: into, by"),
        ("shelf:count", {"int": 1}, r"takes no option 'int'; did you mean 'into'\?"),
        ("shelf:nothing", {}, r"consumers\.a\.options: 'shelf:nothing' cannot.*too many positional arguments"),
        ("shelf:Picky", {"out": "x"}, r"consumers\.a\.options: out: x is not good"),
        ("null", {"out": "x"}, r"'null' takes no option 'out'"),
    ],
)
def test_options_are_held_against_the_signature(use: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_consumer("a", use, options)
    assert seen() == [] if use.startswith("shelf") else True


def test_an_error_of_the_tree_from_a_constructor_keeps_its_kind() -> None:
    with pytest.raises(OutputError, match=r"consumers\.a\.options: out: x cannot be written"):
        make_consumer("a", "shelf:Careful", {"out": "x"})
