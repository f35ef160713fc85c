"""A run's report → a few lines and tables for a person."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.text import Text

from streamer.cli.screen import screen, table
from streamer.records import Damage
from streamer.source.find import recording_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from streamer.config.load import Loaded
    from streamer.supervisor.report import Report


def show_summary(report: Report, loaded: Loaded, workdir: Path, again: str = "") -> None:
    """Print what became of each recording, and where things are: the processes of one, of many a line for each.

    ``again`` is the command that goes on with what is missing; that of a configuration's run where it is left out.
    """
    again = again or f"streamer run {loaded.path} --resume"
    console = screen()
    many = len(report.recordings) > 1
    for streamed in report.recordings:
        show_recording(console, streamed.path.name, streamed.state, streamed.values, brief=many)
        if many and streamed.error is not None:
            console.print(Text(f"  {streamed.error}"), soft_wrap=True)
    if many:
        counts = Counter(streamed.state for streamed in report.recordings)
        each = ", ".join(f"{count} {state}" for state, count in counts.items())
        console.print(Text(f"{len(report.recordings)} recordings: {each}"), soft_wrap=True)
    for line in dict.fromkeys(_outputs(report, loaded)):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"report: {workdir / 'report.json'}"), soft_wrap=True)
    if report.error is not None:
        screen(stderr=True).print(Text(f"streamer: {loaded.locate(report.error)}"), soft_wrap=True)
        if many:
            console.print(Text(f"Only what is missing: {again}"), soft_wrap=True)
    elif report.exit_code:
        begun = any(streamed.values["frames"]["delivered"] for streamed in report.recordings)
        advice = f"continue with: {again}" if begun else "nothing was committed: run it again"
        console.print(Text(f"Stopped before the end; {advice}"), soft_wrap=True)


def _outputs(report: Report, loaded: Loaded) -> Iterator[str]:
    """List what the consumers' options call ``out``, of the recordings whose outputs are finished."""
    for streamed in report.recordings:
        if streamed.state != "done":
            continue
        for name, consumer in loaded.config.consumers.items():
            out = consumer.options.get("out")
            if isinstance(out, str):
                path = loaded.base / out.replace("{recording}", recording_name(streamed.path))
                if path.exists():
                    yield f"{name}: {path}"


def show_recording(console: Console, name: str, state: str, values: dict[str, Any], *, brief: bool = False) -> None:
    """Print what became of one recording, from its part of the report; ``brief`` leaves out its processes."""
    frames = values["frames"]
    if values.get("earlier"):
        console.print(Text(f"{name}: done in an earlier run"))
        return
    skipped = ", ".join(f"{count} skipped ({reason})" for reason, count in frames["skipped"].items())
    parts = [f"{frames['planned']} frames planned", f"{frames['delivered']} delivered", skipped]
    if frames["remaining"]:
        parts.append(f"{frames['remaining']} remaining")
    seconds = values["seconds"]
    taken = sum(seconds.values())
    text = f"{name}: {state}; {', '.join(p for p in parts if p)}; {taken:.2f} s"
    console.print(Text(text), soft_wrap=True)
    for damage in values["damage"]:
        console.print(Text(f"salvaged {Damage(**damage)}"), soft_wrap=True)
    if brief:
        for remark in _remarks(values["consumers"]):
            console.print(Text(f"  {remark}"), soft_wrap=True)
    elif frames["delivered"] or state == "done":
        console.print(_streams(values["streams"], console.width), soft_wrap=True)
        console.print(_consumers(values["consumers"], values["reader"], console.width), soft_wrap=True)
        for remark in _remarks(values["consumers"]):
            console.print(Text(remark), soft_wrap=True)
        pool = values["pool"]
        console.print(
            f"pool: {pool['allocated_mb']:.1f} MB of at most {pool['budget_mb']:.1f}, {pool['peak_mb']:.1f} in use; "
            f"open {seconds['open']:.3f} s, plan {seconds['plan']:.3f} s, stream {seconds['stream']:.2f} s"
        )


def _streams(streams: dict[str, Any], width: int) -> Text:
    rows = [
        (name, *(str(s[key]) for key in ("held", "interpolated", "gaps", "none")), f"{s['max_offset_ms']:.1f} ms")
        for name, s in streams.items()
    ]
    return table(("stream", "held", "interpolated", "in gaps", "none", "largest offset"), rows, width)


def _consumers(consumers: dict[str, Any], reader: dict[str, Any], width: int) -> Text:
    """Show each process; memory is its own (anonymous) memory in MB, of which the pool is no part."""
    headings = ("process", "frames", "chunks", "processes", "recycled", "crashed")
    rows = []
    for name, c in consumers.items():
        restarts = c["restarts"]
        numbers = [c["frames"], c["chunks"], c["generations"], restarts["planned"], restarts["crash"]]
        rows.append((name, *map(str, numbers), *_memory(c["anon_mb"]), *_verdict(c["memory"])))
    rows.append(("reader", *[""] * 5, *_memory(reader["anon_mb"]), *_verdict(reader["memory"])))
    return table((*headings, "MB at start", "peak", "end", "given back", "memory"), rows, width)


def _verdict(memory: dict[str, Any]) -> tuple[str, str]:
    """Say what recycling has given back to the system, and what the trend over the chunks is."""
    returned = f"{memory['returned_mb']:.1f}" if memory["returned_mb"] else ""
    slope = memory["mb_per_chunk"]
    return returned, "" if slope is None else f"{memory['verdict']} ({slope:+.2f} MB/chunk)"


def _remarks(consumers: dict[str, Any]) -> Iterator[str]:
    """Say what a person should know of a consumer beyond its numbers."""
    for name, c in consumers.items():
        for q in c["quarantined"]:
            yield f"{name}: frame {q['frame']} is quarantined: {q['reason']}"
        if c["escaped"]:
            yield f"{name}: kept arrays of {c['escaped']} frames beyond on_frame; they were lent to it meanwhile"
        if c["memory"]["verdict"] in ("growing", "leaking"):
            lines = [g["growing_lines"] for g in c["memory"]["generations"] if g["growing_lines"]]
            where = [f"{line['file']}:{line['line']} (+{line['mb']:.1f} MB)" for line in lines[-1][:3]] if lines else []
            advice = f"most in {', '.join(where)}" if where else "'trace_malloc: true' says in which lines"
            yield f"{name}: its memory is {c['memory']['verdict']}; {advice}"


def _memory(sizes: dict[str, float]) -> list[str]:
    return [f"{sizes[key]:.1f}" for key in ("start", "peak", "end")]
