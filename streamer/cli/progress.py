"""What the supervisor tells during a run → a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamer.cli.screen import keeps_up, let_go, say, screen
from streamer.cli.talk import is_quiet, is_verbose
from streamer.text import paragraph
from streamer.units import show_duration, show_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

    from streamer.runtime.messages import Planned
    from streamer.supervisor.observer import Display

_NARROW = 60  # columns, below which only the time left stands beside the bar
_LINE_SECONDS = 2.0
_STILL_SECONDS = 30.0  # while nothing has changed


@contextmanager
def make_observer(*, json_lines: bool = False) -> Iterator[Display]:
    """Choose by where the output goes: standard error is a terminal or it is not; or JSON on standard output."""
    if json_lines:
        yield _JsonLines()
        return
    if is_quiet():
        yield _Silent()
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich import progress as rich
    from rich.table import Column

    console = screen(stderr=True)
    columns = (
        rich.TextColumn("{task.description}", table_column=Column(no_wrap=True), markup=False),
        rich.BarColumn(bar_width=None),
        rich.TaskProgressColumn(),
        rich.TextColumn("{task.fields[more]}", table_column=Column(no_wrap=True), markup=False),
    )
    with rich.Progress(*columns, console=console, expand=True) as progress:
        yield _Bar(progress)


def words(values: dict[str, Any], *, brief: bool = False) -> str:
    """Write a snapshot's speed and time left for a person; of many recordings, how many are done.

    ``brief`` leaves out what only some want to know: bytes a second, shared memory, restarts. Who is waited
    for is told where it matters: frames fill the shared memory until that consumer has seen them.
    """
    speed = values["frames"]["per_second"]
    parts = [f"{speed:.0f} frames/s"] if speed >= 1 or not brief else []
    if not brief:
        parts[0] += f", {show_size(values['bytes_per_second'])}/s"
    if values["seconds_left"]:
        parts.append(f"{show_duration(round(values['seconds_left'] * 1e9))} left")
    if (many := values.get("recordings")) is not None:
        failed = f", {many['failed']} failed" if many["failed"] else ""
        running = "" if brief else f", {many['running']} running"
        return ", ".join([f"{many['done']}/{many['all']} recordings{running}{failed}", *parts])
    pool, consumers = values["pool"], values["consumers"]
    if not brief:
        parts.append(f"frames in memory {pool['in_use']}/{pool['allocated']}")
    is_full = pool["in_use"] >= pool["most"]
    if len(consumers) > 1 and any(c["behind"] for c in consumers.values()) and (is_full or not brief):
        parts.append(f"waits for {values['waits_for']}")
    if brief:
        return ", ".join(parts)  # a crash is told in a line of its own when it happens
    counts = {kind: sum(c.get(kind, 0) for c in consumers.values()) for kind in ("recycled", "crashed")}
    return ", ".join([*parts, *(f"{count} {kind}" for kind, count in counts.items() if count)])


def grouped(warnings: Sequence[str]) -> list[str]:
    """Put warnings that say the same of several topics into one."""
    names: dict[str, list[str]] = {}
    for warning in warnings:
        name, colon, text = warning.partition(": ")
        names.setdefault(text if colon else "", []).append(name)
    return [f"{', '.join(of)}: {text}" if text else "\n".join(of) for text, of in names.items()]


class _Silent:
    """Says nothing: what goes wrong is told at the end."""

    def planned(self, plan: Planned, recording: str = "") -> None:
        pass

    def progress(self, values: dict[str, Any]) -> None:
        pass

    def note(self, text: str, **about: Any) -> None:
        pass


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("opening", total=None, more="")

    def planned(self, plan: Planned, recording: str = "") -> None:
        if not recording:  # else one of many, of which `progress` tells the sum
            self._progress.update(self._task, description="streaming", total=plan.frames)
        for warning in grouped(plan.warnings):
            self.note(warning)

    def progress(self, values: dict[str, Any]) -> None:
        frames, width = values["frames"], self._progress.console.width
        of = {"total": frames["all"]} if "recordings" in values else {}
        name = Path(values.get("recording", "")).name if "recordings" not in values else ""
        more = words(values, brief=not is_verbose())
        if width < _NARROW:
            name, more = "", more.rpartition(", ")[2]
        description = f"{name[: width // 4]}" or "streaming"
        self._progress.update(self._task, completed=frames["done"], description=description, more=more, **of)

    def note(self, text: str, **about: Any) -> None:
        del about
        self._progress.console.print(paragraph(text), markup=False)


class _Lines:
    def __init__(self) -> None:
        self._broken = False
        self._said = time.monotonic()
        self._reached: tuple[int, int | None] = (0, 0)  # frames and recordings, in the last line

    def planned(self, plan: Planned, recording: str = "") -> None:
        of = f"{recording}: " if recording else ""
        size = f" in {plan.chunks} chunks; in memory at most {plan.slots} of {show_size(plan.slot_size)} each"
        self.note(f"{of}{plan.frames} frame{'s' * (plan.frames != 1)} planned{size if is_verbose() else ''}")
        for warning in grouped(plan.warnings):
            self.note(warning)
        import_module("streamer.cli.summary")  # needed at the end: loaded while others work and this process waits

    def progress(self, values: dict[str, Any]) -> None:
        now, frames = time.monotonic(), values["frames"]
        reached = (frames["done"], values.get("recordings", {}).get("done"))
        due = now - self._said >= (_LINE_SECONDS if reached != self._reached else _STILL_SECONDS)
        if due and keeps_up(sys.stderr):
            self._said, self._reached = now, reached
            done = [f"{frames['done']}/{frames['all']} frames"] if frames["all"] else []
            told = words(values, brief=not is_verbose())
            self.note(", ".join([*done, *([told] if told else [])]))

    def note(self, text: str, **about: Any) -> None:
        del about
        if self._broken:
            return
        try:
            print(paragraph(text), file=sys.stderr, flush=True)
        except OSError:  # who was reading has gone: no reason to stop the work
            self._broken = True


class _JsonLines:
    """One JSON object a line on standard output; ``event`` says which: planned, progress, note."""

    def planned(self, plan: Planned, recording: str = "") -> None:
        keys = ("frames", "chunks", "planned", "skipped", "slots", "slot_size", "warnings")
        named = {"recording": recording} if recording else {}
        self._say("planned", named | {key: getattr(plan, key) for key in keys})

    def progress(self, values: dict[str, Any]) -> None:
        if keeps_up(sys.stdout):  # else the newest is told later: a display does not stop the work
            self._say("progress", values)

    def note(self, text: str, **about: Any) -> None:
        self._say("note", {"text": text, **about})

    def _say(self, event: str, values: dict[str, Any]) -> None:
        try:
            say(json.dumps({"event": event, "time": time.time(), **values}))
        except OSError:  # it cannot be written: no reason to stop the work
            let_go()
