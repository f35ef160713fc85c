"""Content and its origin → a file that is there whole or not at all."""

from __future__ import annotations

import errno
import importlib
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import zlib
from contextlib import contextmanager
from functools import cache
from importlib.metadata import requires, version
from typing import TYPE_CHECKING, Any, cast

from streamer.errors import ConfigError, OutputError, names_differ

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    from streamer.contract import Part, Recording, StreamInfo

LIST = "_recordings.json"  # in a folder of outputs: which recordings or episodes there are, in their order
_PNG_HEADER = 33  # bytes of the signature and the IHDR chunk


def write_json(path: Path, values: object) -> None:
    """Write values as JSON, sorted so that equal values make equal files."""
    write_bytes(path, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write under another name, then rename."""
    with replacing(path) as draft:
        draft.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name to write to, which becomes ``path`` when all is well.

    It lies in a folder of its own that only this user may write to: nobody can put a link to another file there.
    """
    folder = path.with_name(f".{path.name}.tmp")
    _discard(folder)
    folder.mkdir(mode=0o700)
    try:
        yield folder / path.name
        os.replace(folder / path.name, path)
    finally:
        _discard(folder)


def remove_drafts(folder: Path) -> None:
    """Remove what a killed process has left of files in a folder, and below, that nobody will write again."""
    for draft in [*folder.rglob(".*.tmp")]:
        _discard(draft)


def _discard(path: Path) -> None:
    """Remove what a killed process, or somebody else, has left under a name; a link is removed, not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def working_folder(path: Path, *, anew: bool) -> Path:
    """Make a folder for the parts of a recording, or go on with that of an earlier process.

    Raises:
        OSError: a link lies where the parts were; it is not followed.

    """
    if anew:
        remove_folder(path)
        path.mkdir()
    elif path.is_symlink():
        msg = "a link lies where the parts of this recording were; remove it and begin anew"
        raise NotADirectoryError(errno.ENOTDIR, msg, str(path))
    return path


def check_parts(folder: Path, committed: Iterable[str], final: Path) -> bool:
    """Hold the parts of a recording against those that were ``committed``, paths in ``folder``.

    Return whether they are there: an earlier process may have made ``final`` of them, and tidied up.

    Raises:
        OutputError: what was committed has been removed since.

    """
    hint = "begin anew with --restart"
    if not folder.exists():
        if final.exists():
            return False
        msg = "the committed parts of this recording have been removed"
        raise OutputError(msg, path=folder, hint=hint)
    missing = [name for name in committed if not (folder / name).exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        msg = f"a committed part has been removed{more}"
        raise OutputError(msg, path=folder / missing[0], hint=hint)
    return True


def check_count(path: Path, found: int, committed: int) -> None:
    """Hold the frames of an output against those that were committed.

    Raises:
        OutputError: they are fewer, or more.

    """
    if found != committed:
        msg = f"it holds {found} frames, and {committed} were committed: its parts were changed meanwhile"
        raise OutputError(msg, path=path, hint="begin anew with --restart")


def list_recordings(
    before: list[dict[str, Any]], ours: list[dict[str, Any]], what: str = "file", without: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Put ``ours`` in their order, behind those of others that were listed before; ``what`` tells which is which.

    Episodes that an earlier run has cut out of the same recordings, and this one has not, are listed no more, nor those
    called as one of ``without``, or cut out of it.
    """
    mine, cut = {one[what] for one in ours}, {_recording_of(one) for one in ours if "episode" in one}
    endings = {_ending_of(one, what) for one in ours}
    return [
        one
        for one in before
        if one.get(what) not in mine
        and one.get("name") not in without
        and not ("episode" in one and _recording_of(one) in without)
        and not ("episode" in one and _recording_of(one) in cut and _ending_of(one, what) in endings)
    ] + ours


def _recording_of(listed: dict[str, Any]) -> str:
    return str(listed["name"]).rpartition("-")[0]


def _ending_of(listed: dict[str, Any], what: str) -> str:
    return str(listed.get(what, "")).removeprefix(str(listed["name"]))


def write_list(folder: Path, ours: list[dict[str, Any]], left_out: Sequence[Part] = ()) -> None:
    """List the recordings, or episodes, of which a folder has files (each its ``name`` and ``file``) in their order."""
    path = folder / LIST
    before = json.loads(path.read_text(encoding="utf-8"))["recordings"] if path.exists() else []
    write_json(path, {"recordings": list_recordings(before, ours, without={part.name for part in left_out})})


def about_episode(part: Part) -> dict[str, Any]:
    """Return what a list says of a recording that is an episode of one; nothing of one that is whole."""
    if part.episode is None:
        return {}
    return {
        "episode": part.episode,
        "task": part.task,
        "label": part.label,
        "start_ns": part.start,
        "end_ns": part.end,
        **({"flagged": part.flagged} if part.flagged else {}),
    }


def make_folder(path: Path) -> Path:
    """Make a folder for outputs and find out now whether it can be written to."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=path):  # which has no name, so that nothing of it can stay
            return path
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it: its name goes first, so that half of it is never taken for the whole."""
    doomed = path.with_name(f"{path.name}.done")
    if path.is_symlink():
        path.unlink()
    if path.exists():
        _discard(doomed)
        path.rename(doomed)
    _discard(doomed)


def check_file(path: Path) -> None:
    """Find out now whether a file can be written under this name later.

    Raises:
        OSError: it cannot.

    """
    make_folder(path.parent)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))


def require(module: str, extra: str, library: str = "") -> ModuleType:
    """Import a library that only some consumers need; ``library`` is its name on PyPI, where it is not the module's.

    Raises:
        ConfigError: it is not installed, or an older version than works; the message says how to install it.

    """
    try:
        found = importlib.import_module(module)
        if module.partition(".")[0] == "pyarrow":
            _arrow_alone()
    except ImportError as error:
        msg = f"{module} is needed and cannot be imported ({error}): pip install 'rosbag-streamer[{extra}]'"
        raise ConfigError(msg) from error
    library = library or module.partition(".")[0]
    if _numbers(there := version(library)) < _numbers(least := _least(library)):
        msg = f"{library} {there} is too old, {least} is the first that works: pip install 'rosbag-streamer[{extra}]'"
        raise ConfigError(msg)
    return found


class _NoPandas:
    """Says to Python's import system that there is no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


@cache
def _arrow_alone() -> None:
    """Let pyarrow look for pandas once, in vain.

    With its first array it would import pandas, where that is installed, to know its types: 0.3 s and 30 MB in every
    process. It looks again when somebody wants a DataFrame. Before pyarrow 18 it looks each time: nothing is gained.
    """
    if "pandas" not in sys.modules:
        finder = cast("Any", _NoPandas)
        sys.meta_path.insert(0, finder)
        try:
            importlib.import_module("pyarrow").array([])
        finally:
            sys.meta_path.remove(finder)


@cache
def _least(library: str) -> str:
    """Return the lowest version of a library that this package declares for any Python, empty where it names none."""
    lines = requires("rosbag-streamer") or []
    found = [match[1] for line in lines if (match := re.match(rf"{re.escape(library)}>=([\d.]+)", line))]
    return min(found, key=_numbers, default="")


def _numbers(version: str) -> list[int]:
    """Return the numbers of a version that decide which is newer: a release's, to where something else begins."""
    numbers = re.match(r"[\d.]*", version)
    return [int(number) for number in (numbers[0] if numbers else "").split(".") if number]


def check_names(stream: StreamInfo, known: Sequence[str], where: str) -> None:
    """Make sure that a vector's elements are those of an output that is there already.

    Elements that are numbered (``ranges[0]``) say nothing but how many there are, which may differ.

    Raises:
        ConfigError: they are others, or in another order.

    """
    numbered = all(name.endswith("]") for name in (*stream.names, *known))
    if tuple(known) == stream.names or not known or not stream.names or numbered:
        return
    msg = (
        f"its elements are not those of {where}: {names_differ(stream.names, known)}; "
        "choose them by name with 'elements', or use another 'out'"
    )
    raise ConfigError(msg, key=f"streams.{stream.name}")


def check_same_names(name: str, stream: str, names: Sequence[str], first: Sequence[str], whose: str) -> None:
    """Make sure, before recordings are put together, that a vector has the same elements in one as in the first.

    Raises:
        OutputError: it has others.

    """
    if list(names) != list(first) and names and first and not all(n.endswith("]") for n in (*names, *first)):
        msg = f"{name} and {whose} cannot be put together, {stream!r} has other elements: {names_differ(names, first)}"
        raise OutputError(msg)


def provenance(recording: Recording, *libraries: str) -> dict[str, Any]:
    """Say where an output comes from: recording, configuration, versions, the plan in short; plain values for JSON."""
    origin = dict(recording.provenance)
    versions = dict(origin.get("versions", {})) | {name: version(name) for name in libraries}
    streams = {
        stream.name: {
            "topic": stream.topic,
            "msgtype": stream.msgtype,
            "kind": stream.kind,
            "shape": list(stream.shape),
            "dtype": str(stream.dtype),
            "clock": stream.clock,
            "names": list(stream.names),
            "unit": stream.unit,
        }
        for stream in recording.streams.values()
    }
    plan = {
        "frames": recording.frames,
        "rate_hz": recording.rate,
        "start_ns": recording.start,
        "end_ns": recording.end,
        "chunk_size": recording.chunk_size,
        "streams": streams,
    }
    if recording.episode is not None:
        origin |= {"episode": {"number": recording.episode, "task": recording.task, "label": recording.label}}
    origin |= {"flagged": recording.flagged} if recording.flagged else {}
    return origin | {"recording": recording.name, "path": recording.path, "versions": versions, "plan": plan}


def add_text(png: bytes, key: str, text: str) -> bytes:
    """Add a text to a PNG file's content, behind its header (an iTXt chunk; PNG specification, 11.3.3.4)."""
    body = b"iTXt" + key.encode("latin-1") + b"\x00\x00\x00\x00\x00" + text.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:_PNG_HEADER] + chunk + png[_PNG_HEADER:]
