"""A message's bytes and a stream's settings → the stream's array, written where it is wanted.

Decoders hold no state that changes: one is used by several threads at once. Each writes straight
into the array it is given, which lies in the shared memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from streamer.decode.clouds import COMPRESSED_CLOUD, CompressedPointsDecoder
from streamer.decode.compressed import CompressedDecoder
from streamer.decode.image import ImageDecoder
from streamer.decode.points import PointsDecoder
from streamer.decode.text import TextDecoder, text_path
from streamer.decode.vector import VectorDecoder
from streamer.decode.video import VIDEO_TYPES, VideoDecoder
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.interfaces.typing import Typesdict

    from streamer.records import Decoding, Payload, Spec, Topic

_BY_TYPE = {
    "sensor_msgs/msg/Image": ImageDecoder,
    "sensor_msgs/msg/CompressedImage": CompressedDecoder,
    "sensor_msgs/msg/PointCloud2": PointsDecoder,
    COMPRESSED_CLOUD: CompressedPointsDecoder,
    **dict.fromkeys(VIDEO_TYPES, VideoDecoder),
}
IMAGE_TYPES = frozenset({"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}) | VIDEO_TYPES


class Decoder(Protocol):
    """What turns one stream's messages into arrays."""

    kind: str  # image | depth | vector | points | text

    def probe(self, payload: Payload) -> Spec:
        """Tell from a first message what every array will look like.

        Raises:
            DecodeError: the message cannot be decoded. ConfigError: not with these settings.

        """

    def verify(self, payload: Payload) -> Spec:
        """Tell from any message, of images and points from its head, what its array will look like.

        Raises:
            As `probe` does.

        """

    def rows(self, payload: Payload) -> int:
        """Tell how many rows a message has, from its head; asked only where the spec is variable."""

    def decode(self, payload: Payload, out: NDArray[Any]) -> int:
        """Write a message's array into ``out`` and return how many rows of it are meant.

        Raises:
            DecodeError: the message is damaged, or not of the shape that `probe` told.

        """


def make_decoder(topic: Topic, types: Typesdict, how: Decoding) -> Decoder:
    """Choose the decoder for a topic: a field path makes a vector or a text, otherwise the type decides.

    Raises:
        ConfigError: the settings do not fit the type, with the fields that exist.

    """
    encoding = topic.encoding
    special = _BY_TYPE.get(topic.msgtype)
    if encoding == "protobuf" and how.field is not None:
        msg = f"a message of {topic.msgtype} has no fields to choose: it is a camera"
        raise ConfigError(msg, key="field")
    if special is None or how.field is not None:
        if (path := text_path(topic.msgtype, types, how)) is not None:
            return _text(topic.msgtype, types, encoding, how, path)
        _refuse(how, ("resize", "color"), "images")
        return VectorDecoder(topic.msgtype, types, encoding, how)
    if special in (PointsDecoder, CompressedPointsDecoder):
        _refuse(how, ("resize", "color", "scale", "dtype", "elements", "names_field"), "images or vectors")
        return special(encoding, how)
    _refuse(how, ("scale", "dtype", "capacity", "elements", "names_field"), "vectors")
    if special is VideoDecoder:
        return VideoDecoder(topic.msgtype, encoding, how)
    if special is CompressedDecoder:
        return CompressedDecoder(encoding, how, depth=topic.name.endswith("/compressedDepth"))
    return ImageDecoder(encoding, how)


def _text(msgtype: str, types: Typesdict, encoding: str, how: Decoding, path: str) -> Decoder:
    _refuse(how, ("resize", "color", "scale", "dtype", "elements", "names_field"), "numbers")
    if how.map:
        msg = "'map' is for arrays, which a text is not"
        raise ConfigError(msg, key="map")
    return TextDecoder(msgtype, types, encoding, how, path)


def _refuse(how: Decoding, names: tuple[str, ...], meant_for: str) -> None:
    for name in names:
        if getattr(how, name) is not None:
            msg = f"{name!r} is for {meant_for}, which this stream is not"
            raise ConfigError(msg)
