"""Frames → picture files with a table of their stamps; also as the RGB-D benchmark of TUM has them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from consumers.folders import INDEX, Folder
from consumers.keys import is_pose
from consumers.pictures import check_quality, jpeg, png, tiff
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.contract import Recording, Sample, StreamInfo

_LAYOUTS, _FORMATS = ("folders", "tum"), ("png", "jpeg")
_PER_METRE = 5000  # of TUM's depth: a pixel's value is its distance in metres times this
_PER_UNIT = {"u": _PER_METRE / 1000, "f": _PER_METRE}  # REP 118: whole numbers are millimetres, others metres
_MOST = np.iinfo(np.uint16).max


class Images(Folder):
    """Writes ``<out>/<recording>.images/<stream>/<frame>.png`` (or ``.jpg``) for every image and depth stream.

    ``index.csv`` has a row for each frame: stamps, offsets and flags of all streams, the values of all vectors, and in
    the column ``<stream>`` the picture's path, empty where the frame has no sample. Colours are those of the stream,
    depth is a PNG of 16 bit in its own unit, or a TIFF of float32 where it is in metres; neither loses anything.

    In the layout ``tum`` there is one camera, one depth stream, or both: ``rgb/<stamp>.png`` and ``depth/<stamp>.png``,
    listed in ``rgb.txt`` and ``depth.txt``. Depth is in units of 1/5000 m; what is farther than 13.1 m is 0, as what
    was not measured. A vector of seven numbers that is a pose becomes ``groundtruth.txt``, of several
    ``<stream>.txt``. Names have all nine decimals; a picture that is shown in several frames is there once.
    See https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats.
    """

    suffix = ".images"
    kinds = ("image", "depth")
    what = "pictures"

    def __init__(
        self,
        out: str,
        streams: list[str] | None = None,
        *,
        layout: str = "folders",
        format: str = "png",  # noqa: A002 - it is the name of an option
        quality: int = 95,
    ) -> None:
        """Write into the folder ``out`` the pictures of these ``streams``, or of all.

        Args:
            out: The folder.
            streams: Image and depth streams; others are columns of the table.
            layout: ``folders`` or ``tum``.
            format: ``png`` or ``jpeg``, of what is no depth.
            quality: Of JPEG, 1 to 100.

        Raises:
            ValueError: an option makes no sense.

        """
        super().__init__(out, streams)
        for key, value, known in (("layout", layout, _LAYOUTS), ("format", format, _FORMATS)):
            if value not in known:
                msg = f"{key} is one of {', '.join(known)}, not {value!r}"
                raise ValueError(msg)
        check_quality(quality)
        self._tum = layout == "tum"
        self._jpeg = format == "jpeg"
        self._quality = quality

    def check_stream(self, stream: StreamInfo) -> None:
        """Refuse what no format holds without a loss."""
        if stream.dtype == np.uint8 or (stream.dtype == np.uint16 and not (self._jpeg and stream.kind == "image")):
            return
        if stream.kind == "depth" and stream.dtype == np.float32:
            return
        what = "JPEG has 8 bit" if stream.dtype == np.uint16 else "pictures are uint8 or uint16, depth also float32"
        msg = f"its pictures are {stream.dtype}, and {what}"
        raise ConfigError(msg, key=f"streams.{stream.name}")

    def check_all(self, recording: Recording, streams: dict[str, StreamInfo]) -> None:
        """Refuse a second camera where there can be one."""
        kinds = [stream.kind for stream in streams.values()]
        twice = next((kind for kind in kinds if self._tum and kinds.count(kind) > 1), None)
        if twice:
            names = ", ".join(name for name, stream in streams.items() if stream.kind == twice)
            msg = f"streams: the layout tum has one {twice} stream, and these are {names}: choose one"
            raise ConfigError(msg)
        poses = [name for name, stream in recording.streams.items() if is_pose(stream)]
        self._poses = {name: "groundtruth" if len(poses) == 1 else name for name in poses}

    # ---- files

    def name_of(self, stream: StreamInfo, number: int, sample: Sample) -> str:
        """Name a picture by its frame, or its stamp."""
        depth = stream.kind == "depth"
        if self._tum:
            return f"{'depth' if depth else 'rgb'}/{_seconds(sample.stamp)}.{self._ending(stream)}"
        return f"{stream.name}/{number:06d}.{self._ending(stream)}"

    def _ending(self, stream: StreamInfo) -> str:
        if stream.kind == "image":
            return "jpg" if self._jpeg else "png"
        return "tiff" if stream.dtype == np.float32 and not self._tum else "png"

    def write(self, path: Path, stream: StreamInfo, sample: Sample) -> None:
        """Encode a picture."""
        picture = sample.value
        if path.suffix == ".jpg":
            content = jpeg(picture, self._quality)
        elif path.suffix == ".tiff":
            content = tiff(picture)
        else:
            content = png(_tum_depth(picture) if stream.kind == "depth" and self._tum else picture)
        path.write_bytes(content)

    def add_lists(self, folder: Path) -> None:
        """List pictures and poses by their stamps, as TUM's tools read them."""
        if not self._tum:
            return
        lists: dict[str, dict[str, str]] = {}  # their lines, by what stands first in them
        with (folder / INDEX).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for target, stamp, rest in (*self._pictures_of(row), *self._poses_of(row)):
                    lists.setdefault(target, {})[stamp] = rest
        for name, lines in lists.items():
            what = "filename" if name in ("rgb", "depth") else "tx ty tz qx qy qz qw"
            text = "".join(f"{stamp} {rest}\n" for stamp, rest in lines.items())
            (folder / f"{name}.txt").write_text(f"# timestamp {what}\n{text}", encoding="utf-8")

    def _pictures_of(self, row: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        for path in (row[name] for name in self._streams if row[name]):
            kind, _, picture = path.partition("/")
            yield kind, picture.rpartition(".")[0], path

    def _poses_of(self, row: dict[str, str]) -> Iterator[tuple[str, str, str]]:
        for name, target in self._poses.items():
            if instant := row[f"{name}.stamp"]:
                stamp = int(np.datetime64(instant, "ns").astype(np.int64))
                columns = [c.name for c in self._rows.columns if c.kind == "number" and c.stream == name]
                yield target, _seconds(stamp), " ".join(row[column] for column in columns)


def _seconds(stamp: int) -> str:
    """Return an instant as TUM names it: seconds, with all decimals that there are."""
    return f"{stamp // 10**9}.{stamp % 10**9:09d}"


def _tum_depth(depth: NDArray[np.generic]) -> NDArray[np.uint16]:
    values = depth.astype(np.float64) * _PER_UNIT[depth.dtype.kind]
    fits = np.isfinite(values) & (values >= 0) & (values <= _MOST)
    return np.where(fits, values, 0).round().astype(np.uint16)
