"""Folders and files as nobody would make them on purpose: they keep no other recording from being found."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from streamer.ingest.proof import unfinished
from streamer.ingest.scan import files_of, scan
from streamer.ingest.sights import Sights
from streamer.ingest.watcher import Watcher
from tests.bags import numbers, record
from tests.ingest.numbered import make
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


def found(folder: Path, skipped: Callable[[OSError], object] = lambda _: None) -> list[str]:
    return [str(candidate.path.relative_to(folder)) for candidate in scan([folder], ["*"], (), skipped)]


@pytest.fixture
def open_to_all(tmp_path: Path) -> None:
    """Let everybody come to the folder of the test."""
    for parent in tmp_path.parents:
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o755)


def as_nobody(look: Callable[[], object]) -> str:
    """Do something in a process without any right; return what it came to."""
    ours, theirs = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.write(theirs, str(look()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


# what lies in a folder


@pytest.mark.usefixtures("open_to_all")
@pytest.mark.skipif(os.getuid() != 0, reason="takes two users")
def test_a_folder_that_may_not_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(mode=0o700)
    (tmp_path / "a.bag").touch()
    tmp_path.chmod(0o755)
    told: list[str] = []

    def look() -> str:
        return str((found(tmp_path, lambda error: told.append(str(error))), told))

    text = as_nobody(look)
    assert "['a.bag']" in text
    assert "lost+found" in text


@pytest.mark.usefixtures("open_to_all")
@pytest.mark.skipif(os.getuid() != 0, reason="takes two users")
def test_a_folder_that_may_not_be_read_does_not_keep_changes_from_being_told(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(mode=0o700)
    tmp_path.chmod(0o777)

    def look() -> bool:
        watcher = Watcher([tmp_path], lambda *_: scan([tmp_path], ["*"]), Sights(60.0), 3600.0, lambda: None)
        watcher.start()
        wait_until(lambda: watcher.looks, "the first look")
        wait_until(lambda: (tmp_path / "a.bag").write_bytes(os.urandom(8)) and watcher.sights, "a hint")
        return True

    assert as_nobody(look) == "True"


def test_links_to_nothing_and_to_themselves_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "a.bag").touch()
    (tmp_path / "gone.bag").symlink_to("nothing")
    (tmp_path / "loop.bag").symlink_to("loop.bag")
    (tmp_path / "linked.bag").symlink_to("a.bag")
    assert found(tmp_path) == ["a.bag", "linked.bag"]


def test_a_pipe_is_no_recording_and_nobody_waits_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.bag")
    (tmp_path / "a.bag").touch()
    assert found(tmp_path) == ["a.bag"]


@pytest.mark.parametrize("working", [".run_1.mcap.x7Gh2k", "run_1.mcap.partial", "run_1.mcap.tmp"])
def test_the_parts_of_a_folder_that_is_being_copied_are_no_recordings(tmp_path: Path, working: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run_0.mcap").touch()
    (run / working).touch()
    assert found(tmp_path) == ["run"]
    assert unfinished(run) == "the folder has no metadata.yaml yet"


def test_a_folder_without_its_data_files_is_no_recording_any_more(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    (folder / "run.mcap").unlink()
    with pytest.raises(FileNotFoundError):
        files_of(folder)


# what stands in a file


@pytest.mark.parametrize("listed", ["null", "7", "[null]", "[[]]", "[]", "[7]", "{a: b}", "['']"])
def test_a_metadata_that_lists_no_files_is_unfinished(tmp_path: Path, listed: str) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    (folder / "metadata.yaml").write_text(f"rosbag2_bagfile_information: {{relative_file_paths: {listed}}}")
    why = unfinished(folder)
    assert why
    assert "metadata.yaml lists" in why


def test_a_metadata_without_end_is_unfinished(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    (folder / "metadata.yaml").write_text("[" * 50_000)
    assert unfinished(folder) == "metadata.yaml lists no files (relative_file_paths)"


@pytest.mark.parametrize("form", ["ros1", "ros1-lz4", "mcap", "db3", "mcap-file"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_whatever_bytes_a_file_holds_a_sentence_is_said_of_it(
    tmp_path_factory: pytest.TempPathFactory, form: str, data: some.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"bytes-{form}"
    if not folder.exists():
        folder.mkdir()
        record(folder / "good", form, numbers("/n", range(5), "ros1" if form.startswith("ros1") else "cdr"))
    good = next(path for path in sorted(folder.rglob("good*")) if path.is_file())
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(some.integers(0, 4))):
        at = data.draw(some.integers(0, len(content) - 1))
        piece = data.draw(some.binary(min_size=1, max_size=8))
        content[at : at + len(piece)] = piece
    content = content[: data.draw(some.integers(0, len(content)))]
    path = folder / f"damaged{good.suffix}"
    path.write_bytes(content)
    assert unfinished(path) is None or unfinished(path)


def test_an_index_is_walked_over_and_not_read(tmp_path: Path) -> None:
    """A damaged place of the index would have all of a recording of 100 GB read into memory."""
    path = make(tmp_path / "a", 1)
    content = path.read_bytes()
    whole = content.replace(
        b"index_pos=" + content.split(b"index_pos=")[1][:8], b"index_pos=" + (4117).to_bytes(8, "little")
    )
    with path.open("wb") as file:
        file.write(whole)
        file.truncate(1 << 40)  # sparse
    why = unfinished(path)
    assert why
    assert "its index breaks off or is damaged" in why


# the thread that looks


def test_a_folder_that_comes_back_is_listened_to_again(tmp_path: Path) -> None:
    folder = tmp_path / "mount"
    watcher = Watcher([folder], lambda *_: scan([folder], ["*"]), Sights(60.0), 0.2, lambda: None)
    watcher.start()
    try:
        wait_until(lambda: watcher.problem, "the problem")
        folder.mkdir()
        wait_until(lambda: not watcher.problem, "the folder")
        watcher._every = 3600.0  # noqa: SLF001 - from now on only a hint makes it look
        looks = watcher.looks
        wait_until(lambda: watcher.looks > looks, "the last look that was due")

        def seen() -> bool:
            (folder / "a.bag").write_bytes(os.urandom(8))
            return bool(watcher.sights)

        wait_until(seen, "a hint")
    finally:
        watcher.stop()


def test_a_fault_of_ours_ends_the_look_and_is_brought_home(tmp_path: Path) -> None:
    def look(*_: object) -> list[object]:
        raise ZeroDivisionError

    watcher = Watcher([tmp_path], look, Sights(1.0), 1.0, lambda: None)  # type: ignore[arg-type]
    watcher.start()
    wait_until(lambda: watcher.fault, "the fault")
    watcher.stop()
    assert isinstance(watcher.fault, ZeroDivisionError)


def test_a_metadata_that_another_program_wrote_is_read(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    about = yaml.safe_load((folder / "metadata.yaml").read_text())
    about["rosbag2_bagfile_information"]["relative_file_paths"] = ["run/run.mcap"]  # as the first versions did
    (folder / "metadata.yaml").write_text(yaml.safe_dump(about))
    assert unfinished(folder) is None


def test_two_thousand_unfinished_recordings_are_not_read_again_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cut.bag").write_bytes(b"#ROSBAG")
    reads: list[Path] = []

    def unfinished(path: Path) -> str:
        reads.append(path)
        return "why"

    monkeypatch.setattr("streamer.ingest.sights.unfinished", unfinished)
    sights = Sights(10.0)
    for now in range(0, 3600, 10):
        sights.take(scan([tmp_path], ["*"]), float(now))
    assert sights.all[0].state == "unfinished"
    assert 8 <= len(reads) <= 14  # after 10 s, 20, 40 … and from then on every ten minutes
