"""Methods and a configuration → each one run in a fresh process, watched from outside: time and memory.

Memory is the anonymous memory of the process and all its children, and the shared pool once: what the machine is short
of while the method runs. Pages of files (libraries, the recording in the page cache) are not counted.
"""

from __future__ import annotations

import glob
import json
import select
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from streamer.inprocess import Opened
from streamer.memory import anonymous
from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.config.load import Loaded

_MB = 10**6
_EVERY = 0.02  # seconds between two looks at the memory
_MOST_POINTS = 500
_SIZED = ("chunked", "process", "stream")  # the methods for which the size of a chunk makes a difference
_ROOM = 0.8  # of the free memory that `full` may ask for


@dataclass(slots=True)
class Measured:
    """One method's figures; times in seconds from the start of its process, memory in 10^6 bytes.

    ``start_seconds`` ends where the recording begins to be opened. ``stream_frames_per_s`` is frames / (seconds -
    start_seconds). ``steady_frames_per_s`` leaves out what comes before the first frames. ``increase_mb`` is the
    peak above what was held when the recording began to be opened, ``kept_mb`` what is held above that when all is done
    and freed. ``memory`` holds (seconds, MB). ``checks`` are checksums of some frames.
    """

    method: str
    chunk_size: int | None
    frames: int = 0
    seconds: float = 0.0
    start_seconds: float = 0.0
    stream_frames_per_s: float = 0.0
    steady_frames_per_s: float | None = None
    peak_mb: float = 0.0
    increase_mb: float = 0.0
    kept_mb: float = 0.0
    memory: list[tuple[float, float]] = field(default_factory=list)
    checks: dict[str, dict[str, int]] = field(default_factory=dict)
    not_run: str = ""  # why it was not even tried
    failed: str = ""  # how it ended instead

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)


def compare(
    loaded: Loaded, recording: Path, methods: Sequence[str], sizes: Sequence[int], repeat: int
) -> Iterator[Measured]:
    """Run every method ``repeat`` times, in turns so that none has the quiet minutes to itself; yield the medians.

    The consumers of the configuration are replaced by one that only counts.

    Raises:
        StreamerError: the recording cannot be opened, or does not fit the configuration.

    """
    with tempfile.TemporaryDirectory(prefix="streamer-bench-") as folder:
        frames, needed = _survey(loaded, recording)
        jobs = [(m, size) for m in methods for size in (sizes if m in _SIZED else [None])]
        found: dict[tuple[str, int | None], list[Measured]] = {job: [] for job in jobs}
        for _ in range(repeat):
            for method, size in jobs:
                short = _too_large(needed) if method == "full" else ""
                measured = Measured(method, size, not_run=short)
                if not short:
                    _Run(loaded, recording, measured, Path(folder), frames).run()
                found[method, size].append(measured)
        for runs in found.values():
            yield _median(runs)


def _survey(loaded: Loaded, recording: Path) -> tuple[int, int]:
    """Return the number of frames, and the bytes that all decoded messages take."""
    with Opened(loaded).prepared(recording) as prepared:
        places = prepared.layout.places
        needed = sum(len(s.index.stamps) * p.nbytes for s, p in zip(prepared.streams, places, strict=True))
        return prepared.plan.frames, needed


def _too_large(needed: int) -> str:
    free = psutil.virtual_memory().available
    if needed < _ROOM * free:
        return ""
    return f"would take {show_size(needed)} of memory, {show_size(free)} is free"


def _median(runs: list[Measured]) -> Measured:
    """Return the run whose rate is the median; one that failed, if any did."""
    middle = statistics.median_low(m.stream_frames_per_s for m in runs)
    return next((m for m in runs if m.failed), next(m for m in runs if m.stream_frames_per_s == middle))


class _Run:
    """One method in a process of its own."""

    def __init__(self, loaded: Loaded, recording: Path, measured: Measured, folder: Path, frames: int) -> None:
        self._measured = measured
        self._frames = frames
        self._seen = folder / "seen.json"
        self._report = folder / "report.json"
        self._log = folder / "log"
        self._config = folder / "bench.yaml"
        values = loaded.values | {
            "workdir": str(folder / "work"),
            "types": [_absolute(loaded.base, t) for t in loaded.config.types],
            "consumers": {"bench": {"use": "streamer.bench.witness:Witness", "options": {"out": str(self._seen)}}},
        }
        values["source"] = {"path": [glob.escape(str(recording))]}
        if measured.chunk_size is not None:
            values["chunk_size"] = measured.chunk_size
        self._config.write_text(yaml.safe_dump(values), encoding="utf-8")

    def run(self) -> None:
        """Start it, watch it, fill in the figures."""
        method = self._measured.method
        command = ["streamer.bench.method", method, str(self._config), str(self._frames)]
        if method == "stream":
            command = ["streamer", "run", str(self._config), "--restart", "--report", str(self._report)]
        began = time.time()
        with self._log.open("w+b") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                [sys.executable, "-m", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
            )
            with process:
                told = self._watch(process, began)
                told.setdefault("at", time.time())
            if process.returncode != 0:
                log.seek(0)
                last = log.read().decode(errors="replace").strip().splitlines()[-1:]
                self._measured.failed = f"ended with exit code {process.returncode}: {' '.join(last)}"
                return
        if method == "stream":
            told |= self._of_the_command()
        self._fill_in(began, told)

    def _watch(self, process: subprocess.Popen[bytes], began: float) -> dict[str, Any]:
        """Look at the memory until the process is done; return what it told."""
        told: dict[str, Any] = {}
        pool = _Pool(process.pid)
        assert process.stdout is not None  # noqa: S101 - it was asked for
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        while process.poll() is None:
            used = sum(anonymous(pid) for pid in _tree(process.pid)) + pool.size()
            self._measured.memory.append((time.time() - began, used / _MB))
            if not poll.poll(_EVERY * 1000):
                continue
            line = process.stdout.readline()
            if not line:
                process.wait()
            if not line or self._measured.method == "stream":
                continue
            message = json.loads(line)
            if message.pop("event") == "opening":
                told["opening"] = message["at"]
            else:
                told |= message
                used = anonymous(process.pid)
                self._measured.memory.append((message["at"] - began, used / _MB))
                process.communicate()
        return told

    def _of_the_command(self) -> dict[str, Any]:
        seen = json.loads(self._seen.read_text(encoding="utf-8"))
        report = json.loads(self._report.read_text(encoding="utf-8"))
        return {**seen, "opening": report["opened"]}

    def _fill_in(self, began: float, told: dict[str, Any]) -> None:
        m = self._measured
        m.frames = told["frames"]
        m.seconds = told["at"] - began
        m.start_seconds = told["opening"] - began
        if "loop_seconds" in told:  # only the loops count
            m.start_seconds = m.seconds - told["loop_seconds"]
        taken = m.seconds - m.start_seconds
        m.stream_frames_per_s = m.frames / taken if taken else 0.0
        m.steady_frames_per_s = told["steady"]
        m.checks = told["checks"]
        before = max((mb for at, mb in m.memory if at <= m.start_seconds), default=0.0)
        m.peak_mb = max(mb for _, mb in m.memory)
        m.increase_mb = max(m.peak_mb - before, 0.0)
        m.kept_mb = max(m.memory[-1][1] - before, 0.0)
        m.memory = _thin(m.memory)


def _absolute(base: Path, path: str) -> str:
    return str(base / path) if (base / path).exists() else path


def _tree(pid: int) -> Iterator[int]:
    """Yield a process and all its children."""
    yield pid
    with suppress(psutil.NoSuchProcess):
        for child in _children(pid):
            yield from _tree(child)


def _children(pid: int) -> list[int]:
    """Return the children that a process's main thread has started."""
    if sys.platform == "linux":
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()]
        except (FileNotFoundError, ProcessLookupError):
            return []
    return [child.pid for child in psutil.Process(pid).children()]


class _Pool:
    """The shared memory of a run, as the descriptor that the supervisor holds tells it."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}/fd")

    def size(self) -> int:
        """Return the bytes that are allocated now; 0 where there is no pool."""
        try:
            for link in self._folder.iterdir():
                if "memfd:streamer-pool" in str(link.readlink()):
                    return link.stat().st_blocks * 512
        except (FileNotFoundError, PermissionError, ProcessLookupError, NotADirectoryError):
            return 0
        return 0


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep so many points as a picture can show, the highest of each stretch."""
    step = -(-len(points) // _MOST_POINTS)
    return [max(points[n : n + step], key=lambda point: point[1]) for n in range(0, len(points), step)]
