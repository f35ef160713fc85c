"""Where a recording's file should be, something else may lie: that costs an error, never a wait."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from streamer.errors import RecordingError
from streamer.files import FileIdentity
from streamer.source.find import find_recordings
from streamer.source.source import Source
from tests.bags import data_file, numbers, record


@pytest.mark.parametrize("name", ["x.bag", "x.mcap", "x.db3"])
def test_a_pipe_is_no_recording(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(RecordingError, match="it is a named pipe, not a regular file"):
        Source(tmp_path / name, tmp_path / "scratch")


@pytest.mark.parametrize("form", ["mcap", "db3"])
@pytest.mark.parametrize("which", ["metadata.yaml", "data"])
def test_a_pipe_in_a_folder_is_no_part_of_a_recording(tmp_path: Path, form: str, which: str) -> None:
    folder = record(tmp_path / "run", form, numbers("/n", range(1, 9), "cdr"))
    path = folder / which if which == "metadata.yaml" else data_file(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordingError, match="it is a named pipe, not a regular file"):
        Source(folder, tmp_path / "scratch")


def test_a_recording_says_which_files_it_was_read_from(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", "mcap", numbers("/n", range(1, 9), "cdr"))
    with Source(folder, tmp_path / "scratch") as source:
        assert source.identities == {path.name: FileIdentity.of(path) for path in folder.iterdir()}
    bag = record(tmp_path / "run.bag", "ros1", numbers("/n", range(1, 9)))
    with Source(bag, tmp_path / "scratch") as source:
        assert source.identities == {"run.bag": FileIdentity.of(bag)}


def test_where_the_file_system_cannot_tell_of_writes_a_digest_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(tmp_path / "run", "mcap", numbers("/n", range(1, 9), "cdr"))
    with Source(folder, tmp_path / "scratch") as source:
        source.prove()
        assert {one.digest for one in source.identities.values()} == {""}  # where tests run, it can
        monkeypatch.setattr("streamer.source.source.tells_changes", lambda _: False)
        source.prove()
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        assert {name: one.digest for name, one in source.identities.items()} == digests


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 5000)
    with pytest.raises(RecordingError, match="it cannot be read: File name too long"):
        Source(path, tmp_path)
    with pytest.raises(RecordingError, match="it cannot be read: File name too long"):
        find_recordings([path.name], tmp_path)
