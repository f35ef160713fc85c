"""Topics whose last message holds for whoever comes later: a stream that holds has it in every frame and episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from rosbags import rosbag1, rosbag2
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

import streamer
from tests.bags import START, Message, encoded, numbers, store

if TYPE_CHECKING:
    from pathlib import Path

MS = 10**6
TICKS = [START + n * 100 * MS for n in range(30)]
INFO, TEXT = "sensor_msgs/msg/CameraInfo", "std_msgs/msg/String"
FORMS = ("ros1", "db3", "mcap")


def offered(durability: QosDurability) -> Qos:
    never = QosTime(0, 0)
    kept = QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE
    return Qos(*kept, durability, never, never, QosLiveliness.AUTOMATIC, never, avoid_ros_namespace_conventions=False)


def latched(form: str, at: dict[int, float]) -> list[Message]:
    """Return a calibration, whose first number is told, and a text, from instants in milliseconds on."""
    encoding = "ros1" if form == "ros1" else "cdr"
    k = "K" if form == "ros1" else "k"
    found = []
    for milliseconds, value in at.items():
        stamp = START + milliseconds * MS
        info = encoded(encoding, INFO, **{k: [value] * 9})
        found += [
            Message("/camera_info", stamp, info, INFO),
            Message("/robot_description", stamp, encoded(encoding, TEXT, data=f"robot {value:g}"), TEXT),
        ]
    return found


def write(path: Path, form: str, at: dict[int, float], *, holding: bool = True) -> Path:
    """Write a clock at 10 Hz, and the others as their publishers offer them."""
    encoding = "ros1" if form == "ros1" else "cdr"
    messages = sorted([*numbers("/tick", TICKS, encoding), *latched(form, at)], key=lambda m: m.stamp)
    path = path.with_suffix(".bag") if form == "ros1" else path
    plugin = rosbag2.StoragePlugin.MCAP if form == "mcap" else rosbag2.StoragePlugin.SQLITE3
    writer: Any = rosbag1.Writer(path) if form == "ros1" else rosbag2.Writer(path, version=9, storage_plugin=plugin)
    with writer:
        topics: dict[str, Any] = {}
        for message in messages:
            holds = holding and message.topic != "/tick"
            durability = QosDurability.TRANSIENT_LOCAL if holds else QosDurability.VOLATILE
            more = {"latching": int(holds)} if form == "ros1" else {"offered_qos_profiles": [offered(durability)]}
            if message.topic not in topics:
                topics[message.topic] = writer.add_connection(
                    message.topic, message.kind, typestore=store(encoding), **more
                )
            writer.write(topics[message.topic], message.stamp, message.data)
    return path


def seen(folder: Path, path: Path, form: str, **more: Any) -> list[tuple[float, float | None, str | None]]:
    """Return what each frame shows: seconds from the beginning, the calibration's number, the text."""
    info = "K" if form == "ros1" else "k"
    config = {
        "source": {"path": str(path)},
        "timeline": {"from": "tick"},
        "streams": {
            "tick": {"topic": "/tick", "field": "data"},
            "info": {"topic": "/camera_info", "field": f"{info}[0]", "missing": "hold"},
            "robot": {"topic": "/robot_description", "missing": "hold"},
        },
        **more,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return [
        ((frame.tick - START) / 1e9, None if frame["info"] is None else float(frame["info"][0]), frame["robot"])
        for frame in streamer.open(folder / "config.yaml").frames()
    ]


def right(ticks: list[int], value: float) -> list[tuple[float, float | None, str | None]]:
    return [(tick / 1000, value, f"robot {value:g}") for tick in ticks]


WHOLE = list(range(0, 3000, 100))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [-500, 730], ids=["before the first tick", "after it"])
def test_one_message_holds_for_the_whole_recording_whenever_it_was_recorded(tmp_path: Path, form: str, at: int) -> None:
    path = write(tmp_path / "bag", form, {at: 7.0})
    assert seen(tmp_path, path, form) == right(WHOLE, 7.0)
    grid = seen(tmp_path, path, form, timeline={"from": "grid", "rate": "10 Hz"})
    assert grid == right(WHOLE, 7.0)


@pytest.mark.parametrize("form", FORMS)
def test_the_episodes_of_a_recording_show_what_held_when_they_began(tmp_path: Path, form: str) -> None:
    (tmp_path / "cut.csv").write_text("start,end\n0.1,0.5\n1,1.4\n2,2.4\n")
    cut = {"episodes": {"windows": "cut.csv"}}
    for timeline in ({"from": "tick"}, {"from": "grid", "rate": "10 Hz"}):
        late = write(tmp_path / f"late-{timeline['from']}", form, {1250: 1.0, 1950: 2.0})
        first, second, third = [100, 200, 300, 400], [1000, 1100, 1200, 1300], [2000, 2100, 2200, 2300]
        shown = seen(tmp_path, late, form, timeline=timeline, **cut)
        assert shown == right([*first, *second], 1.0) + right(third, 2.0)
        early = write(tmp_path / f"early-{timeline['from']}", form, {0: 3.0, 2150: 4.0})
        nothing_before = seen(tmp_path, early, form, timeline=timeline, **cut)
        assert nothing_before[:8] == right([*first, *second], 3.0)
        assert [text for _, _, text in nothing_before[8:]] == ["robot 3", "robot 3", "robot 4", "robot 4"]


def test_a_value_of_a_topic_that_is_not_latched_does_not_reach_into_an_episode(tmp_path: Path) -> None:
    path = write(tmp_path / "bag", "mcap", {50: 7.0}, holding=False)
    (tmp_path / "cut.csv").write_text("start,end\n1,1.4\n")
    shown = seen(tmp_path, path, "mcap", episodes={"windows": "cut.csv"})
    assert shown == [(seconds, None, None) for seconds in (1.0, 1.1, 1.2, 1.3)]
