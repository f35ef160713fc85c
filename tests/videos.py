"""Pictures → video packets written by PyAV, in messages of each type; and the pictures that PyAV reads from these."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np
from rosbags.typesys import get_types_from_msg

from tests.bags import COMPRESSED, IMAGE, SECOND, START, Message, encoded, header, store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

FOXGLOVE, FFMPEG = "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
_TEXTS = {
    FOXGLOVE: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n",
    FFMPEG: (
        "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
        "bool is_bigendian\nuint8[] data\n"
    ),
}
for _wire in ("ros1", "cdr"):
    for _name, _text in _TEXTS.items():
        store(_wire).register(get_types_from_msg(_text, _name))
PERIOD = SECOND // 30
_READERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d", "vp9": "vp9"}


class Packet(NamedTuple):
    """What an encoder gave; ``pts`` is the number of the picture inside."""

    data: bytes
    pts: int
    key: bool


def pictures(count: int, size: tuple[int, int] = (96, 64), seed: int = 0) -> list[NDArray[np.uint8]]:
    """Give RGB pictures of coarse noise that moves."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (size[1] // 8 + 1, size[0] // 8 + 1, 3), dtype=np.uint8)
    still = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[: size[1], : size[0]]
    return [np.ascontiguousarray(np.roll(still, (2 * n, 3 * n), (0, 1))) for n in range(count)]


def encode(
    codec: str, images: Iterable[NDArray[np.uint8]], options: Mapping[str, str] | None = None, gop: int = 10
) -> list[Packet]:
    """Encode RGB pictures."""
    found: list[Packet] = []
    context: Any = None
    for number, image in enumerate(images):
        if context is None:
            context = av.CodecContext.create(codec, "w")
            context.width, context.height = image.shape[1], image.shape[0]
            context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 30), Fraction(30, 1)
            context.gop_size = gop
            context.options = dict(options or {})
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        frame.pts = number
        found += [Packet(bytes(p), int(p.pts), p.is_keyframe) for p in context.encode(frame)]
    return found + [Packet(bytes(p), int(p.pts), p.is_keyframe) for p in context.encode(None)]


def decoded(codec: str, packets: Iterable[Packet], wanted: str = "rgb24") -> dict[int, NDArray[np.uint8]]:
    """Decode packets one after the other with PyAV alone: the pictures by number."""
    context: Any = av.CodecContext.create(_READERS[codec], "r")
    found: dict[int, NDArray[np.uint8]] = {}
    given: list[Any] = []
    for packet in packets:
        made: Any = av.Packet(packet.data)
        made.pts = packet.pts
        given.append(made)
    for one in [*given, None]:
        for frame in context.decode(one):
            found[int(frame.pts)] = frame.to_ndarray(format=wanted)
    return found


def message(topic: str, wire: str, kind: str, text: str, packet: Packet, when: int) -> Message:
    """Put a packet into a message of a type; it arrives at ``when``, and its header says when the picture was taken."""
    taken = START + packet.pts * PERIOD
    data = np.frombuffer(packet.data, np.uint8)
    if kind == FOXGLOVE:
        stamp = {"sec": taken // SECOND, "nanosec": taken % SECOND}
        return Message(topic, when, encoded(wire, kind, timestamp=stamp, frame_id="cam", format=text, data=data), kind)
    values: dict[str, dict[str, Any]] = {
        FFMPEG: {"encoding": text, "pts": packet.pts, "width": 96, "height": 64},
        COMPRESSED: {"format": text},
        IMAGE: {"encoding": text, "width": 96, "height": 64, "step": 96},
    }
    return Message(topic, when, encoded(wire, kind, header=header(taken, "cam"), data=data, **values[kind]), kind)


def video(topic: str, wire: str, kind: str, text: str, packets: Iterable[Packet]) -> list[Message]:
    """Put packets into messages that arrive one period after the other."""
    return [message(topic, wire, kind, text, packet, START + n * PERIOD) for n, packet in enumerate(packets)]
