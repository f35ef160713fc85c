"""A compressed file, or a database with its log → one plain file beside the run; a compressed message → its bytes."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from streamer.errors import RecordingError, StorageError
from streamer.files import open_regular
from streamer.records import Damage
from streamer.source.blocks import check_size
from streamer.source.payload import MemoryPayload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.records import Payload
    from streamer.source.reader import Reader

    Open = Callable[[Path, Path], Reader]


_PIECE = 4 * 2**20
_RESERVE = 128 * 2**20  # bytes that stay free on the disk: what a file unpacks to is not known before


class ScratchReader:
    """A reader of a file in the scratch folder, which is removed when it is closed."""

    def __init__(self, scratch: Path, name: str, make: Callable[[Path], None], open_file: Open) -> None:
        """Let ``make`` write the file, and open it.

        Raises:
            StorageError: the scratch folder is full, or what ``make`` or ``open_file`` raise.

        """
        self._path = scratch / name
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            make(self._path)
            self._reader = open_file(self._path, scratch)
        except OSError as error:
            self._remove()
            msg = f"{name} cannot be written into {scratch}: {error.strerror}"
            raise StorageError(msg) from error
        except BaseException:
            self._remove()
            raise

    def close(self) -> None:
        """Close the file and remove it."""
        self._reader.close()
        self._remove()

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm", "-journal"):
            self._path.with_name(f"{self._path.name}{ending}").unlink(missing_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def open_unpacked(path: Path, scratch: Path, open_file: Open) -> ScratchReader:
    """Unpack a compressed file and open what was in it; the compressed file is left alone.

    Raises:
        RecordingError: it does not decompress. StorageError: the scratch folder is full.

    """

    def unpack(target: Path) -> None:
        try:
            with open_regular(path) as file, zstd.open(file, "rb") as source, target.open("wb") as out:
                while piece := source.read(_PIECE):
                    if shutil.disk_usage(scratch).free < _RESERVE:
                        msg = f"{path.name} unpacked leaves no room in {scratch}"
                        raise StorageError(msg)
                    out.write(piece)
        except (zstd.ZstdError, EOFError) as error:
            msg = f"does not decompress: {error}"
            raise RecordingError(msg, path=path) from error

    return ScratchReader(scratch, path.name.removesuffix(".zstd"), unpack, open_file)


class MergedReader(ScratchReader):
    """A reader of a copy of a database into which its log was merged; the database itself is left alone.

    Without the log it might be read in a state that never was: the log may have been half copied into it, or
    be what a half-written change has to be undone with. Merging is SQLite's own work, on a copy, as it writes.
    """

    def __init__(self, path: Path, log: Path, scratch: Path, open_file: Open) -> None:
        """Copy both and merge them.

        Raises:
            RecordingError: they do not fit together. StorageError: the scratch folder is full.

        """
        size = path.stat().st_size + log.stat().st_size

        def merge(target: Path) -> None:
            self._remove()  # of a process that was killed
            shutil.copyfile(path, target)
            shutil.copyfile(log, target.with_name(target.name + log.name.removeprefix(path.name)))
            try:
                with closing(sqlite3.connect(target)) as database:
                    database.execute("PRAGMA journal_mode = DELETE").fetchall()
            except sqlite3.Error as error:
                msg = f"{log.name} cannot be brought in: {error}"
                raise RecordingError(msg, path=path) from error

        super().__init__(scratch, path.name, merge, open_file)
        why = f"it was not closed properly: {log.name} was brought in, in a copy"
        self.damage = Damage(path.name, size, size, size, 0, why)


def unpack_message(payload: Payload, most: int) -> Payload:
    """Decompress one message (rosbag2's compression mode ``message``), of up to ``most`` bytes.

    Raises:
        RecordingError: it does not decompress.

    """
    decompressor = zstd.ZstdDecompressor()
    try:
        content = decompressor.decompress(payload.all(), most + 1)
    except (zstd.ZstdError, EOFError) as error:
        msg = f"a compressed message of {len(payload)} bytes does not decompress: {error}"
        raise RecordingError(msg) from error
    check_size("a compressed message", len(content), most)
    if not decompressor.eof:
        msg = f"a compressed message of {len(payload)} bytes does not decompress: it ends too early"
        raise RecordingError(msg)
    return MemoryPayload(memoryview(content))
