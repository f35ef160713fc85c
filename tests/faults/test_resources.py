"""Memory, disk and descriptors that give out: a clear message and exit code, and a later run goes on.

A full disk is a small file system in memory in a mount name space of the run's own (skipped where that is not
permitted); a pool that does not fit and a file that cannot grow are limits of the process (RLIMIT_FSIZE, which holds
for anonymous memory files, too).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.faults.harness import MISFITS, SHARED_MEMORY, Config, let_go, limited, processes, reached, with_small
from tests.pipeline.driver import Run, digests, run, start, wait_until
from tests.pipeline.probes import Recorder


def seen_by(running: Run, path: Path) -> Path:
    """Return a path as the processes of a run see it, in their own mount name space."""
    return Path(f"/proc/{running.process.pid}/root") / path.relative_to("/")


def fill(folder: Path) -> Path:
    """Take all the space that is left on a file system; return the file that takes it."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue  # full, for blocks of this size
    return path


def waiting(name: str, place: str) -> Config:
    return {"use": f"{MISFITS}Waiting", "options": {"out": f"{name}.json", "places": [place]}}


def test_a_pool_for_which_there_is_no_space_is_told_with_its_arithmetic(tmp_path: Path, config: Config) -> None:
    config["pool"] = "200 kB"
    finished = run(tmp_path, config, under=limited(fsize=150_000))
    assert finished.code == 74, finished
    assert "pool: the machine has no" in finished.err
    assert "slots of 4.1 kB" in finished.err
    assert "set a smaller 'pool'" in finished.err
    assert "Traceback" not in finished.err + finished.out


def test_a_disk_that_is_full_at_the_ledger_ends_the_run_and_it_can_be_continued(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    (tmp_path / ".streamer").mkdir(mode=0o700)
    config["consumers"]["a"] = waiting("a", "on_chunk 5")
    small = with_small(tmp_path / ".streamer", "2m")
    script = '"$@"; echo "first: $?"; rm -f .streamer/filler; "$@" --resume'
    with start(tmp_path, config, under=[*small, "sh", "-c", script, "sh"]) as running:
        wait_until((tmp_path / "a.here").exists, "the gate")
        fill(seen_by(running, tmp_path / ".streamer"))
        let_go(tmp_path, "a")
        finished = running.end()
    assert "first: 74" in finished.out, finished
    assert "ledger.sqlite: the ledger cannot be used: database or disk is full" in finished.err
    assert "Traceback" not in finished.err + finished.out
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected


def test_a_disk_that_is_full_at_an_output_ends_the_run_and_it_can_be_continued(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    (tmp_path / "out").mkdir()
    config["consumers"]["a"] = waiting("a", "on_chunk 5")
    config["consumers"]["b"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "out"}}
    small = with_small(tmp_path / "out", "64k")
    script = '"$@"; echo "first: $?"; rm -f out/filler; "$@" --resume; cp out/part-* kept'
    (tmp_path / "kept").mkdir()
    with start(tmp_path, config, under=[*small, "sh", "-c", script, "sh"]) as running:
        wait_until((tmp_path / "a.here").exists, "the gate")
        fill(seen_by(running, tmp_path / "out"))
        let_go(tmp_path, "a")
        finished = running.end()
    assert "first: 74" in finished.out, finished
    assert "consumer b: the disk gave out" in finished.err
    assert "No space left" in finished.err
    assert Recorder.read(tmp_path / "kept") == list(range(60))
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected


def test_a_file_that_may_not_grow_is_told_by_its_consumer(tmp_path: Path, config: Config) -> None:
    config["consumers"]["a"] = {"use": "tests.faults.misfits:Large", "options": {"out": "large.bin"}}
    finished = run(tmp_path, config, under=limited(fsize=3_000_000))
    assert finished.code == 74, finished
    assert "consumer a: the disk gave out" in finished.err
    assert "File too large" in finished.err


def test_an_output_folder_that_becomes_a_file_in_mid_run_ends_it_and_it_can_be_continued(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    """Modes would not stop a superuser; a file where the folder was stops everyone."""
    config["consumers"]["a"] = waiting("a", "on_frame 28")
    config["consumers"]["b"] = {"use": "tests.pipeline.probes:Recorder", "options": {"out": "out"}}
    with start(tmp_path, config) as running:
        reached(tmp_path, "a")
        (tmp_path / "out").rename(tmp_path / "aside")
        (tmp_path / "out").touch()
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 73, finished
    assert "consumer b: cannot write" in finished.err
    assert "Not a directory" in finished.err or "No such file" in finished.err  # it may write between the two steps
    (tmp_path / "out").unlink()
    (tmp_path / "aside").rename(tmp_path / "out")
    assert run(tmp_path, config, "--resume").code == 0
    assert Recorder.read(tmp_path / "out") == list(range(60))
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected


def test_sixty_four_descriptors_are_enough_for_a_few_consumers_and_too_few_are_told(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"] |= {
        f"c{n}": {"use": "checksum", "options": {"out": f"c{n}.json"}, "recycle": {"chunks": 5}} for n in range(3)
    }
    finished = run(tmp_path / "enough", config, under=limited(nofile=64))
    assert finished.code == 0, finished
    for name in config["consumers"]:
        assert digests(tmp_path / "enough" / f"{name}.json") == expected
    refused = run(tmp_path / "few", config, under=limited(nofile=16))
    assert refused.code == 74, refused
    assert "Too many open files" in refused.err
    assert "ulimit -n" in refused.err
    assert "Traceback" not in refused.err + refused.out


def maps(pid: int) -> str:
    """Return what a process has mapped: nothing where it has ended meanwhile."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/maps").read_text()
    return ""


def test_a_shared_memory_folder_of_a_megabyte_does_not_matter(
    tmp_path: Path, config: Config, expected: dict[str, Any]
) -> None:
    config["consumers"]["a"] = waiting("a", "on_frame 17")
    config["pool"] = "20 MB"
    with start(tmp_path, config, under=with_small(SHARED_MEMORY, "1m")) as running:
        reached(tmp_path, "a")
        assert os.statvfs(seen_by(running, SHARED_MEMORY)).f_blocks * 4096 <= 2**20
        assert list(seen_by(running, SHARED_MEMORY).iterdir()) == []
        pools = [maps(p.pid).count("/memfd:streamer-pool") for p in processes(tmp_path)]
        assert sum(pools) >= 2  # of the reader and the one that waits: memory without a name
        let_go(tmp_path, "a")
        finished = running.end()
    assert finished.code == 0, finished
    assert digests(tmp_path / "digest.json") == digests(tmp_path / "a.json") == expected
