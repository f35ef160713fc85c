"""What cannot be filed waits by itself, and holds up nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streamer.files import FileIdentity
from streamer.ingest.filing import Filing
from streamer.ingest.queue import Queue
from streamer.ingest.scan import mark_of
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Log:
    """Remembers what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))

    warning = error = info


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "queue.sqlite") as made:
        yield made


def put(queue: Queue, path: Path) -> None:
    """Enter a recording that is done."""
    path.write_text(path.name)
    entry = queue.add(path.stem, path, path.name, mark_of([path]))
    queue.begun(entry, "configuration")
    queue.read_from(entry, {path.name: FileIdentity.of(path)})
    queue.done(entry, 1, {})


def test_nine_that_cannot_be_removed_do_not_starve_the_tenth(tmp_path: Path, queue: Queue) -> None:
    names = [f"{number}.bag" for number in range(12)]
    for name in names:
        put(queue, tmp_path / name)
    log = Log()
    filing = Filing(queue, log, lambda: None)  # type: ignore[arg-type]
    filing.backoff = 3600.0

    def turn() -> bool:
        filing.take_in()
        filing.begin(None)
        return not any((tmp_path / name).exists() for name in names[9:])

    with ExitStack() as stack:
        for name in names[:9]:  # somebody writes to them
            stack.enter_context((tmp_path / name).open("r+b"))
        wait_until(turn, "the filing of the others")
        filing.take_in()
        assert all((tmp_path / name).exists() for name in names[:9])
        assert "a program has it open for writing (and 8 more)" in filing.problem
        assert 0 < filing.seconds_to_next() <= 3600.0
    filing.close()
    assert sum(event == "not filed" for event, _ in log.lines) == 9


def test_a_doubt_is_said_once_and_kept(tmp_path: Path, queue: Queue) -> None:
    put(queue, tmp_path / "a.bag")
    (tmp_path / "a.bag").write_text("b.bag")
    log = Log()
    filing = Filing(queue, log, lambda: None)  # type: ignore[arg-type]
    filing.begin(None)
    filing.close()
    (entry,) = queue.find("a")
    assert entry.filed.startswith("kept: a.bag is another file than was read, or was written to since")
    assert queue.unfiled(set(), 8) == []
    assert [event for event, _ in log.lines] == ["filed"]
    assert (tmp_path / "a.bag").read_text() == "b.bag"
