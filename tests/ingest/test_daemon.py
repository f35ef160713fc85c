"""The real daemon over a real folder: recordings appear, outputs come out, whatever is killed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ingest.driver import Watch, command, settings
from tests.pipeline.driver import digests, run, wait_until

Config = dict[str, Any]
GATE = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 17}}


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


@pytest.fixture
def watching(incoming: Path) -> Config:
    return settings(incoming)


@pytest.fixture
def expected(tmp_path: Path, config: Config) -> dict[str, Any]:
    """Return the digests of a plain run."""
    assert run(tmp_path / "plain", config).code == 0
    return digests(tmp_path / "plain" / "digest.json")


def drop(bag: Path, folder: Path, name: str) -> Path:
    """Let a recording appear as one does that is copied: under a working name, then renamed."""
    draft = folder / f"{name}.partial"
    shutil.copyfile(bag, draft)
    return draft.rename(folder / name)


def spoil(bag: Path, path: Path) -> None:
    """Write a copy whose middle is damaged; its index is fine."""
    content = bytearray(bag.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60_000] = bytes(60_000)
    path.write_bytes(content)


def test_what_appears_comes_out_and_is_remembered(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config
) -> None:
    drop(small_bag, incoming, "before.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(before="done")
        assert digests(tmp_path / "out" / "before.json") == expected
        found = daemon.one("before")
        assert (found["attempts"], found["frames"], found["error"]) == (1, 40, "")
        assert found["outputs"] == {"digest": str(tmp_path / "out" / "before.json")}
        assert daemon.end() == 0
    left = {path.name for path in (tmp_path / ".streamer").iterdir()}
    assert left == {"jobs", "lock", "logs", "queue.sqlite", "reports"}
    assert not list((tmp_path / ".streamer" / "jobs").iterdir())
    table = command(tmp_path, "status", "watch.yaml")
    assert "not running" in table.stdout
    assert "before" in table.stdout
    (done,) = daemon.events("done")
    assert done["recording"] == "before"


def test_a_copy_a_rename_and_a_restart_are_no_new_work(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path
) -> None:
    path = drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
        path.rename(incoming / "b.bag")
        wait_until(lambda: daemon.one("a")["path"].endswith("b.bag"), "the new path")
        drop(small_bag, incoming, "copy.bag")
        wait_until(lambda: daemon.events("a copy"), "the copy")
        daemon.kill()
    with Watch(tmp_path, watching) as daemon:
        drop(small_bag, incoming, "second.bag")
        wait_until(lambda: len(daemon.events("a copy")) >= 2, "the second copy")
        assert daemon.states() == {"a": "done"}
        assert daemon.one("a")["attempts"] == 1


def test_a_file_that_grows_is_left_alone_until_it_is_whole(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config
) -> None:
    content = small_bag.read_bytes()
    with Watch(tmp_path, watching) as daemon, (incoming / "slow.bag").open("wb") as file:
        for part in range(4):
            file.write(content[part * len(content) // 4 : (part + 1) * len(content) // 4])
            file.flush()
            if part < 3:
                wait_until(lambda: daemon.one("slow.bag").get("error"), "a look at the part")
        file.close()
        daemon.wait(slow="done")
        assert daemon.one("slow")["attempts"] == 1
    assert digests(tmp_path / "out" / "slow.json") == expected


def test_a_bad_recording_is_tried_put_aside_and_tried_again_on_request(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, other_bag: Path
) -> None:
    watching["source"]["attempts"] = 2
    spoil(small_bag, incoming / "bad.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(bad="quarantined")
        found = daemon.one("bad")
        assert found["attempts"] == 2
        assert found["error"]
        assert [line["attempt"] for line in daemon.events("begun")] == [1, 2]
        drop(other_bag, incoming, "good.bag")
        daemon.wait(good="done", bad="quarantined")
        listed = command(tmp_path, "quarantine", "list", "watch.yaml")
        assert listed.stdout.startswith(f"#{found['id']} bad: ")
        shown = json.loads(command(tmp_path, "quarantine", "show", "watch.yaml", "bad").stdout)
        assert shown["report"]["exit_code"] == 65
        again = command(tmp_path, "retry", "watch.yaml", str(incoming / "bad.bag"))
        assert "bad: queued" in again.stdout, again
        wait_until(lambda: len(daemon.events("quarantined")) == 2, "the second time")
        daemon.end()
    later = command(tmp_path, "quarantine", "retry", "watch.yaml")
    assert "bad: queued" in later.stdout, later
    unknown = command(tmp_path, "retry", "watch.yaml", "nothing")
    assert unknown.returncode == 64
    assert "streamer status" in unknown.stderr


@pytest.mark.slow
def test_a_whole_copy_of_what_was_put_aside_gets_its_chance(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config
) -> None:
    watching["source"]["attempts"] = 1
    spoil(small_bag, incoming / "bad.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(bad="quarantined")
        drop(small_bag, incoming, "bad.bag")  # size and ends as before, and the middle whole
        daemon.wait(bad="done")
    assert digests(tmp_path / "out" / "bad.json") == expected


@pytest.mark.slow
@pytest.mark.parametrize(("unfinished", "state"), [("quarantine", "quarantined"), ("salvage", "done")])
def test_what_nobody_finishes_is_given_up(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, unfinished: str, state: str
) -> None:
    watching["source"] |= {"give_up_after": "1 s", "unfinished": unfinished}
    content = small_bag.read_bytes()
    (incoming / "cut.bag").write_bytes(content[: len(content) // 2])
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(cut=state)
        assert "breaks off" in daemon.one("cut")["error" if state == "quarantined" else "note"]
        if state == "quarantined":  # its copy is finished after all
            (incoming / "cut.bag").write_bytes(content)
            daemon.wait(cut="done")
            assert daemon.one("cut")["frames"] == 40


def test_the_daemon_is_killed_in_the_middle_and_the_next_goes_on(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config
) -> None:
    watching["consumers"]["gate"] = GATE
    watching["consumers"]["all"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "{recording}-all"}}
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        wait_until(lambda: len(list((tmp_path / "a-all").glob("part-*"))) >= 3, "three chunks")
        children = psutil.Process(daemon.process.pid).children(recursive=True)
        assert len(children) == 8  # the supervisor, its reader, three consumers, three templates of their next ones
        daemon.kill()
        wait_until(lambda: not any(child.is_running() for child in children), "the children's end")
    (tmp_path / "go").touch()
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
        assert daemon.one("a")["attempts"] == 1
    assert digests(tmp_path / "out" / "a.json") == expected
    calls = [line.split(" ", 1)[1] for line in (tmp_path / "a-all" / "calls.txt").read_text().splitlines()]
    assert sum(call.startswith("open None") for call in calls) == 1  # the second process went on from its state


@pytest.mark.slow
def test_a_pipeline_that_was_killed_from_outside_goes_on_and_that_is_no_attempt(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        (pipeline,) = psutil.Process(daemon.process.pid).children()
        pipeline.kill()
        (tmp_path / "go").touch()
        daemon.wait(a="done")
        assert daemon.one("a")["attempts"] == 1
        assert "SIGKILL" in daemon.events("failed")[0]["error"]
    assert digests(tmp_path / "out" / "a.json") == expected


@pytest.mark.slow
@pytest.mark.parametrize("how", ["renamed over", "written over"])
def test_what_is_replaced_while_it_runs_comes_out_as_it_is_in_the_end(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config, how: str, other_bag: Path
) -> None:
    watching["consumers"]["gate"] = GATE
    path = drop(other_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        if how == "renamed over":
            drop(small_bag, incoming, "a.bag")
        else:
            path.write_bytes(small_bag.read_bytes())
        (tmp_path / "go").touch()
        name = "a-2" if how == "renamed over" else "a"  # what was read whole stays
        wait_until(lambda: daemon.states().get(name) == "done", "the new one")
    assert digests(tmp_path / "out" / f"{name}.json") == expected


def test_drain_lets_the_chunk_end_and_the_next_daemon_goes_on(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, expected: Config
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        assert "finishes its chunk" in command(tmp_path, "drain", "watch.yaml").stdout
        assert daemon.status()["state"] == "draining"
        (tmp_path / "go").touch()
        assert daemon.process.wait(60) == 0
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
        assert daemon.one("a")["attempts"] == 1
    assert digests(tmp_path / "out" / "a.json") == expected


def test_a_pause_lets_what_runs_go_on_begins_nothing_new_and_outlasts_a_restart(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, other_bag: Path
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        assert "nothing new begins" in command(tmp_path, "pause", "watch.yaml").stdout
        drop(other_bag, incoming, "b.bag")
        (tmp_path / "go").touch()
        daemon.wait(a="done", b="queued")
        status = daemon.status()
        assert (status["state"], status["held"]) == ("paused", True)
        assert "streamer resume" in command(tmp_path, "status", "watch.yaml").stdout
        assert daemon.end() == 0
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(b="queued")
        wait_until(lambda: daemon.status()["state"] == "paused", "the pause of before")
        assert "begin again" in command(tmp_path, "resume", "watch.yaml").stdout
        daemon.wait(b="done")
        assert daemon.end() == 0
    assert command(tmp_path, "pause", "watch.yaml").returncode == 0  # nobody runs: the next one finds it
    with Watch(tmp_path, watching) as daemon:
        wait_until(lambda: daemon.status()["held"], "the pause")


@pytest.mark.slow
def test_two_signals_stop_it_at_once_and_nobody_is_left(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path
) -> None:
    watching["consumers"]["gate"] = GATE
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        daemon.process.send_signal(signal.SIGTERM)
        wait_until(lambda: daemon.status()["state"] == "draining", "the first signal")
        assert daemon.end() == 0
    assert command(tmp_path, "status", "watch.yaml", "--json").returncode == 0


def test_a_new_configuration_is_checked_before_it_replaces_the_old_one(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path
) -> None:
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="done")
        daemon.write(watching | {"chunk_sise": 7})
        refused = command(tmp_path, "status", "watch.yaml")
        assert refused.returncode == 78
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("mistakes" in line["event"] for line in daemon.log()), "the refusal")
        daemon.write(watching | {"chunk_size": 7})
        assert "read again" in command(tmp_path, "reload", "watch.yaml").stdout
        assert "another configuration" in daemon.status()["warnings"][0]
        daemon.write(watching | {"http": "127.0.0.1:9"})
        refused = command(tmp_path, "reload", "watch.yaml")
        assert refused.returncode == 78
        assert "restart" in refused.stderr
        daemon.end()
    with Watch(tmp_path, watching | {"chunk_size": 7}, "--reprocess") as daemon:
        wait_until(lambda: len(daemon.events("done")) == 2, "the second time")
        assert daemon.status()["warnings"] == []


@pytest.mark.parametrize("after", ["move", "delete"])
def test_a_recording_is_filed_only_when_all_is_committed(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, after: str
) -> None:
    watching["source"] |= {"after": after} | ({"move_to": str(incoming / "done")} if after == "move" else {})
    watching["consumers"]["gate"] = GATE
    path = drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        assert path.exists()
        (tmp_path / "go").touch()
        wait_until(lambda: daemon.events("filed"), "the filing")
        assert not path.exists()
        assert (incoming / "done" / "a.bag").exists() == (after == "move")
        assert daemon.states() == {"a": "done"}


@pytest.mark.slow
@pytest.mark.parametrize("after", ["move", "delete"])
def test_bytes_that_nobody_read_are_neither_deleted_nor_moved(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, after: str
) -> None:
    watching["source"] |= {"after": after} | ({"move_to": str(tmp_path / "archive")} if after == "move" else {})
    watching["consumers"]["gate"] = GATE
    path = drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        times = path.stat()
        with path.open("r+b") as file:  # size, both ends and times stay as they were
            file.seek(times.st_size // 2)
            file.write(b"nobody has read this")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        content = path.read_bytes()
        (tmp_path / "go").touch()
        wait_until(lambda: daemon.events("filed"), "the decision")
        assert daemon.events("filed")[0]["what"].startswith("kept: a.bag is another file than was read")
        assert "kept: " in daemon.one("a")["note"]
        assert path.read_bytes() == content


@pytest.mark.slow
def test_nothing_is_begun_while_a_disk_is_too_full(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path
) -> None:
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching | {"free_space": "900 TB"}) as daemon:
        daemon.wait(a="queued")
        wait_until(lambda: daemon.status()["state"] == "paused", "the pause")
        assert "below free_space" in daemon.status()["paused"]
        daemon.write(watching)
        command(tmp_path, "reload", "watch.yaml")
        daemon.wait(a="done")


@pytest.mark.slow
def test_two_daemons_do_not_share_a_work_folder_and_the_socket_is_ours_alone(tmp_path: Path, watching: Config) -> None:
    with Watch(tmp_path, watching):
        second = command(tmp_path, "watch", "watch.yaml")
        assert second.returncode == 75
        assert "in use" in second.stderr
        assert stat.S_IMODE((tmp_path / ".streamer" / "control.sock").stat().st_mode) == 0o600
    assert command(tmp_path, "drain", "watch.yaml").returncode == 75


@pytest.mark.slow
def test_jobs_run_side_by_side_within_one_budget(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path, other_bag: Path
) -> None:
    watching |= {"jobs": 2, "memory": "1 GB"}
    watching["consumers"]["gate"] = GATE
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching | {"memory": "500 MB"}) as daemon:  # of which one may need 400
        wait_until((tmp_path / "here").exists, "the gate")
        assert daemon.status()["jobs"] == 1
        drop(other_bag, incoming, "b.bag")
        daemon.wait(a="running", b="queued")
        daemon.write(watching)
        command(tmp_path, "reload", "watch.yaml")
        wait_until(lambda: len(daemon.status()["running"]) == 2, "both")
        (tmp_path / "go").touch()
        daemon.wait(a="done", b="done")


def test_configurations_that_watch_and_those_that_name_are_told_apart(
    tmp_path: Path, watching: Config, small_bag: Path
) -> None:
    (tmp_path / "watch.yaml").write_text(json.dumps(watching))
    assert "streamer watch" in command(tmp_path, "run", "watch.yaml").stderr
    named = watching | {"source": {"path": str(small_bag)}}
    del named["free_space"]
    (tmp_path / "run.yaml").write_text(json.dumps(named))
    assert "streamer run" in command(tmp_path, "watch", "run.yaml").stderr
    (tmp_path / "both.yaml").write_text(json.dumps(watching | {"source": {"path": "a", "settle": "1 s"}}))
    refused = command(tmp_path, "run", "both.yaml")
    assert refused.returncode == 78
    assert "'settle' says how folders are watched" in refused.stderr


@pytest.mark.slow
def test_a_running_recording_has_a_picture(tmp_path: Path, incoming: Path, watching: Config, small_bag: Path) -> None:
    watching["consumers"] = {"preview": {"options": {"out": "sheets"}}, "gate": GATE}
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        wait_until((tmp_path / "here").exists, "the gate")
        wait_until(lambda: daemon.status()["running"][0]["image"], "the picture")
        picture = tmp_path / "sheets" / ".a.preview" / "latest.jpg"
        assert picture.read_bytes().startswith(b"\xff\xd8")
        (tmp_path / "go").touch()
        daemon.wait(a="done")
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["a.preview.png"]


@pytest.mark.slow
def test_a_consumer_that_does_not_take_its_options_is_told_before_anything_comes(
    tmp_path: Path, incoming: Path, watching: Config, small_bag: Path
) -> None:
    watching["consumers"]["digest"]["options"] = {"out": "one.json"}  # each recording would write over the last
    (tmp_path / "watch.yaml").write_text(json.dumps(watching))
    refused = command(tmp_path, "watch", "watch.yaml")
    assert refused.returncode == 78
    assert "{recording}" in refused.stderr
    watching["streams"]["joints"]["topic"] = "/nowhere"  # what a recording lacks is that recording's fault
    watching["consumers"]["digest"]["options"] = {"out": "{recording}.json"}
    drop(small_bag, incoming, "a.bag")
    with Watch(tmp_path, watching) as daemon:
        daemon.wait(a="quarantined")
        assert "/nowhere" in daemon.one("a")["error"]
        assert daemon.one("a")["attempts"] == 1  # it would end the same way again
    checked = command(tmp_path, "check", "watch.yaml")
    assert checked.returncode == 78
    assert "/nowhere" in checked.stdout
