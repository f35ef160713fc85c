"""What stands beside a topic in its file, and how the file is laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcap.writer import CompressionType, IndexType

from tests.inputs import CDR, COUNT, DOWN, NEXT, UP, Input, pack, rows
from tests.inputs.writers import Channel, bag, db3, mcap

if TYPE_CHECKING:
    from tests.inputs import Rows

GOOD = Channel(lambda k: CDR + pack("d", k))
_BACK = Channel(lambda k: CDR + pack("d", -k))
_WIDE = Channel(lambda k: CDR + pack("B7xd", 9, -k), "uint8 q\nfloat64 y\n")
_BOTH: Rows = [[value] for k in range(COUNT) for value in (k, -k)]


def _inner(definition: str) -> str:
    return f"Inner i\n{NEXT}MSG: my_msgs/Inner\n{definition}"


def _beside(name: str, definition: str | bytes | None, encoding: str, form: str, kind: str = "Some.Thing") -> Input:
    other = Channel(lambda _: b"\x08\x01", definition, "/other", kind, encoding, form)
    return Input("channels of MCAP", f"beside one {name}", mcap(GOOD, other), UP)


def _foreign(name: str, right: str, definition: bytes | None, encoding: str, form: str) -> Input:
    other = Channel(lambda _: b"\x08\x01", definition, "/other", "Some.Thing", encoding, form)
    return Input("channels of MCAP", name, mcap(GOOD, other), right, topic="/other")


CHANNELS = [
    _beside("of JSON", '{"type":"object"}', "json", "jsonschema"),
    _beside("of protobuf", b"\n\0junk\xff", "protobuf", "protobuf"),
    _beside("of FlatBuffers", b"\0\xff", "flatbuffer", "flatbuffer"),
    _beside("without a schema", None, "cdr", ""),
    _beside("of JSON without a schema", None, "json", ""),
    _beside("of another IDL", "struct A {};", "cdr", "omgidl"),
    _beside("whose definition is no text", b"\xff\xfe", "cdr", "ros2msg", "a/B"),
    _foreign("JSON itself", "encoded as 'json'; only ROS messages", b"{}", "json", "jsonschema"),
    _foreign("protobuf itself", "encoded as 'protobuf'; only ROS messages", b"\n\0", "protobuf", "protobuf"),
    Input("channels of MCAP", "two publishers of one type", mcap(GOOD, _BACK), _BOTH),
    Input(
        "channels of MCAP",
        "two publishers, other comments",
        mcap(GOOD, _BACK._replace(definition="# a\nfloat64 y # b\n")),
        _BOTH,
    ),
    Input(
        "channels of MCAP",
        "two publishers, other fields",
        mcap(GOOD, _WIDE),
        "messages of two definitions of my_msgs/msg/Thing",
    ),
    *(
        Input(
            "channels of MCAP",
            f"a nested type with two definitions, {topic}",
            mcap(
                GOOD._replace(definition=_inner("float64 y\n"), topic="/left"),
                _WIDE._replace(definition=_inner("uint8 q\nfloat64 y\n"), topic="/right"),
            ),
            right,
            "i.y",
            topic,
        )
        for topic, right in (("/left", UP), ("/right", DOWN))
    ),
    Input(
        "channels of MCAP",
        "a standard type without its definition",
        mcap(GOOD._replace(definition="", kind="std_msgs/msg/Float64")),
        UP,
        "data",
    ),
    Input("channels of MCAP", "big-endian messages", mcap(Channel(lambda k: bytes(4) + pack("d", k)[::-1])), UP),
    Input(
        "channels of MCAP",
        "a definition with a comment in Latin-1",
        mcap(GOOD._replace(definition=b"float64 y # 45\xb0\n")),
        UP,
    ),
]


def _mcap(name: str, right: Rows = UP, **options: Any) -> Input:
    return Input("layout of MCAP", name, mcap(GOOD, **options), right)


_BARE: dict[str, Any] = {
    "index_types": IndexType.NONE,
    "repeat_channels": False,
    "repeat_schemas": False,
    "use_statistics": False,
    "use_summary_offsets": False,
}
MCAP = [
    _mcap("no chunks", use_chunking=False),
    _mcap("no statistics", use_statistics=False),
    _mcap("no summary offsets", use_summary_offsets=False),
    _mcap("channels not repeated", repeat_channels=False),
    _mcap("schemas not repeated", repeat_schemas=False),
    _mcap("no checksums", enable_crcs=False, enable_data_crcs=False),
    _mcap("small chunks", chunk_size=100),
    _mcap("lz4", compression=CompressionType.LZ4),
    _mcap("no compression", compression=CompressionType.NONE),
    *(
        _mcap(f"index of {kind.name}", index_types=kind)
        for kind in (IndexType.NONE, IndexType.MESSAGE, IndexType.CHUNK)
    ),
    _mcap("an empty summary", **_BARE),
    _mcap("an empty summary and no chunks", **_BARE, use_chunking=False),
    _mcap("stamps out of order", order=[3, 1, 2, 0, 5, 4, 9, 7, 8, 6], chunk_size=200),
]
_FLOAT = Channel(lambda k: CDR + pack("d", k), "float64 data\n", kind="std_msgs/msg/Float64")
_TURN = "UPDATE messages SET timestamp = 4000000000 - timestamp;"


def _db3(
    name: str, *channels: Channel, right: Rows | str = UP, topic: str = "/t", distro: str = "", **how: Any
) -> Input:
    types = (distro,) if distro else ()
    return Input("SQLite", name, db3(*channels, **how), right, "data", topic, types)


SQLITE = [
    _db3("schema 1", _FLOAT, schema=1, distro="humble"),
    _db3("schema 2", _FLOAT, schema=2, distro="humble"),
    _db3("schema 4", _FLOAT),
    _db3("an old name of a type", _FLOAT._replace(kind="std_msgs/Float64"), schema=2, distro="humble"),
    _db3("a write-ahead log", _FLOAT, journal="wal"),
    _db3("beside an unknown type", _FLOAT, _FLOAT._replace(kind="a/msg/B", topic="/other"), schema=2, distro="humble"),
    _db3("beside another serialization", _FLOAT, _FLOAT._replace(kind="a/msg/B", encoding="fast", topic="/other")),
    _db3("rows in another order than stamps", _FLOAT, then=_TURN, right=list(reversed(UP))),
    _db3("other tables beside", _FLOAT, then="CREATE TABLE foo(a); CREATE INDEX t ON messages(timestamp);"),
    _db3("messages of no topic", _FLOAT, then="INSERT INTO messages VALUES (100, 77, 5, x'00');"),
    _db3("stamps before 1970", _FLOAT, then="UPDATE messages SET timestamp = timestamp - 1500000000;"),
    _db3(
        "two topics of one type",
        _FLOAT,
        _FLOAT._replace(encode=_BACK.encode, topic="/other"),
        topic="/other",
        right=DOWN,
    ),
    _db3("a definition with a comment in Latin-1", _FLOAT._replace(definition=b"float64 data # 45\xb0\n")),
    _db3("no serialization", _FLOAT._replace(encoding=""), right="of an encoding that is not said"),
    _db3(
        "a row without a message",
        _FLOAT,
        right="row 3 holds no message",
        then="UPDATE messages SET data = 'hello' WHERE id = 3;",
    ),
    _db3(
        "stamps with a fraction",
        _FLOAT,
        right="a stamp is no whole number",
        then="UPDATE messages SET timestamp = timestamp + 0.5;",
    ),
]
_MD5 = "fdb28210bfa9d7c91146260178d9a584"  # of std_msgs/Float64, as `rosmsg md5` says
_PLAIN = Channel(lambda k: pack("d", k), "float64 data\n", kind="std_msgs/msg/Float64", md5sum=_MD5)


def _bag(name: str, *channels: Channel, right: Rows | str = UP, field: str = "data", **how: Any) -> Input:
    return Input("ROS 1 bag", name, bag(*channels, **how), right, field)


BAG = [
    _bag("as it should be", _PLAIN),
    _bag("latched", _PLAIN, latching=1),
    _bag("no definition, known by its checksum", _PLAIN._replace(definition="")),
    _bag("any checksum", _PLAIN._replace(md5sum="*")),
    _bag("another definition than the checksum's", _PLAIN._replace(definition="float32 data\n")),
    _bag(
        "a checksum that nothing has", _PLAIN._replace(md5sum="0" * 32), right="no definition .* has the checksum 0000"
    ),
    _bag("two types on a topic", _PLAIN, _PLAIN._replace(kind="std_msgs/msg/Float32"), right="messages of two types"),
    _bag(
        "standard types inside that are not defined",
        Channel(lambda k: pack("4I1s3d", k, 1, 2, 1, b"a", k, 1, 2), "std_msgs/Header header\ngeometry_msgs/Point p\n"),
        right=rows(lambda k: [k, 1, 2]),
        field="p",
    ),
    _bag(
        "a comment in Latin-1",
        Channel(lambda k: pack("d", k), "float64 data # 45Q\n"),
        change=(b"45Q", b"45\xb0"),
    ),
]
