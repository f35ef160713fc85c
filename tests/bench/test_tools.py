"""What the comparison with other tools measures: the same work, all of its memory, the lines of a program."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.speed.tools import lines, main, pss

if TYPE_CHECKING:
    from pathlib import Path

HOLDS = "import sys; held = bytearray(b'x') * 100_000_000; print(flush=True); sys.stdin.read()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLDS!r}])"


def test_the_memory_of_a_command_is_that_of_all_its_processes() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdout.readline()
        held = pss(parent.pid)
        parent.stdin.close()
    assert 100_000_000 < held < 150_000_000


def test_a_program_has_the_lines_that_do_something(tmp_path: Path) -> None:
    source = tmp_path / "program.py"
    source.write_text('"""What it is,\n\nin words."""\n\nimport sys\n\n# why\nprint(\n    sys.argv  # all\n)\n')
    assert lines(source) == 4
    assert lines(None) == 1


@pytest.mark.slow
def test_the_table_is_the_same_whoever_made_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tools", "table", "--seconds", "1", "--rounds", "1"])
    main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| `streamer", "| rosbags"))]
    assert [row.split("|")[1].strip() for row in rows] == ["`streamer convert`", "rosbags and numpy"]
