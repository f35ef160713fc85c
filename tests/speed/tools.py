"""Two everyday jobs with this and with other tools: ``python -m tests.speed.tools`` → docs/comparison.md.

    dataset   three JPEG cameras of 640×480 at 30 Hz and joints at 100 Hz → a LeRobot dataset at 10 Hz
    table     two joint topics at 500 Hz, beside three raw cameras → Parquet at 10 Hz

The others' programs are in `tests/speed/others`, written as their authors' documentation does it. They run in the
Pythons of ``--lerobot`` (with rosbags, opencv and a version of lerobot; may be repeated) and of ``--frame`` (with
rosbags-dataframe and pyarrow); without these options, only what this environment has is measured. Each command starts
from nothing, in turns. Memory is the PSS of a command and all its processes at its peak, pages of files included.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import psutil
import pyarrow.parquet as pq

from streamer.demo import Workload, make

_OTHERS = Path(__file__).parent / "others"
_STREAMER = [sys.executable, "-c", "from streamer.cli import main; main()", "convert"]
_EVERY = 0.1  # seconds between two looks at the memory
_CLOSE = 0.02  # radians that two ways may differ by, as their ticks lie a few milliseconds apart


class Way(NamedTuple):
    """One way to do a job; ``source`` is the program that a user has to write."""

    name: str
    command: list[str]
    source: Path | None = None


class Run(NamedTuple):
    """What one run took."""

    seconds: float
    processor: float
    peak: int


def lines(source: Path | None) -> int:
    """Count the lines that a user writes: neither empty nor comment nor docstring; one for a command."""
    if source is None:
        return 1
    text = source.read_text()
    taken = {n for node in ast.parse(text).body[1:] for n in range(node.lineno, (node.end_lineno or 0) + 1)}
    found = enumerate(text.splitlines(), 1)
    return sum(1 for n, line in found if n in taken and line.strip() and not line.strip().startswith("#"))


def pss(pid: int) -> int:
    """Return the proportional set size of a process and its descendants, in bytes."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in tree:
        try:
            found = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) << 10 for line in found.splitlines() if line.startswith("Pss:"))
    return total


def measure(way: Way, folder: Path) -> Run:
    """Run a command from start to end; stop with what it wrote where it fails."""
    log = folder / "log"
    with log.open("wb") as out:
        began = time.monotonic()
        child = subprocess.Popen(
            way.command, cwd=folder, stdout=out, stderr=out, env=os.environ | {"HF_HUB_OFFLINE": "1", "SVT_LOG": "1"}
        )
        peak, ended = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(_EVERY):
                peak = max(peak, pss(child.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began
        ended.set()
        watcher.join()
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{way.name}:\n{log.read_text()}")
    return Run(seconds, used.ru_utime + used.ru_stime, peak)


def joints(out: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return what a way has written of the first joint topic; count the pictures of a dataset."""
    if out.suffix == ".parquet":
        table = pq.read_table(out)
        names = [name for name in table.schema.names if name.startswith("joints_0.joint_")]
        return np.array([table[name].to_numpy() for name in names]).T
    rows = pq.read_table(out / "data", columns=["observation.state"])["observation.state"]
    videos = list(out.glob("videos/*/*/*.mp4"))
    if len(videos) != 3:
        sys.exit(f"{out}: {len(videos)} videos")
    for path in videos:
        with av.open(str(path)) as video:
            if (count := sum(1 for _ in video.decode(video=0))) != len(rows):
                sys.exit(f"{path}: {count} pictures, {len(rows)} rows")
    return np.array(rows.to_pylist())


def compare(job: str, ways: list[Way], outs: list[Path], folder: Path, rounds: int) -> None:
    """Run all ways in turns, hold their results against the first one's, and print medians."""
    found: list[list[Run]] = [[] for _ in ways]
    for number in range(rounds):
        for way, out, runs in zip(ways, outs, found, strict=True):
            for old in (out, folder / ".streamer"):
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            runs.append(measure(way, folder))
            if not number:
                values = joints(out)
                expected = joints(outs[0])
                if values.shape != expected.shape or np.abs(values - expected).max() > _CLOSE:
                    sys.exit(f"{way.name}: {values.shape} rows differ from {expected.shape}")
    print(  # noqa: T201 - the result
        f"\n| {job} | seconds | processor seconds | peak MB | lines to write |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for way, runs in zip(ways, found, strict=True):
        middle = [statistics.median(column) for column in zip(*runs, strict=True)]
        print(f"| {way.name} | {middle[0]:.1f} | {middle[1]:.1f} | {middle[2] / 1e6:.0f} | {lines(way.source)} |")  # noqa: T201 - the result


def datasets(folder: Path, given: argparse.Namespace) -> None:
    """Measure the ways to a LeRobot dataset."""
    recording = folder / "jpeg.bag"
    work = Workload(width=640, height=480, image="jpeg", joint_topics=1, joint_hz=100, seconds=given.seconds)
    make(recording, work)
    outs = [folder / "streamer"]
    ours = [*_STREAMER, str(recording), "--to", "lerobot", "--rate", "10", "--task", "stack the blocks"]
    ways = [Way("`streamer convert`", [*ours, "-o", str(outs[0])])]
    source = _OTHERS / "dataset.py"
    for python in given.lerobot:
        asked = "from importlib.metadata import version; print(version('lerobot'))"
        version = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
        for how in ("", "streaming"):
            outs.append(folder / f"lerobot-{version}-{how}")
            name = f"rosbags and `lerobot` {version}{', `streaming_encoding`' if how else ''}"
            ways.append(Way(name, [python, str(source), str(recording), str(outs[-1]), how], source))
    compare("dataset", ways, outs, folder, given.rounds)


def tables(folder: Path, given: argparse.Namespace) -> None:
    """Measure the ways to a table."""
    recording = folder / "raw.bag"
    make(recording, Workload(width=640, height=480, joint_topics=2, joint_hz=500, seconds=given.seconds))
    outs = [folder / "tables" / "raw.parquet", folder / "rosbags.parquet"]
    ours = [*_STREAMER, str(recording), "--to", "parquet", "--rate", "10", "--streams", "joints_0,joints_1"]
    source = _OTHERS / "table.py"
    ways = [
        Way("`streamer convert`", [*ours, "-o", str(outs[0].parent)]),
        Way("rosbags and numpy", [sys.executable, str(source), str(recording), str(outs[1])], source),
    ]
    for python in given.frame:
        outs.append(folder / "frame.parquet")
        source = _OTHERS / "frame.py"
        ways.append(Way("rosbags-dataframe", [python, str(source), str(recording), str(outs[-1])], source))
    compare("table", ways, outs, folder, given.rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", default=["dataset", "table"])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recordings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lerobot", action="append", default=[], metavar="PYTHON")
    parser.add_argument("--frame", action="append", default=[], metavar="PYTHON")
    given = parser.parse_args()
    for job in given.jobs:
        with tempfile.TemporaryDirectory() as name:
            {"dataset": datasets, "table": tables}[job](Path(name), given)


if __name__ == "__main__":
    main()
