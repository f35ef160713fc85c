"""Rotations that a map reads in any form, between two messages → scipy's Slerp, or a refusal before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation, Slerp

import streamer
from streamer.errors import ConfigError
from tests.bags import FLOAT, START, Message, encoded, record

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]

MS = 10**6
ARRAY = "std_msgs/msg/Float64MultiArray"
COUNT = 9
TURNS = Rotation.from_rotvec(
    [[0.9 * np.sin(1.3 * n), 2.6 * np.cos(n), 3.0 - 0.7 * n] for n in range(COUNT)]
)  # some more than a quarter turn apart, and their angles jump from half a turn to minus half a turn
FORMS: dict[str, Rows] = {
    "matrix": TURNS.as_matrix().reshape(COUNT, 9),
    "rot6d": TURNS.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(COUNT, 6),
    "euler xyz": TURNS.as_euler("xyz"),
    "rotvec": TURNS.as_rotvec(),
    "quaternion": TURNS.as_quat() * (1 - 2 * (np.arange(COUNT) % 2))[:, None],
    "quaternion wxyz": np.roll(TURNS.as_quat(), 1, axis=1),
}
TICKS = np.arange(4 * (COUNT - 1) + 1) * 25  # in milliseconds; messages come every 100


def written(path: Path, rows: Rows) -> Path:
    """Write rows of numbers, a straight line of numbers in front of each, and a clock."""
    values = np.concatenate([np.arange(10.0, 10.0 + len(rows))[:, None], rows], axis=1)
    messages = [
        Message("/row", START + n * 100 * MS, encoded("cdr", ARRAY, data=row.copy()), ARRAY)
        for n, row in enumerate(values)
    ]
    messages += [Message("/clock", START + t * MS, encoded("cdr", FLOAT, data=0.0)) for t in TICKS.tolist()]
    return record(path, "mcap", sorted(messages, key=lambda message: message.stamp))


def shown(folder: Path, path: Path, stream: dict[str, Any]) -> Rows:
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "clock"},
        "streams": {"clock": {"topic": "/clock"}, "it": stream},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return np.array([frame["it"] for frame in streamer.open(folder / "config.yaml").frames()])


def between() -> Rows:
    """Return scipy's matrices at all ticks, (n, 9)."""
    found: Rows = Slerp(np.arange(COUNT) * 100, TURNS)(TICKS).as_matrix().reshape(-1, 9)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_between_two_rotations_of_any_form_lies_a_rotation(tmp_path: Path, form: str) -> None:
    path = written(tmp_path / "bag", FORMS[form])
    stream = {"topic": "/row", "field": "data", "align": "linear"}
    read = {"rotation": {"from": form, "to": "matrix", "at": 1}}
    found = shown(tmp_path, path, {**stream, "map": [read]})
    np.testing.assert_allclose(found[:, 1:], between(), atol=1e-9)
    np.testing.assert_allclose(found[:, 0], 10 + TICKS / 100, atol=1e-9)
    back = {"rotation": {"from": "matrix", "to": "quaternion", "at": 1}}
    twice = shown(tmp_path, path, {**stream, "map": [read, back, {"elements": "1:5"}]})
    np.testing.assert_allclose(Rotation.from_quat(twice).as_matrix().reshape(-1, 9), between(), atol=1e-9)


@pytest.mark.parametrize("form", ["euler xyz", "quaternion", "matrix"])
def test_it_does_whatever_stands_beside_it_and_wherever_its_numbers_lie(tmp_path: Path, form: str) -> None:
    width = FORMS[form].shape[1]
    mixed = np.arange(width)[::-1]
    path = written(tmp_path / "bag", FORMS[form][:, mixed])
    scale = [0.5, *[1.0] * width]
    order = [0, *(1 + int(np.flatnonzero(mixed == n)[0]) for n in range(width))]
    steps = [{"scale": scale}, {"elements": order}, {"rotation": {"from": form, "to": "matrix", "at": 1}}]
    found = shown(tmp_path, path, {"topic": "/row", "field": "data", "align": "linear", "map": steps})
    np.testing.assert_allclose(found[:, 1:], between(), atol=1e-9)
    np.testing.assert_allclose(found[:, 0], (10 + TICKS / 100) / 2, atol=1e-9)


@pytest.mark.parametrize("form", ["euler xyz", "matrix", "quaternion wxyz"])
def test_parts_that_are_put_together_turn_as_well(tmp_path: Path, form: str) -> None:
    path = written(tmp_path / "bag", FORMS[form])
    parts = [{"topic": "/clock"}, {"topic": "/row", "field": "data", "align": "linear"}]
    steps = [{"rotation": {"from": form, "to": "matrix", "at": 2}}]
    found = shown(tmp_path, path, {"concat": parts, "map": steps})
    np.testing.assert_allclose(found[:, 2:], between(), atol=1e-9)


def test_a_rotation_of_two_parts_is_refused_where_it_would_have_to_turn(tmp_path: Path) -> None:
    path = written(tmp_path / "bag", FORMS["rotvec"])
    row = {"topic": "/row", "field": "data"}
    whole = {
        "concat": [row, {**row, "align": "linear"}],
        "map": [{"rotation": {"from": "rotvec", "to": "rot6d", "at": 3}}],
    }
    with pytest.raises(
        ConfigError, match=r"streams\.it\.align: a rotation lies in 2 parts, so 'linear' cannot turn it"
    ):
        shown(tmp_path, path, whole)


def test_the_mean_of_rotations_of_any_form_is_scipys(tmp_path: Path) -> None:
    for form in ("euler xyz", "matrix", "rotvec"):
        path = written(tmp_path / form.partition(" ")[0], FORMS[form])
        stream = {"topic": "/row", "field": "data", "align": "mean", "missing": "skip"}
        config = {
            "source": {"path": str(path)},
            "timeline": {"from": "grid", "rate": "5 Hz", "skip": 1},
            "streams": {"it": {**stream, "map": [{"rotation": {"from": form, "to": "matrix", "at": 1}}]}},
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        checked = 0
        for frame in streamer.open(tmp_path / "config.yaml").frames():
            n, sample = round((frame.tick - START) / MS / 100), frame.samples["it"]
            assert sample is not None
            assert sample.count == 2
            pair = [n - 1, n] if frame["it"][0] == 10 + n - 0.5 else [n, n + 1]
            np.testing.assert_allclose(frame["it"][1:], TURNS[pair].mean().as_matrix().ravel(), atol=1e-9)
            checked += 1
        assert checked > 1


@pytest.mark.parametrize("align", ["linear", "mean"])
@pytest.mark.parametrize("step", [{"scale": "deg2rad"}, {"offset": 0.5}, "own"])
def test_what_cannot_be_told_from_the_messages_is_refused_before_a_run(tmp_path: Path, align: str, step: Any) -> None:
    path = written(tmp_path / "bag", FORMS["euler xyz"])
    steps = [{"elements": "1:4"}, step, {"rotation": {"from": "euler xyz", "to": "rot6d"}}]
    if step == "own":
        (tmp_path / "own_step.py").write_text("def same(array):\n    return array\n")
        steps[1] = "own_step:same"
    row = {"topic": "/row", "field": "data"}
    said = rf"streams\.it\.map\[2\]: '{align}' cannot turn .*'euler xyz'.*'nearest' or 'previous'"
    with pytest.raises(ConfigError, match=said):
        shown(tmp_path, path, {**row, "missing": "skip", "align": align, "map": steps})
    steps[0] = {"elements": "2:5"}
    parts = [{"topic": "/clock"}, row]
    with pytest.raises(ConfigError, match=said):
        shown(tmp_path, path, {"concat": parts, "missing": "skip", "align": align, "map": steps})
    assert len(shown(tmp_path, path, {"concat": parts, "align": "nearest", "map": steps})) == len(TICKS)
