"""Many recordings, each so far along → one snapshot: frames, speed, time left, and each one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.pipelines.unit import Work


def together(
    works: Sequence[Work], running: Collection[str], sizes: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    """Put the snapshots together of recordings that have been worked on for so many seconds.

    ``running`` names those that are under way, ``sizes`` has the bytes of all that this run was to do.
    """
    seen = [(work, work.snapshot) for work in works if work.name in running and work.snapshot]
    states = [work.state for work in works]
    return {
        "frames": {
            "done": sum(work.frames[0] for work in works),
            "all": sum(work.frames[1] for work in works),
            "per_second": round(sum(found.get("frames", {}).get("per_second", 0.0) for _, found in seen), 3),
        },
        "bytes_per_second": sum(found.get("bytes_per_second", 0) for _, found in seen),
        "seconds_left": _seconds_left(works, running, sizes, seconds),
        "recordings": {
            "all": len(states),
            "done": sum(state in ("done", "earlier") for state in states),
            "failed": sum(state in ("failed", "died") for state in states),
            "running": len(seen),
        },
        "running": {work.name: found | {"folder": str(work.folder)} for work, found in seen},
    }


def _seconds_left(
    works: Sequence[Work], running: Collection[str], sizes: Mapping[str, int], seconds: float
) -> float | None:
    """Estimate by bytes: of recordings that have not begun, nothing else is known."""
    whole = sum(sizes.values())
    mine = [work for work in works if work.name in sizes]
    ended = sum(sizes[work.name] for work in mine if work.name not in running and work.state != "waiting")
    under_way = sum(
        sizes[work.name] * work.frames[0] / work.frames[1] for work in mine if work.name in running and work.frames[1]
    )
    share = (ended + under_way) / whole if whole else 0.0
    return round(seconds * (1 - share) / share, 1) if share else None
