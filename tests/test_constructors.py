"""A constructor that fails → nothing of what it had opened stays open, even while its error is still being told."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import zmq

from streamer import memfd
from streamer.errors import RecordingError, StorageError
from streamer.ingest.control import NAME, Control
from streamer.layout import make_layout
from streamer.pool import Pool
from streamer.records import Spec
from streamer.source import mcap, ros1, sqlite
from streamer.source.source import Source
from streamer.supervisor.child import Child
from streamer.supervisor.workdir import Workdir
from streamer.transport import ConsumerSocket, ReaderSocket
from tests.bags import START, data_file, numbers, record

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Break = tuple[str, "Callable[[Path], None]"]


def _open_files(folder: Path) -> list[str]:
    """Return what this process has open in a folder; the caller holds the error, and so whatever its frames hold."""
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(folder))]


def _change(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)

    return change


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


BROKEN: dict[str, Break] = {
    "an index that is cut off": ("mcap", _cut),
    "a table that is missing": ("db3", _change("DROP TABLE topics")),
    "a column of another kind": ("db3", _change("ALTER TABLE topics RENAME COLUMN type TO kind")),
    "pages that were overwritten": ("db3", _scribble),
    "a database that is cut off": ("db3", _cut),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    messages = numbers("/a", range(START, START + 500), "cdr")
    folder = tmp_path_factory.mktemp("whole")
    return {ending: data_file(record(folder / ending, ending, messages)) for ending in ("db3", "mcap")}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("form", ["plain", "packed"])
def test_no_file_of_a_recording_that_is_refused_stays_open(
    tmp_path: Path, whole: dict[str, Path], how: str, form: str
) -> None:
    ending, damage = BROKEN[how]
    path = tmp_path / f"broken.{ending}"
    shutil.copy(whole[ending], path)
    damage(path)
    if form == "packed":
        path = _pack(path)
    with pytest.raises(RecordingError) as refused:
        Source(path, tmp_path / "scratch")
    assert _open_files(tmp_path) == [], refused
    assert not list((tmp_path / "scratch").glob("*"))


def _pack(path: Path) -> Path:
    packed = path.with_name(path.name + ".zstd")
    packed.write_bytes(zstd.compress(path.read_bytes()))
    path.unlink()
    return packed


@pytest.mark.parametrize("reader", [mcap.McapSource, ros1.Ros1Source, sqlite.SqliteSource])
def test_no_reader_keeps_a_file_of_another_kind_open(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"neither one nor the other" * 10)
    with pytest.raises(RecordingError) as refused:
        reader(path)
    assert _open_files(tmp_path) == [], refused


def test_no_file_of_a_folder_stays_open_when_a_later_one_is_refused(tmp_path: Path, whole: dict[str, Path]) -> None:
    folder = tmp_path / "bag"
    folder.mkdir()
    for number in range(3):
        shutil.copy(whole["db3"], folder / f"bag_{number}.db3")
    _change("DROP TABLE messages")(folder / "bag_2.db3")
    listed = "".join(f"    - bag_{number}.db3\n" for number in range(3))
    (folder / "metadata.yaml").write_text(
        f"rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: sqlite3\n  relative_file_paths:\n{listed}"
    )
    with pytest.raises(RecordingError) as refused:
        Source(folder, tmp_path)
    assert _open_files(folder) == [], refused


class _Recording(zmq.Context[zmq.Socket[bytes]]):
    """A context that keeps what it made."""

    made: list[zmq.Socket[bytes]]

    def socket(self, *values: Any, **named: Any) -> zmq.Socket[bytes]:
        made = super().socket(*values, **named)
        self.__dict__.setdefault("made", []).append(made)
        return made


@pytest.fixture
def context() -> Iterator[_Recording]:
    with _Recording() as context:
        yield context


def test_a_socket_that_cannot_be_bound_or_connected_is_closed(tmp_path: Path, context: _Recording) -> None:
    with pytest.raises(zmq.ZMQError):
        ReaderSocket(context, f"ipc://{tmp_path}/no/such/folder")
    with pytest.raises(zmq.ZMQError):
        ConsumerSocket(context, "what://is-this", b"peer")
    assert [made.closed for made in context.__dict__["made"]] == [True, True]


def test_a_control_socket_that_cannot_be_bound_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    class Kept(socket.socket):
        def __init__(self, *values: Any, **named: Any) -> None:
            super().__init__(*values, **named)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Kept)
    (tmp_path / NAME).symlink_to(tmp_path / "no" / "such")
    with pytest.raises(OSError, match=r".") as refused:
        Control(Workdir(tmp_path / "missing"), {})
    assert [one.fileno() for one in made] == [-1], refused


def test_a_pool_that_the_machine_has_no_memory_for_is_unmapped(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    writable, readable = memfd.create()
    try:
        before = psutil.Process().memory_info().vms
        with pytest.raises(StorageError) as refused:
            Pool(writable, make_layout({"a": Spec((1024, 1024, 64), "uint8", variable=False)}), 16)
        assert psutil.Process().memory_info().vms - before < 2**29, refused
    finally:
        os.close(writable)
        os.close(readable)


def test_no_descriptor_stays_when_a_pool_cannot_be_opened_for_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    before = psutil.Process().num_fds()

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="open files"):
        memfd.create()
    monkeypatch.undo()
    assert psutil.Process().num_fds() == before


def test_a_process_that_cannot_be_watched_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd")
    before, started = psutil.Process().num_fds(), []

    def refuse(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(OSError, match="open files"):
        Child("streamer.runtime.reader", "reader", folder=tmp_path, log=tmp_path / "log")
    assert not psutil.pid_exists(started[0])
    assert psutil.Process().num_fds() == before
