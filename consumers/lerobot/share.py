"""Frames of one chunk and one episode → its share on the disk: rows, video segments, histograms.

A share is a folder: ``rows.parquet`` (vectors and PNG images, a row a frame), ``<key>.mp4`` for each video and
``histograms.npz`` with the value counts of each picture feature, of a copied video those of some key pictures. It is
written under a temporary name, so that a chunk that comes again replaces itself.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from consumers.copied import Copied, picture_of
from consumers.files import require
from consumers.lerobot.depth import DepthSegment
from consumers.lerobot.features import TASK, no_sample
from consumers.lerobot.stats import histogram_of
from consumers.mp4 import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from numpy.typing import NDArray

    from consumers.lerobot.features import Feature
    from consumers.mp4 import Coding
    from streamer.contract import Frame

_SELDOM = 30  # frames from one look at a copied video to the next
_MOST_WAITING = 16 * 10**6  # bytes of PNG images that wait for a row group of their own


class Share:
    """A share under way."""

    def __init__(
        self,
        folder: Path,
        features: Sequence[Feature],
        rate: Fraction,
        coding: Coding,
        task: str | None = None,
        before: Path | None = None,
    ) -> None:
        """Begin in an empty folder; ``task`` is the text stream that says what the robot does in each frame.

        ``before`` is the folder of the episode's first share, where this is another.
        """
        folder.mkdir(parents=True)
        self._folder = folder
        self._features = features
        encoded = [feature for feature in features if feature.dtype == "video" and feature.copied is None]
        coding = coding.beside(len(encoded))
        self._segments = {f.key: _segment(folder / f"{f.key}.mp4", f, rate, coding) for f in encoded}
        self._copies = {
            f.key: Copied(folder / f"{f.key}.mp4", f.copied, rate, before=before and before / f"{f.key}.mp4")
            for f in features
            if f.copied is not None
        }
        self._looked: dict[str, int] = {}  # at which frame a copied video was decoded last
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="statistics")  # beside the copying
        self._looks: list[tuple[str, Future[NDArray[np.int64]]]] = []
        self._rows: dict[str, list[Any]] = {f.key: [] for f in features if f.dtype != "video"}
        self._task = task
        if task is not None:
            self._rows[TASK] = []
        self._schema = row_schema(features, task=task is not None)
        self._file: Any = require("pyarrow.parquet", "lerobot").ParquetWriter(folder / "rows.parquet", self._schema)
        self._histograms: dict[str, NDArray[np.int64]] = {}
        self._waiting = 0
        self._first = 0  # of the frames that wait
        self.frames = 0

    def add(self, frame: Frame) -> None:
        """Take in a frame; a video frame is on its way to the encoder when this returns."""
        values = [(feature, feature.value(frame)) for feature in self._features]  # all, before any is taken in
        if self._task is not None:
            if frame[self._task] is None:
                raise no_sample(self._task, "the task", f"frame {frame.number} has no sample")
            self._rows[TASK].append(frame[self._task])
        for feature, value in values:
            if feature.is_vector:
                self._rows[feature.key].append(value[0] if feature.shape == (1,) else value)
                continue
            if feature.copied is not None:
                self._copy(feature, frame, value)
                continue
            self._count(feature.key, histogram_of(value))
            if feature.dtype == "video":
                self._segments[feature.key].add(value)
            else:
                png = encode_png(value, feature.shape[2])
                self._rows[feature.key].append({"bytes": png, "path": f"frame-{self.frames:06d}.png"})
                self._waiting += len(png)
        self.frames += 1
        if self._waiting > _MOST_WAITING:
            self._flush()

    def _copy(self, feature: Feature, frame: Frame, packet: NDArray[np.uint8]) -> None:
        """Take in a packet; for the statistics, a key picture is decoded now and then."""
        sample = frame.samples[feature.streams[0]]
        key = sample is not None and sample.key
        self._copies[feature.key].add(packet, key=key)
        if key and feature.copied and self.frames >= self._looked.get(feature.key, -_SELDOM) + _SELDOM:
            self._looked[feature.key] = self.frames
            self._looks.append((feature.key, self._looking.submit(_look, feature.copied.codec, packet.tobytes())))

    def _count(self, key: str, counts: NDArray[np.int64]) -> None:
        self._histograms[key] = self._histograms.get(key, 0) + counts

    def _flush(self) -> None:
        pa = require("pyarrow", "lerobot")
        columns = {"frame": np.arange(self._first, self.frames)} | self._rows
        self._file.write_table(pa.table(columns, schema=self._schema))
        self._rows = {key: [] for key in self._rows}
        self._waiting, self._first = 0, self.frames

    def finish(self) -> None:
        """Write what is left and close the files; all encoders finish at once."""
        for copy in self._copies.values():
            copy.end()
        for segment in self._segments.values():
            segment.end()
        self._flush()
        self._file.close()
        for key, look in self._looks:
            self._count(key, look.result())
        self._looking.shutdown()
        np.savez(self._folder / "histograms.npz", **self._histograms)  # type: ignore[arg-type] # its stub takes any for allow_pickle
        for segment in self._segments.values():
            segment.wait()


def _look(codec: str, packet: bytes) -> NDArray[np.int64]:
    return histogram_of(picture_of(codec, packet))


def _segment(path: Path, feature: Feature, rate: Fraction, coding: Coding) -> Segment:
    unit = feature.info.get("depth_unit")
    return DepthSegment(path, rate, coding, unit) if unit else Segment(path, rate, coding)


def row_schema(features: Sequence[Feature], *, task: bool) -> Any:
    """Return the Arrow schema of a share's rows: ``frame``, then every feature that is no video, then ``task``."""
    pa = require("pyarrow", "lerobot")
    columns = [pa.field(f.key, arrow_type(f)) for f in features if f.dtype != "video"]
    columns += [pa.field(TASK, pa.string())] if task else []
    return pa.schema([pa.field("frame", pa.int64()), *columns])


def arrow_type(feature: Feature) -> Any:
    """Return a feature's Arrow type, as the ``datasets`` library has it for LeRobot's features."""
    pa = require("pyarrow", "lerobot")
    if feature.dtype == "image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    number = pa.type_for_alias(feature.dtype)
    return number if feature.shape == (1,) else pa.list_(pa.field("element", number), feature.shape[0])


def encode_png(picture: NDArray[Any], channels: int) -> bytes:
    """Encode a picture without loss: uint8 as RGB (grey is repeated), uint16 as 16-bit grey.

    Raises:
        ValueError: it cannot be encoded.

    """
    if channels == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.ndim == 3 else cv2.COLOR_GRAY2BGR)
    done, png = cv2.imencode(".png", picture)
    if not done:
        msg = f"a picture of {picture.shape} {picture.dtype} does not encode as PNG"
        raise ValueError(msg)
    return png.tobytes()
