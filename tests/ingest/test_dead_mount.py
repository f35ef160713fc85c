"""A mount that never answers (FUSE without anybody behind it) below a watched folder costs itself only."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from streamer.ingest.scan import scan
from streamer.ingest.sights import Sights
from streamer.ingest.watcher import Watcher
from tests.pipeline.driver import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from streamer.ingest.scan import Candidate


@contextmanager
def dead(folder: Path) -> Iterator[None]:
    """Mount a file system whose server never says a word; whoever waits for it is let go at the end."""
    try:
        descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        pytest.skip("needs /dev/fuse")
    try:
        folder.mkdir()
        options = f"fd={descriptor},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        mount = ctypes.CDLL(None, use_errno=True).mount
        if mount(b"dead", os.fsencode(folder), b"fuse", ctypes.c_ulong(0), options.encode()) < 0:
            pytest.skip(f"needs the right to mount: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)  # noqa: S607 - the system's
    finally:
        os.close(descriptor)


def test_a_mount_that_never_answers_is_left_out_and_told_and_the_rest_is_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.ingest.watcher._STUCK_SECONDS", 0.5)
    (tmp_path / "a.bag").touch()

    def look(stuck: Collection[Path], at: Callable[[Path], object]) -> list[Candidate]:
        return scan([tmp_path], ["*"], stuck, at=at)

    with dead(tmp_path / "mount"):
        watcher = Watcher([tmp_path], look, Sights(60.0), 0.1, lambda: None)
        watcher.start()

        def seen() -> set[str]:
            watcher.look_after()
            return {sight.candidate.path.name for sight in watcher.sights}

        wait_until(lambda: seen() == {"a.bag"}, "the recording beside the mount")
        assert watcher.stuck == (tmp_path / "mount",)
        (tmp_path / "b.bag").touch()
        wait_until(lambda: seen() == {"a.bag", "b.bag"}, "the next one")
        watcher.stop()
