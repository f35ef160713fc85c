"""Values → serialized ROS messages, of either generation of ROS; and one message reused for many stamps."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rosbags.typesys.store import Msg, Msgarg, Typestore

COMPRESSED_IMAGE: Final = "sensor_msgs/msg/CompressedImage"
FLOAT64: Final = "std_msgs/msg/Float64"
IMAGE: Final = "sensor_msgs/msg/Image"
JOINT_STATE: Final = "sensor_msgs/msg/JointState"
STRING: Final = "std_msgs/msg/String"

_HEADER: Final = "std_msgs/msg/Header"
_TIME: Final = "builtin_interfaces/msg/Time"
_SECOND: Final = 10**9
_TIME_AT: Final = 4  # bytes: after the sequence number in ROS 1, after the encapsulation header in CDR


@dataclass(frozen=True, slots=True)
class Joints:
    """What a JointState carries: names, and for each of them rad, rad/s and N m."""

    names: Sequence[str]
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    effort: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One generation of ROS: its message definitions and how it writes them."""

    store: Typestore
    ros1: bool

    def image(self, stamp: int, frame_id: str, pixels: NDArray[np.uint8]) -> memoryview:
        """Serialize a raw rgb8 Image; its pixels are the last bytes of the message.

        Args:
            stamp: Nanoseconds.
            frame_id: The frame of the camera.
            pixels: uint8 array (height, width, 3).

        Returns:
            The message, read-only.

        """
        height, width, _ = pixels.shape
        header = self._header(stamp, frame_id)
        return self._serialize(
            IMAGE,
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=pixels.reshape(-1),
        )

    def compressed(self, stamp: int, frame_id: str, kind: str, data: NDArray[np.uint8]) -> memoryview:
        """Serialize a CompressedImage of the given `format` field."""
        header = self._header(stamp, frame_id)
        return self._serialize(COMPRESSED_IMAGE, header=header, format=kind, data=data)

    def joint_state(self, stamp: int, joints: Joints) -> memoryview:
        """Serialize a JointState."""
        return self._serialize(
            JOINT_STATE,
            header=self._header(stamp, "base"),
            name=list(joints.names),
            position=joints.position,
            velocity=joints.velocity,
            effort=joints.effort,
        )

    def float64(self, value: float) -> memoryview:
        """Serialize a Float64, which has no header."""
        return self._serialize(FLOAT64, data=value)

    def text(self, value: str) -> memoryview:
        """Serialize a String, which has no header."""
        return self._serialize(STRING, data=value)

    def restamp(self, message: memoryview, stamp: int, number: int) -> None:
        """Overwrite the stamp in the header of a writable serialized message, and its sequence number if it has one.

        Both generations put the seconds and nanoseconds of a leading Header into bytes 4 to 11
        (wiki.ros.org/msg; OMG DDS-RTPS 10.2 for the encapsulation header of CDR).
        """
        if self.ros1:
            struct.pack_into("<I", message, 0, number % 2**32)
        struct.pack_into("<II", message, _TIME_AT, *divmod(stamp, _SECOND))

    def _header(self, stamp: int, frame_id: str) -> Msg:
        seconds, rest = divmod(stamp, _SECOND)
        time = self.store.types[_TIME](sec=seconds, nanosec=rest)
        if self.ros1:
            return self.store.types[_HEADER](seq=0, stamp=time, frame_id=frame_id)
        return self.store.types[_HEADER](stamp=time, frame_id=frame_id)

    def _serialize(self, kind: str, **fields: Msgarg) -> memoryview:
        message = self.store.types[kind](**fields)
        if self.ros1:
            serialized = self.store.serialize_ros1(message, kind)
        else:
            serialized = self.store.serialize_cdr(message, kind, little_endian=True)
        return memoryview(bytearray(serialized))  # a copy that `restamp` may write to


@cache
def ros1() -> Dialect:
    """Speak ROS 1 (Noetic)."""
    return Dialect(get_typestore(Stores.ROS1_NOETIC), ros1=True)


@cache
def ros2() -> Dialect:
    """Speak ROS 2 (Jazzy)."""
    return Dialect(get_typestore(Stores.ROS2_JAZZY), ros1=False)


def depth_png(millimetres: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Encode depth as image_transport's compressedDepth does: a 12-byte header, zero for 16UC1, and a PNG."""
    _, png = cv2.imencode(".png", millimetres)
    return np.concatenate([np.zeros(12, np.uint8), png])
