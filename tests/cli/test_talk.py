"""How much the command says: little with ``-q``, tables with ``-v``, red on a terminal, a bar that fits 80 columns."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from streamer.cli.progress import words

if TYPE_CHECKING:
    from tests.cli.conftest import Command

STREAMER = str(Path(sys.executable).parent / "streamer")
BUSY = {
    "frames": {"done": 1200, "all": 5400, "per_second": 812.4},
    "bytes_per_second": 912_000_000.0,
    "seconds_left": 75.0,
    "pool": {"in_use": 63, "allocated": 64, "most": 64},
    "consumers": {"a_long_name": {"behind": 3, "recycled": 12, "crashed": 1}, "other": {"behind": 0}},
    "waits_for": "a_long_name",
}


@pytest.mark.parametrize(("environment", "red"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_an_error_is_red_on_a_terminal_unless_colours_are_refused(environment: dict[str, str], *, red: bool) -> None:
    here, there = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"} | environment
    with subprocess.Popen([STREAMER, "run", "gone.yaml"], env=clean, stdout=there, stderr=there) as child:
        os.close(there)
        said = os.read(here, 4096).decode()
        assert child.wait() == 78
    os.close(here)
    assert "gone.yaml" in said
    assert ("\x1b[31m" in said) is red


def test_what_stands_beside_the_bar_leaves_it_room_on_a_terminal_of_80_columns() -> None:
    assert words(BUSY, brief=True) == "812 frames/s, 1 min 15 s left"
    full = {**BUSY, "pool": {"in_use": 64, "allocated": 64, "most": 64}}
    assert "waits for a_long_name" in words(full, brief=True)
    many = {**BUSY, "recordings": {"done": 12, "all": 1000, "running": 4, "failed": 2}}
    for values in (BUSY, full, many):
        console = Console(file=io.StringIO(), width=80)
        assert console.measure(words(values, brief=True)).maximum <= 60


def test_a_verb_says_nothing_with_q_tables_with_v_and_both_is_a_mistake(
    tmp_path: Path, commands: Command, small_bag: Path
) -> None:
    asked = ("convert", str(small_bag), "--to", "preview", "--streams", "joints_0", "-o", "out")
    assert commands(tmp_path, *asked, "-q").out == ""
    short, long = commands(tmp_path, *asked, "--restart"), commands(tmp_path, *asked, "--restart", "-v")
    first, *_, more = short.out.splitlines()
    assert re.fullmatch(r"✓ \d+ frames, 1 stream → out/\S+\.preview\.png \(\d+\.\d s\)", first)
    assert len(short.out.splitlines()) <= 3
    assert "process " not in short.out
    assert "process " in long.out
    again = commands(tmp_path, *more.removeprefix("  more: streamer ").split())
    assert again.code == 0, again
    assert "process " in again.out
    both = commands(tmp_path, *asked, "-q", "-v")
    assert both.code == 64
    assert "give one of them" in both.err


def test_h_is_help_and_no_flag_shows_a_type(tmp_path: Path, commands: Command) -> None:
    said = commands(tmp_path, "run", "-h").out
    assert "streamer run [OPTIONS] CONFIG [KEY=VALUE]..." in said
    assert "bool" not in said
    assert "--quiet" in said
