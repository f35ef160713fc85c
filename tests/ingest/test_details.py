"""What can be looked at of one recording: its own files and no others, whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamer.ingest.details import Details
from streamer.ingest.log import Recent
from streamer.ingest.queue import Queue
from streamer.ingest.scan import Mark
from streamer.text import path_part

MARK = Mark(1, 1, 1, 1)


def done(folder: Path, *names: str) -> list[int]:
    """Enter recordings as done that wrote to ``folder/out``; return their numbers."""
    (folder / "out").mkdir(exist_ok=True)
    with Queue(folder / "queue.sqlite") as queue:
        entries = [queue.add(name, folder / "x.bag", f"identity of {name}", MARK) for name in names]
        return [queue.done(entry, 5, {"preview": str(folder / "out")}).id for entry in entries]


def content(shown: object) -> bytes:
    """Return what was opened, and close it."""
    fd = shown.fd  # type: ignore[attr-defined]
    with os.fdopen(fd, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    "name", ["a", "a*", "[a]", "?", "a b", "<b>", "a'\"&", path_part("a\x1b[31m"), path_part("..")]
)
def test_a_recording_has_its_own_files_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (number,) = done(tmp_path, name)
    for other in ("aXXb", "b", "ab", "a*b", "zz"):
        (tmp_path / "out" / f"{other}.preview.png").write_bytes(b"other")
    (tmp_path / "out" / f"{name}.preview.png").write_bytes(b"mine")
    (tmp_path / "out" / f"{name}.json").write_bytes(b"{}")
    details = Details(tmp_path, str)
    about = details.about(number)
    assert about is not None
    assert about["pictures"] == [name]
    (output,) = about["outputs"]
    assert sorted(file["name"] for file in output["files"]) == sorted([f"{name}.json", f"{name}.preview.png"])
    assert content(details.picture(number, 0)) == b"mine"
    assert details.picture(number, 1) is None


def test_the_episodes_of_a_recording_are_its_own_and_another_recording_is_not(tmp_path: Path) -> None:
    number, other = done(tmp_path, "run", "run-001")
    for name in ("run-000", "run-002", "run-001", "run-2", "run-x", "runner"):
        (tmp_path / "out" / f"{name}.preview.png").touch()
    details = Details(tmp_path, str)
    assert details.about(number)["pictures"] == ["run-000", "run-002"]  # type: ignore[index]
    assert details.about(other)["pictures"] == ["run-001"]  # type: ignore[index]


def test_links_pipes_and_folders_are_not_opened(tmp_path: Path) -> None:
    (number,) = done(tmp_path, "a")
    (tmp_path / "secret").write_text("secret")
    out = tmp_path / "out"
    (out / "a.link").symlink_to(tmp_path / "secret")
    (out / "a.dir").mkdir()
    os.mkfifo(out / "a.pipe")
    os.mkfifo(out / "a.preview.png")
    details = Details(tmp_path, str)
    assert details.about(number)["outputs"][0]["files"] == []  # type: ignore[index]
    assert details.picture(number, 0) is None
    assert details.output(number, "preview", 0) is None
    assert details.output(number, "../..", 0) is None
    assert details.about(4711) is None
    assert details.picture(4711, 0) is None


def test_a_log_is_the_end_of_one_of_its_own_and_cannot_write_on_a_screen(tmp_path: Path) -> None:
    with Queue(tmp_path / "queue.sqlite") as queue:
        number = queue.quarantine(queue.add("a", tmp_path / "x.bag", "who", MARK), "why").id
    logs = tmp_path / "jobs" / str(number) / "logs"
    logs.mkdir(parents=True)
    (logs / "reader.log").write_text("old\n" * 20_000 + "a \x1b[31m red\x07 \u202e name\nlast\n")
    (logs / "pipe.log").symlink_to("/etc/passwd")
    (tmp_path / "secret.log").write_text("secret")
    details = Details(tmp_path, str)
    assert details.about(number)["logs"] == ["reader.log"]  # type: ignore[index]
    tail = details.log(number, "reader.log")
    assert tail is not None
    assert tail.endswith("a \\x1b[31m red\\x07 \\u202e name\nlast\n")
    assert tail.startswith("old\n")
    assert len(tail) < 40_000
    for name in ("../../../secret.log", "secret.log", "", "pipe.log", "logs/reader.log"):
        assert details.log(number, name) is None, name


def test_the_last_lines_of_the_daemon_s_log_are_kept_and_made_visible() -> None:
    recent = Recent()
    for number in range(500):
        recent(None, "info", {"timestamp": "2026-11-26T17:01:02.5Z", "level": "info", "event": "begun", "n": number})
    recent(None, "error", {"level": "error", "event": "failed", "recording": "a\x1b[31m\n2026 forged"})
    lines = recent.text().splitlines()
    assert len(lines) == 200
    assert lines[-2] == "2026-11-26T17:01:02 info begun n=499"
    assert lines[-1] == "error failed recording=a\\x1b[31m\\n2026 forged"
