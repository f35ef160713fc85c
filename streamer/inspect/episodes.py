"""A recording that is planned in episodes → the list of them that a person looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.episodes import Problem
    from streamer.runtime.prepare import Prepared
    from streamer.runtime.schedule import EpisodePlan


@dataclass(frozen=True, slots=True)
class Division:
    """How one recording is cut; ``begins`` and ``ends`` are its first receive stamp and its last, in nanoseconds."""

    name: str
    path: str
    begins: int
    ends: int
    episodes: Sequence[EpisodePlan]
    problems: Sequence[Problem]

    def as_json(self) -> dict[str, Any]:
        """Return plain values, fit for JSON; times in seconds from the recording's beginning."""
        return {
            "recording": self.path,
            "seconds": (self.ends - self.begins) / 1e9,
            "episodes": [
                {
                    "number": e.episode.number,
                    "start_s": (e.episode.start - self.begins) / 1e9,
                    "seconds": (e.episode.end - e.episode.start) / 1e9,
                    "frames": e.frames,
                    "task": e.episode.task,
                    "label": e.episode.label,
                    "why": e.episode.why,
                }
                for e in self.episodes
            ],
            "problems": [{"at_s": (p.stamp - self.begins) / 1e9, "text": p.text} for p in self.problems],
        }


def divide(prepared: Prepared, name: str) -> Division:
    """Describe how a recording is cut."""
    source = prepared.source
    stamps = [index.stamps for index in source.index(source.topics).values() if len(index.stamps)]
    begins, ends = min((int(s[0]) for s in stamps), default=0), max((int(s[-1]) for s in stamps), default=0)
    problems = prepared.cut.problems if prepared.cut is not None else ()
    return Division(name, str(source.path), begins, ends, prepared.episodes, problems)
