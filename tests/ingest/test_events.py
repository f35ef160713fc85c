"""A queue of thousands of recordings on the page: what it costs to keep a page up to date."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.ingest.http import HttpServer
from streamer.ingest.queue import Queue
from streamer.ingest.scan import Mark
from streamer.ingest.snapshot import Live, snapshot
from streamer.ingest.table import Table
from tests.ingest import snapshots
from tests.ingest.test_patches import merge_patch

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 5000


def fill(path: Path, count: int = COUNT) -> None:
    """Make a queue of recordings that nobody has streamed: most of them done, the others waiting or put aside."""
    with Queue(path) as queue:
        queue._do("BEGIN")  # noqa: SLF001 - one transaction instead of thousands
        for number in range(count):
            name = f"2026-11-{number % 28 + 1:02d}-robot-{number:05d}"
            entry = queue.add(
                name, Path(f"/data/incoming/site-3/{name}.bag"), f"id{number}", Mark(10**9, 1, number, number)
            )
            if number % 10 == 0:
                queue.quarantine(
                    entry, "streams.state: message 1731, needed for frame 57: joint 'elbow' is nan", "mend it"
                )
            elif number % 2:
                queue.done(queue.begun(entry, "c"), 3000, {"dataset": "/data/out/dataset"})
        queue._do("COMMIT")  # noqa: SLF001 - see above


def events(connection: HTTPConnection) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each event with its size."""
    connection.request("GET", "/events")
    answer = connection.getresponse()
    while line := answer.readline():
        if line.startswith(b"data: "):
            yield len(line) + 1, json.loads(line[6:])


class Busy:
    """A daemon with two recordings under way and one that ends every second."""

    def __init__(self, path: Path) -> None:
        self._path, self._table, self.taken = path, Table(), 0

    def snapshot(self) -> dict[str, Any]:
        self.taken += 1
        with Queue(self._path) as queue:
            entry = queue.waiting()[0]
            queue.done(queue.begun(entry, "c"), 3000, {"dataset": "/data/out/dataset"})
            found = snapshot(queue, Live("watch.yaml"), self._table.read(queue))
        running = [snapshots.run(number, done=self.taken + number) for number in (1, 2)]
        for run in running:
            status = run["status"]
            status["bytes_per_second"] += self.taken * 10**6
            status["consumers"]["dataset"] |= {
                "position": self.taken,
                "behind": self.taken % 7,
                "holds": self.taken % 5,
            }
            for memory in status["memory"].values():
                memory["anon"] += self.taken * 10**6
        return found | {"running": running, "memory": {"used": self.taken * 10**7, "budget": None}}


def test_a_page_of_five_thousand_recordings_costs_two_kilobytes_a_second(tmp_path: Path) -> None:
    fill(tmp_path / "queue.sqlite")
    daemon = Busy(tmp_path / "queue.sqlite")
    with ExitStack() as stack:
        server = stack.enter_context(HttpServer("127.0.0.1", 0, None, daemon.snapshot, lambda: None, lambda _: None))
        connection = HTTPConnection(*server.address, timeout=60)
        stack.callback(connection.close)
        stream = events(connection)
        whole, first = next(stream)
        began, told, page, edition = time.monotonic(), 0, first["all"], first["edition"]
        for _ in range(5):
            size, event = next(stream)
            told += size
            assert event["since"] == edition
            edition, page = event["edition"], merge_patch(page, event["patch"])
        seconds = time.monotonic() - began
    assert len(page["rows"]) > 3000
    assert whole > 500_000
    assert told / seconds < 2000, f"{told} bytes in {seconds:.1f} s"
    taken = page["head"]["memory"]["used"] // 10**7  # what the daemon says of this page; it has made others since
    assert taken >= 6
    assert page["head"]["counts"]["done"] == COUNT // 2 + taken  # nothing was left out
    assert sum(row["state"] == "queued" for row in page["rows"].values()) == page["head"]["counts"]["queued"]


def test_a_table_reads_what_changed_and_is_as_if_it_had_read_all(tmp_path: Path) -> None:
    fill(tmp_path / "queue.sqlite", 400)
    table = Table(100)
    with Queue(tmp_path / "queue.sqlite") as queue:
        for _ in range(30):
            before = {row["id"]: row for row in table.read(queue)}
            for entry in queue.waiting()[:5]:
                queue.done(queue.begun(entry, "c"), 1, {})
            queue.failed(queue.waiting()[0], "why", None)
            queue.again(queue.last_done(200)[150])
            queue.add("new", Path("/new"), str(time.monotonic_ns()), Mark(1, 1, 1, 1))
            rows = table.read(queue)
            assert rows == Table(100).read(queue)
            assert {row["id"] for row in rows} == {e.id for e in queue.not_done() + queue.last_done(100)}
            assert sum(before.get(row["id"]) is row for row in rows) > len(rows) - 20
