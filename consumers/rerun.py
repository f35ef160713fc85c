"""Frames → one Rerun recording (.rrd) a recording, with its views laid out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from consumers.files import provenance, require, write_json
from consumers.keys import is_pose
from consumers.parts import Parts
from consumers.pictures import check_quality, jpeg
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamer.contract import Frame, Recording, Sample, StreamInfo

_PICTURES = ("jpeg", "raw")
_MILLIMETRES, _METRES = 1000.0, 1.0  # in a metre, of depth in whole numbers and in others (REP 118)
_PACKED = ("rgb", "rgba")


class Rerun(Parts):
    """Writes ``<out>/<recording>.rrd`` and, for where it comes from, ``<out>/<recording>.rrd.json``.

    Each stream is an entity, ``/<stream>``: a camera's ``Image`` or ``EncodedImage``, a ``DepthImage``, ``Points3D``
    (coloured where the points are), the ``Scalars`` of a vector with its elements' names, of a pose also a
    ``Transform3D``, a text's ``TextLog``. Its times are ``tick``, ``frame`` and the sample's own ``stamp``. The
    blueprint has a view for each camera, one in space for all points and poses, and one for each vector's curves.
    """

    suffix = ".rrd"

    def __init__(self, out: str, *, pictures: str = "jpeg", quality: int = 90) -> None:
        """Write into the folder ``out``; ``pictures`` is ``jpeg``, of a ``quality`` from 1 to 100, or ``raw``.

        Raises:
            ValueError: an option makes no sense.

        """
        super().__init__(out)
        if pictures not in _PICTURES:
            msg = f"pictures is one of {', '.join(_PICTURES)}, not {pictures!r}"
            raise ValueError(msg)
        check_quality(quality)
        # here, so that the next process has them loaded when its turn comes
        self._rr: Any = require("rerun", "rerun", "rerun-sdk")
        self._views: Any = require("rerun.blueprint", "rerun", "rerun-sdk")
        self._jpeg, self._quality = pictures == "jpeg", quality

    def prepare(self, recording: Recording) -> None:
        """Make sure that points are in space."""
        self._streams = dict(recording.streams)
        for name, stream in self._streams.items():
            if stream.kind == "points" and stream.dtype.names and not {"x", "y", "z"} <= {*stream.dtype.names}:
                msg = f"its points have no x, y and z, but {', '.join(stream.dtype.names)}"
                raise ConfigError(msg, key=f"streams.{name}", hint="leave it out with 'streams' of this consumer")
        self._clear()

    def _clear(self) -> None:
        self._packer = msgpack.Packer()
        self._rows: list[bytes] = []

    def on_frame(self, frame: Frame) -> None:
        """Copy the samples."""
        values = {
            name: [sample.stamp, self._kept(self._streams[name], sample)]
            for name, sample in frame.samples.items()
            if sample is not None
        }
        self._rows.append(self._packer.pack([frame.tick, frame.number, values]))

    def _kept(self, stream: StreamInfo, sample: Sample) -> str | bytes:
        if stream.kind == "text":
            return str(sample.value)
        if self._is_jpeg(stream):
            return jpeg(sample.value, self._quality)
        return np.ascontiguousarray(sample.value).tobytes()

    def _is_jpeg(self, stream: StreamInfo) -> bool:
        return self._jpeg and stream.kind == "image" and stream.dtype == np.uint8

    def write_part(self, path: Path) -> int:
        """Write the chunk's samples as they are."""
        with path.open("wb") as file:
            file.writelines(self._rows)
        written = len(self._rows)
        self._clear()
        return written

    # ---- Rerun's file

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Log all samples, in their order."""
        origin = provenance(recording, "rerun-sdk")
        log = self._rr.RecordingStream("rosbag-streamer", recording_id=recording.name)
        log.save(str(path), default_blueprint=self._blueprint())
        log.send_recording_name(recording.name)
        for name, stream in self._streams.items():
            if stream.kind == "vector" and stream.names:
                log.log(name, self._rr.SeriesLines(names=list(stream.names)), static=True)
        frames = 0
        for tick, number, values in self._read(parts):
            log.set_time("tick", timestamp=np.datetime64(tick, "ns"))
            log.set_time("frame", sequence=number)
            for name, (stamp, content) in values.items():
                log.set_time("stamp", timestamp=np.datetime64(stamp, "ns"))
                for shown in self._shown(self._streams[name], content):
                    log.log(name, shown)
            frames += 1
        log.flush()
        log.disconnect()
        write_json(self._about(path), {"frames": frames, "provenance": origin})

    def _read(self, parts: Sequence[Path]) -> Iterator[Any]:
        for part in parts:
            with part.open("rb") as file:
                yield from msgpack.Unpacker(file, max_buffer_size=0)

    def _shown(self, stream: StreamInfo, content: Any) -> Iterator[Any]:
        """Return what Rerun calls a sample."""
        rr = self._rr
        if stream.kind == "text":
            yield rr.TextLog(content)
            return
        if self._is_jpeg(stream):
            yield rr.EncodedImage(contents=content, media_type="image/jpeg")
            return
        shape = (-1,) if stream.variable or stream.kind in ("points", "vector") else stream.shape
        value = np.frombuffer(content, stream.dtype).reshape(shape)
        if stream.kind == "image":
            yield rr.Image(value)
        elif stream.kind == "depth":
            yield rr.DepthImage(value, meter=_METRES if stream.dtype.kind == "f" else _MILLIMETRES)
        elif stream.kind == "points":
            yield rr.Points3D(np.stack([value[axis] for axis in "xyz"], axis=1), colors=_colors(value))
        else:
            yield rr.Scalars(value.astype(np.float64))
            if is_pose(stream):
                yield rr.Transform3D(translation=value[:3], quaternion=rr.Quaternion(xyzw=value[3:]))

    def _blueprint(self) -> Any:
        """Lay out a view for each camera and vector, and one in space."""
        views, streams = self._views, self._streams
        found = [views.Spatial2DView(origin=n, name=n) for n, s in streams.items() if s.kind in ("image", "depth")]
        placed = [f"/{n}/**" for n, s in streams.items() if s.kind == "points" or is_pose(s)]
        if placed:
            found.append(views.Spatial3DView(origin="/", contents=placed, name="space"))
        found += [views.TimeSeriesView(origin=n, name=n) for n, s in streams.items() if s.kind == "vector"]
        texts = [f"/{n}/**" for n, s in streams.items() if s.kind == "text"]
        if texts:
            found.append(views.TextLogView(origin="/", contents=texts, name="texts"))
        return views.Blueprint(views.Grid(*found))

    # ---- what is known of a file

    def _about(self, path: Path) -> Path:
        return self._out / f"{path.name}.json"

    def _known(self, path: Path) -> dict[str, Any]:
        about = self._about(path)
        return dict(json.loads(about.read_text(encoding="utf-8"))) if about.exists() else {}

    def count(self, path: Path) -> int:
        """Return how many frames were logged to a file."""
        return int(self._known(path)["frames"])

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements of a file's vectors."""
        streams = self._known(path).get("provenance", {}).get("plan", {}).get("streams", {})
        return {name: stream["names"] for name, stream in streams.items() if stream["names"]}


def _colors(points: Any) -> Any:
    """Return the colours (n, 3) of points whose red, green and blue are packed, as PCL does; None of others."""
    name = next((name for name in _PACKED if name in (points.dtype.names or ())), None)
    if name is None or points.dtype[name].itemsize != 4:
        return None
    return np.ascontiguousarray(points[name]).view(np.uint8).reshape(-1, 4)[:, 2::-1]
