"""Names of any kind are shown and used without harm."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from streamer.source.find import recording_name
from streamer.text import LineFormatter, safe_name, visible

NAMES = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0/") | some.sampled_from("%.-~2E\n"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("run 7", "run 7"),
        ("Küche_2024-01-02", "Küche_2024-01-02"),
        (".", "%2E"),
        ("..", "%2E."),
        ("...", "..."),
        ("-rf", "%2Drf"),
        ("~root", "%7Eroot"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("a\x1b[2Jb\nc", "a%1B[2Jb%0Ac"),
        ("100%", "100%"),
        ("a%2Eb", "a%252Eb"),
        ("\u202egab", "%E2%80%AEgab"),
    ],
)
def test_a_name_is_one_legible_part_of_a_path(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(NAMES.filter(bool))
def test_the_name_can_be_told_from_what_it_became(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 160
    assert os.path.basename(safe) == safe  # noqa: PTH119 - the rule itself
    assert safe not in (".", "..")
    if len(safe.encode()) <= 140:
        assert unquote(safe) == name
    assert visible(safe) == safe


@given(NAMES, NAMES)
def test_two_names_never_become_one(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)
    assert (safe_name("x" * 200 + one) == safe_name("x" * 200 + other)) == (one == other)


@pytest.mark.parametrize("file", ["...bag", "..bag", "-x.bag", "x" * 251 + ".bag", "a\nb.bag"])
def test_a_recording_is_called_what_a_file_may_be_called(tmp_path: Path, file: str) -> None:
    name = recording_name(tmp_path / file)
    assert (tmp_path / "out" / f".{name}.preview.png.tmp").parent == tmp_path / "out"
    (tmp_path / f".{name}.preview.png.tmp").touch()


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert visible("a\x1b]0;x\x07b\r\n\x9b2J\u202e\udcff") == "a\\x1b]0;x\\x07b\\r\\n\\x9b2J\\u202e\\xff"
    assert visible("a\nb\x1b", lines=True) == "a\nb\\x1b"


def test_no_text_passes_for_another_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s", ("a\n2026 supervisor INFO done\x1b[A",), None)
    assert LineFormatter("%(message)s").format(record) == "a\n    2026 supervisor INFO done\\x1b[A"
