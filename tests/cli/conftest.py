"""What the tests of the command line share: many commands from one start of Python."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.pipeline.driver import ROOT, Finished

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORKS = """
import os, sys, tempfile
import streamer.cli, streamer.inspect.survey, streamer.pipelines.run, streamer.inspect.checks
for line in sys.stdin:
    folder, out, *sys.argv[1:] = line.rstrip("\\n").split("\\t")
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as erred:
        if (child := os.fork()) == 0:
            os.chdir(folder)
            if out == "unread":
                read, write = os.pipe()
                os.close(read)
            os.dup2(told.fileno() if not out else write if out == "unread" else os.open(out, os.O_WRONLY), 1)
            os.dup2(erred.fileno(), 2)
            streamer.cli.main()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in told, erred:
            file.seek(0)
            texts.append(file.read().decode())
        print(repr((code, *texts)), flush=True)
"""


class Command(Protocol):
    """Runs a command in a folder to its end."""

    def __call__(self, folder: Path, *arguments: str, out: str = "") -> Finished:
        """``out`` is where its output goes: caught (""), to a device, or into a pipe that nobody reads ("unread")."""


@pytest.fixture(scope="module")
def commands() -> Iterator[Command]:
    """Return a function that runs a command, in a fork of a process that has imported what most of them need."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:

        def command(folder: Path, *arguments: str, out: str = "") -> Finished:
            assert forks.stdin is not None
            assert forks.stdout is not None
            forks.stdin.write("\t".join([str(folder), out, *arguments]) + "\n")
            forks.stdin.flush()
            return Finished(folder, *ast.literal_eval(forks.stdout.readline()))

        yield command
