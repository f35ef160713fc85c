"""What streams have in common is made once for a frame, and changes nothing of what they hold."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

import streamer
from streamer.decode import compressed
from streamer.runtime.codec import Run
from streamer.source.source import Source
from streamer.transform import Undistort
from tests.bags import CLOUD, COMPRESSED, JOINTS, START, Message, encoded, make, record
from tests.videos import FOXGLOVE, decoded, encode, pictures, video

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

FRAMES = 12
QUICK = {"tune": "zerolatency", "preset": "ultrafast"}
INFO = "sensor_msgs/msg/CameraInfo"
UNDISTORT = {"undistort": {"camera_info": "/info"}}
POINTS = {"topic": "/points"}


def robot() -> Iterator[Message]:
    rng = np.random.default_rng(2)
    k, p = [100.0, 0, 64, 0, 100, 48, 0, 0, 1], [100.0, 0, 64, 0, 0, 100, 48, 0, 0, 0, 1, 0]
    lens = {"height": 96, "width": 128, "distortion_model": "plumb_bob", "d": [-0.2, 0.1, 0, 0, 0], "k": k, "p": p}
    yield Message("/info", START, encoded("cdr", INFO, **lens, r=np.eye(3).ravel()), INFO)
    fields = [
        make("cdr", "sensor_msgs/msg/PointField", name=name, offset=4 * n, datatype=7, count=1)
        for n, name in enumerate("xyz")
    ]
    for n in range(FRAMES):
        at = START + n * 10**8
        picture = cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (128, 96))
        data = cv2.imencode(".jpg", picture)[1].ravel()
        yield Message("/cam", at, encoded("cdr", COMPRESSED, format="jpeg", data=data), COMPRESSED)
        position, velocity = rng.random(3), rng.random(3)
        yield Message("/joints", at, encoded("cdr", JOINTS, position=position, velocity=velocity), JOINTS)
        cloud = {"height": 1, "width": 40 + n, "fields": fields, "point_step": 12, "row_step": 12 * (40 + n)}
        data = rng.random((40 + n, 3), np.float32).view(np.uint8).ravel()
        yield Message("/points", at, encoded("cdr", CLOUD, **cloud, data=data), CLOUD)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("robot") / "bag", "mcap-message", robot())


def shown(path: Path, folder: Path, streams: dict[str, Any]) -> list[dict[str, NDArray[Any]]]:
    config = {"source": {"path": str(path)}, "timeline": {"from": next(iter(streams))}, "streams": streams}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with_all = streamer.open(folder / "config.yaml").chunks()
    return [{name: frame[name].copy() for name in streams} for chunk in with_all for frame in chunk]


def cam(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"topic": "/cam", **({"map": list(steps)} if steps else {}), **more}


SETS: dict[str, dict[str, Any]] = {
    "two crops": {"left": cam({"crop": [0, 0, 64, 96]}), "right": cam({"crop": [64, 0, 64, 96]})},
    "crop and whole": {"cut": cam({"crop": [5, 3, 50, 40]}), "whole": cam(), "again": cam()},
    "small": {
        "a": cam({"crop": [0, 0, 64, 96]}, {"resize": [16, 24]}),
        "b": cam({"resize": [32, 24]}),
        "c": cam("gray"),
    },
    "lens": {"a": cam(UNDISTORT, {"crop": [0, 0, 9, 9]}), "b": cam(UNDISTORT, "gray"), "c": cam(UNDISTORT)},
    "later": {"now": cam({"flip": "vertical"}), "next": cam({"flip": "vertical"}, at="+1 tick"), "raw": cam()},
    "points": {
        "box": {**POINTS, "map": [{"crop": {"x": [0, 0.5]}}]},
        "all": POINTS,
        "some": {**POINTS, "map": [{"crop": {"x": [0, 0.5]}}, {"sample": 8}]},
    },
    "joints": {
        "p": {"topic": "/joints", "field": "position"},
        "v": {"topic": "/joints", "field": "velocity"},
        "q": {"topic": "/joints", "field": "position", "map": [{"scale": 2}], "align": "linear", "shift": "-30 ms"},
    },
}


@pytest.mark.parametrize("streams", SETS.values(), ids=SETS)
def test_streams_hold_the_same_together_as_each_alone(recorded: Path, tmp_path: Path, streams: dict[str, Any]) -> None:
    clock = {"clock": {"topic": "/joints", "field": "velocity"}}  # a stream alone has nobody to share with
    together = shown(recorded, tmp_path, clock | streams)
    assert len(together) >= FRAMES - 1
    for name, stream in streams.items():
        alone = shown(recorded, tmp_path, clock | {name: stream})
        for one, other in zip(together, alone, strict=False):
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    ("chosen", "decodings", "undistorted", "fetched"),
    [
        ("two crops", 1, 0, 1),
        ("crop and whole", 1, 0, 1),
        ("lens", 1, 1, 1),
        ("small", 2, 0, 1),  # at a quarter for two, and in full: what others want changes no stream
        ("joints", 0, 0, 1),
    ],
)
def test_a_message_is_fetched_decoded_and_mapped_once_for_all_streams_that_begin_alike(
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str,
    decodings: int,
    undistorted: int,
    fetched: int,
) -> None:
    counts: Counter[str] = Counter()

    def counting(what: str, function: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            counts[what] += 1
            return function(*args, **options)

        return call

    streams = {name: s for name, s in SETS[chosen].items() if "align" not in s}
    path = tmp_path / "config.yaml"
    shown(recorded, tmp_path, streams)
    chunks = streamer.open(path).chunks()
    first = next(chunks)  # which is planned, and loaded when it is asked for
    monkeypatch.setattr(compressed, "_jpeg", counting("decoded", vars(compressed)["_jpeg"]))
    monkeypatch.setattr(Undistort, "__call__", counting("undistorted", Undistort.__call__))
    monkeypatch.setattr(Source, "payload", counting("fetched", Source.payload))
    frames = len(list(first)) + sum(1 for chunk in chunks for _ in chunk)
    assert frames == FRAMES
    times = [counts[what] / frames for what in ("decoded", "undistorted", "fetched")]
    assert times == [decodings, undistorted, fetched]


def test_the_streams_of_one_video_have_one_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = encode("libx264", pictures(24), QUICK)
    path = record(tmp_path / "bag", "mcap", video("/cam", "cdr", FOXGLOVE, "h264", packets))
    fed: list[int] = []
    feed = Run.feed

    def counting(self: Run, number: int, data: bytes, shown: bool) -> Any:  # noqa: FBT001 - as it is called
        fed.append(number)
        return feed(self, number, data, shown)

    monkeypatch.setattr(Run, "feed", counting)
    streams = {"whole": cam(), "cut": cam({"crop": [8, 4, 40, 30]}), "late": cam(shift="1 ms")}
    found = shown(path, tmp_path, streams)
    right = decoded("h264", packets)
    assert len(found) == 24
    for n, frame in enumerate(found):
        np.testing.assert_array_equal(frame["whole"], right[n])
        np.testing.assert_array_equal(frame["cut"], right[n][4:34, 8:48])
        np.testing.assert_array_equal(frame["late"], right[n])
    assert sorted(set(fed)) == list(range(24))
    assert all(fed.count(number) == 1 for number in range(1, 24))  # the first is looked at while planning
