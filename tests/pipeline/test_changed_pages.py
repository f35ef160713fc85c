"""Recordings that change in other ways than by a plain write while consumers see their pages."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.bags import data_file, record
from tests.pipeline.driver import run, start, wait_until
from tests.pipeline.probes import Looker
from tests.pipeline.takes import committed
from tests.pipeline.test_pages import GATE, PLAIN, configure, done, hashes, pages_can_be_mapped, pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.pipeline.driver import Finished
    from tests.pipeline.test_pages import Config

__all__ = ["pages_can_be_mapped"]  # a fixture that is used by itself


def _copy_over(path: Path) -> None:
    """Do as ``cp -p`` does with a backup: the file is empty for a moment, and has its old times at the end."""
    times, content = path.stat(), path.read_bytes()
    with path.open("wb") as file:
        file.write(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _rename(path: Path) -> None:
    path.rename(path.with_name("renamed"))


def _link(path: Path) -> None:
    path.with_name("link").hardlink_to(path)


def _change_mode(path: Path) -> None:
    path.chmod(0o444)


def _note(path: Path) -> None:
    os.setxattr(path, "user.note", b"seen")


def _delete_by_and_by(path: Path) -> None:
    _link(path)
    _rename(path)
    path.with_name("renamed").unlink()


def changed_meanwhile(
    folder: Path, config: Config, path: Path, change: Callable[[Path], object], chunks: int = 3
) -> Finished:
    """Run it, and change the recording when the gate is reached and so many chunks are committed.

    The reader stands still meanwhile: it looks at what has become of the recording, not at what is on the way.
    """
    with start(folder, config) as running:
        wait_until((folder / "here").exists, "the gate")
        wait_until(lambda: committed(folder, "gate") == chunks, "its commits to be written down")
        reader = running.children()["reader"]
        reader.suspend()
        wait_until(lambda: reader.status() == "stopped", "the reader to stand still")
        change(path)
        reader.resume()
        (folder / "go").touch()
        return running.end()


@pytest.mark.parametrize("form", PLAIN)
def test_a_recording_that_was_copied_over_and_has_its_old_times_is_no_more_what_it_was(
    tmp_path: Path, form: str
) -> None:
    said = pictures("/camera", form)
    path = record(tmp_path / "bag", form, [message for message, _ in said])
    config = configure(path)
    config["consumers"]["gate"] = GATE
    file = data_file(path) if path.is_dir() else path
    finished = changed_meanwhile(tmp_path, config, file, _copy_over)
    assert finished.code == 65, finished
    assert "the file was written to, or its times were set, while it was read" in finished.err
    assert finished.err.count("streamer: ") == 1, finished
    assert finished.report["consumers"]["gate"]["chunks"] == 3
    done(run(tmp_path, config, "--resume"))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])


@pytest.mark.parametrize("change", [_rename, _link, _change_mode, _note, _delete_by_and_by])
def test_what_has_the_same_content_by_another_name_or_for_others_is_read_to_its_end(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    said = pictures("/camera", "ros1")
    path = record(tmp_path / "bag", "ros1", [message for message, _ in said])
    config = configure(path)
    config["consumers"]["l0"]["recycle"] = {"chunks": 2}
    config["consumers"]["gate"] = GATE
    done(changed_meanwhile(tmp_path, config, path, change))
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may read everything")
def test_a_recording_that_may_not_be_read_for_a_while_is_read_on_when_it_may_be_again(tmp_path: Path) -> None:
    """A new generation opens it; one that has it open goes on."""
    said = pictures("/camera", "ros1")
    path = record(tmp_path / "bag", "ros1", [message for message, _ in said])
    config = configure(path)
    config["consumers"]["l0"]["recycle"] = {"chunks": 2}
    config["consumers"]["gate"] = GATE
    plain_user = ["setpriv", "--inh-caps", "-all", "--bounding-set", "-all"] if os.geteuid() == 0 else []
    with start(tmp_path, config, under=plain_user) as running:
        wait_until((tmp_path / "here").exists, "the gate")
        wait_until(lambda: committed(tmp_path, "l0") >= 4, "the third generation")
        path.chmod(0)
        (tmp_path / "go").touch()
        wait_until(lambda: "may not open the recording" in running.said(), "a generation that may not open it")
        path.chmod(0o600)
        done(running.end())
    assert Looker.read(tmp_path / "l0") == hashes([array for _, array in said])


def test_outputs_that_may_hold_what_was_written_to_after_the_last_commit_are_not_taken_for_finished(
    tmp_path: Path,
) -> None:
    """A consumer may keep a picture, and look at it as it closes."""
    said = pictures("/camera", "ros1")
    path = record(tmp_path / "bag", "ros1", [message for message, _ in said])
    config = configure(path)
    keeper = {"use": "tests.pipeline.probes:Keeper", "options": {"folder": ".", "at": 38}, "escape": "warn"}
    config["consumers"] = {"gate": keeper}
    content = path.read_bytes()
    finished = changed_meanwhile(tmp_path, config, path, lambda path: path.write_bytes(bytes(len(content))), 8)
    assert finished.code == 65, finished
    assert "the file was written to while it was read" in finished.err
    path.write_bytes(content)
    done(run(tmp_path, config, "--resume"))
