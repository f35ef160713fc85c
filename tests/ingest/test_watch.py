"""Folders → candidates by rules of names, and sights by rules of time: no recording is taken before it is whole."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer.ingest.changes import Changes
from streamer.ingest.scan import Mark, files_of, mark_of, scan
from streamer.ingest.sights import Sights
from streamer.ingest.watcher import Watcher
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTLE = 10.0


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(folder: Path, *patterns: str, left_out: list[Path] | None = None) -> list[str]:
    return [str(c.path.relative_to(folder)) for c in scan([folder], patterns or ("*",), left_out or [])]


def test_working_names_and_hidden_ones_do_not_count(tmp_path: Path) -> None:
    for name in ("a.bag", "b.bag.active", "c.bag.tmp", "d.bag.partial", ".e.bag", ".f/g.bag", "h.tmp/i.bag", "j.txt"):
        touch(tmp_path / name)
    assert found(tmp_path) == ["a.bag"]


def test_folders_below_are_looked_through_but_for_links_and_what_is_ours(tmp_path: Path) -> None:
    for name in ("x/y/a.mcap", "done/b.bag", "c.bag"):
        touch(tmp_path / name)
    (tmp_path / "x" / "loop").symlink_to(tmp_path)
    assert found(tmp_path, left_out=[tmp_path / "done"]) == ["c.bag", "x/y/a.mcap"]


def test_a_rosbag2_folder_is_one_recording_also_before_it_has_its_metadata(tmp_path: Path) -> None:
    touch(tmp_path / "run" / "run_0.mcap")
    touch(tmp_path / "run" / "run_1.mcap")
    touch(tmp_path / "loose" / "one.mcap")
    touch(tmp_path / "loose" / "two.mcap")
    touch(tmp_path / "named" / "anything.db3")
    touch(tmp_path / "named" / "metadata.yaml")
    assert found(tmp_path) == ["loose/one.mcap", "loose/two.mcap", "named", "run"]
    assert [path.name for path in files_of(tmp_path / "named")] == ["anything.db3", "metadata.yaml"]


def test_a_pattern_is_of_the_recording_or_of_a_file_in_it(tmp_path: Path) -> None:
    for name in ("a.bag", "b.mcap", "run/run_0.mcap", "deep/c.bag"):
        touch(tmp_path / name)
    assert found(tmp_path, "*.bag") == ["a.bag", "deep/c.bag"]
    assert found(tmp_path, "*.mcap") == ["b.mcap", "run"]
    assert found(tmp_path, "r*") == ["run"]
    assert found(tmp_path, "*/deep/*") == ["deep/c.bag"]


def test_a_folder_that_is_not_there_is_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan([tmp_path / "unmounted"], ["*"])


def test_names_of_any_bytes_are_names(tmp_path: Path) -> None:
    for name in (b"a b.bag", b"\xc3\xa4.bag", b"\xff\xfe.bag", b"new\nline.bag", b"'\".bag"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(b"x")
    assert len(scan([tmp_path], ["*.bag"])) == 5


class TestSights:
    """One recording, looked at again and again."""

    @pytest.fixture
    def bag(self, tmp_path: Path, small_bag: Path) -> Path:
        return Path(shutil.copyfile(small_bag, tmp_path / "a.bag"))

    def test_it_settles_when_it_has_not_changed_for_so_long(self, tmp_path: Path, bag: Path) -> None:
        sights = Sights(SETTLE)
        assert sights.take(scan([tmp_path], ["*"]), 100.0) == SETTLE
        assert sights.all[0].state == "seen"
        assert sights.take(scan([tmp_path], ["*"]), 104.0) == 6.0
        assert sights.all[0].state == "settling"
        assert sights.take(scan([tmp_path], ["*"]), 110.0) == float("inf")
        assert sights.all[0].state == "settled"
        assert sights.all[0].identity

    def test_a_change_begins_the_wait_anew(self, tmp_path: Path, bag: Path) -> None:
        sights = Sights(SETTLE)
        sights.take(scan([tmp_path], ["*"]), 100.0)
        with bag.open("ab") as file:
            file.write(b"more")
        assert sights.take(scan([tmp_path], ["*"]), 109.0) == SETTLE
        sights.take(scan([tmp_path], ["*"]), 118.0)
        assert sights.all[0].state == "settling"
        sights.take(scan([tmp_path], ["*"]), 119.0)
        assert sights.all[0].state == "unfinished"  # its index does not end where the file does
        assert "index" in sights.all[0].problem

    def test_what_is_unfinished_is_looked_at_again_until_it_is_whole(self, tmp_path: Path, bag: Path) -> None:
        content = bag.read_bytes()
        bag.write_bytes(content[:-1000])
        sights = Sights(SETTLE)
        for now in (100.0, 110.0, 140.0):
            sights.take(scan([tmp_path], ["*"]), now)
        assert sights.all[0].state == "unfinished"
        bag.write_bytes(content)
        for now in (150.0, 160.0):
            sights.take(scan([tmp_path], ["*"]), now)
        assert sights.all[0].state == "settled"

    def test_what_is_known_from_before_need_not_be_read_again(self, tmp_path: Path, bag: Path) -> None:
        (candidate,) = scan([tmp_path], ["*"])
        sights = Sights(SETTLE, {(bag, candidate.mark): "who"})
        assert sights.take([candidate], 100.0) == float("inf")
        assert (sights.all[0].state, sights.all[0].identity) == ("settled", "who")

    def test_a_file_that_takes_its_place_is_another(self, tmp_path: Path, bag: Path) -> None:
        before = mark_of((bag,))
        other = tmp_path / "other.tmp"
        other.write_bytes(bag.read_bytes())
        os.utime(other, ns=(before.changed, before.changed))
        other.rename(bag)
        assert mark_of((bag,)) == Mark(before.size, 1, before.changed, mark_of((bag,)).inode)
        assert mark_of((bag,)) != before


def test_a_change_is_noticed_long_before_the_next_scan_is_due(tmp_path: Path) -> None:
    told = threading.Event()
    sights = Sights(SETTLE)
    watcher = Watcher([tmp_path], lambda *_: scan([tmp_path], ["*"]), sights, 3600.0, told.set)
    watcher.start()
    try:
        wait_until(told.is_set, "the first scan")
        wait_until(lambda: touch(tmp_path / "a.bag") and watcher.sights, "a hint")  # until the kernel's watch stands
    finally:
        watcher.stop()


def test_a_folder_that_vanishes_is_told_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "mount"
    watcher = Watcher([folder], lambda *_: scan([folder], ["*"]), Sights(SETTLE), 0.05, lambda: None)
    watcher.start()
    try:
        wait_until(lambda: watcher.problem, "the problem")
        assert "mount cannot be scanned" in watcher.problem
        touch(folder / "a.bag")
        wait_until(lambda: watcher.sights, "the recording")
        wait_until(lambda: not watcher.problem, "the end of the problem")
    finally:
        watcher.stop()


class TestChanges:
    """What the kernel reports, heard of without a scan."""

    @pytest.fixture
    def changes(self, tmp_path: Path) -> Iterator[Changes]:
        (tmp_path / "early").mkdir()
        (tmp_path / "ours").mkdir()
        with Changes([tmp_path / "ours"]) as changes:
            changes.watch(tmp_path)
            yield changes

    def test_a_folder_that_comes_later_is_watched_with_those_in_it(self, tmp_path: Path, changes: Changes) -> None:
        (tmp_path / "early" / "later" / "deep").mkdir(parents=True)
        assert changes.read(60)
        touch(tmp_path / "early" / "later" / "deep" / "a.bag")
        assert changes.read(60)

    def test_working_names_and_what_is_ours_are_no_news(self, tmp_path: Path, changes: Changes) -> None:
        touch(tmp_path / "early" / "a.bag.partial")
        touch(tmp_path / ".streamer" / "jobs" / "status.json")
        touch(tmp_path / "c.tmp" / "d.bag")
        touch(tmp_path / "ours" / "a.bag")
        assert not changes.read(0)
        (tmp_path / "early" / "a.bag.partial").rename(tmp_path / "early" / "a.bag")
        assert changes.read(0)

    def test_a_folder_that_is_elsewhere_now_is_watched_no_longer(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, changes: Changes
    ) -> None:
        elsewhere = (tmp_path / "early").rename(tmp_path_factory.mktemp("elsewhere") / "early")
        assert changes.read(0)
        while changes.read(0):  # that the watch is gone is news, too
            continue
        touch(elsewhere / "a.bag")
        assert not changes.read(0)
        elsewhere.rename(tmp_path / "back")
        assert changes.read(0)
        touch(tmp_path / "back" / "b.bag")
        assert changes.read(0)

    def test_changes_that_were_too_many_are_lost_and_known_to_be(self, tmp_path: Path, changes: Changes) -> None:
        most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        for number in range(most // 2 + 1):  # alternating: the same event again would be none
            (tmp_path / f"{number % 2}.x").touch()
            (tmp_path / f"{number % 2}.x").unlink()
        while changes.read(0):
            if changes.lost:
                break
        assert changes.lost

    def test_a_folder_that_is_deleted_costs_nothing(self, tmp_path: Path, changes: Changes) -> None:
        (tmp_path / "early").rmdir()
        assert changes.read(0)
        changes.watch(tmp_path / "early")
        assert changes.refused is None
