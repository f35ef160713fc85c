"""Recordings and runs at the edge of what is usual, each held to what rosbags reads or to a known content."""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from tests.bags import (
    CLOUD,
    IMU,
    JOINTS,
    SECOND,
    START,
    Message,
    encoded,
    encoding_of,
    header,
    numbers,
    record,
    store,
)
from tests.forms import SOME_FORMS
from tests.pipeline.driver import digests, run
from tests.pipeline.probes import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Config = dict[str, Any]
    Seen = list[tuple[int, NDArray[Any]]]  # stamp and value, by stamp

MS = 10**6
DIGEST = {"digest": {"use": "checksum", "options": {"out": "digest.json"}}}
SCRAMBLED = [START + (n * 7919) % 400 * MS for n in range(400)]  # each of 400 stamps once, far from its neighbours


def seen(path: Path, topic: str, value: Callable[[Any], object], *, by_header: bool = False) -> Seen:
    """Give what rosbags reads of a topic; messages of one stamp stay in the order of rosbags."""
    with AnyReader([path], default_typestore=store("cdr")) as reader:
        connections = [connection for connection in reader.connections if connection.topic == topic]
        messages = [(stamp, reader.deserialize(data, c.msgtype)) for c, stamp, data in reader.messages(connections)]
    found = [(_header_stamp(m) if by_header else stamp, np.atleast_1d(np.asarray(value(m)))) for stamp, m in messages]
    return sorted(found, key=lambda pair: pair[0])


def _header_stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * SECOND + int(message.header.stamp.nanosec)


def nearest(stamps: Sequence[int], tick: int) -> int:
    """Choose the nearest message; of two the earlier, of several with one stamp the first."""
    after = bisect_left(stamps, tick)
    near = min((n for n in (after - 1, after) if 0 <= n < len(stamps)), key=lambda n: (abs(stamps[n] - tick), n))
    return bisect_left(stamps, stamps[near])


def previous(stamps: Sequence[int], tick: int) -> int:
    """Choose the last message that is not later."""
    return bisect_right(stamps, tick) - 1


def chained(ticks: Iterable[int], found: Seen, choose: Callable[[Sequence[int], int], int] = nearest) -> str:
    """Compute what the checksum consumer says of a stream, by the formula in its docstring."""
    stamps = [stamp for stamp, _ in found]
    return linked((tick, *found[choose(stamps, tick)]) for tick in ticks)


def linked(seen: Iterable[tuple[int, int, NDArray[np.float64]]]) -> str:
    """Compute it of ticks, stamps and values that are known."""
    digest = bytes(32)
    for tick, stamp, value in seen:
        link = hashlib.sha256(digest)
        link.update(struct.pack("<qq", tick, stamp))
        link.update(f"{value.dtype.str} {value.shape}".encode())
        link.update(value.tobytes())
        digest = link.digest()
    return digest.hex()


def imu(stamps: Iterable[int], encoding: str) -> Iterable[Message]:
    """Give messages whose acceleration is their number."""
    data = bytearray(encoded(encoding, IMU, header=header(START, "imu")))
    x = len(data) - 8 * (3 + 9)  # in front of three numbers and nine covariances
    for number, stamp in enumerate(stamps):
        struct.pack_into("<II", data, 4, *divmod(stamp, SECOND))
        struct.pack_into("<3d", data, x, number, -number, 9.81)
        yield Message("/imu", stamp, bytes(data), IMU)


def acceleration(message: Any) -> object:
    value = message.linear_acceleration
    return [value.x, value.y, value.z]


def cloud(encoding: str, stamp: int, points: int) -> Message:
    """Give a cloud of points of 16 bytes: x, y, z and a number."""
    fields = [
        store(encoding).types["sensor_msgs/msg/PointField"](name=name, offset=4 * n, datatype=kind, count=1)
        for n, (name, kind) in enumerate([("x", 7), ("y", 7), ("z", 7), ("number", 6)])
    ]
    body = np.empty((points, 4), "<u4")
    body[:, :3] = (np.arange(points, dtype="<f4") % 977).view("<u4")[:, None]
    body[:, 3] = np.arange(points) + stamp % 1009
    data = encoded(
        encoding, CLOUD, header=header(stamp), height=1, width=points, fields=fields, point_step=16,
        row_step=16 * points, data=body.reshape(-1).view("u1"), is_dense=True,
    )  # fmt: skip
    return Message("/cloud", stamp, data, CLOUD)


def points_of(message: Message, points: int) -> NDArray[Any]:
    """Return a cloud's points; they stand in front of ``is_dense``, the last byte."""
    return np.frombuffer(message.data, "V16", points, len(message.data) - 1 - 16 * points)


# Very many small messages


@pytest.mark.parametrize("form", ["ros1", pytest.param("mcap", marks=pytest.mark.slow)])
def test_twenty_thousand_messages_on_a_grid_of_a_kilohertz_arrive_each_in_its_frame(tmp_path: Path, form: str) -> None:
    count = 20_000
    ticks = range(START, START + count * MS, MS)
    path = record(tmp_path / "imu", form, imu(ticks, encoding_of(form)))
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "grid", "rate": "1000 Hz"},
        "chunk_size": 1000,
        "streams": {"imu": {"topic": "/imu", "field": "linear_acceleration"}},
        "consumers": DIGEST | {"third": {"use": "tests.pipeline.probes:Recorder", "options": {"out": "t"}, "every": 3}},
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    assert finished.report["frames"] == {"planned": count, "delivered": count, "skipped": {}, "remaining": 0}
    assert finished.report["reader"]["loads"] == count
    found = digests(tmp_path / "run" / "digest.json")
    assert found == {"frames": count, "streams": {"imu": chained(ticks, seen(path, "/imu", acceleration))}}
    assert Recorder.read(tmp_path / "run" / "t") == list(range(0, count, 3))


# One huge message


HUGE = 50_000_000 // 16  # points


@pytest.mark.parametrize("form", ["ros1", pytest.param("db3", marks=pytest.mark.slow)])
def test_a_cloud_of_fifty_megabytes_arrives_alone(tmp_path: Path, form: str) -> None:
    message = cloud(encoding_of(form), START, HUGE)
    path = record(tmp_path / "alone", form, [message])
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "cloud"},
        "pool": "51 MB",  # one frame
        "streams": {"cloud": {"topic": "/cloud"}},
        "consumers": DIGEST,
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    expected = {"cloud": chained([START], [(START, points_of(message, HUGE))])}
    assert digests(tmp_path / "run" / "digest.json") == {"frames": 1, "streams": expected}


@pytest.mark.parametrize(
    "form",
    ["mcap-zstd", pytest.param("ros1-lz4", marks=pytest.mark.slow), pytest.param("mcap", marks=pytest.mark.slow)],
)
def test_a_cloud_of_fifty_megabytes_among_small_ones_does_not_spoil_them(tmp_path: Path, form: str) -> None:
    """The clouds are shown again in many frames, and slots are used again: a pool of four."""
    encoding = encoding_of(form)
    sizes = [3, 0, HUGE, 1000, 7]  # one after the other, 200 ms apart
    clouds = [cloud(encoding, START + n * 200 * MS, points) for n, points in enumerate(sizes)]
    steps = list(imu(range(START, START + 801 * MS, 40 * MS), encoding))
    path = record(tmp_path / "mixed", form, sorted([*clouds, *steps], key=lambda m: m.stamp))
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "imu"},
        "chunk_size": 8,
        "pool": "210 MB",
        "streams": {"cloud": {"topic": "/cloud"}, "imu": {"topic": "/imu", "field": "linear_acceleration"}},
        "consumers": DIGEST,
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    known = [(message.stamp, points_of(message, points)) for message, points in zip(clouds, sizes, strict=True)]
    ticks = [step.stamp for step in steps]
    expected = {"cloud": chained(ticks, known), "imu": chained(ticks, seen(path, "/imu", acceleration))}
    assert digests(tmp_path / "run" / "digest.json") == {"frames": 21, "streams": expected}


# A slow stream that is shown again and again


@pytest.mark.parametrize("pool", ["0.5 MB", pytest.param("50 MB", marks=pytest.mark.slow)])
def test_samples_shown_again_are_whole_where_slots_are_used_again(tmp_path: Path, pool: str) -> None:
    """Each cloud differs from the others in length and in every byte; a new one comes every ninth frame."""
    sizes = [4000 + 3 * n % 501 for n in range(40)]
    clouds = [cloud("ros1", START + n * 9 * MS, points) for n, points in enumerate(sizes)]
    steps = list(imu(range(START, START + 351 * MS, MS), "ros1"))
    path = record(tmp_path / "slow", "ros1", sorted([*clouds, *steps], key=lambda m: m.stamp))
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "imu"},
        "pool": pool,
        "streams": {"imu": {"topic": "/imu", "field": "linear_acceleration"}, "cloud": {"topic": "/cloud"}},
        "consumers": DIGEST,
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    known = [(message.stamp, points_of(message, points)) for message, points in zip(clouds, sizes, strict=True)]
    ticks = [step.stamp for step in steps]
    expected = {"imu": chained(ticks, seen(path, "/imu", acceleration)), "cloud": chained(ticks, known)}
    assert digests(tmp_path / "run" / "digest.json") == {"frames": 351, "streams": expected}


# Twenty streams


def test_twenty_streams_of_four_topics_are_each_what_their_topic_says(tmp_path: Path) -> None:
    topics = [f"/arm_{n}" for n in range(4)]
    rates = [5, 7, 11, 13]  # ms between messages
    messages = [
        Message(topic, stamp, _arm(stamp, stamp + 2 * MS * n + 1, n), JOINTS)
        for n, (topic, step) in enumerate(zip(topics, rates, strict=True))
        for stamp in range(START, START + 500 * MS, step * MS)
    ]
    path = record(tmp_path / "arms", "mcap-lz4", sorted(messages, key=lambda m: m.stamp), chunk=8192)
    kinds: list[tuple[Config, Callable[[Any], object], Callable[[Sequence[int], int], int]]] = [
        ({"field": "position"}, lambda m: m.position, nearest),
        ({"field": "velocity[1:3]", "dtype": "float32"}, lambda m: m.velocity[1:3].astype("f4"), nearest),
        ({"field": "effort", "align": "previous"}, lambda m: m.effort, previous),
        ({"field": "position[0]", "scale": 0.5}, lambda m: m.position[0] * 0.5, nearest),
        ({"field": "velocity", "clock": "header", "align": "previous"}, lambda m: m.velocity, previous),
    ]
    streams = {f"{topic[1:]}_{n}": {"topic": topic, **kind[0]} for topic in topics for n, kind in enumerate(kinds)}
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "grid", "rate": "50 Hz"},
        "chunk_size": 7,
        "streams": streams,
        "consumers": DIGEST
        | {"few": {"use": "checksum", "options": {"out": "few.json"}, "streams": list(streams)[3::6]}},
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    found = digests(tmp_path / "run" / "digest.json")
    start = START + 6 * MS + 1  # the first header stamp of the topic that is furthest off
    ticks = range(start, START + 495 * MS + 1, 20 * MS)
    expected = {
        f"{topic[1:]}_{n}": chained(ticks, seen(path, topic, value, by_header="clock" in kind), choose)
        for topic in topics
        for n, (kind, value, choose) in enumerate(kinds)
    }
    assert len(set(expected.values())) == 20
    assert found == {"frames": len(ticks), "streams": expected}
    few = digests(tmp_path / "run" / "few.json")["streams"]
    assert few == {name: expected[name] for name in list(streams)[3::6]}


def _arm(stamp: int, said: int, arm: int) -> bytes:
    base = (stamp - START) / SECOND + arm
    return encoded(
        "cdr", JOINTS, header=header(said), name=["a", "b", "c"],
        position=base + np.arange(3), velocity=base * np.arange(3), effort=base - np.arange(3),
    )  # fmt: skip


# Forty consumers


@pytest.mark.slow
def test_forty_consumers_of_every_mode_each_get_their_frames(tmp_path: Path) -> None:
    count = 24
    path = record(tmp_path / "bag", "ros1", numbers("/n", range(START, START + count * MS, MS)))
    consumers: Config = {}
    for n in range(10):
        consumers[f"digest-{n}"] = {"use": "checksum", "options": {"out": f"digest-{n}.json"}}
        recorder = {"use": "tests.pipeline.probes:Recorder"}
        consumers[f"thin-{n}"] = recorder | {"options": {"out": f"thin-{n}"}, "every": n + 1}
        consumers[f"glance-{n}"] = recorder | {"options": {"out": f"glance-{n}"}, "mode": "latest"}
        fresh = {"use": "checksum", "options": {"out": f"fresh-{n}.json"}}
        consumers[f"fresh-{n}"] = fresh | ({"recycle": {"chunks": 2}} if n < 3 else {"every": n})
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "n"},
        "chunk_size": 6,
        "streams": {"n": {"topic": "/n", "field": "data"}},
        "consumers": consumers,
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    folder = tmp_path / "run"
    known = seen(path, "/n", lambda m: m.data)
    ticks = [stamp for stamp, _ in known]
    whole = {"frames": count, "streams": {"n": chained(ticks, known)}}
    for n in range(10):
        assert digests(folder / f"digest-{n}.json") == whole
        assert Recorder.read(folder / f"thin-{n}") == list(range(0, count, n + 1))
        glanced = Recorder.read(folder / f"glance-{n}")
        assert glanced == sorted(set(glanced) & set(range(count)))
        thinned = ticks[::n] if n >= 3 else ticks
        assert digests(folder / f"fresh-{n}.json")["streams"] == {"n": chained(thinned, known)}
    report = finished.report
    assert len(report["consumers"]) == 40
    assert {c["restarts"]["crash"] for c in report["consumers"].values()} == {0}
    assert [report["consumers"][f"fresh-{n}"]["generations"] for n in range(4)] == [2, 2, 2, 1]
    assert report["frames"]["delivered"] == count


# One frame, and one chunk


@pytest.mark.parametrize(
    ("timeline", "chunk_size"),
    [
        ({"from": "a"}, 1),
        ({"from": "grid", "rate": "1000 Hz"}, 1_000_000_000),
        ({"from": "b", "skip": 24}, 1_000_000_000),
    ],
)
def test_a_timeline_of_one_frame_is_one_frame_in_one_chunk(tmp_path: Path, timeline: Config, chunk_size: int) -> None:
    middle = START + 24 * MS
    messages = numbers("/a", [middle], "cdr") + numbers("/b", range(START, START + 49 * MS, MS), "cdr")
    path = record(tmp_path / "bag", "mcap", messages)
    consumers = DIGEST | {"all": {"use": "tests.pipeline.probes:Recorder", "options": {"out": "all"}}}
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"end": "timeline", **timeline} if timeline["from"] == "b" else timeline,
        "chunk_size": chunk_size,
        "streams": {name: {"topic": f"/{name}", "field": "data"} for name in "ab"},
        "consumers": {name: how | {"recycle": {"chunks": 1}} for name, how in consumers.items()},
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    expected = {name: chained([middle], seen(path, f"/{name}", lambda m: m.data)) for name in "ab"}
    assert digests(tmp_path / "run" / "digest.json") == {"frames": 1, "streams": expected}
    calls = [line.split(" ", 1)[1] for line in (tmp_path / "run" / "all" / "calls.txt").read_text().splitlines()]
    assert [call for call in calls if call.startswith("chunk")] == ["chunk 0 0 0 1"]
    assert calls[-1] == "close"


# Messages out of order in the file


@pytest.mark.parametrize("form", SOME_FORMS)
def test_messages_out_of_order_in_the_file_come_in_the_order_of_their_stamps(tmp_path: Path, form: str) -> None:
    encoding = encoding_of(form)
    late = [stamp + 3 * MS for stamp in SCRAMBLED[::2]]
    messages = [m for pair in zip(numbers("/a", SCRAMBLED[:200], encoding), numbers("/b", late, encoding), strict=True)
                for m in pair] + numbers("/c", SCRAMBLED[200:], encoding)  # fmt: skip
    path = record(tmp_path / "bag", form, messages, chunk=900)
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "c", "end": "timeline"},
        "chunk_size": 16,
        "streams": {name: {"topic": f"/{name}", "field": "data"} for name in "abc"},
        "consumers": DIGEST,
    }
    finished = run(tmp_path / "run", config)
    assert finished.code == 0, finished
    expected = {name: chained(sorted(SCRAMBLED[200:]), seen(path, f"/{name}", lambda m: m.data)) for name in "abc"}
    assert digests(tmp_path / "run" / "digest.json") == {"frames": 200, "streams": expected}


# Chunks that overlap


@pytest.mark.parametrize("form", ["mcap", pytest.param("mcap-lz4", marks=pytest.mark.slow)])
def test_chunks_that_cover_the_same_second_are_passes_that_are_never_mixed(tmp_path: Path, form: str) -> None:
    """Ten chunks hold the same stamps; a value is its place in the file."""
    grid = [START + n * 20 * MS for n in range(50)]
    path = record(tmp_path / "bag", form, numbers("/a", grid * 10, "cdr"), chunk=50 * (31 + 12) - 1)
    config: Config = {
        "source": {"path": str(path)},
        "timeline": {"from": "a"},
        "chunk_size": 9,
        "streams": {"a": {"topic": "/a", "field": "data"}},
        "consumers": DIGEST,
    }
    refused = run(tmp_path / "run", config)
    assert refused.code == 65, refused
    assert "set 'source.resets'" in refused.err
    for resets, first, count in [("first", 0, 50), ("last", 450, 50), ("split", 0, 500)]:
        config["source"]["resets"] = resets
        finished = run(tmp_path / resets, config)
        assert finished.code == 0, finished
        ticks = (grid * 10)[:count]
        values = [np.array([float(first + n)]) for n in range(count)]
        expected = {"a": linked(zip(ticks, ticks, values, strict=True))}
        assert digests(tmp_path / resets / "digest.json") == {"frames": count, "streams": expected}
