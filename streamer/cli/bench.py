"""``streamer bench [RECORDING|CONFIG]``: what is gained on a recording, and whether the memory comes back."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from streamer.cli.options import Overrides
from streamer.errors import OutputError, StreamerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.bench.compare import Measured
    from streamer.config.load import Loaded

_DEFAULT = "full,chunked,process,stream,limit"
_SECONDS = 10.0
_RATE = 10.2  # Hz; a camera that is faster is thinned to 10 Hz, as training sets are


def bench(  # long, as its arguments are the command's options
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[RECORDING|CONFIG]", help="a recording, or a .yaml configuration", show_default=False),
    ] = None,
    overrides: Overrides = None,
    methods: Annotated[str, typer.Option(help="of full, chunked, process, stream, limit")] = _DEFAULT,
    chunk_size: Annotated[str, typer.Option(help="frames a chunk; several sizes with commas")] = "100",
    repeat: Annotated[int, typer.Option(min=1, help="runs of each method; the median counts")] = 1,
    as_json: Annotated[Path | None, typer.Option("--json", help="write the figures here", show_default=False)] = None,
    plot: Annotated[Path | None, typer.Option(help="draw memory over time (a .png)", show_default=False)] = None,
) -> None:
    """Measure ways to read a recording, each in a fresh process: time, and memory while and after.

    full loads everything and chunked reads by the book, both with plain rosbags; process is streamer.open, stream the
    whole command with its processes, limit bare loops over the same bytes. Without an argument, a recording of 10 s
    with three raw cameras is made (1.1 GB in the temporary folder). A recording's timeline is that of its busiest
    camera, at most 10 Hz. Outputs of a configuration's consumers are not written.

    Example: streamer bench recording.bag --methods chunked,stream --repeat 5 --json bench.json
    """
    from streamer.bench.compare import compare
    from streamer.cli.pictures import check_plot, panels, written
    from streamer.cli.screen import say
    from streamer.text import visible

    chosen = _methods(methods)
    sizes = _sizes(chunk_size)
    if plot is not None:
        check_plot()
    for out in (as_json, plot):
        if out is not None and not out.absolute().parent.is_dir():
            msg = f"{out}: the folder does not exist"
            raise OutputError(msg)
    with tempfile.TemporaryDirectory(prefix="streamer-bench-") as folder:
        loaded, recording = _load(target, overrides or [], Path(folder))
        say(f"{visible(recording.name)}: {', '.join(chosen)}; {repeat} run{'s' if repeat > 1 else ''} of each")
        measured = list(compare(loaded, recording, chosen, sizes, repeat))
    _show(measured)
    if as_json is not None:
        values = {"recording": str(recording), "repeat": repeat, "machine": _machine(), "settings": loaded.values}
        text = json.dumps({**values, "methods": [m.as_json() for m in measured]}, indent=2)
        with written(as_json):
            as_json.write_text(text + "\n", encoding="utf-8")
    if plot is not None:
        with panels(plot, 1, 4.5) as (axes,):
            _draw(axes, recording.name, measured)
    if any(m.failed for m in measured):
        raise typer.Exit(StreamerError.exit_code)


def _draw(axes: Any, title: str, measured: Sequence[Measured]) -> None:
    """Draw memory over time, a line for each method from the start of its process to its end."""
    for m in measured:
        if m.memory:
            label = m.method if m.chunk_size is None else f"{m.method}, chunks of {m.chunk_size}"
            axes.plot([at for at, _ in m.memory], [mb for _, mb in m.memory], label=label, linewidth=1.5)
    axes.set(xlabel="seconds from the start of the process", ylabel="memory in MB (anonymous and pool)", title=title)
    axes.set_xlim(left=0)


def _methods(text: str) -> list[str]:
    from streamer.bench import METHODS

    chosen = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [method for method in chosen if method not in METHODS]
    if unknown or not chosen:
        msg = f"--methods: {unknown[0] if unknown else text!r} is not known; methods are {', '.join(METHODS)}"
        raise UsageError(msg)
    return chosen


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) for part in parts):
        msg = f"--chunk-size: {text!r} is not a list of numbers such as 25,50,100"
        raise UsageError(msg)
    return list(dict.fromkeys(map(int, parts)))


def _load(target: Path | None, overrides: Sequence[str], folder: Path) -> tuple[Loaded, Path]:
    """Return the configuration that is meant, the given one or one for the recording, and its first recording."""
    from streamer.config.load import load
    from streamer.pipelines.recordings import recordings

    config = target
    if target is None or target.suffix not in (".yaml", ".yml"):
        recording = _synthetic(folder) if target is None else target.absolute()
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_suggested(recording)), encoding="utf-8")
    assert config is not None  # noqa: S101 - for the type checker: it was given or made
    loaded = load(config, overrides, consumers_needed=False)
    return loaded, recordings(loaded, folder)[0]


def _synthetic(folder: Path) -> Path:
    from streamer.demo import Workload, make

    path = folder / "three-raw-cameras.bag"
    make(path, Workload(seconds=_SECONDS))
    return path


def _suggested(recording: Path) -> dict[str, Any]:
    """Return the configuration that `streamer info` suggests, its timeline thinned."""
    from streamer.inspect import open_contents
    from streamer.inspect.suggestion import suggestion

    with open_contents(recording) as found:
        values = suggestion(found).values
    rates = {topic.name: topic.rate_hz or 0.0 for topic in found.topics}
    leader = values["streams"].get(values["timeline"]["from"])
    if leader and rates[leader["topic"]] > _RATE:
        values["timeline"]["rate"] = "10 Hz"
    del values["consumers"]
    return values


def _machine() -> dict[str, Any]:
    import psutil

    return {
        "cpus": os.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / 1e6),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("rosbag-streamer", "rosbags", "numpy", "simplejpeg", "pyzmq")},
    }


def _show(measured: Sequence[Measured]) -> None:
    """Print the table, each rate beside those of the book and of the bare loops."""
    from streamer.cli.screen import as_line, screen, table

    headings = ("method", "chunk", "seconds", "start-up", "frames", "frames/s", "× chunked", "of limit")
    rows: list[tuple[str, ...]] = []
    book = next((m.stream_frames_per_s for m in measured if m.method == "chunked"), None)
    bare = next((m.stream_frames_per_s for m in measured if m.method == "limit"), None)
    for m in measured:
        chunk = "" if m.chunk_size is None else str(m.chunk_size)
        if m.not_run or m.failed:
            rows.append((m.method, chunk, "not run" if m.not_run else "failed", *[""] * 8))
            continue
        steady = m.steady_frames_per_s
        rows.append(
            (
                *(m.method, chunk, f"{m.seconds:.2f}", f"{m.start_seconds:.2f}", str(m.frames)),
                f"{m.stream_frames_per_s:.1f}",
                f"{m.stream_frames_per_s / book:.1f}" if book else "",
                f"{steady / bare:.2f}" if bare and steady else "",
                *(f"{value:.0f}" for value in (m.peak_mb, m.increase_mb, m.kept_mb)),
            )
        )
    console = screen()
    console.print(table((*headings, "peak MB", "increase MB", "kept MB"), rows, console.width), soft_wrap=True)
    for m in measured:
        if m.not_run or m.failed:
            console.print(as_line(f"{m.method}: not run: {m.not_run}" if m.not_run else f"{m.method}: {m.failed}"))
    console.print(_agreement(measured))


def _agreement(measured: Sequence[Measured]) -> str:
    """Say whether the methods saw the same frames."""
    seen = [m for m in measured if m.checks]
    different = [
        f"{m.method} shows other values of {stream} in frame {frame}"
        for m in seen[1:]
        for frame, values in m.checks.items()
        for stream, value in values.items()
        if value != seen[0].checks.get(frame, {}).get(stream)
    ]
    if different:
        return f"not all methods show what {seen[0].method} shows: {'; '.join(different)}"
    return f"frames compared: {', '.join(seen[0].checks)}; all methods show the same" if len(seen) > 1 else ""
