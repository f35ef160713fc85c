"""Processes are killed with real signals: nothing is lost, nothing is doubled, nobody is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamer.supervisor.template import CAN_FORK
from tests.pipeline.driver import digests, run, start, wait_until
from tests.pipeline.takes import committed

Config = dict[str, Any]
GATE = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 17}}


@pytest.fixture
def gated(config: Config) -> Config:
    """Return the configuration with a consumer that waits in the fourth chunk."""
    config["consumers"]["gate"] = GATE
    return config


@pytest.fixture
def expected(tmp_path: Path, config: Config) -> dict[str, Any]:
    """Return the digests of an undisturbed run."""
    undisturbed = config | {"consumers": {"digest": config["consumers"]["digest"]}}
    assert run(tmp_path / "undisturbed", undisturbed).code == 0
    return digests(tmp_path / "undisturbed" / "digest.json")


def at_the_gate(folder: Path) -> int:
    """Wait until the gate's process stands at its frame; return its process id."""
    wait_until((folder / "here").exists, "the gate")
    return int((folder / "here").read_text())


def open_gate(folder: Path) -> None:
    (folder / "go").touch()


@pytest.mark.parametrize("where", ["on_frame", "on_chunk"])
def test_a_killed_consumer_is_replaced_and_repeats_only_its_chunk(
    tmp_path: Path, config: Config, expected: dict[str, Any], where: str
) -> None:
    config["consumers"]["gate"] = GATE | {"options": {"folder": ".", "at": 17, "where": where}}
    config["consumers"]["all"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "all"}}
    with start(tmp_path, config) as running:
        pid = at_the_gate(tmp_path)
        open_gate(tmp_path)
        os.kill(pid, signal.SIGKILL)
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == expected
    assert finished.report["consumers"]["gate"]["restarts"] == {"planned": 0, "crash": 1}
    assert finished.report["consumers"]["gate"]["frames"] == 40
    assert "SIGKILL" in finished.err


def test_a_killed_checksum_goes_on_from_its_state(tmp_path: Path, config: Config, expected: dict[str, Any]) -> None:
    config["consumers"]["gate"] = GATE
    with start(tmp_path, config) as running:
        at_the_gate(tmp_path)  # the pool holds the checksum back near the gate's chunk
        running.children()["digest.1"].kill()
        open_gate(tmp_path)
        finished = running.end()
    assert finished.code == 0, finished
    assert finished.report["consumers"]["digest"]["restarts"]["crash"] == 1
    assert digests(tmp_path / "digest.json") == expected


def test_a_killed_reader_is_replaced_and_everyone_goes_on(
    tmp_path: Path, gated: Config, expected: dict[str, Any]
) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.children()["reader"].kill()  # before the gate opens: a reader whose last frame is out may end first
        open_gate(tmp_path)
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == expected
    assert "the reader ended (killed by SIGKILL)" in finished.err


def test_nobody_survives_a_killed_supervisor_and_the_run_can_be_continued(
    tmp_path: Path, gated: Config, expected: dict[str, Any]
) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        children = list(running.children().values())
        assert len(children) == (5 if CAN_FORK else 3)  # the reader, two consumers, the template of each
        running.process.kill()
        wait_until(lambda: not any(alive(child) for child in children), "the children's end")
    open_gate(tmp_path)
    refused = run(tmp_path, gated)
    assert refused.code == 64, refused
    assert "--resume" in refused.err
    assert "--restart" in refused.err
    finished = run(tmp_path, gated, "--resume")
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == expected


def test_a_run_is_not_continued_with_other_settings_of_a_consumer(
    tmp_path: Path, gated: Config, expected: dict[str, Any]
) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.signal(signal.SIGTERM)
        wait_until(lambda: "finishes its chunk" in running.said(), "the announcement")
        open_gate(tmp_path)
        assert running.end().code == 75
    for change, told in (
        ("consumers.digest.every=3", "consumers.digest.every: it was 1 in the run to be continued and is 3 now"),
        ("consumers.digest.options.out=other.json", "consumers.digest.options.out: it was"),
    ):
        refused = run(tmp_path, gated, "--resume", change)
        assert refused.code == 78, refused
        assert told in refused.err
        assert "the command line: " in refused.err
        assert "--restart" in refused.err
    assert not (tmp_path / "digest.json").exists()
    assert run(tmp_path, gated, "--resume", "consumers.digest.recycle.chunks=3").code == 0  # how it is run, is free
    assert digests(tmp_path / "digest.json") == expected
    assert run(tmp_path, gated, "--resume", "consumers.digest.every=3").code == 78  # what is done, too


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_lets_everyone_finish_its_chunk_and_the_run_can_be_continued(
    tmp_path: Path, gated: Config, expected: dict[str, Any], number: int
) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.signal(number)
        wait_until(lambda: "finishes its chunk" in running.said(), "the announcement")
        open_gate(tmp_path)
        finished = running.end()
    assert finished.code == 75, finished
    assert "--resume" in finished.out
    report = finished.report
    chunks = report["consumers"]["gate"]["chunks"]
    assert chunks in (4, 5)  # the chunk of frame 17, and the next where its first frames were on their way
    assert report["frames"]["remaining"] == 40 - 5 * chunks
    assert not (tmp_path / "digest.json").exists()
    again = run(tmp_path, gated, "--resume")
    assert again.code == 0, again
    assert digests(tmp_path / "digest.json") == expected
    assert again.report["frames"] == {"planned": 40, "delivered": 40, "skipped": {}, "remaining": 0}
    assert run(tmp_path, gated, "--resume").code == 0  # nothing is left to do


def test_a_second_signal_stops_at_once(tmp_path: Path, gated: Config, expected: dict[str, Any]) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.signal(signal.SIGTERM)
        wait_until(lambda: "finishes its chunk" in running.said(), "the announcement")
        running.signal(signal.SIGTERM)
        finished = running.end()  # though the gate is still closed
    assert finished.code == 75, finished
    open_gate(tmp_path)
    again = run(tmp_path, gated, "--resume")
    assert again.code == 0, again
    assert digests(tmp_path / "digest.json") == expected


def test_a_signal_to_the_whole_group_is_no_different(tmp_path: Path, gated: Config, expected: dict[str, Any]) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        os.killpg(running.process.pid, signal.SIGINT)
        wait_until(lambda: "finishes its chunk" in running.said(), "the announcement")
        open_gate(tmp_path)
        finished = running.end()
    assert finished.code == 75, finished
    assert finished.report["consumers"]["gate"]["restarts"] == {"planned": 0, "crash": 0}
    assert run(tmp_path, gated, "--resume").code == 0
    assert digests(tmp_path / "digest.json") == expected


def test_restart_forgets_an_unfinished_run(tmp_path: Path, gated: Config, expected: dict[str, Any]) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.process.kill()
    open_gate(tmp_path)
    finished = run(tmp_path, gated, "--restart", "chunk_size=4")
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == expected


def test_resuming_with_another_plan_is_refused(tmp_path: Path, gated: Config) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.process.kill()
    open_gate(tmp_path)
    finished = run(tmp_path, gated, "--resume", "chunk_size=4")
    assert finished.code == 78, finished
    assert "--restart" in finished.err
    assert run(tmp_path, gated, "--resume").code == 0


def test_a_hung_consumer_is_ended_after_its_deadline_and_replaced(
    tmp_path: Path, gated: Config, expected: dict[str, Any]
) -> None:
    gated["consumers"]["gate"] = GATE | {"deadline": "1 s"}
    with start(tmp_path, gated) as running:
        first = at_the_gate(tmp_path)
        wait_until(lambda: not psutil.pid_exists(first), "the end of the hung process")
        open_gate(tmp_path)
        finished = running.end()
    assert finished.code == 0, finished
    assert "silent" in finished.err
    assert digests(tmp_path / "digest.json") == expected


def test_a_chunk_that_kills_its_consumer_again_and_again_is_given_up(tmp_path: Path, config: Config) -> None:
    config["consumers"]["bad"] = {
        "use": "tests.pipeline.probes:Faulty",
        "options": {"how": "kill", "at": 12},  # in the first chunk of its second generation
        "recycle": {"chunks": 2},
    }
    finished = run(tmp_path, config)
    assert finished.code == 70, finished
    restarts = finished.report["consumers"]["bad"]["restarts"]
    assert restarts == {"planned": 1, "crash": 3}
    assert finished.report["consumers"]["bad"]["chunks"] == 2


def test_a_closed_error_output_does_not_stop_the_work(tmp_path: Path, gated: Config) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        assert running.process.stderr is not None
        running.process.stderr.close()  # whoever was reading has gone
        running.process.stderr = None
        open_gate(tmp_path)
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json")["frames"] == 40


def test_what_a_stopped_run_says_was_delivered_is_what_was_committed(tmp_path: Path, gated: Config) -> None:
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        wait_until(lambda: committed(tmp_path, "gate") == 3, "its commits to be written down")
        running.signal(signal.SIGTERM)
        wait_until(lambda: "finishes its chunk" in running.said(), "the announcement")
        running.signal(signal.SIGTERM)
        finished = running.end()
    frames = finished.report["frames"]
    assert frames["delivered"] == 15  # the gate's, in its fourth chunk
    assert frames["remaining"] == 25
    assert finished.report["consumers"]["gate"]["chunks"] == 3


def test_a_consumer_with_helpers_and_open_files_leaves_nothing_behind_and_loses_nothing(
    tmp_path: Path, config: Config
) -> None:
    out = tmp_path / "crowd.txt"
    config["consumers"]["crowd"] = {"use": "tests.pipeline.probes:Crowd", "options": {"out": str(out)}}
    finished = run(tmp_path, config)
    assert finished.code == 0, finished
    assert out.read_text().split() == [str(n) for n in range(40)]
    helper = int(Path(f"{out}.pid").read_text())
    wait_until(lambda: not psutil.pid_exists(helper) or not alive(psutil.Process(helper)), "the helper's end")


def test_a_consumer_that_is_killed_while_it_warms_up_is_started_again(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"]["slow"] = {"use": "tests.pipeline.probes:Slow", "options": {"folder": "."}}
    with start(tmp_path, config) as running:
        pid = at_the_gate(tmp_path)
        open_gate(tmp_path)
        os.kill(pid, signal.SIGKILL)
        finished = running.end()
    assert finished.code == 0, finished
    assert finished.report["consumers"]["slow"]["restarts"]["crash"] == 1
    assert digests(tmp_path / "digest.json") == expected


def test_resuming_a_recording_that_was_changed_is_refused(tmp_path: Path, gated: Config) -> None:
    bag = tmp_path / "copy.bag"
    bag.write_bytes(Path(gated["source"]["path"]).read_bytes())
    gated["source"]["path"] = "copy.bag"
    with start(tmp_path, gated) as running:
        at_the_gate(tmp_path)
        running.process.kill()
    open_gate(tmp_path)
    content = bytearray(bag.read_bytes())
    second = content.index(b"\xff\xd8\xff", content.index(b"\xff\xd8\xff") + 1)
    content[second + 300] ^= 255  # in the pixels of a picture: every stamp stays as it was
    bag.write_bytes(content)
    refused = run(tmp_path, gated, "--resume")
    assert refused.code == 78, refused
    assert "was changed" in refused.err
