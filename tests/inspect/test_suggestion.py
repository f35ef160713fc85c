"""What is suggested for a recording of any message type passes the check and runs, and reads what has numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rosbags.interfaces import Nodetype
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores, get_typestore

import streamer
from streamer import inspect
from tests.bags import SECOND, START

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rosbags.interfaces.typing import FieldDesc
    from rosbags.typesys.store import Typestore

    from streamer.inspect.suggestion import Suggestion

STORES = [Stores.ROS1_NOETIC, Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY]
PICTURES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/PointCloud2")
MESSAGES = 5


class Fabric:
    """Messages of any type with values at random; their sequences have a length of their own each time, or not."""

    def __init__(self, store: Typestore, seed: int, *, varies: bool) -> None:
        self._store = store
        self._random = np.random.default_rng(seed)
        self._varies = varies

    def message(self, msgtype: str) -> Any:
        fields = self._store.fielddefs[msgtype][1]
        if msgtype.endswith("/JointState"):  # names that do not belong to the numbers are another subject
            fields = [(name, desc) for name, desc in fields if name != "name"]
            values = {name: self._value(desc) for name, desc in fields}
            names = [f"joint_{n}" for n in range(len(values["position"]))]
            return self._store.types[msgtype](name=names, **values)
        return self._store.types[msgtype](**{name: self._value(desc) for name, desc in fields})

    def _value(self, desc: FieldDesc) -> Any:
        if desc[0] == Nodetype.NAME:
            return self.message(str(desc[1]))
        if desc[0] == Nodetype.BASE:
            return self._base(desc[1][0])
        element, length = desc[1]
        count = length if desc[0] == Nodetype.ARRAY else int(self._random.integers(1, 5)) if self._varies else 3
        if element[0] == Nodetype.BASE and element[1][0] not in ("string", "wstring"):
            return np.array([self._base(element[1][0]) for _ in range(count)], _dtype(element[1][0]))
        return [self._value(element) for _ in range(count)]

    def _base(self, name: str) -> Any:
        if name in ("string", "wstring"):
            return "".join(self._random.choice(list("abc"), int(self._random.integers(0, 9))))
        if name == "bool":
            return bool(self._random.integers(0, 2))
        return _dtype(name).type(self._random.integers(0, 100)).item()


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype({"byte": "u1", "octet": "u1", "char": "u1"}.get(name, name))


def write(path: Path, kind: Stores, msgtypes: Iterable[str], *, varies: bool) -> Path:
    """Record some messages of each type, on a topic of its own."""
    store = get_typestore(kind)
    ros1 = kind is Stores.ROS1_NOETIC
    path = path.with_suffix(".bag" if ros1 else "")
    fabric = Fabric(store, 3, varies=varies)
    with Writer1(path) if ros1 else Writer2(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for number, msgtype in enumerate(msgtypes):
            connection = writer.add_connection(f"/topic_{number}", msgtype, typestore=store)
            for n in range(MESSAGES):
                message = fabric.message(msgtype)
                data = store.serialize_ros1(message, msgtype) if ros1 else store.serialize_cdr(message, msgtype)
                writer.write(connection, START + n * SECOND // 10, data)
    return path


def has_numbers(store: Typestore, desc: FieldDesc) -> bool:
    if desc[0] == Nodetype.BASE:
        return desc[1][0] not in ("string", "wstring")
    if desc[0] == Nodetype.NAME:
        return any(has_numbers(store, inner) for _, inner in store.fielddefs[str(desc[1])][1])
    return has_numbers(store, desc[1][0])


def numeric_types(kind: Stores) -> list[str]:
    store = get_typestore(kind)
    return [
        name
        for name in sorted(store.fielddefs)
        if name not in PICTURES
        and name.count("/msg/") == 1
        and any(field != "structure_needs_at_least_one_member" for field, _ in store.fielddefs[name][1])
        and has_numbers(store, (Nodetype.NAME, name))
    ]


def run(folder: Path, path: Path) -> Suggestion:
    """Suggest a configuration, check it and read all its frames."""
    found = inspect.suggest(path)
    config = folder / "config.yaml"
    config.write_text(found.as_yaml())
    checked = inspect.check(config)
    assert checked.exit_code == 0, [finding.message for finding in checked.findings if finding.code]
    frames = list(streamer.open(config).frames())
    assert len(frames) == MESSAGES
    assert all(frame[name] is not None for frame in frames for name in found.streams)
    return found


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.value)
def test_every_message_type_of_ros_is_read_or_left_out_with_a_reason(
    tmp_path: Path, kind: Stores, *, varies: bool
) -> None:
    """Of all in one recording, those whose numbers lie in lists of messages alone may be left out."""
    types = numeric_types(kind)
    assert len(types) > 100
    found = run(tmp_path, write(tmp_path / "all", kind, types, varies=varies))
    assert len(found.streams) > 0.8 * len(types)
    reasons = {why.split(":")[0] for why in found.left_out.values()}
    assert reasons <= {"its numbers lie in lists of messages", "it is a log", "it holds transforms"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.value)
def test_a_recording_of_any_type_alone_is_read(tmp_path: Path, kind: Stores) -> None:
    for number, msgtype in enumerate(numeric_types(kind)):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run(folder, write(folder / "bag", kind, [msgtype], varies=bool(number % 2))).streams, msgtype
