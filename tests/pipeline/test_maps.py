"""A map in a run: done once in the reader, whatever the chunks are and however often a consumer is replaced."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.highlevel import AnyReader

from streamer.demo import Workload, make
from tests.pipeline.driver import digests, run, start, wait_until
from tests.pipeline.test_edges import linked

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WORK = Workload(cameras=1, width=64, height=48, hz=30, image="raw", joint_topics=1, joint_hz=100, seconds=2, seed=5)
MAPS: dict[str, list[Any]] = {
    "whole": [],
    "cut": [{"crop": [8, 4, 32, 24]}, {"flip": "horizontal"}],
    "joints": [{"elements": [2, 0]}, {"scale": "rad2deg"}, "steps:twice"],
}


def config(path: Path, **changed: Any) -> dict[str, Any]:
    streams: dict[str, dict[str, Any]] = {
        "whole": {"topic": "/camera_0/image_raw"},
        "cut": {"topic": "/camera_0/image_raw", "map": MAPS["cut"]},
        "joints": {"topic": "/joints_0", "field": "position", "map": MAPS["joints"]},
    }
    found: dict[str, Any] = {
        "source": {"path": str(path)},
        "timeline": {"from": "whole"},
        "chunk_size": 7,
        "pool": "400 kB",
        "streams": streams,
        "consumers": {"checksum": {"options": {"out": "digest.json"}, "recycle": {"chunks": 2}}},
    }
    return found | changed


def read(path: Path) -> tuple[dict[int, NDArray[Any]], dict[int, NDArray[Any]]]:
    """Read pictures and joints by their stamps as rosbags and numpy do."""
    pictures, joints = {}, {}
    with AnyReader([path]) as reader:
        for connection, stamp, data in reader.messages():
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic == "/camera_0/image_raw":
                rows = message.data.reshape(message.height, message.step)[:, : message.width * 3]
                pictures[stamp] = rows.reshape(message.height, message.width, 3)
            elif connection.topic == "/joints_0":
                joints[stamp] = np.array(message.position)
    return pictures, joints


def test_every_frame_is_mapped_the_same_whatever_happens_and_a_changed_map_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "take.bag"
    make(path, WORK)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "steps.py").write_text("def twice(array):\n    return array * 2\n")
    finished = run(tmp_path / "a", config(path))
    assert finished.code == 0, finished
    found = digests(tmp_path / "a/digest.json")
    pictures, joints = read(path)
    ticks = sorted(pictures)
    stamps = np.array(sorted(joints))
    nearest = [int(stamps[np.abs(stamps - tick).argmin()]) for tick in ticks]
    expected = {
        "whole": linked((t, t, pictures[t]) for t in ticks),
        "cut": linked((t, t, np.ascontiguousarray(pictures[t][4:28, 8:40][:, ::-1])) for t in ticks),
        "joints": linked((t, s, joints[s][[2, 0]] * (180 / np.pi) * 2) for t, s in zip(ticks, nearest, strict=True)),
    }
    assert found["frames"] == len(ticks)
    assert found["streams"]["whole"] == expected["whole"]
    assert found["streams"]["cut"] == expected["cut"]
    assert found["streams"]["joints"] == expected["joints"]

    killed = {"use": "tests.pipeline.probes:Faulty", "options": {"how": "kill", "at": 20}}
    values = config(path, chunk_size=4, threads=1)
    values["consumers"]["bad"] = {**killed, "on_failed": "isolate"}
    finished = run(tmp_path / "b", values)
    assert digests(tmp_path / "b/digest.json") == found

    values = config(path)
    values["consumers"]["bad"] = killed
    finished = run(tmp_path / "c", values)
    assert finished.code == 70, finished
    values["streams"]["cut"]["map"] = [{"crop": [8, 4, 32, 24]}]
    finished = run(tmp_path / "c", values, "--resume")
    assert finished.code == 78, finished
    assert "cannot be continued" in finished.err


def test_an_interrupted_run_goes_on_after_a_killed_reader_and_not_with_another_step_of_the_users(
    tmp_path: Path,
) -> None:
    path = tmp_path / "take.bag"
    make(path, WORK)
    step = "def twice(array):\n    return array * 2\n"
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "steps.py").write_text(step)
    assert run(tmp_path / "a", config(path)).code == 0
    values = config(path, chunk_size=4, pool="100 kB")  # a few frames: nobody is far ahead of the gate
    values["consumers"]["gate"] = {
        "use": "tests.pipeline.probes:Gate",
        "options": {"folder": str(tmp_path), "at": 18},
    }
    with start(tmp_path / "b", values) as running:
        wait_until((tmp_path / "here").exists)
        reader = running.children()["reader"]
        reader.kill()
        wait_until(lambda: running.children().get("reader", reader) != reader)
        running.signal(signal.SIGTERM)
        (tmp_path / "go").touch()
        assert running.end().code != 0
    (tmp_path / "b" / "steps.py").write_text(step.replace("2", "3"))
    refused = run(tmp_path / "b", values, "--resume")
    assert refused.code == 78, refused
    assert "cannot be continued" in refused.err
    (tmp_path / "b" / "steps.py").write_text("# what else is changed in the module is none of the map's\n" + step)
    finished = run(tmp_path / "b", values, "--resume")
    assert finished.code == 0, finished
    assert digests(tmp_path / "b/digest.json") == digests(tmp_path / "a/digest.json")


def test_a_map_that_does_not_fit_is_told_before_the_run_with_the_shapes_up_to_it(tmp_path: Path) -> None:
    path = tmp_path / "take.bag"
    make(path, WORK)
    values = config(path)
    values["streams"]["cut"]["map"] = [{"crop": [0, 0, 32, 32]}, {"crop": [0, 0, 64, 8]}]
    finished = run(tmp_path / "a", values)
    assert finished.code == 78, finished
    assert "streams.cut.map[1]: crop: " in finished.err
    assert "(64×48×3 → crop → 32×32×3)" in finished.err
    assert not (tmp_path / "a/digest.json").exists()
