"""Frames → one HDF5 file a recording, divided as ACT/ALOHA or robomimic read it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from consumers.files import provenance, replacing, require
from consumers.keys import check_samples, make_keys
from consumers.parts import Parts
from streamer.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from consumers.keys import Key
    from streamer.contract import Frame, Outlook, Recording

_NEEDED = {"aloha": ("action", "observations/qpos"), "robomimic": ("actions",)}
_EPISODE = {"aloha": "/", "robomimic": "data/demo_0"}
_COMPRESSIONS = ("none", "gzip", "lzf")
_MERGED = "demos"
_LINK = re.compile(r"episode_(\d+)\.hdf5")
_ROWS = 1024  # of a vector in one chunk
_MOST_NAMES = 1000  # an attribute holds 64 kB


class Hdf5(Parts):
    """Writes ``<out>/<recording>.hdf5``, an array under each key of ``features``, its first axis the frames.

    In the layout ``aloha`` the keys are ``action``, ``observations/qpos``, ``observations/qvel``,
    ``observations/images/<camera>``, … and the attribute ``sim`` is false; ``<out>/episode_<n>.hdf5`` are links to the
    recordings, in their order, as ACT opens its episodes. In the layout ``robomimic`` they are ``actions``,
    ``obs/<name>``, … below ``data/demo_0``, with ``rewards`` of 0 and ``dones`` of 1 in the last frame unless they are
    given; of many recordings in one run, ``<out>/demos.hdf5`` has them all: ``demo_0``, ``demo_1``, …

    Beside the keys lie ``tick`` (int64, ns) and, at the root, ``provenance`` (JSON). Pictures are chunked by frame; an
    array of a vector has the names of its elements in the attribute ``names``. A chunk of frames is a file of its own
    until the end: a process that is killed never leaves a damaged file behind.
    """

    suffix = ".hdf5"

    def __init__(
        self,
        out: str,
        features: dict[str, str | list[str]],
        *,
        layout: str,
        compression: str = "none",
        env_name: str = "robot",
    ) -> None:
        """Take the options.

        Args:
            out: The folder.
            features: Keys, each with its stream, or a list of vector streams that are put together.
            layout: ``aloha`` or ``robomimic``.
            compression: ``none``, ``gzip`` or ``lzf``, of every array.
            env_name: Stands in robomimic's ``env_args``.

        Raises:
            ValueError: an option makes no sense, or a key is missing that the layout needs.

        """
        super().__init__(out)
        for key, value, known in (("layout", layout, tuple(_NEEDED)), ("compression", compression, _COMPRESSIONS)):
            if value not in known:
                msg = f"{key} is one of {', '.join(known)}, not {value!r}"
                raise ValueError(msg)
        _check_keys(list(features), layout)
        self._h5: Any = require("h5py", "hdf5")  # here, so that the next process has it loaded when its turn comes
        self._features = features
        self._robomimic = layout == "robomimic"
        self._episode = _EPISODE[layout]
        self._compression = None if compression == "none" else compression
        self._env_name = env_name
        self._keys: list[Key] = []

    def check(self, outlook: Outlook) -> None:
        """Hold the keys against the streams that there are, and elements against those of other recordings."""
        super().check(outlook)
        check_samples(self._keys, outlook)

    def prepare(self, recording: Recording) -> None:
        """Find out what lies under each key."""
        self._keys = make_keys(self._features, recording.streams)
        self._clear()

    def own_names(self, recording: Recording) -> dict[str, Sequence[str]]:
        """Return the names of the elements under each key."""
        return {key.key: key.names for key in make_keys(self._features, recording.streams) if _tells(key.names)}

    def names_in(self, path: Path) -> dict[str, list[str]]:
        """Return the names of the elements under each key of a file."""
        with self._h5.File(path, "r") as file:
            episode = file[self._episode]
            found = {key: episode[key].attrs.get("names") for key in self._features if key in episode}
        return {key: [str(name) for name in names] for key, names in found.items() if names is not None}

    def others(self, recording: str) -> list[Path]:
        """Return the files of other recordings: no links to them, nor what they were put together in."""
        return [path for path in super().others(recording) if not path.is_symlink() and path.stem != _MERGED]

    def count(self, path: Path) -> int:
        """Return how many frames a recording's file has."""
        with self._h5.File(path, "r") as file:
            return int(file[self._episode]["tick"].shape[0])

    # ---- frames

    def _clear(self) -> None:
        self._ticks: list[int] = []
        self._rows: dict[str, list[NDArray[Any]]] = {key.key: [] for key in self._keys}

    def on_frame(self, frame: Frame) -> None:
        """Copy what lies under each key."""
        for key in self._keys:
            self._rows[key.key].append(key.value(frame).copy())
        self._ticks.append(frame.tick)

    def write_part(self, path: Path) -> int:
        """Write the chunk's frames as they are."""
        with self._h5.File(path, "w") as file:
            file["tick"] = np.array(self._ticks, np.int64)
            for key in self._keys:
                rows = self._rows[key.key]
                file[key.key] = np.stack(rows) if rows else np.empty((0, *key.shape), key.dtype)
        written = len(self._ticks)
        self._clear()
        return written

    def join(self, path: Path, parts: Sequence[Path], recording: Recording) -> None:
        """Copy the chunks behind each other, one at a time."""
        with self._h5.File(path, "w") as file:
            file["provenance"] = json.dumps(provenance(recording, "h5py"), sort_keys=True)
            episode = file.require_group(self._episode)
            frames = self._written
            targets = {key.key: self._create(episode, key, frames) for key in self._keys}
            targets["tick"] = episode.create_dataset("tick", (frames,), np.int64)
            at = 0
            for part in parts:
                with self._h5.File(part, "r") as source:
                    count = len(source["tick"])
                    for name, target in targets.items():
                        target[at : at + count] = source[name][()]
                at += count
            self._describe(file, episode, frames)

    def _create(self, episode: Any, key: Key, frames: int) -> Any:
        rows = 1 if len(key.shape) > 1 else min(frames, _ROWS)
        chunks = (rows, *key.shape) if frames and all(key.shape) else None
        how = {"chunks": chunks, "compression": self._compression} if chunks else {}
        made = episode.create_dataset(key.key, (frames, *key.shape), key.dtype, **how)
        if _tells(key.names):
            made.attrs["names"] = list(key.names)
        return made

    def _describe(self, file: Any, episode: Any, frames: int) -> None:
        """Say what the layout's readers ask for."""
        if not self._robomimic:
            file.attrs["sim"] = False
            file.attrs["compress"] = False  # ALOHA's word for pictures that are JPEG
            return
        episode.attrs["num_samples"] = frames
        dones = np.zeros(frames, np.int64)
        dones[-1:] = 1
        for name, values in (("rewards", np.zeros(frames)), ("dones", dones)):
            if name not in episode:
                episode[name] = values
        self._describe_all(file["data"], frames)

    def _describe_all(self, data: Any, frames: int) -> None:
        data.attrs["total"] = frames
        data.attrs["env_args"] = json.dumps({"env_name": self._env_name, "type": 2, "env_kwargs": {}})  # 2: gym

    # ---- recordings

    def finished(self, recording: Recording) -> None:
        """Give a recording that is alone the next number, unless it has one."""
        if self._robomimic or recording.part or recording.frames == 0:
            return
        target = self.path_of(recording.name).name
        number = len(links := self._links())
        while target not in links.values():
            with suppress(FileExistsError):  # another process was first
                self._link(number).symlink_to(target)
            number, links = number + 1, self._links()

    def _link(self, number: int) -> Path:
        """Return the name of an episode's link.

        Raises:
            OutputError: something else lies there.

        """
        link = self._out / f"episode_{number}.hdf5"
        if link.exists() and not link.is_symlink():
            msg = "a file of this name is there, and it is none of this program's links"
            raise OutputError(msg, path=link, hint="use another 'out'")
        return link

    def _links(self) -> dict[int, str]:
        """Return where the links of episodes lead, by their numbers, in their order."""
        there = {path: _LINK.fullmatch(path.name) for path in self._out.glob("episode_*.hdf5") if path.is_symlink()}
        return dict(sorted((int(found[1]), str(path.readlink())) for path, found in there.items() if found))

    def _number(self, ours: list[str]) -> None:
        """Link to these, in this order behind others."""
        others = [target for target in dict.fromkeys(self._links().values()) if target not in ours]
        for number, target in enumerate([*others, *ours]):
            link = self._link(number)
            if str(link.readlink() if link.is_symlink() else "") != target:
                with replacing(link) as draft:
                    draft.symlink_to(target)

    def finish(self, files: dict[str, Path], about: dict[str, dict[str, Any]]) -> None:
        """Number the recordings as ACT wants it, or put them into one file as robomimic does."""
        filled = {name: path for name, path in files.items() if self.count(path)}  # no episode is without a frame
        if not self._robomimic:
            self._number([path.name for path in filled.values()])
            return
        if _MERGED in files:
            msg = f"a recording is called {_MERGED!r}, as is the file that all are put together in"
            raise OutputError(msg, path=files[_MERGED], hint="rename the recording")
        with replacing(self._out / f"{_MERGED}{self.suffix}") as draft, self._h5.File(draft, "w") as whole:
            data = whole.create_group("data")
            origins = []
            for number, (name, path) in enumerate(filled.items()):
                with self._h5.File(path, "r") as file:
                    file.copy(self._episode, data, name=f"demo_{number}")
                    origins.append(json.loads(file["provenance"].asstr()[()]))
                data[f"demo_{number}"].attrs.update({"recording": name} | about.get(name, {}))
            self._describe_all(data, sum(int(demo.attrs["num_samples"]) for demo in data.values()))
            whole["provenance"] = json.dumps(origins, sort_keys=True)


def _check_keys(keys: Sequence[str], layout: str) -> None:
    for key in keys:
        if not all(part.strip(".") for part in key.split("/")) or key in ("tick", "provenance"):
            msg = f"features: {key!r} cannot be a key: it is a name, or names with '/' between them"
            raise ValueError(msg)
        inside = [other for other in keys if other.startswith(f"{key}/")]
        if inside:
            msg = f"features: {key!r} cannot be an array and hold {inside[0]!r}"
            raise ValueError(msg)
    missing = [key for key in _NEEDED[layout] if key not in keys]
    if missing:
        msg = f"features: the layout {layout} needs {missing[0]!r}; there are: {', '.join(keys) or 'none'}"
        raise ValueError(msg)


def _tells(names: Sequence[str]) -> bool:
    """Tell whether names say more than how many elements there are."""
    return 0 < len(names) <= _MOST_NAMES and not all(name.endswith("]") for name in names)
