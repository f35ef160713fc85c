"""One recording of the queue → what can be looked at: its pictures, what it has written, its logs, its report.

Everything is looked up when somebody asks, by the server's threads, and read only. Files are found by listing folders
and comparing names, so no name is taken for a path or a pattern, and only regular files are opened.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.errors import OutputError, UsageError
from streamer.ingest.queue import Queue
from streamer.ingest.snapshot import as_json
from streamer.pipelines.review import ACCEPTED, REJECTED, Verdict, beside, read, say
from streamer.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamer.ingest.queue import Entry

_TAIL = 1 << 15  # bytes of a log that are shown
_MOST_FILES = 200  # of one recording that are listed
_PICTURE_BYTES = 64 << 20  # of a picture that is shown
_PICTURE = ".preview.png"  # how the sheet of an episode ends
_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".mp4": "video/mp4"}  # what a browser may show itself


@dataclass(frozen=True, slots=True)
class Shown:
    """An open file: its name, type and size; whoever has it closes ``fd``."""

    name: str
    media_type: str
    size: int
    fd: int


class Details:
    """Looks things up for the page of a daemon."""

    def __init__(self, workdir: Path, recent: Callable[[], str]) -> None:
        """Look into the work folder ``workdir``; ``recent`` returns the last lines of the daemon's own log."""
        self._workdir, self.recent = workdir, recent

    def about(self, number: int) -> dict[str, Any] | None:
        """Return everything that is known of a recording, fit for JSON; None where there is none with this number."""
        with self._queue() as queue:
            for entry in queue.with_id(number):
                made = _Made(entry, queue)
                outputs = [
                    {"consumer": name, "path": out, "there": os.path.lexists(out), "files": made.listed(name)}
                    for name, out in entry.outputs.items()
                ]
                pictures = [path.name.removesuffix(_PICTURE) for path in made.pictures()]
                logs = [path.name for path in self._logs(number)]
                more = {"outputs": outputs, "pictures": pictures, "logs": logs, "report": self._report(number)}
                return as_json(entry) | more | {"review": _said(made)}
        return None

    def picture(self, number: int, place: int) -> Shown | None:
        """Open the n-th picture of a recording that is done."""
        with self._queue() as queue:
            found = [path for entry in queue.with_id(number) for path in _Made(entry, queue).pictures()]
        return _opened(found[place], _PICTURE_BYTES) if place < len(found) else None

    def output(self, number: int, consumer: str, place: int) -> Shown | None:
        """Open the n-th file that a consumer has written of a recording."""
        with self._queue() as queue:
            found = [path for entry in queue.with_id(number) for path, _ in _Made(entry, queue).files(consumer)]
        return _opened(found[place]) if place < min(len(found), _MOST_FILES) else None

    def review(self, number: int, name: str, verdict: str, note: str) -> str:
        """Keep what a person says of a recording or one of its episodes, beside each output that others share.

        Raises:
            UsageError: there is no such recording, or nothing of it to review. OutputError: it cannot be written.

        """
        if verdict not in (ACCEPTED, REJECTED, ""):
            msg = f"a verdict is {ACCEPTED}, {REJECTED} or empty, not {verdict!r}"
            raise UsageError(msg)
        with self._queue() as queue:
            made = [_Made(entry, queue) for entry in queue.with_id(number)]
            outs = [out for one in made if name in one.names() for out in one.reviewable()]
        if not outs:
            msg = f"recording {number} has no output of {name!r} that could be reviewed"
            raise UsageError(msg)
        for out in outs:
            say(out, [name], verdict, note)
        places = ", ".join(map(str, outs))
        what = {ACCEPTED: "is accepted", REJECTED: "is rejected: the next 'streamer merge' leaves it out of"}
        told = f"{what.get(verdict, 'has no verdict')}{f' {places}' if verdict == REJECTED else ''}"
        return f"{name} {told}. Kept in {', '.join(str(beside(out)) for out in outs)}"

    def log(self, number: int, name: str) -> str | None:
        """Return the end of a log of a recording, as it may be shown."""
        path = next((path for path in self._logs(number) if path.name == name), None)
        return None if path is None else _tail(path)

    def _queue(self) -> Queue:
        return Queue(self._workdir / "queue.sqlite")

    def _logs(self, number: int) -> list[Path]:
        """Return the logs of a recording's processes, that of the last words first; what is done has none."""
        folder = self._workdir / "jobs" / str(number)
        found: list[tuple[float, Path]] = []
        for place in (folder, folder / "logs"):
            for path, about in _listed(place):
                if path.suffix == ".log" and about.st_size:
                    found.append((about.st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def _report(self, number: int) -> dict[str, Any]:
        """Return what the report of the last attempt says of its frames; empty where there is none."""
        with suppress(OSError, ValueError, AttributeError):
            path = self._workdir / "reports" / f"{number}.json"
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return {key: found[key] for key in ("frames", "warnings") if key in found}
        return {}


class _Made:
    """What consumers have written of a recording."""

    def __init__(self, entry: Entry, queue: Queue) -> None:
        self._entry, self._queue = entry, queue

    def files(self, consumer: str) -> list[tuple[Path, int]]:
        """Return the recording's files in a consumer's output, with their sizes: those that have its name in front."""
        path = Path(self._entry.outputs.get(consumer, ""))
        with suppress(OSError, ValueError):
            if stat.S_ISREG((about := os.lstat(path)).st_mode):
                return [(path, about.st_size)]
        return sorted((found, about.st_size) for found, about in _listed(path) if self._is_mine(found.name))

    def listed(self, consumer: str) -> list[dict[str, Any]]:
        """Return the same, fit for JSON."""
        return [{"name": path.name, "size": size} for path, size in self.files(consumer)[:_MOST_FILES]]

    def pictures(self) -> list[Path]:
        """Return the sheets that a preview has drawn of the recording, or of each of its episodes."""
        found = [path for consumer in self._entry.outputs for path, _ in self.files(consumer)]
        return list(dict.fromkeys(path for path in found if path.name.endswith(_PICTURE)))

    def names(self) -> list[str]:
        """Return the names of the recording's episodes of which there are pictures; without, its own."""
        return [path.name.removesuffix(_PICTURE) for path in self.pictures()] or [self._entry.name]

    def reviewable(self) -> list[Path]:
        """Return the folders that consumers have added the recording to, but for those of pictures alone."""
        found = []
        for consumer, out in self._entry.outputs.items():
            files = [path.name for path, _ in self.files(consumer)]
            if os.path.isdir(out) and not (files and all(name.endswith(_PICTURE) for name in files)):  # noqa: PTH112 - never raises
                found.append(Path(out))
        return list(dict.fromkeys(found))

    def _is_mine(self, name: str) -> bool:
        """Tell whether a file is the recording's, ``NAME.…``, or one of its episodes', ``NAME-007.…``."""
        own = self._entry.name
        if not name.startswith(own):
            return False
        number, _, _ = name[len(own) :].partition(".")
        is_episode = len(number) > 3 and number[0] == "-" and number[1:].isdecimal()
        return number == "" or (is_episode and not self._queue.has_name(own + number))


def _said(made: _Made) -> dict[str, Any]:
    """Return what was said of a recording's episodes, and where that is kept."""
    outs, said = made.reviewable(), dict.fromkeys(made.names(), Verdict())
    try:
        for out in outs:
            known = read(out)
            said |= {name: known[name] for name in said if name in known}
    except OutputError as error:
        return {"error": str(error)}
    return {"episodes": {name: one._asdict() for name, one in said.items()} if outs else {}}


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the regular files of a folder."""
    with suppress(OSError, ValueError), os.scandir(folder) as entries:
        for one in entries:
            with suppress(OSError):  # it was removed a moment ago
                about = one.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    yield Path(one.path), about


def _opened(path: Path, most: int | None = None) -> Shown | None:
    """Open a regular file, neither a link nor a pipe."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        about = os.fstat(fd)
        if stat.S_ISREG(about.st_mode) and (most is None or about.st_size <= most):
            return Shown(path.name, _TYPES.get(path.suffix, "application/octet-stream"), about.st_size, fd)
        os.close(fd)
    return None


def _tail(path: Path) -> str | None:
    found = _opened(path)
    if found is None:
        return None
    with os.fdopen(found.fd, "rb") as file:
        file.seek(max(0, found.size - _TAIL))
        content = file.read(_TAIL).decode(errors="backslashreplace")
    cut = content if found.size <= _TAIL else content.partition("\n")[2]
    return visible(cut, lines=True)
