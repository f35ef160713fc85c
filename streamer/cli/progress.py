"""What the supervisor tells during a run → a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamer.units import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

    from streamer.supervisor.session import Observer

_LINE_SECONDS = 2.0


@contextmanager
def make_observer() -> Iterator[Observer]:
    """Choose by where the output goes: standard error is a terminal or it is not."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines()
        return
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[more]}"),
    )
    with rich.Progress(*columns, console=console) as progress:
        yield _Bar(progress)


class _Speed:
    """Frames and bytes a second since the plan was ready."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._from: int | None = None

    def __call__(self, values: dict[str, Any]) -> str:
        if self._from is None:
            self._from = values["reached"]
        seconds = max(time.monotonic() - self._began, 1e-6)
        frames = (values["reached"] - self._from) / seconds
        return f"{frames:.0f} frames/s, {show_size(int(values['bytes'] / seconds))}/s"


def _laggard(values: dict[str, Any]) -> str:
    """Name the consumer for which the others wait, where there is one."""
    positions = {name: v["position"] for name, v in values["consumers"].items()}
    if len(positions) < 2 or max(positions.values()) == min(positions.values()):
        return ""
    return f"behind: {min(positions, key=lambda name: positions[name])}"


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("opening", total=None, rate="", more="")
        self._speed = _Speed()

    def planned(self, about: dict[str, Any]) -> None:
        self._speed = _Speed()
        self._progress.update(self._task, description="streaming", total=about["frames"])
        for warning in about["warnings"]:
            self.note(warning)

    def progress(self, values: dict[str, Any]) -> None:
        self._progress.update(self._task, completed=values["reached"], rate=self._speed(values), more=_laggard(values))

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)


class _Lines:
    def __init__(self) -> None:
        self._speed = _Speed()
        self._frames = 0
        self._broken = sys.stderr is None
        self._said = time.monotonic()

    def planned(self, about: dict[str, Any]) -> None:
        self._speed = _Speed()
        self._frames = about["frames"]
        self.note(
            f"{about['frames']} frames in {about['chunks']} chunks, "
            f"at most {about['slots']} slots of {show_size(about['slot_size'])}"
        )
        for warning in about["warnings"]:
            self.note(warning)
        import_module("streamer.cli.summary")  # needed at the end: loaded while others work and this process waits

    def progress(self, values: dict[str, Any]) -> None:
        now = time.monotonic()
        speed = self._speed(values)
        if now - self._said >= _LINE_SECONDS:
            self._said = now
            more = _laggard(values)
            self.note(f"{values['reached']}/{self._frames} frames, {speed}" + (f", {more}" if more else ""))

    def note(self, text: str) -> None:
        if self._broken:
            return
        try:
            print(text, file=sys.stderr, flush=True)
        except OSError:  # who was reading has gone: no reason to stop the work
            self._broken = True
