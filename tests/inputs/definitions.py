"""Definitions as people and tools write them, in each of the three languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.inputs import CDR, DOWN, NEXT, UP, Input, pack, rows
from tests.inputs.writers import Channel, mcap

if TYPE_CHECKING:
    from tests.inputs import Encode, Rows

_TIME = f"{NEXT}MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
_INNER = f"{NEXT}MSG: my_msgs/Inner\nfloat64 z\n"
_TWO: Encode = lambda k: pack("2d", k, -k)  # noqa: E731 - a name for the encoding of two numbers


def _ros2(name: str, text: str, encode: Encode, right: Rows | str, field: str = "y") -> Input:
    return Input("ROS 2 definition", name, mcap(Channel(lambda k: CDR + encode(k), text)), right, field)


def _ros1(name: str, text: str, encode: Encode, right: Rows | str, field: str = "y") -> Input:
    channel = Channel(encode, text, kind="my_msgs/Thing", encoding="ros1", form="ros1msg")
    return Input("ROS 1 definition", name, mcap(channel), right, field)


ROS2 = [
    _ros2("lines end as on Windows", "float64 x\r\nfloat64 y\r\n", _TWO, DOWN),
    _ros2("tabs", "float64\tx\t# c\n\tfloat64   y\n", _TWO, DOWN),
    _ros2("comments around", "\n\n   # only\n  float64   x  \n\n#float64 no\nfloat64 y#c\n", _TWO, DOWN),
    _ros2("constants", "uint8 A=1\nuint8 B = 2 # two\nstring S='x # y'\nfloat64 y\n", lambda k: pack("d", k), UP),
    _ros2(
        "default values",
        'float64 x 1.5\nint32[3] a [1, 2, 3]\nstring s "he # llo"\nfloat64 y -2.0\n',
        lambda k: pack("d3iI2s6xd", k, 1, 2, 3, 2, b"a", k),
        UP,
    ),
    _ros2(
        "bounded text and lists",
        "string<=10 s\nfloat64[<=5] a\nstring<=3[<=2] q\nuint8 y\n",
        lambda k: pack("I2s2xI4xdIB", 2, b"a", 1, 0, 0, k),
        UP,
    ),
    _ros2(
        "an empty list is not aligned",
        "uint8 q\nfloat64[] a\nuint8 y\n",
        lambda k: pack("B3xIB", 7, 0, k),
        UP,
    ),
    _ros2("whole numbers of 64 bits", "int64 y\n", lambda k: pack("q", 2**53 + 1 + k), rows(lambda k: 2**53 + 1 + k)),
    _ros2(
        "truth values",
        "bool[3] x\nbool[] y\n",
        lambda k: pack("3BxI2B", 1, 0, 1, 2, 1, k % 2),
        rows(lambda k: [1, k % 2]),
    ),
    _ros2(
        "a time that is defined", f"builtin_interfaces/Time t\nfloat64 y\n{_TIME}", lambda k: pack("iId", 1, 5, k), UP
    ),
    _ros2("a time that is not", "builtin_interfaces/Time t\nfloat64 y\n", lambda k: pack("iId", 1, 5, k), UP),
    _ros2("a header by its short name", "Header header\nfloat64 y\n", lambda k: pack("iII2s2xd", 1, 1, 2, b"a", k), UP),
    _ros2("a type by its short name", f"Inner i\nfloat64 y\n{_INNER}", _TWO, UP, "i.z"),
    _ros2("a type by its long name", f"my_msgs/msg/Inner i\nfloat64 y\n{_INNER}", _TWO, UP, "i.z"),
    _ros2("a longer rule", f"Inner i\nfloat64 y\n{'=' * 100}\nMSG: my_msgs/Inner\nfloat64 z\n", _TWO, DOWN),
    _ros2("a type twice", f"Inner i\nfloat64 y\n{_INNER}{_INNER}", _TWO, DOWN),
    _ros2(
        "an unused type that is none",
        f"float64 y\n{NEXT}MSG: my_msgs/Bad\nno definition !!\n",
        lambda k: pack("d", k),
        UP,
    ),
    _ros2(
        "one of several inner messages",
        f"Inner[2] i\n{NEXT}MSG: my_msgs/Inner\nuint8 b\nfloat64 z\n",
        lambda k: pack("B7xdB7xd", 1, k, 2, -k),
        DOWN,
        "i[1].z",
    ),
    _ros2(
        "char and byte are unsigned", "char x\nbyte y\n", lambda k: pack("BB", 250, 246 + k), rows(lambda k: 246 + k)
    ),
    _ros2("letters beyond ASCII", "string s\nfloat64 y\n", lambda k: pack("I5s7xd", 5, "äö".encode(), k), UP),
    _ros2("a text without its end", "string s\nfloat64 y\n", lambda k: pack("I3sxd", 3, b"abc", k), UP),
    _ros2("a text of no bytes", "string s\nfloat32 y\n", lambda k: pack("If", 0, k), UP),
    _ros2("bytes behind the message", "float64 y\n", lambda k: pack("d3x", k), UP),
    _ros2("a name that is a keyword", "float64 x\nfloat64 class\n", _TWO, DOWN, "class"),
    _ros2("a wide letter behind", "float64 y\nwchar w\n", lambda k: pack("dH", k, 65), UP),
    _ros2(
        "a wide letter before", "wchar w\nfloat64 y\n", lambda k: pack("H6xd", 65, k), "type 'wchar' stands before it"
    ),
    _ros2(
        "a rule that is too short",
        "Inner i\nfloat64 y\n====\nMSG: my_msgs/Inner\nfloat64 z\n",
        _TWO,
        "does not parse: line '===='",
    ),
    _ros2(
        "a field of no type", "quaternion q\nfloat64 y\n", _TWO, "it uses my_msgs/msg/quaternion and does not define it"
    ),
    _ros2("every element's field", f"Inner[] y\n{_INNER}", lambda k: pack("I4xd", 1, k), "choose one element", "y.z"),
]
ROS1 = [
    _ros1("text, number and list", "string s\nfloat64 y\nint32[] a\n", lambda k: pack("I3sdI", 3, b"abc", k, 0), UP),
    _ros1(
        "a header that is not defined", "Header header\nfloat64 y\n", lambda k: pack("4I3sd", k, 1, k, 3, b"abc", k), UP
    ),
    _ros1("byte is signed", "byte y\n", lambda k: pack("b", -k), DOWN),
    _ros1("char is unsigned", "char y\n", lambda k: pack("B", 240 + k), rows(lambda k: 240 + k)),
    _ros1(
        "times and truth values",
        "duration d\ntime t\nbool[2] q\nfloat32 y\n",
        lambda k: pack("iiII2Bf", -k, 5, k, 6, 1, 0, k),
        UP,
    ),
    _ros1("constants", "string A=foo # bar = 2\nint8 X = -3\nfloat32 y\n", lambda k: pack("f", k), UP),
    _ros1(
        "lists of messages with texts",
        f"Foo[] f\nFoo[2] g\nfloat32 y\n{NEXT}MSG: my_msgs/Foo\nint8 q\nstring s\n",
        lambda k: pack("IbI2sbIbI1sf", 1, k, 2, b"hi", 1, 0, 2, 1, b"x", k),
        UP,
    ),
]
_IDL = """================================================================================
IDL: my_msgs/msg/Thing
#include "my_msgs/msg/Inner.idl"
module my_msgs { module msg {
  module Thing_Constants { const long A = 5; };
  typedef double numbers[3];
  enum Color { RED, GREEN };
  @verbatim (language="comment", text="hello { } ; world")
  struct Thing {
    @unit (value="m") @default (value=1.5)
    double x;
    sequence<double, 4> a;
    string<10> s;
    my_msgs::msg::Inner inner;
    octet o;
    Color c;
    numbers y;
  };
}; };
================================================================================
IDL: my_msgs/msg/Inner
module my_msgs { module msg { struct Inner { @key boolean b; unsigned long long u; int16 v; uint8 w; }; }; };
"""


def _idl(name: str, field: str, right: Rows | str, text: str = _IDL) -> Input:
    def encode(k: int) -> bytes:
        body = pack("dI4xdI3s", k, 1, -k, 3, b"ab\0") + pack("B", 1)  # 32 bytes
        return CDR + body + pack("QhBB", k, -k, k, 200 + k) + pack("I", 1) + pack("3d", k, k + 1, k + 2)

    return Input("IDL", name, mcap(Channel(encode, text, form="ros2idl")), right, field)


IDL = [
    _idl("a bounded list", "a", DOWN),
    _idl("a short of an included struct", "inner.v", DOWN),
    _idl("an octet is unsigned", "o", rows(lambda k: 200 + k)),
    _idl("an enumeration before, a typedef of an array", "y", rows(lambda k: [k, k + 1, k + 2])),
    _idl("a union", "y", "it has 'union', which is not supported", _IDL.replace("struct Inner", "union Inner")),
]
