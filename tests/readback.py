"""A folder → whether a LeRobot dataset of a synthetic recording, read back in it, holds what the recording holds.

    python -m tests.readback FOLDER

The recording is read by rosbags and OpenCV, the dataset by PyArrow and PyAV: no code of ours is on either side. It
needs no test runner, so that it can run in an environment that has the package alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import yaml
from rosbags.highlevel import AnyReader

from streamer.demo import Workload, make

FPS = 10
_CAMERA, _JOINTS = "/camera_0/image_raw/compressed", "/joints_0"
_WORK = Workload(cameras=1, width=160, height=120, hz=30, image="jpeg", joint_topics=1, joint_hz=100, seconds=3, seed=5)
_MOST_DIFFERENCE = 12.0  # grey levels in the mean: what encoding at the default quality costs


def write(folder: Path) -> Path:
    """Make a recording in ``folder`` and a dataset of it beside; return the recording."""
    bag = folder / "take.bag"
    make(bag, _WORK)
    features = {"observation.images.front": "camera", "observation.state": ["joints"]}
    options = {"out": "dataset", "task": "read me back", "features": features}
    config = {
        "source": {"path": "take.bag"},
        "timeline": {"from": "camera", "rate": f"{FPS} Hz"},
        "chunk_size": 7,
        "pool": "4 MB",
        "streams": {"camera": {"topic": _CAMERA}, "joints": {"topic": _JOINTS, "field": "position"}},
        "consumers": {"lerobot": {"options": options, "recycle": {"chunks": 2}}},
    }
    (folder / "readback.yaml").write_text(yaml.safe_dump(config))
    streamer = str(Path(sys.executable).parent / "streamer")
    subprocess.run([streamer, "run", "readback.yaml", "--restart"], cwd=folder, check=True)
    return bag


def check(bag: Path, dataset: Path) -> int:
    """Hold every row and picture of the dataset against the recording; return how many frames there are."""
    pictures, joints = _recorded(bag)
    shown = pictures[:: round(_WORK.hz / FPS)]
    info = json.loads((dataset / "meta" / "info.json").read_text())
    (table,) = [pq.read_table(path) for path in (dataset / "data").glob("*/*.parquet")]
    (video,) = dataset.glob("videos/*/*/*.mp4")
    with av.open(str(video)) as file:
        frames: list[Any] = list(file.decode(video=0))
        decoded = [(float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")) for frame in frames]
    assert info["total_frames"] == table.num_rows == len(decoded) == len(shown), (info, len(decoded), len(shown))
    stamps = np.array([stamp for stamp, _ in joints])
    for number, (row, (stamp, picture), (time, back)) in enumerate(zip(table.to_pylist(), shown, decoded, strict=True)):
        nearest = joints[int(np.argmin(np.abs(stamps - stamp)))][1]
        assert row["observation.state"] == nearest.astype(np.float32).tolist(), number
        assert abs(row["timestamp"] - number / FPS) < 1e-6, number
        assert abs(time - number / FPS) < 1e-6, number
        assert np.abs(picture.astype(int) - back.astype(int)).mean() < _MOST_DIFFERENCE, number
    return len(shown)


def _recorded(bag: Path) -> tuple[list[tuple[int, np.ndarray]], list[tuple[int, np.ndarray]]]:
    """Return the stamps, pictures (RGB) and joints of a recording."""
    pictures, joints = [], []
    with AnyReader([bag]) as reader:
        for connection, stamp, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            if connection.topic == _CAMERA:
                picture = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR)
                assert picture is not None
                pictures.append((stamp, picture[..., ::-1]))
            elif connection.topic == _JOINTS:
                joints.append((stamp, message.position))
    return pictures, joints


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    print(check(write(place), place / "dataset"), "frames are what was recorded")  # noqa: T201
