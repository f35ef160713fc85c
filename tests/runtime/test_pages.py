"""A file's pages in this process: what they hold, which part is mapped, and a file that ends too early."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from streamer.errors import RecordingError
from streamer.layout import Place
from streamer.records import Spec
from streamer.runtime import pages as module
from streamer.runtime.pages import Pages, PagesView
from streamer.source.payload import fill_cache

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = np.random.default_rng(3).bytes(300_001)


@contextmanager
def written(folder: Path) -> Iterator[int]:
    (folder / "file").write_bytes(CONTENT)
    fd = os.open(folder / "file", os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_what_is_mapped_is_what_the_file_has_wherever_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 65_536)
    with written(tmp_path) as fd:
        pages = Pages(fd)
        for position, size in ((0, 1), (65_000, 2_000), (4_096, 4_096), (100_001, 150_000), (300_000, 1), (7, 299_994)):
            mapped, start = pages.find(position, size)
            assert mapped[start : start + size] == CONTENT[position : position + size]


def test_what_lies_near_is_mapped_once(tmp_path: Path) -> None:
    with written(tmp_path) as fd:
        pages = Pages(fd)
        first, _ = pages.find(10, 10)
        assert pages.find(299_000, 1_001)[0] is first


def test_a_file_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    with written(tmp_path) as fd:
        with pytest.raises(ValueError, match="length"):
            Pages(fd).find(300_000, 2)
        fill_cache(fd, 5, 299_996)
        with pytest.raises(RecordingError, match="the file ends at byte 300001, 9 bytes before"):
            fill_cache(fd, 300_000, 10)


def test_only_the_files_are_open_that_streams_are_in(tmp_path: Path) -> None:
    places = [Place(name, 0, 10, Spec((10,), "|u1")) for name in ("one", "other")]
    with ExitStack() as stack:
        (tmp_path / "n").mkdir()
        files = []
        for n in range(20):
            (tmp_path / "n" / str(n)).mkdir()
            files.append(stack.enter_context(written(tmp_path / "n" / str(n))))
        view, before = PagesView(os.getpid()), len(list(Path("/proc/self/fd").iterdir()))
        for file in files:
            for place in places:
                assert view.array(place, file, 7).tobytes() == CONTENT[7:17]
            assert (
                len(list(Path("/proc/self/fd").iterdir())) <= before + 3
            )  # one that both have mapped, and what is mapped
        assert view.array(places[0], files[0], 7).tobytes() == CONTENT[7:17]
