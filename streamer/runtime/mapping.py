"""A stream's ``map`` and the arrays that its decoder makes → the chain of steps that each sample goes through.

A calibration that a step asks for is read here, from the first message of its topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.decode.compressed import CompressedDecoder
from streamer.decode.vector import VectorDecoder
from streamer.errors import ConfigError, RecordingError, nearest_name
from streamer.transform import CameraInfo, Chain, Undistort, make_steps

if TYPE_CHECKING:
    from streamer.decode import Decoder
    from streamer.records import Spec, StreamSettings
    from streamer.source.source import Source
    from streamer.source.types import Types
    from streamer.transform import Step

_CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


def make_chain(settings: StreamSettings, spec: Spec, source: Source, types: Types) -> Chain | None:
    """Make the chain of a stream whose decoder gives arrays of ``spec``; None where it has no map, or no message.

    Raises:
        ConfigError: a step is not known or does not fit, with the shapes up to it.
        RecordingError: a calibration cannot be read.

    """
    if not settings.decoding.map:
        return None
    try:
        if spec.shape == (0,):  # nothing to map, and nothing that would tell whether the steps fit
            make_steps(settings.decoding.map)
            return None
        steps = [_calibrated(step, n, source, types) for n, step in enumerate(make_steps(settings.decoding.map))]
        return Chain.bind(steps, spec)
    except (ConfigError, RecordingError) as error:
        placed = error.under("streams", settings.name)
        raise placed from error


def reduction(chain: Chain | None, decoder: Decoder) -> tuple[int, Chain] | None:
    """Return at one of how many parts of their size JPEGs may be decoded on their way to a map's ``resize``."""
    return chain.reduced() if chain is not None and isinstance(decoder, CompressedDecoder) else None


def quaternions(chain: Chain | None, decoder: Decoder) -> tuple[int, ...]:
    """Return at which of a vector's numbers quaternions begin: by the message's types, or by what its map reads."""
    if not isinstance(decoder, VectorDecoder):
        return ()
    return tuple(sorted({*decoder.quaternions, *(chain.quaternions if chain is not None else ())}))


def _calibrated(step: Step, number: int, source: Source, types: Types) -> Step:
    """Give a step that asks for a calibration the one that its topic holds."""
    if not isinstance(step, Undistort) or step.info is not None:
        return step
    topic = source.topics.get(step.camera_info)
    if topic is None:
        hint = nearest_name(step.camera_info, source.topics)
        msg = f"undistort: {source.path.name} has no topic {step.camera_info!r}{hint}"
        raise ConfigError(msg, key=f"map[{number}]")
    if topic.msgtype != _CAMERA_INFO:
        msg = f"undistort: {topic.name} holds {topic.msgtype}, a calibration is {_CAMERA_INFO}"
        raise ConfigError(msg, key=f"map[{number}]")
    index = source.index({topic.name})[topic.name]
    if not len(index.stamps):
        msg = f"undistort: {topic.name} has no message"
        raise RecordingError(msg)
    return step.calibrated(_camera_info(_message(bytes(source.payload(index, 0).all()), topic, types)))


def _message(payload: bytes, topic: Any, types: Types) -> Any:
    """Deserialize a message as rosbags does."""
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.EMPTY)
    store.register(dict(types.fields(topic)))
    try:
        if topic.encoding == "ros1":
            return store.deserialize_ros1(payload, topic.msgtype)
        return store.deserialize_cdr(payload, topic.msgtype)
    except Exception as error:
        msg = f"undistort: the first message of {topic.name} cannot be read: {error}"
        raise RecordingError(msg) from error


def _camera_info(message: Any) -> CameraInfo:
    """Take over a calibration; ROS 1 writes the matrices in capitals."""

    def numbers(name: str) -> tuple[float, ...]:
        found = getattr(message, name, None)
        return tuple(map(float, found if found is not None else getattr(message, name.upper())))

    roi = message.roi
    return CameraInfo(
        int(message.width),
        int(message.height),
        str(message.distortion_model),
        d=numbers("d"),
        k=numbers("k"),
        r=numbers("r"),
        p=numbers("p"),
        binning=(int(message.binning_x), int(message.binning_y)),
        roi=(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
    )
