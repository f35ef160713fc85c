"""A stream's samples → serialized messages of ROS 2's standard types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from consumers.keys import is_pose
from consumers.pictures import jpeg, png
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from streamer.contract import Sample, StreamInfo
    from streamer.records import Channel

_ENCODINGS = {  # kind, type, channels
    ("image", "uint8", 1): "mono8",
    ("image", "uint8", 3): "rgb8",
    ("image", "uint16", 1): "mono16",
    ("image", "uint16", 3): "rgb16",
    ("depth", "uint16", 1): "16UC1",
    ("depth", "float32", 1): "32FC1",
}
_POINT_FIELDS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")  # from 1 on
_BYTES = "uint8"


class Messages:
    """The messages that a stream becomes: ``type``, its ``definition``, and what stands in each.

    Pictures are ``sensor_msgs/Image``, or ``CompressedImage`` where ``pictures`` is jpeg or png and they are no depth;
    points ``PointCloud2``; poses ``geometry_msgs/PoseStamped``; one number is ``std_msgs/Float64`` or another of its
    type, several a ``Float64MultiArray`` or another with the elements' names as its label; texts are ``String``.
    Headers have the sample's stamp and the stream's name as ``frame_id``.
    """

    def __init__(self, stream: StreamInfo, pictures: str, quality: int) -> None:
        """Choose the type.

        Raises:
            ConfigError: there is none that holds such samples.

        """
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._stream = stream
        self._pictures, self._quality = pictures, quality
        self._make = {
            "image": self._image if pictures == "raw" else self._compressed,
            "depth": self._image,
            "points": self._cloud,
            "text": self._text,
            "vector": self._pose if is_pose(stream) else self._number if stream.shape == (1,) else self._numbers,
        }[stream.kind]
        self.type = self._type()
        self.definition = self._store.generate_msgdef(self.type, ros_version=2)[0]

    def _type(self) -> str:
        stream, dtype = self._stream, self._stream.dtype
        if stream.kind == "text":
            return "std_msgs/msg/String"
        if stream.kind == "points":
            for name in dtype.names or ():
                if dtype[name].base.name not in _POINT_FIELDS:
                    msg = f"PointCloud2 has no {dtype[name].base}, which {name!r} is"
                    raise ConfigError(msg, key=f"streams.{stream.name}")
            return "sensor_msgs/msg/PointCloud2"
        if stream.kind != "vector":
            channels = stream.shape[2] if len(stream.shape) == 3 else 1
            if (stream.kind, dtype.name, channels) not in _ENCODINGS:
                msg = f"ROS has no picture of {channels} × {dtype} in this sense"
                raise ConfigError(msg, key=f"streams.{stream.name}")
            self._encoding = _ENCODINGS[stream.kind, dtype.name, channels]
            return f"sensor_msgs/msg/{'Image' if self._make == self._image else 'CompressedImage'}"
        if is_pose(stream):
            return "geometry_msgs/msg/PoseStamped"
        return self._number_type()

    def _number_type(self) -> str:
        """Return the type of vectors, which is that of their numbers."""
        name = self._stream.dtype.name
        word = {"u": "UInt", "i": "Int", "f": "Float", "b": "Bool"}.get(self._stream.dtype.kind, "?")
        one = self._stream.shape == (1,)
        plain = "Bool" if one and word == "Bool" else "UInt8" if word == "Bool" else word + name.lstrip("uintfloa")
        found = f"std_msgs/msg/{plain}{'' if one else 'MultiArray'}"
        if found not in self._store.types:
            msg = f"ROS has no message for vectors of {self._stream.dtype}"
            raise ConfigError(msg, key=f"streams.{self._stream.name}", hint="use 'dtype: float64'")
        return found

    def serialize(self, sample: Sample) -> bytes:
        """Return a sample as a message (CDR, little endian)."""
        return bytes(self._store.serialize_cdr(self._make(sample), self.type))

    # ---- what stands in a message

    def _new(self, kind: str, /, **values: Any) -> Any:
        return self._store.types[kind](**values)

    def _header(self, sample: Sample) -> Any:
        time = self._new("builtin_interfaces/msg/Time", sec=sample.stamp // 10**9, nanosec=sample.stamp % 10**9)
        return self._new("std_msgs/msg/Header", stamp=time, frame_id=self._stream.name)

    def _image(self, sample: Sample) -> Any:
        pixels = np.ascontiguousarray(sample.value)
        height, width = pixels.shape[:2]
        about = {"height": height, "width": width, "encoding": self._encoding, "is_bigendian": 0}
        data = {"step": pixels.nbytes // max(height, 1), "data": pixels.reshape(-1).view(np.uint8)}
        return self._new(self.type, header=self._header(sample), **about, **data)

    def _compressed(self, sample: Sample) -> Any:
        content = jpeg(sample.value, self._quality) if self._pictures == "jpeg" else png(sample.value)
        values = {"format": self._pictures, "data": np.frombuffer(content, np.uint8)}
        return self._new(self.type, header=self._header(sample), **values)

    def _cloud(self, sample: Sample) -> Any:
        points = np.ascontiguousarray(sample.value)
        dtype = points.dtype
        fields = [
            self._new(
                "sensor_msgs/msg/PointField",
                name=name,
                offset=offset,
                datatype=_POINT_FIELDS.index(kind.base.name) + 1,
                count=int(np.prod(kind.shape, dtype=int)),
            )
            for name, (kind, offset, *_) in (dtype.fields or {}).items()
        ]
        about = {"height": 1, "width": len(points), "fields": fields, "is_bigendian": False, "is_dense": False}
        data = {"point_step": dtype.itemsize, "row_step": points.nbytes, "data": points.view(np.uint8).reshape(-1)}
        return self._new(self.type, header=self._header(sample), **about, **data)

    def _text(self, sample: Sample) -> Any:
        return self._new(self.type, data=sample.value)

    def _pose(self, sample: Sample) -> Any:
        x, y, z, *turn = sample.value.tolist()
        place = self._new("geometry_msgs/msg/Point", x=x, y=y, z=z)
        rotation = self._new("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", turn, strict=True)))
        pose = self._new("geometry_msgs/msg/Pose", position=place, orientation=rotation)
        return self._new(self.type, header=self._header(sample), pose=pose)

    def _number(self, sample: Sample) -> Any:
        return self._new(self.type, data=sample.value[0].item())

    def _numbers(self, sample: Sample) -> Any:
        values = sample.value.astype(_BYTES) if sample.value.dtype == np.bool_ else sample.value
        size, label = len(values), ",".join(self._stream.names)
        dimension = self._new("std_msgs/msg/MultiArrayDimension", label=label, size=size, stride=size)
        layout = self._new("std_msgs/msg/MultiArrayLayout", dim=[dimension], data_offset=0)
        return self._new(self.type, layout=layout, data=np.ascontiguousarray(values))


_FORMS = {("cdr", "msg"): "ros2msg", ("cdr", "idl"): "ros2idl", ("ros1", "msg"): "ros1msg"}


def definition_of(channel: Channel) -> tuple[str, str]:
    """Return how MCAP calls the form of a recorded topic's definition, and its text.

    A recording that has none is believed to mean the standard type of that name.

    Raises:
        ConfigError: it has none, and the type is no standard one.

    """
    form = _FORMS.get((channel.encoding, channel.definition_format))
    if form and channel.definition:
        return form, channel.definition
    store = get_typestore(Stores.ROS1_NOETIC if channel.encoding == "ros1" else Stores.ROS2_HUMBLE)
    if channel.encoding not in ("cdr", "ros1") or channel.msgtype not in store.types:
        what = f"in {channel.encoding!r}" if channel.encoding not in ("cdr", "ros1") else "without a definition"
        msg = f"{channel.topic} holds {channel.msgtype} {what}, which cannot be written again so that others read it"
        raise ConfigError(msg, hint="leave its streams out with the consumer's 'streams'")
    ros1 = channel.encoding == "ros1"
    return "ros1msg" if ros1 else "ros2msg", store.generate_msgdef(channel.msgtype, ros_version=1 if ros1 else 2)[0]
