"""A kind of robot → a small synthetic recording of that kind, for the examples in configs/."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import simplejpeg
from rosbags.typesys import get_types_from_msg

from tests.bags import (
    CLOUD,
    COMPRESSED,
    IMAGE,
    IMU,
    JOINTS,
    SECOND,
    START,
    Message,
    encoded,
    header,
    record,
    store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODOMETRY = "nav_msgs/msg/Odometry"
_OWN = {
    "robot_msgs/msg/JointData": "float64[] joint_q\nfloat64[] joint_v\n",
    "robot_msgs/msg/SensorsData": "std_msgs/Header header\nrobot_msgs/JointData joint_data\nstring mode\n",
    "robot_msgs/msg/Grip": "float64[] position\nfloat64[] effort\n",
    "robot_msgs/msg/GripperCommand": "std_msgs/Header header\nrobot_msgs/Grip data\n",
}


def stamps(hz: float, seconds: float, late: float = 0.0) -> range:
    """Give receive stamps in nanoseconds."""
    begin = START + round(late * SECOND)
    return range(begin, START + round(seconds * SECOND), round(SECOND / hz))


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray[Any, Any]:
    """Give a colour that tells the number."""
    return np.full((height, width, 3), (number % 200, 90, 30), np.uint8)


def raw_cameras(path: Path, seconds: float = 4.0) -> Path:
    """Two raw cameras at 30 Hz, one of them bgr8, and joints whose header stamps are 20 ms old; ROS 2, MCAP."""
    return record(path, "mcap", sorted(_raw_cameras(seconds), key=lambda message: message.stamp))


def _raw_cameras(seconds: float) -> Iterator[Message]:
    for side, late, order in (("left", 0.0, "rgb8"), ("right", 0.005, "bgr8")):
        for n, stamp in enumerate(stamps(30, seconds, late)):
            pixels = picture(n, 106, 60)
            pixels = pixels if order == "rgb8" else pixels[..., ::-1]
            values = {"height": 60, "width": 106, "encoding": order, "step": 318, "data": pixels.reshape(-1)}
            yield Message(
                f"/camera/{side}/image_raw", stamp, encoded("cdr", IMAGE, header=header(stamp), **values), IMAGE
            )
    for stamp in stamps(100, seconds):
        angle = np.full(6, (stamp - START) / SECOND)
        data = encoded("cdr", JOINTS, header=header(stamp - 20_000_000), name=list("abcdef"), position=angle)
        yield Message("/joint_states", stamp, data, JOINTS)


def humanoid(path: Path, seconds: float = 6.0) -> Path:
    """Three JPEG cameras, depth, a body of 28 joints, a trajectory in degrees and five gripper commands; ROS 1."""
    for name, text in _OWN.items():
        if name not in store("ros1").fielddefs:
            store("ros1").register(get_types_from_msg(text, name))
    return record(path, "ros1-lz4", sorted(_humanoid(seconds), key=lambda message: message.stamp))


def _humanoid(seconds: float) -> Iterator[Message]:
    for camera, late in (("h", 0.0), ("l", 0.004), ("r", 0.007)):
        for n, stamp in enumerate(stamps(30, seconds, late)):
            yield _jpeg(f"/cam_{camera}/color/image_raw/compressed", "ros1", stamp, n)
    for n, stamp in enumerate(stamps(15, seconds)):
        png = cv2.imencode(".png", np.full((48, 64), 500 + n, np.uint16))[1]
        data = np.frombuffer(struct.pack("<iff", 0, 0, 0) + png.tobytes(), np.uint8)
        values = {"header": header(stamp), "format": "16UC1; compressedDepth png", "data": data}
        topic = "/cam_h/depth/image_raw/compressedDepth"
        yield Message(topic, stamp, encoded("ros1", COMPRESSED, **values), COMPRESSED)
    for stamp in stamps(200, seconds):
        body = {"joint_q": np.arange(28) + (stamp - START) / SECOND}
        kind = "robot_msgs/msg/SensorsData"
        yield Message("/sensors_data_raw", stamp, encoded("ros1", kind, header=header(stamp), joint_data=body), kind)
    for stamp in stamps(100, seconds):
        if not 3 * SECOND < stamp - START < 3.5 * SECOND:  # a gap
            degrees = np.arange(14) * 10.0
            yield Message("/arm_traj", stamp, encoded("ros1", JOINTS, header=header(stamp), position=degrees), JOINTS)
    for n, at in enumerate((0.5, 1.5, 2.0, 4.9, 5.5)):
        stamp, kind = START + round(at * SECOND), "robot_msgs/msg/GripperCommand"
        grip = {"position": np.array([n, -n], float)}
        yield Message("/gripper/command", stamp, encoded("ros1", kind, header=header(stamp), data=grip), kind)


def lidar_camera(path: Path, seconds: float = 4.0) -> Path:
    """A lidar at 10 Hz with sweeps of different length, a camera, an IMU and odometry that turns; ROS 2, MCAP."""
    return record(path, "mcap-zstd", sorted(_lidar_camera(seconds), key=lambda message: message.stamp))


def _lidar_camera(seconds: float) -> Iterator[Message]:
    fields = [
        store("cdr").types["sensor_msgs/msg/PointField"](name=name, offset=4 * n, datatype=7, count=1)
        for n, name in enumerate(("x", "y", "z", "intensity"))
    ]
    for n, stamp in enumerate(stamps(10, seconds)):
        points = np.full((100 + n, 4), float(n), np.float32)
        values = {"height": 1, "width": len(points), "fields": fields, "point_step": 16, "row_step": points.nbytes}
        cloud = points.reshape(-1).view(np.uint8)
        yield Message("/lidar/points", stamp, encoded("cdr", CLOUD, header=header(stamp), data=cloud, **values), CLOUD)
    for n, stamp in enumerate(stamps(20, seconds, 0.01)):
        if n % 10 != 9:  # every tenth picture is lost
            yield _jpeg("/camera/image_raw/compressed", "cdr", stamp, n)
    for stamp in stamps(100, seconds):
        turn = {"angular_velocity": {"z": (stamp - START) / SECOND}}
        yield Message("/imu", stamp, encoded("cdr", IMU, header=header(stamp), **turn), IMU)
        half = (stamp - START) / SECOND / 4
        pose = {"position": {"x": half}, "orientation": {"z": float(np.sin(half)), "w": float(np.cos(half))}}
        yield Message("/odom", stamp, encoded("cdr", ODOMETRY, header=header(stamp), pose={"pose": pose}), ODOMETRY)


def _jpeg(topic: str, encoding: str, stamp: int, number: int) -> Message:
    data = np.frombuffer(simplejpeg.encode_jpeg(picture(number), 90), np.uint8)
    values = {"header": header(stamp), "format": "jpeg", "data": data}
    return Message(topic, stamp, encoded(encoding, COMPRESSED, **values), COMPRESSED)
