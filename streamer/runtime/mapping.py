"""A stream's ``map`` and the arrays that its decoder makes → the chain of steps that each sample goes through.

A calibration that a step asks for is read here, from the first message of its topic.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.decode.compressed import CompressedDecoder
from streamer.decode.interpolate import Turn
from streamer.decode.vector import VectorDecoder
from streamer.errors import ConfigError, RecordingError, nearest_name
from streamer.transform import CameraInfo, Chain, Undistort, from_quaternion, make_steps, to_quaternion

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def turns_of(chain: Chain | None, settings: StreamSettings, decoder: Decoder) -> tuple[Turn, ...]:
    """Return which of a vector's numbers are rotations that its map reads, where samples lie between messages.

    Raises:
        ConfigError: a step before changes them, so that they cannot be turned.

    """
    between = settings.alignment.align in ("linear", "mean") and isinstance(decoder, VectorDecoder)
    return _turns(chain, settings.name, settings.alignment.align) if chain is not None and between else ()


def turns_of_parts(chain: Chain | None, name: str, parts: Sequence[tuple[int, str]]) -> list[tuple[Turn, ...]]:
    """Return of each part of a stream which of its numbers are rotations that the map of the whole reads.

    ``parts`` are the length of each and how it is aligned (nothing where it is computed).

    Raises:
        ConfigError: one cannot be turned, or lies in two parts.

    """
    between = [align in ("linear", "mean") for _, align in parts]
    found: list[list[Turn]] = [[] for _ in parts]
    if chain is None or not any(between):
        return [()] * len(parts)
    align = parts[between.index(True)][1]
    ends = np.cumsum([length for length, _ in parts]).tolist()
    for turn in _turns(chain, name, align):
        where = {bisect_right(ends, column) for column in turn.columns}
        n = min(where)
        if len(where) == 1:
            begin = ends[n] - parts[n][0]
            found[n].append(turn._replace(columns=[column - begin for column in turn.columns]))
        elif any(between[n] for n in where):
            msg = f"a rotation lies in {len(where)} parts, so {align!r} cannot turn it: use 'nearest' or 'previous'"
            raise ConfigError(msg, key=f"streams.{name}.align")
    return [tuple(turns) if own else () for turns, own in zip(found, between, strict=True)]


def _turns(chain: Chain, name: str, align: str) -> tuple[Turn, ...]:
    found = []
    for read in chain.rotations:
        if not read.columns:
            msg = (
                f"{align!r} cannot turn a rotation ({read.source!r}) that steps before have changed: "
                "convert it first, or use 'nearest' or 'previous'"
            )
            raise ConfigError(msg, key=f"streams.{name}.map[{read.step}]")
        forms = partial(to_quaternion, read.source), partial(from_quaternion, read.source)
        found.append(Turn(list(read.columns), *forms))
    return tuple(found)


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
