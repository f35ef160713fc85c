"""Frames → one Zarr group a recording: arrays for each stream or key, their first axis the frames."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.arrays import ByStream, ReplayBuffer
from consumers.files import (
    about_episode,
    check_names,
    check_parts,
    check_same_names,
    list_recordings,
    make_folder,
    provenance,
    remove_folder,
    require,
    working_folder,
    write_json,
)
from consumers.keys import check_samples, make_keys
from streamer.contract import Consumer
from streamer.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from consumers.arrays import Array, Layout
    from consumers.keys import Key
    from streamer.contract import Chunk, Frame, Outlook, Part, Recording

_LAYOUTS = ("streams", "replay_buffer")
_MERGED = "replay_buffer"
_ENDS = "meta/episode_ends"
_ROWS = 64  # frames that are copied as one when buffers are put together


class Zarr(Consumer):
    """Writes ``<out>/<recording>.zarr``.

    In the layout ``streams`` it is a group of format 3 with ``tick`` (int64), ``tick_number`` and, in a group for each
    stream, ``value`` (frames, …) in the stream's own dtype (of points, ``value`` is a group with an array for each
    field), ``stamp``, ``offset`` (ns), ``flags``, with ``align: mean`` ``count``, and ``valid``, the mask of frames
    that have a sample. Without one, the value is NaN or 0 and the stamp no instant (the least int64). Texts are bytes
    in UTF-8. Where lengths vary, ``value`` is filled up likewise and ``length`` says how many rows of it are meant.
    Dimensions have names and times the units of the CF conventions: ``xarray.open_datatree`` opens it, with ticks as
    the coordinate. The metadata of all arrays stand together in the group's own (consolidated). A stream's group has
    topic, type, kind, clock, names and unit as attributes.

    In the layout ``replay_buffer`` (format 2) it has ``data/<key>`` and ``meta/episode_ends``, as Diffusion Policy
    reads it. Of many recordings in one run, ``<out>/replay_buffer.zarr`` has the episodes of all.

    A chunk of frames is a Zarr chunk, so a repeated one replaces itself. The group has its name when it is whole; until
    then it is ``.<recording>.zarr``. Its attributes hold the provenance. Of many recordings in one run, in the layout
    ``streams``, ``out`` becomes a group of theirs: its attribute ``recordings`` has name, group and frames of each; of
    an episode also its number, task, label and outer ticks (ns). So has that of a replay buffer.
    """

    many_recordings = True

    def __init__(
        self,
        out: str,
        streams: list[str] | None = None,
        *,
        layout: str = "streams",
        features: dict[str, str | list[str]] | None = None,
    ) -> None:
        """Write into the folder ``out`` these ``streams``, or all.

        Args:
            out: The folder.
            streams: Those that are written, in the layout ``streams``.
            layout: ``streams`` or ``replay_buffer``.
            features: Keys of a replay buffer, each with its stream, or a list of vector streams that are put together;
                left out, each stream is a key.

        Raises:
            ValueError: an option makes no sense, or none in this layout.

        """
        if layout not in _LAYOUTS:
            msg = f"layout is one of {', '.join(_LAYOUTS)}, not {layout!r}"
            raise ValueError(msg)
        if (features if layout == "streams" else streams) is not None:
            msg = f"the layout {layout} takes {'streams' if layout == 'streams' else 'features'}, and not the other"
            raise ValueError(msg)
        if any("/" in key or not key for key in features or ()):
            msg = f"features: a key has no '/': {', '.join(map(repr, features or ()))}"
            raise ValueError(msg)
        self._zarr: Any = require("zarr", "zarr")  # here, so that the next process has it loaded when its turn comes
        self._out = Path(out)
        self._chosen = streams
        self._features = features
        self._by_stream = layout == "streams"
        self._arrays: dict[str, Any] = {}
        self._rows: dict[str, list[NDArray[Any]]] = {}

    def check(self, outlook: Outlook) -> None:
        """Hold the chosen streams, or keys, against those that there are, and elements against other recordings."""
        self._choose(outlook.recording)
        self._check_names(outlook.recording)
        if not self._by_stream:
            check_samples(self._keys(outlook.recording), outlook)

    def open(self, recording: Recording, state: dict[str, Any] | None) -> None:
        """Make the arrays, or go on with them."""
        layout = self._choose(recording)
        make_folder(self._out)
        self._check_names(recording)
        self._draft = self._out / f".{recording.name}.zarr"
        self._final = self._out / f"{recording.name}.zarr"
        self._layout = layout
        self._arrays = {}
        self._done = state["frames"] if state else 0
        with self._zarr.config.set({"array.write_empty_chunks": True}):  # as the files of all chunks are looked for
            if state is None:
                remove_folder(self._draft)
                self._make(recording)
            elif check_parts(working_folder(self._draft, anew=False), [_root(self._layout)], self._final):
                for left in self._draft.rglob("*.partial"):  # what Zarr was writing when its process was killed
                    left.unlink()
                group = self._open(self._draft, "r+")
                self._arrays = {name: group[name] for name in self._layout.arrays()}
                self._check()
        self._clear()

    def _open(self, path: Path, mode: str) -> Any:
        """Open a group by the metadata of each array, which may have changed since they were collected."""
        return self._zarr.open_group(path, mode=mode, use_consolidated=False)

    def _check(self) -> None:
        """Make sure that every chunk of the arrays is there which was committed: Zarr takes a missing one for zeros."""
        for name, array in self._arrays.items():
            blocks = -(-self._done // array.chunks[0])
            before, between = ("c/", "/") if self._layout.zarr_format == 3 else ("", ".")
            rest = f"{between}0" * (array.ndim - 1)
            check_parts(self._draft, [f"{name}/{before}{block}{rest}" for block in range(blocks)], self._final)

    def _check_names(self, recording: Recording) -> None:
        """Make sure that the elements are those of the other recordings in the folder."""
        for path in sorted(self._out.glob("*.zarr")):
            if recording.name not in (path.stem, path.stem.removeprefix(".")) and path.stem != _MERGED:
                self._check_against(recording, path)
                return  # which agree with each other

    def _check_against(self, recording: Recording, path: Path) -> None:
        ours = {} if self._by_stream else {key.key: key.names for key in self._keys(recording)}
        for name, names in _names_in(path).items():
            if self._by_stream and name in recording.streams:
                check_names(recording.streams[name], names, str(path))
            elif ours.get(name):
                check_same_names(recording.name, name, ours[name], names, path.stem.removeprefix("."))

    def _choose(self, recording: Recording) -> Layout:
        if not self._by_stream:
            return ReplayBuffer(self._keys(recording))
        chosen = recording.streams if self._chosen is None else self._chosen
        unknown = [name for name in chosen if name not in recording.streams]
        if unknown:
            msg = f"streams: there is no {unknown[0]!r}; this consumer is shown: {', '.join(recording.streams)}"
            raise ConfigError(msg)
        return ByStream({name: recording.streams[name] for name in chosen})

    def _keys(self, recording: Recording) -> list[Key]:
        return make_keys(self._features or {name: name for name in recording.streams}, recording.streams)

    def _make(self, recording: Recording) -> None:
        group = self._zarr.open_group(self._draft, mode="w", zarr_format=self._layout.zarr_format)
        group.attrs["provenance"] = provenance(recording, "zarr")
        for name, about in self._layout.groups().items():
            group.create_group(name).attrs.update(about)
        rows = max(1, min(recording.chunk_size, recording.frames))
        for name, array in self._layout.arrays().items():
            self._arrays[name] = self._create(group, name, array, recording.frames, rows)

    def _create(self, group: Any, name: str, array: Array, frames: int, rows: int) -> Any:
        made = group.create_array(
            name,
            shape=(frames, *array.shape),
            chunks=(rows, *(max(1, n) for n in array.shape)),
            dtype=array.dtype,
            fill_value=array.fill,
            dimension_names=array.dimensions if self._layout.zarr_format == 3 else None,
        )
        made.attrs.update(array.about)
        return made

    def _clear(self) -> None:
        """Begin a chunk."""
        self._rows = {name: [] for name in self._arrays}

    def on_frame(self, frame: Frame) -> None:
        """Copy what the frame has."""
        for name, value in self._layout.values(frame):
            self._rows[name].append(value)

    def on_chunk(self, chunk: Chunk) -> dict[str, Any]:
        """Write the chunk's rows to their place."""
        end = self._done + chunk.frames
        with self._zarr.config.set({"array.write_empty_chunks": True}):  # zeros, too: their files are looked for
            for name, rows in self._rows.items():
                if rows:
                    self._arrays[name][self._done : end] = np.stack(rows)
                    rows.clear()
        self._done = end
        return {"frames": end}

    def close(self, recording: Recording) -> None:
        """Cut the arrays to the frames that came, collect their metadata, and give the group its name."""
        del recording
        if not check_parts(self._draft, [_root(self._layout)], self._final):  # an earlier process came as far as this
            return
        self._check()
        for array in self._arrays.values():
            array.resize((self._done, *array.shape[1:]))
        self._finish(self._draft, [self._done])
        remove_folder(self._final)
        self._draft.rename(self._final)

    def _finish(self, path: Path, ends: Sequence[int]) -> None:
        """Say where episodes end, in a replay buffer, and collect the metadata."""
        if not self._by_stream:
            group = self._open(path, "r+")
            made = group.create_array(
                _ENDS, shape=(len(ends),), chunks=(max(1, len(ends)),), dtype="int64", overwrite=True
            )
            made[:] = np.array(ends, np.int64)
        with warnings.catch_warnings():  # that format 3 does not specify it yet: readers may leave it aside
            warnings.simplefilter("ignore", UserWarning)
            self._zarr.consolidate_metadata(path)
        collected = next(file for file in (path / "zarr.json", path / ".zmetadata") if file.exists())
        write_json(collected, json.loads(collected.read_text(encoding="utf-8")))  # sorted: zarr 3.0 has any order

    def merge(self, parts: Sequence[Part]) -> None:
        """List the recordings in this order; put their episodes together, in the layout of replay buffers."""
        groups = [(part.name, self._out / f"{part.name}.zarr") for part in parts]
        first = _names_in(groups[0][1]) if groups else {}
        for name, group in groups[1:]:
            for stream, names in _names_in(group).items():
                check_same_names(name, stream, names, first.get(stream, []), groups[0][0])
        if self._by_stream:
            self._list(groups, {part.name: about_episode(part) for part in parts})
        else:
            self._join(groups, {part.name: about_episode(part) for part in parts})

    def _list(self, groups: Sequence[tuple[str, Path]], about: dict[str, dict[str, Any]]) -> None:
        """Make the folder a group; say ``about`` each of its groups which episode it is."""
        path = self._out / "zarr.json"
        there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        attributes = there.get("attributes", {})
        ours = [
            {"name": name, "group": group.name, "frames": self._open(group, "r")["tick"].shape[0]} | about[name]
            for name, group in groups
        ]
        attributes["recordings"] = list_recordings(
            attributes.get("recordings", []), ours, "group", {part.name for part in self.left_out}
        )
        write_json(path, there | {"attributes": attributes, "node_type": "group", "zarr_format": 3})

    def _join(self, groups: Sequence[tuple[str, Path]], about: dict[str, dict[str, Any]]) -> None:
        """Copy the episodes into one buffer, a block at a time."""
        if _MERGED in dict(groups):
            msg = f"a recording is called {_MERGED!r}, as is the buffer that all are put together in"
            raise OutputError(msg, path=self._out, hint="rename the recording")
        sources = {name: self._open(path, "r") for name, path in groups}
        whole = {name: dict(source["data"].arrays()) for name, source in sources.items() if _episodes(source)}
        draft, final = self._out / f".{_MERGED}.zarr", self._out / f"{_MERGED}.zarr"
        remove_folder(draft)
        target = self._zarr.open_group(draft, mode="w", zarr_format=2)
        target.create_group("meta")
        target.create_group("data")
        target.attrs["recordings"] = [{"name": n, "frames": _episodes(s)} | about[n] for n, s in sources.items()]
        target.attrs["provenance"] = [source.attrs["provenance"] for source in sources.values()]
        ends = np.cumsum([_episodes(sources[name]) for name in whole]).tolist()
        for key, like in (next(iter(whole.values())) if whole else {}).items():
            made = target.create_array(
                f"data/{key}", shape=(ends[-1], *like.shape[1:]), chunks=like.chunks, dtype=like.dtype
            )
            made.attrs.update(like.attrs)
            at = 0
            for name, arrays in whole.items():
                at = _append(made, at, arrays.get(key), f"{name}: {key}")
        self._finish(draft, ends)
        remove_folder(final)
        draft.rename(final)


def _episodes(group: Any) -> int:
    """Return how many frames a recording's buffer has."""
    ends = group[_ENDS][:]
    return int(ends[-1]) if len(ends) else 0


def _append(target: Any, at: int, source: Any, what: str) -> int:
    """Copy an array behind what is there; return where it ends."""
    if source is None or source.shape[1:] != target.shape[1:] or source.dtype != target.dtype:
        found = "nothing" if source is None else f"{source.dtype} {source.shape[1:]}"
        msg = f"{what} is {found}, and {target.dtype} {target.shape[1:]} in the first recording"
        raise OutputError(msg, hint="make the streams alike, or use another 'out'")
    for row in range(0, source.shape[0], _ROWS):
        block = source[row : row + _ROWS]
        target[at + row : at + row + len(block)] = block
    return at + int(source.shape[0])


def _root(layout: Layout) -> str:
    """Return the file that says what a group is."""
    return "zarr.json" if layout.zarr_format == 3 else ".zgroup"


def _names_in(group: Path) -> dict[str, list[str]]:
    """Return the names of the elements of every stream in a recording's group, or of every key of a buffer."""
    found: dict[str, list[str]] = {}
    for path in (*group.glob("*/zarr.json"), *group.glob("data/*/.zattrs")):
        values = json.loads(path.read_text(encoding="utf-8"))
        names = values.get("attributes", values).get("names")
        if names:
            found[path.parent.name] = names
    return found
