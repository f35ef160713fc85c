"""Frames → one Zarr v3 group a recording: an array for each stream, its first axis the frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import (
    check_parts,
    list_recordings,
    make_folder,
    provenance,
    remove_folder,
    require,
    working_folder,
    write_json,
)
from streamer.contract import Consumer
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from streamer.contract import Chunk, Frame, Part, Recording, StreamInfo

_ABOUT: dict[str, tuple[str, int, str]] = {  # dtype, value without a sample, unit
    "stamp": ("int64", 0, "ns since the epoch"),
    "offset": ("int64", 0, "ns, stamp - tick"),
    "flags": ("uint8", 0, "bits: 1 held, 2 interpolated, 4 gap, 128 no sample"),
}
_NONE = 128


class Zarr(Consumer):
    """Writes ``<out>/<recording>.zarr``, a group of format 3.

    Arrays are ``tick`` (int64, ns), ``tick_number`` and, in a group for each stream, ``value`` (frames, …) in the
    stream's own dtype, ``stamp``, ``offset`` and ``flags``. Without a sample, the value is 0 and the flag says so. A
    chunk of frames is a Zarr chunk, so a repeated one replaces itself. The group has its name when it is whole; until
    then it is ``.<recording>.zarr``. Its attributes hold the provenance, those of a stream's group topic, type, kind
    and clock, those of an array its unit. Of many recordings in one run, ``out`` itself becomes a group of theirs:
    its attribute ``recordings`` has the order, with name, group and frames of each.
    """

    many_recordings = True

    def __init__(self, out: str, streams: list[str] | None = None) -> None:
        """Write into the folder ``out`` these ``streams``, or all."""
        self._zarr: Any = require("zarr", "zarr")  # here, so that the next process has it loaded when its turn comes
        self._out = Path(out)
        self._chosen = streams
        self._arrays: dict[str, Any] = {}
        self._rows: dict[str, list[NDArray[Any]]] = {}

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Make the arrays, or go on with them."""
        make_folder(self._out)
        self._draft = self._out / f".{recording.name}.zarr"
        self._final = self._out / f"{recording.name}.zarr"
        self._streams = self._choose(recording)
        self._done = state["frames"] if state else 0
        with self._zarr.config.set({"array.write_empty_chunks": True}):  # as the files of all chunks are looked for
            if state is None:
                remove_folder(self._draft)
                self._make(recording)
            elif check_parts(working_folder(self._draft, anew=False), ["zarr.json"], self._final):
                for left in self._draft.rglob("*.partial"):  # what Zarr was writing when its process was killed
                    left.unlink()
                group = self._zarr.open_group(self._draft, mode="r+")
                self._arrays = {name: group[name] for name in self._layout()}
                self._check()
        self._clear()

    def _check(self) -> None:
        """Make sure that every chunk of the arrays is there which was committed: Zarr takes a missing one for zeros."""
        for name, array in self._arrays.items():
            blocks = -(-self._done // array.chunks[0])
            parts = [f"{name}/c/{block}{'/0' * (array.ndim - 1)}" for block in range(blocks)]
            check_parts(self._draft, parts, self._final)

    def _choose(self, recording: Recording) -> dict[str, StreamInfo]:
        chosen = recording.streams if self._chosen is None else self._chosen
        unknown = [name for name in chosen if name not in recording.streams]
        if unknown:
            msg = f"streams: there is no {unknown[0]!r}; this consumer is shown: {', '.join(recording.streams)}"
            raise ConfigError(msg)
        streams = {name: recording.streams[name] for name in chosen}
        for name, stream in streams.items():
            if stream.variable or stream.dtype.names:
                msg = f"{stream.kind} of varying length do not fit an array: leave it out with 'streams'"
                raise ConfigError(msg, key=f"streams.{name}")
        return streams

    def _layout(self) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], str]]:
        """Return dtype, shape behind the first axis, and unit of every array."""
        layout: dict[str, tuple[np.dtype[Any], tuple[int, ...], str]] = {
            "tick": (np.dtype(np.int64), (), "ns since the epoch"),
            "tick_number": (np.dtype(np.int64), (), "ticks from the timeline's first"),
        }
        for name, stream in self._streams.items():
            layout[f"{name}/value"] = (stream.dtype, stream.shape, "as in the messages, after the configured scale")
            layout |= {f"{name}/{key}": (np.dtype(kind), (), unit) for key, (kind, _, unit) in _ABOUT.items()}
        return layout

    def _make(self, recording: Recording) -> None:
        group = self._zarr.open_group(self._draft, mode="w", zarr_format=3)
        group.attrs["provenance"] = provenance(recording, "zarr")
        for name, stream in self._streams.items():
            about = {"topic": stream.topic, "msgtype": stream.msgtype, "kind": stream.kind, "clock": stream.clock}
            group.create_group(name).attrs.update(about)
        rows = max(1, min(recording.chunk_size, recording.frames))
        for name, (dtype, shape, unit) in self._layout().items():
            array = group.create_array(
                name, shape=(recording.frames, *shape), chunks=(rows, *(max(1, n) for n in shape)), dtype=dtype
            )
            array.attrs["unit"] = unit
            self._arrays[name] = array

    def _clear(self) -> None:
        """Begin a chunk."""
        self._rows = {name: [] for name in self._arrays}

    def on_frame(self, frame: Frame) -> None:
        """Copy what the frame has."""
        self._rows["tick"].append(np.array(frame.tick))
        self._rows["tick_number"].append(np.array(frame.tick_number))
        for name, stream in self._streams.items():
            sample = frame.samples[name]
            flags = _NONE if sample is None else sample.held | sample.interpolated << 1 | sample.gap << 2
            value = np.zeros(stream.shape, stream.dtype) if sample is None else sample.value.copy()
            self._rows[f"{name}/value"].append(value)
            self._rows[f"{name}/stamp"].append(np.array(sample.stamp if sample else 0))
            self._rows[f"{name}/offset"].append(np.array(sample.offset if sample else 0))
            self._rows[f"{name}/flags"].append(np.array(flags))

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's rows to their place."""
        end = self._done + chunk.frames
        for name, rows in self._rows.items():
            if rows:
                with self._zarr.config.set(
                    {"array.write_empty_chunks": True}
                ):  # zeros, too: their files are looked for
                    self._arrays[name][self._done : end] = np.stack(rows)
        self._done = end
        self._clear()
        return {"frames": end}

    def close(self, recording: Recording) -> None:
        """Cut the arrays to the frames that came, and give the group its name."""
        del recording
        if not check_parts(self._draft, ["zarr.json"], self._final):  # an earlier process came as far as this
            return
        self._check()
        for array in self._arrays.values():
            array.resize((self._done, *array.shape[1:]))
        remove_folder(self._final)
        self._draft.rename(self._final)

    def merge(self, parts: Sequence[Part]) -> None:
        """Make the folder a group, which lists the recordings in this order."""
        path = self._out / "zarr.json"
        there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        attributes = there.get("attributes", {})
        groups = [(part.name, self._out / f"{part.name}.zarr") for part in parts]
        ours = [
            {"name": name, "group": group.name, "frames": self._zarr.open_group(group, mode="r")["tick"].shape[0]}
            for name, group in groups
        ]
        attributes["recordings"] = list_recordings(attributes.get("recordings", []), ours)
        write_json(path, there | {"attributes": attributes, "node_type": "group", "zarr_format": 3})
