"""Simple values → small synthetic recordings in every format, and what rosbags reads from one."""

from __future__ import annotations

import functools
import hashlib
import resource
import shutil
import struct
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import lz4.frame
import numpy as np
import psutil
import yaml
from rosbags import rosbag1, rosbag2
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Nodetype
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.typesys import Stores, get_typestore

from streamer.source.payload import MemoryPayload
from streamer.source.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rosbags.interfaces import Connection
    from rosbags.interfaces.typing import FieldDesc
    from rosbags.typesys.store import Typestore

FLOAT = "std_msgs/msg/Float64"
IMU = "sensor_msgs/msg/Imu"
JOINTS = "sensor_msgs/msg/JointState"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CLOUD = "sensor_msgs/msg/PointCloud2"
ROS1 = ("ros1", "ros1-lz4", "ros1-bz2")
MCAP = ("mcap", "mcap-zstd", "mcap-lz4")
ROS2 = (*MCAP, "db3", "db3-file", "db3-message", "mcap-file", "mcap-message")
SECOND = 10**9
START = 1_700_000_000 * SECOND
MCAP_MAGIC = b"\x89MCAP0\r\n"


class Message(NamedTuple):
    """One serialized message; `kind` is its type."""

    topic: str
    stamp: int
    data: bytes
    kind: str = FLOAT


# Messages


@functools.cache
def store(encoding: str) -> Typestore:
    """Return the newest types of an encoding: ros1, cdr (little-endian) or cdr_be."""
    return get_typestore(Stores.ROS1_NOETIC if encoding == "ros1" else Stores.LATEST)


def make(encoding: str, msgtype: str, /, **values: Any) -> Any:
    """Make a message; fields that are not named are zero or empty, a dict stands for an inner message."""
    types = store(encoding)
    fields = types.fielddefs[msgtype][1]
    made = {
        name: make(encoding, str(desc[1]), **values[name])
        if isinstance(values.get(name), dict)
        else _fitting(values[name], desc)
        if name in values
        else _nothing(encoding, desc)
        for name, desc in fields
    }
    assert values.keys() <= made.keys(), f"{msgtype} has no {values.keys() - made.keys()}"
    return types.types[msgtype](**made)


def _fitting(value: Any, desc: FieldDesc) -> Any:
    dtype = "" if desc[0] in (Nodetype.BASE, Nodetype.NAME) else _dtype(desc[1][0])
    return np.asarray(value, dtype) if dtype else value


def _dtype(element: FieldDesc) -> str:
    """Name the dtype of an array of primitives; empty for arrays of anything else."""
    if element[0] != Nodetype.BASE or element[1][0] == "string":
        return ""
    return {"byte": "i1", "char": "u1"}.get(element[1][0], element[1][0])


def _nothing(encoding: str, desc: FieldDesc) -> Any:
    if desc[0] == Nodetype.BASE:
        return "" if desc[1][0] in ("string", "wstring") else False if desc[1][0] == "bool" else 0
    if desc[0] == Nodetype.NAME:
        return make(encoding, str(desc[1]))
    element, length = desc[1]
    count = length if desc[0] == Nodetype.ARRAY else 0
    return np.zeros(count, dtype) if (dtype := _dtype(element)) else [_nothing(encoding, element) for _ in range(count)]


def serialize(encoding: str, message: Any, msgtype: str) -> bytes:
    """Serialize with rosbags."""
    types = store(encoding)
    if encoding == "ros1":
        return bytes(types.serialize_ros1(message, msgtype))
    return bytes(types.serialize_cdr(message, msgtype, little_endian=encoding == "cdr"))


def encoded(encoding: str, msgtype: str, /, **values: Any) -> bytes:
    """Make and serialize."""
    return serialize(encoding, make(encoding, msgtype, **values), msgtype)


def payload(data: bytes) -> MemoryPayload:
    """Wrap bytes as a message that lies in memory."""
    return MemoryPayload(memoryview(data))


def header(stamp: int, frame_id: str = "") -> dict[str, Any]:
    """Give the values of a header with a stamp in nanoseconds."""
    return {"stamp": {"sec": stamp // SECOND, "nanosec": stamp % SECOND}, "frame_id": frame_id}


def numbers(topic: str, stamps: Iterable[int], encoding: str = "ros1") -> list[Message]:
    """Give messages of one float64 each: their number in the order of the stamps given."""
    return [Message(topic, stamp, encoded(encoding, FLOAT, data=float(n))) for n, stamp in enumerate(stamps)]


def joints(
    topic: str, stamps: Mapping[int, int] | Sequence[int], encoding: str = "ros1", size: int = 3
) -> list[Message]:
    """Give joint states of `size` positions; a mapping says the header stamp of each receive stamp."""
    pairs = stamps.items() if hasattr(stamps, "items") else [(stamp, stamp) for stamp in stamps]
    return [
        Message(
            topic,
            stamp,
            encoded(
                encoding,
                JOINTS,
                header=header(said),
                name=[f"j{i}" for i in range(size)],
                position=np.arange(size) + float(n),
            ),
            JOINTS,
        )
        for n, (stamp, said) in enumerate(pairs)
    ]


# Recordings


def encoding_of(form: str) -> str:
    """Say how the messages of a format are serialized."""
    return "ros1" if form.startswith("ros1") else "cdr"


def record(path: Path, form: str, messages: Iterable[Message], chunk: int = 1 << 20) -> Path:
    """Write a recording in a format of ROS1 or ROS2, a chunk about every `chunk` bytes; return its path."""
    if form in ROS1:
        path = path.with_suffix(".bag")
        bag = rosbag1.Writer(path)
        bag.chunk_threshold = chunk
        if form != "ros1":
            bag.set_compression(rosbag1.Writer.CompressionFormat[form.removeprefix("ros1-").upper()])
        with bag:
            _fill(bag, messages, "ros1")
        return path
    plugin = rosbag2.StoragePlugin.MCAP if form.startswith("mcap") else rosbag2.StoragePlugin.SQLITE3
    folder = _folder_writer(form, chunk)(path, version=9, storage_plugin=plugin)
    mode = {"zstd": "STORAGE", "file": "FILE", "message": "MESSAGE"}.get(form.partition("-")[2])
    if mode:
        folder.set_compression(rosbag2.CompressionMode[mode], rosbag2.CompressionFormat.ZSTD)
    with folder:
        _fill(folder, messages, "cdr")
    return path


def _fill(writer: rosbag1.Writer | rosbag2.Writer, messages: Iterable[Message], encoding: str) -> None:
    connections: dict[str, Connection] = {}
    for message in messages:
        if message.topic not in connections:
            connections[message.topic] = writer.add_connection(message.topic, message.kind, typestore=store(encoding))
        writer.write(connections[message.topic], message.stamp, message.data)


def _folder_writer(form: str, chunk: int) -> type[rosbag2.Writer]:
    class Storage(McapWriter):
        def __init__(self, path: Path, compression: rosbag2.CompressionMode) -> None:
            super().__init__(path, compression)
            if form == "mcap-lz4":
                self.compression, self.compressor = "lz4", lz4.frame.compress

        def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
            super().write(connection, timestamp, data)
            if self.chunk.bio.tell() > chunk:
                self.close_chunk()

    class Writer(rosbag2.Writer):
        STORAGE_PLUGINS = MappingProxyType({**rosbag2.Writer.STORAGE_PLUGINS, rosbag2.StoragePlugin.MCAP: Storage})

    return Writer


def record_split(path: Path, form: str, parts: Sequence[Sequence[Message]]) -> Path:
    """Write a rosbag2 folder of several files, one for each part."""
    path.mkdir()
    about: dict[str, Any] = {}
    for number, messages in enumerate(parts):
        part = record(path.parent / f"{path.name}_{number}", form, messages)
        own = yaml.safe_load((part / "metadata.yaml").read_text())
        inner = own["rosbag2_bagfile_information"]
        for name in inner["relative_file_paths"]:
            (part / name).rename(path / name)
        if not about:
            about = own
        else:
            whole = about["rosbag2_bagfile_information"]
            whole["relative_file_paths"] += inner["relative_file_paths"]
            whole["message_count"] += inner["message_count"]
            known = {topic["topic_metadata"]["name"] for topic in whole["topics_with_message_count"]}
            new = [t for t in inner["topics_with_message_count"] if t["topic_metadata"]["name"] not in known]
            whole["topics_with_message_count"] += new
        shutil.rmtree(part)
    (path / "metadata.yaml").write_text(yaml.safe_dump(about))
    return path


def data_file(folder: Path) -> Path:
    """Return the one data file of a rosbag2 folder."""
    (found,) = (path for path in folder.iterdir() if path.name != "metadata.yaml")
    return found


def mcap_by_hand(path: Path, messages: Sequence[Message], chunk: int | None = None, *, summary: bool = False) -> Path:
    """Write an MCAP without message index: messages loose, or in chunks of `chunk` messages.

    Its summary, where it has one, knows channels, chunks and the number of messages.
    """
    topics = {message.topic: message.kind for message in messages}
    described = b""
    for number, (topic, kind) in enumerate(topics.items(), 1):
        text, _ = store("cdr").generate_msgdef(kind, ros_version=2)
        described += mcap_record(3, struct.pack("<H", number), kind, "ros2msg", text)
        described += mcap_record(4, struct.pack("<HH", number, number), topic, "cdr", b"\0\0\0\0")
    names = list(topics)
    said = [
        mcap_record(5, struct.pack("<HIQQ", names.index(m.topic) + 1, 0, m.stamp, m.stamp), m.data) for m in messages
    ]
    parts = [described, *said]
    if chunk is not None:
        blocks = [b"".join(said[start : start + chunk]) for start in range(0, len(said), chunk)]
        parts = [mcap_chunk(described + block if not n else block) for n, block in enumerate(blocks)]
    records = [MCAP_MAGIC + mcap_record(1, "ros2", "by hand"), *parts, mcap_record(15, b"\0" * 4)]
    start = sum(map(len, records))
    if summary:
        records += [described, *_chunk_indexes(records), _statistics(topics, messages)]
    footer = mcap_record(2, struct.pack("<QQI", start if summary else 0, 0, 0))
    path.write_bytes(b"".join([*records, footer, MCAP_MAGIC]))
    return path


def _chunk_indexes(records: Sequence[bytes]) -> Iterator[bytes]:
    starts = np.cumsum([0, *map(len, records)]).tolist()
    for start, piece in zip(starts, records, strict=False):
        if piece[0] == 6:
            size, _, packed = struct.unpack_from("<QI7xQ", piece, 9 + 16)
            about = struct.pack("<QQQQIQ", 0, 0, start, len(piece), 0, 0)
            yield mcap_record(8, about, "lz4", struct.pack("<QQ", packed, size))


def _statistics(topics: Mapping[str, str], messages: Sequence[Message]) -> bytes:
    counts = [(n, sum(m.topic == topic for m in messages)) for n, topic in enumerate(topics, 1)]
    about = struct.pack("<QHIIIIQQ", len(messages), len(topics), len(topics), 0, 0, 0, 0, 0)
    return mcap_record(11, about, struct.pack("<I", 10 * len(counts)), *(struct.pack("<HQ", *c) for c in counts))


def mcap_record(op: int, *parts: bytes | str) -> bytes:
    """Make one record; a str becomes a string with its length."""
    body = b"".join(part if isinstance(part, bytes) else _string(part) for part in parts)
    return struct.pack("<BQ", op, len(body)) + body


def mcap_chunk(block: bytes) -> bytes:
    """Make a chunk record compressed with lz4, without checksum."""
    packed = lz4.frame.compress(block)
    return mcap_record(6, struct.pack("<QQQI", 0, 0, len(block), 0), "lz4", struct.pack("<Q", len(packed)), packed)


def _string(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()


# Reading


def reference(path: Path) -> list[Message]:
    """Read everything with rosbags, sorted."""
    with AnyReader([path], default_typestore=store("cdr")) as reader:
        return sorted(Message(c.topic, stamp, bytes(data), c.msgtype) for c, stamp, data in reader.messages())


def everything(source: Source) -> list[Message]:
    """Read everything with a source, sorted; check that stamps are sorted and counts are true."""
    return sorted(_walk(source))


def _walk(source: Source) -> Iterator[Message]:
    indexes = source.index(list(source.topics))
    assert indexes.keys() == source.topics.keys()
    for topic, index in indexes.items():
        assert index.stamps.dtype == np.int64
        assert np.all(np.diff(index.stamps) >= 0), f"{topic}: stamps are not sorted"
        assert len(index.stamps) == len(index.block) == len(index.offset) == source.topics[topic].count
        for number, stamp in enumerate(index.stamps.tolist()):
            found = source.payload(index, number)
            whole = bytes(found.all())
            assert len(found) == len(whole)
            assert whole.startswith(bytes(found.head()))
            assert len(found.head()) == len(whole) or len(found.head()) >= 400
            yield Message(topic, stamp, whole, source.topics[topic].msgtype)


def read_all(source: Source) -> None:
    """Read the bytes of every message, whatever they are."""
    for index in source.index(list(source.topics)).values():
        for number in range(len(index.stamps)):
            source.payload(index, number).all()


def read(path: Path, scratch: Path) -> list[Message]:
    """Open a recording, read everything, close it."""
    with Source(path, scratch) as source:
        return everything(source)


@contextmanager
def little_memory(most: int = 1 << 28) -> Iterator[None]:
    """Let this process take only so many bytes more: what believes a damaged length fails at once."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Describe all files below a folder: size, time of change, digest."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_size,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
    }
