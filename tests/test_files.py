"""Only regular files are opened, and none is waited for."""

from __future__ import annotations

import mmap
import os
import resource
import socket
import tempfile
from pathlib import Path

import pytest

from streamer.files import FileIdentity, may_be_written_to, open_regular, tells_changes


@pytest.fixture(params=["pipe", "device", "socket", "folder"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something that is no regular file."""
    path = tmp_path / "x.bag"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    else:
        path.mkdir()
    return path


def test_what_is_no_regular_file_is_refused_at_once_and_named(other: Path) -> None:
    with pytest.raises(OSError, match="not a regular file") as error:
        open_regular(other)
    assert error.value.filename == str(other)
    with pytest.raises(OSError, match="not a regular file"):
        FileIdentity.of(other)


def test_a_regular_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"content"
        assert FileIdentity.of(file.fileno()) == FileIdentity.of(tmp_path / "a")


def test_a_file_that_was_written_to_has_another_identity_even_with_its_old_times(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    before, times = FileIdentity.of(path), path.stat()
    while FileIdentity.of(path) == before:  # within one tick of the system's clock nothing would show
        with path.open("r+b") as file:
            file.write(b"CONTENT")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = FileIdentity.of(path)
    assert (after.inode, after.size, after.modified_ns) == (before.inode, before.size, before.modified_ns)
    assert FileIdentity.from_wire(list(after.wire)) == after


@pytest.mark.parametrize("folder", ["/dev/shm", None])  # noqa: S108 - for its file system; the name is made safely
def test_a_file_system_that_is_said_to_tell_changes_tells_of_what_is_written_into_a_mapped_page(
    tmp_path: Path, folder: str | None
) -> None:
    if folder is not None and not os.access(folder, os.W_OK):
        pytest.skip(f"has no {folder}")
    with tempfile.NamedTemporaryFile(dir=folder or tmp_path) as file:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        os.fsync(file.fileno())
        before = FileIdentity.of(file.fileno())
        with mmap.mmap(file.fileno(), 0) as pages:
            assert pages[0] == 0
            pages[0] = 1
        assert FileIdentity.of(file.fileno()) != before or not tells_changes(file.fileno())


def test_where_nobody_can_tell_who_writes_to_a_file_somebody_may(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (tmp_path / "a").open("rb") as file:
        assert not may_be_written_to(file.fileno())
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most[1]))
        try:
            assert may_be_written_to(file.fileno())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)
