"""What a recording waits for is not held against it, and is waited for longer each time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from streamer.cli import main
from streamer.config.load import load
from streamer.ingest.configuration import InForce
from streamer.ingest.queue import Queue
from streamer.ingest.scan import mark_of
from streamer.ingest.scheduler import Scheduler
from streamer.supervisor.workdir import Workdir
from tests.ingest.numbered import settings
from tests.ingest.test_filing import Log

if TYPE_CHECKING:
    from pathlib import Path

LACKS = [OSError(12, "Cannot allocate memory"), MemoryError(), RuntimeError("can't start new thread")]


@pytest.mark.parametrize("lack", LACKS)
def test_a_process_that_cannot_be_begun_is_waited_for_longer_each_time_and_never_put_aside(
    tmp_path: Path, small_bag: Path, monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise lack

    monkeypatch.setattr("streamer.ingest.scheduler.Pipeline", refused)
    bag = tmp_path / "a.bag"
    shutil.copyfile(small_bag, bag)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings(tmp_path, backoff="100 s")))
    in_force, log = InForce(load(tmp_path / "c.yaml"), tmp_path), Log()
    with Queue(tmp_path / "queue.sqlite") as queue:
        entry = queue.add("a", bag, "identity", mark_of([bag]))
        scheduler = Scheduler(Workdir(tmp_path), queue, log, lambda _: None)  # type: ignore[arg-type]
        for _ in range(5):
            scheduler.begin(in_force)
            assert queue.get(entry.id).state == "failed"
            queue.next_attempt(entry)
        assert queue.get(entry.id).attempts == 0
    waits = [values["again_in"] for event, values in log.lines if event == "failed"]
    assert waits == [pytest.approx(wait, abs=1) for wait in (100, 200, 400, 600, 600)]


@pytest.mark.parametrize("lack", LACKS)
def test_a_command_that_lacks_something_for_a_while_says_so_and_may_be_started_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lack: Exception
) -> None:
    def lacking() -> None:
        raise lack

    monkeypatch.setattr("streamer.cli._run", lacking)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 74
    assert capsys.readouterr().err.startswith("streamer: the system has ")
