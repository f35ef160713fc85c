"""The queue, looked at again and again → its recordings as they are shown; only those that changed are read again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from streamer.ingest.snapshot import as_json

if TYPE_CHECKING:
    from streamer.ingest.queue import Queue

_MOST_DONE = 1000  # of the recordings that are done, the last ones
_SLACK = 100  # more than that, before the oldest are left out


class Table:
    """What was read so far; any thread may ask for it."""

    def __init__(self, most_done: int = _MOST_DONE) -> None:
        """Begin with nothing read."""
        self._most = most_done
        self._lock = threading.Lock()
        self._version = -1
        self._rows: dict[int, dict[str, Any]] = {}

    def read(self, queue: Queue) -> list[dict[str, Any]]:
        """Return everything that is not done, the newest first, and what was done last; unchanged, the same objects."""
        with self._lock:
            version = queue.version()
            if self._version < 0:
                entries = queue.not_done() + queue.last_done(self._most)
            else:
                entries = queue.changed_since(self._version)
            self._rows |= {entry.id: as_json(entry) for entry in entries}
            self._version = version
            done = [row for row in self._rows.values() if row["state"] == "done"]
            done.sort(key=lambda row: row["ended"] or 0, reverse=True)
            if len(done) > self._most + _SLACK:
                for row in done[self._most :]:
                    del self._rows[row["id"]]
            rest = [row for row in self._rows.values() if row["state"] != "done"]
            return sorted(rest, key=lambda row: -row["id"]) + done[: self._most]
