"""A run's report → tables of its streams and processes, for `streamer report` and `-v`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamer.cli.screen import as_line, table
from streamer.records import Damage
from streamer.units import show_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.text import Text


def show_recording(console: Console, name: str, state: str, values: dict[str, Any]) -> None:
    """Print what became of one recording, from its part of the report, with its streams and processes."""
    frames = values["frames"]
    if values.get("earlier"):
        console.print(as_line(f"{name}: done in an earlier run"))
        return
    skipped = ", ".join(f"{count} skipped ({reason})" for reason, count in frames["skipped"].items())
    parts = [
        f"{frames['planned']} frame{'s' * (frames['planned'] != 1)} planned",
        f"{frames['delivered']} delivered",
        skipped,
    ]
    if frames["remaining"]:
        parts.append(f"{frames['remaining']} remaining")
    seconds = values["seconds"]
    taken = sum(seconds.values())
    text = f"{name}: {state}; {', '.join(p for p in parts if p)}; {taken:.2f} s"
    console.print(as_line(text), soft_wrap=True)
    for damage in values["damage"]:
        console.print(as_line(f"salvaged {Damage(**damage)}"), soft_wrap=True)
    if frames["delivered"] or state == "done":
        console.print(_streams(values["streams"], console.width), soft_wrap=True)
        if values.get("episodes"):  # a report of an earlier version has none
            console.print(_episodes(values["episodes"], console.width), soft_wrap=True)
            for e in values["episodes"]:
                for reason in e["reasons"]:
                    console.print(as_line(f"{e['name']} is {e['verdict']}: {reason['text']}"), soft_wrap=True)
        console.print(_consumers(values["consumers"], values["reader"], console.width), soft_wrap=True)
        for remark in remarks(values["consumers"]):
            console.print(as_line(remark), soft_wrap=True)
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
    found = table(("stream", "held", "interpolated", "in gaps", "none", "largest offset"), rows, width)
    if mapped := [name for name, s in streams.items() if s.get("mapped")]:
        found.append(f"\nshown from the recording's own pages, without a copy: {', '.join(mapped)}")
    return found


def _episodes(episodes: list[dict[str, Any]], width: int) -> Text:
    rows = [
        (
            e["name"],
            show_duration(e["end"] - e["start"]),
            *(str(e["frames"]), e["task"], e["label"], e["verdict"]),
        )
        for e in episodes
    ]
    return table(("episode", "length", "frames", "task", "label", "verdict"), rows, width)


def _consumers(consumers: dict[str, Any], reader: dict[str, Any], width: int) -> Text:
    """Show each process; memory is its own (anonymous) memory in MB, of which the pool is no part."""
    headings = ("process", "frames", "chunks", "processes", "recycled", "crashed")
    rows = []
    for name, c in consumers.items():
        restarts = c["restarts"]
        numbers = [c["frames"], c["chunks"], c["generations"], restarts["planned"], restarts["crash"]]
        rows.append((name, *map(str, numbers), *_memory(c["anon_mb"]), *_verdict(c["memory"])))
    rows.append(("reader", *[""] * 5, *_memory(reader["anon_mb"]), *_verdict(reader["memory"])))
    return table(
        (*headings, "MB at start", "peak", "end", "freed", "memory"),
        rows,
        width,
        ("MB at start", "end", "chunks", "freed"),
    )


def _verdict(memory: dict[str, Any]) -> tuple[str, str]:
    """Say what recycling has freed, and what the trend over the chunks is."""
    returned = f"{memory['returned_mb']:.1f}" if memory["returned_mb"] else ""
    slope = memory["mb_per_chunk"]
    return returned, "" if slope is None else f"{memory['verdict']} ({slope:+.2f} MB/chunk)"


def remarks(consumers: dict[str, Any]) -> Iterator[str]:
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
