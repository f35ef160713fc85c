"""A recording that every consumer has committed → where it belongs now: elsewhere, or nowhere.

It may be the only copy. So before anything is taken away its content is looked at once more, a copy onto another
file system is on the disk under its own name before the original goes, and whatever is done half is done again.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

from streamer.errors import StorageError
from streamer.ingest.proof import identity_of
from streamer.ingest.watch import files_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from streamer.ingest.queue import Entry, Queue

_PIECE = 1 << 23  # bytes that are copied between two looks whether to stop


class Filing:
    """Files away what is done, one after the other, in a thread of its own: a copy may take long."""

    def __init__(self, queue: Queue, log: FilteringBoundLogger, tell: Callable[[], None]) -> None:
        """Call ``tell``, from that thread, behind every end; everything else happens in the caller's."""
        self._queue, self._log, self._tell = queue, log, tell
        self._thread = ThreadPoolExecutor(1, "filing")
        self._stop = Event()
        self._under_way: dict[int, Future[str]] = {}
        self.problem = ""  # why the last one could not be filed
        self.again = 0.0  # when to try it again, in monotonic seconds

    def take_in(self, backoff: float) -> None:
        """Note what has been filed; what could not is tried again when so many seconds have passed."""
        for number, future in list(self._under_way.items()):
            if future.done():
                del self._under_way[number]
                self._take_in(self._queue.get(number), future, backoff)

    def begin(self, folder: Path | None) -> None:
        """Begin with what is to be filed: into ``folder``, or deleted without one."""
        if self.problem and time.monotonic() < self.again:
            return
        for entry in self._queue.all("state = 'done' AND filed = ''", most=8):
            if entry.id not in self._under_way:
                future = self._thread.submit(_file_away, entry, folder, self._stop)
                future.add_done_callback(lambda _: self._tell())
                self._under_way[entry.id] = future

    def close(self) -> None:
        """Give up a copy that is under way: it is made again when the daemon is started again."""
        self._stop.set()
        self._thread.shutdown(cancel_futures=True)
        ended = {n: f for n, f in self._under_way.items() if not f.cancelled() and f.exception() is None}
        self._under_way = ended
        self.take_in(0.0)

    def _take_in(self, entry: Entry, future: Future[str], backoff: float) -> None:
        """Note what became of a file; where it is not done (the archive is full, not mounted) it is tried again."""
        try:
            filed = future.result()
        except StorageError as error:
            if str(error) != self.problem:
                self._log.error("not filed", recording=entry.name, error=str(error))
            self.problem = str(error)
            self.again = time.monotonic() + backoff
            return
        self.problem = ""
        place = filed.removeprefix("moved to ") if filed.startswith("moved to ") else entry.path
        self._queue.change(entry, filed=filed, path=place)
        self._log.info("filed", recording=entry.name, what=filed)


def _file_away(entry: Entry, folder: Path | None, stop: Event) -> str:
    try:
        files = files_of(entry.path)
    except OSError:
        return "it is no longer there"
    return file_away(entry.path, files, entry.identity, folder, stop.is_set)


def file_away(
    path: Path, files: tuple[Path, ...], who: str, move_to: Path | None, stopped: Callable[[], bool] = lambda: False
) -> str:
    """Move a recording into a folder, or delete it where there is none; say what was done.

    ``who`` is its identity: what has another one by now is left where it is. A copy is given up when ``stopped``.

    Raises:
        StorageError: it could not be done; the original is untouched.

    """
    try:
        if not path.exists():
            return "it is no longer there"
        if identity_of(files) != who:
            return "kept: it has been replaced meanwhile"
        if move_to is not None:
            return f"moved to {_move(path, move_to, stopped)}"
        _remove(path, files)
    except OSError as error:
        msg = f"{path} cannot be {'moved' if move_to else 'deleted'}: {error.strerror} ({error.filename})"
        raise StorageError(msg) from error
    return "deleted"


def _move(path: Path, folder: Path, stopped: Callable[[], bool]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.samefile(path.parent):
        return path
    target, number = folder / path.name, 2
    while os.path.lexists(target):
        if _equal(path, target):  # copied by a daemon that was killed before it took the original away
            _remove(path, _content(path))
            return target
        target = folder / f"{path.stem}-{number}{path.suffix}"
        number += 1
    try:
        os.rename(path, target)  # noqa: PTH104 - the rename that fails across file systems is what is meant
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, folder / f".{target.name}.partial", target, stopped)
    return target


def _copy(path: Path, draft: Path, target: Path, stopped: Callable[[], bool]) -> None:
    """Copy everything, bring it to the disk, give it its name, and only then take the original away."""
    _discard(draft)
    content = _content(path)
    try:
        _fill(draft, path, content, stopped)
    except OSError:
        _discard(draft)
        raise
    os.rename(draft, target)  # noqa: PTH104 - as above
    _flush(target.parent)
    _remove(path, content)


def _fill(draft: Path, path: Path, content: tuple[Path, ...], stopped: Callable[[], bool]) -> None:
    before = [(file.stat().st_size, file.stat().st_mtime_ns) for file in content]
    for file in content:
        copy = draft / file.relative_to(path) if path.is_dir() else draft
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy_file(file, copy, stopped)
    if path.is_dir():
        shutil.copystat(path, draft)
    for written in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        _flush(written)
    if [(file.stat().st_size, file.stat().st_mtime_ns) for file in content] != before:
        raise OSError(errno.EBUSY, "it was changed while it was copied", str(path))


def _discard(draft: Path) -> None:
    if draft.is_dir():
        shutil.rmtree(draft)
    else:
        draft.unlink(missing_ok=True)


def _copy_file(path: Path, target: Path, stopped: Callable[[], bool]) -> None:
    with path.open("rb") as source, target.open("wb") as out:
        while piece := source.read(_PIECE):
            if stopped():
                raise OSError(errno.EINTR, "the daemon ends", str(path))
            out.write(piece)
    shutil.copystat(path, target)


def _content(path: Path) -> tuple[Path, ...]:
    """Return all files of a recording, in a folder also those that are not the recorder's."""
    return tuple(file for file in path.rglob("*") if not file.is_dir()) if path.is_dir() else (path,)


def _equal(path: Path, other: Path) -> bool:
    """Tell whether all files are the same, byte for byte."""
    if path.is_dir() != other.is_dir() or other.is_symlink():
        return False
    if not path.is_dir():
        return filecmp.cmp(path, other, shallow=False)
    names = [{file.relative_to(folder) for file in _content(folder)} for folder in (path, other)]
    return names[0] == names[1] and all(filecmp.cmp(path / n, other / n, shallow=False) for n in names[0])


def _remove(path: Path, files: tuple[Path, ...]) -> None:
    """Remove the files, and the folders that are empty then: what somebody else has put there stays."""
    for file in files:
        file.unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        for folder in sorted((f for f in path.rglob("*") if f.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            path.rmdir()


def _flush(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
