"""Fifty trials of which the truth is generated, cut in every way; and recordings cut as their topics suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import yaml

from streamer.config.load import load
from streamer.inprocess import Opened
from streamer.inspect import open_contents
from streamer.inspect.episodes import Division, divide, divide_alone
from tests.bags import Message, encoded, record

if TYPE_CHECKING:
    from pathlib import Path

S = 10**9
ORIGIN = 1_700_000_000 * S
STEP = 10_000_000  # of the joints, ns
COUNT = 50


class Trial(NamedTuple):
    """The truth of one trial."""

    start: int
    end: int
    task: str
    label: str


def _trials() -> list[Trial]:
    rng = np.random.default_rng(5)
    found, at = [], ORIGIN + S
    for number in range(COUNT):
        at += int(rng.integers(S, 2 * S))
        length = int(rng.integers(S, 3 * S))
        found.append(Trial(at, at + length, f"task {number % 7}", ("success", "failure")[int(rng.integers(2))]))
        at += length
    return found


TRIALS = _trials()
END = TRIALS[-1].end + 3 * S


def _text(topic: str, stamp: int, text: str) -> Message:
    return Message(topic, stamp, encoded("cdr", "std_msgs/msg/String", data=text), "std_msgs/msg/String")


def _flag(topic: str, stamp: int, *, on: bool) -> Message:
    return Message(topic, stamp, encoded("cdr", "std_msgs/msg/Bool", data=on), "std_msgs/msg/Bool")


def _joy(stamp: int, *, held: bool, pressed: bool) -> Message:
    buttons = np.array([0, held, pressed], np.int32)
    return Message("/joy", stamp, encoded("cdr", "sensor_msgs/msg/Joy", buttons=buttons), "sensor_msgs/msg/Joy")


def _motion() -> list[Message]:
    """Joints that move within trials only, at 1 rad/s, and a sensor that speaks within trials only."""
    found, angle = [], 0.0
    windows = iter(TRIALS)
    trial = next(windows)
    kind = "sensor_msgs/msg/JointState"
    for stamp in range(ORIGIN, END, STEP):
        if stamp >= trial.end:
            trial = next(windows, trial)
        inside = trial.start <= stamp < trial.end
        angle += STEP / S if inside else 0.0
        found.append(Message("/joints", stamp, encoded("cdr", kind, name=["a"], position=[angle]), kind))
        if inside:
            number = encoded("cdr", "std_msgs/msg/Float64", data=angle)
            found.append(Message("/sensor", stamp, number, "std_msgs/msg/Float64"))
    return found


def _marks(*topics: str) -> list[Message]:
    found: list[Message] = []
    for trial in TRIALS:
        for at, on in ((trial.start, True), (trial.end, False)):
            made = {
                "/trial": [_text("/trial", at, f"begin: {trial.task}" if on else f"end: {trial.label}")],
                "/recording": [_flag("/recording", at, on=on)],
                "/joy": [_joy(at, held=on, pressed=True), _joy(at + S // 5, held=on, pressed=False)],
            }
            found += [message for topic in topics for message in made[topic]]
    return found


def _record(path: Path, messages: list[Message]) -> Path:
    return record(path, "mcap", sorted(messages, key=lambda message: message.stamp))


@pytest.fixture(scope="module")
def fifty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _record(tmp_path_factory.mktemp("fifty") / "day", _motion() + _marks("/trial", "/recording", "/joy"))


def _divided(folder: Path, recording: Path, episodes: dict[str, Any]) -> Division:
    config = {
        "source": {"path": str(recording)},
        "timeline": {"from": "sensor"},
        "episodes": episodes,
        "streams": {
            "sensor": {"topic": "/sensor", "field": "data"},
            "joints": {"topic": "/joints", "field": "position"},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    opened = Opened(load(folder / "config.yaml", [], consumers_needed=False))
    (path,) = opened.paths()
    with opened.prepared(path) as prepared:
        return divide(prepared, "day")


MARKERS = {"topic": "/trial", "start": "begin*", "stop": "end*", "task": "data", "label": "data"}
BUTTON = {"topic": "/joy", "field": "buttons[2]", "start": 1, "stop": 1}
HELD = {"topic": "/joy", "field": "buttons[1]", "start": 1, "stop": 0}
FLAG = {"topic": "/recording", "start": True, "stop": False}
STILL = {"still": {"stream": "joints", "below": 0.1, "for": "500 ms"}}
TRIMMED = {"every": "1000 s", "trim": {"still": "joints", "below": 0.1}}


@pytest.mark.parametrize(
    ("way", "off"),
    [
        ({"from": MARKERS}, 0),
        ({"from": FLAG}, 0),
        ({"from": BUTTON}, 0),
        ({"from": HELD}, 0),
        ({"gap": "500 ms"}, STEP),
        (STILL, 6 * STEP),
    ],
    ids=["texts", "truth value", "one button", "a held button", "pauses", "rests"],
)
def test_fifty_trials_are_cut_where_they_were_made(fifty: Path, tmp_path: Path, way: dict[str, Any], off: int) -> None:
    found = _divided(tmp_path, fifty, way)
    assert [e.episode.number for e in found.episodes] == list(range(COUNT))
    for one, trial in zip(found.episodes, TRIALS, strict=True):
        assert abs(one.episode.start - trial.start) <= off
        assert abs(one.episode.end - trial.end) <= off
        sensed = len(range(-(-(trial.start - ORIGIN) // STEP), -(-(trial.end - ORIGIN) // STEP)))
        assert one.frames is not None
        assert one.frames == sensed
    if "from" in way and way["from"] is MARKERS:
        assert [(e.episode.task, e.episode.label) for e in found.episodes] == [(t.task, t.label) for t in TRIALS]


def test_fifty_rows_of_a_table_are_fifty_episodes(fifty: Path, tmp_path: Path) -> None:
    rows = [f"{(t.start - ORIGIN) / S:.9f},{(t.end - ORIGIN) / S:.9f},{t.task},{t.label}" for t in TRIALS]
    (tmp_path / "trials.csv").write_text("\n".join(["start,end,task,label", *rows]))
    found = _divided(tmp_path, fifty, {"windows": "trials.csv"})
    assert [(e.episode.start, e.episode.end, e.episode.task, e.episode.label) for e in found.episodes] == TRIALS


def test_ends_in_which_nothing_moves_are_told(fifty: Path, tmp_path: Path) -> None:
    found = _divided(tmp_path, fifty, TRIMMED)
    (one,) = found.episodes
    assert abs(one.episode.start - TRIALS[0].start) <= 6 * STEP
    assert [low for low, _ in found.idle] == [ORIGIN, one.episode.end]
    assert found.as_json()["idle"][0] == {"start_s": 0.0, "seconds": (one.episode.start - ORIGIN) / S}


@pytest.mark.parametrize(
    ("topics", "settings"),
    [
        (["/trial", "/recording", "/joy"], MARKERS),
        (["/recording", "/joy"], {"topic": "/recording", "start": "1", "stop": "0"}),
        (["/joy"], {"topic": "/joy", "field": "buttons[1]", "start": "1", "stop": "0"}),
    ],
)
def test_a_recording_alone_is_cut_as_its_topics_suggest(
    tmp_path: Path, topics: list[str], settings: dict[str, Any]
) -> None:
    noise = [_text("/chatter", ORIGIN + n * S, f"nothing {n}") for n in range(9)]
    noise += [_flag("/estop", ORIGIN + n * S, on=n in {3, 4}) for n in range(9)]
    path = _record(tmp_path / "alone", noise + _marks(*topics))
    with open_contents(path) as contents:
        found, guess = divide_alone(contents, "day")
    assert guess.as_settings() == {"from": settings}
    assert found is not None
    assert [(e.episode.start, e.episode.end) for e in found.episodes] == [(t.start, t.end) for t in TRIALS]
    told = _text("/outcome", TRIALS[3].end + 1, "failure")
    asked = _text("/instruction", TRIALS[3].start - 1, "fold the towel")
    if "/trial" not in topics:
        with open_contents(_record(tmp_path / "told", [*_marks(*topics), told, asked])) as contents:
            found, guess = divide_alone(contents, "day")
        assert found is not None
        assert (found.episodes[3].episode.task, found.episodes[3].episode.label) == ("fold the towel", "failure")


def test_what_marks_nothing_is_told(tmp_path: Path) -> None:
    noise = [_text("/chatter", ORIGIN + n, f"nothing {n}") for n in range(3)]
    noise += [_flag("/estop", ORIGIN + n, on=False) for n in range(3)]
    noise += [_joy(ORIGIN + n, held=False, pressed=False) for n in range(3)]
    with open_contents(_record(tmp_path / "alone", noise)) as contents:
        found, guess = divide_alone(contents, "day")
    assert found is None
    assert guess.looked == (
        "/chatter (String): no text begins with start, begin or record",
        "/estop (Bool): is always 0",
        "/joy (Joy): no button is pressed",
    )
