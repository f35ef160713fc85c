"""Frames → a file for each cloud of points, with a table of their stamps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.folders import Folder
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from streamer.contract import Sample, StreamInfo

_FORMATS = ("npz", "ply")
_PLY = {  # the format's own types: http://paulbourke.net/dataformats/ply/
    "i1": "char",
    "u1": "uchar",
    "i2": "short",
    "u2": "ushort",
    "i4": "int",
    "u4": "uint",
    "f4": "float",
    "f8": "double",
}
_PACKED = ("rgb", "rgba")  # as PCL packs colours: four bytes, blue first
_COLORS = ("blue", "green", "red", "alpha")


class Points(Folder):
    """Writes ``<out>/<recording>.points/<stream>/<frame>.npz`` (or ``.ply``) for every stream of points.

    An NPZ file has an array for each field (``x``, ``y``, ``z``, ``intensity``, …) in the field's own type. A PLY file
    is binary, with a property for each field of a vertex; colours that are packed into ``rgb`` are ``red``, ``green``
    and ``blue`` there. ``index.csv`` has a row for each frame: stamps, offsets and flags of all streams, the values of
    all vectors, and in the column ``<stream>`` the file's path, empty where the frame has no sample.
    """

    suffix = ".points"
    kinds = ("points",)
    what = "points"

    def __init__(
        self,
        out: str,
        streams: list[str] | None = None,
        *,
        format: str = "npz",  # noqa: A002 - it is the name of an option
    ) -> None:
        """Write into the folder ``out`` the points of these ``streams``, or of all; ``format`` is npz or ply.

        Raises:
            ValueError: there is no such format.

        """
        super().__init__(out, streams)
        if format not in _FORMATS:
            msg = f"format is one of {', '.join(_FORMATS)}, not {format!r}"
            raise ValueError(msg)
        self._format = format

    def check_stream(self, stream: StreamInfo) -> None:
        """Refuse numbers that PLY does not have."""
        unknown = [name for name in stream.dtype.names or () if stream.dtype[name].base.str[1:] not in _PLY]
        if self._format == "ply" and unknown:
            msg = f"PLY has no {stream.dtype[unknown[0]].base}, which {unknown[0]!r} is: use 'format: npz'"
            raise ConfigError(msg, key=f"streams.{stream.name}")

    def name_of(self, stream: StreamInfo, number: int, sample: Sample) -> str:
        """Name a cloud by its frame."""
        del sample
        return f"{stream.name}/{number:06d}.{self._format}"

    def write(self, path: Path, stream: StreamInfo, sample: Sample) -> None:
        """Write a cloud."""
        fields: dict[str, NDArray[Any]] = {name: sample.value[name] for name in stream.dtype.names or ()}
        if self._format == "npz":
            np.savez(path, **fields)  # type: ignore[arg-type] # its stub takes any for allow_pickle
        else:
            path.write_bytes(ply(fields, len(sample.value)))


def ply(fields: dict[str, NDArray[Any]], count: int) -> bytes:
    """Return points as the content of a binary PLY file: ``fields`` (count, …) by their names."""
    flat = [one for name, values in fields.items() for one in _properties(name, values)]
    vertices = np.empty(count, [(name, values.dtype.newbyteorder("<")) for name, values in flat])
    for name, values in flat:
        vertices[name] = values
    properties = [f"property {_PLY[values.dtype.str[1:]]} {name}" for name, values in flat]
    heading = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *properties, "end_header", ""]
    return "\n".join(heading).encode() + vertices.tobytes()


def _properties(name: str, values: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Divide a field into properties: colours that are packed, or an array of several numbers."""
    if name in _PACKED and values.ndim == 1 and values.dtype.itemsize == len(_COLORS):
        channels = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).view(np.uint8).reshape(-1, 4)
        for place in (2, 1, 0, *((3,) if name == "rgba" else ())):
            yield _COLORS[place], channels[:, place]
        return
    if values.ndim == 1:
        yield name, values
        return
    for n, column in enumerate(values.reshape(len(values), -1).T):
        yield f"{name}_{n}", column
