"""`streamer.inspect.check`: what passes runs, and what does not is told at once, with every other mistake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import yaml

from streamer import inspect
from streamer.config.lenient import load_leniently
from streamer.inspect.checks import check_config
from tests.bags import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    JOINTS,
    SECOND,
    START,
    Message,
    encoded,
    header,
    joints,
    make,
    numbers,
    record,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.inspect.findings import Checked

POSE = "geometry_msgs/msg/PoseStamped"
TENS = [START + n * SECOND // 10 for n in range(20)]


def write(folder: Path, **values: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"consumers": {"null": {}}, **values}, sort_keys=False))
    return path


def told(checked: Checked) -> list[str]:
    return [finding.message for finding in checked.findings if finding.code]


def jpeg(width: int, height: int) -> bytes:
    done, found = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))
    assert done
    return found.tobytes()


def pictures(topic: str, change: Callable[[int], bytes]) -> list[Message]:
    return [
        Message(
            topic,
            stamp,
            encoded("cdr", COMPRESSED, header=header(stamp), format="jpeg", data=np.frombuffer(change(n), np.uint8)),
            COMPRESSED,
        )
        for n, stamp in enumerate(TENS)
    ]


def images(topic: str, odd: int) -> list[Message]:
    found = []
    for n, stamp in enumerate(TENS):
        size = 8 if n == odd else 4
        values = {"height": size, "width": size, "encoding": "mono8", "step": size}
        data = encoded("cdr", IMAGE, header=header(stamp), data=np.zeros(size * size), **values)
        found.append(Message(topic, stamp, data, IMAGE))
    return found


def test_a_single_message_that_differs_among_all_that_are_planned_is_found(tmp_path: Path) -> None:
    good = jpeg(32, 24)
    messages = [
        *images("/raw", odd=13),
        *pictures("/jpeg", lambda n: jpeg(16, 24) if n == 7 else good),
        *pictures("/empty", lambda n: b"" if n in (3, 11) else good),
        *pictures("/fine", lambda _: good),
    ]
    names = ("raw", "jpeg", "empty", "fine")
    streams: dict[str, Any] = {name: {"topic": f"/{name}"} for name in names}
    path = write(
        tmp_path,
        source={"path": str(record(tmp_path / "bag", "mcap", messages))},
        timeline={"from": "fine"},
        streams=streams,
    )
    checked = inspect.check(path)
    assert checked.exit_code == 65
    found = told(checked)
    assert len(found) == 3, found
    for words in (
        ("streams.raw: message 13", "8×8 uint8", "4×4 uint8"),
        ("streams.jpeg: message 7", "24×16×3 uint8", "24×32×3 uint8"),
        ("streams.empty: message 3", "the picture is empty", "(the first of 2)"),
    ):
        assert any(all(word in line for word in words) for line in found), (words, found)
    loaded, mistakes = load_leniently(path)
    assert loaded is not None
    assert check_config(loaded, quick=True, mistakes=mistakes).exit_code == 0
    streams["raw"]["resize"] = streams["jpeg"]["resize"] = [4, 4]
    streams["empty"]["undecodable"] = "skip"
    checked = inspect.check(write(tmp_path, **yaml.safe_load(path.read_text()) | {"streams": streams}))
    assert checked.exit_code == 0, told(checked)
    assert any("2 messages cannot be decoded" in finding.message for finding in checked.findings)


def test_messages_that_the_plan_leaves_out_are_not_looked_at(tmp_path: Path) -> None:
    bag = record(tmp_path / "bag", "mcap", images("/raw", odd=13))
    path = write(
        tmp_path,
        source={"path": str(bag)},
        timeline={"from": "raw", "rate": "5 Hz"},
        streams={"raw": {"topic": "/raw"}},
    )
    assert inspect.check(path).exit_code == 0


def test_mistakes_of_the_schema_and_all_others_are_told_together(tmp_path: Path, bag: Path) -> None:
    path = write(
        tmp_path,
        source={"path": str(bag)},
        timeline={"from": "gone", "rate": "10hz"},
        chunk_sise=3,
        pool=2**80,
        streams={
            "arm": {"topic": "/arm", "field": "positon"},
            "gone": {"topik": "/arm"},
            "n": {"topic": "/n", "field": "data", "align": "nearst"},
        },
        consumers={"stats": {"options": {"outt": "out"}, "streams": ["gone", "n", "typo"]}, "null": {}},
    )
    loaded, mistakes = load_leniently(path)
    assert loaded is not None
    checked = check_config(loaded, mistakes=mistakes)
    found = told(checked)
    assert checked.exit_code == 78
    for words in (
        "timeline.rate: '10hz'",
        "chunk_sise: unknown key",
        "pool: 0x1000000000000000… has more than 64 bits",
        "streams.arm.field: field 'positon'",
        "streams.gone.topik: unknown key",
        "streams.gone.topic: it is missing",
        "streams.n.align: should be",
        "consumers.stats.options.outt",
        "there is no stream 'typo'",
    ):
        assert sum(words in line for line in found) == 1, (words, found)
    assert len(found) == 9
    assert all(f"{path}:" in line for line in found), found


def test_a_consumer_holds_itself_against_the_streams_as_they_are(tmp_path: Path) -> None:
    messages = [
        *pictures("/odd", lambda _: jpeg(31, 24)),
        *joints("/arm", TENS, "cdr"),
        *numbers("/n", TENS[:5], "cdr"),
        *numbers("/rare", TENS[::4], "cdr"),
    ]
    bag = record(tmp_path / "bag", "mcap", messages)
    config: dict[str, Any] = {
        "source": {"path": str(bag)},
        "timeline": {"from": "arm"},
        "streams": {
            "odd": {"topic": "/odd"},
            "arm": {"topic": "/arm", "field": "position"},
            "n": {"topic": "/n", "field": "data", "missing": "none", "tolerance": "10 ms"},
        },
    }

    def lerobot(**features: Any) -> list[str]:
        options = {"out": "set", "task": "Test", "features": features}
        path = write(tmp_path, **config, consumers={"set": {"use": "lerobot", "options": options}})
        found = inspect.check(path)
        assert found.exit_code == (78 if told(found) else 0)
        assert not (tmp_path / "set").exists()
        return told(found)

    config["timeline"]["end"] = "timeline"
    assert lerobot(action="arm") == []
    for features, words in (
        ({"action": "armm"}, "there is no stream 'armm'"),
        ({"observation.images.odd": "odd"}, "31x24 pixels: video needs even numbers"),
        ({"action": ["arm", "odd"]}, "only vectors can be put together"),
        ({"action": ["arm", "n"]}, "15 of 20 frames have no sample"),
    ):
        (line,) = lerobot(**features)
        assert words in line
    config["streams"]["n"]["missing"] = "skip"
    config["streams"]["n"]["topic"] = "/rare"
    assert "frames are missing before frame 1" in lerobot(action="arm")[0]
    video = write(tmp_path, **config, consumers={"video": {"options": {"out": "v"}}})
    assert told(inspect.check(video)) == []  # which takes pictures of any size
    files = write(tmp_path, **config, consumers={"images": {"options": {"out": "v", "streams": ["arm"]}}})
    assert "'arm' is vector: no pictures" in told(inspect.check(files))[0]


def test_a_consumer_of_ones_own_is_asked_and_blamed_by_name(tmp_path: Path, bag: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "from streamer import Consumer\n"
        "class Picky(Consumer):\n"
        "    def on_frame(self, frame): pass\n"
        "    def check(self, outlook):\n"
        "        assert Path('mine.py').exists(), 'the folder is that of the configuration'\n"
        "        raise KeyError(sorted(outlook.recording.streams))\n"
    )
    streams = {"arm": {"topic": "/arm", "field": "position"}, "n": {"topic": "/n", "field": "data"}}
    consumers = {"picky": {"use": "mine:Picky", "streams": ["n"]}, "null": {}}
    path = write(tmp_path, source={"path": str(bag)}, timeline={"from": "n"}, streams=streams, consumers=consumers)
    (line,) = told(inspect.check(path))
    assert "consumers.picky: check raised KeyError: ['n']" in line


def test_a_rare_length_is_refused_with_the_message_at_which_it_stands(tmp_path: Path) -> None:
    stamps = [START + n * SECOND // 100 for n in range(300)]
    values = [
        Message(
            "/arm",
            stamp,
            encoded("cdr", JOINTS, header=header(stamp), position=np.zeros(2 if n == 133 else 7)),
            JOINTS,
        )
        for n, stamp in enumerate(stamps)
    ]
    path = write(
        tmp_path,
        source={"path": str(record(tmp_path / "bag", "mcap", values))},
        timeline={"from": "arm"},
        streams={"arm": {"topic": "/arm", "field": "position"}},
    )
    checked = inspect.check(path)
    assert checked.exit_code in (65, 78)
    assert any("133" in line for line in told(checked)), told(checked)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return record(tmp_path / "arm", "ros1", [*joints("/arm", TENS), *numbers("/n", TENS)])


def test_a_map_that_has_no_result_for_one_message_is_found(tmp_path: Path) -> None:
    turns = [{"orientation": {"x": 0.0, "y": 0.0, "z": 0.0, "w": float(n != 12)}} for n in range(len(TENS))]
    messages = [
        Message("/pose", at, encoded("cdr", POSE, pose=turn), POSE) for at, turn in zip(TENS, turns, strict=True)
    ]
    fields = [make("cdr", "sensor_msgs/msg/PointField", name="x", datatype=7, count=1)]
    for n, at in enumerate(TENS):
        cloud = {"height": 1, "width": 5 + n // 9, "fields": fields, "point_step": 4, "row_step": 4 * (5 + n // 9)}
        messages.append(Message("/points", at, encoded("cdr", CLOUD, **cloud, data=np.zeros(4 * (5 + n // 9))), CLOUD))
    path = record(tmp_path / "bag", "mcap", sorted(messages, key=lambda message: message.stamp))
    pose: dict[str, Any] = {"topic": "/pose", "field": "pose.orientation", "map": [{"rotation": {"to": "rot6d"}}]}
    streams = {
        "pose": pose,
        "skipped": {**pose, "undecodable": "skip", "map": [{"rotation": {"to": "yaw", "unwrap": True}}]},
        "joined": {"concat": [{"topic": "/pose", "field": f"pose.{part}"} for part in ("position", "orientation")]},
        "points": {"topic": "/points", "map": [{"pad": 6}]},
    }
    streams["joined"]["map"] = pose["map"]
    config = write(tmp_path, source={"path": str(path)}, timeline={"from": "pose"}, streams=streams)
    checked = inspect.check(config)
    errors = told(checked)
    assert len(errors) == 3, errors
    assert all("the quaternion [0.0, 0.0, 0.0, 0.0] has no length" in error for error in errors[:2])
    assert "message 12" in errors[0]
    assert "7 points do not fit into 6" in errors[2]
    assert "(the first of 2)" in errors[2]
    (warned,) = [f.message for f in checked.findings if not f.code and "skipped" in f.message]
    assert "1 messages cannot be decoded, their frames are left out" in warned
