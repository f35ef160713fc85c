"""What is only shown never stops what is done."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamer.ingest.snapshot import newest_image


def loaded(base: Path, out: str = "out") -> Any:
    return SimpleNamespace(base=base, config=SimpleNamespace(consumers={"p": SimpleNamespace(options={"out": out})}))


def picture(base: Path, name: str) -> Path:
    folder = base / "out" / f".{name}.preview"
    folder.mkdir(parents=True)
    (folder / "latest.jpg").touch()
    return folder / "latest.jpg"


@pytest.mark.parametrize("name", ["a", "a**b", "[a]", "a*", "?", "a b"])
def test_a_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    picture(tmp_path, "aXXb")
    expected = picture(tmp_path, name)
    assert newest_image(loaded(tmp_path), name) == expected


@pytest.mark.parametrize("name", ["a" * 251, "a/b", "a\0b", "..", ""])
def test_a_name_for_which_there_can_be_no_picture_has_none(tmp_path: Path, name: str) -> None:
    picture(tmp_path, "aXXb")
    assert newest_image(loaded(tmp_path), name) is None
    assert newest_image(loaded(tmp_path, "out/{recording}/x"), name) is None


def test_a_picture_that_vanishes_is_none(tmp_path: Path) -> None:
    picture(tmp_path, "a").unlink()
    (tmp_path / "out" / ".a.other").symlink_to("nowhere")
    os.mkfifo(tmp_path / "out" / ".a.pipe")
    assert newest_image(loaded(tmp_path), "a") is None
