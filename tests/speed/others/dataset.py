"""A recording → a LeRobot dataset, with rosbags and `lerobot`: ``python dataset.py RECORDING OUT [streaming]``."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from rosbags.highlevel import AnyReader

CAMERAS = {f"/camera_{n}/image_raw/compressed": f"observation.images.camera_{n}" for n in range(3)}
JOINTS, HZ = "/joints_0", 10

with AnyReader([Path(sys.argv[1])]) as reader:
    connections = [c for c in reader.connections if c.topic in (JOINTS, *CAMERAS)]
    stamps: dict[str, list[int]] = {topic: [] for topic in (JOINTS, *CAMERAS)}
    joints: list[Any] = []
    for connection, stamp, raw in reader.messages(connections):  # the pictures are not decoded yet
        stamps[connection.topic].append(stamp)
        if connection.topic == JOINTS:
            joints.append(reader.deserialize(raw, connection.msgtype))

    times = {topic: np.array(found) for topic, found in stamps.items()}
    first = times[next(iter(CAMERAS))]
    ticks = first[:: round(1e9 / HZ / np.median(np.diff(first)))]
    nearest = {topic: np.array([np.abs(found - tick).argmin() for tick in ticks]) for topic, found in times.items()}
    wanted = {topic: {number: tick for tick, number in enumerate(nearest[topic])} for topic in CAMERAS}
    states = np.array([joints[number].position for number in nearest[JOINTS]], np.float32)

    vector = {"dtype": "float32", "shape": (states.shape[1],), "names": list(joints[0].name)}
    picture = {"dtype": "video", "shape": (480, 640, 3), "names": ["height", "width", "channels"]}
    streaming = "streaming" in sys.argv
    dataset = LeRobotDataset.create(
        "me/blocks",
        HZ,
        {"observation.state": vector, "action": vector} | dict.fromkeys(CAMERAS.values(), picture),
        root=sys.argv[2],
        image_writer_threads=0 if streaming else 4 * len(CAMERAS),
        streaming_encoding=streaming,
        encoder_queue_maxsize=len(ticks),  # a full queue drops frames
    )
    pictures: list[dict[str, Any]] = [{} for _ in ticks]
    seen = dict.fromkeys(CAMERAS, -1)
    frame = 0
    for connection, _, raw in reader.messages([c for c in connections if c.topic in CAMERAS]):
        seen[connection.topic] += 1
        tick = wanted[connection.topic].get(seen[connection.topic])
        if tick is None:
            continue
        message: Any = reader.deserialize(raw, connection.msgtype)
        pictures[tick][CAMERAS[connection.topic]] = cv2.imdecode(message.data, cv2.IMREAD_COLOR_RGB)
        while frame + 1 < len(ticks) and len(pictures[frame]) == len(CAMERAS):  # the last state has no next one
            row = {"observation.state": states[frame], "action": states[frame + 1], "task": "stack the blocks"}
            dataset.add_frame(row | pictures[frame])
            pictures[frame].clear()
            frame += 1
    dataset.save_episode()
    dataset.finalize()
