"""Frames → one MCAP file a recording: what the streams show at each tick, as messages of ROS 2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from consumers.files import provenance, require
from consumers.parts import Parts
from consumers.pictures import check_quality
from consumers.ros2 import Messages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamer.contract import Frame, Recording, StreamInfo

_PICTURES, _COMPRESSIONS = ("raw", "jpeg", "png"), ("zstd", "lz4", "none")
_ABOUT = "rosbag-streamer"  # the metadata record of a file


class _Line(NamedTuple):
    """One message that waits to be written."""

    stream: str
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
    """

    suffix = ".mcap"

    def __init__(self, out: str, *, pictures: str = "raw", quality: int = 90, compression: str = "zstd") -> None:
        """Write into the folder ``out``.

        Args:
            out: The folder.
            pictures: ``raw``, ``jpeg`` or ``png``; depth is raw.
            quality: Of JPEG, 1 to 100.
            compression: Of the file: ``zstd``, ``lz4`` or ``none``.

        Raises:
            ValueError: an option makes no sense.

        """
        super().__init__(out)
        for key, value, known in (("pictures", pictures, _PICTURES), ("compression", compression, _COMPRESSIONS)):
            if value not in known:
                msg = f"{key} is one of {', '.join(known)}, not {value!r}"
                raise ValueError(msg)
        check_quality(quality)
        # here, so that the next process has them loaded when its turn comes
        self._mcap: Any = require("mcap.writer", "mcap")
        self._reader: Any = require("mcap.reader", "mcap")
        self._pictures, self._quality = pictures, quality
        self._compression = compression

    def prepare(self, recording: Recording) -> None:
        """Choose a message for every stream of which a message was seen."""
        shown = {name: stream for name, stream in recording.streams.items() if recording.frames and _is_known(stream)}
        self._messages = {name: Messages(stream, self._pictures, self._quality) for name, stream in shown.items()}
        self._streams = recording.streams
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
                self._lines.append(_Line(name, frame.tick, sample.stamp, frame.number, data))

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
            "provenance": json.dumps(provenance(recording, "mcap", "rosbags"), sort_keys=True),
        }
        self._write(path, (line for part in parts for line in self._read(part)), self._compression, about)

    def _write(self, path: Path, lines: Iterator[_Line], compression: str, about: dict[str, str]) -> None:
        with path.open("wb") as file:
            writer = self._mcap.Writer(file, compression=self._mcap.CompressionType[compression.upper()])
            writer.start(profile="ros2", library=_ABOUT)
            channels = {name: self._channel(writer, name) for name in self._messages}
            for line in lines:
                writer.add_message(channels[line.stream], **{k: v for k, v in line._asdict().items() if k != "stream"})
            writer.add_metadata(_ABOUT, about)
            writer.finish()

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
                yield _Line(channel.topic[1:], *times, message.data)

    def count(self, path: Path) -> int:
        """Return how many frames a file has, with or without samples."""
        with path.open("rb") as file:
            found = [one for one in self._reader.make_reader(file).iter_metadata() if one.name == _ABOUT]
        return int(found[0].metadata["frames"])

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of every stream in a file."""
        with path.open("rb") as file:
            summary = self._reader.make_reader(file).get_summary()
        channels = summary.channels.values() if summary else ()
        return {c.topic[1:]: json.loads(c.metadata["names"]) for c in channels if "names" in c.metadata}


def _is_known(stream: StreamInfo) -> bool:
    """Tell whether a message of a stream was seen: of others nobody knows what they look like."""
    return 0 not in stream.shape and (stream.kind != "points" or stream.dtype.names is not None)
