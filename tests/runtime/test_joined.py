"""Vectors of several topics → one stream, of which each part is aligned by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

import streamer
from streamer.errors import ConfigError
from tests.bags import FLOAT, JOINTS, START, Message, encoded, record
from tests.pipeline.driver import digests, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MS = 10**6
TEXT = "std_msgs/msg/String"
ARM = {"topic": "/arm", "field": "position"}
HAND = {"topic": "/hand", "field": "position", "align": "previous"}
FAR = {"topic": "/far", "scale": 2}


def arm(n: int) -> list[float]:
    return [float(n), 0.5 * n]


def robot() -> Iterator[Message]:
    """An arm at 100 Hz, a hand at 10 Hz with joints of the same names, a number at 50 Hz, a clock at 20 Hz."""
    for n in range(100):
        at = START + n * 10 * MS
        yield Message("/arm", at, encoded("cdr", JOINTS, name=["a", "b"], position=arm(n)), JOINTS)
        if n % 2 == 0:
            yield Message("/far", at + 1, encoded("cdr", FLOAT, data=n), FLOAT)
        if n % 5 == 0:
            yield Message("/clock", at + 4 * MS, encoded("cdr", FLOAT, data=n), FLOAT)
        if n % 10 == 0 and n >= 10:
            yield Message("/hand", at + 2, encoded("cdr", JOINTS, name=["b", "c"], position=[-n, n]), JOINTS)
    yield Message("/says", START, encoded("cdr", TEXT, data="go"), TEXT)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("robot") / "bag", "mcap", robot())


def config(path: Path, *parts: dict[str, Any], **how: Any) -> dict[str, Any]:
    streams = {"clock": {"topic": "/clock"}, "state": {"concat": list(parts), **how}}
    return {"source": {"path": str(path)}, "timeline": {"from": "clock"}, "chunk_size": 4, "streams": streams}


def opened(folder: Path, values: dict[str, Any]) -> streamer.Opened:
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return streamer.open(folder / "config.yaml")


def expected(tick: int) -> NDArray[np.float64]:
    """Say what the state is at a tick: the arm between its messages, the hand's last one, twice the nearest number."""
    at = tick - START
    where = at / (10 * MS)
    hand = (at - 2) // (100 * MS) * 10
    far = 2 * round((at - 1) / (20 * MS))
    return np.array([where, 0.5 * where, -hand, hand, 2 * far])


def test_each_part_is_aligned_by_itself_and_names_that_meet_get_their_topic(recorded: Path, tmp_path: Path) -> None:
    values = config(recorded, {**ARM, "align": "linear"}, HAND, FAR, missing="skip")
    chunks = opened(tmp_path, values).chunks()
    seen = []
    for chunk in chunks:
        info = chunk.recording.streams["state"]
        assert info.topic == "/arm, /hand, /far"
        assert info.names == ("a", "/arm.b", "/hand.b", "c", "data")
        assert (info.kind, info.shape, info.dtype) == ("vector", (5,), np.float64)
        for frame in chunk:
            np.testing.assert_allclose(frame["state"], expected(frame.tick), atol=1e-9)
            sample = frame.samples["state"]
            assert sample is not None
            at = frame.tick - START
            hand, far = (at - 2) // (100 * MS) * 100 * MS + 2, round((at - 1) / (20 * MS)) * 20 * MS + 1
            offsets = [-4 * MS, hand - at, far - at]
            assert sample.offset == max(offsets, key=abs)  # of the part that is furthest off
            assert sample.interpolated
            seen.append(frame.tick)
    assert seen == [START + n * 10 * MS + 4 * MS for n in range(10, 100, 5) if n <= 95]


def test_a_run_checks_streams_and_resumes_it_like_any_other(recorded: Path, tmp_path: Path) -> None:
    values = config(
        recorded, {**ARM, "align": "linear"}, HAND, missing="none", map=[{"elements": ["c", "a"]}, {"scale": 3}]
    )
    values["timeline"] = {"from": "state"}
    values["consumers"] = {"checksum": {"options": {"out": "digest.json"}, "recycle": {"chunks": 3}}}
    finished = run(tmp_path / "a", values)
    assert finished.code == 0, finished
    found = digests(tmp_path / "a/digest.json")
    assert found["frames"] == 96  # those of the arm, its first part, until the clock's last
    assert finished.report["streams"]["state"]["none"] == 11
    values["chunk_size"] = 9
    assert run(tmp_path / "b", values).code == 0
    assert digests(tmp_path / "b/digest.json") == found
    values["consumers"]["bad"] = {"use": "tests.pipeline.probes:Faulty", "options": {"how": "raise", "at": 50}}
    assert run(tmp_path / "c", values).code == 70
    values["streams"]["state"]["concat"][0]["scale"] = 2
    refused = run(tmp_path / "c", values, "--resume")
    assert refused.code == 78, refused
    assert "cannot be continued" in refused.err


@pytest.mark.parametrize(
    ("parts", "how", "said"),
    [
        (
            (ARM, {"topic": "/says"}),
            {},
            r"concat.1: only vectors of one length .* /says is no vector, but of kind text",
        ),
        ((ARM, {"topic": "/no"}), {}, r"streams.state.concat.1.topic: .* has no '/no'"),
        ((ARM, HAND), {"field": "x"}, r"'field' is for each part of 'concat'"),
        ((ARM,), {}, r"concat"),
        ((ARM, {**HAND, "aling": "mean"}), {}, r"aling"),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_place(
    recorded: Path, tmp_path: Path, parts: tuple[dict[str, Any], ...], how: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        next(opened(tmp_path, config(recorded, *parts, **how)).chunks())
