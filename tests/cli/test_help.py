"""What the command says of itself: a version, and a help with an example for every verb."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import streamer

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def test_the_version_is_the_packages(tmp_path: Path, commands: Command) -> None:
    assert streamer.__version__ == version("rosbag-streamer")
    assert commands(tmp_path, "--version").out == f"rosbag-streamer {version('rosbag-streamer')}\n"


@pytest.mark.parametrize("asked", ["--version", "--help"])
def test_what_needs_no_verb_imports_none(asked: str) -> None:
    code = f"""
import sys
from streamer.cli import main
sys.argv = ["streamer", "{asked}"]
try:
    main()
finally:
    print("imported:", [name for name in ("numpy", "yaml", "zmq") if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.endswith("imported: []\n")


def test_a_verb_that_does_not_stand_first_is_no_silent_success(tmp_path: Path, commands: Command) -> None:
    done = commands(tmp_path, "--", "top")
    assert (done.code, "the verb stands first: streamer top …" in done.err) == (64, True)


def test_the_help_lists_every_verb_also_where_one_stands_behind_it(tmp_path: Path, commands: Command) -> None:
    assert commands(tmp_path, "--help", "run").out == commands(tmp_path, "-h").out


def test_every_verb_has_an_example_and_the_exit_codes_are_listed(tmp_path: Path, commands: Command) -> None:
    whole = commands(tmp_path, "--help").out
    assert "Exit codes: 0 done" in whole
    verbs = re.findall(r"^│ (\w+) ", whole, re.MULTILINE)
    once = {
        "convert",
        "init",
        "info",
        "survey",
        "check",
        "plan",
        "episodes",
        "show",
        "sync",
        "run",
        "debug",
        "merge",
        "review",
        "push",
        "top",
        "report",
        "memory",
        "schema",
        "bench",
        "demo",
    }
    assert once | {"watch", "status", "retry", "quarantine", "pause", "resume", "drain", "reload"} == set(verbs)
    assert not [line for line in whole.splitlines() if re.match(r"│ {5,}\w", line)], "a verb in more than a line"
    groups = {"demo": "tabletop", "quarantine": "list"}
    for verb in verbs:
        words = (verb, groups[verb]) if verb in groups else (verb,)
        told = commands(tmp_path, *words, "--help").out
        assert f"Example: streamer {' '.join(words)}" in " ".join(told.split())
        assert not re.findall(r"<bool>|<list|<path> .*\[required\]", told), "words of the program"


def test_completion_installs_itself_into_bash_and_completes_verbs_and_options(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = """
    streamer --install-completion > /dev/null  # it looks for the shell that it was started from
    source ~/.bashrc
    for words in "streamer in" "streamer run --res"; do
        COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p streamer | sed 's/.*-F \\([^ ]*\\).*/\\1/') streamer
        echo "${COMPREPLY[@]}"
    done
    """
    shell = subprocess.run(
        [shutil.which("bash") or "bash", "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert shell.stdout.splitlines() == ["info init", "--resume --restart"]
