"""Settings and a recording → topics, clocks, ticks and plans as the settings say, or an error that helps."""

from __future__ import annotations

import os
import select
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from streamer import memfd, pool
from streamer.delivery import Load
from streamer.errors import ConfigError, DecodeError, RecordingError
from streamer.records import Alignment, Decoding, Flag, Moment, Spec, StreamSettings, TimelineSettings
from streamer.runtime.loader import Loaded, Loader
from streamer.runtime.prepare import Prepared, prepare
from streamer.source.source import Source
from streamer.source.types import Types
from streamer.tf import NAMES
from tests.bags import (
    CLOUD,
    COMPRESSED,
    FLOAT,
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Prepare = Callable[..., Prepared]

MS = 10**6
TF = "tf2_msgs/msg/TFMessage"
POSE = "geometry_msgs/msg/PoseStamped"
GRID = TimelineSettings("grid", rate=(10, 1))


def stamps(count: int, period: int = 100 * MS, start: int = START) -> list[int]:
    return [start + n * period for n in range(count)]


def images(topic: str, when: list[int], wire: str = "ros1") -> list[Message]:
    values = {"height": 4, "width": 6, "encoding": "mono8", "step": 6}
    return [
        Message(topic, stamp, encoded(wire, IMAGE, header=header(stamp), data=np.full(24, n % 256), **values), IMAGE)
        for n, stamp in enumerate(when)
    ]


def stream(name: str, *topics: str, **how: Any) -> StreamSettings:
    """Make settings; alignment and decoding by their own names."""
    keys = ("align", "tolerance", "missing", "gap", "at", "at_ticks")
    alignment = {key: how.pop(key) for key in keys if key in how}
    decoding = {key: how.pop(key) for key in ("field", "dtype", "resize", "capacity") if key in how}
    return StreamSettings(name, topics, decoding=Decoding(**decoding), alignment=Alignment(**alignment), **how)


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Prepare]:
    """Record messages and prepare streams of them; everything is closed behind the test."""
    with ExitStack() as stack:

        def run(
            messages: list[Message], timeline: TimelineSettings, *streams: StreamSettings, form: str = "ros1"
        ) -> Prepared:
            path = record(tmp_path / f"bag{len(list(tmp_path.iterdir()))}", form, messages)
            source = stack.enter_context(Source(path, tmp_path / "scratch"))
            return prepare(source, Types([], source.distro, tmp_path), timeline, streams)

        yield run


def load(found: Prepared, frame: int) -> list[NDArray[Any] | None]:
    """Decode one frame as the reader does; raise what it reports."""
    writable, readable = memfd.create()
    try:
        filled = pool.Pool(writable, found.layout, 1)
        loader = Loader(found, filled, 1)
        loader.submit([(Load(frame, 0, None), None)])
        finished: list[Loaded] = []
        deadline = time.monotonic() + 10
        while not finished:
            assert select.select([loader.descriptor], [], [], deadline - time.monotonic())[0]
            finished = loader.finished()
        loader.close()
        (done,) = finished
        if done.error is not None:
            raise done.error
        arrays = [filled.array(0, place) for place in found.layout.places]
        return [None if rows is None else a[:rows].copy() for a, rows in zip(arrays, done.rows, strict=True)]
    finally:
        os.close(writable)
        os.close(readable)


# Topics


def test_the_first_topic_that_the_recording_has_is_read(prepared: Prepare) -> None:
    messages = numbers("/b", stamps(3)) + numbers("/c", stamps(3))
    found = prepared(messages, GRID, stream("s", "/a", "/c", "/b"))
    assert found.streams[0].topic.name == "/c"


def test_a_topic_that_is_not_there_gets_the_nearest(prepared: Prepare) -> None:
    messages = numbers("/arm/joint_states", stamps(3)) + numbers("/camera", stamps(3))
    words = (
        r"streams\.s\.topic: bag\d\.bag has no '/arm/joint_state' or '/x'; "
        r"did you mean '/arm/joint_states'\?.*/arm/joint_states, /camera"
    )
    with pytest.raises(ConfigError, match=words):
        prepared(messages, GRID, stream("s", "/arm/joint_state", "/x"))


def test_several_streams_may_come_from_one_topic(prepared: Prepare) -> None:
    found = prepared(
        joints("/j", stamps(5)),
        TimelineSettings("a"),
        stream("a", "/j", field="position[0]"),
        stream("b", "/j", field="position[1:]", dtype="float32"),
    )
    assert [s.spec for s in found.streams] == [
        Spec((1,), "<f8", names=("j0",)),
        Spec((2,), "<f4", names=("j1", "j2")),
    ]
    first = load(found, 2)
    assert [array.tolist() for array in first if array is not None] == [[2.0], [3.0, 4.0]]


def test_a_field_that_is_not_there_is_the_configurations_fault(prepared: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"no 'positions'; did you mean 'position'\?"):
        prepared(joints("/j", stamps(3)), GRID, stream("s", "/j", field="positions"))
    with pytest.raises(ConfigError, match=r"streams\.s\.field: .*position\[7\].* 3 values"):
        prepared(joints("/j", stamps(3)), GRID, stream("s", "/j", field="position[7]"))


# Clocks


def test_a_stream_on_its_headers_clock_is_ordered_by_header_stamps(prepared: Prepare) -> None:
    said = {START + 10: START + 3, START + 11: START + 1, START + 12: START + 2}
    by_header = prepared(joints("/j", said), TimelineSettings("s"), stream("s", "/j", field="position", clock="header"))
    assert by_header.plan.ticks.tolist() == [START + 1, START + 2, START + 3]
    assert [load(by_header, n)[0].tolist()[0] for n in range(3)] == [1.0, 2.0, 0.0]  # type: ignore[union-attr]
    by_receipt = prepared(joints("/j", said), TimelineSettings("s"), stream("s", "/j", field="position"))
    assert by_receipt.plan.ticks.tolist() == [START + 10, START + 11, START + 12]
    assert [load(by_receipt, n)[0].tolist()[0] for n in range(3)] == [0.0, 1.0, 2.0]  # type: ignore[union-attr]


@pytest.mark.parametrize("wire", ["cdr", "cdr_be"])
def test_header_stamps_are_read_in_either_order_of_bytes(prepared: Prepare, wire: str) -> None:
    messages = joints("/j", {START + 9: START + 5, START + 8: START + 6}, wire)
    found = prepared(messages, TimelineSettings("s"), stream("s", "/j", field="position", clock="header"), form="mcap")
    assert found.plan.ticks.tolist() == [START + 5, START + 6]


def test_one_topic_may_be_read_on_both_clocks(prepared: Prepare) -> None:
    messages = joints("/j", {stamp + 40 * MS: stamp for stamp in stamps(10)})
    found = prepared(
        messages,
        TimelineSettings("sent"),
        stream("sent", "/j", field="position", clock="header"),
        stream("got", "/j", field="position"),
    )
    sent, got = found.streams
    assert np.all(sent.plan.offset == 0)
    assert np.all(got.plan.offset[1:] == 40 * MS)


def test_a_message_without_header_has_no_header_clock(prepared: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"streams\.s\.clock: std_msgs/msg/Float64 has no header.*use 'receive'"):
        prepared(numbers("/a", stamps(3)), GRID, stream("s", "/a", clock="header"))


def test_headers_that_were_never_stamped_are_refused(prepared: Prepare) -> None:
    messages = joints("/j", dict.fromkeys(stamps(3), 0))
    with pytest.raises(ConfigError, match=r"all header stamps of /j are 0; use 'receive'"):
        prepared(messages, GRID, stream("s", "/j", field="position", clock="header"))


def test_a_message_too_short_for_a_header_is_a_recording_error(prepared: Prepare) -> None:
    messages = [*joints("/j", stamps(2)), Message("/j", START + SECOND, b"\0\0", JOINTS)]
    with pytest.raises(RecordingError, match="too short for a header"):
        prepared(messages, GRID, stream("s", "/j", field="position", clock="header"))


# Shifted and later samples, means, and a window of the recording


def test_a_shift_is_added_to_a_streams_stamps(prepared: Prepare) -> None:
    late = images("/i", [stamp + 40 * MS for stamp in stamps(5)])
    found = prepared(
        late + joints("/j", stamps(5)),
        TimelineSettings("j"),
        stream("i", "/i", shift=-40 * MS),
        stream("j", "/j", field="position"),
    )
    camera, arm = found.streams
    assert camera.plan.first.tolist() == arm.plan.first.tolist() == [0, 1, 2, 3, 4]
    assert set(camera.plan.offset.tolist()) == {0}
    assert prepared(late, TimelineSettings("i"), stream("i", "/i", shift=-40 * MS)).plan.ticks.tolist() == stamps(5)


def test_the_mean_of_a_fast_signal_is_that_of_the_messages_around_the_tick(prepared: Prepare) -> None:
    fast = joints("/j", stamps(100, 10 * MS))  # message n holds n, n + 1, n + 2
    found = prepared(fast, GRID, stream("s", "/j", field="position", align="mean"))
    (value,) = load(found, 5)
    assert value is not None
    around = np.arange(45, 55)  # from half a tick before to half a tick after
    assert value.tolist() == [(around + n).mean() for n in range(3)]


def test_the_mean_is_for_vectors_only(prepared: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"streams\.i\.align: 'mean' is for vectors"):
        prepared(images("/i", stamps(3)), GRID, stream("i", "/i", align="mean"))


def test_a_window_counts_from_the_first_message_of_the_recording_or_names_instants(prepared: Prepare) -> None:
    messages = numbers("/early", [START - 2 * SECOND]) + numbers("/a", stamps(50))
    timeline = TimelineSettings(
        "s", start=Moment(3 * SECOND, absolute=False), end_at=Moment(4 * SECOND, absolute=False)
    )
    relative = prepared(messages, timeline, stream("s", "/a"))
    assert relative.plan.ticks.tolist() == stamps(50)[10:21]
    at = Moment(START + SECOND, absolute=True)
    absolute = prepared(messages, TimelineSettings("s", start=at), stream("s", "/a"))
    assert absolute.plan.ticks.tolist() == stamps(50)[10:]


def test_a_window_on_a_header_clock_begins_where_the_recorder_began(prepared: Prepare) -> None:
    messages = numbers("/early", [START - SECOND]) + joints("/j", {stamp: stamp - 10**15 for stamp in stamps(30)})
    timeline = TimelineSettings("s", start=Moment(2 * SECOND, absolute=False))
    found = prepared(messages, timeline, stream("s", "/j", field="position", clock="header"))
    assert found.plan.ticks.tolist() == [stamp - 10**15 for stamp in stamps(30)[10:]]


# Poses of one coordinate frame in another


def transforms(topic: str, when: list[int], parent: str, child: str, x: Callable[[int], float]) -> list[Message]:
    """Messages of one transform each, in CDR, along x."""
    return [
        Message(
            topic,
            stamp,
            encoded(
                "cdr",
                TF,
                transforms=[
                    make(
                        "cdr",
                        "geometry_msgs/msg/TransformStamped",
                        header=header(stamp + MS, parent),
                        child_frame_id=child,
                        transform={"translation": {"x": x(n)}, "rotation": {"w": 1.0}},
                    )
                ],
            ),
            TF,
        )
        for n, stamp in enumerate(when)
    ]


def test_a_pose_is_put_together_from_moving_and_static_transforms_at_each_tick(prepared: Prepare) -> None:
    messages = [
        *transforms("/tf", stamps(20, 100 * MS), "base", "arm", float),
        *transforms("/tf", stamps(7, 300 * MS), "arm", "hand", lambda n: 10.0 * n),
        *transforms("/tf_static", [START + 5 * SECOND], "hand", "tool", lambda _: 0.5),
    ]
    tool = stream("tool", "/tf", "/tf_static", align="linear", tf=("base", "tool"))
    messages.sort(key=lambda message: message.stamp)
    found = prepared(messages, TimelineSettings("grid", rate=(20, 1)), tool, form="mcap")
    assert found.streams[0].spec.names == NAMES
    assert found.plan.ticks.tolist() == stamps(37, 50 * MS)  # to the last message of the link that ends first
    for frame in (0, 1, 7, 36):
        (pose,) = load(found, frame)
        seconds = frame * 0.05
        assert pose is not None
        assert pose.tolist() == pytest.approx([seconds * 10 + seconds / 0.3 * 10 + 0.5, 0, 0, 0, 0, 0, 1])
    assert [bool(flag & Flag.INTERPOLATED) for flag in found.streams[0].plan.flags[:3]] == [False, True, True]


def test_a_pose_follows_the_transforms_own_stamps_on_the_header_clock_and_may_be_taken_later(prepared: Prepare) -> None:
    messages = transforms("/tf", stamps(20), "base", "arm", float)
    arm = stream("arm", "/tf", align="linear", tf=("base", "arm"), clock="header", at=50 * MS)
    found = prepared(messages, TimelineSettings("arm"), arm, form="mcap")
    assert found.plan.ticks.tolist() == [stamp + MS for stamp in stamps(19)]
    (pose,) = load(found, 3)
    assert pose is not None
    assert pose[0] == pytest.approx(3.5)
    assert dict(found.plan.skipped) == {"at arm": 1}


def test_frames_that_nothing_connects_are_told_with_the_pieces_of_the_tree(prepared: Prepare) -> None:
    messages = transforms("/tf", stamps(3), "base", "arm", float)
    messages += transforms("/tf", stamps(3, start=START + SECOND), "map", "odom", float)
    with pytest.raises(RecordingError, match=r"streams\.s: .*'base' and 'odom'. Pieces: base → arm; map → odom"):
        prepared(messages, GRID, stream("s", "/tf", tf=("base", "odom")), form="mcap")
    with pytest.raises(ConfigError, match=r"/a holds std_msgs/msg/Float64, not transforms"):
        prepared(numbers("/a", stamps(3)), GRID, stream("s", "/a", tf=("base", "odom")))


# Ticks


def test_the_busiest_image_stream_gives_the_ticks(prepared: Prepare) -> None:
    messages = images("/slow", stamps(5)) + images("/fast", stamps(10, 50 * MS)) + joints("/j", stamps(90, 5 * MS))
    found = prepared(
        messages,
        TimelineSettings(),
        stream("slow", "/slow"),
        stream("fast", "/fast"),
        stream("joints", "/j", field="position"),
        stream("width", "/fast", field="width"),
    )
    assert found.plan.ticks.tolist() == stamps(9, 50 * MS)  # until the slow one ends
    assert found.rate == pytest.approx(20)


def test_without_image_stream_there_is_no_busiest(prepared: Prepare) -> None:
    messages = joints("/j", stamps(3)) + images("/i", stamps(3))
    with pytest.raises(ConfigError, match=r"timeline\.from: 'busiest' looks for an image stream.*name one of a, b"):
        prepared(messages, TimelineSettings(), stream("a", "/j", field="position"), stream("b", "/i", field="width"))


def test_a_timeline_from_a_stream_that_is_not_there_gets_the_nearest(prepared: Prepare) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no stream 'hed'; did you mean 'head'\?.*head, or 'busiest', 'grid'"
    ):
        prepared(numbers("/a", stamps(3)), TimelineSettings("hed"), stream("head", "/a"))


def test_a_grid_begins_where_all_streams_have_begun(prepared: Prepare) -> None:
    messages = numbers("/a", stamps(20)) + numbers("/b", stamps(20, start=START + 250 * MS))
    streams = (stream("a", "/a"), stream("b", "/b"))
    common = prepared(messages, GRID, *streams)
    assert common.plan.ticks[0] == START + 250 * MS
    assert common.plan.ticks[-1] <= START + 1900 * MS
    assert np.all(np.diff(common.plan.ticks) == 100 * MS)
    longest = prepared(messages, replace(GRID, end="longest"), *streams)
    assert longest.plan.ticks[0] == START
    assert longest.plan.ticks[-1] == START + 2100 * MS
    assert common.rate == longest.rate == 10


def test_a_grid_without_rate_is_refused(prepared: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"timeline\.rate: a grid needs a rate, such as '10 Hz'"):
        prepared(numbers("/a", stamps(3)), TimelineSettings("grid"), stream("a", "/a"))


@pytest.mark.parametrize("how", [{"missing": "hold"}, {"align": "previous"}])
def test_a_common_end_is_not_bounded_by_a_stream_whose_value_stays_good(prepared: Prepare, how: dict[str, Any]) -> None:
    messages = images("/i", stamps(20)) + numbers("/gripper", [START, START + 300 * MS])
    found = prepared(messages, TimelineSettings(), stream("image", "/i"), stream("gripper", "/gripper", **how))
    assert found.plan.ticks.tolist() == stamps(20)
    bounded = prepared(messages, TimelineSettings(), stream("image", "/i"), stream("gripper", "/gripper"))
    assert bounded.plan.ticks.tolist() == stamps(4)


def test_a_previous_value_with_a_tolerance_has_an_end(prepared: Prepare) -> None:
    messages = images("/i", stamps(20)) + numbers("/gripper", [START, START + 300 * MS])
    how = {"align": "previous", "tolerance": SECOND}
    found = prepared(messages, TimelineSettings(), stream("image", "/i"), stream("gripper", "/gripper", **how))
    assert found.plan.ticks.tolist() == stamps(4)


def test_streams_without_messages_give_no_frames_and_say_so(prepared: Prepare) -> None:
    late = [stamp + 100 * SECOND for stamp in stamps(3)]
    found = prepared(
        numbers("/a", stamps(3)) + numbers("/b", late), TimelineSettings("b"), stream("a", "/a"), stream("b", "/b")
    )
    assert found.plan.frames == 0
    assert any("no frame" in warning for warning in found.warnings)


# Samples


def turned(angle: float) -> dict[str, float]:
    return {"z": float(np.sin(angle / 2)), "w": float(np.cos(angle / 2))}


def test_linear_streams_are_interpolated_and_quaternions_turn_on_the_sphere(prepared: Prepare) -> None:
    poses = [
        Message(
            "/pose",
            stamp,
            encoded("ros1", POSE, pose={"position": {"x": 10.0 * n}, "orientation": turned(2.0 * n)}),
            POSE,
        )
        for n, stamp in enumerate(stamps(2))
    ]
    ticks = numbers("/tick", [START, START + 25 * MS, START + 100 * MS])
    found = prepared(
        poses + ticks, TimelineSettings("t"), stream("t", "/tick"), stream("p", "/pose", field="pose", align="linear")
    )
    value = load(found, 1)[1]
    assert value is not None
    assert np.allclose(value, [2.5, 0, 0, 0, 0, np.sin(0.25), np.cos(0.25)])
    last = load(found, 2)[1]
    assert last is not None
    assert np.allclose(last, [10, 0, 0, 0, 0, np.sin(1.0), np.cos(1.0)])


def test_vectors_of_different_lengths_have_nothing_between_them(prepared: Prepare) -> None:
    messages = joints("/j", [START], size=3) + joints("/j", [START + 100 * MS], size=4)
    how = {"field": "position", "align": "linear", "capacity": 6}
    found = prepared(
        messages + numbers("/t", [START + 50 * MS]), TimelineSettings("t"), stream("t", "/t"), stream("j", "/j", **how)
    )
    with pytest.raises(RecordingError, match=r"streams\.j"):
        load(found, 0)


def test_images_cannot_be_interpolated(prepared: Prepare) -> None:
    with pytest.raises(ConfigError, match=r"streams\.i\.align: 'linear' is for vectors; use 'nearest' or 'previous'"):
        prepared(images("/i", stamps(3)), TimelineSettings("i"), stream("i", "/i", align="linear"))


def test_messages_that_are_shown_again_are_marked(prepared: Prepare) -> None:
    messages = numbers("/tick", stamps(6, 10 * MS)) + numbers("/slow", stamps(3, 20 * MS))
    found = prepared(messages, TimelineSettings("t"), stream("t", "/tick"), stream("s", "/slow", align="previous"))
    assert found.streams[0].repeats.tolist() == [False] * 6
    assert found.streams[1].repeats.tolist() == [False, True, False, True, False, True]


def clouds(topic: str, when: list[int], sizes: list[int]) -> list[Message]:
    field = make("ros1", "sensor_msgs/msg/PointField", name="x", datatype=7, count=1)
    return [
        Message(
            topic,
            stamp,
            encoded(
                "ros1",
                CLOUD,
                height=1,
                width=size,
                fields=[field],
                point_step=4,
                row_step=4 * size,
                data=np.zeros(4 * size),
            ),
            CLOUD,
        )
        for stamp, size in zip(when, sizes, strict=True)
    ]


def test_room_is_made_for_the_largest_cloud_that_the_plan_shows(prepared: Prepare) -> None:
    messages = clouds("/c", stamps(5), [2, 9, 4, 5, 50]) + numbers("/a", stamps(4))
    found = prepared(messages, TimelineSettings("a"), stream("a", "/a"), stream("c", "/c"))
    assert found.streams[1].spec.shape == (9,)
    assert found.streams[1].spec.variable
    assert [len(array) for n in range(4) if (array := load(found, n)[1]) is not None] == [2, 9, 4, 5]
    given = prepared(messages, TimelineSettings("a"), stream("a", "/a"), stream("c", "/c", capacity=20))
    assert given.streams[1].spec.shape == (20,)


def damaged(topic: str, when: list[int]) -> list[Message]:
    good = images(topic, when)
    return [replaced if n else good[0]._replace(data=good[0].data[:40]) for n, replaced in enumerate(good)]


def test_a_damaged_first_message_is_an_error_that_names_it(prepared: Prepare) -> None:
    with pytest.raises(DecodeError, match=r"streams\.i: message 0: .*'undecodable: skip' leaves such frames out"):
        prepared(damaged("/i", stamps(3)), TimelineSettings("i"), stream("i", "/i"))


@pytest.mark.parametrize("undecodable", ["skip", "none"])
def test_a_damaged_first_message_does_not_hide_the_shape_of_the_others(prepared: Prepare, undecodable: str) -> None:
    found = prepared(damaged("/i", stamps(3)), TimelineSettings("i"), stream("i", "/i", undecodable=undecodable))
    assert found.streams[0].spec == Spec((4, 6), "|u1")


def test_a_compressed_stream_that_never_decodes_has_no_shape(prepared: Prepare) -> None:
    nothing = [Message("/i", stamp, encoded("ros1", COMPRESSED, data=[1, 2]), COMPRESSED) for stamp in stamps(3)]
    found = prepared(nothing, TimelineSettings("i"), stream("i", "/i", undecodable="none"))
    assert found.streams[0].spec.shape == (0,)


def test_every_place_of_the_layout_belongs_to_a_stream(prepared: Prepare) -> None:
    found = prepared(
        images("/i", stamps(5)) + joints("/j", stamps(5)),
        TimelineSettings(),
        stream("j", "/j", field="position"),
        stream("i", "/i", resize=(3, 2)),
    )
    assert [(place.name, place.spec) for place in found.layout.places] == [
        ("j", Spec((3,), "<f8", names=("j0", "j1", "j2"))),
        ("i", Spec((2, 3), "|u1")),
    ]
    assert set(found.seconds) == {"open", "plan"}
    assert found.warnings == ()


@pytest.mark.parametrize("form", ["ros1", "ros1-lz4", "mcap-zstd", "db3"])
def test_any_kind_of_recording_is_prepared_alike(prepared: Prepare, form: str) -> None:
    wire = "ros1" if form.startswith("ros1") else "cdr"
    messages = images("/i", stamps(8), wire) + joints("/j", stamps(30, 25 * MS), wire)
    found = prepared(
        messages, TimelineSettings(), stream("i", "/i"), stream("j", "/j", field="position", align="linear"), form=form
    )
    assert found.plan.ticks.tolist() == stamps(8)
    image, position = load(found, 3)
    assert image is not None
    assert position is not None
    assert np.all(image == 3)
    assert position.tolist() == [12.0, 13.0, 14.0]


def test_a_real_recording_is_prepared(recordings: Path, tmp_path: Path) -> None:
    with Source(recordings / "so101_wrist.bag", tmp_path) as source:
        camera = next(topic.name for topic in source.topics.values() if topic.msgtype == COMPRESSED)
        state = next(topic.name for topic in source.topics.values() if topic.msgtype == JOINTS)
        found = prepare(
            source,
            Types([], "", tmp_path),
            TimelineSettings(rate=(10, 1)),
            [stream("wrist", camera), stream("state", state, field="position", tolerance=50 * MS)],
        )
        assert found.plan.frames > 100
        image, position = load(found, found.plan.frames // 2)
    assert image is not None
    assert position is not None
    assert image.shape == (360, 640, 3)
    assert position.shape == (6,)
    assert FLOAT not in {topic.msgtype for topic in (s.topic for s in found.streams)}
