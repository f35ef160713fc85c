"""Frames → one MCAP file a recording: what the streams show at each tick, or the recorded messages as they were."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from consumers.files import provenance, require
from consumers.parts import Parts
from consumers.pictures import check_quality
from consumers.ros2 import Messages, definition_of
from streamer.records import Copying

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from streamer.contract import Frame, Recording, StreamInfo

_RECORDED = ("chosen", "all")
_PICTURES, _COMPRESSIONS = ("raw", "jpeg", "png"), ("zstd", "lz4", "none")
_ABOUT = "rosbag-streamer"  # the metadata record of a file


class _Line(NamedTuple):
    """One message that waits to be written."""

    topic: str
    log_time: int
    publish_time: int
    sequence: int
    data: bytes


class Mcap(Parts):
    """Writes ``<out>/<recording>.mcap``, which Foxglove opens and ``ros2 bag play`` plays.

    Each stream is a topic, ``/<stream>``, of one of ROS 2's standard messages (`consumers.ros2.Messages`). A message's
    log time is the tick, its publish time (and the stamp in its header) the sample's stamp, its sequence number the
    frame's. Where a frame has no sample, there is no message. A channel's metadata says from which topic, of which
    type, and with which names and unit its values came; the record ``rosbag-streamer`` has the provenance (JSON).

    With ``messages``, the recorded messages are written instead, byte for byte, under their topics and at their receive
    times, with their definitions and what the recording says of their channels (such as QoS): so a recording is cut to
    a part or to episodes, and thinned. Their sequence numbers count the messages of a topic.
    """

    suffix = ".mcap"

    def __init__(
        self,
        out: str,
        *,
        messages: str = "aligned",
        pictures: str = "raw",
        quality: int = 90,
        compression: str = "zstd",
    ) -> None:
        """Write into the folder ``out``.

        Args:
            out: The folder.
            messages: ``aligned``: what the streams show, decoded; ``chosen``: the recorded messages of which that is
                made, each once; ``all``: every message of the streams' topics from the first tick to the last.
            pictures: ``raw``, ``jpeg`` or ``png``; depth is raw.
            quality: Of JPEG, 1 to 100.
            compression: Of the file: ``zstd``, ``lz4`` or ``none``.

        Raises:
            ValueError: an option makes no sense.

        """
        super().__init__(out)
        options = (("messages", messages, ("aligned", *_RECORDED)), ("pictures", pictures, _PICTURES))
        for key, value, known in (*options, ("compression", compression, _COMPRESSIONS)):
            if value not in known:
                msg = f"{key} is one of {', '.join(known)}, not {value!r}"
                raise ValueError(msg)
        check_quality(quality)
        # here, so that the next process has them loaded when its turn comes
        self._mcap: Any = require("mcap.writer", "mcap")
        self._reader: Any = require("mcap.reader", "mcap")
        self._pictures, self._quality = pictures, quality
        self._compression = compression
        self._which = messages

    @staticmethod
    def takes_packets(options: Mapping[str, Any], streams: Sequence[str]) -> Mapping[str, Copying]:
        """Take the recorded messages where they are to be written."""
        which = options.get("messages")
        return dict.fromkeys(streams, Copying(must=True, messages=which)) if which in _RECORDED else {}

    def prepare(self, recording: Recording) -> None:
        """Choose a message for every stream of which a message was seen."""
        shown = {name: stream for name, stream in recording.streams.items() if recording.frames and _is_known(stream)}
        self._streams = recording.streams
        self._recorded = {c: definition_of(c) for stream in shown.values() for c in stream.channels}
        seen = {} if self._which in _RECORDED else shown
        self._messages = {name: Messages(stream, self._pictures, self._quality) for name, stream in seen.items()}
        self._clear()

    def _clear(self) -> None:
        self._lines: list[_Line] = []
        self._shown = 0

    def on_frame(self, frame: Frame) -> None:
        """Serialize the samples."""
        self._shown += 1
        for name, messages in self._messages.items():
            if (sample := frame.samples[name]) is not None:
                data = messages.serialize(sample)
                self._lines.append(_Line(f"/{name}", frame.tick, sample.stamp, frame.number, data))
        if self._recorded:
            self._take_messages(frame)

    def _take_messages(self, frame: Frame) -> None:
        """Take in the recorded messages of a frame, in the order of their receive times."""
        found = []
        for name, stream in self._streams.items():
            if (sample := frame.samples[name]) is not None:
                for channel, stamp, data in sample.messages():
                    found.append(_Line(stream.channels[channel].topic, stamp, stamp, 0, bytes(data)))
        self._lines += sorted(found, key=lambda line: line.log_time)

    def write_part(self, path: Path) -> int:
        """Write the chunk's messages as they are."""
        shown = self._shown
        self._write(path, iter(self._lines), "none", {"frames": str(shown)})
        self._clear()
        return shown

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Copy the chunks behind each other."""
        about = {
            "frames": str(sum(map(self.count, parts))),
            **({"messages": self._which} if self._which in _RECORDED else {}),
            "provenance": json.dumps(provenance(recording, "mcap", "rosbags"), sort_keys=True),
        }
        self._write(path, (line for part in parts for line in self._read(part)), self._compression, about)

    def _write(self, path: Path, lines: Iterator[_Line], compression: str, about: dict[str, str]) -> None:
        with path.open("wb") as file:
            writer = self._mcap.Writer(file, compression=self._mcap.CompressionType[compression.upper()])
            writer.start(profile=self._profile(), library=_ABOUT)
            channels = {f"/{name}": self._channel(writer, name) for name in self._messages}
            channels |= self._recorded_channels(writer)
            counts: Counter[str] = Counter()
            for topic, log_time, publish_time, sequence, data in lines:
                number = counts[topic] if self._recorded else sequence
                counts[topic] += 1
                writer.add_message(channels[topic], log_time, data, publish_time, number)
            writer.add_metadata(_ABOUT, about)
            writer.finish()

    def _profile(self) -> str:
        """Return the name of the framework for which all messages are serialized; empty where there is none."""
        found = {channel.encoding for channel in self._recorded} or {"cdr"}
        return {frozenset(["cdr"]): "ros2", frozenset(["ros1"]): "ros1"}.get(frozenset(found), "")

    def _recorded_channels(self, writer: Any) -> dict[str, int]:
        """Declare the recorded topics as the recording had them."""
        found, schemas = {}, dict[tuple[str, str, str], int]()
        for channel, (form, text) in self._recorded.items():
            name = channel.msgtype.replace("/msg/", "/") if channel.encoding == "ros1" else channel.msgtype
            if (name, form, text) not in schemas:
                schemas[name, form, text] = writer.register_schema(name, form, text.encode())
            about = (channel.topic, channel.encoding, schemas[name, form, text], dict(channel.metadata))
            found[channel.topic] = int(writer.register_channel(*about))
        return found

    def _channel(self, writer: Any, name: str) -> int:
        """Declare a stream's topic."""
        stream, messages = self._streams[name], self._messages[name]
        schema = writer.register_schema(messages.type, "ros2msg", messages.definition.encode())
        about = {"topic": stream.topic, "msgtype": stream.msgtype, "clock": stream.clock, "unit": stream.unit}
        about |= {"names": json.dumps(stream.names)} if stream.names else {}
        said = {key: value for key, value in about.items() if value}
        return int(writer.register_channel(f"/{name}", "cdr", schema, said))

    def _read(self, part: Path) -> Iterator[_Line]:
        with part.open("rb") as file:
            for _, channel, message in self._reader.make_reader(file).iter_messages(log_time_order=False):
                times = (message.log_time, message.publish_time, message.sequence)
                yield _Line(channel.topic, *times, message.data)

    def count(self, path: Path) -> int:
        """Return how many frames a file has, with or without samples."""
        with path.open("rb") as file:
            found = [one for one in self._reader.make_reader(file).iter_metadata() if one.name == _ABOUT]
        return int(found[0].metadata["frames"])

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of every stream in a file."""
        with path.open("rb") as file:
            reader = self._reader.make_reader(file)
            summary = reader.get_summary()
            if any("messages" in one.metadata for one in reader.iter_metadata() if one.name == _ABOUT):
                return {}  # recorded messages, whose own metadata it is
        channels = summary.channels.values() if summary else ()
        return {c.topic[1:]: json.loads(c.metadata["names"]) for c in channels if "names" in c.metadata}


def _is_known(stream: StreamInfo) -> bool:
    """Tell whether a message of a stream was seen: of others nobody knows what they look like."""
    return 0 not in stream.shape and (stream.kind != "points" or stream.dtype.names is not None)
