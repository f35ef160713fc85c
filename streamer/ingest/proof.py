"""A recording that no longer grows → whether its writer has finished it, and what identifies its content.

A recording that was not closed, or whose copy broke off, stays as unchanged as a finished one. What a format writes
last tells them apart: ROS 1 the index and its place in the file's header (http://wiki.ros.org/Bags/Format/2.0), MCAP
the footer and the magic after it (https://mcap.dev/spec), SQLite the number of its pages
(https://www.sqlite.org/fileformat2.html), rosbag2 a metadata.yaml that lists every file.
"""

from __future__ import annotations

import os
import struct
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from streamer.files import is_there, open_regular

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

_ROS1, _MCAP, _SQLITE, _ZSTD = b"#ROSBAG V2.0\n", b"\x89MCAP0\r\n", b"SQLite format 3\0", b"\x28\xb5\x2f\xfd"
_MCAP_FOOTER = 1 + 8 + 20  # opcode, length, content
_LONGEST_HEAD = 1 << 16  # bytes of a ROS 1 record's header, generously
_LONGEST_METADATA = 1 << 24  # bytes of a metadata.yaml, generously
_END = 1 << 16  # bytes of each end of a file that go into its identity


def unfinished(path: Path) -> str | None:
    """Say what shows that a recording, a file or a rosbag2 folder, is not complete; None where it is.

    Raises:
        OSError: it cannot be read.

    """
    if not path.is_dir():
        return _unfinished_file(path)
    try:
        with open_regular(path / "metadata.yaml") as about:
            listed = _listed(about.read(_LONGEST_METADATA).decode("utf-8"))
    except FileNotFoundError:
        return "the folder has no metadata.yaml yet"
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        return "metadata.yaml lists no files (relative_file_paths)"
    for name in listed:
        file = path / name
        if not is_there(file):
            return f"{name}, which metadata.yaml lists, is missing"
        if why := _unfinished_file(file):
            return f"{name}: {why}"
    return None


def _listed(text: str) -> list[str]:
    """Return the names of the files that a metadata.yaml lists, without the folders that old ones put before them."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    listed = yaml.load(text, Loader=loader)["rosbag2_bagfile_information"]["relative_file_paths"]  # noqa: S506 - both are safe
    names = [Path(name).name for name in listed]
    if not names or not all(names):
        msg = "it lists nothing"
        raise ValueError(msg)
    return list(dict.fromkeys(names))


def identity(files: Sequence[Path]) -> str:
    """Return what identifies a recording by its content: a hash of the size and both ends of each file.

    Neither name nor place count: a renamed recording, or one on a disk that is mounted elsewhere, is the same.

    Raises:
        OSError: it cannot be read.

    """
    found = sha256()
    for path in files:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            first = file.read(_END)
            file.seek(max(0, size - _END))
            found.update(b"%d %d " % (size, len(first)) + first + file.read(_END))
    return found.hexdigest()[:32]


def identity_of(files: Sequence[Path]) -> str:
    """Return the identity of a recording's files: those that hold messages count.

    Raises:
        OSError: it cannot be read.

    """
    return identity([path for path in files if path.name != "metadata.yaml"])


def _unfinished_file(path: Path) -> str | None:
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(100)
        if not start:
            return "it is empty"
        for magic, look in _LOOKS.items():
            if start.startswith(magic):
                return look(file, start, size) or (_being_written(path) if magic == _SQLITE else None)
    return f"it does not begin as a bag does (first bytes {start[:8].hex(' ')})"


def _ros1(file: BinaryIO, start: bytes, size: int) -> str | None:
    """Find the index where the head says it is, and walk over it to the end of the file."""
    if len(start) < 17:
        return "it breaks off in its first record"
    (length,) = struct.unpack_from("<I", start, 13)
    file.seek(17)
    fields = _fields(file.read(min(length, 4096)))
    position = int.from_bytes(fields.get(b"index_pos", b""), "little")
    expected = sum(int.from_bytes(fields.get(name, b""), "little") for name in (b"conn_count", b"chunk_count"))
    if position == 0:
        return "its recorder has not closed it (it has no index)"
    if position > size:
        return f"it breaks off: its index should begin at byte {position}, it has {size}"
    records = 0
    while position < size and (end := _record_end(file, position)) is not None and end <= size:
        position, records = end, records + 1
    if position != size or records < expected:
        return f"its index breaks off or is damaged ({records} of {expected} records)"
    return None


def _record_end(file: BinaryIO, position: int) -> int | None:
    """Return where a record ends, by its two lengths; None where there is none. What it holds is not read."""
    file.seek(position)
    head = file.read(4)
    head += file.read(min(int.from_bytes(head, "little"), _LONGEST_HEAD))
    data = file.read(4)
    if len(data) < 4 or b"op=" not in head:
        return None
    return position + len(head) + 4 + int.from_bytes(data, "little")


def _fields(head: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at + 4 <= len(head):
        (length,) = struct.unpack_from("<I", head, at)
        name, _, value = head[at + 4 : at + 4 + length].partition(b"=")
        found[name] = value
        at += 4 + length
    return found


def _mcap(file: BinaryIO, start: bytes, size: int) -> str | None:
    del start
    if size < 2 * len(_MCAP) + _MCAP_FOOTER:
        return "it breaks off behind its beginning"
    file.seek(size - len(_MCAP) - _MCAP_FOOTER)
    footer = file.read()
    if not footer.endswith(_MCAP) or footer[0] != 2 or footer[1:9] != (20).to_bytes(8, "little"):
        return "its recorder has not closed it, or its copy broke off (no footer at its end)"
    return None


def _sqlite(file: BinaryIO, start: bytes, size: int) -> str | None:
    del file
    if len(start) < 100:
        return "it breaks off in its head"
    (page,) = struct.unpack_from(">H", start, 16)
    pages, counted_at = struct.unpack_from(">I", start, 28)[0], start[92:96]
    page = 65536 if page == 1 else page
    if counted_at == start[24:28] and size != pages * page:
        return f"it breaks off: it should have {pages} pages of {page} bytes, it has {size} bytes"
    return None


def _being_written(path: Path) -> str | None:
    """Say which file shows that a database is being written: SQLite keeps it beside."""
    for ending in ("-journal", "-wal"):
        beside = path.with_name(path.name + ending)
        if beside.exists() and beside.stat().st_size:
            return f"it is being written ({beside.name} is there)"
    return None


def _zstd(file: BinaryIO, start: bytes, size: int) -> str | None:
    """Accept it: metadata.yaml, which comes last, has listed it."""
    del file, start, size
    return None


_LOOKS: dict[bytes, Any] = {_ROS1: _ros1, _MCAP: _mcap, _SQLITE: _sqlite, _ZSTD: _zstd}
