"""Only what is proven to be what was read is deleted or moved; a doubt keeps it, and says so."""

from __future__ import annotations

import fcntl
import mmap
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer import files
from streamer.errors import StorageError
from streamer.files import FileIdentity
from streamer.ingest import removal
from streamer.ingest.removal import CannotFileError, file_away
from streamer.ingest.scan import files_of
from streamer.source.source import Source
from tests.ingest.numbered import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = dict[str, FileIdentity]


def read(path: Path) -> Read:
    """Return what a reader says of the files of a recording."""
    return {file.name: FileIdentity.of(file) for file in files_of(path)}


@pytest.fixture
def archive() -> Iterator[Path]:
    """Return a folder on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "archive"
        if Path(folder).stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
            pytest.skip("takes two file systems: /dev/shm and that of the tests")
        yield path


@pytest.fixture(params=["delete", "move", "move far"])
def to(request: pytest.FixtureRequest, tmp_path: Path, archive: Path) -> Path | None:
    """Return where to: nowhere, another folder, another file system."""
    return {"delete": None, "move": tmp_path / "archive", "move far": archive}[request.param]


def write_over(path: Path, *, old_times: bool = True) -> None:
    """Replace the middle of a file in place: size and both ends stay, the times too where asked for."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        file.write(b"nobody has read this")
    if old_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(path: Path) -> None:
    """Let another file take the name: same size, ends and times."""
    other = path.with_name("other.tmp")
    shutil.copy2(path, other)
    write_over(other)
    other.rename(path)


@pytest.mark.parametrize("form", ["ros1", "mcap", "db3"])
def test_what_was_read_is_filed(tmp_path: Path, to: Path | None, form: str) -> None:
    path = make(tmp_path / "run", 1, form=form)
    if path.is_dir():
        (path / "photos").mkdir()
        (path / "photos" / "a.jpg").write_text("a")
    content = {p.relative_to(tmp_path): p.read_bytes() for p in [path, *path.rglob("*")] if p.is_file()}
    filed = file_away(path, read(path), to)
    if to is None:
        assert filed.what == "deleted"
        assert path.exists() == path.is_dir()  # the folder stays for what is not the recorder's
        return
    assert (filed.what, filed.path) == (f"moved to {to / path.name}", to / path.name)
    assert not path.exists()
    assert {p.relative_to(to): p.read_bytes() for p in to.rglob("*") if p.is_file()} == content
    assert [p.name for p in path.parent.iterdir() if p != to] == []


@pytest.mark.parametrize("form", ["ros1", "mcap", "db3"])
@pytest.mark.parametrize("change", [write_over, replace_by_another])
def test_bytes_that_nobody_read_are_kept(
    tmp_path: Path, to: Path | None, form: str, change: Callable[[Path], None]
) -> None:
    path = make(tmp_path / "run", 1, form=form)
    seen = read(path)
    for victim in files_of(path):
        change(victim)
    content = {p: p.read_bytes() for p in files_of(path)}
    filed = file_away(path, seen, to)
    assert filed.what.startswith("kept: ")
    assert filed.path == path
    assert {p: p.read_bytes() for p in files_of(path)} == content
    assert to is None or not to.exists() or not list(to.iterdir())


def test_a_file_of_a_folder_that_was_not_read_keeps_it_all(tmp_path: Path, to: Path | None) -> None:
    path = make(tmp_path / "run", 1, form="mcap")
    seen = read(path)
    shutil.copy(next(path.glob("*.mcap")), path / "run_7.mcap")
    assert file_away(path, seen, to).what == "kept: run_7.mcap was not read"
    assert len(files_of(path)) == 3


def test_nothing_known_of_what_was_read_is_a_doubt(tmp_path: Path, to: Path | None) -> None:
    path = make(tmp_path / "run", 1)
    assert file_away(path, {}, to).what == "kept: it is not known which files were read"
    assert path.exists()


@pytest.mark.parametrize("moment", ["before the name is taken", "after the name is taken"])
def test_a_replacement_at_the_last_moment_is_kept(
    tmp_path: Path, to: Path | None, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = make(tmp_path / "run", 1)
    seen = read(path)
    rename = files.rename_to_free

    def racing(source: Path, target: Path) -> None:
        if target.suffix == ".checking":
            if moment.startswith("before"):
                replace_by_another(path)
                content.append(path.read_bytes())
                rename(source, target)
            else:
                rename(source, target)
                make(path.with_suffix(""), 9)  # the next recording of the same name comes at once
                content.append(path.read_bytes())
            return
        rename(source, target)

    content: list[bytes] = []
    monkeypatch.setattr(removal, "rename_to_free", racing)
    filed = file_away(path, seen, to)
    assert path.read_bytes() == content[0]
    assert filed.what.startswith("kept") == moment.startswith("before")


def test_what_somebody_writes_to_waits_and_is_not_written_to_unseen(tmp_path: Path, to: Path | None) -> None:
    path = make(tmp_path / "run", 1)
    seen = read(path)
    with path.open("r+b"), pytest.raises(CannotFileError, match="a program has it open for writing"):
        file_away(path, seen, to)
    assert path.exists()
    assert not file_away(path, seen, to).what.startswith("kept")


def test_where_the_file_system_cannot_tell_the_whole_content_decides(tmp_path: Path, to: Path | None) -> None:
    path = make(tmp_path / "run", 1)
    seen = read(path)
    other = {name: replace(one, digest="0" * 64) for name, one in seen.items()}
    assert file_away(path, other, to).what == "kept: run.bag has another content than was read"
    assert path.exists()


@pytest.mark.parametrize("form", ["ros1", "mcap"])
def test_a_full_archive_is_tried_again_and_the_proof_still_holds(tmp_path: Path, archive: Path, form: str) -> None:
    path = make(tmp_path / "run", 1, form=form)
    seen = read(path)
    with pytest.raises(CannotFileError, match="the daemon ends") as error:
        file_away(path, seen, archive, lambda: True)
    assert path.exists()
    assert not list(archive.iterdir())
    again = error.value.read
    assert again is not None
    assert file_away(path, again, archive).what == f"moved to {archive / path.name}"


@pytest.mark.parametrize("form", ["ros1", "mcap"])
def test_a_move_that_was_killed_before_the_original_went_makes_no_second_copy(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = make(tmp_path / "run", 1, form=form)
    seen = read(path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(removal, "_remove", killed)
    with pytest.raises(KeyboardInterrupt):
        file_away(path, seen, archive, noted=seen.update)
    monkeypatch.undo()
    assert not path.exists()  # it has its private name
    assert file_away(path, seen, archive).what == f"moved to {archive / path.name}"
    assert [p.name for p in archive.iterdir()] == [path.name]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["ros1", "mcap"])
@pytest.mark.parametrize("change", [write_over, replace_by_another])
def test_what_was_written_to_under_its_private_name_while_no_daemon_ran_is_kept(
    tmp_path: Path, to: Path | None, monkeypatch: pytest.MonkeyPatch, form: str, change: Callable[[Path], None]
) -> None:
    path = make(tmp_path / "run", 1, form=form)
    seen = read(path)
    killed_in(monkeypatch, "_finish", lambda: file_away(path, seen, to, noted=seen.update))
    (private,) = [found for found in tmp_path.iterdir() if found.suffix == ".filing"]
    for victim in files_of(private):
        change(victim)
    content = [file.read_bytes() for file in files_of(private)]
    assert file_away(path, seen, to).what.startswith("kept: ")
    assert [file.read_bytes() for file in files_of(path)] == content
    assert to is None or not to.exists() or not list(to.iterdir())


def test_a_kill_before_it_is_written_down_what_was_proven_keeps_it(
    tmp_path: Path, to: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "run", 1)
    content, seen = path.read_bytes(), read(path)
    killed_in(monkeypatch, "_finish", lambda: file_away(path, seen, to))  # and nothing was noted
    assert file_away(path, seen, to).what.startswith("kept: ")
    assert path.read_bytes() == content


def test_what_cannot_be_written_down_is_not_begun(tmp_path: Path, to: Path | None) -> None:
    def full(_: object) -> None:
        msg = "the disk gave out"
        raise StorageError(msg)

    path = make(tmp_path / "run", 1)
    with pytest.raises(StorageError, match="gave out"):
        file_away(path, read(path), to, noted=full)
    assert [found.name for found in tmp_path.iterdir() if found.is_file()] == ["run.bag"]


def killed_in(monkeypatch: pytest.MonkeyPatch, name: str, call: Callable[[], object]) -> None:
    """Call, and be killed where a function of the module would begin."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removal, name, killed)
        with pytest.raises(KeyboardInterrupt):
            call()


def test_what_somebody_puts_under_the_private_name_is_not_taken_for_what_was_read(
    tmp_path: Path, to: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "run", 1)
    content, seen = path.read_bytes(), read(path)
    killed_in(monkeypatch, "_finish", lambda: file_away(path, seen, to, noted=seen.update))
    (private,) = tmp_path.glob(".*.filing")
    private.rename(path)
    private.write_text("mine")
    assert file_away(path, seen, to).what.startswith("kept: ")
    assert path.read_bytes() == content
    assert [p.read_text() for p in tmp_path.glob("run-kept-*")] == ["mine"]


def test_a_move_that_was_killed_while_the_original_went_makes_no_second_copy(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "run", 1, form="mcap")
    seen = read(path)
    killed_in(monkeypatch, "_remove", lambda: file_away(path, seen, archive, noted=seen.update))
    (private,) = tmp_path.glob(".*.filing")
    (private / "metadata.yaml").unlink()
    assert file_away(path, seen, archive).what == f"moved to {archive / path.name}"
    assert [p.name for p in archive.iterdir()] == [path.name]
    assert not private.exists()


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="takes a system with leases")
def test_bytes_that_are_written_through_mapped_memory_while_it_runs_are_kept(archive: Path) -> None:
    archive.mkdir()
    path = make(archive / "run", 1)  # in memory, where pages are never written back: nothing marks their change
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[-20:] = mapped[-20:]  # the page is writable from now on
        with Source(path, archive) as source:
            source.prove()
            seen = dict(source.identities)
        unmarked = FileIdentity.of(path)
        mapped[-20:] = b"nobody has read this"
        assert FileIdentity.of(path) == unmarked
    assert file_away(path, seen, None).what == "kept: run.bag has another content than was read"
    assert path.read_bytes().endswith(b"nobody has read this")


def test_a_kill_between_the_names_puts_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "run", 1)
    content, seen = path.read_bytes(), read(path)
    (private,) = tmp_path.iterdir()
    rename = files.rename_to_free

    def killed(source: Path, target: Path) -> None:
        rename(source, target)
        if target.suffix == ".checking":
            os._exit(9)

    monkeypatch.setattr(removal, "rename_to_free", killed)
    if (pid := os.fork()) == 0:
        file_away(path, seen, None)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    monkeypatch.undo()
    assert not path.exists()
    assert file_away(path, seen, None).what.startswith("kept: ")  # its time of change has moved: nobody can say why
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [private]


def test_another_recording_of_the_name_stays(tmp_path: Path, archive: Path) -> None:
    path = make(tmp_path / "run", 1)
    other = make(tmp_path / "other", 2)
    archive.mkdir()
    shutil.copy2(other, archive / "run.bag")
    assert file_away(path, read(path), archive).path == archive / "run-2.bag"
    assert (archive / "run.bag").read_bytes() == other.read_bytes()


def test_a_link_that_waits_in_the_archive_is_not_followed(tmp_path: Path, archive: Path) -> None:
    path = make(tmp_path / "run", 1)
    archive.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (archive / "run.bag").symlink_to(victim)
    filed = file_away(path, read(path), archive)
    assert filed.path == archive / "run-2.bag"
    assert victim.read_text() == "mine"


def test_a_link_goes_and_what_it_points_at_stays(tmp_path: Path) -> None:
    bag = make(tmp_path / "store", 1)
    link = tmp_path / "run.bag"
    link.symlink_to(bag)
    assert file_away(link, read(link), None).what == "deleted"
    assert bag.exists()
    assert not os.path.lexists(link)


def test_a_move_into_the_folder_where_it_lies_takes_nothing_away(tmp_path: Path) -> None:
    path = make(tmp_path / "run", 1)
    (tmp_path / "alias").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "alias"):
        file_away(path, read(path), folder)
        assert path.exists()


def test_what_somebody_put_beside_the_recording_is_not_deleted_with_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", 1, form="mcap")
    (folder / "notes.txt").write_text("mine")
    assert file_away(folder, read(folder), None).what == "deleted"
    assert [left.name for left in folder.iterdir()] == ["notes.txt"]
