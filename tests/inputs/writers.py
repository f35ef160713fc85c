"""Messages → files, each by a writer that shares no code with the project."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as BagWriter

from tests.inputs import COUNT, PERIOD, START

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.inputs import Encode

    Write = Callable[[Path], Path]


class Channel(NamedTuple):
    """A topic: how its messages are encoded, its type, and the definition as it is stored (None: none)."""

    encode: Encode
    definition: str | bytes | None = "float64 y\n"
    topic: str = "/t"
    kind: str = "my_msgs/msg/Thing"
    encoding: str = "cdr"
    form: str = "ros2msg"
    md5sum: str = "*"


def mcap(*channels: Channel, order: Sequence[int] = range(COUNT), **options: Any) -> Write:
    """Write with `mcap`; ``order`` numbers the messages as they come into the file."""

    def write(folder: Path) -> Path:
        path = folder / "recording.mcap"
        with path.open("wb") as file:
            writer = McapWriter(file, **options)
            writer.start()
            ids = []
            for one in channels:
                text = one.definition.encode() if isinstance(one.definition, str) else one.definition
                schema = 0 if text is None else writer.register_schema(one.kind, one.form, text)
                ids.append(writer.register_channel(one.topic, one.encoding, schema))
            for number in order:
                for channel, one in zip(ids, channels, strict=True):
                    stamp = START + number * PERIOD
                    writer.add_message(channel, stamp, one.encode(number), stamp, number)
            writer.finish()  # type: ignore[no-untyped-call]
        return path

    return write


def bag(*channels: Channel, change: tuple[bytes, bytes] = (b"", b""), **connection: Any) -> Write:
    """Write with `rosbags`; afterwards replace some bytes by as many others."""

    def write(folder: Path) -> Path:
        path = folder / "recording.bag"
        with BagWriter(path) as writer:
            made = [
                writer.add_connection(one.topic, one.kind, msgdef=str(one.definition), md5sum=one.md5sum, **connection)
                for one in channels
            ]
            for number in range(COUNT):
                for to, one in zip(made, channels, strict=True):
                    writer.write(to, START + number * PERIOD, one.encode(number))
        path.write_bytes(path.read_bytes().replace(*change) if change[0] else path.read_bytes())
        return path

    return write


_TOPICS = "id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL"
_MORE = ("", ", offered_qos_profiles TEXT NOT NULL", ", offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT")
_TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
INSERT INTO schema VALUES (4, 'jazzy');
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE message_definitions(id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
    encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
"""


def db3(*channels: Channel, schema: int = 4, journal: str = "delete", then: str = "") -> Write:
    """Write with `sqlite3` the tables of a schema of rosbag2_storage_sqlite3: 1 (bouncy), 2 (dashing) or 4 (jazzy)."""

    def write(folder: Path) -> Path:
        path = folder / "recording.db3"
        extra = {1: 0, 2: 1, 4: 2}[schema]
        with closing(sqlite3.connect(path)) as database:
            database.executescript(f"PRAGMA journal_mode={journal}; CREATE TABLE topics({_TOPICS}{_MORE[extra]});")
            database.executescript(
                "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,"
                " timestamp INTEGER NOT NULL, data BLOB NOT NULL);" + (_TABLES if schema == 4 else "")
            )
            for number, one in enumerate(channels):
                row = (number, one.topic, one.kind, one.encoding, *[""] * extra)
                database.execute(f"INSERT INTO topics VALUES ({','.join('?' * len(row))})", row)  # noqa: S608
                if schema == 4 and one.definition is not None:
                    values = (one.kind, one.form, one.definition)
                    database.execute("INSERT INTO message_definitions VALUES (NULL, ?, ?, CAST(? AS TEXT), '')", values)
            for number in range(COUNT):
                for topic, one in enumerate(channels):
                    row = (topic, START + number * PERIOD, one.encode(number))
                    database.execute("INSERT INTO messages VALUES (NULL, ?, ?, ?)", row)
            database.executescript(then)
            database.commit()
        return path

    return write
