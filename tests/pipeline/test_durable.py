"""With ``durable: true`` nothing is committed, replaced or removed that is not on the disk, by the order of calls."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.driver import run

if TYPE_CHECKING:
    from pathlib import Path

_TRACE = "trace=sync,syncfs,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,sendto"
_CALL = re.compile(r"(?P<name>\w+)\((?P<rest>.*)")


def _can_trace() -> bool:
    strace = shutil.which("strace")
    return strace is not None and subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode == 0


needs_strace = pytest.mark.skipif(not _can_trace(), reason="strace is not there, or may not trace")


def traced(folder: Path, config: dict[str, Any], *arguments: str) -> dict[str, list[tuple[str, str]]]:
    """Run under strace; return the calls of the reader and of the consumer's process in their order."""
    under = ("strace", "-ff", "-y", "-s", "0", "-e", _TRACE, "-o", str(folder / "calls"))
    finished = run(folder, config, *arguments, under=under)
    assert finished.code == 0, finished
    processes = [
        [(m["name"], m["rest"]) for m in map(_CALL.match, file.read_text().splitlines()) if m]
        for file in folder.glob("calls.*")
    ]
    reader = max(processes, key=lambda calls: len(to_the_ledger(calls)))  # its supervisor looks in now and then
    (worker,) = (calls for calls in processes if any("rename" in name and "table" in rest for name, rest in calls))
    return {"reader": reader, "worker": worker}


def to_the_ledger(calls: list[tuple[str, str]]) -> list[str]:
    """Return the calls that bring the ledger to the disk."""
    return [name for name, rest in calls if name in ("fsync", "fdatasync") and "sqlite-wal" in rest]


@needs_strace
@pytest.mark.slow
def test_outputs_are_on_the_disk_before_the_reader_hears_of_a_chunk_and_the_ledger_before_the_supervisor_does(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    config["consumers"] = {"table": {"use": "csv", "options": {"out": str(tmp_path / "table")}, "recycle": "never"}}
    calls = traced(tmp_path, config | {"durable": True})
    worker = calls["worker"]
    chunks = 40 // config["chunk_size"]
    assert sum(name == "syncfs" for name, _ in worker) >= chunks + 1  # and at the end
    dirty = committed = 0
    synced = False
    for name, rest in worker:
        if name in ("rename", "renameat", "renameat2", "unlink", "unlinkat") and str(tmp_path) in rest:
            assert synced  # what it is to replace, or what was put in its place, is there for good
            synced, dirty = False, dirty + 1
        elif name in ("sync", "syncfs"):
            synced = name == "syncfs"
        elif name == "sendto":  # what it holds, to the supervisor: the last call before the commit is sent
            assert synced or not dirty
            committed += 1
    assert dirty >= chunks
    assert committed >= chunks
    assert len(to_the_ledger(calls["reader"])) >= chunks


@needs_strace
@pytest.mark.slow
def test_without_it_nobody_waits_for_the_disk(tmp_path: Path, config: dict[str, Any]) -> None:
    config["consumers"] = {"table": {"use": "csv", "options": {"out": str(tmp_path / "table")}}}
    worker = traced(tmp_path, config)["worker"]
    assert not [name for name, _ in worker if name in ("sync", "syncfs", "fsync", "fdatasync")]
